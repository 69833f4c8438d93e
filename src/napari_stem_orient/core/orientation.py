"""THE one place for conventions: frames, orientations, symmetry reduction, misorientation, sampling.

Sample frame, right-handed: x = along scan columns (right on screen), y = along scan rows (down on screen), z = the
direction in which the electrons travel. An orientation is a rotation R from the sample to the crystal, Bunge's
convention as in orix: ``v_crystal = R v_sample``. Quaternions are (w, x, y, z), scalar first. The crystal's Cartesian
frame has e1 along a and e3 along c*. A zone axis is the crystal direction antiparallel to the beam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from orix.quaternion.symmetry import Symmetry


FloatArray = NDArray[np.float64]

#: Rows: py4DSTEM's x (down), y (right), z (toward the gun) axes in sample coordinates; its own inverse, det +1.
PY4DSTEM_TO_SAMPLE: FloatArray = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


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
