"""Images of virtual detectors and patterns of regions, out of core."""
