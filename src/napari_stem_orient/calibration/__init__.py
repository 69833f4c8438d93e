"""From Bragg peaks, or rings, to a calibration: origin, ellipse and pixel size, each with its uncertainty."""
