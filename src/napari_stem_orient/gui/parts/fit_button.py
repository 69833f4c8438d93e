"""FitButton: what brings a zoomed plot back, always in sight where its axes meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QToolButton

ZOOM_WORDS = (
    "Ctrl and the wheel zoom, or the wheel alone after a click; “Fit” or a double click shows all again."
)
"""Ends the tooltip of every plot."""


class FitButton(QToolButton):
    """Stands in the lower left corner of a plot, where the axes leave room; a double click in the plot does the same.

    Parameters
    ----------
    view : the plot, which keeps the button
    fit : shows all that is drawn
    """

    def __init__(self, view: pg.GraphicsView, fit: Callable[[], object]) -> None:
        super().__init__(view)
        self._view, self._fit = view, fit
        self.setText("Fit")
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        font = self.font()
        font.setPointSizeF(max(7.0, 0.8 * font.pointSizeF()))
        self.setFont(font)
        self.setToolTip("Show all again; a double click in the plot does so, too.")
        self.clicked.connect(self._on_clicked)
        view.scene().sigMouseClicked.connect(self._on_scene_clicked)
        view.installEventFilter(self)
        self._place()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Stay in the corner."""
        if watched is self._view and event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        self.move(1, self._view.height() - self.height() - 1)
        self.raise_()

    def _on_clicked(self) -> None:
        self._fit()

    def _on_scene_clicked(self, event: Any) -> None:
        if event.double() and event.button() == Qt.MouseButton.LeftButton:
            self._fit()
