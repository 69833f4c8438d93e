"""Electron scattering factors and structure factors, from diffsims' tables (Lobato and Van Dyck 2014)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal

FloatArray = NDArray[np.float64]

#: Reflections at a time: a large cell has many, and many atoms.
PIECE = 2**13


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
    for start in range(0, len(hkl), PIECE):
        part = slice(start, start + PIECE)
        for element in np.unique(elements):
            members = elements == element
            phases = np.exp(2j * np.pi * hkl[part] @ crystal.fractional[members].T)
            factor = electron_scattering_factor(str(element), q[part])
            total[part] += factor * (phases @ crystal.occupancy[members])
    result: NDArray[np.complex128] = total * np.exp(-2 * np.square(np.pi * sigma * q)) / crystal.volume
    return result


@lru_cache(maxsize=128)
def _absorptive_table(element: str, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Lengths g in Å⁻¹ and the integral of `absorptive_scattering_factor` there, in Å² Å⁻² = 1."""
    step = 0.1
    axis = np.arange(-12.0, 12.0 + step / 2, step)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    lengths = np.arange(0.0, 6.01, 0.15)
    integral = np.empty(len(lengths))
    near = electron_scattering_factor(element, np.hypot(x, y))
    for index, g in enumerate(lengths):
        far = electron_scattering_factor(element, np.hypot(x - g, y))
        coherent = np.exp(-2 * (np.pi * sigma * g) ** 2)
        both = np.exp(-2 * np.square(np.pi * sigma) * (x * x + y * y + np.square(x - g) + y * y))
        integral[index] = (near * far * (coherent - both)).sum() * step * step
    return lengths, integral


def absorptive_scattering_factor(
    element: str, q: FloatArray, *, wavelength_angstrom: float, thermal_sigma_angstrom: float
) -> FloatArray:
    """Imaginary part of the scattering factor in Å that thermal diffuse scattering makes, damping included.

    Independent (Einstein) vibrations: f'(g) = (lambda / 2) ∫ f(q) f(q - g) [exp(-2 pi² u² g²) - exp(-2 pi² u² (q² +
    (q - g)²))] d²q; for g = 0 it is the optical theorem. C. R. Hall and P. B. Hirsch, Proc. R. Soc. A286 (1965) 158;
    D. M. Bird and Q. A. King, Acta Cryst. A46 (1990) 202. As the elastic factor, it lacks the relativistic one.

    Parameters
    ----------
    element
        Chemical symbol.
    q
        Length of the scattering vector in Å⁻¹, any shape.
    wavelength_angstrom
        Of the electrons; the relativistic factor is left to the caller.
    thermal_sigma_angstrom
        Root-mean-square displacement u along one direction.
    """
    lengths, integral = _absorptive_table(element, round(thermal_sigma_angstrom, 6))
    return np.asarray(0.5 * wavelength_angstrom * np.interp(q, lengths, integral, right=0.0))
