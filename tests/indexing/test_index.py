"""Indexing a scan: the truth comes back, what cannot be indexed says why, stopped work goes on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.frames import WITHOUT_PATTERN, position_ranges
from napari_stem_orient.core.orientation import disorientation_angle_deg, random_quaternions
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing import indexing_job, pattern_indexer
from napari_stem_orient.indexing.index import index_bragg_peaks, make_pattern_indexer
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.simulation.kinematic import simulate_pattern
from napari_stem_orient.transformer.model_folder import model_identities

CU = load_crystal("Cu")
CALIBRATION = Calibration(
    voltage_kv=300, pixel_size_inv_angstrom=0.03, scan_step_nm=5, origin_px=(64.0, 64.0)
)
ALONE = IndexParameters(neighbours=False)


def drain(job: Generator[IndexedBlock, None, OrientationMap]) -> tuple[list[IndexedBlock], OrientationMap]:
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as stop:
            return blocks, stop.value


def scene(name: str = "Cu", *, n: int = 60, seed: int = 0) -> tuple[BraggPeaks, np.ndarray]:
    """Peaks of n random orientations with at least eight disks, and the orientations (n, 4)."""
    rng = np.random.default_rng(seed)
    patterns, truth = [], []
    while len(patterns) < n:
        orientation = random_quaternions(1, rng)[0]
        pattern = simulate_pattern(
            load_crystal(name), orientation, voltage_kv=300, q_max=1.6, minimum_intensity=3e-3
        )
        if len(pattern.q_x) >= 8:
            patterns.append(np.stack([pattern.q_x, pattern.q_y, pattern.intensity], axis=1))
            truth.append(orientation)
    peaks = BraggPeaks.from_lists(patterns, (n // 10, 10), CALIBRATION)
    return peaks, np.array(truth)


def test_orientations_of_simulated_copper_come_back() -> None:
    peaks, truth = scene()
    blocks, result = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    error = disorientation_angle_deg(result.quaternion, truth, CU.proper_point_group)
    assert result.is_complete
    assert result.indexed.mean() > 0.95
    # A single pattern is truly ambiguous now and then: a map of such pixels says so by its confidence.
    assert np.median(error) < 0.7
    assert (error < 2).mean() > 0.55
    assert np.nanmedian(result.confidence_deg[error < 2]) < np.nanmedian(result.confidence_deg[error > 10])
    assert set(np.concatenate([b.positions for b in blocks]).tolist()) == set(range(peaks.n_positions))
    assert blocks[-1].progress.fraction == 1


def test_neighbours_of_other_orientations_change_hardly_anything() -> None:
    peaks, truth = scene()
    alone = drain(index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu"))[1]
    _, result = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    group = CU.proper_point_group
    right_alone, right = (
        disorientation_angle_deg(found.quaternion, truth, group) < 2 for found in (alone, result)
    )
    assert right.sum() >= right_alone.sum() - 2
    np.testing.assert_array_equal(result.explained_disks + result.unexplained_disks, peaks.counts())


def test_the_same_model_indexes_other_fcc_metals() -> None:
    peaks, truth = scene("Au", seed=2)
    gold = load_crystal("Au")
    _, result = drain(index_bragg_peaks(peaks, [gold], device="cpu"))
    error = disorientation_angle_deg(result.quaternion, truth, gold.proper_point_group)
    assert (error < 2).mean() > 0.55


def test_the_phase_whose_lattice_fits_is_chosen() -> None:
    copper, _ = scene("Cu", n=30, seed=3)
    crystals = [CU, load_crystal("Au")]
    _, result = drain(index_bragg_peaks(copper, crystals, device="cpu"))
    assert (result.phase_id[result.indexed] == 0).mean() > 0.95
    assert result.crystals == tuple(crystals)


def test_the_published_method_is_one_candidate_without_refinement() -> None:
    peaks, truth = scene(seed=4)
    published = IndexParameters(n_candidates=1, refine=False, minimum_score=0.0)
    _, plain = drain(index_bragg_peaks(peaks, [CU], parameters=published, device="cpu"))
    _, refined = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    group = CU.proper_point_group
    assert plain.parameters["refine"] is False
    assert np.median(disorientation_angle_deg(refined.quaternion, truth, group)) < np.median(
        disorientation_angle_deg(plain.quaternion, truth, group)
    )


def test_what_cannot_be_indexed_says_why() -> None:
    good = scene(n=10)[0].at(0, 0)
    rng = np.random.default_rng(0)
    noise = np.concatenate([rng.uniform(-1.5, 1.5, (25, 2)), np.ones((25, 1))], axis=1)
    direct_beam_only = np.array([[0.0, 0.0, 100.0]])
    lists = [np.zeros((0, 3)), direct_beam_only, good[:2], good, noise]
    peaks = BraggPeaks.from_lists(lists, (1, 5), CALIBRATION)
    _, result = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    reasons = [Reason(r) for r in result.reason]
    assert reasons[:3] == [Reason.TOO_FEW_DISKS] * 3
    assert reasons[3] is Reason.INDEXED
    assert reasons[4] is Reason.NO_PHASE_FITS
    refused = [0, 1, 2, 4]
    assert np.isnan(result.confidence_deg[refused]).all()
    assert (result.score[refused] == 0).all()
    assert (result.alternative_phase_id[refused] == -1).all()
    assert np.isnan(result.alternative_score[refused]).all()
    assert np.isfinite(result.confidence_deg[3])


@pytest.mark.parametrize("neighbours", [True, False])
def test_positions_of_which_the_file_has_no_pattern_say_so(neighbours: bool) -> None:
    peaks, _ = scene(n=30)
    empty = np.zeros((0, 3), dtype=np.float32)
    lists = [empty if i in (4, 11, 12) else np.asarray(peaks.at(*divmod(i, 10))) for i in range(30)]
    noted = {WITHOUT_PATTERN: position_ranges((4, 11))}
    with_gaps = BraggPeaks.from_lists(lists, (3, 10), CALIBRATION, parameters=noted)
    parameters = IndexParameters(neighbours=neighbours)
    _, result = drain(index_bragg_peaks(with_gaps, [CU], parameters=parameters, device="cpu"))
    assert result.is_complete
    assert result.reason[[4, 11, 12]].tolist() == [Reason.NO_PATTERN, Reason.NO_PATTERN, Reason.TOO_FEW_DISKS]
    assert (result.reason == Reason.NO_PATTERN).sum() == 2
    assert "the file has no pattern" in Reason.NO_PATTERN.sentence


def test_positions_without_detection_are_left_for_later() -> None:
    peaks, _ = scene(n=20)
    import dataclasses

    detected = np.arange(20) < 12
    partial = dataclasses.replace(peaks, detected=detected)
    _, result = drain(index_bragg_peaks(partial, [CU], device="cpu"))
    assert all(result.reason[~detected] == Reason.NOT_DETECTED)
    assert result.indexed[detected].all()


def test_stopped_work_is_kept_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing_job, "PART_OF_CPU_REFINED", 16)
    peaks, _ = scene(n=100, seed=5)
    job = index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu")
    first = next(job)
    job.close()
    whole = drain(index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu"))[1]
    assert whole.model == model_identities([CU])
    started = OrientationMap.empty(
        peaks, (CU,), method="transformer", parameters=whole.parameters, model=whole.model
    )
    started.fill(first)
    blocks, result = drain(
        index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu", resume_from=started)
    )
    assert not np.intersect1d(np.concatenate([b.positions for b in blocks]), first.positions).size
    assert blocks[0].progress.done == len(first.positions) + len(blocks[0].positions)
    assert blocks[-1].progress.fraction == 1
    assert result.is_complete
    np.testing.assert_array_equal(
        result.quaternion[first.positions][first.indexed], first.quaternion[first.indexed]
    )


def test_a_map_that_was_made_otherwise_is_not_gone_on_with() -> None:
    peaks, _ = scene(n=10)
    _, earlier = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    with pytest.raises(ValueError, match="made with other crystals and model: use the same, or index anew"):
        next(index_bragg_peaks(peaks, [load_crystal("Au")], device="cpu", resume_from=earlier))
    parameters = IndexParameters(min_disks=5)
    with pytest.raises(ValueError, match="made with other parameters"):
        next(index_bragg_peaks(peaks, [CU], parameters=parameters, device="cpu", resume_from=earlier))
    moved = peaks.with_calibration(CALIBRATION.updated(voltage_kv=200))
    with pytest.raises(ValueError, match="made with other peaks"):
        next(index_bragg_peaks(moved, [CU], device="cpu", resume_from=earlier))


def test_runner_up_is_another_orientation() -> None:
    peaks, _ = scene(n=60, seed=6)
    _, result = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
    has = result.alternative_phase_id >= 0
    assert has.any()
    angle = disorientation_angle_deg(
        result.quaternion[has], result.alternative_quaternion[has], CU.proper_point_group
    )
    assert angle.min() > 9.9
    assert np.all(result.alternative_score[has] <= 1)
    assert np.isnan(result.alternative_score[~has]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voltage_kv": None}, "voltage"),
        ({"pixel_size_inv_angstrom": None}, "pixel size"),
    ],
)
def test_missing_calibration_is_named(changes: dict[str, Any], message: str) -> None:
    peaks, _ = scene(n=10)
    bare = peaks.with_calibration(CALIBRATION.model_copy(update=changes))
    with pytest.raises(ValueError, match=message):
        next(index_bragg_peaks(bare, [CU], device="cpu"))


def test_missing_crystals_and_models_are_named() -> None:
    peaks, _ = scene(n=10)
    with pytest.raises(ValueError, match="at least one"):
        next(index_bragg_peaks(peaks, [], device="cpu"))
    with pytest.raises(ValueError, match="two crystals are called Cu"):
        next(index_bragg_peaks(peaks, [CU, CU], device="cpu"))
    with pytest.raises(ValueError, match="train one"):
        next(index_bragg_peaks(peaks, [load_crystal("LiCoO2")], device="cpu"))


def test_an_answer_that_is_too_unsure_is_left_out_and_both_are_listed() -> None:
    peaks, _ = scene(n=60, seed=6)
    _, everything = drain(index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu"))
    strict = IndexParameters(neighbours=False, largest_expected_error_deg=10.0)
    _, result = drain(index_bragg_peaks(peaks, [CU], parameters=strict, device="cpu"))
    left_out = result.reason == Reason.AMBIGUOUS
    np.testing.assert_array_equal(left_out, everything.indexed & (everything.confidence_deg > 10))
    assert 3 < left_out.sum() < 57
    assert not result.indexed[left_out].any()
    both = left_out & (result.alternative_phase_id >= 0)
    assert both.any()
    assert (result.rejected_phase_id[left_out] == 0).all()
    np.testing.assert_array_equal(result.quaternion[both], everything.quaternion[both])
    assert (result.unexplained_disks[left_out] == peaks.counts()[left_out]).all()


def mixed(part: float, *, n: int = 40) -> BraggPeaks:
    """Patterns of two random orientations of copper, ``part`` of the intensity being the second's."""
    first, second = (scene(n=n, seed=seed)[0] for seed in (11, 12))
    patterns = []
    for number in range(n):
        disks = []
        for peaks, weight in ((first, 1 - part), (second, part)):
            pattern = peaks.at(number // 10, number % 10).copy()
            pattern[:, 2] = weight * np.sqrt(pattern[:, 2] / pattern[:, 2].max())
            disks.append(pattern)
        both = np.concatenate(disks)
        patterns.append(both[both[:, 2] > 0.05 * both[:, 2].max()])
    return BraggPeaks.from_lists(patterns, (n // 10, 10), CALIBRATION)


def test_two_grains_on_top_of_each_other_are_called_so_and_single_ones_are_not() -> None:
    found = {}
    for part in (0.0, 0.45):
        _, result = drain(index_bragg_peaks(mixed(part), [CU], parameters=ALONE, device="cpu"))
        found[part] = (result.reason == Reason.TWO_GRAINS).mean()
        assert not result.indexed[result.reason == Reason.TWO_GRAINS].any()
    assert found[0.0] == 0
    assert found[0.45] > 0.4


def test_what_fits_nothing_outside_the_trained_range_says_that() -> None:
    good = scene(n=10)[0].at(0, 0)
    rng = np.random.default_rng(0)
    noise = np.concatenate([rng.uniform(-1.5, 1.5, (25, 2)), np.ones((25, 1))], axis=1)
    reasons = {}
    for voltage_kv in (300, 20):
        peaks = BraggPeaks.from_lists([good, noise], (1, 2), CALIBRATION.updated(voltage_kv=voltage_kv))
        _, result = drain(index_bragg_peaks(peaks, [CU], device="cpu"))
        reasons[voltage_kv] = Reason(result.reason[1])
    assert reasons == {300: Reason.NO_PHASE_FITS, 20: Reason.OUTSIDE_TRAINED_RANGE}


def test_the_probability_of_the_phase_is_high_where_it_is_right() -> None:
    copper, _ = scene("Cu", n=30, seed=3)
    _, result = drain(index_bragg_peaks(copper, [CU, load_crystal("Au"), load_crystal("Al")], device="cpu"))
    right = result.indexed & (result.phase_id == 0)
    assert np.median(result.phase_probability[right]) > 0.9
    assert (
        (result.phase_probability[result.indexed] > 0.2) & (result.phase_probability[result.indexed] <= 1)
    ).all()
    assert np.isnan(result.phase_probability[~result.indexed]).all()
    _, alone = drain(index_bragg_peaks(copper, [CU], device="cpu"))
    np.testing.assert_allclose(alone.phase_probability[alone.indexed], 1, atol=1e-5)


def test_more_views_make_smaller_batches_and_slow_crystals_small_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory does not grow with the views, and Cancel waits for a block."""
    monkeypatch.setattr(pattern_indexer, "LARGEST_BATCH_VALUES", 1_000_000)
    peaks, _ = scene()
    sizes = [
        make_pattern_indexer(
            peaks, [CU], parameters=IndexParameters(n_views=views, position_tolerance=0.03), device="cpu"
        ).batch_size
        for views in (1, 4)
    ]
    assert sizes[1] == pytest.approx(sizes[0] / 4, abs=1)
    monkeypatch.setattr(pattern_indexer, "LARGEST_BATCH_VALUES", 10_000)
    blocks, result = drain(index_bragg_peaks(peaks, [CU], parameters=ALONE, device="cpu"))
    assert len(blocks[0].positions) < 10
    assert result.is_complete


def test_a_run_can_be_repeated_to_the_bit_and_broken_off_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a computer that is slower the second time: work is cut by the data, never by the clock."""
    monkeypatch.setattr(indexing_job, "PART_OF_CPU_REFINED", 16)
    peaks, _ = scene(n=70)
    first = drain(index_bragg_peaks(peaks, [CU], device="cpu"))[1]
    job = index_bragg_peaks(peaks, [CU], device="cpu")
    stopped = OrientationMap.empty(peaks, (CU,), method="transformer", parameters={})
    for block in (next(job), next(job), next(job)):
        stopped.fill(block)
    job.close()
    stopped = replace(first, **OrientationMap.fields_from(stopped.arrays()))
    assert not stopped.is_complete
    second = drain(index_bragg_peaks(peaks, [CU], device="cpu", resume_from=stopped))[1]
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
