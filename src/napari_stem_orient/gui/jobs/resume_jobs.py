"""Jobs around results that are kept in journals: blocks as they come, and what earlier runs have left of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.core.bragg_peaks import BraggPeaks

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.datacube import DataCube
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


def kept_map(scan: str | None, peaks: str | None) -> OfferedMap | None:
    """The map of a scan, or of peaks (their fingerprints), that came furthest and was not saved; None without one."""
    from napari_stem_orient.runs.map_journal import find_kept_maps

    found = next(iter(find_kept_maps(scan=scan, peaks=peaks)), None)
    return None if found is None else OfferedMap(found.orientation_map, str(found), found.path)


def save_result(result: BraggPeaks | OrientationMap, path: Path) -> None:
    """Write a result into a file; the journal that has kept it until now goes."""
    from napari_stem_orient.io.maps import save_orientation_map
    from napari_stem_orient.io.peaks import save_bragg_peaks
    from napari_stem_orient.runs.map_journal import remove_interrupted_maps
    from napari_stem_orient.runs.peaks_journal import remove_kept_peaks

    if isinstance(result, BraggPeaks):
        save_bragg_peaks(result, path)
        remove_kept_peaks(result)
    else:
        save_orientation_map(result, path)
        remove_interrupted_maps(result)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What journals keep of one scan: its detections, and the maps of these methods.

    `peaks` are those that are there by now; `scan` and `peaks_fingerprint` tell what the maps are of.
    """

    peaks: BraggPeaks | None
    datacube: DataCube | None
    scan: str | None
    peaks_fingerprint: str | None
    methods: tuple[str, ...]


def forget(kept: Kept) -> None:
    """Remove the journals of results that are saved, or that nobody wants."""
    from napari_stem_orient.runs.map_journal import remove_kept_maps
    from napari_stem_orient.runs.peaks_journal import remove_interrupted_detections, remove_kept_peaks

    if kept.peaks is not None:
        remove_kept_peaks(kept.peaks)
    if kept.datacube is not None:
        remove_interrupted_detections(kept.datacube)
    for method in kept.methods:
        remove_kept_maps(scan=kept.scan, peaks=kept.peaks_fingerprint, method=method)
