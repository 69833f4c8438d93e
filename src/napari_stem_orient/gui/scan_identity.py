"""ScanIdentity: which scan the results of a Session are of, told by fingerprints of its data and not by its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.gui.session import Session

    OfScan = DataCube | BraggPeaks | OrientationMap


class ScanIdentity:
    """The fingerprints and the name under which the data of one scan are known.

    There is more than one fingerprint where the user has said that a result belongs to the scan in spite of another
    one: files are copied, and their times change.

    Attributes
    ----------
    name
        Of the scan, or of the result that was opened first.
    token
        Another one for each scan that is opened in this window: for layers, which may outlive it.
    """

    def __init__(self) -> None:
        self._fingerprints: set[str] = set()
        self.name = ""
        self.token = uuid4().hex

    def forget(self) -> None:
        """Know no scan; the next one gets a token of its own."""
        self._fingerprints.clear()
        self.name = ""
        self.token = uuid4().hex

    def join(self, something: OfScan) -> None:
        """Count a scan or a result, and all that comes from the same data, as of this scan."""
        fingerprint = source_of(something)
        if fingerprint is not None:
            self._fingerprints.add(fingerprint)
        if _is_scan(something) or not self.name:
            self.name = something.name

    def has(self, something: OfScan) -> bool | None:
        """Whether a scan or a result comes from this scan; None where nothing tells."""
        fingerprint = source_of(something)
        if fingerprint is not None and self._fingerprints:
            return fingerprint in self._fingerprints
        nothing_but_names = fingerprint is None and not self._fingerprints
        if nothing_but_names and something.name and self.name and something.name != self.name:
            return False
        return None


def source_of(something: OfScan) -> str | None:
    """Return the fingerprint of the data that a result was made from, or of a scan itself; None where unknown."""
    fingerprint: str | None = getattr(something, "opened_as" if _is_scan(something) else "source_fingerprint")
    return fingerprint


def _is_scan(something: OfScan) -> bool:
    """Whether it is a scan itself; by what it has, for its class would bring dask before the window is there."""
    return not hasattr(something, "source_fingerprint")


def doubts(session: Session) -> str:
    """Say which results nobody can tell to be of the open scan, because their files do not say; empty for none."""
    peaks, current = session.peaks, session.current_map
    if session.datacube is None:
        return ""
    unsure = ["the Bragg peaks"] if peaks is not None and peaks.source_fingerprint is None else []
    if current is not None and current.source_fingerprint is None:
        of_peaks = peaks is not None and current.peaks_fingerprint == session.peaks_fingerprint
        unsure += [] if of_peaks else ["the orientation map"]
    if not unsure:
        return ""
    verb, their = (
        ("were", "their files do") if len(unsure) > 1 or "peaks" in unsure[0] else ("was", "its file does")
    )
    return f"Whether {' and '.join(unsure)} {verb} made from this scan, {their} not say: only the scan shape agrees."
