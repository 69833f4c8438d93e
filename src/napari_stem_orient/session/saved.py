"""Saved: which results of a session are in a file, and which are kept in no journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Result = BraggPeaks | OrientationMap


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What is in files and in journals; a change makes another one.

    Attributes
    ----------
    peaks : fingerprints of peaks that are in a file
    opened : the pixels of peaks that come from a file: no journal keeps what is changed of them
    maps : the answers of maps that are in a file, by their names; what is confirmed later makes no other map of them
    not_kept : kinds of results whose journal can be kept no longer
    """

    peaks: frozenset[str] = frozenset()
    opened: NDArray[np.float32] | None = None
    maps: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    not_kept: frozenset[type[Result]] = frozenset()

    def with_file(self, result: Result) -> Saved:
        """A result is in a file, as it is now."""
        if isinstance(result, BraggPeaks):
            return replace(self, peaks=self.peaks | {result.fingerprint})
        return replace(self, maps={**self.maps, result.key: result.phase_id})

    def with_files(self, results: Iterable[Result]) -> Saved:
        """Results are in a file, as they are now."""
        saved = self
        for result in results:
            saved = saved.with_file(result)
        return saved

    def with_opened(self, peaks: BraggPeaks) -> Saved:
        """Peaks come from a file."""
        return replace(self.with_file(peaks), opened=peaks.x_px)

    def with_journal(self, kind: type[Result], *, lost: bool) -> Saved:
        """The journal of the results of this kind has begun, or can be kept no longer."""
        return replace(self, not_kept=self.not_kept | {kind} if lost else self.not_kept - {kind})

    def has(self, result: Result) -> bool:
        """Whether a result is in a file as it is now."""
        if isinstance(result, BraggPeaks):
            return result.fingerprint in self.peaks
        return self.maps.get(result.key) is result.phase_id

    def is_kept(self, result: Result) -> bool:
        """Whether a journal keeps a result that is in no file."""
        kind = BraggPeaks if isinstance(result, BraggPeaks) else OrientationMap
        opened = isinstance(result, BraggPeaks) and result.x_px is self.opened
        return not opened and kind not in self.not_kept
