"""Files are opened in a Session without any window: the same decisions, and the same words, as behind a panel."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.session.opener import Opener
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage


def write_scan(path: Path, scan_shape: tuple[int, ...] = (3, 4), *, seed: int = 0) -> Path:
    frames = np.random.default_rng(seed).poisson(3, (*scan_shape, 16, 16)).astype(np.uint16)
    np.save(path, frames)
    return path


def write_peaks(path: Path, scan_shape: tuple[int, int], *, source: str | None = None) -> Path:
    calibration = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02, origin_px=(8, 8))
    lists = [np.ones((2, 3))] * (scan_shape[0] * scan_shape[1])
    peaks = BraggPeaks.from_lists(lists, scan_shape, calibration, source_fingerprint=source, name=path.stem)
    return save_bragg_peaks(peaks, path)


class Here:
    """Runs jobs at once, in this thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.titles: list[str] = []

    def __call__(
        self,
        job: Generator[Any, None, Any],
        *,
        title: str,
        stage: Stage,
        on_done: Callable[[Any], object],
        on_stopped: Callable[[], object],
        on_error: Callable[[str], object],
        on_record: Callable[[Any], object] | None = None,
    ) -> None:
        self.titles.append(title)
        running = SimpleNamespace(discard=lambda: None)
        self._session.begin(stage, running)
        try:
            while True:
                record = next(job)
                if on_record is not None:
                    on_record(record)
        except StopIteration as finished:
            on_done(finished.value)
        except ValueError as error:
            on_error(str(error))
        self._session.end(stage, running)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def opener(session: Session) -> Opener:
    return Opener(session, start=Here(session))


def test_a_scan_is_opened_and_read(session: Session, opener: Opener, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "scan.npy")
    opener.open(path)
    assert session.datacube is not None
    assert session.datacube.scan_shape == (3, 4)
    assert session.summary is not None
    assert session.mean_pattern is session.summary.mean_pattern
    assert (session.request.path, session.request.said) == (path, "")
    assert session.stage_needs(Stage.OPEN) == ["pixel size (1/Å)", "accelerating voltage (kV)"]


def test_a_stack_asks_for_its_scan_shape_and_opens_with_the_answer(
    session: Session, opener: Opener, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "stack.npy", (12,))
    opener.open(path)
    question = session.request.question
    assert question is not None
    assert question.proposals[0] == (3, 4)
    assert session.open_needs == "the scan shape of stack.npy"
    assert session.datacube is None
    opener.open(path, scan_shape=(5, 5))
    assert session.open_needs == "a scan shape that fits stack.npy"
    assert "25" in session.request.said
    opener.open(path, scan_shape=(2, 6))
    assert session.request.question is None
    assert session.datacube is not None
    assert session.datacube.scan_shape == (2, 6)


def test_what_cannot_be_opened_is_said_beside_what_still_is(
    session: Session, opener: Opener, tmp_path: Path
) -> None:
    opener.open(write_scan(tmp_path / "scan.npy"))
    (tmp_path / "bad.h5").write_text("no HDF5")
    opener.open(tmp_path / "bad.h5")
    assert session.request.failed
    assert "bad.h5" in session.request.said
    assert session.open_needs == "another file: bad.h5 could not be opened"
    assert session.datacube is not None
    assert session.stage_state(Stage.OPEN) is StageState.BLOCKED


def test_another_scan_closes_the_one_before_in_words_and_the_same_one_stays(
    session: Session, opener: Opener, tmp_path: Path
) -> None:
    first, second = write_scan(tmp_path / "one.npy"), write_scan(tmp_path / "two.npy", seed=1)
    opener.open(first)
    opener.open(first)
    assert session.request.said == "This scan is open already: what was made of it stays."
    opener.open(second)
    assert session.source.name == "two"
    assert session.request.said == "“one” was closed, with all that was made of it."


def test_peaks_of_the_open_scan_join_it_and_others_take_its_place(
    session: Session, opener: Opener, tmp_path: Path
) -> None:
    opener.open(write_scan(tmp_path / "scan.npy"))
    assert session.datacube is not None
    own = write_peaks(tmp_path / "own.h5", (3, 4), source=session.datacube.fingerprint)
    opener.open(own)
    assert session.datacube is not None
    assert session.request.said == "24 Bragg peaks opened."
    opener.open(write_peaks(tmp_path / "other.h5", (2, 2), source="another scan"))
    assert session.datacube is None
    assert session.request.said == "8 Bragg peaks opened. “scan” was closed for it."


def test_what_the_user_enters_belongs_to_how_the_file_is_read(
    session: Session, opener: Opener, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "scan.npy")
    opener.open(path)
    assert session.calibration is not None
    opener.enter_calibration(session.calibration.updated(voltage_kv=200))
    assert session.calibration.voltage_kv == 200
    assert session.request.choice.given_fields() == {"calibration": {"voltage_kv": 200.0}}
    opener.open(write_scan(tmp_path / "other.npy", seed=1))
    assert session.request.choice.given_fields() == {}
    assert session.calibration.voltage_kv is None


class Answers:
    """A user who answers each question in one way."""

    def __init__(self, *, replace: bool, which: str) -> None:
        self._replace, self._which = replace, which

    def before_opening(self, content: object, then: Callable[[], object], *, otherwise: Any) -> None:
        then() if self._replace else otherwise()

    def which_scan(self, result: object, **ways: Callable[[], object]) -> None:
        ways[self._which]()


@pytest.mark.parametrize(
    ("replace", "which", "scan_is_open", "has_peaks"),
    [
        (True, "alone", False, True),
        (True, "together", True, True),
        (True, "otherwise", True, False),
        (False, "together", True, False),
    ],
)
def test_the_user_decides_about_peaks_of_another_scan_of_the_same_shape(
    session: Session, tmp_path: Path, replace: bool, which: str, scan_is_open: bool, has_peaks: bool
) -> None:
    Opener(session, start=Here(session)).open(write_scan(tmp_path / "scan.npy"))
    opener = Opener(session, start=Here(session), asks=Answers(replace=replace, which=which))
    opener.open(write_peaks(tmp_path / "other.h5", (3, 4), source="another scan"))
    assert (session.datacube is not None) is scan_is_open
    assert (session.peaks is not None) is has_peaks
    if not has_peaks:
        assert session.open_needs == "a file: opening other.h5 was stopped"
