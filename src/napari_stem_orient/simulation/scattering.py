"""Electron scattering factors and structure factors, from diffsims' tables (Lobato and Van Dyck 2014)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal

FloatArray = NDArray[np.float64]


@lru_cache(maxsize=128)
def _lobato_coefficients(element: str) -> tuple[FloatArray, FloatArray]:
    from diffsims.utils.lobato_scattering_params import ATOMIC_SCATTERING_PARAMS_LOBATO

    if element not in ATOMIC_SCATTERING_PARAMS_LOBATO:
        raise ValueError(f"no electron scattering factor is tabulated for the element {element!r}")
    table = np.asarray(ATOMIC_SCATTERING_PARAMS_LOBATO[element], dtype=np.float64)
    return table[:, 0], table[:, 1]


def electron_scattering_factor(element: str, q: FloatArray) -> FloatArray:
    """First-Born electron scattering factor of a free atom at rest, without relativistic correction.

    Parameters
    ----------
    element
        Chemical symbol.
    q
        Length of the scattering vector in Å⁻¹ (1/d, no factor 2 pi), any shape.

    Returns
    -------
    f_e in Å, same shape as q. I. Lobato and D. Van Dyck, Acta Cryst. A70 (2014) 636, equation 4.
    """
    a, b = _lobato_coefficients(element)
    x = b * np.square(np.asarray(q, dtype=np.float64))[..., None]
    return np.asarray((a * (2 + x) / np.square(1 + x)).sum(axis=-1))


def structure_factors(
    crystal: Crystal, hkl: NDArray[np.int64], *, thermal_sigma_angstrom: float | None = None
) -> NDArray[np.complex128]:
    """Structure factors divided by the cell's volume, in Å⁻², for Miller indices (m, 3).

    The Debye-Waller factor exp(-2 pi² u² q²) damps them with the crystal's own displacement u, or with
    ``thermal_sigma_angstrom`` in Å (0 gives atoms at rest, as py4DSTEM does).
    """
    sigma = crystal.thermal_sigma_angstrom if thermal_sigma_angstrom is None else thermal_sigma_angstrom
    q = np.linalg.norm(hkl @ crystal.reciprocal_basis, axis=1)
    elements = np.array(crystal.elements)
    total = np.zeros(len(hkl), dtype=np.complex128)
    for element in np.unique(elements):
        members = elements == element
        phases = np.exp(2j * np.pi * hkl @ crystal.fractional[members].T)
        total += electron_scattering_factor(str(element), q) * (phases @ crystal.occupancy[members])
    result: NDArray[np.complex128] = total * np.exp(-2 * np.square(np.pi * sigma * q)) / crystal.volume
    return result
