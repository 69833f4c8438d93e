"""ScanTask: one scan of a run; as a program (task file, row file) it does that scan in a process of its own."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.cli.options import one_line
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.steps.recipe import Recipe
from napari_stem_orient.steps.replay import Outputs, replay
from napari_stem_orient.steps.run_table import ScanRow

if TYPE_CHECKING:
    from napari_stem_orient.core.progress import Record
    from napari_stem_orient.steps.replay import Replayed, StepStarted

#: What one scan may fail with, while the others go on: anything, but that the user stops.
SPARE = (Exception,)


@dataclass(frozen=True, slots=True)
class ScanTask:
    """One scan of a run: what is done with it, where the results go, and what may be replaced."""

    recipe: Recipe
    scan: Path
    name: str
    outputs: Outputs
    go_on: bool
    overwrite: bool

    def job(self) -> Generator[StepStarted | Record, None, Replayed]:
        """Do it."""
        return replay(self.recipe, self.scan, self.outputs, go_on=self.go_on, overwrite=self.overwrite)

    def to_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "recipe": self.recipe.to_data(),
            "scan": str(self.scan),
            "name": self.name,
            "folder": str(self.outputs.peaks.parent),
            "go_on": self.go_on,
            "overwrite": self.overwrite,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ScanTask:
        """The task of what `to_data` gives."""
        recipe = Recipe.from_data(data["recipe"])
        outputs = Outputs.of(recipe, Path(data["folder"]), data["name"])
        return cls(recipe, Path(data["scan"]), data["name"], outputs, data["go_on"], data["overwrite"])


def error_in_words(error: BaseException) -> str:
    """An error in one line; one that nobody expected with its kind."""
    expected = (ValueError, OSError, IndexError, KeyError, ImportError, MemoryError, RuntimeError)
    return (
        one_line(error)
        if isinstance(error, expected)
        else f"unexpected {type(error).__name__}: {one_line(error)}"
    )


def main(arguments: Sequence[str]) -> int:
    """Do the scan of a task file, and write its row."""
    task_file, row_file = map(Path, arguments)
    task = ScanTask.from_data(json.loads(task_file.read_text(encoding="utf-8")))
    began = time.monotonic()
    try:
        row = ScanRow.of(result_of(task.job()), scan=task.scan, name=task.name)
        row = replace(row, seconds=time.monotonic() - began)
    except KeyboardInterrupt:
        return 130
    except SPARE as error:
        traceback.print_exc()
        row = ScanRow.failed(error_in_words(error), scan=task.scan, name=task.name)
    half = row_file.with_suffix(".part")
    half.write_text(json.dumps(row.as_data()), encoding="utf-8")
    half.replace(row_file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
