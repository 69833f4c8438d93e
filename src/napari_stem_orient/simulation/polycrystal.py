"""A simulated scan of a polycrystal with known truth, as Bragg peaks or as counted frames."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.simulation.disk_images import (
    counted,
    diffuse_background,
    render_disks,
)
from napari_stem_orient.simulation.grains import Polycrystal, make_polycrystal
from napari_stem_orient.simulation.kinematic import KinematicSimulator

FloatArray = NDArray[np.float64]

BLOCK = 96
"""Patterns simulated at a time: some tens of MB and less than a tenth of a second."""

WEAKEST = 1e-4
"""Reflections weaker than this part of the crystal's strongest are left out."""

EVENING = 0.5
"""Dynamical scattering evens intensities out: measured ones go about as the root of the kinematic ones."""

_EXTINCTION_NM = 45.0
_USUALLY_EXCITED = 4.0  # sum of the evened intensities of a pattern of a metal
_BACKGROUND_PER_NM = 0.004
_VACUUM_BACKGROUND = 0.01
_BACKGROUND_WIDTH_INV_ANGSTROM = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedBlock:
    """Frames just simulated.

    Attributes
    ----------
    positions : (m,) int64; flat, row-major scan positions
    frames : (m, det_y, det_x) uint16; counted electrons
    progress : how far the simulation is
    """

    positions: NDArray[np.int64]
    frames: NDArray[np.uint16]
    progress: Progress


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedScan:
    """A simulated datacube and its truth at every position."""

    datacube: DataCube
    truth: Polycrystal

    @property
    def phase_id(self) -> NDArray[np.int16]:
        """(n,) int16; -1 in vacuum."""
        return self.truth.phase_id

    @property
    def quaternion(self) -> FloatArray:
        """(n, 4) float64; sample to crystal, scalar first."""
        return self.truth.quaternion

    @property
    def grain(self) -> NDArray[np.int64]:
        """(n,) int64; -1 in vacuum."""
        return self.truth.grain


def simulate_polycrystal(
    crystals: Sequence[Crystal],
    *,
    scan_shape: tuple[int, int] = (48, 64),
    detector_shape: tuple[int, int] = (128, 128),
    n_grains: int = 12,
    calibration: Calibration | None = None,
    electrons_per_pattern: float = 5e4,
    seed: int = 0,
    name: str = "Simulated polycrystal",
    **microstructure: Any,
) -> Generator[SimulatedBlock, None, SimulatedScan]:
    """Simulate a scan of a polycrystal, block by block; the same seed gives the same counts.

    Memory: the whole scan as uint16, and a block of some tens of MB.

    Parameters
    ----------
    crystals, scan_shape, detector_shape, n_grains, calibration, microstructure : as in `make_polycrystal`
    electrons_per_pattern : expected electrons in a frame
    seed : of grains and of counting noise
    name : of the datacube
    """
    truth = make_polycrystal(
        crystals,
        scan_shape=scan_shape,
        detector_shape=detector_shape,
        n_grains=n_grains,
        calibration=calibration,
        seed=seed,
        **microstructure,
    )
    return (
        yield from simulate_scan(truth, electrons_per_pattern=electrons_per_pattern, seed=seed, name=name)
    )


def simulate_scan(
    truth: Polycrystal,
    *,
    electrons_per_pattern: float = 5e4,
    seed: int = 0,
    name: str = "Simulated polycrystal",
) -> Generator[SimulatedBlock, None, SimulatedScan]:
    """Simulate the frames of a polycrystal, block by block.

    A pattern holds the direct beam, disks of the convergence angle's radius whose share of the electrons
    grows with the thickness, and a diffuse background; then Poisson noise.
    """
    radius_px = truth.calibration.disk_radius_px()
    simulators = _simulators(truth)
    rng = np.random.default_rng([seed, 1])
    frames = np.zeros((truth.n_positions, *truth.detector_shape), dtype=np.uint16)
    for start in range(0, truth.n_positions, BLOCK):
        positions = np.arange(start, min(start + BLOCK, truth.n_positions))
        expected = _expected_frames(truth, simulators, positions, radius_px) * electrons_per_pattern
        frames[positions] = counted(expected, rng)
        progress = Progress(int(positions[-1]) + 1, truth.n_positions, "patterns")
        yield SimulatedBlock(positions, frames[positions], progress)
    data = da.from_array(frames.reshape(*truth.scan_shape, *truth.detector_shape), chunks=(4, -1, -1, -1))
    return SimulatedScan(DataCube(data, truth.calibration, name=name), truth)


def simulate_bragg_peaks(
    truth: Polycrystal,
    *,
    direct_beam: bool = True,
    minimum_relative_intensity: float = 0.0,
    position_noise_inv_angstrom: float = 0.0,
    intensity_noise: float = 0.0,
    missing_fraction: float = 0.0,
    n_spurious: float = 0.0,
    seed: int = 0,
) -> BraggPeaks:
    """Simulate what a disk detector finds on a polycrystal, without any frame.

    Parameters
    ----------
    truth : the polycrystal
    direct_beam : whether the direct beam is among the peaks, as detectors find it
    minimum_relative_intensity : weaker peaks, relative to a pattern's strongest reflection, are not found
    position_noise_inv_angstrom : standard deviation of q_x and of q_y in Å⁻¹
    intensity_noise : standard deviation of the logarithm of the intensity
    missing_fraction : share of the reflections that is left out at random, 0 to 1
    n_spurious : mean number of peaks a pattern that come from nothing, anywhere on the detector
    seed : of the noise
    """
    rng = np.random.default_rng([seed, 2])
    spots = _all_spots(truth)
    excited = _sums(spots.position, spots.weight, truth.n_positions)
    strongest = np.zeros(truth.n_positions)
    np.maximum.at(strongest, spots.position, spots.weight)
    found = spots.weight >= minimum_relative_intensity * strongest[spots.position]
    found &= rng.random(len(spots.weight)) >= missing_fraction
    spots = spots.chosen(found)
    parts = [spots.jittered(position_noise_inv_angstrom, intensity_noise, rng)]
    if n_spurious > 0:
        parts.append(_spurious(truth, n_spurious, strongest, rng))
    if direct_beam:
        parts.append(_direct_beams(truth, excited))
    return _as_bragg_peaks(truth, parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Spots:
    """Reflections of many patterns, flat (k,): position, q in Å⁻¹, evened intensity."""

    position: NDArray[np.int64]
    q_x: FloatArray
    q_y: FloatArray
    weight: FloatArray

    def chosen(self, which: NDArray[np.bool_]) -> _Spots:
        return _Spots(self.position[which], self.q_x[which], self.q_y[which], self.weight[which])

    def jittered(self, position_noise: float, intensity_noise: float, rng: np.random.Generator) -> _Spots:
        size = len(self.weight)
        return _Spots(
            self.position,
            self.q_x + position_noise * rng.standard_normal(size),
            self.q_y + position_noise * rng.standard_normal(size),
            self.weight * np.exp(intensity_noise * rng.standard_normal(size)),
        )


def _simulators(truth: Polycrystal) -> list[KinematicSimulator]:
    """One simulator for each crystal, reaching to the corners of the detector."""
    calibration = truth.calibration
    if calibration.missing_for_indexing():
        missing = " and ".join(calibration.missing_for_indexing())
        raise ValueError(f"a pattern cannot be simulated without {missing}; set the calibration's values")
    rows, columns = truth.detector_shape
    corner_x, corner_y = np.array([0, columns, 0, columns]), np.array([0, 0, rows, rows])
    reach = float(np.hypot(*calibration.pixels_to_q(corner_x, corner_y)).max())
    return [
        KinematicSimulator(
            crystal,
            voltage_kv=float(calibration.voltage_kv or 0.0),
            q_max=reach,
            precession_angle_deg=calibration.precession_angle_deg,
        )
        for crystal in truth.crystals
    ]


def _spots_at(
    truth: Polycrystal, simulators: Sequence[KinematicSimulator], positions: NDArray[np.int64]
) -> _Spots:
    """Simulate the reflections at some positions (m,)."""
    parts = []
    for phase_id, simulator in enumerate(simulators):
        here = positions[truth.phase_id[positions] == phase_id]
        rotations = torch.as_tensor(quaternion_to_matrix(truth.quaternion[here]), dtype=torch.float32)
        with torch.inference_mode():
            batch = simulator.simulate(rotations)
        intensity = batch.intensity.numpy().astype(np.float64)
        weight = np.where(intensity >= WEAKEST, intensity, 0.0) ** EVENING
        pattern, reflection = np.nonzero(weight)
        q = batch.q.numpy().astype(np.float64)[pattern, reflection]
        parts.append(_Spots(here[pattern], q[:, 0], q[:, 1], weight[pattern, reflection]))
    return _joined(parts)


def _all_spots(truth: Polycrystal) -> _Spots:
    simulators = _simulators(truth)
    starts = range(0, truth.n_positions, BLOCK)
    blocks = (np.arange(start, min(start + BLOCK, truth.n_positions)) for start in starts)
    return _joined([_spots_at(truth, simulators, positions) for positions in blocks])


def _joined(parts: Sequence[_Spots]) -> _Spots:
    return _Spots(
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.q_x for part in parts]),
        np.concatenate([part.q_y for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def _expected_frames(
    truth: Polycrystal,
    simulators: Sequence[KinematicSimulator],
    positions: NDArray[np.int64],
    radius_px: float,
) -> FloatArray:
    """Return frames (m, det_y, det_x) that hold one electron each, but for what leaves the detector."""
    spots = _spots_at(truth, simulators, positions)
    frame = spots.position - positions[0]
    excited = _sums(frame, spots.weight, len(positions))
    thickness = truth.thickness_nm[positions]
    background = np.where(thickness > 0, _BACKGROUND_PER_NM * thickness, _VACUUM_BACKGROUND).clip(max=0.5)
    diffracted = (1.0 - background) * _diffracted_share(thickness, excited)
    electrons = spots.weight * (diffracted / np.maximum(excited, 1e-30))[frame]
    origin = truth.origin_px[positions]
    x_px, y_px = truth.calibration.q_to_pixels(spots.q_x, spots.q_y, origin_px=origin[frame])
    disks = render_disks(
        np.concatenate([frame, np.arange(len(positions))]),
        np.concatenate([x_px, origin[:, 1]]),
        np.concatenate([y_px, origin[:, 0]]),
        np.concatenate([electrons, 1.0 - background - diffracted]),
        n_frames=len(positions),
        detector_shape=truth.detector_shape,
        radius_px=radius_px,
    )
    pixel_size = truth.calibration.pixel_size_inv_angstrom or 1.0
    return disks + diffuse_background(
        origin,
        background,
        detector_shape=truth.detector_shape,
        width_px=_BACKGROUND_WIDTH_INV_ANGSTROM / pixel_size,
    )


def _spurious(
    truth: Polycrystal, n_spurious: float, strongest: FloatArray, rng: np.random.Generator
) -> _Spots:
    """Peaks from nothing: uniform on the detector, as strong as weak to middling reflections."""
    position = np.repeat(np.arange(truth.n_positions), rng.poisson(n_spurious, truth.n_positions))
    rows, columns = truth.detector_shape
    q_x, q_y = truth.calibration.pixels_to_q(
        rng.uniform(0, columns - 1, len(position)),
        rng.uniform(0, rows - 1, len(position)),
        origin_px=truth.origin_px[position],
    )
    scale = np.where(strongest > 0, strongest, 1e-3)[position]
    return _Spots(position, q_x, q_y, scale * 10.0 ** rng.uniform(-2, -0.3, len(position)))


def _sums(index: NDArray[np.int64], values: FloatArray, length: int) -> FloatArray:
    return np.asarray(np.bincount(index, weights=values, minlength=length), dtype=np.float64)


def _direct_beams(truth: Polycrystal, excited: FloatArray) -> _Spots:
    """The direct beam of each position, in the measure of the reflections that are excited (n,) there."""
    n = truth.n_positions
    share = np.maximum(_diffracted_share(truth.thickness_nm, excited), 0.05)
    weight = np.where(excited > 0, excited, 1.0) * (1.0 - share) / share
    return _Spots(np.arange(n), np.zeros(n), np.zeros(n), weight)


def _diffracted_share(thickness_nm: FloatArray, excited: FloatArray) -> FloatArray:
    """Return how much of the beam is in reflections: more where it is thick and many are excited."""
    strength = np.where(excited > 0, np.clip(excited / _USUALLY_EXCITED, 0.4, 1.8), 0.0)
    return np.asarray(1.0 - np.exp(-thickness_nm * strength / _EXTINCTION_NM))


def _as_bragg_peaks(truth: Polycrystal, parts: Sequence[_Spots]) -> BraggPeaks:
    """Keep what is on the detector, strongest first at each position, and make the ragged arrays."""
    spots = _joined(parts)
    x_px, y_px = truth.calibration.q_to_pixels(
        spots.q_x, spots.q_y, origin_px=truth.origin_px[spots.position]
    )
    rows, columns = truth.detector_shape
    spots = spots.chosen((x_px >= 0) & (x_px <= columns - 1) & (y_px >= 0) & (y_px <= rows - 1))
    order = np.lexsort((-spots.weight, spots.position))
    offsets = np.zeros(truth.n_positions + 1, dtype=np.int64)
    np.cumsum(np.bincount(spots.position, minlength=truth.n_positions), out=offsets[1:])
    return BraggPeaks.from_q(
        spots.q_x[order],
        spots.q_y[order],
        spots.weight[order],
        offsets,
        truth.scan_shape,
        truth.calibration,
        origin_px=truth.origin_px,
        detector_shape=truth.detector_shape,
        parameters={"source": "simulated"},
        name="Simulated Bragg peaks",
    )
