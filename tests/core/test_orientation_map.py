"""What an orientation map promises to the jobs that fill it and to the people who look at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from example_maps import empty_map, example_block, example_map, no_peaks
from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.orientation import matrix_to_quaternion
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import Solutions


def candidates(*found: tuple[list[float], int, float]) -> Solutions:
    """The candidates of one position: quaternion, phase and score each."""
    quaternion, phase, score = zip(*found, strict=True)
    return Solutions.of([quaternion], [phase], [score])


def block_of_one(position: int, **values: object) -> IndexedBlock:
    arrays: dict[str, object] = {
        "positions": np.array([position]),
        "phase_id": np.array([0], dtype=np.int16),
        "quaternion": np.array([[1, 0, 0, 0]], dtype=np.float32),
        "score": np.array([0.9], dtype=np.float32),
        "confidence_deg": np.array([0.5], dtype=np.float32),
        "reason": np.array([Reason.INDEXED], dtype=np.uint8),
        "explained_disks": np.array([11], dtype=np.uint16),
        "unexplained_disks": np.array([2], dtype=np.uint16),
        "phase_probability": np.array([0.8], dtype=np.float32),
        "choice": np.array([0], dtype=np.int8),
        "runner_up": np.array([-1], dtype=np.int8),
        "solutions": candidates(([1, 0, 0, 0], 0, 0.9)),
        "progress": Progress(1, 12, "patterns"),
    }
    return IndexedBlock(**{**arrays, **values})  # type: ignore[arg-type]


def test_a_new_map_has_nothing_done_and_nothing_indexed() -> None:
    new = empty_map((3, 4))
    assert new.n_positions == 12
    assert not new.done.any()
    assert not new.is_complete
    assert new.indexed_fraction == 0
    assert np.array_equal(new.remaining_positions, np.arange(12))
    assert np.array_equal(new.quaternion, np.tile([1, 0, 0, 0], (12, 1)))
    assert new.at(0, 0).reason is Reason.NOT_DONE
    assert not new.at(2, 3).indexed


def test_filling_writes_in_place_and_leaves_other_positions_alone() -> None:
    filled = empty_map((3, 4))
    score = filled.score
    filled.fill(block_of_one(7))
    assert filled.score is score
    assert score[7] == np.float32(0.9)
    assert np.flatnonzero(filled.done).tolist() == [7]
    assert 7 not in filled.remaining_positions
    assert filled.indexed_fraction == pytest.approx(1 / 12)


def test_a_position_that_is_not_indexed_has_the_identity_whatever_the_block_says() -> None:
    filled = empty_map((3, 4))
    junk = block_of_one(
        2,
        phase_id=np.array([-1], dtype=np.int16),
        quaternion=np.full((1, 4), np.nan, dtype=np.float32),
        choice=np.array([-1], dtype=np.int8),
        reason=np.array([Reason.TOO_FEW_DISKS], dtype=np.uint8),
    )
    filled.fill(junk)
    solution = filled.at(0, 2)
    assert solution.quaternion.tolist() == [1, 0, 0, 0]
    assert solution.crystal is None
    assert solution.euler_deg is None
    assert solution.zone_axis == ""
    assert "too few" in solution.sentence.lower()


def test_a_block_without_solutions_gives_its_reason() -> None:
    filled = empty_map((3, 4))
    progress = Progress(3, 12, "patterns")
    filled.fill(IndexedBlock.not_indexed(np.array([0, 1, 5]), Reason.NOT_DETECTED, progress=progress))
    reasons = np.array([Reason.MASKED, Reason.NO_PHASE_FITS], dtype=np.uint8)
    filled.fill(IndexedBlock.not_indexed(np.array([2, 3]), reasons, progress=progress))
    assert filled.at(1, 1).reason is Reason.NOT_DETECTED
    assert filled.at(0, 2).reason is Reason.MASKED
    assert filled.at(0, 3).reason is Reason.NO_PHASE_FITS
    assert filled.indexed_fraction == 0
    assert filled.done.sum() == 5


def test_the_zone_axis_points_toward_the_gun() -> None:
    # The crystal's c axis against the beam (sample -z), a along sample x: a half turn about x.
    filled = empty_map((3, 4))
    quaternion = matrix_to_quaternion(np.diag([1.0, -1.0, -1.0]))
    filled.fill(block_of_one(5, quaternion=quaternion[None].astype(np.float32)))
    solution = filled.at(1, 1)
    assert solution.zone_axis_uvw == (0, 0, 1)
    assert solution.zone_axis == "[001]"
    assert solution.crystal is not None
    assert solution.crystal.name == "Cu"
    assert filled.zone_axes(0).tolist() == [[0, 0, 1]]
    assert filled.zone_axes(1).shape == (0, 3)


def test_the_runner_up_is_told_with_its_own_crystal() -> None:
    filled = empty_map((3, 4))
    filled.fill(
        block_of_one(
            0,
            runner_up=np.array([1], dtype=np.int8),
            solutions=candidates(([1, 0, 0, 0], 0, 0.9), ([0, 1, 0, 0], 1, 0.4)),
        )
    )
    alternative = filled.at(0, 0).alternative
    assert alternative is not None
    assert alternative.crystal.name == "Cu2O"
    assert alternative.zone_axis == "[001]"
    assert alternative.score == pytest.approx(0.4, abs=5e-4)
    assert filled.at(0, 1).alternative is None


def test_a_solution_counts_disks_and_gives_the_probability_of_its_phase() -> None:
    filled = empty_map((3, 4))
    filled.fill(block_of_one(0))
    solution = filled.at(0, 0)
    assert (solution.explained_disks, solution.unexplained_disks) == (11, 2)
    assert solution.phase_probability == pytest.approx(0.8)
    unknown = filled.at(0, 1)
    assert (unknown.explained_disks, unknown.unexplained_disks) == (0, 0)
    assert np.isnan(unknown.phase_probability)


def test_an_ambiguous_position_is_not_indexed_and_tells_both_answers() -> None:
    filled = empty_map((3, 4))
    half_turn = np.array([[0, 1, 0, 0]], dtype=np.float32)
    filled.fill(
        block_of_one(
            3,
            phase_id=np.array([-1], dtype=np.int16),
            reason=np.array([Reason.AMBIGUOUS], dtype=np.uint8),
            quaternion=half_turn,
            runner_up=np.array([1], dtype=np.int8),
            solutions=candidates(([0, 1, 0, 0], 1, 0.9), ([0, -1, 0, 0], 0, 0.85)),
        )
    )
    solution = filled.at(0, 3)
    assert not solution.indexed
    assert solution.zone_axis == ""
    assert solution.quaternion.tolist() == [1, 0, 0, 0]
    assert "Inspect lists both" in solution.sentence
    assert solution.rejected is not None
    assert solution.alternative is not None
    assert (solution.rejected.crystal.name, solution.alternative.crystal.name) == ("Cu2O", "Cu")
    assert solution.rejected.quaternion.tolist() == [0, 1, 0, 0]
    assert solution.rejected.zone_axis == "[001]"
    assert solution.rejected.score == pytest.approx(0.9)
    assert filled.at(0, 2).rejected is None


@pytest.mark.parametrize(("y", "x"), [(-1, 0), (0, -1), (3, 0), (0, 4)])
def test_a_position_outside_the_scan_is_refused_in_words(y: int, x: int) -> None:
    with pytest.raises(IndexError, match="outside the scan of 3 x 4"):
        empty_map((3, 4)).at(y, x)


def test_a_copy_is_filled_without_changing_the_first_map() -> None:
    first = example_map((3, 4))
    second = first.copy()
    second.fill(example_block(12, seed=1))
    assert not np.array_equal(first.quaternion, second.quaternion)
    assert second.crystals == first.crystals
    assert second.calibration == first.calibration


def test_a_map_knows_the_peaks_it_was_made_from() -> None:
    peaks = no_peaks((2, 2))
    made = OrientationMap.empty(peaks, (), method="template", parameters={})
    assert made.is_made_from(peaks)
    moved = peaks.with_calibration(peaks.calibration.updated(pixel_size_inv_angstrom=0.03))
    assert not made.is_made_from(moved)


def test_arrays_that_do_not_cover_the_scan_are_refused() -> None:
    arrays = OrientationMap.fields_from(example_map((3, 4)).arrays())
    with pytest.raises(ValueError, match="phase_id has 12 entries, but scan shape 2 x 2 has 4"):
        replace(example_map((2, 2)), **arrays)


def test_every_reason_has_a_sentence() -> None:
    sentences = {reason.sentence for reason in Reason}
    assert len(sentences) == len(Reason)
    assert all(sentence.endswith((".", "?")) for sentence in sentences)


@pytest.mark.parametrize(
    ("runner_up", "expected_error", "asked", "decided"),
    [
        (0.84, 0.8, True, True),  # as good, and yet sure
        (0.86, 0.8, True, True),  # even better by the pattern alone
        (0.60, 0.8, True, False),  # the pattern itself tells
        (0.84, 35.0, True, False),  # nobody told
        (0.84, 0.8, False, False),  # nobody was asked
        (None, 0.8, True, False),
    ],
)
def test_neighbours_decided_where_a_runner_up_is_as_good_and_the_answer_is_sure(
    runner_up: float | None, expected_error: float, asked: bool, decided: bool
) -> None:
    orientation_map = replace(empty_map((3, 4)), parameters={"neighbours": asked, "refine": True})
    assert orientation_map.method == "transformer"
    found = [([1, 0, 0, 0], 0, 0.85)] + ([] if runner_up is None else [([0, 1, 0, 0], 0, runner_up)])
    orientation_map.fill(
        block_of_one(
            0,
            score=np.array([0.85], dtype=np.float32),
            confidence_deg=np.array([expected_error], dtype=np.float32),
            runner_up=np.array([-1 if runner_up is None else 1], dtype=np.int8),
            solutions=candidates(*found),
        )
    )
    assert orientation_map.at(0, 0).neighbours_decided is decided
