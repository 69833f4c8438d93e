"""Files in and out: scans, Bragg peaks, maps and figures."""
