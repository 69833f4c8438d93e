"""The rules of the steps, as a table: a state of the session, and what each step can do, needs and says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.session.rules import StageState, is_partial, stage_needs, stage_state, stale_because
from napari_stem_orient.session.source import Source
from napari_stem_orient.session.state import CrystalsToIndex, MapResult, ScanState, Stage

B, R, RUN, D, S = StageState.BLOCKED, StageState.READY, StageState.RUNNING, StageState.DONE, StageState.STALE
KNOWN = Calibration(pixel_size_inv_angstrom=0.02, voltage_kv=200)
CHECKED = KNOWN.with_checked("pixel size")
CU = SimpleNamespace(name="Cu", fingerprint="cu")
AL = SimpleNamespace(name="Al", fingerprint="al")
JOB: Any = SimpleNamespace(discard=lambda: None)


def scan(calibration: Calibration = KNOWN) -> dict[str, Any]:
    cube = SimpleNamespace(scan_shape=(2, 3), calibration=calibration, opened_as="A", name="A")
    return {"datacube": cube, "source": Source("A", frozenset({"A"}))}


def peaks(*, calibration: Calibration = KNOWN, source: str = "A", done: bool = True) -> dict[str, Any]:
    found = SimpleNamespace(
        scan_shape=(2, 3),
        calibration=calibration,
        fingerprint="peaks",
        source_fingerprint=source,
        name="A",
        detected=np.array([True, done]),
    )
    return {"peaks": found}


def a_map(*, made_from: str = "peaks", done: bool = True, saved: bool = False) -> dict[str, Any]:
    made = SimpleNamespace(
        scan_shape=(2, 3),
        calibration=KNOWN,
        peaks_fingerprint=made_from,
        source_fingerprint="A",
        crystals=(CU,),
        done=np.array([True, done]),
    )
    result: Any = MapResult(made)  # type: ignore[arg-type]
    return {"results": {"m": result}, "current": "m", "exported_map": made if saved else None}


READ = {"mean_pattern": np.zeros((4, 4), np.float32)}
PROBE = {"probe": "probe"}
COPPER = {"to_index": CrystalsToIndex((CU,), chosen=True)}  # type: ignore[arg-type]
ALUMINIUM = {"to_index": CrystalsToIndex((AL,), chosen=True)}  # type: ignore[arg-type]

TABLE = [
    # what there is, and the states of Open, Detect, Calibrate, Index, Export
    ({}, (R, B, B, B, B)),
    ({"open_needs": "the scan shape of x"}, (B, B, B, B, B)),
    ({"runs": {Stage.OPEN: JOB}}, (RUN, B, B, B, B)),
    (scan(), (D, B, B, B, B)),
    (scan(Calibration()), (B, B, B, B, B)),
    (scan() | READ, (D, B, B, B, B)),
    (scan() | READ | PROBE, (D, R, B, B, B)),
    (scan() | READ | PROBE | {"runs": {Stage.DETECT: JOB}}, (D, RUN, B, B, B)),
    (scan() | READ | PROBE | peaks(done=False), (D, R, R, B, R)),
    (scan() | READ | PROBE | peaks(), (D, D, R, B, R)),
    (scan() | READ | PROBE | peaks(source="A, written anew"), (D, S, R, B, R)),
    (peaks() | COPPER, (D, D, R, R, R)),
    (peaks() | {"calibration_skipped": True}, (D, D, D, B, R)),
    (peaks(calibration=CHECKED), (D, D, D, B, R)),
    (peaks(calibration=KNOWN.with_checked("origin")), (D, D, R, B, R)),
    (peaks() | COPPER | {"model_needed": "a model"}, (D, D, R, B, R)),
    (peaks() | COPPER | a_map(done=False), (D, D, R, R, R)),
    (peaks() | COPPER | a_map(), (D, D, R, D, R)),
    (peaks() | COPPER | a_map(saved=True), (D, D, R, D, D)),
    (peaks() | ALUMINIUM | a_map(saved=True), (D, D, R, S, D)),
    (peaks() | COPPER | a_map(made_from="others"), (D, D, R, S, R)),
    (a_map(), (D, B, B, D, R)),
]


@pytest.mark.parametrize(("there_is", "states"), TABLE)
def test_what_each_step_can_do(there_is: dict[str, Any], states: tuple[StageState, ...]) -> None:
    state = ScanState(**there_is)
    assert tuple(stage_state(state, step) for step in Stage) == states


@pytest.mark.parametrize(
    ("there_is", "step", "needs"),
    [
        ({}, Stage.DETECT, ["an open scan"]),
        (scan(), Stage.DETECT, ["the mean pattern: open the scan again"]),
        (scan() | {"runs": {Stage.OPEN: JOB}}, Stage.DETECT, ["the mean pattern (being read)"]),
        (scan() | READ, Stage.DETECT, ["a probe template (being measured)"]),
        (scan(Calibration()), Stage.OPEN, ["pixel size (1/Å)", "accelerating voltage (kV)"]),
        (peaks(calibration=Calibration(voltage_kv=200)), Stage.INDEX, ["pixel size (1/Å)", "a crystal"]),
        ({}, Stage.EXPORT, ["peaks or an orientation map"]),
        (a_map(), Stage.OPEN, []),
    ],
)
def test_what_a_step_needs(there_is: dict[str, Any], step: Stage, needs: list[str]) -> None:
    assert stage_needs(ScanState(**there_is), step) == needs


@pytest.mark.parametrize(
    ("there_is", "step", "reason"),
    [
        (peaks() | COPPER | a_map(), Stage.INDEX, None),
        (peaks() | COPPER | a_map(made_from="others"), Stage.INDEX, "the peaks or their calibration changed"),
        (peaks() | ALUMINIUM | a_map(), Stage.INDEX, "the crystals changed"),
        (peaks() | a_map(saved=True), Stage.EXPORT, None),
        (
            scan() | peaks(source="A, written anew"),
            Stage.DETECT,
            "the file of the scan has changed since it was opened: open it again",
        ),
    ],
)
def test_why_a_result_is_out_of_date(there_is: dict[str, Any], step: Stage, reason: str | None) -> None:
    assert stale_because(ScanState(**there_is), step) == reason


def test_a_stopped_step_is_ready_and_partial() -> None:
    assert is_partial(ScanState(**peaks(done=False)), Stage.DETECT)
    assert is_partial(ScanState(**a_map(done=False)), Stage.INDEX)
    assert not is_partial(ScanState(**peaks()), Stage.DETECT)
