"""Accuracy on patterns of random orientation simulated by py4DSTEM: the transformer beside py4DSTEM, on the same peaks.

Dynamical (Bloch-wave) patterns as they are, with ``--degraded`` as a measurement would spoil them, with ``--kinematic``
kinematic ones. Every pattern is indexed for itself, none helps another. "Best candidate" is the share of patterns for
which one of the candidates, chosen or not, is within 2° of the truth. Template matching takes about 30 ms a pattern.

    python benchmarks/accuracy_bloch.py --patterns 1000 --cache bloch.npz
"""

from __future__ import annotations

import argparse

import numpy as np
from bloch_patterns import known_patterns
from candidate_errors import candidate_errors_deg
from known_patterns import KnownPatterns, degraded, pattern_options
from methods import (
    errors_deg,
    everywhere,
    method_options,
    methods,
    model_names,
    models_of,
    transformer_parameters,
)
from report import ERROR_COLUMNS, error_summary, machine, percent, table

from napari_stem_orient.core.crystal import Crystal, load_crystal

FEWEST_DISKS = 2
COLUMNS = (
    "method",
    *ERROR_COLUMNS,
    "best candidate within 2°",
    "< 6 disks: within 2°",
    "20 or more: within 2°",
    "speed",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pattern_options(parser)
    parser.add_argument(
        "--kinematic", action="store_true", help="kinematic patterns instead of dynamical ones"
    )
    parser.add_argument(
        "--degraded",
        action="store_true",
        help="20 %% of the disks missing, two spurious, 0.01 1/Å position noise, 1 %% error of the scale",
    )
    method_options(parser, most_templates=0)
    arguments = parser.parse_args()
    crystal = load_crystal(arguments.crystal)
    patterns = known_patterns(
        crystal,
        arguments.patterns,
        seed=arguments.seed,
        kinematic=arguments.kinematic,
        cache=arguments.cache,
    )
    if arguments.degraded:
        patterns = degraded(patterns, seed=arguments.seed)
    print(
        f"{arguments.patterns:,} {'kinematic' if arguments.kinematic else 'Bloch-wave'} patterns of {crystal.name}"
        f"{', degraded' if arguments.degraded else ''}, median {np.median(patterns.n_disks):.0f} disks; "
        f"{model_names([crystal], arguments)}"
    )
    print(machine() + "\n")
    print(table(COLUMNS, accuracy_rows(patterns, crystal, arguments)))


def accuracy_rows(
    patterns: KnownPatterns, crystal: Crystal, arguments: argparse.Namespace
) -> list[list[object]]:
    """One row for each method."""
    few, many = patterns.n_disks < 6, patterns.n_disks >= 20
    variants = transformer_parameters(arguments, neighbours=False, min_disks=FEWEST_DISKS)
    rows: list[list[object]] = []
    for name, index in methods(arguments, min_disks=FEWEST_DISKS).items():
        best = "-"
        if name in variants:
            nearest = candidate_errors_deg(
                patterns.peaks,
                crystal,
                patterns.quaternion,
                parameters=variants[name],
                models=models_of(variants[name], arguments),
                device=arguments.device,
            )
            best = percent(nearest < 2)
        timed = index(patterns.peaks, [crystal], everywhere(patterns.peaks))
        errors = errors_deg(timed.result, patterns.quaternion)
        by_number = [percent(errors[subset] < 2, digits=0) for subset in (few, many)]
        rate = f"{len(errors) / timed.seconds:,.0f}/s"
        rows.append([name, *error_summary(errors), best, *by_number, rate])
    return rows


if __name__ == "__main__":
    main()
