"""From an array as it lies in a file to a scan: (scan_y, scan_x, det_y, det_x), or why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.datacube import chunked_by_pattern, scan_shape_proposals, stack_to_scan
from napari_stem_orient.core.frames import FrameChoice, FramesDoNotFit, choose_frames, position_ranges
from napari_stem_orient.core.scan_reading import FramesInFile
from napari_stem_orient.io.scan_source import (
    MissingData,
    NeedsScanShape,
    PatternsElsewhere,
    ScanSource,
    SingleImage,
    UnreadableScan,
    WrongFrameCount,
)


@dataclass(frozen=True, slots=True, eq=False)
class ScanLayout:
    """The patterns of a scan in their places.

    Parameters
    ----------
    data
        (scan_y, scan_x, det_y, det_x) in native byte order.
    in_file
        The stack that it was made of, if it was.
    missing
        (scan_y, scan_x) bool, where the file has no pattern; None where it has all.
    notes
        Sentences that tell of what is missing or was left out.
    """

    data: da.Array
    in_file: FramesInFile | None
    missing: NDArray[np.bool_] | None
    notes: tuple[str, ...]


def lay_out(
    source: ScanSource,
    path: Path,
    scan_shape: tuple[int, int] | None,
    choice: FrameChoice,
    found: MissingData | None,
) -> ScanLayout:
    """Put the patterns of a source in their places; ``found`` is what of it is not in its file.

    Raises
    ------
    NeedsScanShape
        The source is a stack, and nobody says its rows and columns.
    UnreadableScan
        The source is no scan, or its frames do not fit the shape.
    """
    if found is not None and found.refusal:
        choice = _without_known_losses(found, choice)
    data, absent = _four_axes_at_most(source.data, None if found is None else found.positions)
    _refuse_other_shapes(data, path)
    data = data.astype(data.dtype.newbyteorder("="))
    notes = () if found is None else found.notes
    sizes = tuple(int(size) for size in data.shape)
    wanted = scan_shape if scan_shape is not None else source.scan_shape
    if len(sizes) == 2:
        if wanted != (1, 1):
            raise _single_image(path, sizes)
        data, sizes = data[None], (1, *sizes)
        absent = None if absent is None else absent.reshape(1)
    if len(sizes) == 4 and choice.is_whole and wanted in (None, sizes[:2]):
        return ScanLayout(chunked_by_pattern(data), None, _where_any(absent), notes)
    if wanted is None:
        wanted = _shape_of_stack(source, path, choice, sizes[0]) if len(sizes) == 3 else (sizes[0], sizes[1])
    stack = data if len(sizes) == 3 else data.reshape((-1, *sizes[2:]))
    try:
        frames, lost = choose_frames(stack, wanted, choice, scan_shape_proposals(_n_chosen(choice, stack)))
        scan = stack_to_scan(frames, wanted)
    except FramesDoNotFit as error:
        raise WrongFrameCount(path.name, error) from error
    except ValueError as error:
        raise UnreadableScan(f"{path.name}: {error}") from error
    missing = _missing_in_scan(absent, lost, choice, wanted)
    told = (*notes, *_left_out(choice, len(stack), len(frames) - int(lost.sum())))
    if len(sizes) == 4 and len(data.chunks[1]) > 1:
        return ScanLayout(scan, None, missing, told)  # chunks of a file that knows rows, but other ones
    return ScanLayout(scan, FramesInFile.of(frames, scan), missing, told)


def _without_known_losses(found: MissingData, choice: FrameChoice) -> FrameChoice:
    """The choice for a file that has a place for every pattern, once it was said that the absent ones are lost."""
    absent = set(np.flatnonzero(found.positions).tolist())
    if len(absent) == found.positions.size or not absent <= set(choice.lost):
        whole = len(absent) == found.positions.size
        sizes = found.positions.squeeze().shape
        shape = (int(sizes[0]), int(sizes[1])) if len(sizes) == 2 else (1, found.positions.size)
        raise PatternsElsewhere(found.refusal, "" if whole else found.refused_positions, shape)
    return FrameChoice(choice.first, choice.last, tuple(sorted(set(choice.lost) - absent)))


def _four_axes_at_most(
    data: da.Array, absent: NDArray[np.bool_] | None
) -> tuple[da.Array, NDArray[np.bool_] | None]:
    """The array without axes of length 1 before the detector's, as far as there are more than two of the scan."""
    for axis in reversed(range(data.ndim - 2)):
        if data.ndim > 4 and data.shape[axis] == 1:
            data = data.squeeze(axis=axis)
            absent = None if absent is None else absent.squeeze(axis=axis)
    return data, absent


def _refuse_other_shapes(data: da.Array, path: Path) -> None:
    sizes = tuple(int(size) for size in data.shape)
    shape = " x ".join(map(str, sizes))
    if len(sizes) > 4:
        raise UnreadableScan(
            f"{path.name} has {len(sizes)} axes ({shape}); a scan has four: rows and columns "
            "of the scan and of the detector"
        )
    if min(sizes[-2:]) < 2:
        raise UnreadableScan(f"{path.name} holds arrays of {shape}: its last two axes are no detector")


def _single_image(path: Path, sizes: tuple[int, ...]) -> SingleImage:
    return SingleImage(
        f"{path.name} holds a single image of {sizes[-2]} x {sizes[-1]} pixels and no scan; if it is a diffraction "
        "pattern, open it with a scan shape of 1 x 1"
    )


def _shape_of_stack(source: ScanSource, path: Path, choice: FrameChoice, n_frames: int) -> tuple[int, int]:
    n_chosen = n_frames if choice.is_whole else _n_chosen(choice, source.data) + len(set(choice.lost))
    if n_chosen == 1:
        return 1, 1
    raise NeedsScanShape(path.name, max(1, n_chosen), n_promised=source.n_promised)


def _n_chosen(choice: FrameChoice, stack: da.Array) -> int:
    first = 0 if choice.first is None else choice.first
    last = int(stack.shape[0]) - 1 if choice.last is None else choice.last
    return max(1, last - first + 1)


def _where_any(absent: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    return absent if absent is not None and absent.any() else None


def _missing_in_scan(
    absent: NDArray[np.bool_] | None, lost: NDArray[np.bool_], choice: FrameChoice, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    missing = lost.copy()
    if absent is not None:
        start = 0 if choice.first is None else choice.first
        frames = absent.ravel()[start : start + int((~lost).sum())]
        missing[~lost] = frames
    return _where_any(missing.reshape(shape))


def _left_out(choice: FrameChoice, n_frames: int, n_used: int) -> tuple[str, ...]:
    """What to tell of frames that were left out or lost."""
    start = 0 if choice.first is None else choice.first
    notes = []
    if n_used < n_frames:
        notes.append(
            f"frames {start + 1:,} to {start + n_used:,} of {n_frames:,} are the scan: {start:,} before and "
            f"{n_frames - start - n_used:,} after are left out"
        )
    if choice.lost:
        n_lost = len(set(choice.lost))
        verb = "position has" if n_lost == 1 else "positions have"
        notes.append(f"{n_lost:,} {verb} no frame, as was said: {position_ranges(choice.lost)}")
    return tuple(notes)
