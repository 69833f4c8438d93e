"""Virtual HDF5 datasets without an end: of sources that grow, or of one numbered file after the other ("scan_%b.h5").

HDF5 ends such a dataset at the first file that it does not find, and reads what a source has not (yet) as zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"%[%b]")
_UNLIMITED = 2**64 - 1
#: Datasets of a numbered series within one file that may be missing in a row.
_LARGEST_GAP = 1000

Slab = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class SourcePart:
    """One source of an endless mapping.

    Parameters
    ----------
    file_name, dset_name
        Of the source.
    covered
        Bool, of the shape without the detector's axes: the positions that the source is to fill.
    along
        The axis without an end, where it is the source that grows; None for one file of a series.
    """

    file_name: str
    dset_name: str
    covered: NDArray[np.bool_]
    along: int | None

    def beyond(self, n_there: int) -> NDArray[np.bool_]:
        """The positions that are behind the end of a source of ``n_there`` patterns (or rows) along its axis."""
        if self.along is None:
            return np.zeros_like(self.covered)
        others = tuple(axis for axis in range(self.covered.ndim) if axis != self.along)
        lines = np.flatnonzero(self.covered.any(axis=others))
        late = np.zeros(self.covered.shape[self.along], dtype=bool)
        late[lines[n_there:]] = True
        shape = [1] * self.covered.ndim
        shape[self.along] = len(late)
        return np.asarray(self.covered & late.reshape(shape), dtype=np.bool_)


def is_series(name: str) -> bool:
    """Whether a name in a virtual dataset stands for many: "scan_%b.h5"."""
    return "%b" in _NUMBER.findall(name)


def numbered(name: str, number: int) -> str:
    """The name of one source of a series, counted from 0."""
    return _NUMBER.sub(lambda found: str(number) if found[0] == "%b" else "%", name)


def series_names(name: str, folder: Path) -> list[str]:
    """The files that a name stands for: itself, or those of a series up to the one behind the last that is there."""
    if not is_series(name):
        return [name]
    return [numbered(name, number) for number in range(_last_number(name, folder) + 2)]


def endless_axis(space: Any) -> int | None:
    """The axis along which a selection has no end; None where it has one."""
    from h5py import h5s

    if space.get_select_type() != h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    _, _, count, block = space.get_regular_hyperslab()
    endless = [axis for axis, sizes in enumerate(zip(count, block, strict=True)) if _UNLIMITED in sizes]
    return endless[0] if endless else None


def endless_parts(mapping: Any, shape: tuple[int, ...], axis: int) -> Iterator[SourcePart]:
    """The sources of a mapping without an end in a dataset that is ``shape`` as far as HDF5 sees it."""
    slab: Slab = mapping.vspace.get_regular_hyperslab()
    leading = shape[:-2]
    if axis >= len(leading):  # the detector's pixels grow: nothing is missing of any position
        return
    if not (is_series(mapping.file_name) or is_series(mapping.dset_name)):
        yield SourcePart(mapping.file_name, mapping.dset_name, _covered(slab, leading), axis)
        return
    start, stride = int(slab[0][axis]), int(slab[1][axis])
    for number in range(-(-max(0, leading[axis] - start) // stride)):
        yield SourcePart(
            numbered(mapping.file_name, number),
            numbered(mapping.dset_name, number),
            _covered(slab, leading, only={axis: number}),
            None,
        )


def largest_gap(sources: list[Any], folder: Path) -> int:
    """How many sources of a series may be missing before one that is there; 0 where no source is a series."""
    gaps = [0]
    for source in sources:
        if is_series(source.file_name):
            gaps.append(_last_number(source.file_name, folder) + 1)
        elif is_series(source.dset_name):
            gaps.append(_LARGEST_GAP)
    return max(gaps)


def _last_number(name: str, folder: Path) -> int:
    """The largest number that a file of a series has, where HDF5 looks for it; -1 without any."""
    named = Path(name)
    written = "".join(
        r"(\d+)" if part == "%b" else re.escape(part.replace("%%", "%"))
        for part in re.split(r"(%[%b])", named.name)
    )
    pattern, found = re.compile(written + "$"), [-1]
    places = [named.parent] if named.is_absolute() else []
    part = Path() if named.is_absolute() else named.parent
    for place in (*places, folder / part, Path.cwd() / part):
        names = (each.name for each in place.iterdir()) if place.is_dir() else ()
        found += [int(match[1]) for match in map(pattern.match, names) if match and match.groups()]
    return max(found)


def _covered(
    slab: Slab, leading: tuple[int, ...], *, only: dict[int, int] | None = None
) -> NDArray[np.bool_]:
    """Positions of a regular selection, as far as the dataset goes; ``only`` the block of a number along an axis."""
    covered = np.ones(leading, dtype=bool)
    for axis, size in enumerate(leading):
        start, stride, count, block = (int(each[axis]) for each in slab)
        index = np.arange(size) - start
        number, within = np.divmod(index, max(1, stride))
        along = (
            (index >= 0) & (number < count) & (within < block)
            if count > 1
            else (index >= 0) & (index < block)
        )
        if only is not None and axis in only:
            along &= number == only[axis]
        covered &= along.reshape([-1 if each == axis else 1 for each in range(len(leading))])
    return covered
