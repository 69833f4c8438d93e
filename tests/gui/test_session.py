"""What the Session promises: states of the steps, staleness, and results that belong together."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.session import Session, Step, StepState, session_of


def make_calibration(pixel: float | None = 0.02) -> Calibration:
    return Calibration(pixel_size_inv_angstrom=pixel, voltage_kv=200)


def make_datacube(
    *, scan_shape: tuple[int, int] = (2, 3), fingerprint: str = "scan", pixel: float | None = 0.02
) -> Any:
    cube = SimpleNamespace(
        scan_shape=scan_shape,
        detector_shape=(8, 8),
        calibration=make_calibration(pixel),
        fingerprint=fingerprint,
    )
    cube.with_calibration = lambda new: SimpleNamespace(**{**vars(cube), "calibration": new})
    return cube


def make_peaks(
    *,
    scan_shape: tuple[int, int] = (2, 3),
    source: str | None = "scan",
    done: bool = True,
    pixel: float | None = 0.02,
) -> Any:
    peaks = SimpleNamespace(
        scan_shape=scan_shape,
        calibration=make_calibration(pixel),
        origin_px=None,
        q_x=np.zeros(3),
        source_fingerprint=source,
        fingerprint=f"peaks {pixel}",
        detected=np.array([True, done]),
    )
    peaks.with_calibration = lambda new: make_peaks(
        scan_shape=scan_shape, source=source, done=done, pixel=new.pixel_size_inv_angstrom
    )
    return peaks


def make_map(*, scan_shape: tuple[int, int] = (2, 3), done: bool = True, method: str = "transformer") -> Any:
    filled: list[Any] = []
    return SimpleNamespace(
        scan_shape=scan_shape,
        method=method,
        calibration=make_calibration(),
        peaks_fingerprint="peaks 0.02",
        crystals=(CU,),
        done=np.array([True, done]),
        fill=filled.append,
        filled=filled,
    )


CU = SimpleNamespace(name="Cu", fingerprint="cu")


class FakeJob:
    def __init__(self) -> None:
        self.discarded = False

    def discard(self) -> None:
        self.discarded = True


def states(session: Session) -> list[StepState]:
    return [session.step_state(step) for step in Step]


def test_a_new_session_is_ready_to_open_and_says_what_the_other_steps_need() -> None:
    session = Session()
    assert states(session) == [StepState.READY] + [StepState.BLOCKED] * 4
    assert session.step_needs(Step.DETECT) == ["an open scan"]
    assert session.step_needs(Step.CALIBRATE) == ["Bragg peaks"]
    assert session.step_needs(Step.INDEX) == ["Bragg peaks", "a crystal"]
    assert session.step_needs(Step.EXPORT)


def test_steps_become_ready_and_done_one_after_the_other() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    assert session.step_state(Step.DETECT) is StepState.BLOCKED
    session.fill_summary(SimpleNamespace(mean_pattern=np.zeros((4, 4))))  # type: ignore[arg-type]
    assert session.step_needs(Step.DETECT) == ["a probe template (being measured)"]
    session.set_probe("probe")  # type: ignore[arg-type]
    assert session.step_state(Step.DETECT) is StepState.READY
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    assert states(session)[:2] == [StepState.DONE, StepState.DONE]
    assert session.step_state(Step.INDEX) is StepState.READY  # it never waits for Calibrate
    session.start_map(make_map(done=False))
    assert session.step_state(Step.INDEX) is StepState.READY
    assert session.is_partial(Step.INDEX)
    session.set_map(make_map())
    session.mark_exported()
    assert session.step_state(Step.CALIBRATE) is StepState.READY
    session.skip_calibration()
    assert states(session) == [StepState.DONE] * 5


def test_a_new_pixel_size_makes_the_map_stale_but_not_the_peaks() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    session.set_map(make_map())
    assert session.step_state(Step.INDEX) is StepState.DONE
    session.set_calibration(make_calibration(0.03))
    assert session.step_state(Step.DETECT) is StepState.DONE
    assert session.step_state(Step.INDEX) is StepState.STALE
    assert session.peaks is not None
    assert session.peaks.calibration.pixel_size_inv_angstrom == 0.03


def test_a_stopped_map_is_stale_once_its_peaks_change() -> None:
    session = Session()
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    session.set_map(make_map(done=False))
    assert session.step_state(Step.INDEX) is StepState.READY
    session.set_calibration(make_calibration(0.03))
    assert session.step_state(Step.INDEX) is StepState.STALE


def test_other_crystals_make_the_map_stale() -> None:
    session = Session()
    session.set_peaks(make_peaks())
    session.set_map(make_map())
    session.set_crystals((SimpleNamespace(name="Al", fingerprint="al"),))  # type: ignore[arg-type]
    assert session.stale_because(Step.INDEX) == "the crystals changed"


def test_a_scan_of_another_shape_lets_peaks_and_maps_go_and_discards_jobs() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    session.set_peaks(make_peaks())
    session.set_map(make_map())
    job = FakeJob()
    session.begin(Step.INDEX, job)
    session.set_datacube(make_datacube(scan_shape=(5, 5), fingerprint="other"))
    assert job.discarded
    assert session.peaks is None
    assert session.current_map is None


def test_peaks_of_another_scan_of_the_same_shape_are_stale() -> None:
    session = Session()
    session.set_peaks(make_peaks(source="before"))
    session.set_datacube(make_datacube())
    assert session.step_state(Step.DETECT) is StepState.STALE


@pytest.mark.parametrize("result", ["peaks", "map"])
def test_an_opened_result_of_another_shape_replaces_what_was_open(result: str) -> None:
    session = Session()
    session.set_datacube(make_datacube())
    session.set_peaks(make_peaks())
    session.set_map(make_map())
    if result == "peaks":
        session.set_peaks(make_peaks(scan_shape=(7, 7)))
        assert session.current_map is None
    else:
        session.set_map(make_map(scan_shape=(7, 7)))
        assert session.peaks is None
    assert session.datacube is None
    assert session.scan_shape == (7, 7)


def test_peaks_of_another_shape_let_the_position_go() -> None:
    session = Session()
    session.set_peaks(make_peaks(scan_shape=(8, 9)))
    session.set_position((7, 8))
    session.set_peaks(make_peaks(scan_shape=(2, 3)))
    assert session.position is None


def test_a_map_that_is_open_alone_goes_when_a_scan_of_another_shape_comes() -> None:
    session = Session()
    session.open_map(make_map(scan_shape=(8, 9)))
    session.set_datacube(make_datacube(scan_shape=(2, 3)))
    assert session.current_map is None
    assert session.orientation_maps == {}
    assert session.scan_shape == (2, 3)


def test_missing_calibration_is_named() -> None:
    session = Session()
    session.set_peaks(make_peaks(pixel=None))
    assert session.step_needs(Step.INDEX) == ["pixel size (1/Å)", "a crystal"]


def test_an_old_job_cannot_end_a_new_one() -> None:
    session = Session()
    old, new = FakeJob(), FakeJob()
    session.begin(Step.DETECT, old)
    session.begin(Step.DETECT, new)
    assert old.discarded
    session.end(Step.DETECT, old)
    assert session.step_state(Step.DETECT) is StepState.RUNNING
    session.end(Step.DETECT, new)
    assert session.step_state(Step.DETECT) is StepState.BLOCKED


def test_blocks_are_written_into_the_current_map_and_announced() -> None:
    session = Session()
    seen: list[Any] = []
    session.map_filled.connect(lambda _, block: seen.append(block))
    orientation_map = make_map(done=False)
    session.start_map(orientation_map)
    session.fill_map("block")  # type: ignore[arg-type]
    assert orientation_map.filled == seen == ["block"]


def test_a_position_outside_the_scan_is_ignored() -> None:
    session = Session()
    session.set_position((0, 0))
    assert session.position is None
    session.set_datacube(make_datacube())
    session.set_position((1, 2))
    session.set_position((2, 0))
    session.set_position((-1, 0))
    assert session.position == (1, 2)


def test_a_change_from_a_worker_thread_is_refused() -> None:
    session = Session()
    errors: list[Exception] = []

    def change() -> None:
        try:
            session.set_position(None)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_every_proxy_of_a_viewer_shares_one_session() -> None:
    from napari.components import ViewerModel
    from napari.utils._proxies import PublicOnlyProxy

    viewer = ViewerModel()
    session = session_of(viewer)  # type: ignore[arg-type]
    assert session_of(PublicOnlyProxy(viewer)) is session
    assert session_of(ViewerModel()) is not session  # type: ignore[arg-type]


def test_the_detector_mask_fits_its_scan_and_goes_with_it() -> None:
    session = Session()
    seen: list[Any] = []
    session.detector_mask_changed.connect(seen.append)
    session.set_datacube(make_datacube())
    mask = np.eye(8, dtype=bool)
    session.set_detector_mask(mask)
    assert seen[-1] is session.detector_mask is mask
    with pytest.raises(ValueError, match="4 x 4 px does not fit the detector of 8 x 8 px"):
        session.set_detector_mask(np.eye(4, dtype=bool))
    session.set_datacube(make_datacube(fingerprint="other"))
    assert session.detector_mask is None
    assert seen[-1] is None
