"""VirtualLayers: the images of virtual detectors as napari layers, painted while they are being counted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_stem_orient.gui.canvas.layers import (
    contrast_limits,
    of_scan,
    scan_grid,
    set_grid,
    virtual_image_layer,
    virtual_key,
)
from napari_stem_orient.gui.canvas.own_layers import add_own, rename_own
from napari_stem_orient.gui.canvas.world import same_grid
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.jobs.throttle import Throttle

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.gui.canvas.framing import Framing
    from napari_stem_orient.gui.virtual.detectors import DetectorEntry
    from napari_stem_orient.virtual.images import VirtualBlock

REFRESH_INTERVAL_MS = 120

_MOST_SAMPLED = 65_536  # pixels that contrast limits are taken from

Float32 = NDArray[np.float32]


class VirtualLayers:
    """Puts the images of virtual detectors into a viewer; lives in the main thread.

    It paints only layers that it has made itself: one that the user renames, and every duplicate, is the user's. Those
    that are missing are made again with the next run.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    framing : keeps the whole scan in view when new layers bring wider controls
    """

    def __init__(self, napari_viewer: napari.Viewer, framing: Framing | None = None) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._framing = framing
        self._images: dict[int, Float32] = {}
        self._names: dict[int, str] = {}
        self._limits: dict[int, tuple[float, float]] = {}
        self._coarse: list[VirtualBlock] = []
        self._calibration: Calibration | None = None
        self._paint = Throttle(self.paint, interval_ms=REFRESH_INTERVAL_MS)

    def close(self) -> None:
        """Paint no more; the layers stay as they are."""
        self._paint.stop()

    def layer(self, key: int) -> Layer | None:
        """Return the layer with the image of a detector, if it is there."""
        viewer = self._viewer()
        layers = () if viewer is None else viewer.layers
        return next((layer for layer in layers if virtual_key(layer) == key), None)

    def start(
        self, entries: tuple[DetectorEntry, ...], scan_shape: tuple[int, int], calibration: Calibration
    ) -> None:
        """Expect blocks of these detectors, in this order; what their layers show stays until it is overwritten."""
        self._paint.stop()
        self._calibration, self._coarse = calibration, []
        self._images = {}
        self._names.update({entry.key: entry.detector.name for entry in entries})
        for entry in entries:
            layer = self.layer(entry.key)
            fits = layer is not None and layer.data.shape == scan_shape
            before = layer.data if layer is not None and fits else np.nan
            self._images[entry.key] = np.broadcast_to(before, scan_shape).astype(np.float32)

    def fill(self, block: VirtualBlock) -> None:
        """Take the counts of some positions; a coarse grid stands for its surroundings until they are counted."""
        if block.progress.done == 0:
            self._coarse.append(block)
            positions = np.concatenate([part.positions for part in self._coarse])
            counts = np.concatenate([part.counts for part in self._coarse], axis=1)
            for image, values in zip(self._images.values(), counts, strict=True):
                image[...] = spread(positions, values, image.shape)
        else:
            self._coarse = []
            for image, values in zip(self._images.values(), block.counts, strict=True):
                image.reshape(-1)[block.positions] = values
        self._paint()

    def paint(self) -> None:
        """Show what has arrived."""
        viewer = self._viewer()
        if viewer is None or self._calibration is None:
            return
        for key, image in self._images.items():
            layer = self.layer(key)
            if layer is None:
                self._add(viewer, key, image)
            else:
                self._repaint(layer, key, image)

    def bring_back(self, key: int, image: Float32, calibration: Calibration) -> None:
        """Make the layer of an image (scan_y, scan_x) again that was deleted."""
        viewer = self._viewer()
        if viewer is not None and self.layer(key) is None:
            self._calibration = calibration
            self._add(viewer, key, image)

    def rename(self, key: int, name: str) -> None:
        """Give the layer the detector's new name, unless the user has given it one of its own."""
        layer, old = self.layer(key), self._names.get(key)
        self._names[key] = name
        if layer is not None and layer.name == old:
            rename_own(layer, name)

    def _add(self, viewer: napari.Viewer, key: int, image: Float32) -> None:
        assert self._calibration is not None
        made = virtual_image_layer(image.copy(), self._calibration, name=self._names[key], key=key)
        made[1]["contrast_limits"] = self._new_limits(image)
        layer = add_own(viewer, of_scan(made, session_of(viewer).source.token))
        viewer.canvas.overlays.scale_bar.visible = True
        self._limits[key] = tuple(layer.contrast_limits)
        if self._framing is not None:
            self._framing.frame_soon()

    def _repaint(self, layer: Layer, key: int, image: Float32) -> None:
        assert self._calibration is not None
        grid = scan_grid(self._calibration)
        if not same_grid(layer, grid):
            set_grid(layer, grid)
        untouched = tuple(layer.contrast_limits) == self._limits.get(key)
        layer.data = image.copy()  # the layer's own: a run that follows writes into another
        if untouched:
            low, high = self._new_limits(image)
            layer.contrast_limits_range = (low, high)
            layer.contrast_limits = (low, high)
            self._limits[key] = tuple(layer.contrast_limits)

    def _new_limits(self, image: Float32) -> tuple[float, float]:
        every = max(1, int(np.sqrt(image.size / _MOST_SAMPLED)))
        return contrast_limits(image[::every, ::every])


def spread(positions: NDArray[np.int64], values: Float32, scan_shape: tuple[int, ...]) -> Float32:
    """Make an image of the values on a rectangular grid of flat positions: each pixel shows the nearest of them."""
    row_of, column_of = np.divmod(positions, scan_shape[1])
    rows, row_index = np.unique(row_of, return_inverse=True)
    columns, column_index = np.unique(column_of, return_inverse=True)
    grid = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    grid[row_index.reshape(-1), column_index.reshape(-1)] = values
    return np.asarray(grid[np.ix_(_nearest(rows, scan_shape[0]), _nearest(columns, scan_shape[1]))])


def _nearest(known: NDArray[np.int64], size: int) -> NDArray[np.intp]:
    """(size,) indices of the nearest known place of each along an axis."""
    between = (known[1:] + known[:-1]) / 2
    return np.searchsorted(between, np.arange(size))
