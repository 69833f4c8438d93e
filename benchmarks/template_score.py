"""What the defaults of template matching rest on: the kernel size that follows the cell, and the lowest score.

Patterns by py4DSTEM, kinematic, worsened as in ``--degraded`` of accuracy_bloch.py, of crystals with small and with
large cells. The first table compares kernel sizes by the orientations found. The second has the scores of the right
crystal, of other crystals, of an amorphous film's rings and of disks by chance, and what the default lowest score lets
through.

    python benchmarks/template_score.py --patterns 16 Cu Si LiCoO2 MAPbI3
"""

from __future__ import annotations

import argparse

import gemmi
import numpy as np
from bloch_patterns import simulate_kinematic_patterns
from known_patterns import KnownPatterns, degraded
from numpy.typing import NDArray
from report import finish, machine, table

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.indexing.template_matching import index_by_template_matching
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.indexing.template_plan import kernel_size_for

PY4DSTEM_KERNEL = 0.08  # Å⁻¹
DISKS = (6, 40)  # fewest and most of a pattern that is none

Site = tuple[str, tuple[float, float, float]]
#: Large cells: space group, number, a, b, c, alpha, beta, gamma, and one atom of each site.
LARGE: dict[str, tuple[str, int, tuple[float, float, float, float, float, float], tuple[Site, ...]]] = {
    "YAG": (
        "I a -3 d",
        230,
        (12.0, 12.0, 12.0, 90.0, 90.0, 90.0),
        (
            ("Y", (0.125, 0, 0.25)),
            ("Al", (0, 0, 0)),
            ("Al", (0.375, 0, 0.25)),
            ("O", (-0.03, 0.05, 0.149)),
        ),
    ),
    "apatite": (
        "P 63/m",
        176,
        (9.367, 9.367, 6.884, 90.0, 90.0, 120.0),
        (
            ("Ca", (1 / 3, 2 / 3, 0.001)),
            ("Ca", (-0.007, 0.242, 0.25)),
            ("P", (0.398, 0.368, 0.25)),
            ("O", (0.326, 0.484, 0.25)),
            ("O", (0.588, 0.467, 0.25)),
            ("O", (0.342, 0.257, 0.07)),
            ("F", (0, 0, 0.25)),
        ),
    ),
    "MAPbI3": (
        "I 4/m c m",
        140,
        (8.85, 8.85, 12.66, 90.0, 90.0, 90.0),
        (("Pb", (0, 0, 0)), ("I", (0, 0, 0.25)), ("I", (0.21, 0.71, 0))),
    ),
}


def crystal_called(name: str) -> Crystal:
    """A crystal of `LARGE`, a built-in one, or that of a CIF."""
    if name not in LARGE:
        return load_crystal(name)
    symbol, number, lattice, sites = LARGE[name]
    elements: list[str] = []
    places: list[NDArray[np.float64]] = []
    for element, site in sites:
        images = [operation.apply_to_xyz(list(site)) for operation in gemmi.SpaceGroup(symbol).operations()]
        different = np.unique(np.round(np.array(images) % 1, 5) % 1, axis=0)
        elements += [element] * len(different)
        places.append(different)
    return Crystal(name, lattice, tuple(elements), np.vstack(places), np.ones(len(elements)), number)


def scattered(radius: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Disks (n, 3) at radii (n,) in Å⁻¹ and any angle."""
    angle = rng.uniform(0, 2 * np.pi, len(radius))
    intensity = rng.gamma(2, 1, len(radius)) * np.exp(-2 * radius)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), intensity])


def halo(rng: np.random.Generator) -> NDArray[np.float64]:
    """Disks as a detector finds them in the two rings of an amorphous film."""
    n = rng.integers(*DISKS)
    return scattered(np.where(rng.random(n) < 0.7, rng.normal(0.28, 0.03, n), rng.normal(0.48, 0.05, n)), rng)


def by_chance(rng: np.random.Generator) -> NDArray[np.float64]:
    """Disks anywhere."""
    return scattered(1.4 * np.sqrt(rng.uniform(0.02, 1, rng.integers(*DISKS))), rng)


def matched(peaks: BraggPeaks, crystal: Crystal, kernel: float | None = None) -> OrientationMap:
    """Every pattern's best solution, whatever its score."""
    parameters = TemplateMatchingParameters(min_score=0, kernel_size_inv_angstrom=kernel)
    result: OrientationMap = finish(
        index_by_template_matching(peaks, [crystal], parameters=parameters)
    ).result
    return result


def kernel_row(crystal: Crystal, patterns: KnownPatterns, kernel: float | None) -> list[object]:
    """How good the orientations are with a kernel."""
    found = matched(patterns.peaks, crystal, kernel)
    error = disorientation_angle_deg(found.quaternion, patterns.quaternion, crystal.proper_point_group)
    size = f"{kernel:.3f}" if kernel else f"{kernel_size_for(crystal):.3f} (by the cell)"
    near = 100 * np.mean(error < 2)
    return [crystal.name, size, f"{np.median(error):.2f}°", f"{near:.0f} %", f"{np.median(found.score):.2f}"]


def score_row(what: str, crystal: Crystal, peaks: BraggPeaks) -> list[object]:
    """Scores of patterns against a crystal."""
    found = matched(peaks, crystal)
    score = found.score[found.indexed]
    accepted = 100 * np.mean(found.score >= TemplateMatchingParameters().min_score)
    spread = " / ".join(f"{value:.2f}" for value in np.percentile(score, [10, 50, 90]))
    return [crystal.name, what, spread, f"{accepted:.0f} %"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "crystals", nargs="*", default=["Cu", "Si", "Ti", "LiCoO2", *LARGE], metavar="CRYSTAL"
    )
    parser.add_argument("--patterns", type=int, default=16, help="of each kind (default: 16)")
    parser.add_argument("--seed", type=int, default=31)
    arguments = parser.parse_args()
    crystals = [crystal_called(name) for name in arguments.crystals]
    known = {
        crystal.name: degraded(
            simulate_kinematic_patterns(crystal, arguments.patterns, seed=arguments.seed),
            seed=arguments.seed,
        )
        for crystal in crystals
    }
    print(machine() + "\n")
    rows = [kernel_row(c, known[c.name], kernel) for c in crystals for kernel in (PY4DSTEM_KERNEL, None)]
    print(table(["crystal", "kernel, 1/Å", "median error", "within 2°", "median score"], rows) + "\n")
    rng = np.random.default_rng(arguments.seed)
    first = next(iter(known.values()))
    none = {
        name: first.with_lists([make(rng) for _ in range(arguments.patterns)]).peaks
        for name, make in (("an amorphous film", halo), ("disks by chance", by_chance))
    }
    rows = []
    for crystal in crystals:
        rows.append(score_row("itself", crystal, known[crystal.name].peaks))
        rows += [score_row(name, crystal, known[name].peaks) for name in known if name != crystal.name]
        rows += [score_row(name, crystal, peaks) for name, peaks in none.items()]
    print(table(["indexed as", "patterns of", "score, 10 / 50 / 90 %", "accepted"], rows))


if __name__ == "__main__":
    main()
