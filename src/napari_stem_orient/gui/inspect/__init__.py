"""The Inspect panel."""
