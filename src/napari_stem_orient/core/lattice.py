"""The six numbers of a cell as three vectors, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Lattice = tuple[float, float, float, float, float, float]


def lattice_basis(lattice: Sequence[float]) -> FloatArray:
    """(3, 3) rows a, b, c in Å from a, b, c in Å and alpha, beta, gamma in degrees: e1 along a, e3 along c*.

    Angles that no cell can have give a row that is not a number.
    """
    a, b, c, *angles = lattice
    alpha, beta, gamma = np.deg2rad(angles)
    cos_alpha_star = (np.cos(beta) * np.cos(gamma) - np.cos(alpha)) / (np.sin(beta) * np.sin(gamma))
    c_y = -c * np.sin(beta) * cos_alpha_star
    c_x = c * np.cos(beta)
    with np.errstate(invalid="ignore"):
        c_z = np.sqrt(c * c - c_x * c_x - c_y * c_y)
    basis = np.array([[a, 0.0, 0.0], [b * np.cos(gamma), b * np.sin(gamma), 0.0], [c_x, c_y, c_z]])
    basis[np.abs(basis) < 1e-12] = 0.0
    return basis


def lattice_of(basis: FloatArray) -> Lattice:
    """a, b, c in Å and alpha, beta, gamma in degrees of three vectors (3, 3), rounded to a millionth."""
    lengths = np.linalg.norm(basis, axis=1)
    unit = basis / lengths[:, None]
    cosines = np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1, 1)
    a, b, c, alpha, beta, gamma = (round(float(x), 6) for x in (*lengths, *np.rad2deg(np.arccos(cosines))))
    return a, b, c, alpha, beta, gamma
