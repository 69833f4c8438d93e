"""ResultRow: which of the results that stand side by side the panels are about, and one that is not wanted goes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QPushButton, QWidget

from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.session.results import result_title
from napari_stem_orient.session.state import Stage
from napari_stem_orient.session.unsaved import unsaved_results

if TYPE_CHECKING:
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.session.session import Session


class ResultRow(QWidget):
    """A list of the results by name, and a button that removes the one chosen; hidden while there is one or none.

    Parameters
    ----------
    session
        Whose results these are.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.box = narrow_box()
        self.box.setToolTip("Which result the panels and exports are about.")
        self.box.currentIndexChanged.connect(self._on_chosen)
        self.remove_button = QPushButton("Remove…")
        self.remove_button.setToolTip("Remove this result and its layers; files stay as they are.")
        self.remove_button.clicked.connect(self._on_remove)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Result"))
        layout.addWidget(self.box, 1)
        layout.addWidget(self.remove_button)
        self.question: QMessageBox | None = None

    def refresh(self) -> None:
        """List the results that there are."""
        session = self._session
        self.box.blockSignals(True)
        self.box.clear()
        for name, orientation_map in session.orientation_maps.items():
            self.box.addItem(result_title(orientation_map), name)
        self.box.setCurrentIndex(self.box.findData(session.state.current))
        self.box.blockSignals(False)
        self.remove_button.setEnabled(session.running_job(Stage.INDEX) is None)
        self.setVisible(self.box.count() > 1)

    def _on_chosen(self, _: int) -> None:
        chosen = self._session.orientation_maps.get(str(self.box.currentData()))
        if chosen is not None and self._session.running_job(Stage.INDEX) is None:
            self._session.set_map(chosen)

    def _on_remove(self) -> None:
        chosen = self._session.current_map
        if chosen is None:
            return
        unsaved = [each for each in unsaved_results(self._session.state) if each.result is chosen]
        if not unsaved:
            self._remove(chosen)
            return
        box = self.question = QMessageBox(self.window())
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle("Remove a result")
        box.setText(f"{unsaved[0].words}, is in no file.")
        confirm = box.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)
        assert confirm is not None
        confirm.clicked.connect(partial(self._on_confirmed, chosen))
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.open()  # a box that waits for its answer would hold the window up

    def _on_confirmed(self, chosen: OrientationMap, *_: object) -> None:
        self._remove(chosen)

    def _remove(self, chosen: OrientationMap) -> None:
        if self._session.running_job(Stage.INDEX) is None:
            self._session.remove_result(chosen.key)
