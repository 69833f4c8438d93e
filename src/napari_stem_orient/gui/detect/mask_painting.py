"""Painting a detector mask: the mean pattern with a Labels layer over it, in place of the maps meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.canvas.world import in_world_units

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels, Layer

PATTERN_NAME = "Mean pattern"
MASK_NAME = "Detector mask"
GAMMA = 0.35
"""Exponent of the grey values: weak scattering beside the direct beam is seen."""


class MaskPainter:
    """Shows the layers to paint in, and brings the maps back.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._own: list[Layer] = []
        self._hidden: list[Layer] = []
        self._restore: dict[str, Any] = {}

    @property
    def active(self) -> bool:
        """Whether there is something to paint in: the user may have deleted the layer."""
        return self._labels() is not None

    def start(self, pattern: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
        """Hide the maps and show a pattern (det_y, det_x) with the mask over it, the brush in hand."""
        viewer = self._viewer()
        if viewer is None:
            return
        self.stop()
        self._hide_others(viewer)
        grid = _grid_over(viewer, (pattern.shape[0], pattern.shape[1]))
        counts = np.nan_to_num(pattern, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = (float(value) for value in np.percentile(counts, (1.0, 99.3)))
        image = viewer.add_image(
            counts,
            name=PATTERN_NAME,
            contrast_limits=(low, max(high, low + 1e-6)),
            gamma=GAMMA,
            **grid,
        )
        painted = np.zeros(pattern.shape, dtype=np.uint8) if mask is None else mask.astype(np.uint8)
        labels = viewer.add_labels(painted, name=MASK_NAME, opacity=0.6, colormap=_colours(), **grid)
        labels.brush_size = max(1, round(min(pattern.shape) / 40))
        labels.selected_label = 1
        labels.mode = "paint"
        self._own = [image, labels]
        viewer.layers.selection.active = labels
        viewer.reset_view()

    def mask(self) -> NDArray[np.bool_] | None:
        """What is painted, (det_y, det_x) bool; None where the layer is gone."""
        labels = self._labels()
        return None if labels is None else np.asarray(labels.data) > 0

    def stop(self) -> None:
        """Remove the layers and show the maps again, as they were."""
        viewer = self._viewer()
        own, self._own = self._own, []
        hidden, self._hidden = self._hidden, []
        restore, self._restore = self._restore, {}
        if viewer is None or not restore:
            return
        remove_layers(viewer, own)
        for layer in hidden:
            if layer in viewer.layers:
                layer.visible = True
        viewer.canvas.grid.enabled = restore["grid"]
        viewer.canvas.overlays.scale_bar.visible = restore["scale_bar"]
        if restore["active"] in viewer.layers:
            viewer.layers.selection.active = restore["active"]
        viewer.scene.camera.center, viewer.scene.camera.zoom = restore["center"], restore["zoom"]

    def _labels(self) -> Labels | None:
        viewer = self._viewer()
        labels = self._own[-1] if self._own else None
        return labels if viewer is not None and labels is not None and labels in viewer.layers else None

    def _hide_others(self, viewer: napari.Viewer) -> None:
        camera = viewer.scene.camera
        self._restore = {
            "grid": bool(viewer.canvas.grid.enabled),
            "scale_bar": bool(viewer.canvas.overlays.scale_bar.visible),
            "active": viewer.layers.selection.active,
            "center": tuple(camera.center),
            "zoom": float(camera.zoom),
        }
        self._hidden = [layer for layer in viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        viewer.canvas.grid.enabled = False
        viewer.canvas.overlays.scale_bar.visible = False  # it would measure the detector in nm


def _grid_over(viewer: napari.Viewer, shape: tuple[int, int]) -> dict[str, Any]:
    """Where the pattern stands: over the maps, so that the view fits it, and in the units that the cursor has."""
    maps = [layer for layer in viewer.layers if layer.ndim == 2]
    if not maps:
        return {"scale": (1.0, 1.0), "axis_labels": ("y", "x")}
    extent = np.asarray(maps[0].extent.world)
    step = float(max((extent[1] - extent[0]).max(), 1e-9) / max(shape))
    grid = {
        "scale": (step, step),
        "translate": tuple(extent[0]),
        "units": tuple(maps[0].units),
        "axis_labels": tuple(maps[0].axis_labels),
    }
    return in_world_units(viewer, grid)


def _colours() -> DirectLabelColormap:
    """Red where a pixel is masked, whatever its number."""
    return DirectLabelColormap(color_dict={0: "transparent", None: "#ff3c32"})
