"""The Index panel."""
