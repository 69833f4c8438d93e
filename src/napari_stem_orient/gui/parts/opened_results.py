"""Results from files: the question of which scan they are, where that is not the one that is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QPushButton, QWidget

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.session import opened_results

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.gui.parts.panel import Panel
    from napari_stem_orient.session.opened_results import Then
    from napari_stem_orient.session.saved import Result
    from napari_stem_orient.session.session import Session


class UserAsked:
    """Asks the user what is to become of what is there; the questions do not wait: jobs go on.

    Parameters
    ----------
    session
        What is open.
    parent
        Gives the widget that a question stands over, or None.
    """

    def __init__(self, session: Session, *, parent: Callable[[], QWidget | None]) -> None:
        self._session, self._parent = session, parent

    def before_opening(self, content: DataCube | Result, then: Then, *, otherwise: Then) -> None:
        """Do ``then``, which opens something, once what it replaces is saved, kept or given up; else ``otherwise``."""
        leaving_of(self._session).before_opening(content, then, otherwise=otherwise)

    def which_scan(self, result: Result, *, alone: Then, together: Then, otherwise: Then) -> None:
        """Open a result of another scan alone, or use it together with the scan that is open; else ``otherwise``."""
        what = "These Bragg peaks were" if isinstance(result, BraggPeaks) else "This orientation map was"
        open_name = self._session.source.name
        known = result.name and result.name != open_name
        made_from = f"“{result.name}”" if known else "another file of that name"
        box = QMessageBox(self._parent())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Another scan")
        box.setText(f"{what} made from another scan than “{open_name}”, which is open.")
        box.setInformativeText(
            f"Made from: {made_from}. A file that was copied or written anew since counts as another one, too."
        )
        button = _button(box, "Open alone", "open_alone", alone)
        _button(box, f"Use with “{open_name}”", "use_together", together)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.rejected.connect(otherwise)
        box.setDefaultButton(button)
        box.open()


def take_result(panel: Panel, result: Result) -> None:
    """Hand a result from a file to the Session, having asked in this panel where something would be replaced."""
    asks = UserAsked(panel.session, parent=lambda: panel)
    opened_results.take_result(
        panel.session, result, asks=asks, say=panel.show_message, otherwise=lambda: None
    )


def _button(box: QMessageBox, words: str, name: str, slot: Then) -> QPushButton:
    button = box.addButton(words, QMessageBox.ButtonRole.ActionRole)
    assert button is not None
    button.setObjectName(name)
    button.clicked.connect(lambda _=False: slot())
    return button
