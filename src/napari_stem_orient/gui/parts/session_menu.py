"""What the entries of napari's File menu do: they save and open the session of the viewer that is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.utils.notifications import show_info

from napari_stem_orient.gui.parts.docks import PLUGIN

if TYPE_CHECKING:
    from napari_stem_orient.gui.parts.session_bar import SessionBar


def save_session() -> None:
    """Ask where, and save the session."""
    bar = _bar()
    if bar is not None:
        bar.save()


def open_session() -> None:
    """Ask for a session, and open it."""
    bar = _bar()
    if bar is not None:
        bar.open()


def _bar() -> SessionBar | None:
    """The bar below the desk, which is docked where it is not there yet: it says how it goes."""
    from napari_stem_orient.gui.parts.session_bar import SessionBar

    viewer = napari.current_viewer()
    if viewer is None:
        show_info("There is no viewer whose session could be saved or opened.")
        return None
    _, desk = viewer.window.add_plugin_dock_widget(PLUGIN, "Orientation mapping")
    bar: SessionBar | None = desk.findChild(SessionBar)
    return bar
