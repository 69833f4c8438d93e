"""OneByOne: things that take a moment each, done in turns of the event loop between which the window goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from qtpy.QtCore import QTimer

Item = TypeVar("Item")


class OneByOne(Generic[Item]):
    """A list of what waits to be done; lives in the main thread.

    Parameters
    ----------
    do : does one of them
    """

    def __init__(self, do: Callable[[Item], object]) -> None:
        self._do = do
        self._waiting: list[Item] = []
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._on_turn)

    def add(self, items: Iterable[Item]) -> None:
        """Have more done, after what waits already."""
        self._waiting += items
        self._timer.start()

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """Forget what waits and is not wanted any more."""
        self._waiting = [item for item in self._waiting if wanted(item)]

    def do_all(self) -> None:
        """Do at once what waits."""
        while self._waiting:
            self._do(self._waiting.pop(0))

    def stop(self) -> None:
        """Forget all that waits."""
        self._waiting.clear()
        self._timer.stop()

    def _on_turn(self) -> None:
        if self._waiting:
            self._timer.start()
            self._do(self._waiting.pop(0))
