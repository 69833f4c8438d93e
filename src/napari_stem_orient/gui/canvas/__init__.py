"""Layers of the viewer: what paints them, points at them and removes them."""
