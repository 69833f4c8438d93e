"""Two phases in one run: Bloch-wave patterns of Cu and Cu2O by py4DSTEM, which is which, and how each is oriented.

py4DSTEM knows one crystal at a time: it is run once for each, and the better correlation wins. Its correlation grows
with the number of reflections of the crystal; "phase by cosine" is the same matches chosen by the score that our
interface to py4DSTEM gives them.

    python benchmarks/two_phases.py --patterns 500 --cache phases.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from acom import match_with_py4dstem
from bloch_patterns import known_patterns
from known_patterns import KnownPatterns, cache_option, degraded, side_by_side
from methods import TEMPLATE, errors_deg, everywhere, method_options, methods, warm_up
from numpy.typing import NDArray
from report import machine, percent, table

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters

FEWEST_DISKS = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patterns", type=int, default=500, help="patterns of each crystal (default: 500)")
    parser.add_argument(
        "--crystals", nargs="+", default=["Cu", "Cu2O"], help="built-in names or CIFs (default: Cu Cu2O)"
    )
    parser.add_argument("--seed", type=int, default=31, help="of orientations and thicknesses (default: 31)")
    parser.add_argument("--degraded", action="store_true", help="as in accuracy_bloch.py")
    cache_option(parser)
    method_options(parser, most_templates=0)
    arguments = parser.parse_args()
    crystals = [load_crystal(name) for name in arguments.crystals]
    patterns = side_by_side(
        [
            known_patterns(
                crystal,
                arguments.patterns,
                seed=arguments.seed + index,
                cache=_cache_of(crystal, arguments.cache),
            )
            for index, crystal in enumerate(crystals)
        ]
    )
    if arguments.degraded:
        patterns = degraded(patterns, seed=arguments.seed)
    names = " and ".join(crystal.name for crystal in crystals)
    print(
        f"{arguments.patterns:,} Bloch-wave patterns each of {names}{', degraded' if arguments.degraded else ''}, "
        f"median {np.median(patterns.n_disks):.0f} disks"
    )
    print(machine() + "\n")
    each = [f"{crystal.name}: phase and within 2°" for crystal in crystals]
    header = ["method", "right phase of the indexed", *each, "not indexed", "speed"]
    print(table(header, phase_rows(patterns, crystals, arguments)))


def _cache_of(crystal: Crystal, cache: Path | None) -> Path | None:
    """One file for each crystal."""
    return None if cache is None else cache.with_name(f"{cache.stem}_{crystal.name}.npz")


def phase_rows(
    patterns: KnownPatterns, crystals: list[Crystal], arguments: argparse.Namespace
) -> list[list[object]]:
    """One row for each method."""
    rows: list[list[object]] = []
    if arguments.only != "template":
        warm_up(crystals, arguments)
    for name, index in methods(arguments, min_disks=FEWEST_DISKS).items():
        if name == TEMPLATE:
            rows.append(_by_correlation(patterns, crystals))
            name = f"{TEMPLATE}, phase by cosine"
        timed = index(patterns.peaks, crystals, everywhere(patterns.peaks))
        phase = timed.result.phase_id.astype(np.int64)
        errors = errors_deg(timed.result, patterns.quaternion, patterns.phase)
        rows.append(_row(name, phase, errors, patterns.phase, timed.seconds))
    return rows


def _by_correlation(patterns: KnownPatterns, crystals: list[Crystal]) -> list[object]:
    parameters = TemplateMatchingParameters(min_disks=FEWEST_DISKS)
    positions = np.arange(patterns.peaks.n_positions)
    runs = [
        match_with_py4dstem(patterns.peaks, crystal, positions, parameters=parameters) for crystal in crystals
    ]
    correlation = np.stack([run.correlation for run in runs])
    phase = np.where(correlation.max(axis=0) > 0, correlation.argmax(axis=0), -1)
    errors = np.full(len(phase), np.nan)
    for index, (run, crystal) in enumerate(zip(runs, crystals, strict=True)):
        here = phase == index
        errors[here] = disorientation_angle_deg(
            patterns.quaternion[here], run.quaternion[here], crystal.proper_point_group
        )
    errors[(phase >= 0) & (phase != patterns.phase)] = 180.0
    seconds = sum(run.seconds for run in runs)
    return _row(f"{TEMPLATE}, phase by correlation", phase, errors, patterns.phase, seconds)


def _row(
    name: str,
    phase: NDArray[np.int64],
    errors: NDArray[np.float64],
    truth: NDArray[np.int64],
    seconds: float,
) -> list[object]:
    """Cells of one method: phases found and true (n,), errors in degrees (n,), seconds for all patterns."""
    indexed = phase >= 0
    within = [percent(errors[truth == number] < 2) for number in np.unique(truth)]
    rate = f"{len(phase) / seconds:,.0f}/s"
    return [name, percent((phase == truth)[indexed]), *within, percent(~indexed), rate]


if __name__ == "__main__":
    main()
