"""The command run: a recipe with one scan or fifty; what came out is a table, and one that fails stops no other."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.files import UsageError, reads_file, refuse_inputs, writes_file
from napari_stem_orient.cli.jobs import PartlyDone, Stopped, follow, tell
from napari_stem_orient.cli.one_scan import SPARE, ScanTask, error_in_words

if TYPE_CHECKING:
    from napari_stem_orient.core.progress import Record
    from napari_stem_orient.runs.executor import Ended, Silence
    from napari_stem_orient.steps.recipe import Recipe
    from napari_stem_orient.steps.replay import StepStarted
    from napari_stem_orient.steps.run_table import ScanRow

MODULE = "napari_stem_orient.cli.one_scan"


def run_options(parser: argparse.ArgumentParser) -> None:
    """Which recipe, which scans, and how many at a time."""
    from napari_stem_orient.io.own_files import RUN_TABLE
    from napari_stem_orient.steps.run_table import TABLE_NAME

    reads_file(
        parser,
        "recipe",
        type=Path,
        metavar="RECIPE.yaml",
        help="a recipe that the window or 'napari-stem-orient recipe' has saved, or a map or peaks that hold one",
    )
    reads_file(
        parser, "scans", type=Path, nargs="+", metavar="SCAN", help="4D-STEM scans of any supported format"
    )
    writes_file(
        parser,
        "--output",
        folder_of=(TABLE_NAME,),
        replaces=(RUN_TABLE,),
        required=True,
        metavar="FOLDER",
        help=f"folder for NAME_peaks.h5 and NAME_map.h5 of each scan, and {TABLE_NAME}",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="so many scans at a time, each in a process of its own; they share the processor's cores. Default: 1.",
    )
    parser.add_argument(
        "--continue",
        dest="go_on",
        action="store_true",
        help="leave out the scans whose results are there, made by this recipe, and go on where a run broke off",
    )
    parser.add_argument(
        "--set",
        dest="values",
        action="append",
        default=[],
        metavar="STEP.FIELD=VALUE",
        help="another value than the recipe's: detect.parameters.edge_px=4; may be given again",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run_run(arguments: argparse.Namespace) -> str:
    """Repeat a recipe with every scan, and say what came out."""
    from napari_stem_orient.steps.recipe_text import open_recipe
    from napari_stem_orient.steps.replay import prepared
    from napari_stem_orient.steps.run_table import TABLE_NAME, as_text

    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: give 1 or more")
    recipe = open_recipe(arguments.recipe)
    recipe = _with_values(recipe, arguments.values)
    ready = prepared(recipe)
    for doubt in ready.doubts:
        tell(f"{doubt}. The maps may be wrong: compare one with template matching, or look at some patterns")
    tasks = _tasks(arguments, ready.recipe)
    arguments.output.mkdir(exist_ok=True)
    run = _Run(tasks, arguments.output / TABLE_NAME, overwrite=arguments.overwrite)
    left = [task for task in tasks if not run.took_earlier(task, go_on=arguments.go_on)]
    try:
        if arguments.jobs == 1:
            for task in left:
                run.take(_done_here(task, arguments))
        else:
            _in_processes(left, arguments, run)
    except KeyboardInterrupt:
        done = len(run.rows)
        raise Stopped(f"stopped: {done:,} of {len(tasks):,} scans are done; go on with --continue") from None
    failed = [row for row in run.in_order() if row.state == "failed"]
    report = f"{as_text(run.in_order())}\n{run.table}"
    if failed:
        raise PartlyDone(f"{len(failed):,} of {len(tasks):,} scans failed", report=report)
    return report


class _Run:
    """The rows of a run as they come, each in the table at once."""

    def __init__(self, tasks: list[ScanTask], table: Path, *, overwrite: bool) -> None:
        self.rows: dict[Path, ScanRow] = {}
        self.table = table
        self._overwrite = overwrite
        self._scans = [task.scan for task in tasks]

    def in_order(self) -> list[ScanRow]:
        """The rows in the order of the scans."""
        return [self.rows[scan] for scan in self._scans if scan in self.rows]

    def take(self, row: ScanRow) -> None:
        """Take a row, and tell of it."""
        from napari_stem_orient.steps.run_table import save_table

        self.rows[Path(row.scan)] = row
        save_table(self.in_order(), self.table, overwrite=self._overwrite)
        what = row.error if row.state == "failed" else _in_short(row)
        tell(f"{row.name}: {row.state}{', ' + what if what else ''}")

    def took_earlier(self, task: ScanTask, *, go_on: bool) -> bool:
        """Whether a scan needs nothing done: the same recipe has made its results, or something is in their way."""
        from napari_stem_orient.steps.replay import made_before
        from napari_stem_orient.steps.run_table import ScanRow

        if not go_on or not task.outputs.last.exists():
            return False
        try:
            made = made_before(task.recipe, task.scan, task.outputs)
        except SPARE as error:
            if task.overwrite:
                return False
            self.take(ScanRow.failed(error_in_words(error), scan=task.scan, name=task.name))
            return True
        self.take(ScanRow.of(made, scan=task.scan, name=task.name, state="done before"))
        return True


def _in_short(row: ScanRow) -> str:
    if row.indexed_percent is None:
        return "" if row.disks_per_pattern is None else f"{row.disks_per_pattern:.1f} disks a pattern"
    return f"{row.indexed_percent:.1f} % of {row.positions:,} positions indexed"


def _with_values(recipe: Recipe, values: list[str]) -> Recipe:
    """The recipe with the values of --set, whose files are named from the working folder."""
    from napari_stem_orient.steps.recipe import RecipeError, with_paths

    try:
        changed = recipe.with_values(values)
    except RecipeError as error:
        raise UsageError(f"--set {error}") from error
    return with_paths(changed, lambda path: path.absolute())


def _tasks(arguments: argparse.Namespace, recipe: Recipe) -> list[ScanTask]:
    """One task a scan; refused where a result would be written over something that it must not be."""
    from napari_stem_orient.steps.recipe import with_paths
    from napari_stem_orient.steps.replay import Outputs
    from napari_stem_orient.steps.run_table import result_names

    named: list[Path] = []
    with_paths(recipe, lambda path: named.append(path) or path)  # type: ignore[func-returns-value]
    arguments.named_in_recipe = named
    arguments.reads = {**arguments.reads, "named_in_recipe": "named in the recipe"}
    scans = list(dict.fromkeys(path.absolute() for path in arguments.scans))
    tasks = []
    for scan, name in result_names(scans).items():
        outputs = Outputs.of(recipe, arguments.output.absolute(), name)
        tasks.append(ScanTask(recipe, scan, name, outputs, arguments.go_on, arguments.overwrite))
    for task in tasks:
        for path in task.outputs.paths:
            refuse_inputs(arguments, path, option="--output")
    _refuse_replaced(tasks)
    return tasks


def _refuse_replaced(tasks: list[ScanTask]) -> None:
    """Refuse to replace results without being asked: hours of work may be in them."""
    from napari_stem_orient.io.own_files import EXPORT, MAP, PEAKS, TABLE, kind_of_own_file

    there = [path for task in tasks if not task.overwrite for path in task.outputs.paths if path.exists()]
    foreign = next(
        (path for path in there if kind_of_own_file(path) not in (MAP, PEAKS, EXPORT, TABLE)), None
    )
    if foreign is not None:
        raise FileExistsError(
            f"{foreign} is there already and is no result of this program: give --output another folder, or --overwrite"
        )
    if there and not tasks[0].go_on:
        raise FileExistsError(
            f"{there[0]} is there already{f', and {len(there) - 1:,} more' if there[1:] else ''}: --continue keeps "
            "what this recipe has made, --overwrite does all anew, or give --output another folder"
        )


def _done_here(task: ScanTask, arguments: argparse.Namespace) -> ScanRow:
    """Do one scan in this process, with a bar."""
    from napari_stem_orient.steps.replay import StepStarted
    from napari_stem_orient.steps.run_table import ScanRow

    step = [""]

    def note(record: StepStarted | Record) -> str:
        if isinstance(record, StepStarted):
            step[0] = record.step
        return step[0]

    began = time.monotonic()
    try:
        made = follow(task.job(), task.name, arguments, on_record=note)
    except SPARE as error:
        if arguments.debug:
            raise
        return ScanRow.failed(error_in_words(error), scan=task.scan, name=task.name)
    row = ScanRow.of(made, scan=task.scan, name=task.name)
    return replace(row, seconds=time.monotonic() - began)


def _in_processes(tasks: list[ScanTask], arguments: argparse.Namespace, run: _Run) -> None:
    """Do several scans at a time."""
    from napari_stem_orient.runs.executor import run_in_processes

    with tempfile.TemporaryDirectory(prefix="stem-orient-run-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for number, task in enumerate(tasks):
            (folder / f"task-{number}.json").write_text(json.dumps(task.to_data()), encoding="utf-8")
        commands = [
            (MODULE, str(folder / f"task-{number}.json"), str(folder / f"row-{number}.json"))
            for number in range(len(tasks))
        ]
        job = run_in_processes(commands, at_once=min(arguments.jobs, len(tasks)))
        follow(job, "Scans", arguments, on_record=_taker(tasks, folder, run))


def _taker(tasks: list[ScanTask], folder: Path, run: _Run) -> Callable[[Ended | Silence], None]:
    from napari_stem_orient.runs.executor import Silence
    from napari_stem_orient.steps.run_table import ScanRow

    def take(record: Ended | Silence) -> None:
        if isinstance(record, Silence):
            return
        task, found = tasks[record.number], folder / f"row-{record.number}.json"
        if found.exists():
            run.take(ScanRow.from_data(json.loads(found.read_text(encoding="utf-8"))))
            return
        why = record.said.splitlines()[-1] if record.said else ""
        crash = f"its process has ended with code {record.code}{': ' + why if why else ''}; is there enough memory?"
        run.take(ScanRow.failed(crash, scan=task.scan, name=task.name))

    return take
