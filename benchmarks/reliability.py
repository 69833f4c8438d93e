"""Reliability of the expected error: patterns of which 5° are expected should be off by 5° on average.

On Bloch-wave patterns as in accuracy_bloch.py, as they are and degraded, and with ``--data FOLDER`` on scans that
others simulated. A wrong phase counts as an error of 45°, as it does in the expectation. Positions that are not indexed
have no expected error and are left out.

    python benchmarks/reliability.py --cache bloch.npz --figure docs/images/reliability.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from bloch_patterns import known_patterns
from known_patterns import degraded, pattern_options
from known_scans import bent_nickel_scan, multislice_scan
from methods import NEIGHBOURS, REFINED, errors_deg, everywhere, method_options, methods
from numpy.typing import NDArray
from report import machine, new_figure, percent, save_figure, table

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.solutions import WRONG_PHASE_DEG

#: Classes of the expected error in degrees.
EDGES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 90.0)

#: Classes with fewer patterns are not drawn.
FEWEST_DRAWN = 10

SCANS = {"multislice_cu_cu2o": multislice_scan, "bent_ni_scan": bent_nickel_scan}


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected and measured errors (n,) in degrees of the indexed positions of a map."""

    expected: NDArray[np.float64]
    measured: NDArray[np.float64]

    @classmethod
    def of_map(
        cls, found: OrientationMap, quaternion: NDArray[np.float64], phase: NDArray[np.int64]
    ) -> Expectation:
        """From a map and the truth: (n, 4), and phase (n,), -1 where there is none."""
        known = found.indexed & (phase >= 0) & np.isfinite(found.confidence_deg)
        measured = np.minimum(errors_deg(found, quaternion), 90.0)
        measured[found.phase_id != phase] = WRONG_PHASE_DEG
        return cls(found.confidence_deg[known].astype(np.float64), measured[known])

    def classes(self) -> list[NDArray[np.bool_]]:
        """Which positions (n,) are in each class of EDGES."""
        return [(self.expected >= low) & (self.expected < high) for low, high in pairwise(EDGES)]

    @property
    def calibration_error(self) -> float:
        """Mean distance in degrees of the mean expected from the mean measured error, over the classes."""
        distances = [
            here.sum() * abs(self.expected[here].mean() - self.measured[here].mean())
            for here in self.classes()
            if here.any()
        ]
        return float(sum(distances) / max(1, len(self.expected)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pattern_options(parser)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the figure into this file")
    method_options(parser)
    arguments = parser.parse_args()
    found = {**of_patterns(arguments), **of_scans(arguments)}
    print(machine() + "\n")
    header = ["patterns", "expected error", "number", "mean expected", "mean measured", "within 2°"]
    print(table(header, [row for name, one in found.items() for row in reliability_rows(name, one)]))
    print("\nMean distance of expected from measured error, over the classes:")
    for name, one in found.items():
        print(f"- {name}: {one.calibration_error:.2f}° ({len(one.expected):,} indexed)")
    if arguments.figure is not None:
        draw(found, arguments.figure)


def of_patterns(arguments: argparse.Namespace) -> dict[str, Expectation]:
    """Single patterns, as simulated and degraded."""
    crystal = load_crystal(arguments.crystal)
    clean = known_patterns(crystal, arguments.patterns, seed=arguments.seed, cache=arguments.cache)
    index = methods(arguments)[REFINED]
    found = {}
    for name, patterns in {
        f"Bloch waves, {crystal.name}": clean,
        f"Bloch waves, {crystal.name}, degraded": degraded(clean, seed=arguments.seed),
    }.items():
        result = index(patterns.peaks, [crystal], everywhere(patterns.peaks)).result
        found[name] = Expectation.of_map(result, patterns.quaternion, patterns.phase)
    return found


def of_scans(arguments: argparse.Namespace) -> dict[str, Expectation]:
    """Scans with and without neighbours, those that are there."""
    found = {}
    run = methods(arguments, neighbours=True)
    for folder, read in SCANS.items():
        if arguments.data is None or not (arguments.data / folder).is_dir():
            continue
        scan = read(arguments.data / folder)
        for name, method in ((folder, REFINED), (f"{folder}, neighbours", NEIGHBOURS)):
            result = run[method](scan.peaks, scan.crystals, everywhere(scan.peaks)).result
            # Where two grains overlap, there is no one truth.
            phase = np.where(scan.boundary, -1, scan.phase)
            found[name] = Expectation.of_map(result, scan.quaternion, phase)
    return found


def reliability_rows(name: str, found: Expectation) -> list[list[object]]:
    """One row for each class of the expected error that has any pattern."""
    rows: list[list[object]] = []
    for (low, high), here in zip(pairwise(EDGES), found.classes(), strict=True):
        if here.any():
            means = [f"{values[here].mean():.2f}°" for values in (found.expected, found.measured)]
            rows.append(
                [name, f"{low:g} to {high:g}°", here.sum(), *means, percent(found.measured[here] < 2)]
            )
    return rows


def draw(found: dict[str, Expectation], path: Path) -> None:
    """Measured against expected error, and the part within 2°."""
    figure, (error, within) = new_figure(1, 2, size_inches=(9.0, 3.4))
    error.plot([0.2, 60], [0.2, 60], color="black", linestyle="--", linewidth=1, label="perfect")
    for name, one in found.items():
        classes = [here for here in one.classes() if here.sum() >= FEWEST_DRAWN]
        expected = [one.expected[here].mean() for here in classes]
        error.plot(expected, [one.measured[here].mean() for here in classes], "o-", label=name)
        within.plot(expected, [100 * np.mean(one.measured[here] < 2) for here in classes], "o-")
    error.set(xscale="log", yscale="log", xlabel="expected error (°)", ylabel="mean measured error (°)")
    within.set(xscale="log", ylim=(0, 103), xlabel="expected error (°)", ylabel="within 2° of the truth (%)")
    for axis in (error.xaxis, error.yaxis, within.xaxis):
        axis.set_major_formatter("{x:g}")
    figure.legend(*error.get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
