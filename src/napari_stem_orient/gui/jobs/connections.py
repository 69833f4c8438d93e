"""Connections: signals that one object listens to and leaves together, and what is done when a Qt object is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from psygnal import SignalInstance
from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.state import ScanState


class Connections:
    """Keeps what was connected, so that a widget that goes away is called no more.

    psygnal and napari hold bound methods weakly, but a deleted Qt widget can outlive its window as a Python object.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Callable[..., object]]] = []

    def connect(self, signal: Any, slot: Callable[..., object]) -> None:
        """Connect a psygnal signal or napari event emitter."""
        signal.connect(slot)
        self._pairs.append((signal, slot))

    def watch(self, session: Session, names: tuple[str, ...], slot: Callable[[], object]) -> None:
        """Call a slot whenever any of these fields or properties of a Session's state has changed."""
        self.connect(session.changed, _Watch(names, slot).on_changed)

    def disconnect_all(self) -> None:
        """Disconnect everything; safe to call again."""
        while self._pairs:
            signal, slot = self._pairs.pop()
            if isinstance(signal, SignalInstance):
                signal.disconnect(slot, missing_ok=True)
            else:
                signal.disconnect(slot)


class _Watch:
    """Fields of a Session's state that somebody shows."""

    def __init__(self, names: tuple[str, ...], slot: Callable[[], object]) -> None:
        self._names, self._slot = names, slot

    def on_changed(self, before: ScanState, after: ScanState) -> None:
        """Tell of what differs; what is there by now is in the Session."""
        if after.differs_in(before, *self._names):
            self._slot()


def when_destroyed(watched: QObject, function: Callable[..., object], *arguments: object) -> None:
    """Call a function when Qt destroys an object.

    Nothing is called where Python's garbage collection takes the object, and with it the arguments: by then they may be
    taken apart already. Neither a partial nor a lambda connected to ``destroyed`` survives that: calling one that the
    collection has cleared is a segmentation fault.
    """
    watched.destroyed.connect(_WhenDestroyed(function, arguments))


class _WhenDestroyed:
    """A slot that knows whether garbage collection is taking it apart: that clears all weak references first."""

    __slots__ = ("__weakref__", "_alive", "_arguments", "_function")

    def __init__(self, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self._function, self._arguments = function, arguments
        self._alive = ref(self)

    def __call__(self, *_: object) -> None:
        alive = getattr(self, "_alive", None)
        if alive is not None and alive() is not None:
            self._function(*self._arguments)
