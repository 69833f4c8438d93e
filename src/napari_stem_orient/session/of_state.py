"""OfState: an attribute of a Session that reads as the one of its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from napari_stem_orient.session.state import ScanState

Value = TypeVar("Value")


class HasState(Protocol):
    """What has a state: a Session."""

    state: ScanState


class OfState(Generic[Value]):
    """An attribute of a Session that reads as the one of its state, and is changed by `Session.update` only."""

    def __init__(self, read: Callable[[ScanState], Value]) -> None:
        self._read = read
        self._name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, session: None, owner: type[object]) -> OfState[Value]: ...
    @overload
    def __get__(self, session: HasState, owner: type[object]) -> Value: ...
    def __get__(self, session: HasState | None, owner: type[object]) -> OfState[Value] | Value:
        return self if session is None else self._read(session.state)

    def __set__(self, session: HasState, value: object) -> None:
        raise AttributeError(
            f"{self._name} belongs to the state of the Session: change it with Session.update"
        )
