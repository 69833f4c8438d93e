"""From Bragg peaks to an orientation map: transformer with refinement, and template matching."""
