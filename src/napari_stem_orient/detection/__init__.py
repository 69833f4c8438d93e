"""From diffraction frames to Bragg peaks."""
