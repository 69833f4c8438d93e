"""Opening a file: the choice is applied, and what the file does not say is asked with a way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import FrameChoice
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.steps.open import (
    FramesWayOut,
    GivenCalibration,
    OpenChoice,
    ScanShapeQuestion,
    open_file,
    open_scan,
)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """13 frames, the first of which is another than the others."""
    frames = np.full((13, 8, 8), 5, dtype=np.uint16)
    frames[0] = 99
    np.save(tmp_path / "stack.npy", frames)
    return tmp_path / "stack.npy"


def asked(path: Path, choice: OpenChoice) -> ScanShapeQuestion:
    question = open_file(path, choice).content
    assert isinstance(question, ScanShapeQuestion)
    return question


def test_a_stack_without_a_shape_is_asked_for_it(stack: Path) -> None:
    question = asked(stack, OpenChoice())
    assert (question.n_frames, question.problem, question.way_out) == (13, "", None)
    assert question.proposals == ((1, 13), (13, 1))
    assert question.error.field == "scan_shape"


def test_frames_that_do_not_fit_come_with_a_way_out_that_fits(stack: Path) -> None:
    choice = OpenChoice(scan_shape=(3, 4))
    question = asked(stack, choice)
    assert question.way_out == FramesWayOut(1, first=1, last=11)
    assert "does not divide 13 frames" in question.problem
    opened = open_scan(stack, choice.with_frames(FrameChoice(first=question.way_out.first)))
    assert opened.scan_shape == (3, 4)
    assert int(opened.pattern(0, 0).max()) == 5
    question = asked(stack, OpenChoice(scan_shape=(2, 7)))
    assert question.way_out == FramesWayOut(1, lost=(13,))
    assert open_scan(stack, OpenChoice(scan_shape=(2, 7), lost_frames="14")).n_missing == 1


def test_people_count_frames_from_one(stack: Path) -> None:
    choice = OpenChoice(scan_shape=(2, 2), first_frame=2, last_frame=5)
    assert choice.frames == FrameChoice(1, 4)
    assert OpenChoice(scan_shape=(2, 2)).with_frames(FrameChoice(1, 4)) == choice
    ours, by_index = (
        open_scan(stack, choice),
        open_datacube(stack, scan_shape=(2, 2), first_frame=1, last_frame=4),
    )
    assert ours.opened_as == by_index.opened_as
    assert np.array_equal(ours.data.compute(), by_index.data.compute())


def test_what_is_given_of_the_calibration_counts_and_the_file_says_the_rest(scan_file: Path) -> None:
    plain = open_scan(scan_file, OpenChoice())
    given = OpenChoice(calibration=GivenCalibration({"voltage_kv": 300, "pixel_angle_mrad": 0.5}))
    opened = open_scan(scan_file, given)
    assert opened.calibration.voltage_kv == 300
    assert opened.calibration.pixel_size_inv_angstrom == pytest.approx(0.0254, abs=1e-4)
    assert opened.calibration.scan_step_nm == plain.calibration.scan_step_nm
    assert opened.opened_as == plain.opened_as  # the same scan


def test_what_nothing_can_mend_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.npy").touch()
    with pytest.raises(UserError, match="is empty"):
        open_file(tmp_path / "empty.npy", OpenChoice())
