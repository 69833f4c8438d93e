"""Small orientation maps with known contents, for the tests of what is made from a map."""

from __future__ import annotations

import numpy as np

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import random_quaternions
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import NO_CANDIDATE, Solutions

CALIBRATION = Calibration(voltage_kv=300.0, pixel_size_inv_angstrom=0.02, scan_step_nm=5.0)


def no_peaks(scan_shape: tuple[int, int], calibration: Calibration = CALIBRATION) -> BraggPeaks:
    n_positions = scan_shape[0] * scan_shape[1]
    return BraggPeaks.from_lists([np.zeros((0, 3))] * n_positions, scan_shape, calibration)


def empty_map(
    scan_shape: tuple[int, int] = (3, 4),
    crystals: tuple[str | Crystal, ...] = ("Cu", "Cu2O"),
    calibration: Calibration = CALIBRATION,
) -> OrientationMap:
    return OrientationMap.empty(
        no_peaks(scan_shape, calibration),
        tuple(load_crystal(c) if isinstance(c, str) else c for c in crystals),
        method="transformer",
        parameters={"n_candidates": 4, "refine": True},
        model={"name": "fcc", "version": "1", "hash": "abc"},
    )


def example_block(n_positions: int, *, n_phases: int = 2, seed: int = 0, skip: int = 3) -> IndexedBlock:
    """Random orientations at the first positions; every skip-th one has too few disks."""
    rng = np.random.default_rng(seed)
    indexed = np.arange(n_positions) % skip != 0
    phase_id = np.where(indexed, np.arange(n_positions) % n_phases, -1).astype(np.int16)
    alternative = indexed & (np.arange(n_positions) % 2 == 0)
    alternative_quaternion = random_quaternions(n_positions, rng).astype(np.float32)
    quaternion = random_quaternions(n_positions, rng).astype(np.float32)
    score = np.where(indexed, rng.uniform(0.3, 1, n_positions), 0).astype(np.float32)
    confidence_deg = np.where(indexed, rng.uniform(0.1, 5, n_positions), np.nan).astype(np.float32)
    explained = np.where(indexed, rng.integers(5, 20, n_positions), 0).astype(np.uint16)
    solutions = Solutions.of(
        np.stack([quaternion, alternative_quaternion], axis=1),
        np.stack([phase_id, np.where(alternative, 0, NO_CANDIDATE)], axis=1),
        np.stack([score, np.full(n_positions, 0.2)], axis=1),
        explained_disks=np.stack([explained, np.full(n_positions, 4)], axis=1),
        evidence=np.tile([3.0, -1.0], (n_positions, 1)),
        pattern_evidence=np.tile([2.0, 1.5], (n_positions, 1)),
    )
    return IndexedBlock(
        positions=np.arange(n_positions, dtype=np.int64),
        phase_id=phase_id,
        quaternion=quaternion,
        score=score,
        confidence_deg=confidence_deg,
        reason=np.where(indexed, Reason.INDEXED, Reason.TOO_FEW_DISKS).astype(np.uint8),
        explained_disks=explained,
        unexplained_disks=np.where(indexed, rng.integers(0, 4, n_positions), 3).astype(np.uint16),
        phase_probability=np.where(indexed, rng.uniform(0.5, 1, n_positions), np.nan).astype(np.float32),
        choice=np.where(indexed, 0, NO_CANDIDATE).astype(np.int8),
        runner_up=np.where(alternative, 1, NO_CANDIDATE).astype(np.int8),
        solutions=solutions,
        progress=Progress(n_positions, n_positions, "patterns"),
    )


def example_map(
    scan_shape: tuple[int, int] = (3, 4),
    crystals: tuple[str | Crystal, ...] = ("Cu", "Cu2O"),
    calibration: Calibration = CALIBRATION,
) -> OrientationMap:
    orientation_map = empty_map(scan_shape, crystals, calibration)
    orientation_map.fill(example_block(orientation_map.n_positions, n_phases=len(crystals)))
    return orientation_map
