"""The Open stage docked in a viewer, its modules loaded by a worker the first time: they take a second."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import ref

from napari_stem_orient.gui.jobs.workers import PlainProgress, start_job

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from napari_stem_orient.gui.open.widget import OpenWidget

PANELS = "napari_stem_orient.gui.desk_widget"
_loaded: set[str] = set()  # not sys.modules: a module that is being imported is in there already


def open_widget_of(viewer: napari.Viewer) -> OpenWidget:
    """Return the Open stage that is docked in a viewer; the desk is docked where there is none."""
    from qtpy.QtWidgets import QWidget

    from napari_stem_orient.gui.open.widget import OpenWidget

    for docked in viewer.window.dock_widgets.values():
        if isinstance(docked, OpenWidget):
            return docked
        if isinstance(docked, QWidget) and (found := docked.findChildren(OpenWidget)):
            return found[0]
    _, desk = viewer.window.add_plugin_dock_widget("napari-stem-orient", "Orientation mapping")
    widget: OpenWidget = desk.findChildren(OpenWidget)[0]
    return widget


def open_in(viewer: napari.Viewer, path: Path) -> None:
    """Open a file in the Session of a viewer: now where all that takes is loaded, else as soon as it is."""
    if PANELS in _loaded:
        open_now(viewer, path)
        return
    reference = ref(getattr(viewer, "__wrapped__", viewer))
    start_job(_load(), title="Load the panels", on_done=partial(_open, reference, path))


def open_now(viewer: napari.Viewer, path: Path) -> None:
    """Open a file in the Session of a viewer, and dock the Open stage, which shows how far that is and what it asks."""
    from napari_stem_orient.gui.jobs.sessions import session_of
    from napari_stem_orient.gui.parts.opener import opener_of
    from napari_stem_orient.gui.parts.session_files import session_files_of

    session_files_of(viewer)  # which opens sessions
    opener_of(session_of(viewer)).open(path)
    open_widget_of(viewer)


def load_panels() -> None:
    """Import the modules of the panels; for workers."""
    import_module(PANELS)
    _loaded.add(PANELS)


def _load() -> Generator[PlainProgress, None, None]:
    yield PlainProgress(0)
    load_panels()


def _open(reference: ref[napari.Viewer], path: Path, _: None) -> None:
    viewer = reference()
    if viewer is not None:
        open_now(viewer, path)
