"""The Open panel, and the other ways to open a scan."""
