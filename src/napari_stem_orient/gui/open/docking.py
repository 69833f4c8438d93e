"""The Open stage docked in a viewer, its modules loaded by a worker the first time: they take a second."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING
from weakref import ref

from napari_stem_orient.gui.jobs.workers import PlainProgress, start_job

if TYPE_CHECKING:
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


def when_docked(viewer: napari.Viewer, use: Callable[[OpenWidget], object]) -> None:
    """Do something with the Open stage of a viewer: now where its modules are loaded, else as soon as they are."""
    if PANELS in _loaded:
        use(open_widget_of(viewer))
        return
    reference = ref(getattr(viewer, "__wrapped__", viewer))
    start_job(_load(), title="Load the panels", on_done=partial(_use, reference, use))


def load_panels() -> None:
    """Import the modules of the panels; for workers."""
    import_module(PANELS)
    _loaded.add(PANELS)


def _load() -> Generator[PlainProgress, None, None]:
    yield PlainProgress(0)
    load_panels()


def _use(reference: ref[napari.Viewer], use: Callable[[OpenWidget], object], _: None) -> None:
    viewer = reference()
    if viewer is not None:
        use(open_widget_of(viewer))
