"""What no method can tell from one pattern: how many patterns belong to a second orientation as well.

When all disks of a pattern belong to one zero-order Laue zone, that of the zone axis [uvw], they know the potential
projected along [uvw] only. The projection of a centrosymmetric crystal looks the same after half a turn; so the crystal
turned by 180° about [uvw], its mate, has the same pattern, dynamical scattering included. Where [uvw] is no two-fold
axis of the crystal, the mate is another orientation (180° about [111] or [112] of an fcc crystal is its twin).

For every pattern the zone axes that hold most of its disks are found and the crystal is turned about each of them; both
orientations are simulated at the pattern's thickness by this package, and the mates by py4DSTEM too. They count as
indistinguishable when the cosine of their intensities to the power 0.25 is above 0.99.

    python benchmarks/ambiguity.py --patterns 1000 --cache bloch.npz
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bloch_patterns import (
    DROP_BELOW,
    EXCITATION_ERROR_CUT,
    Q_MAX,
    VOLTAGE_KV,
    bloch_patterns_of,
    known_patterns,
)
from known_patterns import KnownPatterns, pattern_options
from methods import REFINED, TEMPLATE, errors_deg, everywhere, method_options, methods
from numpy.typing import NDArray
from report import machine, percent, table

from napari_stem_orient.core.bragg_peaks import DIRECT_BEAM_INV_ANGSTROM
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    matrix_to_quaternion,
    quaternion_to_matrix,
    symmetry_quaternions,
)
from napari_stem_orient.core.zone_axes import format_zone_axis
from napari_stem_orient.simulation.bloch import StructureMatrix, simulate_bloch
from napari_stem_orient.simulation.kinematic import excitation_error

FloatArray = NDArray[np.float64]

FEWEST_DISKS = 4  # diffracted ones; with fewer, much more than two orientations are open
LARGEST_INDEX = 7  # of a zone axis
LARGEST_TILT_DEG = 8.0  # of the beam from the zone axis
MOST_ZONES = 6  # that are tried for one pattern
SMALLEST_PART = 0.75  # of the disks, that lie in a zone worth trying
EXCITATION_CUT = 0.06  # Å⁻¹, of the beams that take part in the simulation
SAME_PLACE = 0.02  # Å⁻¹
ALIKE = 0.99  # smallest cosine of two patterns that cannot be told apart
ANOTHER_ORIENTATION_DEG = 5.0
IDENTICAL = 0.9999
GROSS_DEG = 34.0
MOST_DISKS = 999
MOST_AXES = 12  # in the table
DISKS = ((4, 5), (6, 9), (10, 19), (20, MOST_DISKS), (FEWEST_DISKS, MOST_DISKS))
MANY_DISKS = 6
CLASSES = (
    f"fewer than {FEWEST_DISKS} disks",
    "a mate looks the same",
    "all others",
    f"of these, {MANY_DISKS} disks or more",
)
COLUMNS = (
    "diffracted disks",
    "patterns",
    "all in one zone that is no two-fold axis",
    "with a mate",
    "to four digits",
    "mate beyond 34°",
)


@dataclass(frozen=True, slots=True)
class Mate:
    """The orientation that is most like a pattern's own, found by half a turn about a zone axis.

    quaternion (4,) sample to crystal; part of the disks that lie in the zone; cosine of the two patterns.
    """

    uvw: tuple[int, ...]
    part: float
    quaternion: FloatArray
    disorientation_deg: float
    cosine: float

    @property
    def is_alike(self) -> bool:
        """Whether no one can tell the two apart."""
        return self.cosine > ALIKE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pattern_options(parser)
    method_options(parser, most_templates=0)
    arguments = parser.parse_args()
    crystal = load_crystal(arguments.crystal)
    patterns = known_patterns(crystal, arguments.patterns, seed=arguments.seed, cache=arguments.cache)
    print(f"{arguments.patterns:,} Bloch-wave patterns of {crystal.name}, seed {arguments.seed}")
    print(machine() + "\n")
    finder = MateFinder(crystal)
    disks = [diffracted(pattern) for pattern in patterns.lists()]
    mates = [
        finder.mate(found, quaternion, depth) if len(found) >= FEWEST_DISKS else None
        for found, quaternion, depth in zip(
            disks, patterns.quaternion, patterns.thickness_angstrom, strict=True
        )
    ]
    number = np.array([len(found) for found in disks])
    print(table(COLUMNS, share_rows(number, mates)))
    print("\n" + table(("zone axis", "patterns", "turned by"), zone_rows(crystal, mates)))
    print("\n" + bounds(mates))
    print("\n" + agreement(crystal, patterns, disks, mates))
    print("\n" + table(("method", *CLASSES), method_rows(arguments, crystal, patterns, number, mates)))


def diffracted(disks: NDArray[np.float32]) -> FloatArray:
    """The disks (n, 3) without the direct beam."""
    values = disks.astype(np.float64)
    return values[np.hypot(values[:, 0], values[:, 1]) >= DIRECT_BEAM_INV_ANGSTROM]


def cosine(first: FloatArray, second: FloatArray) -> float:
    """How alike two patterns, disks (n, 3) and (m, 3), are: 1 for the same, 0 without a disk at the same place."""
    a, b = first[:, 2] ** 0.25, second[:, 2] ** 0.25
    distance = np.linalg.norm(first[:, None, :2] - second[None, :, :2], axis=-1)
    nearest = distance.argmin(axis=1)
    together = distance.min(axis=1) < SAME_PLACE
    return float((a * b[nearest] * together).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


class MateFinder:
    """Turns a crystal about the zone axes of its patterns, and simulates what comes of it."""

    def __init__(self, crystal: Crystal) -> None:
        self._crystal = crystal
        self._matrix = StructureMatrix(crystal, voltage_kv=VOLTAGE_KV, q_max=Q_MAX)
        indices = np.arange(-LARGEST_INDEX, LARGEST_INDEX + 1)
        uvw = np.stack(np.meshgrid(indices, indices, indices, indexing="ij"), axis=-1).reshape(-1, 3)
        self._uvw = uvw[np.gcd.reduce(uvw, axis=1) == 1]
        axes = self._uvw @ crystal.direct_basis
        self._axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)

    def mate(self, disks: FloatArray, quaternion: FloatArray, thickness_angstrom: float) -> Mate | None:
        """The mate that is most like a pattern, disks (n, 3); None where all mates are the same orientation."""
        rotation = quaternion_to_matrix(quaternion)
        zones, part = self._zones(self._indices(disks, rotation), rotation)
        axes = self._axes[zones]
        turned = (2 * axes[:, :, None] * axes[:, None, :] - np.eye(3)) @ rotation
        quaternions = matrix_to_quaternion(turned)
        away = disorientation_angle_deg(quaternions, quaternion, self._crystal.proper_point_group)
        other = np.flatnonzero(away > ANOTHER_ORIENTATION_DEG)
        if not len(other):
            return None
        own, *theirs = self._patterns(np.concatenate([rotation[None], turned[other]]), thickness_angstrom)
        alike = [cosine(own, pattern) for pattern in theirs]
        best = int(np.argmax(alike))
        chosen = other[best]
        return Mate(
            tuple(int(u) for u in self._uvw[zones[chosen]]),
            float(part[chosen]),
            quaternions[chosen],
            float(away[chosen]),
            alike[best],
        )

    def disks(self, quaternion: FloatArray, thickness_angstrom: float) -> FloatArray:
        """The visible diffracted disks (n, 3) of an orientation (4,)."""
        return self._patterns(quaternion_to_matrix(quaternion)[None], thickness_angstrom)[0]

    def _indices(self, disks: FloatArray, rotation: FloatArray) -> NDArray[np.int64]:
        """Miller indices (n, 3) of the disks of a pattern."""
        g = self._matrix.g.double() @ torch.as_tensor(rotation)
        near = excitation_error(g, self._matrix.wavelength).abs() <= 1.1 * EXCITATION_ERROR_CUT
        near[0] = False  # the direct beam
        distance = torch.cdist(torch.as_tensor(disks[:, :2]), g[near, :2])
        return self._matrix.hkl[near.numpy()][distance.argmin(dim=1).numpy()]

    def _zones(
        self, hkl: NDArray[np.int64], rotation: FloatArray
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The zone axes near the beam that hold most disks, simple ones first, and the part that they hold."""
        near = np.flatnonzero(-self._axes @ rotation[:, 2] > np.cos(np.deg2rad(LARGEST_TILT_DEG)))
        part = (hkl @ self._uvw[near].T == 0).mean(axis=0)
        order = np.lexsort((np.square(self._uvw[near]).sum(axis=1), -part))[:MOST_ZONES]
        order = order[part[order] >= SMALLEST_PART]
        return near[order], part[order]

    def _patterns(self, rotations: FloatArray, thickness_angstrom: float) -> list[FloatArray]:
        """The visible disks (n, 3) of rotations (Z, 3, 3) at one thickness."""
        turns = torch.as_tensor(rotations, dtype=torch.float32)
        simulated = simulate_bloch(
            self._matrix,
            turns,
            thickness_angstrom=torch.tensor([thickness_angstrom], dtype=torch.float32),
            excitation_cut=EXCITATION_CUT,
        )
        reflection, intensity = simulated.reflection[:, 1:], simulated.intensity[:, 0, 1:]
        intensity = torch.where(reflection >= 0, intensity, 0)
        q = (simulated.g[reflection.clamp_min(0)] @ turns)[..., :2]
        disks = torch.cat([q, intensity[..., None]], dim=-1).double().numpy()
        return [pattern[pattern[:, 2] >= DROP_BELOW * pattern[:, 2].max()] for pattern in disks]


def flags(mates: Sequence[Mate | None]) -> list[NDArray[np.bool_]]:
    """Which patterns (n,) lie in one zone, have a mate, have one that is the same to four digits, and a far one."""
    tests: list[Callable[[Mate], bool]] = [
        lambda mate: mate.part == 1,
        lambda mate: mate.is_alike,
        lambda mate: mate.cosine > IDENTICAL,
        lambda mate: mate.is_alike and mate.disorientation_deg > GROSS_DEG,
    ]
    return [np.array([mate is not None and test(mate) for mate in mates]) for test in tests]


def share_rows(number: NDArray[np.int64], mates: Sequence[Mate | None]) -> list[list[object]]:
    """How many patterns have a mate, by the number of their diffracted disks (n,)."""
    rows: list[list[object]] = []
    for low, high in DISKS:
        chosen = (number >= low) & (number <= high)
        label = f"{low} or more" if high == MOST_DISKS else f"{low} to {high}"
        rows.append([label, int(chosen.sum()), *(percent(flag[chosen]) for flag in flags(mates))])
    return rows


def zone_rows(crystal: Crystal, mates: Sequence[Mate | None]) -> list[list[object]]:
    """About which axes the mates are turned, and by how much they differ from the truth."""
    found = [(family(crystal, mate.uvw), mate) for mate in mates if mate is not None and mate.is_alike]
    common = Counter(name for name, _ in found).most_common(MOST_AXES)
    rows: list[list[object]] = []
    for name, count in common:
        angle = np.median([mate.disorientation_deg for other, mate in found if other == name])
        rows.append([format_zone_axis(name), count, f"{angle:.1f}°"])
    return rows


def family(crystal: Crystal, uvw: tuple[int, ...]) -> tuple[int, ...]:
    """The one of all equivalent directions that is written without minus signs, in rising order where there is one."""
    direction = np.array(uvw) @ crystal.direct_basis
    turned = quaternion_to_matrix(symmetry_quaternions(crystal.proper_point_group)) @ direction
    indices = np.rint(turned @ np.linalg.inv(crystal.direct_basis)).astype(int)
    equivalents = [tuple(int(u) for u in row) for row in (*indices, *-indices)]
    return min(equivalents, key=lambda row: (sum(u < 0 for u in row), row))


def bounds(mates: Sequence[Mate | None]) -> str:
    """What a method that answers every pattern can reach: of two equal orientations it errs half the time."""
    _, alike, _, far = flags(mates)
    return (
        f"Of all {len(mates):,} patterns, {percent(alike)} have a mate. A method that answers every pattern is within "
        f"2° for at most {100 * (1 - alike.mean() / 2):.1f} %, and beyond {GROSS_DEG:.0f}° for at least "
        f"{50 * far.mean():.1f} %."
    )


def method_rows(
    arguments: argparse.Namespace,
    crystal: Crystal,
    patterns: KnownPatterns,
    number: NDArray[np.int64],
    mates: Sequence[Mate | None],
) -> list[list[object]]:
    """Within 2° and beyond 34° of both methods: few disks, patterns with a mate, all others."""
    few = number < FEWEST_DISKS
    alike = flags(mates)[1]
    classes = (few, alike, ~few & ~alike, ~few & ~alike & (number >= MANY_DISKS))
    counts = [f"{int(chosen.sum())} patterns" for chosen in classes]
    rows: list[list[object]] = [["", *counts]]
    for name, method in methods(arguments, min_disks=2).items():
        if name not in (REFINED, TEMPLATE):
            continue
        timed = method(patterns.peaks, [crystal], everywhere(patterns.peaks))
        error = errors_deg(timed.result, patterns.quaternion)
        cells = [f"{percent(error[c] < 2)}, {percent(error[c] > GROSS_DEG)}" for c in classes]
        rows.append([name, *cells])
    return rows


def agreement(
    crystal: Crystal, patterns: KnownPatterns, disks: Sequence[FloatArray], mates: Sequence[Mate | None]
) -> str:
    """What py4DSTEM says of the mates that this package cannot tell apart."""
    rows = [index for index, mate in enumerate(mates) if mate is not None and mate.is_alike]
    if not rows:
        return "No pattern has a mate."
    quaternion = np.array([mate.quaternion for mate in mates if mate is not None and mate.is_alike])
    theirs = bloch_patterns_of(crystal, quaternion, patterns.thickness_angstrom[rows]).lists()
    alike = np.array([cosine(disks[row], diffracted(mate)) for row, mate in zip(rows, theirs, strict=True)])
    return (
        f"py4DSTEM's own patterns of the {len(rows):,} mates have a cosine of {np.median(alike):.4f} (median) with "
        f"those to be indexed; it is above {ALIKE} for {percent(alike > ALIKE)}."
    )


if __name__ == "__main__":
    main()
