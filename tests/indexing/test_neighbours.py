"""Neighbours: they decide what a pattern leaves open, move no boundary, and put nothing where no disk speaks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing import indexing_job, neighbour_pass
from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.neighbour_pass import NeighbourPass
from napari_stem_orient.indexing.neighbours import (
    OFFSETS,
    Coupling,
    agreement,
    distinct,
    hear_neighbours,
    pair_slices,
)
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.proposals import propose
from napari_stem_orient.indexing.verification import probabilities
from napari_stem_orient.simulation.grains import Polycrystal, make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks
from napari_stem_orient.transformer.loss import symmetry_matrices

CU = load_crystal("Cu")
CPU = torch.device("cpu")
SYMMETRIES = torch.stack(symmetry_matrices([CU], CPU))
COUPLING = Coupling()

# Three orientations of copper that are far from each other.
A, B, C = (
    torch.as_tensor(m).float() for m in quaternion_to_matrix(random_quaternions(3, np.random.default_rng(1)))
)


def scene(evidence: Tensor, rotations: Sequence[Tensor] = (A, B, C)) -> Candidates:
    """Candidates (R, W, C) that are the same orientations everywhere, with evidence (R, W, C) of their own."""
    none = Candidates.none(*evidence.shape, device=CPU)
    rotation = torch.stack(list(rotations)).expand(*evidence.shape, 3, 3)
    return dataclasses.replace(none, rotation=rotation, evidence=evidence.clone())


def chosen(rows: Candidates) -> Tensor:
    """Which candidate (R, W) each position has after it has heard its neighbours."""
    return heard(rows).argmax(dim=-1)


def heard(rows: Candidates) -> Tensor:
    pairs = []
    for offset in OFFSETS:
        here, there = (rows.at(*place) for place in pair_slices(offset))
        same = agreement(here.flat(), there.flat(), SYMMETRIES, width_deg=COUPLING.width_deg)
        pairs.append(same.unflatten(0, here.evidence.shape[:2]))
    return hear_neighbours(rows.evidence, pairs, COUPLING)


def evidence_of(truth: Sequence[Sequence[int]], *, right: float = 3.0, wrong: float = -3.0) -> Tensor:
    """Evidence (R, W, 3): ``right`` for each position's true candidate, ``wrong`` for the others."""
    true = torch.as_tensor(truth)[..., None] == torch.arange(3)
    return torch.where(true, right, wrong)


def test_the_agreement_is_that_of_the_orientations_and_minds_symmetry() -> None:
    equivalent = SYMMETRIES[0][5] @ A
    rows = scene(torch.zeros(1, 3), (A, equivalent, B))
    same = agreement(rows, rows, SYMMETRIES, width_deg=2.0)[0]
    assert float(same[0, 1]) == pytest.approx(1, abs=1e-4)
    assert float(same[0, 2]) < 1e-6
    turn = np.deg2rad(3.0)
    near = (
        A
        @ torch.tensor([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]).float()
    )
    rows = scene(torch.zeros(1, 2), (A, near))
    assert float(agreement(rows, rows, SYMMETRIES, width_deg=3.0)[0, 0, 1]) == pytest.approx(
        np.exp(-0.5), abs=2e-3
    )


def test_phases_do_not_agree() -> None:
    rows = scene(torch.zeros(1, 2), (A, A))
    other = dataclasses.replace(rows, phase=torch.ones_like(rows.phase))
    both = torch.cat([SYMMETRIES, SYMMETRIES])
    assert float(agreement(rows, other, both, width_deg=3.0).max()) == 0
    assert float(agreement(other, other, both, width_deg=3.0).min()) == pytest.approx(1, abs=1e-4)


def test_what_was_proposed_twice_counts_once() -> None:
    evidence = torch.tensor([[1.0, 0.9, 0.5]])
    left = distinct(scene(evidence, (A, A, B)), SYMMETRIES[0], width_deg=2.0).evidence
    assert torch.isfinite(left).tolist() == [[True, False, True]]
    # Neither the choice between the two nor the chance that none is right changes.
    assert float(left[0, 0] - left[0, 2]) == pytest.approx(0.5)
    assert float(probabilities(left).sum()) == pytest.approx(float(probabilities(evidence).sum()))


def test_an_ambiguous_position_gets_its_grains_answer() -> None:
    evidence = evidence_of([[0] * 5] * 5)
    evidence[2, 2] = torch.tensor([0.0, 0.2, -4.0])
    rows = scene(evidence)
    assert int(rows.evidence[2, 2].argmax()) == 1
    assert torch.equal(chosen(rows), torch.zeros(5, 5, dtype=torch.long))
    before, after = (probabilities(e.reshape(-1, 3))[12, 0] for e in (evidence, heard(rows)))
    assert float(after) > float(before) + 0.2


def test_a_grain_two_positions_wide_survives_in_another() -> None:
    truth = [[0, 0, 0, 1, 1, 0, 0, 0]] * 8
    assert chosen(scene(evidence_of(truth))).tolist() == truth


def test_a_sharp_boundary_stays_where_it_is() -> None:
    truth = [[0] * 4 + [1] * 5 if row < 4 else [0] * 6 + [1] * 3 for row in range(8)]
    assert chosen(scene(evidence_of(truth, right=1.5, wrong=-1.5))).tolist() == truth


def test_a_position_without_support_keeps_its_own_best() -> None:
    evidence = evidence_of([[0] * 5] * 5)
    evidence[2, 2] = torch.tensor([-torch.inf, 0.3, -torch.inf])
    after = heard(scene(evidence))
    assert int(after[2, 2].argmax()) == 1
    torch.testing.assert_close(after[2, 2], evidence[2, 2], atol=0.01, rtol=0.01)


def test_a_weak_majority_does_not_win_over_strong_evidence() -> None:
    evidence = evidence_of([[1] * 5] * 5, right=0.2, wrong=-0.2)
    evidence[2, 2] = torch.tensor([6.0, -1.0, -6.0])
    assert int(chosen(scene(evidence))[2, 2]) == 0


def test_a_whole_grain_that_is_unsure_does_not_become_sure() -> None:
    """Neighbours in a grain err together: hundred weak votes are not hundred times the evidence."""
    evidence = torch.tensor([0.1, 0.0, -6.0]).expand(12, 12, 3)
    probability = probabilities(heard(scene(evidence)).reshape(-1, 3))
    assert float(probability[:, 0].max()) < 0.75


def test_rows_far_away_do_not_matter() -> None:
    """What makes it possible to roll over a scan: a word travels as many positions as there are rounds."""
    generator = torch.Generator().manual_seed(0)
    evidence = 2 * torch.randn(16, 5, 3, generator=generator)
    whole, part = heard(scene(evidence)), heard(scene(evidence[: 8 + COUPLING.n_rounds]))
    torch.testing.assert_close(whole[:8], part[:8])
    assert not torch.allclose(whole[9], part[9])


def test_a_position_is_proposed_what_its_neighbours_are_sure_of_and_it_lacks() -> None:
    evidence = evidence_of([[0] * 4] * 4)
    evidence[1, 1] = torch.tensor([-torch.inf, -torch.inf, 0.0])  # has another candidate only
    evidence[2, 2] = torch.tensor([0.0, 0.5, 0.0])  # has it already
    evidence[3, 0] = -torch.inf  # has none
    asking = torch.ones(4, 4, dtype=torch.bool)
    asking[3, 0] = False  # nor disks
    rows = scene(evidence)
    border = Candidates.none(1, 4, 3, device=CPU)
    bordered = Candidates.stacked([row for part in (border, rows, border) for row in part.flat().rows(4)])
    found = propose(bordered, SYMMETRIES, asking=asking, width_deg=COUPLING.width_deg)
    assert found.position.tolist() == [5]
    assert found.there.tolist() == [[True, False]]
    torch.testing.assert_close(found.rotation[0, 0], A)


def simulated(*, seed: int = 0, shape: tuple[int, int] = (20, 20)) -> tuple[BraggPeaks, Polycrystal]:
    """A scan of copper grains with hard patterns: disks missing, added and shifted."""
    truth = make_polycrystal([CU], scan_shape=shape, n_grains=4, bend_deg=4.0, seed=seed)
    peaks = simulate_bragg_peaks(
        truth,
        minimum_relative_intensity=0.15,
        position_noise_inv_angstrom=0.006,
        intensity_noise=0.8,
        missing_fraction=0.3,
        n_spurious=0.7,
        seed=seed,
    )
    return peaks, truth


def run(
    peaks: BraggPeaks, *, resume_from: OrientationMap | None = None, **parameters: object
) -> tuple[list[IndexedBlock], OrientationMap]:
    job = index_bragg_peaks(
        peaks, [CU], parameters=IndexParameters(**parameters), device="cpu", resume_from=resume_from
    )
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as stop:
            return blocks, stop.value


@pytest.fixture(scope="module")
def indexed() -> tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap]:
    peaks, truth = simulated()
    return peaks, truth, *run(peaks)


def test_neighbours_set_right_what_single_patterns_get_wrong(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    peaks, truth, _, result = indexed
    _, alone = run(peaks, neighbours=False)
    here = ~truth.vacuum
    right_alone, right = (
        m.indexed & (disorientation_angle_deg(m.quaternion, truth.quaternion, CU.proper_point_group) < 3)
        for m in (alone, result)
    )
    assert right[here].mean() > right_alone[here].mean() + 0.04
    boundary = truth.boundary() & here
    assert right[boundary].mean() >= right_alone[boundary].mean()


def test_vacuum_stays_empty_though_there_are_false_disks(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    peaks, truth, _, result = indexed
    assert (peaks.counts()[truth.vacuum] >= 2).any()
    assert not result.indexed[truth.vacuum].any()


def test_every_block_can_be_the_last_and_progress_never_goes_back(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    peaks, _, blocks, result = indexed
    done = [block.progress.done for block in blocks]
    assert done == sorted(done)
    assert done[-1] == peaks.n_positions
    partial = OrientationMap.empty(peaks, (CU,), method="transformer", parameters={})
    for block in blocks:
        assert not partial.is_complete  # a map that lacks its neighbours' words can always be gone on with
        partial.fill(block)
    for name, array in result.arrays().items():
        np.testing.assert_array_equal(partial.arrays()[name], array)


@pytest.mark.parametrize("part", [0.1, 0.6, 0.95])
def test_a_resumed_map_is_the_one_that_was_never_stopped(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap], part: float
) -> None:
    peaks, _, blocks, result = indexed
    started = OrientationMap.empty(
        peaks, (CU,), method="transformer", parameters=result.parameters, model=result.model
    )
    for block in blocks[: max(1, int(part * len(blocks)))]:
        started.fill(block)
    again, resumed = run(peaks, resume_from=started)
    assert again[0].progress.done >= int(started.done.sum())
    assert resumed.is_complete
    np.testing.assert_array_equal(resumed.phase_id, result.phase_id)
    np.testing.assert_array_equal(resumed.reason, result.reason)
    # Blocks are as large as time allows, and rounding differs with their size: now and then a tie falls the other way.
    changed = np.abs(resumed.confidence_deg - result.confidence_deg)
    assert np.nanquantile(changed, 0.99) < 0.05
    assert np.nanmax(changed) < 1
    apart = disorientation_angle_deg(resumed.quaternion, result.quaternion, CU.proper_point_group)
    assert apart[result.indexed].max() < 0.1


def test_scattered_positions_that_are_left_come_out_as_in_the_whole_map(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    peaks, _, _, result = indexed
    holes = result.copy()
    left = np.array([3, 4, 128, 250, 251, 399])
    holes.reason[left], holes.phase_id[left], holes.confidence_deg[left] = Reason.NOT_DONE, -1, np.nan
    blocks, filled = run(peaks, resume_from=holes)
    done = [block.progress.done for block in blocks]
    assert done == sorted(done)
    assert done[0] >= peaks.n_positions - len(left)
    np.testing.assert_array_equal(filled.reason, result.reason)
    apart = disorientation_angle_deg(filled.quaternion, result.quaternion, CU.proper_point_group)
    assert apart[result.indexed].max() < 0.1


def test_several_phases_ask_their_neighbours_together() -> None:
    crystals = [CU, load_crystal("Au")]
    truth = make_polycrystal(crystals, scan_shape=(14, 14), n_grains=4, seed=2)
    peaks = simulate_bragg_peaks(
        truth, position_noise_inv_angstrom=0.006, intensity_noise=0.5, missing_fraction=0.2, seed=2
    )
    several = [*crystals, load_crystal("Al"), load_crystal("Ni")]
    job = index_bragg_peaks(peaks, several, device="cpu")
    while True:
        try:
            next(job)
        except StopIteration as stop:
            result = stop.value
            break
    here = result.indexed & ~truth.vacuum
    assert here.sum() > 0.9 * (~truth.vacuum).sum()
    assert (result.phase_id[here] == truth.phase_id[here]).mean() > 0.97


def test_pixel_size_and_origin_are_fitted_to_own_candidates_and_to_what_neighbours_propose() -> None:
    peaks, truth = simulated(seed=3, shape=(12, 12))
    wrong = BraggPeaks.from_q(
        1.015 * peaks.q_x + 0.004,
        1.015 * peaks.q_y,
        peaks.intensity,
        peaks.offsets,
        peaks.scan_shape,
        peaks.calibration,
        detector_shape=(128, 128),
    )
    here = ~truth.vacuum
    as_it_is, fitted = (run(wrong, fit_calibration=fit)[1] for fit in (False, True))
    both = as_it_is.indexed & fitted.indexed & here
    assert both.mean() > 0.8 * here.mean()
    assert np.median(fitted.score[both]) > np.median(as_it_is.score[both]) + 0.01
    error = disorientation_angle_deg(fitted.quaternion, truth.quaternion, CU.proper_point_group)
    assert (error[both] < 3).mean() > 0.7


def test_masked_positions_are_left_alone_and_say_nothing(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    peaks, _, _, result = indexed
    start = OrientationMap.empty(
        peaks, (CU,), method="transformer", parameters=result.parameters, model=result.model
    )
    masked = np.zeros(peaks.scan_shape, dtype=bool)
    masked[:, 7:9] = masked[4] = True
    start.reason[masked.ravel()] = Reason.MASKED
    blocks, found = run(peaks, resume_from=start)
    assert found.is_complete
    assert blocks[-1].progress.fraction == 1
    assert (found.reason[masked.ravel()] == Reason.MASKED).all()
    assert not found.indexed[masked.ravel()].any()
    touched = np.concatenate([block.positions for block in blocks])
    assert not masked.ravel()[touched].any()
    assert found.indexed[~masked.ravel()].mean() > result.indexed.mean() - 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (12, 1), (2, 2)])
def test_scans_of_a_row_a_column_or_one_position_work(shape: tuple[int, int]) -> None:
    peaks, _ = simulated(shape=(12, 12))
    part = peaks.select(np.arange(shape[0] * shape[1]))
    small = BraggPeaks.from_q(
        part.q_x, part.q_y, part.intensity, part.offsets, shape, peaks.calibration, detector_shape=(128, 128)
    )
    blocks, result = run(small)
    assert result.is_complete
    assert blocks[-1].progress.fraction == 1
    if shape == (1, 1):
        _, alone = run(small, neighbours=False)
        np.testing.assert_allclose(result.quaternion, alone.quaternion, atol=1e-5)


def test_the_expected_error_is_not_too_small_after_neighbours(
    indexed: tuple[BraggPeaks, Polycrystal, list[IndexedBlock], OrientationMap],
) -> None:
    _, truth, _, result = indexed
    error = disorientation_angle_deg(result.quaternion, truth.quaternion, CU.proper_point_group)
    expected = result.confidence_deg
    here = result.indexed & ~truth.vacuum
    for low, high in ((0, 2), (2, 8), (8, 90)):
        which = here & (expected >= low) & (expected < high)
        assert which.sum() > 10
        assert error[which].mean() < 1.5 * expected[which].mean() + 0.5


def test_the_rows_that_are_kept_do_not_become_more_in_a_longer_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_pass, "PROPOSED_TOGETHER", 12)
    monkeypatch.setattr(neighbour_pass, "HEARD_TOGETHER", 24)
    monkeypatch.setattr(indexing_job, "LARGEST_BLOCK", 16)
    most = []
    for n_rows in (24, 48):
        kept = _most_rows_kept(n_rows, monkeypatch)
        most.append(kept)
    assert most[0] == most[1]
    assert most[0] < 24


def _most_rows_kept(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> int:
    peaks, _ = simulated(shape=(n_rows, 8))
    passes: list[NeighbourPass] = []
    original = NeighbourPass.__init__

    def remember(self: NeighbourPass, *arguments: object, **keywords: object) -> None:
        passes.append(self)
        original(self, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(NeighbourPass, "__init__", remember)
    most = 0
    for _ in index_bragg_peaks(peaks, [CU], device="cpu"):
        most = max(most, *(each.n_rows_kept for each in passes), 0)
    monkeypatch.setattr(NeighbourPass, "__init__", original)
    return most


def test_a_whole_grain_of_ties_stays_unsure() -> None:
    """A small difference that comes from the fit is the same in a whole grain: it must not add up to certainty."""
    after = heard(scene(evidence_of([[0] * 9] * 9, right=2.0, wrong=1.7)))
    assert torch.all(after.argmax(dim=-1) == 0)
    assert float(probabilities(after.reshape(-1, after.shape[-1]))[40, 0]) < 0.75
