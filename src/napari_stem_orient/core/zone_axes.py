"""Zone axes in the indices of a crystal: which [uvw] is along the beam, how far off it is, and how it is written."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import FloatArray, zone_axis_direction

LARGEST_ZONE_INDEX = 9
"""Of zone axes: more digits tell nobody where the beam is."""

ZONE_TOLERANCE_DEG = 1.0
"""Smaller indices are preferred to nearer ones that far from the direction."""

_AT_ONCE = 4096


def zone_axis_uvw(
    quaternions: ArrayLike,
    crystal: Crystal,
    *,
    max_index: int = LARGEST_ZONE_INDEX,
    tolerance_deg: float = ZONE_TOLERANCE_DEG,
) -> NDArray[np.int64]:
    """Small whole numbers of the zone axis [uvw] (..., 3), toward the gun.

    The smallest indices within ``tolerance_deg`` of the exact direction are taken; where none up to ``max_index`` are,
    the nearest: `zone_axis_off_deg` tells how far off. They are those of the cell that the user gave
    (``crystal.quoted_basis``).
    """
    direction = zone_axis_direction(quaternions)
    flat = direction.reshape(-1, 3)
    found = np.zeros(flat.shape, dtype=np.int64)
    nearest = np.full(len(flat), -2.0)
    enough = np.cos(np.deg2rad(tolerance_deg))
    for largest in range(1, max_index + 1):
        trial = _directions(largest)
        unit = trial @ crystal.quoted_basis
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        open_rows = np.flatnonzero(nearest < enough)
        for start in range(0, len(open_rows), _AT_ONCE):
            rows = open_rows[start : start + _AT_ONCE]
            cosine = flat[rows] @ unit.T
            best = cosine.argmax(axis=1)
            value = cosine[np.arange(len(rows)), best]
            better = value > nearest[rows] + 1e-12
            nearest[rows[better]] = value[better]
            found[rows[better]] = trial[best[better]]
    return found.reshape(direction.shape)


def zone_axis_off_deg(quaternions: ArrayLike, crystal: Crystal, uvw: ArrayLike) -> FloatArray:
    """Angle in degrees (...,) between zone axes [uvw] (..., 3) and the exact directions toward the gun."""
    direction = zone_axis_direction(quaternions)
    axis = np.asarray(uvw) @ crystal.quoted_basis
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    # The sine is exact for small angles, where the cosine is 1.
    sine = np.linalg.norm(np.cross(axis, direction), axis=-1)
    angle: FloatArray = np.rad2deg(np.arctan2(sine, np.sum(axis * direction, axis=-1)))
    return angle


def format_zone_axis(indices: ArrayLike) -> str:
    """A direction as crystallographers write it, [11̄2], with a bar (U+0304) over negative indices."""
    parts = [f"{abs(int(i))}" + ("\u0304" if int(i) < 0 else "") for i in np.asarray(indices).ravel()]
    # One-digit indices need no space between them.
    separator = "" if all(abs(int(i)) < 10 for i in np.asarray(indices).ravel()) else " "
    return "[" + separator.join(parts) + "]"


def has_four_indices(crystal: Crystal) -> bool:
    """Whether directions of the crystal can be given as [uvtw]: a cell with a = b, 120° between them, c upright."""
    a, b, c = crystal.quoted_basis
    lengths = np.linalg.norm([a, b, c], axis=1)
    cosines = np.array([b @ c, a @ c, a @ b]) / (lengths[[1, 0, 0]] * lengths[[2, 2, 1]])
    return bool(
        np.allclose(cosines, [0, 0, -0.5], atol=1e-4) and np.isclose(lengths[0], lengths[1], rtol=1e-4)
    )


def four_indices(uvw: ArrayLike) -> NDArray[np.int64]:
    """Directions [uvtw] (..., 4) with u + v + t = 0 of those with three indices (..., 3), the smallest whole numbers.

    u = (2 U - V) / 3, v = (2 V - U) / 3, t = -(u + v), w = W: [100] is [2 -1 -1 0], the a axis.
    """
    first, second, third = np.moveaxis(np.asarray(uvw, dtype=np.int64), -1, 0)
    u, v = 2 * first - second, 2 * second - first
    tripled = np.stack([u, v, -(u + v), 3 * third], axis=-1)
    divisor = np.maximum(np.gcd.reduce(tripled, axis=-1), 1)
    whole: NDArray[np.int64] = tripled // divisor[..., None]
    return whole


def zone_axis_text(
    quaternion: ArrayLike, crystal: Crystal, uvw: ArrayLike | None = None, *, four: bool = False
) -> str:
    """A zone axis as text, "[112]", with how far off it is where that is more than 1°: "[001] (2.6° off)".

    Parameters
    ----------
    quaternion : (4,); sample to crystal
    crystal : its cell gives the indices their meaning
    uvw : the indices, where they are known already
    four : [uvtw] for a crystal that has them
    """
    indices = zone_axis_uvw(quaternion, crystal) if uvw is None else np.asarray(uvw)
    off = float(zone_axis_off_deg(quaternion, crystal, indices))
    text = format_zone_axis(four_indices(indices) if four and has_four_indices(crystal) else indices)
    return text if off <= ZONE_TOLERANCE_DEG + 1e-6 else f"{text} ({off:.1f}° off)"


@lru_cache(maxsize=32)
def _directions(largest: int) -> NDArray[np.int64]:
    """Whole numbers (n, 3) without a common divisor, of which the largest is this one; positive ones first."""
    span = np.arange(largest, -largest - 1, -1)
    every = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    kept: NDArray[np.int64] = every[
        (np.abs(every).max(axis=1) == largest) & (np.gcd.reduce(every, axis=1) == 1)
    ]
    return kept
