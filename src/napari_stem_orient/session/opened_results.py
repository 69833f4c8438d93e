"""Peaks and maps from files: they are compared with the open scan by fingerprint before the Session takes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.session.rules import doubts

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.session.saved import Result
    from napari_stem_orient.session.session import Session

Then = Callable[[], object]
Say = Callable[[str], object]


class Asks(Protocol):
    """What only a person can decide; each question is answered later, by one of the functions."""

    def before_opening(self, content: DataCube | Result, then: Then, *, otherwise: Then) -> None:
        """Do ``then``, which opens something, once what it replaces is saved, kept or given up; else ``otherwise``."""

    def which_scan(self, result: Result, *, alone: Then, together: Then, otherwise: Then) -> None:
        """Open a result of another scan alone, or use it together with the scan that is open; else ``otherwise``."""


class NobodyAsked:
    """Answers where nobody could: what is opened takes the place of what was there."""

    def before_opening(self, content: DataCube | Result, then: Then, *, otherwise: Then) -> None:  # noqa: ARG002
        """Do it."""
        then()

    def which_scan(self, result: Result, *, alone: Then, together: Then, otherwise: Then) -> None:  # noqa: ARG002
        """Open it alone."""
        alone()


def take_result(session: Session, result: Result, *, asks: Asks, say: Say, otherwise: Then) -> None:
    """Hand a result from a file to the Session; where it is of another scan than the open one, the user decides.

    A result of a scan of another shape cannot be of the open one, and takes its place without a question.

    Parameters
    ----------
    session : that takes it
    result : peaks or a map
    asks : the user, what is to become of what is there
    say : in one line, how it went
    otherwise : done where the user would rather keep what is there
    """
    scan = session.datacube
    take = partial(_take, session, result, asks, say, otherwise)
    if scan is None or result.scan_shape != scan.scan_shape or session.belongs(result) is not False:
        take()
        return

    def together() -> None:
        session.count_as_open_scan(result)
        take()

    asks.which_scan(result, alone=take, together=together, otherwise=otherwise)


def _take(session: Session, result: Result, asks: Asks, say: Say, otherwise: Then) -> None:
    """Hand it over, once what it replaces is saved, kept or given up."""
    asks.before_opening(result, partial(_take_now, session, result, say), otherwise=otherwise)


def _take_now(session: Session, result: Result, say: Say) -> None:
    closed = session.source.name if session.belongs(result) is False else ""
    if isinstance(result, BraggPeaks):
        session.open_peaks(result)
        said = _peaks_opened(result)
    else:
        session.open_map(result)
        said = "Orientation map opened."
    parts = [said, doubts(session.state), f"“{closed}” was closed for it." if closed else ""]
    say(" ".join(filter(None, parts)))


def _peaks_opened(peaks: BraggPeaks) -> str:
    """Say how many peaks a file held, and what of it was left out."""
    left_out = int(peaks.parameters.get("left_out_not_finite", 0))
    note = f" {left_out:,} that were NaN or infinite were left out." if left_out else ""
    return f"{peaks.n_peaks:,} Bragg peaks opened.{note}"
