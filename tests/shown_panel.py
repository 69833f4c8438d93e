"""How tests show a panel by itself: with a viewer that has no window."""

from __future__ import annotations

from typing import Protocol, TypeVar

from qtpy.QtWidgets import QWidget

Panel = TypeVar("Panel", bound=QWidget)


class ShowPanel(Protocol):
    """The fixture `show_panel`: makes a panel of a kind, shows it, and closes it after the test."""

    def __call__(self, kind: type[Panel]) -> Panel: ...
