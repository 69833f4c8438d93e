"""What the candidates of a map promise: orientations that stay exact enough, little memory, errors to expect."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_maps import empty_map, example_block
from napari_stem_orient.core.answers import Answers, IndexedBlock
from napari_stem_orient.core.chosen import candidates_at, chosen
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import normalise
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import (
    MOST_CANDIDATES,
    Solutions,
    expected_error_deg,
    packed_rotations,
    probabilities,
    unpacked_rotations,
)

TURNS_ABOUT_Z_DEG = (0.0, 30.0, 5.0)
EVIDENCE = (2.0, 1.0, 0.0)


def about_z(angle_deg: float) -> list[float]:
    half = math.radians(angle_deg) / 2
    return [math.cos(half), 0.0, 0.0, math.sin(half)]


def of_three_candidates() -> OrientationMap:
    """A map of one position: copper at 0°, 30° and 5° about z, log odds 2, 1 and 0, of a pattern of twelve disks."""
    solutions = Solutions.of(
        [[about_z(angle) for angle in TURNS_ABOUT_Z_DEG]],
        [[0, 0, 0]],
        [[0.9, 0.8, 0.7]],
        explained_disks=[[11, 10, 9]],
        evidence=[EVIDENCE],
        pattern_evidence=[[1.0, 1.5, 0.5]],
    )
    block = IndexedBlock(
        positions=np.zeros(1, dtype=np.int64),
        progress=Progress(1, 1, "patterns"),
        **{
            **Answers.blank_fields(1, 0),
            "phase_id": np.zeros(1, dtype=np.int16),
            "score": np.array([0.9], dtype=np.float32),
            "confidence_deg": np.array([7.0], dtype=np.float32),
            "reason": np.zeros(1, dtype=np.uint8),
            "explained_disks": np.array([11], dtype=np.uint16),
            "unexplained_disks": np.array([1], dtype=np.uint16),
            "choice": np.zeros(1, dtype=np.int8),
            "runner_up": np.ones(1, dtype=np.int8),
            "solutions": solutions,
        },
    )
    found = empty_map((1, 1), ("Cu",))
    found.fill(block)
    return found


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_a_packed_rotation_is_less_than_a_hundredth_of_a_degree_off(components: list[float]) -> None:
    quaternion = normalise(components)
    restored = unpacked_rotations(packed_rotations(quaternion))
    assert np.linalg.norm(restored) == pytest.approx(1.0, abs=1e-12)
    assert restored[0] >= 0
    # The chord between unit quaternions is half the angle of the rotation between them.
    chord = min(np.linalg.norm(restored - quaternion), np.linalg.norm(restored + quaternion))
    assert np.rad2deg(2 * chord) < 0.01


@pytest.mark.parametrize(
    ("quaternion", "packed"),
    [
        ([1, 0, 0, 0], [0, 0, 0]),
        ([-1, 0, 0, 0], [0, 0, 0]),
        ([0, 1, 0, 0], [32767, 0, 0]),  # a half turn is at the surface of the ball
        (about_z(90), [0, 0, 13573]),  # tan(90° / 4) = 0.41421
        (about_z(-90), [0, 0, -13573]),
        ([math.nan] * 4, [0, 0, 0]),
    ],
)
def test_rotations_are_packed_as_the_tangent_of_a_quarter_of_their_angle(
    quaternion: list[float], packed: list[int]
) -> None:
    assert packed_rotations(quaternion).tolist() == packed


def test_a_map_of_a_million_positions_with_eight_candidates_each_takes_less_than_400_mb() -> None:
    position = empty_map((1, 1))
    assert position.solutions.n_candidates == MOST_CANDIDATES == 8
    assert 1024**2 * position.nbytes < 200e6
    assert sum(array.nbytes for array in position.arrays().values()) == position.nbytes == 157


def test_blocks_of_fewer_candidates_leave_the_other_places_empty() -> None:
    found = empty_map((3, 4))
    assert found.solutions.n_candidates == 8
    found.solutions.phase[:] = 0
    found.fill(example_block(12))
    assert (found.solutions.phase[:, 2:] == -1).all()
    assert np.isneginf(found.solutions.evidence[:, 2:]).all()
    narrow = replace(found, **OrientationMap.blank_fields(12, 1))
    with pytest.raises(ValueError, match="2 candidates does not fit where there is room for 1"):
        narrow.fill(example_block(12))


def test_a_map_gets_room_for_more_candidates_without_losing_any() -> None:
    found = of_three_candidates()
    wide = replace(found, solutions=replace(found.solutions)).widened(10)
    assert wide.solutions.n_candidates == 10
    for name, array in found.solutions.arrays().items():
        np.testing.assert_array_equal(wide.solutions.arrays()[name][:, :8], array)
    assert (wide.solutions.phase[:, 8:] == -1).all()
    assert found.widened(3) is found


def test_probabilities_leave_room_for_none_is_right() -> None:
    # exp(2), exp(1), exp(0) and 1 for "none": 7.389 + 2.718 + 1 + 1 = 12.107
    found = probabilities(np.array([[*EVIDENCE, -np.inf]]))
    np.testing.assert_allclose(found[0], [0.6103, 0.2245, 0.0826, 0.0], atol=1e-4)


def test_the_expected_error_counts_the_other_candidates_and_none_of_them() -> None:
    probability = np.array([[0.7, 0.2]])
    # 0.1 of 35° where none is right, 0.2 of 30°, and the fine error of twelve disks: 0.5°
    assert expected_error_deg(probability, np.array([[0.0, 30.0]]), [12])[0] == pytest.approx(10.0)


def test_every_candidate_tells_its_own_error_score_and_disks() -> None:
    best, second, third = candidates_at(of_three_candidates(), 0, 0)
    none = 35.0 / 12.107
    # Cubic copper turned by 30° about a four-fold axis is 30° away, by 25° from the third.
    assert best.confidence_deg == pytest.approx(0.2245 * 30 + 0.0826 * 5 + none + 0.5, abs=0.02)
    assert second.confidence_deg == pytest.approx(0.6103 * 30 + 0.0826 * 25 + none + 0.5, abs=0.02)
    assert third.confidence_deg == pytest.approx(0.6103 * 5 + 0.2245 * 25 + none + 0.5, abs=0.02)
    assert [each.number for each in (best, second, third)] == [0, 1, 2]
    assert [each.explained_disks for each in (best, second, third)] == [11, 10, 9]
    assert (second.evidence, second.pattern_evidence) == (
        1.0,
        1.5,
    )  # the neighbours turned the pattern's own order
    assert second.score == pytest.approx(0.8, abs=5e-4)


def test_choosing_another_candidate_gives_its_answer_and_leaves_the_map_as_it_is() -> None:
    found = of_three_candidates()
    block = chosen(found, np.zeros(1, dtype=np.int64), 1)
    changed = found.copy()
    changed.fill(block)
    solution = changed.at(0, 0)
    assert (solution.explained_disks, solution.unexplained_disks) == (10, 2)
    assert solution.euler_deg is not None
    np.testing.assert_allclose(solution.quaternion, about_z(30), atol=1e-4)
    assert solution.phase_probability == pytest.approx(1.0)
    assert solution.alternative is not None
    assert solution.alternative.number == 0  # at least 10° away, and the best of these
    assert found.choice[0] == 0
    np.testing.assert_array_equal(found.quaternion[0], [1, 0, 0, 0])


def test_choosing_what_the_map_has_chosen_changes_no_orientation_and_no_score() -> None:
    found = of_three_candidates()
    block = chosen(found, np.zeros(1, dtype=np.int64), found.choice[:1].astype(np.int64))
    np.testing.assert_array_equal(block.quaternion, found.quaternion)
    np.testing.assert_array_equal(block.score, found.score)


def test_a_candidate_of_a_position_that_is_not_indexed_can_be_chosen() -> None:
    found = of_three_candidates()
    found.withdraw(np.zeros(1, dtype=np.int64), Reason.TWO_GRAINS)
    assert found.at(0, 0).alternative is None
    assert found.at(0, 0).rejected is None
    block = chosen(found, np.zeros(1, dtype=np.int64), 0)
    assert (int(block.phase_id[0]), Reason(int(block.reason[0]))) == (0, Reason.INDEXED)
    assert (int(block.explained_disks[0]), int(block.unexplained_disks[0])) == (11, 1)


def test_a_candidate_that_is_not_there_is_refused_by_position_and_number() -> None:
    with pytest.raises(ValueError, match=r"position \(0, 0\) has 3 candidates and no number 3"):
        chosen(of_three_candidates(), np.zeros(1, dtype=np.int64), 3)


def test_another_phase_counts_as_45_degrees_and_shares_the_probability() -> None:
    found = replace(of_three_candidates(), crystals=(load_crystal("Cu"), load_crystal("Cu2O")))
    found.solutions.phase[0, 1] = 1
    block = chosen(found, np.zeros(1, dtype=np.int64), 0)
    assert block.confidence_deg[0] == pytest.approx(0.2245 * 45 + 0.0826 * 5 + 35 / 12.107 + 0.5, abs=0.02)
    assert block.phase_probability[0] == pytest.approx(
        (0.6103 + 0.0826) / (0.6103 + 0.0826 + 0.2245), abs=1e-3
    )


def test_the_error_where_no_candidate_is_right_is_that_of_the_chosen_crystal() -> None:
    found = replace(of_three_candidates(), gross_error_deg=(41.0,))
    block = chosen(found, np.zeros(1, dtype=np.int64), 0)
    assert block.confidence_deg[0] == pytest.approx(0.2245 * 30 + 0.0826 * 5 + 41 / 12.107 + 0.5, abs=0.02)


def test_unknown_evidence_gives_an_unknown_error() -> None:
    found = of_three_candidates()
    found.solutions.evidence[0, :3] = np.nan
    assert all(math.isnan(each.confidence_deg) for each in candidates_at(found, 0, 0))


def test_a_position_without_candidates_has_none_to_choose_from() -> None:
    assert candidates_at(empty_map((1, 1)), 0, 0) == ()
