"""The status bar over the maps: phase, zone axis, Euler angles, score and confidence at the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from napari_stem_orient.gui.canvas.layers import layer_identity
from napari_stem_orient.gui.canvas.solution_text import status_text
from napari_stem_orient.gui.jobs.connections import Connections

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.gui.canvas.map_pointer import MapPointer
    from napari_stem_orient.session.session import Session


class StatusText:
    """Puts the solution at the cursor in place of the pixel's value that napari writes into the status bar.

    napari works its status out in a thread of its own and sets it in the main thread; this follows each time it
    does, while one of the maps is the active layer.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    session : has the orientation maps
    pointer : turns the cursor into a probe position
    """

    def __init__(self, napari_viewer: napari.Viewer, session: Session, pointer: MapPointer) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = session
        self._pointer = pointer
        self._writing = False
        self._connections = Connections()
        self._connections.connect(napari_viewer.events.status, self._on_status)
        self._connections.watch(session, ("current_result",), self._on_map_changed)

    def close(self) -> None:
        """Leave the status bar to napari."""
        self._connections.disconnect_all()

    def _on_status(self, event: Any) -> None:
        viewer = self._viewer()
        if self._writing or viewer is None:
            return
        self._write(viewer, event.value)

    def _on_map_changed(self) -> None:
        """Tell the new solution where the cursor rests: napari would wait until it moves."""
        viewer = self._viewer()
        if viewer is not None and isinstance(viewer.status, dict):
            self._write(viewer, viewer.status)

    def _write(self, viewer: napari.Viewer, status: str | dict[str, Any]) -> None:
        text = self._text(viewer)
        if text is None:
            return
        self._writing = True
        try:
            viewer.status = _with_text(status, text)
        finally:
            self._writing = False

    def _text(self, viewer: napari.Viewer) -> str | None:
        active = viewer.layers.selection.active
        identity = None if active is None else layer_identity(active)
        if identity is None:
            return None
        orientation_map = self._map(identity[1])
        position = self._pointer.position_at(viewer.cursor.position)
        if orientation_map is None or position is None:
            return None
        known = status_text(orientation_map, position, four=self._session.four_indices)
        return f"row {position[0]}, column {position[1]}   {known}"

    def _map(self, method: str) -> OrientationMap | None:
        """Return the map that a layer shows; over the dark field, the current one."""
        return self._session.orientation_maps.get(method) if method else self._session.current_map


def _with_text(status: str | dict[str, Any], text: str) -> str | dict[str, Any]:
    """Return napari's status with our text in place of coordinates and value."""
    if not isinstance(status, dict):
        return text
    return {**status, "coordinates": text, "value": text, "plugin": ""}
