"""The position tolerance follows the scatter of the disks in the scan."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.indexing.index import IndexParameters, make_pattern_indexer
from napari_stem_orient.indexing.position_noise import measured_position_tolerance
from napari_stem_orient.simulation.polycrystal import make_polycrystal, simulate_bragg_peaks

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
