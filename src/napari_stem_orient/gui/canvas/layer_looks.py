"""Looks of layers: how a viewer shows the maps of a session, as data, and the maps shown so again as they come."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QTimer

from napari_stem_orient.gui.canvas.layers import LayerKind, layer_identity
from napari_stem_orient.session.window_looks import LayerLook, WindowLooks

if TYPE_CHECKING:
    import napari

_FIELDS = (
    "visible",
    "opacity",
    "blending",
    "gamma",
    "contrast_limits",
    "interpolation2d",
    "contour",
)
_COLORMAP = ("name", "colors", "controls", "interpolation", "nan_color", "high_color", "low_color")


def looks_of(viewer: napari.Viewer) -> WindowLooks:
    """How a viewer shows what is open; where the docks are is not known here."""
    layers = tuple(look for layer in viewer.layers if (look := _look_of(layer)) is not None)
    camera = viewer.scene.camera
    seen = (float(camera.center[-2]), float(camera.center[-1]), float(camera.zoom)) if layers else None
    active = viewer.layers.selection.active
    return WindowLooks(
        layers=layers,
        active=None if active is None else layer_identity(active),
        camera=seen,
        side_by_side=bool(viewer.canvas.grid.enabled),
    )


class RestoredLooks:
    """Gives layers the looks that they had, those that are there now and those that come.

    Layers of ours that were not there then are hidden. When all have come, they get their order; the view is set at
    once, and stays as it is where the user moves it meanwhile.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    looks : that the layers had
    """

    def __init__(self, napari_viewer: napari.Viewer, looks: WindowLooks) -> None:
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._viewer = ref(viewer)
        self._looks = looks
        self._waiting = {(look.kind, look.made_by): look for look in looks.layers}
        viewer.layers.events.inserted.connect(self._on_inserted)
        for layer in list(viewer.layers):
            self._show(layer)
        self._set_view()
        self._finish_if_complete()

    @property
    def complete(self) -> bool:
        """Whether all layers have come."""
        return not self._waiting

    def stop(self) -> None:
        """Leave layers that come from now on as they are."""
        viewer = self._viewer()
        if viewer is not None:
            with contextlib.suppress(ValueError, RuntimeError):
                viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        # when whoever has made it has done with it, too
        QTimer.singleShot(0, partial(self._on_settled, ref(event.value)))

    def _on_settled(self, layer: ref[Layer]) -> None:
        there = layer()
        if there is not None:
            self._show(there)
            self._finish_if_complete()

    def _show(self, layer: Layer) -> None:
        identity = layer_identity(layer)
        if identity is None or identity[0] in (LayerKind.VIRTUAL_IMAGE, LayerKind.MARKER):
            return
        look = self._waiting.pop(identity, None)
        if look is None:
            known = {(each.kind, each.made_by) for each in self._looks.layers}
            if identity not in known:
                layer.visible = False
            return
        for name, value in look.fields.items():
            if name == "colormap":
                _take_colormap(layer, value)
            elif hasattr(layer, name) and _plain(getattr(layer, name)) != value:  # napari redraws at each
                with contextlib.suppress(
                    ValueError, TypeError
                ):  # napari of another version knows other values
                    setattr(layer, name, value)

    def _set_view(self) -> None:
        viewer, camera = self._viewer(), self._looks.camera
        if viewer is None:
            return
        if self._looks.side_by_side:
            viewer.canvas.grid.stride = -1
        viewer.canvas.grid.enabled = self._looks.side_by_side
        if camera is not None:
            viewer.scene.camera.center = (*viewer.scene.camera.center[:-2], *camera[:2])
            viewer.scene.camera.zoom = camera[2]

    def _finish_if_complete(self) -> None:
        if self.complete:
            self.stop()
            self._set_order()
            self._select()

    def _select(self) -> None:
        """Make the layer active that was; the user may look at another one of his by now."""
        viewer, active = self._viewer(), self._looks.active
        layers = [] if viewer is None else list(viewer.layers)
        for layer in layers:
            if active is not None and viewer is not None and layer_identity(layer) == active:
                viewer.layers.selection.active = layer

    def _set_order(self) -> None:
        """Put our layers into the order that they had, at the places that they have among the user's."""
        viewer = self._viewer()
        if viewer is None:
            return
        wanted = {(look.kind, look.made_by): number for number, look in enumerate(self._looks.layers)}
        ours = []
        for layer in viewer.layers:
            identity = layer_identity(layer)
            number = None if identity is None else wanted.get(identity)
            if number is not None:
                ours.append((number, layer))
        places = [viewer.layers.index(layer) for _, layer in ours]
        for place, (_, layer) in zip(places, sorted(ours, key=lambda each: each[0]), strict=True):
            now = viewer.layers.index(layer)
            if now != place:
                viewer.layers.move(now, place)


def _look_of(layer: Layer) -> LayerLook | None:
    identity = layer_identity(layer)
    if identity is None or identity[0] in (LayerKind.VIRTUAL_IMAGE, LayerKind.MARKER):
        return None
    fields = {name: _plain(getattr(layer, name)) for name in _FIELDS if hasattr(layer, name)}
    colormap = getattr(layer, "colormap", None)
    if type(colormap) is Colormap:
        fields["colormap"] = {name: _plain(getattr(colormap, name, None)) for name in _COLORMAP}
    return LayerLook(kind=identity[0], made_by=identity[1], name=layer.name, fields=fields)


def _take_colormap(layer: Layer, kept: dict[str, Any]) -> None:
    """Give a layer a colormap; napari knows them by their names, and makes no other one of the same."""
    if getattr(layer, "colormap", None) is None or layer.colormap.name == kept["name"]:
        return
    layer.colormap = Colormap(**{name: value for name, value in kept.items() if value is not None})


def _plain(value: Any) -> Any:
    """A value JSON-able: enumerations by their values, arrays and tuples as lists."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
