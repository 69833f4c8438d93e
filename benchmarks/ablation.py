"""What each augmentation of the training patterns is worth: one model, trained on for some minutes without it.

All runs begin with the same model (the shipped one, or ``--start FOLDER``) and its parameters, and go on for as many
minutes; in each but the first one augmentation is switched off. The models are compared on Bloch-wave patterns by
py4DSTEM as in accuracy_bloch.py, as they are and degraded: "proposed" is the part of the patterns for which one of the
candidates is within 5° of the truth before refinement, "chosen" the part for which the refined candidate that is chosen
is within 2°. The choice between the candidates is the same for all models.

    python benchmarks/ablation.py --minutes 3 --cache bloch.npz
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bloch_patterns import known_patterns
from candidate_errors import chosen_errors_deg, proposal_errors_deg
from known_patterns import KnownPatterns, degraded, pattern_options
from report import machine, percent, table
from short_training import KeptLibraries, folder_of_model, parameters_of_model, train_briefly

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.transformer.model_folder import read_card
from napari_stem_orient.transformer.training_parameters import TrainingParameters

COLUMNS = (
    "trained on with",
    "thousand patterns",
    "proposed",
    "chosen",
    "degraded: proposed",
    "degraded: chosen",
)

#: What is left out -> fields of the augmentation that switch it off.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "missing disks": {"missing": 0.0},
    "spurious disks": {"spurious": 0},
    "position noise": {"position_noise": 0.0},
    "intensity noise": {"intensity_noise": 0.0},
    "errors of pixel size and ellipse": {"scale_error": 0.0, "ellipticity": 0.0},
    "error of the origin": {"origin_error": 0.0},
    "second grain": {"mixed": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of each training (default: 3)")
    parser.add_argument(
        "--steps", type=int, help="train for as many steps instead: fairer where the computer has other work"
    )
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="model to begin with (default: shipped)")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="highest (default: 5e-4)")
    pattern_options(parser)
    parser.add_argument("--device", default="auto", help="of the training (default: auto)")
    parser.add_argument("--only", nargs="+", help="only these rows, by the words that they begin with")
    arguments = parser.parse_args()
    crystal = load_crystal(arguments.crystal)
    clean = known_patterns(crystal, arguments.patterns, seed=arguments.seed, cache=arguments.cache)
    tests = [clean, degraded(clean, seed=arguments.seed)]
    start = folder_of_model(crystal, arguments.start)
    parameters = parameters_of_model(start, minutes=arguments.minutes, learning_rate=arguments.learning_rate)
    if arguments.steps is not None:
        parameters = parameters.model_copy(update={"steps": arguments.steps, "minutes": None})
    libraries = KeptLibraries()
    rows = [["nothing: the model that all begin with", "-", *_cells(start, crystal, tests)]]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, changed) in enumerate(_variants(parameters, only=arguments.only).items()):
            output = Path(folder) / str(number)
            train_briefly(
                [crystal],
                changed,
                output,
                libraries=libraries,
                device=arguments.device,
                start_from=start,
            )
            seen = f"{read_card(output).training['patterns'] / 1e3:,.0f}"
            rows.append([name, seen, *_cells(output, crystal, tests)])
            print(f"{name}: {', '.join(rows[-1][1:])}", flush=True)
    length = f"{arguments.minutes:g} minutes" if arguments.steps is None else f"{arguments.steps:,} steps"
    print(f"\n{arguments.patterns:,} Bloch-wave patterns of {crystal.name}; {length} each\n{machine()}\n")
    print(table(COLUMNS, rows))


def _variants(parameters: TrainingParameters, *, only: list[str] | None) -> dict[str, TrainingParameters]:
    """Name of each row -> its parameters: everything, then one thing less each time."""
    found = {"everything": parameters}
    for name, fields in AUGMENTATIONS.items():
        augmentation = parameters.augmentation.model_copy(update=fields)
        found[f"no {name}"] = parameters.model_copy(update={"augmentation": augmentation})
    lowest = parameters.augmentation.threshold_low
    found["one detection threshold"] = parameters.model_copy(
        update={"augmentation": parameters.augmentation.model_copy(update={"threshold_high": lowest})}
    )
    found["one q limit"] = parameters.model_copy(
        update={"q_max_low_inv_angstrom": parameters.q_max_high_inv_angstrom}
    )
    for simulation, part in (("dynamical", 0.0), ("kinematic", parameters.kinematic_part)):
        found[f"{simulation} patterns only"] = parameters.model_copy(
            update={"simulation": simulation, "kinematic_part": part}
        )
    if only:
        found = {name: one for name, one in found.items() if name.startswith(tuple(only))}
    return found


def _cells(model: Path, crystal: Crystal, tests: list[KnownPatterns]) -> list[str]:
    """Proposed within 5° and chosen within 2° of each set of patterns."""
    cells = []
    for patterns in tests:
        proposed = proposal_errors_deg(patterns, crystal, models=[model])
        chosen = chosen_errors_deg(patterns, crystal, models=[model])
        cells += [percent(proposed < 5), percent(chosen < 2)]
    return cells


if __name__ == "__main__":
    main()
