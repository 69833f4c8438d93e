"""What the Session promises: states of the stages, staleness, and results that belong together."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.session.rules import StageState, doubts
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage


def make_calibration(pixel: float | None = 0.02) -> Calibration:
    return Calibration(pixel_size_inv_angstrom=pixel, voltage_kv=200)


def make_datacube(
    *, scan_shape: tuple[int, int] = (2, 3), fingerprint: str = "scan", pixel: float | None = 0.02
) -> Any:
    cube = SimpleNamespace(
        scan_shape=scan_shape,
        detector_shape=(8, 8),
        calibration=make_calibration(pixel),
        opened_as=fingerprint,
        name=fingerprint,
        recipe={},
    )
    return _changeable(cube)


def _changeable(cube: Any) -> Any:
    cube.with_calibration = lambda new: _changeable(SimpleNamespace(**{**vars(cube), "calibration": new}))
    cube.with_recipe = lambda new: _changeable(SimpleNamespace(**{**vars(cube), "recipe": new}))
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
        q_as_given=None,
        recipe={},
        name="peaks",
        source_fingerprint=source,
        fingerprint=f"peaks {pixel}",
        detected=np.array([True, done]),
    )
    peaks.with_calibration = lambda new: make_peaks(
        scan_shape=scan_shape, source=source, done=done, pixel=new.pixel_size_inv_angstrom
    )
    peaks.with_recipe = lambda recipe: SimpleNamespace(**{**vars(peaks), "recipe": recipe})
    return peaks


def make_map(
    *,
    scan_shape: tuple[int, int] = (2, 3),
    done: bool = True,
    method: str = "transformer",
    source: str | None = "scan",
    name: str = "scan",
) -> Any:
    filled: list[Any] = []
    return SimpleNamespace(
        scan_shape=scan_shape,
        method=method,
        key=method,
        result_name="",
        made_otherwise=lambda _: (),
        calibration=make_calibration(),
        peaks_fingerprint="peaks 0.02",
        source_fingerprint=source,
        name=name,
        crystals=(CU,),
        done=np.array([True, done]),
        phase_id=np.zeros(2),
        fill=filled.append,
        filled=filled,
    )


CU = SimpleNamespace(name="Cu", fingerprint="cu")


class FakeJob:
    def __init__(self) -> None:
        self.discarded = False

    def discard(self) -> None:
        self.discarded = True


def states(session: Session) -> list[StageState]:
    return [session.stage_state(stage) for stage in Stage]


def test_a_new_session_is_ready_to_open_and_says_what_the_other_steps_need() -> None:
    session = Session()
    assert states(session) == [StageState.READY] + [StageState.BLOCKED] * 4
    assert session.stage_needs(Stage.DETECT) == ["an open scan"]
    assert session.stage_needs(Stage.CALIBRATE) == ["Bragg peaks"]
    assert session.stage_needs(Stage.INDEX) == ["Bragg peaks", "a crystal"]
    assert session.stage_needs(Stage.EXPORT)


def test_steps_become_ready_and_done_one_after_the_other() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    assert session.stage_state(Stage.DETECT) is StageState.BLOCKED
    session.fill_summary(SimpleNamespace(mean_pattern=np.zeros((4, 4))))  # type: ignore[arg-type]
    assert session.stage_needs(Stage.DETECT) == ["a probe template (being measured)"]
    session.set_probe("probe")  # type: ignore[arg-type]
    assert session.stage_state(Stage.DETECT) is StageState.READY
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    assert states(session)[:2] == [StageState.DONE, StageState.DONE]
    assert session.stage_state(Stage.INDEX) is StageState.READY  # it never waits for Calibrate
    session.start_map(make_map(done=False))
    assert session.stage_state(Stage.INDEX) is StageState.READY
    assert session.is_partial(Stage.INDEX)
    session.set_map(make_map())
    session.mark_saved(session.current_map)
    assert session.stage_state(Stage.CALIBRATE) is StageState.READY
    session.skip_calibration()
    assert states(session) == [StageState.DONE] * 5


def test_a_new_pixel_size_makes_the_map_stale_but_not_the_peaks() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    session.set_map(make_map())
    assert session.stage_state(Stage.INDEX) is StageState.DONE
    session.set_calibration(make_calibration(0.03))
    assert session.stage_state(Stage.DETECT) is StageState.DONE
    assert session.stage_state(Stage.INDEX) is StageState.STALE
    assert session.peaks is not None
    assert session.peaks.calibration.pixel_size_inv_angstrom == 0.03


def test_a_stopped_map_is_stale_once_its_peaks_change() -> None:
    session = Session()
    session.set_peaks(make_peaks())
    session.set_crystals((CU,))  # type: ignore[arg-type]
    session.set_map(make_map(done=False))
    assert session.stage_state(Stage.INDEX) is StageState.READY
    session.set_calibration(make_calibration(0.03))
    assert session.stage_state(Stage.INDEX) is StageState.STALE


def test_other_crystals_make_the_map_stale() -> None:
    session = Session()
    session.set_peaks(make_peaks())
    session.set_map(make_map())
    session.set_crystals((SimpleNamespace(name="Al", fingerprint="al"),))  # type: ignore[arg-type]
    assert session.stale_because(Stage.INDEX) == "the crystals changed"


def test_a_scan_of_another_shape_lets_peaks_and_maps_go_and_discards_jobs() -> None:
    session = Session()
    session.set_datacube(make_datacube())
    session.set_peaks(make_peaks())
    session.set_map(make_map())
    job = FakeJob()
    session.begin(Stage.INDEX, job)
    session.set_datacube(make_datacube(scan_shape=(5, 5), fingerprint="other"))
    assert job.discarded
    assert session.peaks is None
    assert session.current_map is None


def with_results(source: str = "A") -> Session:
    """A Session with a scan of which there are peaks, a map, a probe, a mask, a position and crystals."""
    session = Session()
    session.set_datacube(make_datacube(fingerprint=source))
    session.set_summary(SimpleNamespace(mean_pattern=np.zeros((8, 8))))  # type: ignore[arg-type]
    session.set_probe("probe")  # type: ignore[arg-type]
    session.set_detector_mask(np.eye(8, dtype=bool))
    session.set_peaks(make_peaks(source=source))
    session.set_crystals((CU,))  # type: ignore[arg-type]
    session.set_map(make_map(source=source))
    session.mark_saved(session.current_map)
    session.set_position((1, 1))
    return session


def test_another_scan_of_the_same_shape_takes_all_results_away_and_leaves_the_crystals() -> None:
    session = with_results("A")
    seen: list[tuple[bool, bool]] = []
    session.changed.connect(lambda old, new: seen.append((old.peaks is None, new.peaks is None)))
    session.set_datacube(make_datacube(fingerprint="B"))
    assert seen == [(False, True)]  # told once, and what was there before can be looked at
    assert session.peaks is session.current_map is session.exported_map is session.summary is None
    assert session.probe is session.detector_mask is session.position is session.peaks_fingerprint is None
    assert session.orientation_maps == {}
    assert session.calibration_changes == ()
    assert [session.stage_state(stage) for stage in (Stage.DETECT, Stage.INDEX, Stage.EXPORT)] == (
        [StageState.BLOCKED] * 3
    )
    assert session.crystals == (CU,)
    assert session.crystals_carried
    session.set_crystals((CU,))  # type: ignore[arg-type]
    assert not session.crystals_carried


def test_the_same_scan_opened_again_keeps_all_results_and_the_calibration() -> None:
    session = with_results("A")
    session.set_calibration(make_calibration(0.021))
    before = (
        session.peaks,
        session.current_map,
        session.position,
        session.probe,
        session.calibration_changes,
    )
    opened = session.state.opening
    again = make_datacube(fingerprint="A", pixel=None)  # as the file has it
    session.set_datacube(again)
    assert session.state.opening == opened
    assert (
        session.peaks,
        session.current_map,
        session.position,
        session.probe,
        session.calibration_changes,
    ) == before
    assert session.datacube is not None
    assert session.datacube.calibration.pixel_size_inv_angstrom == 0.021
    assert session.detector_mask is not None


@pytest.mark.parametrize("read", [True, False])
def test_the_same_scan_opened_again_with_a_file_that_says_more_fills_in_what_was_missing(read: bool) -> None:
    session = Session()
    bare = make_calibration(None)
    session.set_datacube(make_datacube(fingerprint="A").with_calibration(bare))
    session.set_peaks(make_peaks(source="A").with_calibration(bare))
    if read:
        session.set_summary(with_results("A").summary)
    session.set_calibration(bare.updated(voltage_kv=80.0))
    session.set_datacube(make_datacube(fingerprint="A").with_calibration(make_calibration(0.02)))
    assert session.datacube is not None
    assert session.peaks is not None
    assert session.peaks.calibration.pixel_size_inv_angstrom == 0.02
    assert session.datacube.calibration.pixel_size_inv_angstrom == 0.02
    assert session.datacube.calibration.voltage_kv == 80.0  # what was typed stays


def test_a_scan_opened_again_while_it_is_read_is_read_anew_and_keeps_its_results() -> None:
    session = Session()
    session.set_datacube(make_datacube(fingerprint="A"))
    session.set_peaks(make_peaks(source="A"))
    peaks, opened = session.peaks, session.state.opening
    session.set_datacube(make_datacube(fingerprint="A"))
    assert session.state.opening == opened + 1
    assert session.peaks is peaks


@pytest.mark.parametrize("result", ["peaks", "map"])
def test_a_result_of_another_scan_of_the_same_shape_lets_the_open_one_go(result: str) -> None:
    session = with_results("A")
    if result == "peaks":
        peaks = make_peaks(source="B")
        assert session.belongs(peaks) is False
        session.set_peaks(peaks)
        assert session.current_map is None
        assert session.peaks is peaks
    else:
        opened = make_map(source="B")
        opened.peaks_fingerprint = "others"
        assert session.belongs(opened) is False
        session.open_map(opened)
        assert session.peaks is None
        assert session.current_map is opened
    assert session.datacube is session.detector_mask is session.position is None


@pytest.mark.parametrize("source", ["A", None])
def test_a_result_of_the_open_scan_or_of_nobody_knows_which_joins_it(source: str | None) -> None:
    session = with_results("A")
    opened = make_map(source=source)
    opened.peaks_fingerprint = "others"
    assert session.belongs(opened) is (None if source is None else True)
    session.open_map(opened)
    assert session.current_map is opened
    assert session.datacube is not None
    assert bool(doubts(session.state)) is (source is None)


def test_results_that_say_nothing_of_their_scan_are_doubted_in_words() -> None:
    session = Session()
    session.set_peaks(make_peaks(source=None))
    assert doubts(session.state) == ""  # there is no scan that they could be of
    session.set_datacube(make_datacube())
    assert session.peaks is not None
    assert doubts(session.state).startswith("Whether the Bragg peaks were made from this scan")
    session.set_peaks(make_peaks(source="scan"))
    assert doubts(session.state) == ""


def test_what_says_nothing_of_its_scan_belongs_to_the_one_that_it_was_opened_with() -> None:
    session = Session()
    session.set_peaks(make_peaks(source=None))
    session.set_datacube(make_datacube(fingerprint="A"))
    session.set_datacube(make_datacube(fingerprint="B"))
    assert session.peaks is None


def test_results_without_fingerprints_are_told_apart_by_the_names_of_their_scans() -> None:
    session = Session()
    session.open_map(make_map(source=None, name="grain 1"))
    assert session.belongs(make_map(source=None, name="grain 1")) is None
    other = make_map(source=None, name="grain 2", method="template")
    other.peaks_fingerprint = "others"
    assert session.belongs(other) is False
    session.open_map(other)
    assert session.orientation_maps == {"template": other}


def test_the_user_may_say_that_a_result_is_of_the_open_scan() -> None:
    """A scan that was copied has another time, and so another fingerprint."""
    session = with_results("A")
    peaks = make_peaks(source="copy of A")
    session.count_as_open_scan(peaks)
    session.set_peaks(peaks)
    assert session.peaks is peaks
    assert session.datacube is not None
    assert session.stage_state(Stage.DETECT) is StageState.DONE
    with pytest.raises(ValueError, match="scan of 7 x 7 positions is not of the open scan"):
        session.count_as_open_scan(make_peaks(scan_shape=(7, 7)))


def test_peaks_of_a_file_that_changed_while_it_was_open_say_so() -> None:
    session = with_results("A")
    session.set_peaks(make_peaks(source="A, written anew"), of_open_scan=True)
    assert session.datacube is not None
    assert session.stage_state(Stage.DETECT) is StageState.STALE
    assert session.stale_because(Stage.DETECT) == (
        "the file of the scan has changed since it was opened: open it again"
    )
    session.set_datacube(make_datacube(fingerprint="A, written anew"))
    assert session.peaks is session.current_map is None


def test_a_job_that_is_about_the_scan_goes_with_it_and_one_that_saves_stays() -> None:
    session = with_results("A")
    about, saving = FakeJob(), FakeJob()
    session.attend(about)
    session.set_datacube(make_datacube(fingerprint="B"))
    assert about.discarded
    assert not saving.discarded


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
    assert session.stage_needs(Stage.INDEX) == ["pixel size (1/Å)", "a crystal"]


def test_an_old_job_cannot_end_a_new_one() -> None:
    session = Session()
    old, new = FakeJob(), FakeJob()
    session.begin(Stage.DETECT, old)
    session.begin(Stage.DETECT, new)
    assert old.discarded
    session.end(Stage.DETECT, old)
    assert session.stage_state(Stage.DETECT) is StageState.RUNNING
    session.end(Stage.DETECT, new)
    assert session.stage_state(Stage.DETECT) is StageState.BLOCKED


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
    session.changed.connect(lambda _, new: seen.append(new.detector_mask))
    session.set_datacube(make_datacube())
    mask = np.eye(8, dtype=bool)
    session.set_detector_mask(mask)
    assert seen[-1] is session.detector_mask is mask
    with pytest.raises(ValueError, match="4 x 4 px does not fit the detector of 8 x 8 px"):
        session.set_detector_mask(np.eye(4, dtype=bool))
    session.set_datacube(make_datacube(fingerprint="other"))
    assert session.detector_mask is None
    assert seen[-1] is None
