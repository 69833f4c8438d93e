"""Connections: signals of psygnal and napari that one object listens to, and leaves together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance


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

    def disconnect_all(self) -> None:
        """Disconnect everything; safe to call again."""
        while self._pairs:
            signal, slot = self._pairs.pop()
            if isinstance(signal, SignalInstance):
                signal.disconnect(slot, missing_ok=True)
            else:
                signal.disconnect(slot)
