"""The napari desk: session, workers, layers and widgets."""
