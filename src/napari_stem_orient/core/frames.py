"""FrameChoice: which frames of a stack are the scan, and what to tell where their number does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.errors import UserError

if TYPE_CHECKING:
    import dask.array as da

#: Among the parameters of Bragg peaks: the positions of which the scan has no pattern, as `position_ranges`.
WITHOUT_PATTERN = "positions_without_pattern"


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Which frames of a stack make up the scan.

    Parameters
    ----------
    first, last
        Index of the first and of the last frame of the scan, from 0; the stack's own where None.
    lost
        Flat, row-major positions of the scan, from 0, of which the file has no frame. The frames that there are
        fill the other positions in their order.
    """

    first: int | None = None
    last: int | None = None
    lost: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every frame is taken and none was lost."""
        return self.first is None and self.last is None and not self.lost


class FramesDoNotFit(UserError):  # noqa: N818 - it says what is the matter
    """A stack whose number of frames is not that of the scan's positions.

    Parameters
    ----------
    scan_shape
        Rows and columns asked for.
    n_frames
        Number of frames in the file.
    choice
        Which of them were to be the scan.
    proposals
        Scan shapes (rows, columns) that the frames do fit.
    """

    def __init__(
        self,
        scan_shape: tuple[int, int],
        n_frames: int,
        choice: FrameChoice,
        proposals: list[tuple[int, int]],
    ) -> None:
        self.scan_shape, self.n_frames, self.choice, self.proposals = scan_shape, n_frames, choice, proposals
        start, stop = _bounds(choice, n_frames)
        self.start, self.n_chosen = start, max(0, stop - start)
        n_needed = scan_shape[0] * scan_shape[1] - len(set(choice.lost))
        self.excess = self.n_chosen - n_needed
        super().__init__(self._sentence(n_needed), value=scan_shape, field="scan_shape")

    def _sentence(self, n_needed: int) -> str:
        shape = f"{self.scan_shape[0]} x {self.scan_shape[1]}"
        advice = " or ".join(f"{y} x {x}" for y, x in self.proposals[:2])
        of_all = "" if self.n_chosen == self.n_frames else f" (of {self.n_frames:,} in the file)"
        text = f"scan shape {shape} does not divide {self.n_chosen:,} frames{of_all}; try {advice}"
        if min(self.scan_shape) < 1 or self.n_chosen < 1:
            return text
        count = "one" if abs(self.excess) == 1 else f"{abs(self.excess):,}"
        if self.excess > 0:
            return (
                f"{text}. {count.capitalize()} too many for {shape}: leave out the first (begin with frame "
                f"{self.start + self.excess + 1:,}) or the last (end with frame {self.start + n_needed:,})"
            )
        return (
            f"{text}. {count.capitalize()} too few for {shape}: if frames were lost, say at which positions of the "
            f"scan; if it stopped early, these are {position_ranges(self.lost_at_the_end)}"
        )

    @property
    def lost_at_the_end(self) -> tuple[int, ...]:
        """Flat positions, from 0, that have no frame if the scan stopped before its end."""
        n_positions = self.scan_shape[0] * self.scan_shape[1]
        free = [p for p in range(n_positions) if p not in set(self.choice.lost)] if self.choice.lost else None
        missing = max(0, -self.excess)
        if free is None:
            return tuple(range(n_positions - missing, n_positions))
        return tuple(sorted({*self.choice.lost, *free[len(free) - missing :]}))


def choose_frames(
    stack: da.Array, scan_shape: tuple[int, int], choice: FrameChoice, proposals: list[tuple[int, int]]
) -> tuple[da.Array, NDArray[np.bool_]]:
    """The frames of the scan, one a position; nothing is read.

    Parameters
    ----------
    stack
        (n_frames, det_y, det_x).
    scan_shape
        Rows and columns.
    choice
        Which frames are the scan.
    proposals
        Scan shapes to name where the frames do not fit.

    Returns
    -------
    (n_positions, det_y, det_x) dask array, zeros where a frame was lost; and (n_positions,) bool, True there.

    Raises
    ------
    FramesDoNotFit
        There are more or fewer frames than positions.
    ValueError
        The choice names frames or positions that do not exist.
    """
    n_frames, n_positions = int(stack.shape[0]), scan_shape[0] * scan_shape[1]
    start, stop = _bounds(choice, n_frames)
    lost = np.zeros(max(0, n_positions), dtype=bool)
    wrong = [position for position in choice.lost if not 0 <= position < n_positions]
    if wrong:
        raise ValueError(
            f"position {wrong[0] + 1:,} of the scan has no frame to lose: a scan of {scan_shape[0]} x {scan_shape[1]} "
            f"has positions 1 to {n_positions:,}"
        )
    if choice.first is not None and choice.last is None and start >= 0 and min(scan_shape) > 0:
        n_needed = n_positions - len(set(choice.lost))
        if start + n_needed > n_frames:
            raise ValueError(
                f"a scan of {scan_shape[0]} x {scan_shape[1]} that begins with frame {start + 1:,} needs "
                f"{start + n_needed:,} frames; the file has {n_frames:,}"
            )
        stop = start + n_needed  # what was recorded after the scan's last position is no part of it
    if start < 0 or stop > n_frames or start >= stop:
        raise ValueError(
            f"frames {start + 1:,} to {stop:,} are not in the file: it has frames 1 to {n_frames:,}"
        )
    lost[list(choice.lost)] = True
    if min(scan_shape) < 1 or stop - start != n_positions - int(lost.sum()):
        raise FramesDoNotFit(scan_shape, n_frames, choice, proposals)
    return _with_lost(stack[start:stop], lost), lost


def _bounds(choice: FrameChoice, n_frames: int) -> tuple[int, int]:
    start = 0 if choice.first is None else choice.first
    return start, n_frames if choice.last is None else choice.last + 1


def _with_lost(frames: da.Array, lost: NDArray[np.bool_]) -> da.Array:
    """Frames with zeros where one was lost, in runs: one piece of a dask array a run."""
    import dask.array as da  # takes a moment, and the window asks this module for words only

    if not lost.any():
        return frames
    edges = np.flatnonzero(np.diff(lost.astype(np.int8))) + 1
    pieces, taken = [], 0
    for begin, end in zip([0, *edges], [*edges, len(lost)], strict=True):
        length = int(end - begin)
        if lost[begin]:
            pieces.append(da.zeros((length, *frames.shape[1:]), dtype=frames.dtype, chunks=(1, -1, -1)))
        else:
            pieces.append(frames[taken : taken + length])
            taken += length
    return da.concatenate(pieces)


def near_square(n_frames: int) -> tuple[int, int] | None:
    """Side of a square scan that the frames nearly make, and how many of them are too many (below 0: too few).

    None where the frames make a square, or none nearly, or a small one.
    """
    side = round(n_frames**0.5)
    excess = n_frames - side**2
    return (side, excess) if excess and abs(excess) <= side // 8 else None


def position_ranges(positions: tuple[int, ...]) -> str:
    """Flat positions, from 0, as people count them: "3, 7, 41-64"."""
    if not positions:
        return ""
    numbers = np.unique(positions) + 1
    groups = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups)


def positions_without_pattern(parameters: Mapping[str, Any], n_positions: int) -> NDArray[np.bool_]:
    """(n_positions,) bool; where Bragg peaks made with these parameters say that the scan has no pattern."""
    missing = np.zeros(n_positions, dtype=bool)
    told = positions_from_text(str(parameters.get(WITHOUT_PATTERN, "")))
    missing[[position for position in told if position < n_positions]] = True
    return missing


def positions_from_text(text: str) -> tuple[int, ...]:
    """Flat positions, from 0, from "3, 7, 41-64", which counts from 1.

    Raises
    ------
    ValueError
        The text says something else; the message names it.
    """
    found: set[int] = set()
    for part in text.replace(";", ",").replace(" - ", "-").replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is no position of the scan: write numbers from 1, as in 3, 7, 41-64")
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high or high > 10**8:
            raise ValueError(f"{part!r} is no position of the scan: write numbers from 1, as in 3, 7, 41-64")
        found.update(range(low - 1, high))
    return tuple(sorted(found))
