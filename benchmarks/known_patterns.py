"""Patterns whose orientation is known: as they are, worsened as a measurement would, and kept in a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import DIRECT_BEAM_INV_ANGSTROM, BraggPeaks
from napari_stem_orient.core.calibration import Calibration

#: What makes patterns worse with --degraded.
MISSING = 0.2  # part of the diffracted disks
SPURIOUS = 2  # disks in each pattern
POSITION_NOISE = 0.01  # Å⁻¹, standard deviation in x and in y
SCALE_ERROR = 0.01  # of q, larger or smaller by the toss of a coin in each pattern


@dataclass(frozen=True, slots=True)
class KnownPatterns:
    """n patterns: their Bragg peaks as a scan of one row, and the truth.

    quaternion (n, 4) sample to crystal; thickness (n,) in Å, NaN where it plays no role; phase (n,) which crystal.
    """

    peaks: BraggPeaks
    quaternion: NDArray[np.float64]
    thickness_angstrom: NDArray[np.float64]
    phase: NDArray[np.int64]

    @property
    def n_disks(self) -> NDArray[np.int64]:
        """Number of disks of each pattern, the direct beam counted."""
        return self.peaks.counts()

    def lists(self) -> list[NDArray[np.float32]]:
        """The disks (m, 3) of each pattern: q_x, q_y in Å⁻¹ and intensity."""
        return [self.peaks.at(0, index) for index in range(self.peaks.n_positions)]

    def with_lists(self, lists: Sequence[NDArray[Any]]) -> KnownPatterns:
        """The same orientations with other disks."""
        calibration = self.peaks.calibration.updated(origin_px=None)
        return replace(self, peaks=BraggPeaks.from_lists(lists, (1, len(lists)), calibration))


def side_by_side(parts: Sequence[KnownPatterns]) -> KnownPatterns:
    """The patterns of several crystals; ``phase`` counts through the parts."""
    phase = np.repeat(np.arange(len(parts)), [part.peaks.n_positions for part in parts])
    joined = replace(
        parts[0],
        quaternion=np.concatenate([part.quaternion for part in parts]),
        thickness_angstrom=np.concatenate([part.thickness_angstrom for part in parts]),
        phase=phase,
    )
    return joined.with_lists([disks for part in parts for disks in part.lists()])


def degraded(patterns: KnownPatterns, *, seed: int) -> KnownPatterns:
    """The patterns with disks missing and spurious, noise in position and a wrong scale."""
    rng = np.random.default_rng(seed)
    q_max = patterns.peaks.reach(part=1.0)
    return patterns.with_lists([_degraded(disks, q_max, rng) for disks in patterns.lists()])


def _degraded(disks: NDArray[np.float32], q_max: float, rng: np.random.Generator) -> NDArray[np.float64]:
    values = disks.astype(np.float64)
    direct = np.hypot(values[:, 0], values[:, 1]) < DIRECT_BEAM_INV_ANGSTROM
    diffracted = values[~direct]
    kept = rng.permutation(len(diffracted))[: len(diffracted) - round(MISSING * len(diffracted))]
    diffracted = diffracted[np.sort(kept)]
    diffracted[:, :2] += rng.normal(0, POSITION_NOISE, (len(diffracted), 2))
    diffracted[:, :2] *= 1 + SCALE_ERROR * rng.choice([-1, 1])
    spurious = np.empty((SPURIOUS, 3))
    radius = q_max * np.sqrt(rng.uniform(0.02, 1, SPURIOUS))
    angle = rng.uniform(0, 2 * np.pi, SPURIOUS)
    spurious[:, 0], spurious[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    # As strong as one of the pattern's own diffracted disks, whichever.
    spurious[:, 2] = rng.choice(diffracted[:, 2], SPURIOUS) if len(diffracted) else 1.0
    return np.vstack([values[direct], diffracted, spurious])


def pattern_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which patterns are simulated, and where they are kept."""
    parser.add_argument("--patterns", type=int, default=1000, help="number of patterns (default: 1000)")
    parser.add_argument("--crystal", default="Cu", help="built-in name or CIF (default: Cu)")
    parser.add_argument("--seed", type=int, default=31, help="of orientations and thicknesses (default: 31)")
    cache_option(parser)


def cache_option(parser: argparse.ArgumentParser) -> None:
    """The option that names a file to keep simulated patterns in."""
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FILE",
        help="keep the simulated patterns in this .npz file, and take them from there the next time",
    )


def cached(
    path: Path | None, made_with: dict[str, Any], simulate: Callable[[], KnownPatterns]
) -> KnownPatterns:
    """Patterns made with something (JSON-able): from the file where it holds them, else simulated and kept there.

    Raises
    ------
    SystemExit
        When the file holds patterns made with something else.
    """
    if path is not None and path.exists():
        return _load(path, made_with)
    patterns = simulate()
    if path is not None:
        _save(path, made_with, patterns)
    return patterns


def _save(path: Path, made_with: dict[str, Any], patterns: KnownPatterns) -> None:
    peaks = patterns.peaks
    np.savez_compressed(
        path,
        recipe=json.dumps(made_with),
        calibration=peaks.calibration.model_dump_json(),
        q_x=peaks.q_x,
        q_y=peaks.q_y,
        intensity=peaks.intensity,
        offsets=peaks.offsets,
        quaternion=patterns.quaternion,
        thickness_angstrom=patterns.thickness_angstrom,
        phase=patterns.phase,
    )


def _load(path: Path, made_with: dict[str, Any]) -> KnownPatterns:
    with np.load(path) as file:
        kept = json.loads(str(file["recipe"]))
        if kept != made_with:
            raise SystemExit(
                f"{path} holds patterns made as {kept}, not as {made_with}: name another file for --cache"
            )
        offsets = file["offsets"]
        calibration = Calibration.model_validate_json(str(file["calibration"]))
        peaks = BraggPeaks.from_q(
            file["q_x"], file["q_y"], file["intensity"], offsets, (1, len(offsets) - 1), calibration
        )
        return KnownPatterns(peaks, file["quaternion"], file["thickness_angstrom"], file["phase"])
