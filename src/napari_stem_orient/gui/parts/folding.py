"""Folding: a title that shows or hides what stands below it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QElidingLabel


class Folding(QWidget):
    """A button with an arrow, a note at its right, and a body that follows the size of its content.

    Parameters
    ----------
    title
        The words on the button.
    body
        What is folded away.
    unfolded
        Whether the body is shown at first.
    """

    def __init__(
        self, title: str, body: QWidget, *, unfolded: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.note = QElidingLabel()
        self.note.setEllipsesWidth(6)  # or the sign that a long note begins with is cut in half
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.body = body
        header = QHBoxLayout()
        header.setContentsMargins(0, 0, 0, 0)
        header.addWidget(self.button)
        header.addWidget(self.note, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(header)
        layout.addWidget(body)
        self.button.toggled.connect(self._on_toggled)
        self.button.setChecked(unfolded)
        self._on_toggled(unfolded)

    @property
    def unfolded(self) -> bool:
        """Whether the body is shown."""
        return self.button.isChecked()

    def set_unfolded(self, unfolded: bool) -> None:
        """Show or hide the body."""
        self.button.setChecked(unfolded)

    def _on_toggled(self, unfolded: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
        self.body.setVisible(unfolded)
