"""A pattern as a layer, in a napari window of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.gui.canvas.layers import contrast_limits
from napari_stem_orient.gui.canvas.own_layers import LayerTuple

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration


def pattern_layer(
    pattern: NDArray[np.float32], calibration: Calibration, origin_px: tuple[float, float], *, name: str
) -> LayerTuple:
    """Return the layer of a pattern (det_y, det_x): in 1/nm with the direct beam at 0, or in px."""
    size = calibration.pixel_size_inv_angstrom
    step, units = (1.0, "pixel") if size is None else (10 * size, "1/nm")
    keywords: dict[str, Any] = {
        "name": name,
        "scale": (step, step),
        "translate": tuple(-step * place for place in origin_px),
        "units": (units, units),
        "axis_labels": ("y", "x"),
        "colormap": "gray",
        "gamma": 0.5,
        "contrast_limits": contrast_limits(pattern),
    }
    return pattern, keywords, "image"


def open_in_a_window(layer_tuple: LayerTuple) -> napari.Viewer:
    """Open a napari window with one layer.

    A pattern has no place among the maps: layers whose units differ would lose them all, and the maps their scale bar.
    """
    import napari
    from napari.layers import Layer

    viewer = napari.Viewer(title=str(layer_tuple[1]["name"]))
    viewer.add_layer(Layer.create(*layer_tuple))
    viewer.canvas.overlays.scale_bar.visible = True
    return viewer
