"""The datasets of an HDF5 file, through links to other files, too; and the links that lead nowhere, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from napari_stem_orient.io.file_arrays import dataset_of, import_h5py

#: Groups within groups that are looked into.
_DEEPEST = 16


def walk_datasets(file: Any, broken: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """All datasets of an open file, with the paths that lead to them from there.

    Parameters
    ----------
    file
        Open h5py file.
    broken
        Takes the paths of links that lead nowhere, each with what is missing, in words.
    """
    yield from _walk(file, "", broken, ())


def _walk(group: Any, path: str, broken: dict[str, str], above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    h5py = import_h5py()
    here = _identity(group)
    if here in above or len(above) > _DEEPEST:  # a link to a group that this one lies in
        return
    for key in group:
        name = f"{path}/{key}".lstrip("/")
        try:
            item = dataset_of(group, key) if isinstance(group.get(key), h5py.Dataset) else group[key]
        except (KeyError, OSError, RuntimeError) as error:  # the last for links that lead to each other
            broken[name] = _where_it_leads(group, key, error)
            continue
        if isinstance(item, h5py.Dataset):
            yield name, item
        elif isinstance(item, h5py.Group):
            yield from _walk(item, name, broken, (*above, here))


def _identity(group: Any) -> tuple[Any, ...]:
    """What tells a group from all others, in whichever file it lies and by whatever path it was reached."""
    info = import_h5py().h5o.get_info(group.id)
    return group.file.filename, info.addr


def _where_it_leads(group: Any, key: str, error: Exception) -> str:
    """What a link that cannot be followed wants, and why it is not there."""
    h5py = import_h5py()
    link = group.get(key, getlink=True)
    if isinstance(link, h5py.SoftLink):
        return f"{link.path}, which is not in the file"
    if not isinstance(link, h5py.ExternalLink):
        return f"an object that cannot be read ({' '.join(str(error).split())[:80]})"
    folder = Path(group.file.filename).parent
    found = beside(folder, link.filename)
    if found is None:
        return missing_file(folder, link.filename)
    return f"{link.path} in {found.name}, {_not_there(found, link.path)}"


def _not_there(found: Path, inside: str) -> str:
    try:
        with import_h5py().File(found, "r") as file:
            return (
                "which cannot be read"
                if inside in file
                else f"which has no {inside}: it is another file of that name"
            )
    except OSError as error:
        return hdf5_trouble(error) or "which is damaged or no HDF5 file"


def beside(folder: Path, filename: str) -> Path | None:
    """The file that HDF5 finds by the name in a link or a virtual dataset; None where it finds none.

    As HDF5 does: a path as it stands; of a full path that is not there the bare name; from the folder of the file that
    refers to it, and from where the program runs. Anything else is read as zeros, though it may lie near by.
    """
    named = Path(filename)
    if named.is_absolute() and named.is_file():
        return named
    part = named.name if named.is_absolute() else named
    for place in (folder, folder.resolve(), Path.cwd()):
        if (place / part).is_file():
            return place / part
    return None


def missing_file(folder: Path, filename: str) -> str:
    """A file that HDF5 does not find, in words; where one of that name lies beside, where HDF5 looks for it."""
    bare = PureWindowsPath(filename).name  # knows both kinds of slashes
    if (folder / bare).is_file():
        return (
            f"{bare}, which lies beside but is looked for as {filename}: put it there, or open it by itself"
        )
    return f"{bare}, which is missing"


def hdf5_trouble(error: BaseException) -> str:
    """What keeps an HDF5 file from being opened, as the end of a sentence about it; empty for other errors."""
    text = " ".join(str(error).split()).lower()
    if "unable to lock file" in text or (isinstance(error, BlockingIOError) and "open file" in text):
        return "which is open for writing in another program: close it there, or wait until the recording is finished"
    if "already open for write" in text or "already open for swmr" in text or "consistency flags" in text:
        return (
            "which is still being written by another program, or was when that program crashed: wait until the "
            "recording is finished and close it there; if no program has it open, repair a copy with 'h5clear -s'"
        )
    if "unable to open external raw data file" in text:
        return "whose patterns lie in another file, which is missing"
    return ""
