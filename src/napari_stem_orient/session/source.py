"""Source: which scan the results of a session are of, told by fingerprints of its data and not by its shape."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.orientation_map import OrientationMap

    OfScan = DataCube | BraggPeaks | OrientationMap


def _new_token() -> str:
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Source:
    """The fingerprints and the name under which the data of one scan are known; as it begins, no scan is.

    There is more than one fingerprint where the user has said that a result belongs to the scan in spite of another
    one: files are copied, and their times change.

    Attributes
    ----------
    name : of the scan, or of the result that was opened first
    fingerprints : of its data
    token : another one for each scan that is opened in this window: for layers, which may outlive it
    """

    name: str = ""
    fingerprints: frozenset[str] = frozenset()
    token: str = field(default_factory=_new_token)

    def joined_by(self, something: OfScan) -> Source:
        """The source, a scan or a result and all that comes from the same data counted as of it."""
        fingerprint = source_of(something)
        more = frozenset() if fingerprint is None else {fingerprint}
        name = something.name if _is_scan(something) or not self.name else self.name
        return replace(self, name=name, fingerprints=self.fingerprints | more)

    def has(self, something: OfScan) -> bool | None:
        """Whether a scan or a result comes from this scan; None where nothing tells."""
        fingerprint = source_of(something)
        if fingerprint is not None and self.fingerprints:
            return fingerprint in self.fingerprints
        nothing_but_names = fingerprint is None and not self.fingerprints
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
