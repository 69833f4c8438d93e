"""The candidates that indexing leaves in a map: the answer is one of them, best first, the neighbours told apart."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import torch

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.chosen import chosen
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    misorientation_angle_deg,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import Solutions, unpacked_rotations
from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.neighbours import padded_symmetries
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.quaternions import quaternions_of
from napari_stem_orient.indexing.solution_block import solution_block
from napari_stem_orient.indexing.template_matching import index_by_template_matching
from napari_stem_orient.simulation.kinematic import simulate_pattern
from napari_stem_orient.transformer.loss import symmetry_matrices

CU = load_crystal("Cu")
CALIBRATION = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.03, scan_step_nm=5)


def finished(job: Generator[IndexedBlock, None, OrientationMap]) -> OrientationMap:
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return stop.value


@pytest.fixture(scope="module")
def peaks() -> BraggPeaks:
    """Two grains of copper side by side, a column of vacuum between them."""
    one, other = random_quaternions(40, np.random.default_rng(3))[[5, 7]]
    patterns = []
    for orientation in (one, other):
        pattern = simulate_pattern(CU, orientation, voltage_kv=300, q_max=1.5, minimum_intensity=3e-3)
        patterns.append(np.stack([pattern.q_x, pattern.q_y, pattern.intensity], axis=1))
    row = [patterns[0]] * 4 + [np.zeros((0, 3))] + [patterns[1]] * 4
    return BraggPeaks.from_lists(row * 5, (5, 9), CALIBRATION)


def assert_consistent(found: OrientationMap) -> None:
    """The answer is the candidate chosen, candidates stand best first, and the runner-up is another answer."""
    solutions, indexed = found.solutions, np.flatnonzero(found.indexed)
    choice = found.choice[indexed]
    assert (choice == 0).all()
    np.testing.assert_array_equal(solutions.phase[indexed, choice], found.phase_id[indexed])
    packed = unpacked_rotations(solutions.rotation[indexed, choice])
    assert misorientation_angle_deg(packed, found.quaternion[indexed]).max() < 0.05  # single precision
    np.testing.assert_allclose(solutions.score[indexed, choice], found.score[indexed], atol=5e-4)
    there = solutions.there
    np.testing.assert_array_equal(there, np.sort(there, axis=1)[:, ::-1])  # empty places come last
    for index in indexed[found.runner_up[indexed] >= 0]:
        number = int(found.runner_up[index])
        other = unpacked_rotations(solutions.rotation[index, number])
        same = solutions.phase[index, number] == found.phase_id[index]
        group = found.crystals[found.phase_id[index]].proper_point_group
        assert not same or disorientation_angle_deg(other, found.quaternion[index], group) > 9.9


@pytest.mark.parametrize("neighbours", [True, False])
def test_a_refined_map_keeps_its_candidates_best_first(peaks: BraggPeaks, neighbours: bool) -> None:
    parameters = IndexParameters(neighbours=neighbours)
    found = finished(index_bragg_peaks(peaks, [CU], parameters=parameters, device="cpu"))
    assert_consistent(found)
    solutions, there = found.solutions, found.solutions.there
    assert there[found.indexed].sum(axis=1).min() >= 2
    assert not there[~found.indexed].any()  # vacuum has none
    evidence = solutions.evidence[found.indexed].astype(float)
    assert (np.diff(np.where(there[found.indexed], evidence, -1e4), axis=1) <= 0).all()
    np.testing.assert_array_equal(
        solutions.explained_disks[found.indexed, 0], found.explained_disks[found.indexed]
    )
    told_more = solutions.evidence[there] != solutions.pattern_evidence[there]
    assert told_more.any() == neighbours
    own = np.flatnonzero(found.indexed)
    again = chosen(found, own, found.choice[own].astype(np.int64))
    np.testing.assert_allclose(again.confidence_deg, found.confidence_deg[own], atol=0.05)
    np.testing.assert_array_equal(again.runner_up, found.runner_up[own])
    np.testing.assert_allclose(again.phase_probability, found.phase_probability[own], atol=1e-3)


def test_the_published_method_keeps_one_candidate_of_each_crystal(peaks: BraggPeaks) -> None:
    crystals: list[Crystal] = [CU, load_crystal("Ni")]
    parameters = IndexParameters(refine=False, n_candidates=1)
    found = finished(index_bragg_peaks(peaks, crystals, parameters=parameters, device="cpu"))
    assert_consistent(found)
    there = found.solutions.there[found.indexed]
    assert (there.sum(axis=1) == 2).all()
    assert {0, 1} == set(found.solutions.phase[found.indexed, 0]) | set(
        found.solutions.phase[found.indexed, 1]
    )


@pytest.mark.usefixtures("py4dstem")
def test_template_matching_keeps_the_matches_of_all_crystals(peaks: BraggPeaks) -> None:
    crystals = (CU, load_crystal("Au"))
    found = finished(index_by_template_matching(peaks, crystals))
    assert_consistent(found)
    assert found.solutions.n_candidates == 4
    assert (found.solutions.there[found.indexed].sum(axis=1) == 4).all()
    assert np.isnan(found.solutions.evidence[found.indexed]).all()
    others = found.solutions.score[found.indexed][:, 1:].astype(float)
    assert (np.diff(others, axis=1) <= 0).all()


def test_what_two_grains_leave_unanswered_keeps_its_candidates() -> None:
    one, other = (
        simulate_pattern(CU, q, voltage_kv=300, q_max=1.5, minimum_intensity=3e-3)
        for q in random_quaternions(40, np.random.default_rng(3))[[5, 7]]
    )
    both = np.concatenate([np.stack([p.q_x, p.q_y, p.intensity], axis=1) for p in (one, other)])
    peaks = BraggPeaks.from_lists([both], (1, 1), CALIBRATION)
    found = finished(index_bragg_peaks(peaks, [CU], device="cpu"))
    assert Reason(int(found.reason[0])) is Reason.TWO_GRAINS
    assert (int(found.choice[0]), int(found.runner_up[0])) == (-1, -1)
    assert found.solutions.there[0].any()
    assert found.unexplained_disks[0] == len(both)


def test_the_runner_up_is_kept_even_where_nine_candidates_are_nearly_the_same() -> None:
    """Nine within 4° about z with more evidence than the tenth, which is 30° away: that one is the runner-up."""
    angles = np.deg2rad([*np.linspace(0, 4, 9), 30.0])
    rotation = np.stack([np.cos(angles / 2), 0 * angles, 0 * angles, np.sin(angles / 2)], axis=1)
    found = Candidates(
        torch.tensor(quaternion_to_matrix(rotation), dtype=torch.float32)[None],
        torch.full((1, 10), 0.8),
        torch.arange(10.0, 0.0, -1.0)[None],
        torch.full((1, 10), 9),
        torch.zeros(1, 10, dtype=torch.long),
    )
    block = solution_block(
        found,
        n_disks=np.array([12]),
        symmetries=padded_symmetries(symmetry_matrices([CU], torch.device("cpu"))),
        parameters=IndexParameters(),
        positions=np.array([0]),
        progress=Progress(1, 1, "patterns"),
    )
    assert block.solutions.n_candidates == 8
    assert block.runner_up[0] == 7
    kept = unpacked_rotations(block.solutions.rotation[0, 7])
    assert misorientation_angle_deg(kept, rotation[9]) < 0.01


def test_quaternions_of_matrices_are_right_everywhere_and_at_half_turns() -> None:
    axes = np.concatenate([np.eye(3), [[0.6, 0.8, 0], [0, -0.6, 0.8]]])
    half_turns = np.concatenate([np.zeros((5, 1)), axes], axis=1)
    wanted = np.concatenate([random_quaternions(200, np.random.default_rng(0)), half_turns, [[1, 0, 0, 0]]])
    found = quaternions_of(torch.tensor(quaternion_to_matrix(wanted))).numpy()
    np.testing.assert_allclose(np.abs((found * wanted).sum(axis=1)), 1.0, atol=1e-12)
    assert quaternions_of(torch.eye(3).expand(2, 5, 3, 3)).shape == (2, 5, 4)


def test_candidates_that_are_not_there_leave_nothing_behind() -> None:
    solutions = Solutions.of(np.full((1, 2, 4), np.nan), [[0, -1]], [[0.5, np.nan]])
    assert solutions.rotation[0, 1].tolist() == [0, 0, 0]
    assert np.isneginf(solutions.evidence[0, 1])
    assert np.isnan(solutions.evidence[0, 0])
