"""ScanState: all that is open, chosen and found in one viewer, frozen; a change makes another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.session.file_request import FileRequest
from napari_stem_orient.session.history import History
from napari_stem_orient.session.saved import Saved
from napari_stem_orient.session.source import Source
from napari_stem_orient.steps.choice import Choice

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import DetectedBlock
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.scan_summary import ScanSummary
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.session.calibration_state import CalibrationState
    from napari_stem_orient.session.scan_record import AbsentScan
    from napari_stem_orient.session.source import OfScan


ChoiceType = TypeVar("ChoiceType", bound=Choice)


class Stage(StrEnum):
    """The five stages from a file to maps, in order; no other waits for Calibrate."""

    OPEN = "Open"
    DETECT = "Detect"
    CALIBRATE = "Calibrate"
    INDEX = "Index"
    EXPORT = "Export"


class RunningJob(Protocol):
    """What a session needs of a job: that it can be told to stop and say nothing more."""

    def discard(self) -> None:
        """Stop the job and drop whatever it still sends."""


@dataclass(frozen=True, slots=True, eq=False)
class MapResult:
    """A map among the results; another one as soon as it is complete or has another calibration."""

    orientation_map: OrientationMap


@dataclass(frozen=True, slots=True)
class CrystalsToIndex:
    """The crystals to index with, and how they came to be chosen.

    Attributes
    ----------
    crystals : that are indexed with
    chosen : whether somebody has chosen them to index with, or has indexed with them
    carried : whether they, and the settings, are those that were chosen for the scan before
    """

    crystals: tuple[Crystal, ...] = ()
    chosen: bool = False
    carried: bool = False

    @property
    def lent(self) -> bool:
        """Whether they are those of the calibration, and nobody has chosen them to index with."""
        return bool(self.crystals) and not self.chosen


@dataclass(frozen=True, slots=True, eq=False)
class ScanState:
    """What is open, chosen and found; all of it but crystals, models and four indices belongs to one scan.

    Scans are told apart by the fingerprints of their data, see `Source`: two scans of one shape are two scans, and the
    same one opened again is the same.

    Attributes
    ----------
    source : which scan it is
    opening : another number each time a scan is opened or closed: all that shows one begins anew
    datacube : with the calibration in force, or None
    absent : the scan of a session file that was not found, kept for the next time that the session is saved; or None
    summary, mean_pattern : of the whole scan; (det_y, det_x) float32 over the blocks read so far; or None
    open_needs : what the file that was chosen last needs before it is open ("another file: x.h5 could not be opened");
        None where what is open is that file
    request : the file that was chosen last, and what came of it
    choices : what the user has decided about each step, by the step's name; see `choice`
    position : (y, x) that is looked at, or None
    preview : disks of the pattern at `position` with the parameters now in the form, or None
    probe, detection_parameters : of the next detection, or None before they were suggested
    detector_mask : (det_y, det_x) bool, True where a detector pixel is not to be used, or None
    peaks : complete or not, or None
    history : what was done to the calibration of scan and peaks
    calibration_skipped : whether the user went on without calibrating
    to_index : the crystals to index with
    model_folders : of models that the user chose or trained, the newest first, beside the shipped ones
    model_needed : what the chosen method lacks to index the crystals, or None
    results : the maps by their names, the newest last; see `results.named`
    current : name of the map that the panels are about, or None
    exported_map : the map that was saved last, or None
    saved : which results are in a file
    four_indices : whether zone axes of hexagonal crystals are shown and written with four indices
    runs : the job that runs for each stage
    """

    source: Source = field(default_factory=Source)
    opening: int = 0
    datacube: DataCube | None = None
    absent: AbsentScan | None = None
    summary: ScanSummary | None = None
    mean_pattern: NDArray[np.float32] | None = None
    open_needs: str | None = None
    request: FileRequest = field(default_factory=FileRequest)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    position: tuple[int, int] | None = None
    preview: DetectedBlock | None = None
    probe: ProbeTemplate | None = None
    detection_parameters: DetectionParameters | None = None
    detector_mask: NDArray[np.bool_] | None = None
    peaks: BraggPeaks | None = None
    history: History[CalibrationState] = field(default_factory=History)
    calibration_skipped: bool = False
    to_index: CrystalsToIndex = field(default_factory=CrystalsToIndex)
    model_folders: tuple[Path, ...] = ()
    model_needed: str | None = None
    results: Mapping[str, MapResult] = field(default_factory=dict)
    current: str | None = None
    exported_map: OrientationMap | None = None
    saved: Saved = field(default_factory=Saved)
    four_indices: bool = False
    runs: Mapping[Stage, RunningJob] = field(default_factory=dict)

    def choice(self, kind: type[ChoiceType]) -> ChoiceType:
        """What the user has decided about a step; what it begins with where nothing was."""
        chosen = self.choices.get(kind.step)
        return chosen if isinstance(chosen, kind) else kind()

    @property
    def peaks_fingerprint(self) -> str | None:
        """Fingerprint of the peaks, None where there are none."""
        return None if self.peaks is None else self.peaks.fingerprint

    @property
    def crystals(self) -> tuple[Crystal, ...]:
        """The crystals to index with."""
        return self.to_index.crystals

    @property
    def current_result(self) -> MapResult | None:
        """The result that the panels are about, or None; another one when its map is complete."""
        return None if self.current is None else self.results.get(self.current)

    @property
    def current_map(self) -> OrientationMap | None:
        """The map that the panels are about, or None."""
        result = self.current_result
        return None if result is None else result.orientation_map

    @property
    def orientation_maps(self) -> dict[str, OrientationMap]:
        """The maps by their names."""
        return {key: result.orientation_map for key, result in self.results.items()}

    @property
    def calibration(self) -> Calibration | None:
        """The calibration in force: of the scan, else of the peaks, else of the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.calibration
        return None

    @property
    def patterns(self) -> object:
        """The array of the open scan's patterns, which tells files apart that were opened one after the other."""
        return getattr(self.datacube, "data", None)

    @property
    def has_mean_pattern(self) -> bool:
        """Whether something of the scan has been read."""
        return self.mean_pattern is not None

    @property
    def scan_shape(self) -> tuple[int, int] | None:
        """(scan_y, scan_x) of whatever is open: the scan, else the peaks, else the map."""
        for source in (self.datacube, self.peaks, self.current_map):
            if source is not None:
                return source.scan_shape
        return None

    def contains(self, position: tuple[int, int]) -> bool:
        """Whether a probe position (y, x) lies in what is open."""
        shape = self.scan_shape
        return shape is not None and 0 <= position[0] < shape[0] and 0 <= position[1] < shape[1]

    def belongs(self, something: OfScan) -> bool | None:
        """Whether a scan or a result is of the scan that is open, if any; None where nothing tells."""
        if self.scan_shape is None:
            return True
        if something.scan_shape != self.scan_shape:
            return False
        return True if self._goes_with_results(something) else self.source.has(something)

    def _goes_with_results(self, something: OfScan) -> bool:
        """Whether a map was made from the very peaks that are here, or the peaks are those of a map that is here."""
        maps = self.orientation_maps.values()
        if isinstance(something, OrientationMap):
            made_from, source = something.peaks_fingerprint, something.source_fingerprint
            of_peaks = made_from is not None and made_from == self.peaks_fingerprint
            same_source = (
                self.peaks is not None and source is not None and source == self.peaks.source_fingerprint
            )
            return of_peaks or same_source or any(each is something for each in maps)
        if isinstance(something, BraggPeaks) and maps:
            return any(each.peaks_fingerprint == something.fingerprint for each in maps)
        return False

    def differs_in(self, before: ScanState, *names: str) -> bool:
        """Whether any of these fields or properties has another value than it had before."""
        return any(not _same(getattr(self, name), getattr(before, name)) for name in names)


def _same(one: object, other: object) -> bool:
    """Whether two values are equal: plain ones by value, arrays, results and jobs only where they are one object."""
    if one is other:
        return True
    plain = (str, int, tuple, frozenset, Enum, PurePath, BaseModel, Source, CrystalsToIndex, FileRequest)
    return isinstance(one, plain) and type(one) is type(other) and one == other
