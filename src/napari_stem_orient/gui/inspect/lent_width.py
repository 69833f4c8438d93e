"""LentWidth: the width that a panel takes for a while and gives back, which Qt's docks do not do by themselves."""

from __future__ import annotations

from weakref import ref

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

LAYOUT_MS = 30  # between two looks at whether the docks are laid out anew
MOST_TRIES = 20
LEAST_DOCK_WIDTH = 50  # napari's; the widget inside has a least width of its own


class LentWidth:
    """Remembers how wide the dock and the window of a widget were, and makes them so again.

    Parameters
    ----------
    widget : in the dock; held weakly
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = ref(widget)
        self._before: tuple[int, int] | None = None  # widths of dock and window
        self._tries_left = 0

    def take(self) -> None:
        """Note the widths, just before the widget asks for more."""
        self._tries_left = 0
        if self._before is not None:  # not given back yet
            return
        dock, window = self._dock()
        self._before = None if dock is None or window is None else (dock.width(), window.width())

    def give_back(self) -> None:
        """Make dock and window as narrow as they were, as soon as the widget has let go of the width."""
        self._tries_left = MOST_TRIES
        self._try_again()

    def _try_again(self) -> None:
        if self._before is not None and self._tries_left:
            self._tries_left -= 1
            QTimer.singleShot(LAYOUT_MS, self._shrink)

    def _shrink(self) -> None:
        dock, window = self._dock()
        if dock is None or window is None or self._before is None or not self._tries_left:
            return
        width, of_window = self._before
        if dock.width() <= width and window.width() <= of_window:
            self._before = None
            return
        dock.setMinimumWidth(LEAST_DOCK_WIDTH)  # Qt lets it grow with what is in it, never shrink
        if window.width() > of_window and not (window.isMaximized() or window.isFullScreen()):
            window.resize(of_window, window.height())
        if dock.isFloating():
            dock.resize(width, dock.height())
        else:
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        self._try_again()  # the layout may not have followed yet

    def _dock(self) -> tuple[QDockWidget | None, QMainWindow | None]:
        widget = self._widget()
        while widget is not None and not isinstance(widget, QDockWidget):
            widget = widget.parentWidget()
        window = None if widget is None else widget.parentWidget()
        return widget, window if isinstance(window, QMainWindow) else None


def room_beside(widget: QWidget, width: int) -> Qt.Orientation:
    """Return how something of a width is put beside a widget: below it where the screen has no room for both."""
    window, screen = widget.window(), widget.screen()
    if window is None or screen is None:
        return Qt.Orientation.Horizontal
    needed = max(window.minimumSizeHint().width(), window.minimumWidth()) + width
    fits = needed <= screen.availableGeometry().width()
    return Qt.Orientation.Horizontal if fits else Qt.Orientation.Vertical
