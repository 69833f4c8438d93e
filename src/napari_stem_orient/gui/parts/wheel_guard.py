"""The wheel scrolls a panel: it changes a value, or zooms a plot, only in what was chosen by a click."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QFocusEvent, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QGraphicsView,
    QLabel,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QWidget,
)

_BY_THE_USER = {
    Qt.FocusReason.MouseFocusReason,
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
}
_BACK_AGAIN = {
    Qt.FocusReason.PopupFocusReason,  # the list of a combo box has closed
    Qt.FocusReason.ActiveWindowFocusReason,
    Qt.FocusReason.MenuBarFocusReason,
}
_GUARDED = "napari_stem_orient_wheel_guarded"
_WITHOUT_CHILDREN = (QLabel, QAbstractButton, QScrollBar)


class WheelGuard(QObject):
    """Watches a panel and all that is in it, now or later; what turns with the wheel waits for a click.

    Combo boxes, number boxes, sliders and plots that were not clicked (or reached with the Tab key) pass the wheel
    on to the area that scrolls; tab bars always do. Plots zoom with Ctrl held down, too.

    Parameters
    ----------
    panel : the panel; the guard belongs to it and goes with it
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._panel = panel
        self._chosen: QWidget | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._look_at_new)
        self._have_more: list[QWidget] = []  # watched widgets into which something has come
        self._watch(panel)
        self.look()

    def look(self) -> None:
        """Watch what has come into the panel since the last time, wherever."""
        self._look_into(self._panel)

    def _look_at_new(self) -> None:
        """Watch what has come, and what is in it; the rest of the panel, hundreds of widgets, is not looked at."""
        parents, self._have_more = self._have_more, []
        for parent in parents:
            with suppress(RuntimeError):  # it has gone meanwhile
                self._look_into(parent)

    def _look_into(self, parent: QWidget) -> None:
        """Watch what is in a widget, on all levels below it."""
        direct = Qt.FindChildOption.FindDirectChildrenOnly
        for widget in parent.findChildren(QWidget, options=direct):
            if isinstance(widget, _WITHOUT_CHILDREN) or widget.isWindow():  # lists that drop down
                continue
            if widget.property(_GUARDED) is None:
                self._watch(widget)
                self._look_into(widget)

    def _watch(self, widget: QWidget) -> None:
        if _turns(widget) and widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
            widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(self)
        widget.setProperty(_GUARDED, True)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Look at new children, keep who was chosen, and take the wheel from who was not."""
        if watched is None or event is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.ChildAdded and isinstance(watched, QWidget):
            if not (self._have_more and self._have_more[-1] is watched):
                self._have_more.append(watched)
            self._timer.start()  # a child that was just added may not be complete yet
        elif kind == QEvent.Type.Wheel:
            return isinstance(event, QWheelEvent) and self._passes_on(watched, event)
        elif kind == QEvent.Type.FocusIn and isinstance(event, QFocusEvent):
            self._on_focus(watched, event.reason())
        elif kind == QEvent.Type.MouseButtonPress:
            self._chosen = _owner(watched) or self._chosen
        return False

    def _on_focus(self, watched: QObject, reason: Qt.FocusReason) -> None:
        owner = _owner(watched)
        if reason in _BY_THE_USER and owner is not None:
            self._chosen = owner
        elif owner is not self._chosen and reason not in _BACK_AGAIN:
            self._chosen = None

    def _passes_on(self, watched: QObject, event: QWheelEvent) -> bool:
        owner = _owner(watched)
        if owner is None:
            return False
        zooms = isinstance(owner, QGraphicsView) and bool(
            event.modifiers() & Qt.KeyboardModifier.ControlModifier
        )
        window = owner.window()
        chosen = owner is self._chosen and window is not None and window.focusWidget() is owner
        if zooms or (chosen and not isinstance(owner, QTabBar)):
            return False
        event.ignore()  # which hands it to the parent
        return True


def guard_wheel(panel: QWidget) -> WheelGuard:
    """Have the wheel scroll a panel, see `WheelGuard`; every panel of ours is guarded as soon as it is made."""
    return WheelGuard(panel)


def _turns(widget: QObject) -> bool:
    """Whether the wheel changes something in a widget, other than what of a page is in sight."""
    if isinstance(widget, QScrollBar):
        return False
    return isinstance(widget, (QAbstractSpinBox, QComboBox, QAbstractSlider, QTabBar, QGraphicsView))


def _owner(watched: QObject) -> QWidget | None:
    """The widget that would turn: itself, or that whose line or picture it is; None for any other."""
    if isinstance(watched, QWidget) and _turns(watched):
        return watched
    parent = watched.parent()
    if isinstance(watched, QWidget) and isinstance(parent, (QAbstractSpinBox, QComboBox, QGraphicsView)):
        is_part = isinstance(watched, QLineEdit) or (
            isinstance(parent, QGraphicsView) and parent.viewport() is watched
        )
        return parent if is_part else None
    return None
