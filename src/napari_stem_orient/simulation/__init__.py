"""From a crystal and an orientation to a diffraction pattern, and to whole scans with known truth."""
