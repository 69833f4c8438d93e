"""Inspected: all that Inspect shows of one position, resolved from the state of the session, frozen."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.gui.parts.pattern_overlay import (
    Disks,
    detected_disks,
    detector_shape_of,
    disk_radius_px,
    pattern_origin_px,
    preview_disks,
)
from napari_stem_orient.session.results import result_title

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.solution import Solution
    from napari_stem_orient.session.state import ScanState

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where on the detector a pattern has its direct beam, and the scale of its axes.

    origin_px : row and column; pixel_size_inv_angstrom : None where it is unknown; detector_shape : (det_y, det_x)
    """

    origin_px: tuple[float, float]
    pixel_size_inv_angstrom: float | None
    detector_shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """One position of a scan, or its mean pattern, with all that is known of it.

    Attributes
    ----------
    is_open : whether there is anything to look at
    position : (y, x); None for the mean pattern
    place_nm : where that is in the scan, (y, x) in nm; None where the scan step is unknown
    has_mean : whether there is a mean pattern to go back to
    frame : None where there is neither a detector nor a calibration
    radius_px : of the disks, 0 without a calibration
    found : disks that were detected here, None where nothing was detected
    disks : those that are drawn: of the preview of Detect, where it is of this position, or `found`
    is_preview : whether they are the preview's
    solution : what the current map says here, or None
    result : what the current map is called; "" where there is none
    map_calibration : with which what the map found is drawn; None without a calibration
    checked_calibration : of the current map, for what of it nobody has checked; None without a map
    mask : (det_y, det_x) bool, True where a pixel is not used, or None
    """

    is_open: bool = False
    position: Position | None = None
    place_nm: tuple[float, float] | None = None
    has_mean: bool = False
    frame: Frame | None = None
    radius_px: float = 0.0
    found: Disks | None = None
    disks: Disks | None = None
    is_preview: bool = False
    solution: Solution | None = None
    result: str = ""
    map_calibration: Calibration | None = None
    checked_calibration: Calibration | None = None
    mask: NDArray[np.bool_] | None = None


def resolve(state: ScanState, position: Position | None) -> Inspected:
    """Look up what a state knows of a position (y, x) that lies in it, or of the mean pattern for None.

    Takes some tenths of a millisecond: it reads no pattern and simulates none.
    """
    calibration, current = state.calibration, state.current_map
    shape = detector_shape_of(state.datacube, state.peaks)
    steps_nm = None if calibration is None else calibration.scan_steps_nm
    resolved = Inspected(
        is_open=state.scan_shape is not None,
        position=position,
        has_mean=state.mean_pattern is not None,
        radius_px=0.0 if calibration is None else disk_radius_px(state.probe, calibration),
        result="" if current is None else result_title(current),
        map_calibration=calibration if current is None else current.calibration,
        checked_calibration=None if current is None else current.calibration,
        mask=state.detector_mask,
    )
    if shape is not None and calibration is not None:
        origin_px = pattern_origin_px(
            position, peaks=state.peaks, calibration=calibration, detector_shape=shape
        )
        resolved = replace(resolved, frame=Frame(origin_px, calibration.pixel_size_inv_angstrom, shape))
    if position is None:
        return resolved
    if steps_nm is not None:
        resolved = replace(resolved, place_nm=(position[0] * steps_nm[0], position[1] * steps_nm[1]))
    if state.peaks is not None:
        found = detected_disks(state.peaks, position, radius_px=resolved.radius_px)
        resolved = replace(resolved, found=found, disks=found)
    if state.preview is not None and position == state.position:
        previewed = preview_disks(state.preview, radius_px=resolved.radius_px)
        resolved = replace(resolved, disks=previewed, is_preview=True)
    return resolved if current is None else replace(resolved, solution=current.at(*position))


def differs(name: str, before: Inspected | None, after: Inspected) -> bool:
    """Whether something that is drawn is not what was drawn before."""
    return before is None or not _same(getattr(before, name), getattr(after, name))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays and records of them included, and "unknown" (NaN) equal to itself."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if is_dataclass(one) and not isinstance(
        one, Crystal
    ):  # crystals are equal by what they are, wherever read
        return all(_same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return bool(one == other or (one != one and other != other))
