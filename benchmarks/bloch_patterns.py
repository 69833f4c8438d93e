"""Diffraction patterns simulated with Bloch waves by py4DSTEM, with known orientation: the dynamical test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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


@dataclass(frozen=True, slots=True)
class BlochPatterns:
    """n patterns: their Bragg peaks as a scan of one row, true orientations (n, 4), thickness (n,) in Å."""

    peaks: BraggPeaks
    quaternion: NDArray[np.float64]
    thickness_angstrom: NDArray[np.float64]

    @property
    def n_disks(self) -> NDArray[np.int64]:
        """Number of disks of each pattern, the direct beam counted."""
        return self.peaks.counts()


def simulate_bloch_patterns(
    crystal: Crystal, n_patterns: int, *, seed: int = 0, drop_below: float = DROP_BELOW
) -> BlochPatterns:
    """Simulate patterns of random orientation and thickness with the cuts of the published training set.

    Disks weaker than ``drop_below`` of the strongest diffracted one are left out.

    py4DSTEM's beams carry q in its frame (x down, y right), which is ours with x and y exchanged.
    """
    rng = np.random.default_rng(seed)
    quaternion = random_quaternions(n_patterns, rng)
    thickness = rng.uniform(*THICKNESS_ANGSTROM, n_patterns)
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
    for matrix, depth in zip(py4dstem_from_sample(quaternion), thickness, strict=True):
        beams = dynamical.generate_diffraction_pattern(
            orientation_matrix=matrix,
            sigma_excitation_error=EXCITATION_ERROR_CUT / 3,
            tol_excitation_error_mult=3,
            tol_intensity=0.0,
            k_max=Q_MAX,
        )
        disks = dynamical.generate_dynamical_diffraction_pattern(
            beams, thickness=float(depth), zone_axis_cartesian=matrix[:, 2]
        ).data
        pattern = np.stack([disks["qy"], disks["qx"], disks["intensity"]], axis=1)
        diffracted = np.hypot(pattern[:, 0], pattern[:, 1]) > 1e-6
        patterns.append(pattern[pattern[:, 2] >= drop_below * pattern[diffracted, 2].max()])
    calibration = Calibration(voltage_kv=VOLTAGE_KV, pixel_size_inv_angstrom=2 * Q_MAX / 128)
    return BlochPatterns(BraggPeaks.from_lists(patterns, (1, n_patterns), calibration), quaternion, thickness)
