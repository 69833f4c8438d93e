"""What things are: calibration, datacube, Bragg peaks, crystal, orientation, orientation map."""
