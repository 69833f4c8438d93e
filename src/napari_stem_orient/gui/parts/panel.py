"""Panel: what shows a Session and says in one line what was done or went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.session.session import Session

if TYPE_CHECKING:
    import napari


class Panel(QWidget):
    """A widget with a Session and a line for messages, which its subclasses make and give a place.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    message_label: QLabel

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session: Session = session_of(napari_viewer)

    def show_message(self, text: str) -> None:
        """Show one line about what was done or went wrong; nothing for an empty text."""
        self.message_label.setText(text)
        self.message_label.setVisible(bool(text))


def plain_label(text: str = "") -> QLabel:
    """Make a label that breaks into lines and never widens the panel."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
