"""The command that trains a model: from crystals, or on from a checkpoint, to a model folder and its report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.files import (
    UsageError,
    check_output_folder,
    reads_file,
    refuse_inputs,
    writes_file,
)
from napari_stem_orient.cli.jobs import Stopped, follow
from napari_stem_orient.cli.options import (
    add_model_options,
    build_model,
    checked,
    given_values,
    job_options,
    load_crystals,
    one_line,
)
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.runs.training_task import NEAREST, NOTHING

if TYPE_CHECKING:
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.runs.training_task import TrainingTask
    from napari_stem_orient.steps.train import TrainChoice
    from napari_stem_orient.transformer.checkpoint import TrainingSettings
    from napari_stem_orient.transformer.preparation import PreparationProgress
    from napari_stem_orient.transformer.training_run import TrainingProgress

MODEL_FILES = ("config.json", "report.md")
"""What a training writes into its folder under names that others give their files, too."""


def train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_train`."""
    from napari_stem_orient.io.own_files import MODEL
    from napari_stem_orient.transformer.training_parameters import TrainingParameters

    reads_file(
        parser,
        "--crystal",
        action="append",
        metavar="NAME_OR_CIF",
        help="a built-in crystal or a CIF; may be given again for more phases of the same model",
    )
    reads_file(
        parser,
        "--member",
        action="append",
        metavar="NAME_OR_CIF",
        help="a further crystal of the same structure type to learn from; makes --whole-structure-type a matter of "
        "course",
    )
    parser.add_argument(
        "--whole-structure-type",
        action="store_true",
        help="the model is for every crystal of the crystal's structure type (fcc, bcc, ...), not for it alone",
    )
    writes_file(
        parser,
        "--output",
        replaces=(MODEL,),  # whether a model may go is asked for by --start-over
        folder_of=MODEL_FILES,
        metavar="FOLDER",
        help="model folder to write. Default: one named after the crystals among the user's models, where it is found "
        "without being named.",
    )
    parser.add_argument("--name", help="the model's name; that of the folder where none is given")
    reads_file(
        parser,
        "--start-from",
        default=NEAREST,
        metavar="FOLDER",
        help="model folder to start from; 'none': random weights. Default: the nearest shipped model.",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the stopped training in the output folder"
    )
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="let a stopped training, or the model, in the output folder go",
    )
    job_options(parser)
    add_model_options(parser, TrainingParameters, title="training parameters")


def run_train(arguments: argparse.Namespace) -> str:
    """Train a model for some crystals on simulated patterns, write its folder and say how good it is."""
    from napari_stem_orient.runs.training_task import training_job
    from napari_stem_orient.transformer.checkpoint import has_checkpoint

    task = _resumed_task(arguments) if arguments.resume else _new_task(arguments)
    try:
        result = follow(training_job(task), "Training", arguments, on_record=_note)
    except KeyboardInterrupt:
        if not has_checkpoint(task.output):
            raise Stopped("stopped before anything was learned") from None
        again = f"napari-stem-orient train --resume --output {task.output}"
        raise Stopped(f"stopped: {task.output} holds what was learned; go on with: {again}") from None
    return f"{result.report}\n{result.folder}: model written"


def train_choice(arguments: argparse.Namespace, crystals: tuple[Crystal, ...]) -> TrainChoice:
    """What the options choose, with the crystals loaded."""
    from napari_stem_orient.steps.crystals import CrystalChoice
    from napari_stem_orient.steps.train import TrainChoice
    from napari_stem_orient.transformer.training_parameters import TrainingParameters

    build_model(arguments, TrainingParameters)  # what is out of bounds is named by its option
    values = {
        "crystals": tuple(CrystalChoice.of(crystal) for crystal in crystals),
        "whole_structure_type": arguments.whole_structure_type or bool(arguments.member),
        "name": arguments.name or "",
        "start_from": arguments.start_from,
        "parameters": given_values(arguments, TrainingParameters),
        "device": arguments.device,
    }
    return checked(TrainChoice, values)


def _note(progress: TrainingProgress | PreparationProgress) -> str:
    """What is shown beside the bar."""
    from napari_stem_orient.transformer.preparation import PreparationProgress

    if isinstance(progress, PreparationProgress):
        return progress.text[:1].lower() + progress.text[1:]
    if progress.notice:
        return progress.notice
    lowest = progress.lowest_held_out_deg
    held_out = "" if lowest is None else f", held out {lowest:.2f}°"
    best = f"best candidate off by {progress.best_error_deg:.2f}°"
    return f"{progress.part.value}, loss {progress.loss:.3f}, {best}{held_out}"


def _new_task(arguments: argparse.Namespace) -> TrainingTask:
    from napari_stem_orient.runs.training_task import check_task
    from napari_stem_orient.steps.train import new_training
    from napari_stem_orient.transformer.training import common_structure_type
    from napari_stem_orient.transformer.training_checks import model_in

    if not arguments.crystal:
        raise UsageError("--crystal is needed: name a crystal or a CIF, or go on with a training by --resume")
    if arguments.member and len(arguments.crystal) > 1:
        raise UsageError("--member belongs to one --crystal: train a model for each structure type")
    crystals = load_crystals((*arguments.crystal, *(arguments.member or ())))
    choice = train_choice(arguments, crystals)
    if choice.whole_structure_type:
        try:
            common_structure_type(crystals)
        except ValueError as error:
            raise UsageError(f"--whole-structure-type: {one_line(error)}") from error
    output = _output(arguments, "-".join(crystal.name for crystal in crystals))
    over = arguments.start_over
    task = new_training(
        choice, output, crystals=crystals, replaces=model_in(output) if over else None, discards=over
    )
    try:
        check_task(task)
    except UserError as error:
        raise UsageError(one_line(error)) from error
    return task


def _resumed_task(arguments: argparse.Namespace) -> TrainingTask:
    """The training of a checkpoint; options that were given again must be the same as then."""
    from napari_stem_orient.steps.train import resumed_training
    from napari_stem_orient.transformer.checkpoint import read_checkpoint

    if arguments.output is None and not arguments.crystal:
        raise UsageError("--resume needs the folder of the training: give --output")
    named = load_crystals((*(arguments.crystal or ()), *(arguments.member or ())))
    output = _output(arguments, "-".join(crystal.name for crystal in named))
    earlier = read_checkpoint(output).settings
    _refuse_contradictions(arguments, earlier, named)
    return resumed_training(train_choice(arguments, named), output, crystals=named)


def _refuse_contradictions(
    arguments: argparse.Namespace, earlier: TrainingSettings, named: tuple[Crystal, ...]
) -> None:
    """Refuse options of a training that is gone on with where they say another thing than when it was begun."""
    if arguments.start_over:
        raise UsageError(
            "--resume goes on with a stopped training, --start-over lets it go: leave one of them out"
        )
    begun_for = ", ".join(crystal.name for crystal in earlier.crystals)
    others = [crystal.fingerprint for crystal in named] != [
        crystal.fingerprint for crystal in earlier.crystals
    ]
    start = NOTHING if earlier.start_from is None else earlier.start_from
    wanted = Path(arguments.start_from).name
    for option, differs, begun in (
        ("--crystal", bool(named) and others, f"for {begun_for}"),
        ("--name", arguments.name not in (None, earlier.name), f"as {earlier.name}"),
        ("--start-from", wanted not in (NEAREST, start), f"with --start-from {start}"),
        (
            "--whole-structure-type",
            arguments.whole_structure_type and earlier.structure_type is None,
            "for its crystals alone",
        ),
    ):
        if differs:
            raise UsageError(f"{option} has no effect on a training that was begun {begun}: leave it out")


def _output(arguments: argparse.Namespace, name: str) -> Path:
    """The folder to write, checked before the work is done."""
    from napari_stem_orient.transformer.model_folder import models_home

    if arguments.output is not None:
        output: Path = arguments.output
    else:
        models_home().mkdir(parents=True, exist_ok=True)
        output = models_home() / (arguments.name or name)
        refuse_inputs(arguments, output, option="the model's folder")
        check_output_folder(output)
    return output
