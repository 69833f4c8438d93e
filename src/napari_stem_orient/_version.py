"""The version of the package, in the one place that every file that it writes takes it from."""

__version__ = "0.3.0"
