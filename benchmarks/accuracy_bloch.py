"""Accuracy on dynamical patterns of random orientation: the transformer beside py4DSTEM, on the same peaks.

The patterns are simulated by py4DSTEM's Bloch-wave code, so the network
was not trained on them; the weights that choose among its candidates were fitted to others (another seed). Run
``python benchmarks/accuracy_bloch.py --patterns 1000``; template matching takes about 30 ms a pattern.
"""

from __future__ import annotations

import argparse

import numpy as np
from bloch_patterns import BlochPatterns, simulate_bloch_patterns
from report import ERROR_COLUMNS, error_summary, finish, machine, table

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.indexing.template_matching import (
    TemplateMatchingParameters,
    index_by_template_matching,
)


def errors_deg(bloch: BlochPatterns, orientation_map: object, crystal: Crystal) -> np.ndarray:
    """(n,) distance from the truth in degrees over all symmetric equivalents; NaN where not indexed."""
    angle = disorientation_angle_deg(bloch.quaternion, orientation_map.quaternion, crystal.proper_point_group)
    return np.where(orientation_map.indexed, angle, np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patterns", type=int, default=1000, help="number of patterns (default: 1000)")
    parser.add_argument("--crystal", default="Cu", help="built-in name or CIF (default: Cu)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--model", action="append", help="folder of a trained model (default: the shipped one)"
    )
    parser.add_argument("--only", choices=["transformer", "template"], help="leave the other method out")
    arguments = parser.parse_args()
    crystal = load_crystal(arguments.crystal)
    bloch = simulate_bloch_patterns(crystal, arguments.patterns, seed=arguments.seed)
    rows = []
    for name, make_job in jobs(bloch, crystal, arguments).items():
        timed = finish(make_job())
        errors = errors_deg(bloch, timed.result, crystal)
        few, many = bloch.n_disks < 6, bloch.n_disks >= 20
        by_number = [f"{100 * np.mean(errors[subset] < 2):.0f} %" for subset in (few, many)]
        rate = f"{arguments.patterns / timed.seconds:,.0f}/s"
        rows.append([name, *error_summary(errors), *by_number, rate])
    print(
        f"{arguments.patterns} Bloch-wave patterns of {crystal.name}, median {np.median(bloch.n_disks):.0f} disks"
    )
    print(machine() + "\n")
    header = ["method", *ERROR_COLUMNS, "< 6 disks: within 2°", "20 or more: within 2°", "speed"]
    print(table(header, rows))


def jobs(bloch: BlochPatterns, crystal: Crystal, arguments: argparse.Namespace) -> dict[str, object]:
    """Name of each method -> what makes its job."""
    found: dict[str, object] = {}
    if arguments.only != "template":
        from napari_stem_orient.indexing.index import IndexParameters, index_bragg_peaks

        for name, options in {
            "transformer, refined": {},
            "transformer, likeliest candidate, not refined": {"refine": False},
        }.items():
            parameters = IndexParameters(min_disks=2, **options)
            found[name] = lambda parameters=parameters: index_bragg_peaks(
                bloch.peaks,
                [crystal],
                parameters=parameters,
                models=arguments.model or (),
                device=arguments.device,
            )
    if arguments.only != "transformer":
        template = TemplateMatchingParameters(min_disks=2)
        found["py4DSTEM ACOM 2°/2°"] = lambda: index_by_template_matching(
            bloch.peaks, [crystal], parameters=template
        )
    return found


if __name__ == "__main__":
    main()
