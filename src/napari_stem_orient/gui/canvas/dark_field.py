"""DarkField: the layer of the virtual dark field of one viewer, the same for one scan after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.canvas.layers import (
    LayerKind,
    contrast_limits,
    dark_field_layer,
    identity_metadata,
    layer_identity,
    set_grid,
    take_over,
    without_gaps,
)
from napari_stem_orient.gui.canvas.own_layers import LayerTuple, adopt_own

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.scan_summary import SummaryBlock

Float32 = NDArray[np.float32]


class DarkField:
    """The image and its layer; lives in the main thread.

    To make a layer and to remove one takes napari a good part of a second each, so the layer stays when another scan is
    opened: hidden and empty until there is something of that scan to be seen.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    finished : gives a layer what is the same for all maps: makes a layer tuple one of the scan that is open
    add : makes the layer at the bottom of the viewer

    Attributes
    ----------
    image : (scan_y, scan_x), NaN where not summed yet; None without a scan
    changed : whether the layer does not show all of it yet
    """

    def __init__(
        self,
        napari_viewer: napari.Viewer,
        *,
        finished: Callable[[LayerTuple], LayerTuple],
        add: Callable[[LayerTuple], Layer],
    ) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._finished, self._add = finished, add
        self._limits: tuple[float, float] | None = None
        self._waits = False  # the layer, hidden, for something to show
        self.image: Float32 | None = None
        self.changed = False

    @property
    def layer(self) -> Layer | None:
        """The layer, if it is there."""
        viewer = self._viewer()
        layers = () if viewer is None else viewer.layers
        return next((each for each in layers if layer_identity(each) == (LayerKind.DARK_FIELD, "")), None)

    def fill(self, block: SummaryBlock, scan_shape: tuple[int, int]) -> None:
        """Take the values of some positions."""
        if self.image is None:
            self.image = np.full(scan_shape, np.nan, dtype=np.float32)
        self.image.reshape(-1)[block.positions] = block.dark_field
        self.changed = True

    def show(self, calibration: Calibration) -> bool:
        """Make the layer, or fill the one that is there; return whether it shows a scan for the first time."""
        viewer = self._viewer()
        if viewer is None or self.image is None:
            return False
        layer = self.layer
        made = self._finished(dark_field_layer(without_gaps(self.image), calibration))
        if layer is None:
            active = viewer.layers.selection.active
            layer = self._add(made)
            self._limits = tuple(layer.contrast_limits)
            if active is not None and layer_identity(active) is not None:
                viewer.layers.selection.active = active
        elif self._waits:
            take_over(layer, made)
            layer.contrast_limits_range = layer.contrast_limits = made[1]["contrast_limits"]
            self._limits = tuple(layer.contrast_limits)
            layer.visible = True
        else:
            set_grid(layer, made[1])
            self.paint(made[0])
            return False
        self._waits, self.changed = False, False
        return True

    def paint(self, image: Float32 | None = None) -> None:
        """Show the image as it is now; contrast limits that the user has chosen stay."""
        self.changed = False
        layer = self.layer
        if layer is None or self.image is None or self._waits:
            return
        untouched = tuple(layer.contrast_limits) == self._limits
        image = without_gaps(self.image) if image is None else image
        layer.data = image
        if untouched:
            low, high = contrast_limits(image)
            layer.contrast_limits_range = (min(low, float(image.min())), max(high, float(image.max())))
            layer.contrast_limits = (low, high)
            self._limits = tuple(layer.contrast_limits)

    def forget(self) -> None:
        """Let the image go, and keep the layer, hidden and empty, for another scan."""
        self.image, self.changed, self._limits = None, False, None
        layer = self.layer
        if layer is not None:
            self._empty(layer)

    def adopt(self, placeholder: Layer) -> None:
        """Take a hidden layer for the one that waits for something to show; where there is one, it goes."""
        viewer = self._viewer()
        if viewer is None:
            return
        if self.layer is not None or not isinstance(placeholder, Image):
            remove_layers(viewer, [placeholder])
            return
        adopt_own(placeholder)
        viewer.layers.move(viewer.layers.index(placeholder), 0)
        self._empty(placeholder)

    def drop_if_waiting(self) -> None:
        """Remove a layer that waits for something to show, which will not come."""
        viewer, layer = self._viewer(), self.layer
        if self._waits and viewer is not None and layer is not None:
            remove_layers(viewer, [layer])
        self._waits = False

    @property
    def waits(self) -> bool:
        """Whether the layer is there, hidden, for something to show."""
        return self._waits

    def _empty(self, layer: Layer) -> None:
        """Take out of a layer all that is of the scan before."""
        self._waits = True
        layer.visible = False
        layer.data = np.zeros((2, 2), dtype=np.float32)
        layer.metadata = identity_metadata(LayerKind.DARK_FIELD, "")
