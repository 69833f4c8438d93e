"""The mouse over the maps: a click or drag chooses the probe position, a move tells the one under the cursor."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.canvas.layers import LayerKind, layer_identity, marker_layer, of_scan, shows_scan
from napari_stem_orient.gui.canvas.own_layers import add_own
from napari_stem_orient.gui.canvas.world import align, alignment_of, in_sight, world_to_layer
from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.jobs.throttle import Throttle

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer, Points

    from napari_stem_orient.session.session import Session

MARKER_INTERVAL_MS = 100
"""The marker follows a drag this often: moving it redraws napari's canvas and layer list."""

Position = tuple[int, int]


class MapPointer:
    """Turns the mouse over the maps of one viewer into probe positions, and marks the chosen one.

    While one of the maps is the active layer, in napari's pan/zoom mode, the left button chooses positions and
    Shift with the left button pans; with any other active layer napari's own tools are left alone.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    session : takes the position that is clicked
    """

    hovered = Signal(object)  # (y, x) under the cursor | None

    def __init__(self, napari_viewer: napari.Viewer, session: Session) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = session
        self._hovered: Position | None = None
        napari_viewer.mouse_drag_callbacks.append(self._on_drag)
        napari_viewer.mouse_move_callbacks.append(self._on_move)
        self._move_marker = Throttle(self._place_marker, interval_ms=MARKER_INTERVAL_MS)
        self._connections = Connections()
        self._connections.connect(napari_viewer.canvas.grid.events.enabled, self._on_grid_changed)
        self._connections.watch(session, ("position",), self._move_marker)
        self._connections.watch(session, ("opening",), self._on_another_scan)

    def close(self) -> None:
        """Take the callbacks, which napari holds strongly, out of the viewer."""
        self._connections.disconnect_all()
        self._move_marker.stop()
        viewer = self._viewer()
        if viewer is None:
            return
        for callbacks, own in (
            (viewer.mouse_drag_callbacks, self._on_drag),
            (viewer.mouse_move_callbacks, self._on_move),
        ):
            if own in callbacks:
                callbacks.remove(own)

    @property
    def hovered_position(self) -> Position | None:
        """The probe position (y, x) under the cursor; None where there is none, or it was of a larger scan."""
        hovered = self._hovered
        return hovered if hovered is not None and self._session.contains(hovered) else None

    @hovered_position.setter
    def hovered_position(self, position: Position | None) -> None:
        self._hovered = position

    def position_at(
        self, world: tuple[float, ...], direction: tuple[float, ...] | None = None
    ) -> Position | None:
        """Return the probe position (y, x) at a place in the viewer, in its units; None outside the scan.

        ``direction`` is that of the line of sight where the maps are shown in three dimensions, see `in_sight`.
        """
        viewer = self._viewer()
        layer = None if viewer is None else self._looked_at(viewer)
        if viewer is None or layer is None:
            return None
        place = in_sight(viewer, layer, world, direction)
        if place is None:
            return None
        y, x = (int(value) for value in np.floor(world_to_layer(viewer, layer, place)[-2:] + 0.5))
        return (y, x) if self._session.contains((y, x)) else None

    def _looked_at(self, viewer: napari.Viewer) -> Layer | None:
        """Return the map that the mouse is over: the active one, else the topmost; the user may have moved one."""
        active = viewer.layers.selection.active
        if active is not None and active.visible and self._shows_positions(active):
            return active
        return _any_map(viewer)

    def _shows_positions(self, layer: Layer) -> bool:
        """Whether a layer shows this scan, one pixel a position: a map, or what the user has made of one."""
        if not isinstance(layer, (Image, Labels)) or layer.data.shape[:2] != self._session.scan_shape:
            return False
        return shows_scan(layer, self._session.source.token)

    # --- the mouse -----------------------------------------------------------------------------------------

    def _on_drag(self, viewer: napari.Viewer, event: Any) -> Generator[None, None, None]:
        """Choose positions until the button is released; with Shift, pan."""
        modifiers = set(event.modifiers)
        if event.button != 1 or modifiers - {"Shift"} or not self._may_choose(viewer):
            return
        panning = "Shift" in modifiers
        shown = list(viewer.dims.displayed[-2:])
        start = np.asarray(event.position)[shown]
        if not panning and self._position_of(event) is None:
            return
        camera = viewer.scene.camera
        camera.mouse_pan = False
        try:
            if not panning:
                self._choose(event)
            yield
            while event.type == "mouse_move":
                if panning:
                    moved = start - np.asarray(event.position)[shown]
                    camera.center = (*camera.center[:-2], *(np.asarray(camera.center[-2:]) + moved))
                else:
                    self._choose(event)
                yield
        finally:
            camera.mouse_pan = True

    def _may_choose(self, viewer: napari.Viewer) -> bool:
        active = viewer.layers.selection.active
        if active is None:
            return _any_map(viewer) is not None
        is_map = layer_identity(active) is not None or self._shows_positions(active)
        return is_map and str(active.mode) == "pan_zoom"

    def _position_of(self, event: Any) -> Position | None:
        return self.position_at(event.position, getattr(event, "view_direction", None))

    def _choose(self, event: Any) -> None:
        position = self._position_of(event)
        if position is not None:
            self._session.set_position(position)
            self._hover(position)

    def _on_move(self, _viewer: napari.Viewer, event: Any) -> None:
        self._hover(self._position_of(event))

    def _hover(self, position: Position | None) -> None:
        if position != self._hovered:
            self._hovered = position
            self.hovered.emit(position)

    def _on_another_scan(self) -> None:
        """Forget the cursor's place until it moves: it was over another scan."""
        self._hover(None)
        self.forget_marker()

    # --- the marker ----------------------------------------------------------------------------------------

    def _place_marker(self) -> None:
        viewer, position = self._viewer(), self._session.position
        if viewer is None:
            return
        marker = _marker(viewer)
        grid = self._looked_at(viewer)
        if position is None or grid is None:
            if marker is not None:
                _set_visible(marker, False)
            return
        if marker is None:
            marker = self._add_marker(viewer, grid, position)
        align(marker, grid)
        marker.data = np.array([position, position], dtype=np.float64)
        _set_visible(marker, not viewer.canvas.grid.enabled)

    def show_position(self) -> None:
        """Mark the position that is looked at, where the maps have come after it."""
        self._place_marker()

    def forget_marker(self) -> None:
        """Remove the marker: it stands on the grid of a scan that is gone."""
        self._move_marker.stop()
        viewer = self._viewer()
        marker = None if viewer is None else _marker(viewer)
        if viewer is not None and marker is not None:
            remove_layers(viewer, [marker])

    def raise_marker(self) -> None:
        """Put the marker above the maps, which would hide it."""
        viewer = self._viewer()
        marker = None if viewer is None else _marker(viewer)
        if viewer is not None and marker is not None and viewer.layers[-1] is not marker:
            viewer.layers.move(viewer.layers.index(marker), len(viewer.layers))

    def _add_marker(self, viewer: napari.Viewer, grid: Layer, position: Position) -> Points:
        """Add the marker above the maps and leave the active layer as it is."""
        active = viewer.layers.selection.active
        data, keywords, layer_type = of_scan(marker_layer(position), self._session.source.token)
        marker = add_own(viewer, (data, {**keywords, **alignment_of(grid)}, layer_type))
        marker.selected_data = set()
        viewer.layers.selection.active = active
        return marker

    def _on_grid_changed(self) -> None:
        """Hide the marker while the maps are side by side: a layer would get a cell of its own."""
        viewer = self._viewer()
        marker = None if viewer is None else _marker(viewer)
        if viewer is not None and marker is not None:
            _set_visible(marker, not viewer.canvas.grid.enabled and self._session.position is not None)


def _set_visible(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari would redraw everything even where nothing changes."""
    if layer.visible != visible:
        layer.visible = visible


def _any_map(viewer: napari.Viewer) -> Layer | None:
    """Return the topmost of our maps, a visible one if there is one: they all share one grid."""
    maps = [layer for layer in viewer.layers if _kind(layer) not in (None, LayerKind.MARKER)]
    visible = [layer for layer in maps if layer.visible]
    return (visible or maps or [None])[-1]


def _marker(viewer: napari.Viewer) -> Points | None:
    return next((layer for layer in viewer.layers if _kind(layer) == LayerKind.MARKER), None)


def _kind(layer: Layer) -> str | None:
    identity = layer_identity(layer)
    return None if identity is None else identity[0]
