"""Docks of ours in a window: which are shown, and how large, by what napari and Qt tell everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_stem_orient.session.window_looks import DockLook

if TYPE_CHECKING:
    import napari

PLUGIN = "napari-stem-orient"
_BEHIND_A_NAME = f" ({PLUGIN})"  # as napari lists them


def own_docks(viewer: napari.Viewer) -> tuple[DockLook, ...]:
    """The docks of ours that are shown, those behind others in tabs, too; none of a window that is taken apart."""
    try:
        return tuple(_shown_docks(viewer))
    except RuntimeError:  # Qt has deleted a dock that napari still lists
        return ()


def _shown_docks(viewer: napari.Viewer) -> list[DockLook]:
    window = getattr(viewer, "window", None)
    shown = []
    for name, widget in {} if window is None else dict(window.dock_widgets).items():
        dock = widget.parent() if isinstance(widget, QWidget) else None
        if not isinstance(dock, QDockWidget) or not name.endswith(_BEHIND_A_NAME):
            continue
        action = dock.toggleViewAction()
        if action is not None and action.isChecked():
            size = (dock.width(), dock.height())
            name = name.removesuffix(_BEHIND_A_NAME)
            shown.append(DockLook(name=name, size=size, floating=dock.isFloating()))
    return shown


def give_sizes(docks: tuple[tuple[DockLook, QDockWidget], ...]) -> None:
    """Give docks the sizes that they had, as far as the window has room for them."""
    resized = []
    for look, dock in docks:
        dock.setFloating(look.floating)
        if look.floating:
            dock.resize(*look.size)
        else:
            resized.append((look, dock))
    main = resized[0][1].parent() if resized else None
    if isinstance(main, QMainWindow):
        these = [dock for _, dock in resized]
        main.resizeDocks(these, [look.size[1] for look, _ in resized], Qt.Orientation.Vertical)
        main.resizeDocks(these, [look.size[0] for look, _ in resized], Qt.Orientation.Horizontal)
