"""The one Session of each viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_stem_orient.gui.jobs.constants_of_python import keep_constants
from napari_stem_orient.session.session import Session

if TYPE_CHECKING:
    import napari


_sessions: WeakKeyDictionary[object, Session] = WeakKeyDictionary()


def session_of(napari_viewer: napari.Viewer) -> Session:
    """Return the one Session of a viewer.

    Every docked widget is given a proxy of its own, so the key is the viewer behind it.
    """
    viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
    session = _sessions.get(viewer)
    if session is None:
        keep_constants()  # here, because whatever of ours is opened first comes through here
        session = _sessions[viewer] = Session()
    return session
