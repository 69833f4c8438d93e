"""Rings of a crystal: the radii at which its reflections lie, with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Rings of a crystal, innermost first.

    Attributes
    ----------
    q : (m,) float64; radii in Å⁻¹
    hkl : (m, 3) int64; Miller indices of one reflection of each ring
    weight : (m,) float64; relative strength, the strongest 1: multiplicity times amplitude
    """

    q: NDArray[np.float64]
    hkl: NDArray[np.int64]
    weight: NDArray[np.float64]


def crystal_rings(crystal: Crystal, *, q_max: float) -> Rings:
    """Rings of a crystal up to ``q_max`` in Å⁻¹; those that its structure forbids are left out."""
    raise NotImplementedError
