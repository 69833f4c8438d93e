"""The Detect panel."""
