"""LayersButton: a menu of all layers that there are to show; one that was deleted comes back when it is ticked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


@dataclass(frozen=True, slots=True)
class OfferedLayer:
    """A layer that can be shown: ``layer`` is None where it was deleted, or not made yet, and ``make`` makes it."""

    title: str
    layer: Layer | None
    make: Callable[[], object]


class OffersLayers(Protocol):
    """Whatever makes layers of ours."""

    def offered(self) -> list[OfferedLayer]:
        """What there is to show now, from the topmost down."""


class LayersButton(QPushButton):
    """Opens the menu, which is made anew each time.

    Parameters
    ----------
    napari_viewer : whose layers they are
    offers : knows which there could be
    """

    def __init__(
        self, napari_viewer: napari.Viewer, offers: OffersLayers, parent: QWidget | None = None
    ) -> None:
        super().__init__("Layers", parent)
        self._viewer, self._offers = napari_viewer, offers
        self.setToolTip(
            "<qt>Show or hide maps and images. One that you have deleted comes back when you tick it.</qt>"
        )
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self.fill_menu)
        self.setMenu(self._menu)

    def fill_menu(self) -> QMenu:
        """List what there is to show now, ticked where it is shown."""
        self._menu.clear()
        for offered in self._offers.offered():
            action = self._menu.addAction(offered.title)
            assert action is not None
            action.setCheckable(True)
            action.setChecked(offered.layer is not None and bool(offered.layer.visible))
            action.triggered.connect(partial(self._on_ticked, offered, action))
        if self._menu.isEmpty():
            nothing = self._menu.addAction("Nothing to show yet: open a scan first")
            assert nothing is not None
            nothing.setEnabled(False)
        return self._menu

    def _on_ticked(self, offered: OfferedLayer, action: QAction, *_: object) -> None:
        layer, wanted = offered.layer, action.isChecked()  # PySide6 hands no value to a partial
        if layer is None or layer not in self._viewer.layers:
            offered.make()
        else:
            layer.visible = wanted
            if wanted:
                self._viewer.layers.selection.active = layer
