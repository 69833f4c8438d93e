"""A tiny scan of Cu and Cu2O grains with known truth, rendered pixel by pixel, for the tests of maps and inspection."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation import from_euler_bunge_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solutions import NO_CANDIDATE, Solutions
from napari_stem_orient.session.session import Session
from napari_stem_orient.simulation.kinematic import SimulatedPattern, simulate_pattern

# Everything that a calibration can do to a pattern, at once.
CALIBRATION = Calibration(
    voltage_kv=300.0,
    pixel_size_inv_angstrom=0.025,
    origin_px=(50.5, 44.25),
    ellipse_ratio=1.06,
    ellipse_angle_deg=30.0,
    scan_step_nm=2.5,
    convergence_angle_mrad=1.5,
    scan_rotation_deg=35.0,
    flip=True,
)
PLAIN_CALIBRATION = Calibration(
    voltage_kv=300.0,
    pixel_size_inv_angstrom=0.025,
    origin_px=(48.0, 48.0),
    scan_step_nm=2.5,
    convergence_angle_mrad=1.5,
)
DETECTOR_SHAPE = (96, 96)
DISK_RADIUS_INV_ANGSTROM = 0.076
EULERS_DEG = ((12.0, 0.0, 0.0), (30.0, 45.0, 10.0), (70.0, 54.7, 45.0), (5.0, 20.0, 33.0))


@dataclass(frozen=True, slots=True)
class Scene:
    """A scan, the disks that lie in it, its true map, and the grain (scan_y, scan_x) of every position."""

    datacube: DataCube
    peaks: BraggPeaks
    truth: OrientationMap
    grain: np.ndarray

    @property
    def quaternions(self) -> np.ndarray:
        return from_euler_bunge_deg(np.array(EULERS_DEG))


def crystal_of(grain: int) -> Crystal:
    return load_crystal("Cu2O" if grain == 3 else "Cu")


def visible_reflections(grain: int) -> SimulatedPattern:
    pattern = simulate_pattern(
        crystal_of(grain), from_euler_bunge_deg(EULERS_DEG[grain]), voltage_kv=300.0, q_max=1.0
    )
    keep = pattern.intensity > 0.02
    return SimulatedPattern(*(getattr(pattern, name)[keep] for name in SimulatedPattern.__slots__))


def render(grain: int, calibration: Calibration = CALIBRATION) -> np.ndarray:
    """(det_y, det_x) counts: each pixel looks up its own q, so nothing here inverts the calibration."""
    y, x = np.mgrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]]
    q_x, q_y = calibration.pixels_to_q(x, y)
    reflections = visible_reflections(grain)
    frame = 3.0 + 1000.0 * (np.hypot(q_x, q_y) < DISK_RADIUS_INV_ANGSTROM)
    for g_x, g_y, intensity in zip(reflections.q_x, reflections.q_y, reflections.intensity, strict=True):
        frame += 400.0 * intensity * (np.hypot(q_x - g_x, q_y - g_y) < DISK_RADIUS_INV_ANGSTROM)
    return frame.astype(np.float32)


def make_scene(scan_shape: tuple[int, int] = (12, 16), calibration: Calibration = CALIBRATION) -> Scene:
    rows, columns = scan_shape
    y, x = np.mgrid[:rows, :columns]
    grain = 2 * (y >= rows // 2) + (x >= columns // 2)
    frames = np.stack([render(g, calibration) for g in range(4)])
    rng = np.random.default_rng(0)
    data = rng.poisson(frames[grain]).astype(np.uint16)
    vacuum = (y == 0) & (x < 3)
    data[vacuum] = 0
    datacube = DataCube(da.from_array(data, chunks=(4, 4, -1, -1)), calibration, name="scene")
    peaks = _peaks(grain, vacuum, calibration)
    truth = OrientationMap.empty(
        peaks, (load_crystal("Cu"), load_crystal("Cu2O")), method="transformer", parameters={}
    )
    for block in blocks(grain, vacuum):
        truth.fill(block)
    return Scene(datacube, peaks, truth, grain)


def blocks(grain: np.ndarray, vacuum: np.ndarray | None = None) -> list[IndexedBlock]:
    """The true solutions, one block a scan row; every other one has a runner-up, turned by 180° about the beam."""
    rows, columns = grain.shape
    vacuum = np.zeros(grain.shape, dtype=bool) if vacuum is None else vacuum
    made = []
    for row in range(rows):
        here, missing = grain[row], vacuum[row]
        turned = np.array([[p + np.array([180.0, 0, 0])] for p in np.array(EULERS_DEG)[here]])[:, 0]
        runner_up = ~missing & (np.arange(columns) % 2 == 0)
        quaternion = from_euler_bunge_deg(np.array(EULERS_DEG)[here]).astype(np.float32)
        phase = np.where(missing, -1, here == 3).astype(np.int16)
        solutions = Solutions.of(
            np.stack([quaternion, from_euler_bunge_deg(turned)], axis=1),
            np.stack([phase, np.where(runner_up, phase, NO_CANDIDATE)], axis=1),
            np.stack([0.9 - 0.1 * here, np.full(columns, 0.4)], axis=1),
            explained_disks=np.stack([18 - here, np.full(columns, 9)], axis=1),
        )
        made.append(
            IndexedBlock(
                positions=np.arange(row * columns, (row + 1) * columns, dtype=np.int64),
                phase_id=phase,
                quaternion=quaternion,
                score=np.where(missing, 0, 0.9 - 0.1 * here).astype(np.float32),
                confidence_deg=np.where(missing, np.nan, 0.5 + here).astype(np.float32),
                reason=np.where(missing, Reason.TOO_FEW_DISKS, Reason.INDEXED).astype(np.uint8),
                explained_disks=np.where(missing, 0, 18 - here).astype(np.uint16),
                unexplained_disks=np.where(missing, 0, here).astype(np.uint16),
                phase_probability=np.where(missing, np.nan, 0.98 - 0.1 * here).astype(np.float32),
                choice=np.where(missing, NO_CANDIDATE, 0).astype(np.int8),
                runner_up=np.where(runner_up, 1, NO_CANDIDATE).astype(np.int8),
                solutions=solutions,
                progress=Progress((row + 1) * columns, rows * columns, "patterns"),
            )
        )
    return made


def _peaks(grain: np.ndarray, vacuum: np.ndarray, calibration: Calibration) -> BraggPeaks:
    lists = []
    for index, empty in zip(grain.ravel(), vacuum.ravel(), strict=True):
        pattern = visible_reflections(int(index))
        direct = np.array([[0.0, 0.0, 1000.0]])
        disks = np.column_stack([pattern.q_x, pattern.q_y, 400 * pattern.intensity])
        lists.append(np.zeros((0, 3)) if empty else np.concatenate([direct, disks]))
    return BraggPeaks.from_lists(lists, grain.shape, calibration, detector_shape=DETECTOR_SHAPE)


def run_map(session: Session, scene: Scene, *, method: str = "transformer") -> OrientationMap:
    """Index as the Index stage does: start, one block a row, finish."""
    empty = OrientationMap.empty(scene.peaks, scene.truth.crystals, method=method, parameters={})
    session.start_map(empty)
    for block in blocks(scene.grain, scene.truth.phase_id.reshape(scene.grain.shape) < 0):
        session.fill_map(block)
    session.set_map(session.current_map)
    return empty


def show_map(session: Session, scene: Scene, *, method: str = "transformer") -> None:
    """Index as the Index stage does, and have all layers of the map made at once."""
    run_map(session, scene, method=method)
    session.painter.show_all()


def preview_of(scene: Scene, position: tuple[int, int]) -> DetectedBlock:
    """A preview that found the direct beam only."""
    y, x = scene.datacube.calibration.origin_px or (0.0, 0.0)
    one = np.array([x], dtype=np.float32), np.array([y], dtype=np.float32), np.ones(1, dtype=np.float32)
    flat = np.array([position[0] * scene.grain.shape[1] + position[1]])
    return DetectedBlock(flat, *one, np.array([0, 1]), Progress(1, 1, "patterns"))
