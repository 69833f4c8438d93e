"""The truth of a simulated polycrystal: grains, twins, bent lattices, a wedge, a hole and a drifting beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import multiply, normalise, random_quaternions

FloatArray = NDArray[np.float64]

#: 300 kV, 1.5 mrad: disks of 3 px on a detector that reaches 1.6 Å⁻¹ at its sides.
DEFAULT_CALIBRATION = Calibration(
    voltage_kv=300.0, pixel_size_inv_angstrom=0.025, scan_step_nm=5.0, convergence_angle_mrad=1.5
)

_SMALL_ANGLES = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Polycrystal:
    """The truth of a simulated scan, at each of its n = scan_y * scan_x positions, row by row.

    Attributes
    ----------
    scan_shape, detector_shape : (rows, columns)
    crystals : phase_id counts through these
    calibration : with origin_px, the mean position of the direct beam
    grain : (n,) int64; -1 in vacuum
    phase_id : (n,) int16; -1 in vacuum
    quaternion : (n, 4) float64; sample to crystal, scalar first; identity in vacuum
    thickness_nm : (n,) float64; 0 in vacuum
    origin_px : (n, 2) float64; row and column of the direct beam
    twins : pairs of grains that are Σ3 twins, 60° about a common <111>
    """

    scan_shape: tuple[int, int]
    detector_shape: tuple[int, int]
    crystals: tuple[Crystal, ...]
    calibration: Calibration
    grain: NDArray[np.int64]
    phase_id: NDArray[np.int16]
    quaternion: FloatArray
    thickness_nm: FloatArray
    origin_px: FloatArray
    twins: tuple[tuple[int, int], ...] = ()

    @property
    def n_positions(self) -> int:
        """Number of scan positions."""
        return self.scan_shape[0] * self.scan_shape[1]

    @property
    def vacuum(self) -> NDArray[np.bool_]:
        """(n,) bool: the positions where there is no crystal."""
        return self.phase_id < 0

    def boundary(self) -> NDArray[np.bool_]:
        """(n,) bool: the positions that have a neighbour (of eight) in another grain."""
        padded = np.pad(self.grain.reshape(self.scan_shape), 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        return np.asarray(windows.min(axis=(2, 3)) != windows.max(axis=(2, 3))).ravel()


def make_polycrystal(
    crystals: Sequence[Crystal],
    *,
    scan_shape: tuple[int, int] = (48, 64),
    detector_shape: tuple[int, int] = (128, 128),
    n_grains: int = 12,
    calibration: Calibration | None = None,
    quaternions: ArrayLike | None = None,
    twins: bool = True,
    bend_deg: float = 0.0,
    vacuum: bool = True,
    thickness_nm: tuple[float, float] = (12.0, 40.0),
    drift_px: float = 0.0,
    seed: int = 0,
) -> Polycrystal:
    """Make a polycrystal of Voronoi grains; the same seed gives the same one.

    Parameters
    ----------
    crystals : one for each phase; grains take them in turn
    scan_shape, detector_shape : (rows, columns)
    n_grains : number of grains
    calibration : 300 kV, 0.025 Å⁻¹/px, 5 nm, 1.5 mrad where None; a missing origin is put on the detector's middle
    quaternions : (n_grains, 4) orientations to use in place of random ones; no twins are made then
    twins : make the two grains of a cubic phase that lie nearest to each other Σ3 twins
    bend_deg : how far the lattice turns, about an in-plane axis of its own, from side to side of each grain
    vacuum : cut a round hole into the specimen, about 6 % of the scan
    thickness_nm : at the left and at the right of the scan: a wedge
    drift_px : how far the direct beam wanders over the scan, from corner to corner
    seed : of all randomness
    """
    if not crystals or n_grains < 1:
        raise ValueError("a polycrystal needs at least one crystal and one grain; give both")
    rng = np.random.default_rng(seed)
    calibration = _with_origin(calibration or DEFAULT_CALIBRATION, detector_shape)
    y, x = np.indices(scan_shape).reshape(2, -1).astype(np.float64)
    seeds = _spread_points(n_grains, scan_shape, rng)
    grain = np.asarray(cKDTree(seeds).query(np.stack([y, x], axis=1))[1], dtype=np.int64)
    phase_of_grain = np.arange(n_grains) % len(crystals)
    orientation = random_quaternions(n_grains, rng)
    pairs: tuple[tuple[int, int], ...] = ()
    if quaternions is not None:
        orientation = normalise(quaternions)
    elif twins:
        pairs = _twinned(orientation, seeds, phase_of_grain, crystals)
    quaternion = _bent(orientation[grain], grain, seeds, y, x, bend_deg, rng)
    hole = _hole(y, x, scan_shape, rng) if vacuum else np.zeros(len(y), dtype=bool)
    quaternion[hole] = (1.0, 0.0, 0.0, 0.0)
    across = x / max(1, scan_shape[1] - 1)
    return Polycrystal(
        scan_shape=scan_shape,
        detector_shape=detector_shape,
        crystals=tuple(crystals),
        calibration=calibration,
        grain=np.where(hole, -1, grain),
        phase_id=np.where(hole, -1, phase_of_grain[grain]).astype(np.int16),
        quaternion=quaternion,
        thickness_nm=np.where(hole, 0.0, thickness_nm[0] + (thickness_nm[1] - thickness_nm[0]) * across),
        origin_px=_drifting(calibration, y, x, scan_shape, drift_px),
        twins=pairs,
    )


def _with_origin(calibration: Calibration, detector_shape: tuple[int, int]) -> Calibration:
    if calibration.origin_px is not None:
        return calibration
    middle = ((detector_shape[0] - 1) / 2, (detector_shape[1] - 1) / 2)
    return calibration.updated(origin_px=middle)


def _spread_points(n_points: int, scan_shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Return points (n, 2), row and column, none close to another: the best of some candidates each time."""
    points = rng.uniform((0, 0), scan_shape, (1, 2))
    for _ in range(n_points - 1):
        candidates = rng.uniform((0, 0), scan_shape, (12, 2))
        distance, _ = cKDTree(points).query(candidates)
        points = np.vstack([points, candidates[np.argmax(distance)]])
    return points


def _twinned(
    orientation: FloatArray, seeds: FloatArray, phase_of_grain: NDArray[np.int64], crystals: Sequence[Crystal]
) -> tuple[tuple[int, int], ...]:
    """Turn one grain into the Σ3 twin of its nearest neighbour of the same cubic phase, in place."""
    cubic = np.array([crystal.space_group >= 195 for crystal in crystals])[phase_of_grain]
    allowed = cubic[:, None] & (phase_of_grain[:, None] == phase_of_grain[None, :])
    distance = np.linalg.norm(seeds[:, None] - seeds[None, :], axis=-1)
    distance[~allowed | np.eye(len(seeds), dtype=bool)] = np.inf
    first, second = (int(i) for i in np.unravel_index(np.argmin(distance), distance.shape))
    if not np.isfinite(distance[first, second]):
        return ()
    # 60° about [111] of the crystal: (cos 30°, sin 30° (1, 1, 1) / √3).
    twin = np.array([np.sqrt(3) / 2, *([0.5 / np.sqrt(3)] * 3)])
    orientation[second] = multiply(twin, orientation[first])
    return ((first, second),)


def _bent(
    quaternion: FloatArray,
    grain: NDArray[np.int64],
    seeds: FloatArray,
    y: FloatArray,
    x: FloatArray,
    bend_deg: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Turn each position's orientation (n, 4) a little, more the farther it is from its grain's centre."""
    if bend_deg == 0:
        return quaternion.copy()
    direction = rng.uniform(0, 2 * np.pi, len(seeds))[grain]
    along = (x - seeds[grain, 1]) * np.cos(direction) + (y - seeds[grain, 0]) * np.sin(direction)
    largest = np.zeros(len(seeds))
    np.maximum.at(largest, grain, np.abs(along))
    half = np.deg2rad(bend_deg) / 4 * along / np.maximum(largest[grain], _SMALL_ANGLES)
    # The lattice bends about the in-plane axis across the direction in which it does.
    zero = np.zeros_like(half)
    tilt = np.stack(
        [np.cos(half), -np.sin(half) * np.sin(direction), np.sin(half) * np.cos(direction), zero], axis=-1
    )
    return multiply(quaternion, tilt)


def _hole(
    y: FloatArray, x: FloatArray, scan_shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n,) bool: a round hole at one of the corners."""
    corner = np.array([rng.choice([0.12, 0.88]), rng.choice([0.12, 0.88])]) * (np.array(scan_shape) - 1)
    radius = np.sqrt(0.085 * scan_shape[0] * scan_shape[1] / np.pi)
    return np.asarray(np.hypot(y - corner[0], x - corner[1]) < radius)


def _drifting(
    calibration: Calibration, y: FloatArray, x: FloatArray, scan_shape: tuple[int, int], drift_px: float
) -> FloatArray:
    """(n, 2) row and column of the direct beam, moving evenly over the scan."""
    origin = np.asarray(calibration.origin_px, dtype=np.float64)
    down = y / max(1, scan_shape[0] - 1) - 0.5
    across = x / max(1, scan_shape[1] - 1) - 0.5
    step = drift_px / np.sqrt(2)
    return np.asarray(origin + step * np.stack([across, down], axis=1))
