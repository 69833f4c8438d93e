"""The region of the scan that a user has drawn over vacuum, as a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray

from napari_stem_orient.gui.layers import layer_identity, scan_grid

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration

REGION_NAME = "Vacuum region"


def start_drawing(napari_viewer: napari.Viewer, calibration: Calibration) -> None:
    """Select the layer for the region, made when there is none, with the rectangle tool in hand."""
    if REGION_NAME in napari_viewer.layers:
        layer = napari_viewer.layers[REGION_NAME]
    else:
        layer = napari_viewer.add_shapes(name=REGION_NAME, ndim=2, **scan_grid(calibration))
    napari_viewer.layers.selection.active = layer
    if isinstance(layer, Shapes):
        layer.mode = "add_rectangle"


def regrid_region(napari_viewer: napari.Viewer, calibration: Calibration) -> None:
    """Keep the region on the scan positions that it was drawn over when the scan step changes."""
    layer = _region_layer(napari_viewer)
    if layer is not None:
        grid = scan_grid(calibration)
        layer.scale, layer.units, layer.axis_labels = grid["scale"], grid["units"], grid["axis_labels"]


def forget_region(napari_viewer: napari.Viewer) -> None:
    """Remove the region: it was drawn over another scan."""
    layer = _region_layer(napari_viewer)
    if layer is not None:
        napari_viewer.layers.remove(layer)


def drawn_region(
    napari_viewer: napari.Viewer, scan_shape: tuple[int, int], *, calibration: Calibration
) -> NDArray[np.bool_]:
    """Return what is drawn: on the selected Shapes or Labels layer, else on the layer of `start_drawing`.

    Shapes count where they are seen over the map, whatever the scale of their layer.

    Returns
    -------
    mask : (scan_y, scan_x) bool

    Raises
    ------
    ValueError
        When nothing is drawn; the message says how to.
    """
    candidates = [napari_viewer.layers.selection.active]
    candidates += [layer for layer in napari_viewer.layers if layer.name == REGION_NAME]
    for layer in candidates:
        mask = region_mask(layer, scan_shape, scan_grid(calibration)["scale"])
        if mask is not None and mask.any():
            return mask
    raise ValueError(
        "no vacuum region is drawn: press Draw and draw a rectangle over vacuum, or select a Labels layer of "
        f"the scan's shape ({scan_shape[0]} x {scan_shape[1]})"
    )


def _region_layer(napari_viewer: napari.Viewer) -> Shapes | None:
    found = (layer for layer in napari_viewer.layers if layer.name == REGION_NAME)
    return next((layer for layer in found if isinstance(layer, Shapes)), None)


def region_mask(
    layer: object, scan_shape: tuple[int, int], step: tuple[float, float]
) -> NDArray[np.bool_] | None:
    """Return what is drawn on a layer of shapes or labels, (scan_y, scan_x) bool; None for any other layer.

    ``step`` is the distance of scan positions along y and x in the layer's world.
    """
    if isinstance(layer, Shapes) and len(layer.data) and layer.ndim == 2:
        corners = [
            np.array([layer.data_to_world(corner) for corner in shape]) / np.asarray(step)
            for shape in layer.data
        ]
        on_scan = Shapes(corners, shape_type=layer.shape_type)
        masks: NDArray[np.bool_] = np.asarray(on_scan.to_masks(mask_shape=scan_shape), dtype=np.bool_)
        return np.asarray(masks.any(axis=0))
    if isinstance(layer, Labels) and layer_identity(layer) is None and layer.data.shape == scan_shape:
        return np.asarray(layer.data) > 0
    return None
