"""The history of a calibration in a group of a session file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from napari_stem_orient.calibration.measured import Doubt, Measured
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.session.calibration_state import CalibrationState
from napari_stem_orient.session.file_choices import choice_as_data, choice_of
from napari_stem_orient.session.history import Change, History

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.session.state import ScanState

_MEASURED = TypeAdapter(tuple[Measured, ...])
_DOUBTS = TypeAdapter(tuple[Doubt, ...])


def write_history(group: Any, state: ScanState) -> None:
    """Write a history: calibrations and origins of each state, and once the q with which the peaks had come."""
    history = state.history
    start = history.start
    given = None if start is None or start.peaks is None else start.peaks.q_as_given
    if given is not None:
        for name, values in zip(("q_x", "q_y"), given, strict=True):
            group.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)
    if start is not None:
        _write_state(group.create_group("start"), start)
    for kind, changes in (("done", history.done), ("undone", history.undone)):
        for number, change in enumerate(changes):
            child = group.create_group(f"{kind}/{number:04d}")
            said = {
                "title": change.title,
                "measured": _MEASURED.dump_python(change.measured, mode="json"),
                "doubts": _DOUBTS.dump_python(change.doubts, mode="json"),
                "choice": None if change.choice is None else choice_as_data(change.choice),
            }
            child.create_dataset("change", data=json.dumps(said))
            _write_state(child, change.state)


def read_history(group: Any, peaks: BraggPeaks | None) -> History[CalibrationState]:
    """Read a history of these peaks; empty where there are none."""
    if peaks is None or "start" not in group:
        return History()
    given = (group["q_x"][...], group["q_y"][...]) if "q_x" in group else None
    changes = {
        kind: tuple(_read_change(group[kind][name], peaks, given) for name in sorted(group.get(kind, ())))
        for kind in ("done", "undone")
    }
    return History(_read_state(group["start"], peaks, given), changes["done"], changes["undone"])


def _write_state(group: Any, state: CalibrationState) -> None:
    kept = {
        "scan": None if state.scan is None else state.scan.model_dump(mode="json"),
        "calibration": state.calibration.model_dump(mode="json"),
        "has_peaks": state.peaks is not None,
        "recipe": dict(state.recipe),
    }
    group.create_dataset("state", data=json.dumps(kept))
    if state.origin_px is not None:
        group.create_dataset("origin_px", data=state.origin_px, compression="gzip", compression_opts=1)


def _read_state(
    group: Any, peaks: BraggPeaks, given: tuple[NDArray[np.float32], NDArray[np.float32]] | None
) -> CalibrationState:
    kept = json.loads(group["state"][()])
    scan = None if kept["scan"] is None else Calibration.model_validate(kept["scan"])
    calibration = Calibration.model_validate(kept["calibration"])
    origin_px = group["origin_px"][...] if "origin_px" in group else None
    own = None
    if kept["has_peaks"]:
        as_now = calibration == peaks.calibration and _same(origin_px, peaks.origin_px)
        if as_now and given is None:  # with the q that they had to the last digit
            own = peaks.with_recipe(kept["recipe"])
        else:
            same = replace(peaks, calibration=calibration, origin_px=origin_px, q_as_given=given)
            own = same.with_recipe(kept["recipe"])
    return CalibrationState(scan, calibration, origin_px, own, kept["recipe"])


def _read_change(
    group: Any, peaks: BraggPeaks, given: tuple[NDArray[np.float32], NDArray[np.float32]] | None
) -> Change[CalibrationState]:
    said = json.loads(group["change"][()])
    return Change(
        said["title"],
        _read_state(group, peaks, given),
        _MEASURED.validate_python(said["measured"]),
        _DOUBTS.validate_python(said["doubts"]),
        None if said["choice"] is None else choice_of(said["choice"]),
    )


def _same(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(one.shape == other.shape and (one == other).all())
