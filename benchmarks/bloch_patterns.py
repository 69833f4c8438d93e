"""Diffraction patterns of known orientation simulated by py4DSTEM: with Bloch waves, or kinematically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from known_patterns import KnownPatterns, cached
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import py4dstem_from_sample, random_quaternions
from napari_stem_orient.indexing.template_plan import py4dstem_crystal

VOLTAGE_KV = 300.0
Q_MAX = 2.1  # Å⁻¹: 128 px of 0.0328 Å⁻¹
EXCITATION_ERROR_CUT = 0.04  # Å⁻¹
THERMAL_SIGMA = 0.08  # Å
THICKNESS_ANGSTROM = (50.0, 1500.0)
DROP_BELOW = 0.004  # of the strongest diffracted disk
KINEMATIC_WIDTH = 0.02  # Å⁻¹, standard deviation of the excitation error; that of the templates, too


def known_patterns(
    crystal: Crystal, n_patterns: int, *, seed: int, kinematic: bool = False, cache: Path | None = None
) -> KnownPatterns:
    """Patterns of random orientation, simulated now or taken from the file that they were kept in."""
    made_with = {
        "simulation": "kinematic" if kinematic else "bloch",
        "crystal": crystal.fingerprint,
        "patterns": n_patterns,
        "seed": seed,
    }
    simulate = simulate_kinematic_patterns if kinematic else simulate_bloch_patterns
    return cached(cache, made_with, lambda: simulate(crystal, n_patterns, seed=seed))


def simulate_bloch_patterns(
    crystal: Crystal, n_patterns: int, *, seed: int = 0, drop_below: float = DROP_BELOW
) -> KnownPatterns:
    """Simulate patterns of random orientation and thickness with the cuts of the published training set.

    Disks weaker than ``drop_below`` of the strongest diffracted one are left out.
    """
    rng = np.random.default_rng(seed)
    quaternion = random_quaternions(n_patterns, rng)
    thickness = rng.uniform(*THICKNESS_ANGSTROM, n_patterns)
    return bloch_patterns_of(crystal, quaternion, thickness, drop_below=drop_below)


def bloch_patterns_of(
    crystal: Crystal,
    quaternion: NDArray[np.float64],
    thickness_angstrom: NDArray[np.float64],
    *,
    drop_below: float = DROP_BELOW,
) -> KnownPatterns:
    """Simulate the patterns of orientations (n, 4), sample to crystal, at thicknesses (n,) in Å."""
    dynamical = py4dstem_crystal(crystal)
    dynamical.calculate_dynamical_structure_factors(
        VOLTAGE_KV * 1e3,
        "WK-CP",
        k_max=2 * Q_MAX,
        thermal_sigma=THERMAL_SIGMA,
        tol_structure_factor=1e-3,
        g_vec_precision=4,
    )
    patterns = []
    for matrix, depth in zip(py4dstem_from_sample(quaternion), thickness_angstrom, strict=True):
        beams = _beams(dynamical, matrix, sigma=EXCITATION_ERROR_CUT / 3)
        disks = dynamical.generate_dynamical_diffraction_pattern(
            beams, thickness=float(depth), zone_axis_cartesian=matrix[:, 2]
        ).data
        patterns.append(_seen(disks, drop_below))
    return _known(patterns, quaternion, thickness_angstrom)


def simulate_kinematic_patterns(crystal: Crystal, n_patterns: int, *, seed: int = 0) -> KnownPatterns:
    """Simulate kinematic patterns of random orientation with the same cuts."""
    rng = np.random.default_rng(seed)
    quaternion = random_quaternions(n_patterns, rng)
    planned = py4dstem_crystal(crystal)
    planned.setup_diffraction(VOLTAGE_KV * 1e3)
    planned.calculate_structure_factors(Q_MAX)
    patterns = [
        _seen(_beams(planned, matrix, sigma=KINEMATIC_WIDTH).data, DROP_BELOW)
        for matrix in py4dstem_from_sample(quaternion)
    ]
    return _known(patterns, quaternion, np.full(n_patterns, np.nan))


def _beams(crystal: Any, matrix: NDArray[np.float64], *, sigma: float) -> Any:
    """py4DSTEM's excited beams at its orientation matrix (3, 3), excitation errors up to three sigma in Å⁻¹."""
    return crystal.generate_diffraction_pattern(
        orientation_matrix=matrix,
        sigma_excitation_error=sigma,
        tol_excitation_error_mult=3,
        tol_intensity=0.0,
        k_max=Q_MAX,
    )


def _seen(disks: NDArray[Any], drop_below: float) -> NDArray[np.float64]:
    """The disks (n, 3) that are strong enough; py4DSTEM's frame (x down, y right) is ours with x and y exchanged."""
    pattern: NDArray[np.float64] = np.stack([disks["qy"], disks["qx"], disks["intensity"]], axis=1)
    diffracted = np.hypot(pattern[:, 0], pattern[:, 1]) > 1e-6
    strong: NDArray[np.bool_] = pattern[:, 2] >= drop_below * pattern[diffracted, 2].max(initial=0.0)
    return pattern[strong]


def _known(
    patterns: list[NDArray[np.float64]], quaternion: NDArray[np.float64], thickness: NDArray[np.float64]
) -> KnownPatterns:
    calibration = Calibration(voltage_kv=VOLTAGE_KV, pixel_size_inv_angstrom=2 * Q_MAX / 128)
    peaks = BraggPeaks.from_lists(patterns, (1, len(patterns)), calibration)
    return KnownPatterns(peaks, quaternion, thickness, np.zeros(len(patterns), dtype=np.int64))
