"""Rings of a crystal: the radii at which its reflections lie, with their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.simulation.scattering import structure_factors

#: Reflections fainter than this part of the strongest amplitude are forbidden, but for rounding.
FORBIDDEN = 1e-3

#: Reflections whose lengths differ by less than this part lie on one ring.
SAME_RING = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Rings of a crystal, innermost first.

    Attributes
    ----------
    q : (m,) float64; radii in Å⁻¹
    hkl : (m, 3) int64; Miller indices of one reflection of each ring, in the cell that the user gave
    weight : (m,) float64; relative number of disks to expect, the strongest 1: multiplicity times amplitude over radius
    intensity : (m,) float64; of a powder's ring, the strongest 1: multiplicity times squared amplitude over radius
    """

    q: NDArray[np.float64]
    hkl: NDArray[np.int64]
    weight: NDArray[np.float64]
    intensity: NDArray[np.float64]

    def labels(self) -> tuple[str, ...]:
        """The Miller indices of each ring as text, such as "111"; a minus stands before the index it belongs to."""
        return tuple("".join(map(str, indices)) for indices in self.hkl.tolist())


def crystal_rings(crystal: Crystal, *, q_max: float) -> Rings:
    """Rings of a crystal up to ``q_max`` in Å⁻¹; those that its structure forbids are left out.

    The amplitude is that of kinematic diffraction; double diffraction can light forbidden rings up, faintly.
    """
    hkl, g = crystal.reflections(q_max)
    if not len(hkl):
        nothing = np.zeros(0)
        return Rings(nothing, np.zeros((0, 3), dtype=np.int64), nothing, nothing)
    amplitude = np.abs(structure_factors(crystal, hkl))
    seen = amplitude > FORBIDDEN * amplitude.max()
    hkl, amplitude, length = hkl[seen], amplitude[seen], np.linalg.norm(g[seen], axis=1)
    hkl = crystal.quoted_indices(hkl)
    start = np.flatnonzero(np.diff(length, prepend=-1.0) > SAME_RING * length)
    number = np.repeat(np.arange(len(start)), np.diff(start, append=len(length)))
    q = length[start]
    weight = np.bincount(number, weights=amplitude) / q
    intensity = np.bincount(number, weights=amplitude**2) / q
    # the indices of a ring are those that one would write: few minus signs, large ones first
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], (hkl < 0).sum(axis=1), number))
    first = order[np.flatnonzero(np.diff(number[order], prepend=-1) > 0)]
    return Rings(q, hkl[first], weight / weight.max(), intensity / intensity.max())


def rings_of_all(crystals: Sequence[Crystal], *, q_max: float) -> Rings:
    """Rings of several crystals together, innermost first; each crystal's strongest has the weight 1."""
    if not crystals:
        raise ValueError("no crystal to take rings from; add at least one")
    every = [crystal_rings(crystal, q_max=q_max) for crystal in crystals]
    order = np.argsort(np.concatenate([rings.q for rings in every]), kind="stable")
    return Rings(
        *(
            np.concatenate([getattr(rings, name) for rings in every])[order]
            for name in ("q", "hkl", "weight", "intensity")
        )
    )
