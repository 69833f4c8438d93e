"""THE one place for conventions: frames, orientations, symmetry reduction, misorientation, zone axes, sampling.

Sample frame, right-handed: x = along scan columns (right on screen), y = along scan rows (down on screen), z = the
direction in which the electrons travel. An orientation is a rotation R from the sample to the crystal, Bunge's
convention as in orix: ``v_crystal = R v_sample``. Quaternions are (w, x, y, z), scalar first. The crystal's Cartesian
frame has e1 along a and e3 along c*. A zone axis is the crystal direction antiparallel to the beam.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from orix.quaternion.symmetry import Symmetry

    from napari_stem_orient.core.crystal import Crystal

FloatArray = NDArray[np.float64]

#: Rows: py4DSTEM's x (down), y (right), z (toward the gun) axes in sample coordinates; its own inverse, det +1.
PY4DSTEM_TO_SAMPLE: FloatArray = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])

LARGEST_ZONE_INDEX = 9
"""Of zone axes: more digits tell nobody where the beam is."""

ZONE_TOLERANCE_DEG = 1.0
"""Smaller indices are preferred to nearer ones that far from the direction."""

_AT_ONCE = 4096

#: The direction from the sample to the gun, in the sample frame: zone axes are quoted along it.
TOWARD_GUN: FloatArray = np.array([0.0, 0.0, -1.0])


def normalise(quaternions: ArrayLike) -> FloatArray:
    """Quaternions (..., 4) of unit length with w >= 0 (q and -q are the same rotation)."""
    q = np.asarray(quaternions, dtype=np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def multiply(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Hamilton product a b of quaternions (..., 4): the rotation b, then the rotation a."""
    a = np.asarray(a, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(quaternions: ArrayLike) -> FloatArray:
    """Inverse rotations of unit quaternions (..., 4)."""
    result: FloatArray = np.asarray(quaternions, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])
    return result


def quaternion_to_matrix(quaternions: ArrayLike) -> FloatArray:
    """Rotation matrices (..., 3, 3) with ``v_crystal = R v_sample`` from unit quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(np.asarray(quaternions, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrices: ArrayLike) -> FloatArray:
    """Unit quaternions (..., 4), w >= 0, from proper rotation matrices (..., 3, 3).

    Raises
    ------
    ValueError
        When a matrix is not a proper rotation (determinant +1, orthonormal rows).
    """
    from scipy.spatial.transform import Rotation

    m = np.asarray(matrices, dtype=np.float64)
    deviation = np.abs(m @ np.swapaxes(m, -1, -2) - np.eye(3)).max(initial=0.0)
    if deviation > 1e-3 or np.any(np.linalg.det(m) < 0):
        raise ValueError(
            f"not a proper rotation: rows are off orthonormal by {deviation:.2g} or the determinant is "
            "negative; a mirrored frame cannot be an orientation"
        )
    xyzw = Rotation.from_matrix(m.reshape(-1, 3, 3)).as_quat()
    return normalise(xyzw[:, [3, 0, 1, 2]]).reshape(*m.shape[:-2], 4)


def random_quaternions(n: int, rng: np.random.Generator) -> FloatArray:
    """N uniformly distributed orientations (n, 4)."""
    return normalise(rng.standard_normal((n, 4)))


def quaternion_about_z(angle_rad: ArrayLike) -> FloatArray:
    """Rotations (..., 4) by an angle about the third axis, counter-clockwise seen against the axis."""
    half = np.asarray(angle_rad, dtype=np.float64) / 2
    zero = np.zeros_like(half)
    return np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1)


def from_euler_bunge_deg(angles: ArrayLike) -> FloatArray:
    """Orientations (..., 4), sample to crystal, from Bunge Euler angles (..., 3) = (phi1, Phi, phi2) in degrees."""
    from orix.quaternion import Rotation

    angles = np.asarray(angles, dtype=np.float64)
    flat = np.atleast_2d(angles.reshape(-1, 3))
    return normalise(Rotation.from_euler(np.deg2rad(flat)).data).reshape(*angles.shape[:-1], 4)


def euler_bunge_deg(quaternions: ArrayLike) -> FloatArray:
    """Bunge Euler angles (..., 3) = (phi1, Phi, phi2) in degrees, in [0, 360), [0, 180], [0, 360)."""
    from orix.quaternion import Rotation

    q = np.asarray(quaternions, dtype=np.float64)
    angles = Rotation(q.reshape(-1, 4)).to_euler(degrees=True)
    angles = np.asarray(angles, dtype=np.float64).reshape(-1, 3) % 360.0
    return angles.reshape(*q.shape[:-1], 3)


def misorientation_angle_deg(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Angle in degrees between orientations (..., 4), without symmetry."""
    dot = np.abs(np.sum(np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64), axis=-1))
    result: FloatArray = np.rad2deg(2 * np.arccos(np.clip(dot, 0.0, 1.0)))
    return result


def symmetry_quaternions(point_group: Symmetry) -> FloatArray:
    """Proper rotations (n, 4) of a point group; an improper element is left out."""
    data = np.asarray(point_group.data, dtype=np.float64).reshape(-1, 4)
    proper = ~np.asarray(point_group.improper, dtype=bool).ravel()
    return normalise(data[proper])


def disorientation_angle_deg(
    a: ArrayLike, b: ArrayLike, point_group: Symmetry, point_group_b: Symmetry | None = None
) -> FloatArray:
    """Smallest angle in degrees between orientations (..., 4) over all symmetric equivalents.

    Parameters
    ----------
    a, b
        Orientations, sample to crystal, broadcast against each other.
    point_group, point_group_b
        Proper point group of a's crystal and, where it differs, of b's.
    """
    left = symmetry_quaternions(point_group)
    delta = multiply(b, conjugate(a))
    if point_group_b is not None:
        # s_b (b a^-1) s_a^-1: the angle is that of (s_a^-1 s_b) b a^-1, so all the products are the operators.
        right = symmetry_quaternions(point_group_b)
        left = multiply(left[:, None, :], right[None, :, :]).reshape(-1, 4)
    # The scalar part of s delta is all that the angle needs.
    scalar = np.abs(np.einsum("...i,si->...s", delta, left * np.array([1.0, -1.0, -1.0, -1.0])))
    result: FloatArray = np.rad2deg(2 * np.arccos(np.clip(scalar.max(axis=-1), 0.0, 1.0)))
    return result


def reduce_to_fundamental(quaternions: ArrayLike, point_group: Symmetry) -> FloatArray:
    """The equivalent orientation (..., 4) with the smallest rotation angle, w >= 0."""
    q = np.asarray(quaternions, dtype=np.float64)
    equivalents = multiply(symmetry_quaternions(point_group), q[..., None, :])
    # Equal angles are told apart by a tiny preference, so that equivalent inputs give one answer.
    preference = np.abs(equivalents[..., 0]) + 1e-9 * (equivalents @ np.array([0.0, 0.7, 0.5, 0.3]))
    best = np.argmax(preference, axis=-1)
    return normalise(np.take_along_axis(equivalents, best[..., None, None], axis=-2)[..., 0, :])


def zone_axis_direction(quaternions: ArrayLike) -> FloatArray:
    """Unit crystal direction (..., 3), Cartesian, antiparallel to the beam (toward the gun)."""
    return quaternion_to_matrix(quaternions) @ TOWARD_GUN


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


def sample_from_py4dstem(matrices: ArrayLike) -> FloatArray:
    """Orientations (..., 4), sample to crystal, from py4DSTEM's orientation matrices (..., 3, 3).

    The columns of py4DSTEM's matrix are its x (down), y (right) and z (toward the gun) axes in crystal coordinates.
    """
    return matrix_to_quaternion(np.asarray(matrices, dtype=np.float64) @ PY4DSTEM_TO_SAMPLE)


def py4dstem_from_sample(quaternions: ArrayLike) -> FloatArray:
    """py4DSTEM's orientation matrices (..., 3, 3) from orientations (..., 4), sample to crystal."""
    return quaternion_to_matrix(quaternions) @ PY4DSTEM_TO_SAMPLE


def fundamental_zone_axes(point_group: Symmetry, *, spacing_deg: float) -> FloatArray:
    """Unit crystal directions (n, 3) about ``spacing_deg`` apart that cover the point group's fundamental sector."""
    n_sphere = int(np.ceil(4 * np.pi / np.deg2rad(spacing_deg) ** 2))
    index = np.arange(n_sphere) + 0.5
    # Fibonacci sphere: even spacing without poles.
    z = 1 - 2 * index / n_sphere
    azimuth = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1)
    matrices = quaternion_to_matrix(symmetry_quaternions(point_group))
    # One of each set of equivalents: the one nearest to a generic direction is unique.
    reference = np.array([0.31, 0.17, 0.935])
    projection = np.einsum("sij,nj,i->ns", matrices, directions, reference)
    identity = int(np.argmax(np.trace(matrices, axis1=1, axis2=2)))
    result: FloatArray = directions[projection[:, identity] >= projection.max(axis=1) - 1e-12]
    return result
