"""watched: what a field of a Session's state becomes, one value for each change."""

from __future__ import annotations

from typing import Any

from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import ScanState


def watched(session: Session, name: str) -> list[Any]:
    """Return a list that grows by the value of a field or property whenever it has changed."""
    seen: list[Any] = []

    def note(before: ScanState, after: ScanState) -> None:
        if after.differs_in(before, name):
            seen.append(getattr(after, name))

    session.changed.connect(note)
    return seen
