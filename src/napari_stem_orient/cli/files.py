"""The files of a command: those it reads and those it writes, declared with its options and checked before it runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from napari_stem_orient.core.errors import UserError

Container: TypeAlias = argparse._ActionsContainer  # noqa: SLF001 - parsers and groups have no other name in common


class UsageError(UserError):
    """A command line that makes no sense; the message names the option and the fix."""


@dataclass(frozen=True, slots=True)
class OutputOption:
    """An option that names a file, or a folder, that the command writes.

    Parameters
    ----------
    option
        As the user writes it.
    replaces
        Kinds of files of this program (`own_files`) that it replaces without being asked.
    endings
        What the name may end in; anything where empty.
    names
        Of the files that are written, where the option names a folder.
    """

    option: str
    replaces: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def reads_file(container: Container, *names: str, **keywords: Any) -> None:
    """Add an option or a positional whose value may be a file, or a folder, that the command reads.

    A value that names no file, as that of a built-in crystal, is none.
    """
    action = container.add_argument(*names, **keywords)
    title = _title(action)
    container.set_defaults(reads={**(container.get_default("reads") or {}), action.dest: title})


def writes_file(
    container: Container,
    *names: str,
    replaces: tuple[str, ...] = (),
    endings: tuple[str, ...] = (),
    folder_of: tuple[str, ...] = (),
    **keywords: Any,
) -> None:
    """Add an option whose value is a file that the command writes; a folder where ``folder_of`` names its files."""
    declared: Mapping[str, OutputOption] | None = container.get_default("writes")
    action = container.add_argument(*names, type=Path, **keywords)
    output = OutputOption(_title(action), replaces, endings, folder_of)
    container.set_defaults(writes={**(declared or {}), action.dest: output})
    if declared is None:
        container.add_argument(
            "--overwrite",
            action="store_true",
            help="replace a file that is there already and that this program has not written; never one that is read",
        )


def check_files(arguments: argparse.Namespace) -> None:
    """Refuse a command that would write over what it reads, over its own output, or over a file of somebody else.

    Nothing has been opened for the job by then.

    Raises
    ------
    UsageError
        An output is an input, belongs to one, or is another output.
    FileExistsError
        An output is there and was not written by this program, without --overwrite.
    OSError
        An output cannot be written.
    """
    outputs = list(_outputs(arguments))
    for index, (output, path) in enumerate(outputs):
        refuse_inputs(arguments, path, option=output.option)
        for other, taken in outputs[:index]:
            _refuse_another_output(output, path, other, taken)
        for written in [path / name for name in output.names] or [path]:
            _check_place(output, path)
            _refuse_foreign(output, written, overwrite=arguments.overwrite)


def refuse_inputs(arguments: argparse.Namespace, path: Path, *, option: str) -> None:
    """Refuse to write to a file that the command reads, to a part of it, or into a folder that it reads."""
    from napari_stem_orient.io.scan_members import is_written_over, scan_members

    for title, source in _inputs(arguments):
        kept = is_written_over(path, scan_members(source))
        if kept is None:
            continue
        what = (
            f"is the file that is read ({title})" if kept == source else f"belongs to {source}, which is read"
        )
        if kept.is_dir():
            what = (
                f"lies in {kept}, which is read ({title})" if kept != path else what.replace("file", "folder")
            )
        raise UsageError(f"{option} {path} {what}, and would destroy it: give another name")


def check_output(path: Path, *, endings: tuple[str, ...] = ()) -> None:
    """Refuse an output that cannot be written before the work is done, not after."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to write {path.name} to; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{path.name} must end in {' or '.join(endings)}; name it {path.stem}{endings[0]}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"folder {folder} is read-only; choose another place for {path.name}")


def check_output_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written to before the work is done, not after."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; give the name of a folder")
    if not path.is_dir():
        check_output(path)
    elif not os.access(path, os.W_OK):
        raise PermissionError(f"folder {path} is read-only; choose another one")


def _check_place(output: OutputOption, path: Path) -> None:
    if output.names:
        check_output_folder(path)
    else:
        check_output(path, endings=output.endings)


def _refuse_another_output(output: OutputOption, path: Path, other: OutputOption, taken: Path) -> None:
    from napari_stem_orient.io.scan_members import is_same_file

    if is_same_file(path, taken):
        raise UsageError(
            f"{other.option} and {output.option} are the same file, {path}: give each its own name"
        )


def _refuse_foreign(output: OutputOption, path: Path, *, overwrite: bool) -> None:
    from napari_stem_orient.io.own_files import what_keeps_from_replacing

    what = "" if overwrite else what_keeps_from_replacing(path, output.replaces)
    if what:
        raise FileExistsError(
            f"{path} is there already and {what}: give {output.option} another name, or --overwrite"
        )


def _outputs(arguments: argparse.Namespace) -> Iterator[tuple[OutputOption, Path]]:
    declared: Mapping[str, OutputOption] = getattr(arguments, "writes", {})
    for dest, output in declared.items():
        for value in _values(getattr(arguments, dest, None)):
            yield output, Path(value)


def _inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Title and path of each file that is there to be read."""
    declared: Mapping[str, str] = getattr(arguments, "reads", {})
    for dest, title in declared.items():
        for value in _values(getattr(arguments, dest, None)):
            if Path(value).exists():
                yield title, Path(value)


def _values(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _title(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
