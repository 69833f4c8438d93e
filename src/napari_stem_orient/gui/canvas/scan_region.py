"""ScanRegion: a region of the scan that the user draws over a map, as a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points, Shapes
from numpy.typing import NDArray

from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.canvas.layers import METADATA_KEY, layer_identity, scan_grid, set_grid
from napari_stem_orient.gui.canvas.own_layers import add_own, is_own
from napari_stem_orient.gui.canvas.world import in_world_units, layer_to_layer, same_grid

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_stem_orient.core.calibration import Calibration

_KIND = "region"


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
        """Return the layer of `start_drawing`, if it is there; one of this name that the user has made is not it."""
        shapes = (layer for layer in napari_viewer.layers if isinstance(layer, Shapes))
        return next((layer for layer in shapes if _is_for(layer, self.layer_name)), None)

    def start_drawing(self, napari_viewer: napari.Viewer, calibration: Calibration) -> Shapes:
        """Select the layer for the region, made when there is none, with the rectangle tool in hand."""
        layer = self.layer(napari_viewer)
        if layer is None:
            grid = in_world_units(napari_viewer, scan_grid(calibration))
            keywords = {"name": self.layer_name, "ndim": 2, **self.style, **grid}
            keywords["metadata"] = {METADATA_KEY: {"kind": _KIND, "region": self.layer_name}}
            made = add_own(napari_viewer, ([], keywords, "shapes"))
            assert isinstance(made, Shapes)
            layer = made
        self.regrid(napari_viewer, calibration)  # layers in other units may have come since
        napari_viewer.layers.selection.active = layer
        layer.mode = "add_rectangle"
        return layer

    def regrid(self, napari_viewer: napari.Viewer, calibration: Calibration) -> None:
        """Keep the region on the scan positions that it was drawn over when the scan step changes."""
        layer, grid = self.layer(napari_viewer), in_world_units(napari_viewer, scan_grid(calibration))
        if layer is not None and not same_grid(layer, grid):
            set_grid(layer, grid)

    def forget(self, napari_viewer: napari.Viewer) -> None:
        """Remove the region: it was drawn over another scan."""
        layer = self.layer(napari_viewer)
        if layer is not None:
            remove_layers(napari_viewer, [layer])

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
            mask = _mask_of(napari_viewer, layer, scan_shape, calibration)
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
    napari_viewer: napari.Viewer, layer: object, scan_shape: tuple[int, int], calibration: Calibration
) -> NDArray[np.bool_] | None:
    """Return what is drawn on a layer of shapes or labels, (scan_y, scan_x) bool; None for any other layer."""
    if isinstance(layer, Shapes) and len(layer.data) and layer.ndim == 2:
        scan = _map_of(napari_viewer, scan_shape, calibration)
        corners = [layer_to_layer(napari_viewer, layer, scan, shape) for shape in layer.data]
        on_scan = Shapes(corners, shape_type=layer.shape_type)
        masks: NDArray[np.bool_] = np.asarray(on_scan.to_masks(mask_shape=scan_shape), dtype=np.bool_)
        return np.asarray(masks.any(axis=0))
    if isinstance(layer, Labels) and layer_identity(layer) is None and layer.data.shape == scan_shape:
        return np.asarray(layer.data) > 0
    return None


def _map_of(napari_viewer: napari.Viewer, scan_shape: tuple[int, int], calibration: Calibration) -> Layer:
    """Return the map that is seen below a region, wherever the user has moved it; a stand-in where there is none."""
    maps = [
        layer
        for layer in napari_viewer.layers
        if layer_identity(layer) is not None and getattr(layer.data, "shape", ())[:2] == scan_shape
    ]
    seen = [layer for layer in maps if layer.visible and not isinstance(layer, Points)]
    return seen[-1] if seen else Image(np.zeros(scan_shape, dtype=np.uint8), **scan_grid(calibration))


def _is_for(layer: Layer, layer_name: str) -> bool:
    """Whether a layer is ours, and for the region of this name."""
    entry = layer.metadata.get(METADATA_KEY)
    return is_own(layer) and isinstance(entry, dict) and entry.get("region") == layer_name
