"""Long jobs of the command line: followed by a bar, told of in words, stopped with Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    from napari_stem_orient.core.progress import Record

ResultType = TypeVar("ResultType")
RecordType = TypeVar("RecordType", bound="Record")


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after what was done had been saved; the message says where."""


class PartlyDone(UserError):  # noqa: N818 - it says what is the matter
    """Some of several jobs have failed, and the others not: ``report`` says what came out."""

    def __init__(self, what: str, *, report: str) -> None:
        super().__init__(what, fix="see the errors above")
        self.report = report


def tell(text: str) -> None:
    """Show a line to the user, above the bar; what a program reads from the output stays clean of it."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def follow(
    job: Generator[RecordType, None, ResultType],
    title: str,
    arguments: argparse.Namespace,
    *,
    on_record: Callable[[RecordType], str | None],
) -> ResultType:
    """Run a job to its end with a progress bar; what ``on_record`` returns is shown beside it."""
    from tqdm import tqdm

    with tqdm(desc=title, disable=arguments.quiet, unit="", smoothing=0.1) as bar:
        unit = ""
        try:
            while True:
                record = next(job)
                if unit != record.progress.unit:
                    unit = record.progress.unit
                    bar.reset()  # each part of a job has a pace of its own, and what was done before it has none
                    bar.initial = bar.n = bar.last_print_n = record.progress.done
                bar.total, bar.unit = record.progress.total, f" {unit}"
                bar.update(record.progress.done - bar.n)
                note = on_record(record)
                if note:
                    bar.set_postfix_str(note)
        except StopIteration as finished:
            result: ResultType = finished.value
            return result
        finally:
            job.close()


def stopped(output: Path, done: int, total: int) -> Stopped:
    """What to end with once a result that is not whole has been saved."""
    return Stopped(f"stopped: {output} holds {done:,} of {total:,} positions; go on with --resume")


def save_or_keep(save: Callable[[Path], object], output: Path, what: str, *, n_done: int, kept: bool) -> None:
    """Save a result; where that fails, say where it is instead: hours of work are not lost to a full disk.

    Parameters
    ----------
    save
        Writes the result to a path.
    output, what
        Where it should be, and what it is called in the plural.
    n_done, kept
        Number of positions done, and whether a journal has all of them.

    Raises
    ------
    OSError
        The result is not in ``output``; the message says where it is, and what to do.
    """
    from napari_stem_orient.runs.run_journal import journal_folder

    try:
        save(output)
        return
    except OSError as error:
        if kept:
            raise OSError(
                f"{error}. All {n_done:,} positions are kept: repeat the command with --resume when that is mended"
            ) from error
        why = error
    for folder in (journal_folder(), Path(tempfile.gettempdir()), Path.home()):
        elsewhere = folder / f"{output.stem}-{uuid.uuid4().hex[:8]}.h5"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save(elsewhere)
        except OSError:
            continue
        raise OSError(f"{why}. The {what} are in {elsewhere} instead: move them from there") from why
    raise why
