"""The array of templates that py4DSTEM matches with, computed some zone axes at a time.

py4DSTEM computes it in one call, which can take many seconds for a crystal of low symmetry. Here it is the same, zone
axis by zone axis (C. Ophus et al., Microscopy and Microanalysis 28, 390, 2022, equation 6).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: The job is told how far it is after about this time.
SECONDS_PER_STEP = 0.2

#: Beam tilts around the precession cone, as many as py4DSTEM takes.
PRECESSION_STEPS = 90


def compute_templates(planned: Any, *, tolerance: float) -> Iterator[int]:
    """Give a py4DSTEM Crystal with zone axes and structure factors its templates, `orientation_ref`.

    Parameters
    ----------
    planned
        After ``calculate_structure_factors`` and ``orientation_plan(..., calculate_correlation_array=False)``.
    tolerance
        Reflections whose |g| differs by less, in Å⁻¹, share a shell.

    Yields
    ------
    Number of zone axes done, a few times a second.
    """
    _assign_shells(planned, tolerance)
    shape = planned.orientation_shell_radii.size, int(planned.orientation_in_plane_steps)
    n_zones = int(planned.orientation_num_zones)
    templates = np.empty((n_zones, *shape), dtype=np.complex128)
    told = time.monotonic()
    for zone in range(n_zones):
        templates[zone] = np.conj(np.fft.fft(_template(planned, zone, shape)))
        if time.monotonic() - told > SECONDS_PER_STEP:
            yield zone + 1
            told = time.monotonic()
    planned.orientation_ref = templates


def _assign_shells(planned: Any, tolerance: float) -> None:
    """Sort the reflections into shells of equal |g|; the direct beam is in none."""
    rounded = np.round(planned.g_vec_leng / tolerance) * tolerance
    radii = np.unique(rounded)
    radii = radii[np.abs(radii) > tolerance]
    planned.orientation_shell_index = np.full(rounded.size, -1, dtype=np.int64)
    for shell, radius in enumerate(radii.copy()):
        members = np.abs(radius - rounded) <= tolerance / 2
        planned.orientation_shell_index[members] = shell
        radii[shell] = planned.g_vec_leng[members].mean()
    planned.orientation_shell_radii = radii


def _template(planned: Any, zone: int, shape: tuple[int, int]) -> FloatArray:
    """Template (shells, in-plane steps) of one zone axis: weighted reflections by radius and polar angle, norm 1."""
    g = planned.orientation_rotation_matrices[zone].T @ planned.g_vec_all
    s = planned.excitation_errors(g)
    there = (np.abs(s) < planned.orientation_kernel_size) & (planned.orientation_shell_index >= 0)
    shell, g = planned.orientation_shell_index[there], g[:, there]
    intensity = planned.struct_factors_int[there] * _shape_factor(planned, g, s[there])
    weight = intensity**planned.orientation_power_intensity
    weight *= planned.orientation_shell_radii[shell] ** planned.orientation_power_radial
    angle = np.arctan2(g[1], g[0]) / planned.orientation_gamma[1]
    step = np.floor(angle).astype(np.int64)
    beyond = angle - step
    template = np.zeros(shape)
    # Of two reflections at one place, py4DSTEM's template has the last.
    template[shell, step] += (1 - beyond) * weight
    template[shell, (step + 1) % shape[1]] += beyond * weight
    norm = float(np.sqrt(np.sum(template**2)))
    return template / norm if norm > 0 else template


def _shape_factor(planned: Any, g: FloatArray, s: FloatArray) -> FloatArray:
    """How bright reflections g (3, m) with excitation errors s (m,) are, averaged over the precession cone."""
    variance = planned.orientation_sigma_excitation_error**2
    if planned.orientation_precession_angle_degrees is None:
        return np.asarray(np.exp(s**2 / (-2 * variance)))
    around = np.cos(np.linspace(0, 2 * np.pi, PRECESSION_STEPS, endpoint=False))
    swing = np.tan(planned.orientation_precession_angle) * np.sum(g[:2] ** 2, axis=0)
    swept = s[:, None] + swing[:, None] * around
    return np.asarray(np.exp(swept**2 / (-2 * variance)).mean(axis=1))
