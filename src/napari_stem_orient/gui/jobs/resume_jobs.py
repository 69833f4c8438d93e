"""Jobs around results that are kept in journals: blocks as they come, and what earlier runs have left of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.orientation_map import OrientationMap


def forget_kept(path: Path) -> None:
    """Remove one journal that the user does not want."""
    path.unlink(missing_ok=True)


def keep_calibrated(peaks: BraggPeaks, scan: Calibration | None) -> bool:
    """Keep what the peaks are calibrated with by now, where a journal keeps the peaks."""
    from napari_stem_orient.runs.peaks_journal import keep_calibration

    return keep_calibration(peaks, scan=scan)


@dataclass(frozen=True, slots=True, eq=False)
class OfferedMap:
    """A map that was not saved, its journal, and what is there in words."""

    orientation_map: OrientationMap
    words: str
    path: Path


def kept_map(
    scan: str | None, peaks: str | None, besides: tuple[OrientationMap, ...] = ()
) -> OfferedMap | None:
    """The map of a scan, or of peaks (their fingerprints), that came furthest and was not saved; None without one.

    Maps made like those that are there ``besides`` are left out.
    """
    from napari_stem_orient.runs.map_journal import find_kept_maps

    found = next(iter(find_kept_maps(scan=scan, peaks=peaks, besides=besides)), None)
    return None if found is None else OfferedMap(found.orientation_map, str(found), found.path)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What journals keep of these peaks and maps, and of runs that are being stopped: their journals."""

    peaks: BraggPeaks | None
    maps: tuple[OrientationMap, ...]
    running: tuple[Path, ...]


def forget(kept: Kept) -> None:
    """Remove the journals of what nobody wants; what else was found in the same scan stays."""
    from napari_stem_orient.runs.map_journal import remove_interrupted_maps
    from napari_stem_orient.runs.peaks_journal import remove_kept_peaks
    from napari_stem_orient.runs.run_journal import is_being_written

    if kept.peaks is not None:
        remove_kept_peaks(kept.peaks)
    for orientation_map in kept.maps:
        remove_interrupted_maps(orientation_map)
    for path in kept.running:
        if not is_being_written(path):  # by another program
            path.unlink(missing_ok=True)
