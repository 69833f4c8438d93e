"""ScanRegion: a region of the scan that the user draws over a map, as a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray

from napari_stem_orient.gui.layers import layer_identity, scan_grid

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration


@dataclass(frozen=True, slots=True)
class ScanRegion:
    """What a region is for; it is drawn on a Shapes layer of its own.

    Parameters
    ----------
    layer_name : of that layer
    name, how_to : told where nothing is drawn: "no ``name`` is drawn: ``how_to``"
    style : keywords of that layer
    """

    layer_name: str
    name: str
    how_to: str
    style: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, napari_viewer: napari.Viewer) -> Shapes | None:
        """Return the layer of `start_drawing`, if it is there."""
        found = (layer for layer in napari_viewer.layers if layer.name == self.layer_name)
        return next((layer for layer in found if isinstance(layer, Shapes)), None)

    def start_drawing(self, napari_viewer: napari.Viewer, calibration: Calibration) -> Shapes:
        """Select the layer for the region, made when there is none, with the rectangle tool in hand."""
        layer = self.layer(napari_viewer)
        if layer is None:
            grid = scan_grid(calibration)
            layer = napari_viewer.add_shapes(name=self.layer_name, ndim=2, **self.style, **grid)
        napari_viewer.layers.selection.active = layer
        layer.mode = "add_rectangle"
        return layer

    def regrid(self, napari_viewer: napari.Viewer, calibration: Calibration) -> None:
        """Keep the region on the scan positions that it was drawn over when the scan step changes."""
        layer, grid = self.layer(napari_viewer), scan_grid(calibration)
        if layer is not None and tuple(layer.scale) != tuple(grid["scale"]):
            layer.scale, layer.units, layer.axis_labels = grid["scale"], grid["units"], grid["axis_labels"]

    def forget(self, napari_viewer: napari.Viewer) -> None:
        """Remove the region: it was drawn over another scan."""
        layer = self.layer(napari_viewer)
        if layer is not None:
            napari_viewer.layers.remove(layer)

    def drawn(
        self, napari_viewer: napari.Viewer, scan_shape: tuple[int, int], *, calibration: Calibration
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
        for layer in (napari_viewer.layers.selection.active, self.layer(napari_viewer)):
            mask = _mask_of(layer, scan_shape, scan_grid(calibration)["scale"])
            if mask is not None and mask.any():
                return mask
        raise ValueError(
            f"no {self.name} is drawn: {self.how_to}, or select a Labels layer of the scan's shape "
            f"({scan_shape[0]} x {scan_shape[1]})"
        )


VACUUM_REGION = ScanRegion("Vacuum region", "vacuum region", "press Draw and draw a rectangle over vacuum")
DIFFRACTION_REGION = ScanRegion(
    "Diffraction region",
    "region",
    "press Draw region and draw over the map",
    {"face_color": "#ffffff30", "edge_color": "#e69f00", "edge_width": 0.4},
)


def _mask_of(
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
