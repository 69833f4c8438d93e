"""The command line: the jobs of the desk without a window, over the same generators, with a progress bar.

Exit codes: 0 success, 1 an error (one line that names the fix), 2 a command line that makes no sense, 130
stopped by Ctrl-C (what was done by then is saved). Heavy libraries are imported by the command that
needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from napari_stem_orient._version import __version__
from napari_stem_orient.cli.calibrate import (
    calibrate_options,
    run_calibrate,
    run_sensitivity,
    sensitivity_options,
)
from napari_stem_orient.cli.demo import demo_options, run_demo
from napari_stem_orient.cli.detect import detect_options, run_detect
from napari_stem_orient.cli.export import export_options, run_export
from napari_stem_orient.cli.files import UsageError, check_files
from napari_stem_orient.cli.index import index_options, run_index
from napari_stem_orient.cli.info import info_options, run_info
from napari_stem_orient.cli.jobs import PartlyDone
from napari_stem_orient.cli.options import PROGRAM, one_line
from napari_stem_orient.cli.recipe import recipe_options, run_recipe
from napari_stem_orient.cli.run import run_options, run_run
from napari_stem_orient.cli.train import run_train, train_options
from napari_stem_orient.cli.virtual import run_virtual, virtual_options

ERROR, USAGE, STOPPED = 1, 2, 130
EXPECTED_ERRORS = (ValueError, OSError, IndexError, KeyError, ImportError, MemoryError, RuntimeError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with _quiet_where_nobody_reads():
        return _run(argv)
    return 0  # what there was to say was said, and only the end of it not read


@contextlib.contextmanager
def _quiet_where_nobody_reads() -> Iterator[None]:
    """End without a word where the output goes to a program that has read enough, as in "info scan.h5 | head"."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _let_output_go()
    except OSError as error:
        if sys.platform != "win32" or error.errno != errno.EINVAL:  # what Windows says instead
            raise
        _let_output_go()


def _let_output_go() -> None:
    """Send what is left nowhere: the interpreter flushes once more when it ends, and would complain then."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    parser = build_parser(command)
    arguments = parser.parse_args(words)
    try:
        check_files(arguments)
        print(arguments.run(arguments))
    except UsageError as error:
        parser.error(one_line(error))
    except PartlyDone as some:
        print(some.report)
        return _fail(f"error: {one_line(some)}", ERROR)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped; nothing was saved", STOPPED)
    except BrokenPipeError:
        raise
    except EXPECTED_ERRORS as error:
        if arguments.debug:
            raise
        return _fail(f"error: {one_line(error)}", ERROR)
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all the others."""

    def error(self, message: str) -> NoReturn:
        """End with what is wrong and where the options are listed."""
        self.exit(USAGE, f"{PROGRAM}: error: {message} ('{self.prog} --help' lists the options)\n")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; the options of one command only, because those of the others cost seconds of imports."""
    parser = _Parser(
        prog=PROGRAM,
        description="Crystal orientation and phase maps from 4D-STEM scans.",
        epilog=f"'{PROGRAM} COMMAND --help' lists the options of a command.",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from (bug reports)")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (help_text, add_options, run) in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=help_text, description=f"{help_text[:1].upper()}{help_text[1:]}."
        )
        subparser.set_defaults(run=run)
        if name == command:
            add_options(subparser)
    return parser


def _fail(message: str, code: int) -> int:
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return code


COMMANDS: dict[
    str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], str]]
] = {
    "info": (
        "say what a file holds and what is missing to index it, or list the models",
        info_options,
        run_info,
    ),
    "detect": ("detect the Bragg disks of a scan", detect_options, run_detect),
    "calibrate": ("fit origin, ellipse and pixel size to Bragg peaks", calibrate_options, run_calibrate),
    "index": ("index a scan or Bragg peaks: orientation and phase maps", index_options, run_index),
    "sensitivity": (
        "say what an error of the pixel size would do to a map",
        sensitivity_options,
        run_sensitivity,
    ),
    "virtual": ("make images of virtual detectors, or the pattern of a region", virtual_options, run_virtual),
    "train": ("train a model for crystals of your own", train_options, run_train),
    "run": ("repeat a recipe with one scan or many", run_options, run_run),
    "recipe": ("print the recipe that a result was made with", recipe_options, run_recipe),
    "export": ("write a map as .ang, .csv or a picture", export_options, run_export),
    "demo": ("open a simulated scan in napari and index it", demo_options, run_demo),
}
"""Name of each command -> what it does, its options, and what runs it."""
