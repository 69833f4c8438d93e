"""The panel of virtual detectors."""
