"""Patterns whose disks are known: drawn with counting noise, or predicted from the known orientation of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.simulation.disk_images import counted, diffuse_background, render_disks

FloatArray = NDArray[np.float64]

#: Parts of the electrons of a drawn pattern.
DIRECT, BACKGROUND = 0.4, 0.15
#: Spread of the logarithm of the diffracted intensities, beside their fall-off with the distance.
SPREAD = 1.3
#: A reflection of a known orientation may be seen up to this distance from the Ewald sphere, in Å⁻¹.
POSSIBLE_WITHIN = 0.06
MULTISLICE_ORIGIN_PX = 63.75


@dataclass(frozen=True, slots=True)
class KnownDisks:
    """Frames (n, det_y, det_x) and their k disks, as flat arrays in order of frame.

    frame (k,), y_px, x_px (k,); ``all_there`` False where the disks are only those that may be there: what is found
    elsewhere is false, but what is not found may be too weak to be seen by anybody.
    """

    name: str
    frames: NDArray[np.uint16]
    frame: NDArray[np.int64]
    y_px: FloatArray
    x_px: FloatArray
    radius_px: float
    calibration: Calibration
    all_there: bool = True


def drawn_disks(*, n_frames: int, size: int, radius_px: float, electrons: float, seed: int = 5) -> KnownDisks:
    """Lattices of disks, each frame turned another way, with 40 % of the electrons in the direct beam.

    Diffracted intensities fall off with the distance and scatter by a factor of 3.7: they cover three decades.
    """
    rng = np.random.default_rng(seed)
    middle = (size - 1) / 2
    spacing = max(2.4 * radius_px + 2, size / 11)
    parts: list[FloatArray] = []
    for number in range(n_frames):
        origin = middle + rng.uniform(-1.5, 1.5, 2)
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.4)
        across = np.deg2rad(rng.uniform(70, 110))
        basis = spacing * np.array(
            [
                [np.cos(turn), np.sin(turn)],
                [stretch * np.cos(turn + across), stretch * np.sin(turn + across)],
            ]
        )
        steps = np.mgrid[-12:13, -12:13].reshape(2, -1).T
        place = steps @ basis
        edge = radius_px + 2
        inside = ((origin + place > edge) & (origin + place < size - 1 - edge)).all(axis=1)
        steps, place = steps[inside], place[inside]
        strength = np.exp(rng.normal(0, SPREAD, len(place)) - (np.hypot(*place.T) / (0.28 * size)) ** 2)
        direct = (steps == 0).all(axis=1)
        strength[direct] = 0.0
        strength *= (1 - DIRECT - BACKGROUND) * electrons / strength.sum()
        strength[direct] = DIRECT * electrons
        parts.append(np.column_stack([np.full(len(place), number), origin + place, strength]))
    disks = np.concatenate(parts)
    frame = disks[:, 0].astype(np.int64)
    expected = render_disks(
        frame,
        disks[:, 2],
        disks[:, 1],
        disks[:, 3],
        n_frames=n_frames,
        detector_shape=(size, size),
        radius_px=radius_px,
    )
    expected += diffuse_background(
        np.full((n_frames, 2), middle),
        np.full(n_frames, BACKGROUND * electrons),
        detector_shape=(size, size),
        width_px=size / 5,
    )
    name = f"drawn, {size}², radius {radius_px:g} px, {electrons:,.0f} electrons"
    return KnownDisks(name, counted(expected, rng), frame, disks[:, 1], disks[:, 2], radius_px, Calibration())


def bent_nickel_disks(folder: Path, *, n_frames: int) -> KnownDisks:
    """Patterns of bent_ni_scan off the boundaries."""
    truth = np.load(folder / "truth.npz")
    chosen = np.flatnonzero((truth["grain"].ravel() >= 0) & (truth["boundary"].ravel() == 0))
    axes = truth["sample_axes_in_crystal"].reshape(-1, 3, 3).astype(np.float64)
    origin = np.stack([truth["origin_y"].ravel(), truth["origin_x"].ravel()], axis=1)
    phase = np.zeros(len(axes), dtype=np.int64)
    return _predicted(folder, chosen, n_frames, axes, origin, (load_crystal("Ni"),), phase)


def multislice_disks(folder: Path, *, n_frames: int) -> KnownDisks:
    """Patterns of multislice_cu_cu2o outside the vacuum; its axes put the direct beam at (63.75, 63.75) px."""
    truth = np.load(folder / "truth.npz")
    grain = truth["grain"].ravel()
    axes = truth["sample_axes_in_crystal"][np.maximum(grain, 0)].astype(np.float64)
    crystals = tuple(load_crystal(str(name)) for name in truth["phase_names"])
    origin = np.full((grain.size, 2), MULTISLICE_ORIGIN_PX)
    return _predicted(
        folder, np.flatnonzero(grain >= 0), n_frames, axes, origin, crystals, truth["phase"].ravel()
    )


def _predicted(
    folder: Path,
    chosen: NDArray[np.int64],
    n_frames: int,
    axes: FloatArray,
    origin_px: FloatArray,
    crystals: tuple[Crystal, ...],
    phase: NDArray[np.int64],
) -> KnownDisks:
    """Where the lattice allows disks at some positions, evenly chosen; ``axes`` (n, 3, 3), sample to crystal."""
    datacube = open_datacube(folder / "scan.hspy")
    calibration = datacube.calibration.updated(voltage_kv=300.0)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(n_frames, len(chosen))).astype(int)]
    rows, columns = datacube.scan_shape
    wanted = np.zeros(rows * columns, dtype=bool)
    wanted[chosen] = True
    frames = np.concatenate([block.frames for block in datacube.scan_blocks(positions=wanted)])
    size = datacube.detector_shape[0]
    reach = 0.75 * size * float(calibration.pixel_size_inv_angstrom or 0)
    lattices = [crystal.reflections(reach)[1] for crystal in crystals]
    frame, y_px, x_px = [], [], []
    for number, position in enumerate(chosen):
        g = np.vstack([np.zeros(3), lattices[max(int(phase[position]), 0)]]) @ axes[position]
        near = np.abs(_excitation_error(g, calibration.wavelength_angstrom)) < POSSIBLE_WITHIN
        x, y = calibration.q_to_pixels(g[near, 0], g[near, 1], origin_px=origin_px[position])
        inside = (x > 0) & (x < size - 1) & (y > 0) & (y < size - 1)
        frame.append(np.full(inside.sum(), number))
        y_px.append(y[inside])
        x_px.append(x[inside])
    return KnownDisks(
        folder.name,
        frames,
        np.concatenate(frame),
        np.concatenate(y_px),
        np.concatenate(x_px),
        calibration.disk_radius_px(),
        calibration,
        all_there=False,
    )


def _excitation_error(g: FloatArray, wavelength: float) -> FloatArray:
    """Distance (m,) in Å⁻¹ along the beam of vectors (m, 3), z with the electrons, from the Ewald sphere."""
    above = -2 * g[:, 2] - wavelength * (g**2).sum(axis=1)
    return np.asarray(above / (2 + 2 * wavelength * g[:, 2]))
