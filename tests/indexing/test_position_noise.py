"""The position tolerance follows the scatter of the disks in the scan."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.indexing.index import index_bragg_peaks, make_pattern_indexer
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.position_noise import measured_position_tolerance
from napari_stem_orient.io.maps import open_orientation_map, save_orientation_map
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks

CU = load_crystal("Cu")


def scan(noise: float) -> BraggPeaks:
    truth = make_polycrystal([CU], scan_shape=(8, 12), n_grains=6, seed=3)
    return simulate_bragg_peaks(truth, position_noise_inv_angstrom=noise, seed=3)


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0005, 0.02), (0.008, 0.032), (0.03, 0.05)])
def test_the_tolerance_is_four_standard_deviations_within_limits(noise: float, tolerance: float) -> None:
    peaks = scan(noise)
    indexer = make_pattern_indexer(peaks, [CU], parameters=IndexParameters(), device="cpu")
    # The orientation follows part of the noise.
    assert measured_position_tolerance(peaks, indexer) == pytest.approx(tolerance, rel=0.25)
    assert indexer.indexers[0].fitter.position_tolerance == pytest.approx(tolerance, rel=0.25)


def test_a_few_disks_tell_nothing_and_the_largest_tolerance_holds() -> None:
    few = scan(0.0005).select(np.arange(2))
    peaks = BraggPeaks.from_q(
        few.q_x,
        few.q_y,
        few.intensity,
        few.offsets,
        (1, 2),
        scan(0.0005).calibration,
        detector_shape=(128, 128),
    )
    indexer = make_pattern_indexer(peaks, [CU], parameters=IndexParameters(), device="cpu")
    assert indexer.indexers[0].fitter.position_tolerance == pytest.approx(0.05, rel=0.05)


def test_disks_of_another_phase_do_not_widen_the_tolerance() -> None:
    crystals = [load_crystal("Au"), CU]
    indexer = make_pattern_indexer(scan(0.002), crystals, parameters=IndexParameters(), device="cpu")
    assert indexer.indexers[1].fitter.position_tolerance == pytest.approx(0.02, rel=0.05)


def test_a_tolerance_that_was_given_stays() -> None:
    parameters = IndexParameters(position_tolerance=0.012)
    indexer = make_pattern_indexer(scan(0.008), [CU], parameters=parameters, device="cpu")
    assert indexer.indexers[0].fitter.position_tolerance == 0.012


def test_a_dense_reciprocal_lattice_limits_the_tolerance() -> None:
    parameters = IndexParameters(position_tolerance=0.2)
    indexer = make_pattern_indexer(scan(0.008), [CU], parameters=parameters, device="cpu")
    shortest = 3**0.5 / CU.lattice_scale
    assert indexer.indexers[0].fitter.position_tolerance == pytest.approx(shortest / 10, rel=1e-4)


def indexed(parameters: IndexParameters) -> OrientationMap:
    job = index_bragg_peaks(scan(0.008), [CU], parameters=parameters, device="cpu")
    while True:
        try:
            next(job)
        except StopIteration as stop:
            found: OrientationMap = stop.value
            return found


def test_a_map_keeps_the_tolerance_that_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "map.h5"
    found = indexed(IndexParameters(neighbours=False))
    tolerance = found.measured["position_tolerance_inv_angstrom"]
    assert tolerance == {"Cu": pytest.approx(0.032, rel=0.25)}
    save_orientation_map(found, path)
    assert open_orientation_map(path).measured == found.measured
    assert main(["info", str(path)]) == 0
    assert f"Cu {tolerance['Cu']:.3g} 1/Å, measured in the scan" in capsys.readouterr().out
    with h5py.File(path, "a") as file:  # as the first releases saved it
        del file["napari_stem_orient/measured"]
    assert open_orientation_map(path).measured == {}


def test_a_tolerance_that_was_given_is_among_the_parameters_only() -> None:
    found = indexed(IndexParameters(neighbours=False, position_tolerance=0.03))
    assert found.measured == {}
    assert found.parameters["position_tolerance"] == 0.03


def test_where_the_lattice_allows_no_more_than_the_smallest_tolerance_nothing_is_indexed_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Patterns of large cells take long, and the job cannot be stopped meanwhile."""
    indexer = make_pattern_indexer(scan(0.03), [CU], parameters=IndexParameters(), device="cpu")
    indexer.indexers[0].fitter.largest_tolerance = 0.015
    monkeypatch.setattr(type(indexer), "solve", lambda *_: pytest.fail("patterns were indexed"))
    tolerance = measured_position_tolerance(scan(0.03), indexer)
    indexer.indexers[0].fitter.set_position_tolerance(tolerance)
    assert indexer.indexers[0].fitter.position_tolerance == 0.015
