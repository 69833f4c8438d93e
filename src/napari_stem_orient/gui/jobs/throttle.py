"""Throttle: calls a function at once, and while calls keep coming only so often, the last one never lost."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from qtpy.QtCore import QObject, QTimer


class Throttle:
    """Calls a bound method, which is held weakly, at most once in an interval.

    Parameters
    ----------
    method : takes no arguments: it reads the state that is current when it is called
    interval_ms : between two calls
    parent : the widget whose end is the end of the timer, if there is one
    """

    def __init__(
        self, method: Callable[[], object], *, interval_ms: int, parent: QObject | None = None
    ) -> None:
        self._method = WeakMethod(method)
        self._waiting = False
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self._on_timeout)

    def __call__(self) -> None:
        """Call the method now, or as soon as the interval since the last call is over."""
        if self._timer.isActive():
            self._waiting = True
            return
        self._timer.start()
        self._call()

    def stop(self) -> None:
        """Call the method no more for what has been asked so far."""
        self._waiting = False
        self._timer.stop()

    def _on_timeout(self) -> None:
        if self._waiting:
            self._waiting = False
            self._timer.start()
            self._call()

    def _call(self) -> None:
        method = self._method()
        if method is not None:
            method()
