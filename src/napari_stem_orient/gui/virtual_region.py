"""The region of the scan that a user has drawn for its pattern, and that pattern in a window of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_stem_orient.gui.layers import LayerTuple, contrast_limits, scan_grid
from napari_stem_orient.gui.vacuum_region import region_mask

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration

REGION_NAME = "Diffraction region"


def start_drawing(napari_viewer: napari.Viewer, calibration: Calibration) -> Shapes:
    """Select the layer for the region, made when there is none, with the rectangle tool in hand."""
    layer = region_layer(napari_viewer)
    if layer is None:
        layer = napari_viewer.add_shapes(
            name=REGION_NAME,
            ndim=2,
            face_color="#ffffff30",
            edge_color="#e69f00",
            edge_width=0.4,
            **scan_grid(calibration),
        )
    napari_viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def region_layer(napari_viewer: napari.Viewer) -> Shapes | None:
    """Return the layer of `start_drawing`, if it is there."""
    found = (layer for layer in napari_viewer.layers if layer.name == REGION_NAME)
    return next((layer for layer in found if isinstance(layer, Shapes)), None)


def regrid(napari_viewer: napari.Viewer, calibration: Calibration) -> None:
    """Keep the region on the scan positions that it was drawn over when the scan step changes."""
    layer, grid = region_layer(napari_viewer), scan_grid(calibration)
    if layer is not None and tuple(layer.scale) != tuple(grid["scale"]):
        layer.scale, layer.units, layer.axis_labels = grid["scale"], grid["units"], grid["axis_labels"]


def forget(napari_viewer: napari.Viewer) -> None:
    """Remove the region: it was drawn over another scan."""
    layer = region_layer(napari_viewer)
    if layer is not None:
        napari_viewer.layers.remove(layer)


def drawn_region(
    napari_viewer: napari.Viewer, scan_shape: tuple[int, int], *, calibration: Calibration
) -> NDArray[np.bool_]:
    """Return what is drawn, (scan_y, scan_x) bool: on the selected Shapes or Labels layer, else on the region's own.

    Raises
    ------
    ValueError
        When nothing is drawn; the message says how to.
    """
    for layer in (napari_viewer.layers.selection.active, region_layer(napari_viewer)):
        mask = region_mask(layer, scan_shape, scan_grid(calibration)["scale"])
        if mask is not None and mask.any():
            return mask
    raise ValueError(
        "no region is drawn: press Draw region and draw over the map, or select a Labels layer of the scan's shape "
        f"({scan_shape[0]} x {scan_shape[1]})"
    )


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
