"""DetectorListView: the names of the virtual detectors, their colours, and whether their images are up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget

from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.parts.pattern_view import circle_icon
from napari_stem_orient.gui.virtual.detectors import DetectorEntry, VirtualDetectors

KEY_ROLE = Qt.ItemDataRole.UserRole
HEIGHT = 96


class DetectorListView(QTreeWidget):
    """Mirrors a list of virtual detectors; selects, renames and removes.

    Parameters
    ----------
    detectors : the list
    connections : leaves the list's signals when the dock goes
    describe : says size and place of a detector, for its tooltip
    """

    def __init__(
        self,
        detectors: VirtualDetectors,
        connections: Connections,
        *,
        describe: Callable[[DetectorEntry], str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._detectors, self._describe = detectors, describe
        self._notes: dict[int, str] = {}
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setMaximumHeight(HEIGHT)
        self.setMinimumHeight(HEIGHT)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        header = self.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.setToolTip("The virtual detectors: double-click to rename, Delete to remove.")
        self.itemChanged.connect(self._on_item_changed)
        self.currentItemChanged.connect(self._on_current_changed)
        connections.connect(detectors.listed, self.refresh)
        connections.connect(detectors.changed, self._on_changed)
        connections.connect(detectors.selection_changed, self._on_selection_changed)
        self.refresh()

    def set_notes(self, notes: Mapping[int, str]) -> None:
        """Write something beside detectors, by key: how their images are."""
        self._notes = dict(notes)
        for item in self._items():
            self._fill(item)

    def refresh(self) -> None:
        """Show the list as it is."""
        self.blockSignals(True)
        self.clear()
        for entry in self._detectors.entries:
            item = QTreeWidgetItem(self)
            item.setData(0, KEY_ROLE, entry.key)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self._fill(item)
        self.blockSignals(False)
        selected = self._detectors.selected
        self._on_selection_changed(None if selected is None else selected.key)

    def note(self, key: int) -> str:
        """Return what is written beside a detector."""
        return next((item.text(1) for item in self._items() if item.data(0, KEY_ROLE) == key), "")

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Remove the selected detector with the key Delete."""
        selected = self._detectors.selected
        if event is not None and event.key() == Qt.Key.Key_Delete and selected is not None:
            self._detectors.remove(selected.key)
            return
        super().keyPressEvent(event)

    # --- mirroring -----------------------------------------------------------------------------------------

    def _items(self) -> list[QTreeWidgetItem]:
        items = (self.topLevelItem(index) for index in range(self.topLevelItemCount()))
        return [item for item in items if item is not None]

    def _fill(self, item: QTreeWidgetItem) -> None:
        entry = self._detectors.entry(int(item.data(0, KEY_ROLE)))
        if entry is None:
            return
        blocked = self.blockSignals(True)
        item.setText(0, entry.detector.name)
        item.setIcon(0, circle_icon(entry.colour, filled=entry.detector.shape == "disk"))
        item.setToolTip(0, self._describe(entry))
        item.setText(1, self._notes.get(entry.key, ""))
        self.blockSignals(blocked)

    def _on_changed(self, entry: DetectorEntry) -> None:
        for item in self._items():
            if item.data(0, KEY_ROLE) == entry.key:
                self._fill(item)

    def _on_selection_changed(self, key: int | None) -> None:
        self.blockSignals(True)
        chosen = next((item for item in self._items() if item.data(0, KEY_ROLE) == key), None)
        self.setCurrentItem(chosen)
        self.blockSignals(False)

    # --- what the user does --------------------------------------------------------------------------------

    def _on_current_changed(self, item: QTreeWidgetItem | None, _: object) -> None:
        if item is not None:
            self._detectors.select(int(item.data(0, KEY_ROLE)))

    def _on_item_changed(self, item: QTreeWidgetItem, _: int) -> None:
        """Take the new name; an empty one is put back."""
        entry = self._detectors.entry(int(item.data(0, KEY_ROLE)))
        name = item.text(0).strip()[:80]
        if entry is None:
            return
        if name and name != entry.detector.name:
            self._detectors.change(entry.key, entry.detector.updated(name=name))
        self._fill(item)
