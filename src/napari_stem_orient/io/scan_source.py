"""ScanSource: what a reader found in a file, before it is known to be a scan; and why a file is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import dask.array as da
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import scan_shape_proposals
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import FramesDoNotFit, near_square
from napari_stem_orient.io.stored_chunks import StoredChunks


class UnreadableScan(UserError):  # noqa: N818 - it says what is the matter
    """A file that holds no scan, or not a whole one; the message tells a microscopist why."""


class SingleImage(UnreadableScan):
    """A file with one image and no scan: with a scan shape of 1 x 1 it opens as one pattern."""


class WrongFrameCount(UnreadableScan):
    """A stack with more or fewer frames than positions; ``fit`` has the numbers, for faces to offer a way out."""

    def __init__(self, name: str, fit: FramesDoNotFit) -> None:
        super().__init__(f"{name}: {fit}", value=fit.scan_shape, field="scan_shape")
        self.fit = fit


class PatternsElsewhere(UnreadableScan):
    """A file that refers to patterns which are not there; it opens once it is said that ``positions`` are lost.

    ``positions`` are counted as people count them, "33-64"; empty where there are no others. ``scan_shape`` is that of
    the file, 1 x n for a stack.
    """

    def __init__(self, text: str, positions: str, scan_shape: tuple[int, int]) -> None:
        super().__init__(text, value=positions, field="lost_frames")
        self.positions, self.scan_shape = positions, scan_shape

    @property
    def n_patterns(self) -> int:
        """Number of patterns that the file refers to."""
        return self.scan_shape[0] * self.scan_shape[1]


class NeedsScanShape(UserError):  # noqa: N818 - it says what is the matter
    """A stack of patterns whose file does not tell how many rows and columns the scan had.

    Parameters
    ----------
    name
        Name of the file.
    n_frames
        Number of patterns in the stack.
    proposals
        Scan shapes (rows, columns) with as many positions, most likely first.
    n_promised
        Number of patterns that the file says it has, where these are more.
    """

    def __init__(
        self,
        name: str,
        n_frames: int,
        proposals: list[tuple[int, int]] | None = None,
        *,
        n_promised: int | None = None,
    ) -> None:
        self.n_frames, self.n_promised = n_frames, n_promised
        self.proposals = scan_shape_proposals(n_frames) if proposals is None else proposals
        shown = ", ".join(f"{rows} x {columns}" for rows, columns in self.proposals[:4])
        shown += f"; {self.near_square}" if self.near_square else ""
        lost = (
            ""
            if n_promised is None
            else f" of the {n_promised:,} that its header tells of (it is truncated, or the scan was stopped)"
        )
        super().__init__(
            f"{name} holds {n_frames:,} patterns{lost} but not the shape of the scan",
            fix=f"give its rows and columns (for example {shown})",
            field="scan_shape",
        )

    @property
    def near_square(self) -> str:
        """The square scan that the frames nearly make: "8 x 8 with one frame too many"; empty where none is."""
        near = near_square(self.n_frames)
        if near is None:
            return ""
        side, excess = near
        count = "one frame" if abs(excess) == 1 else f"{abs(excess)} frames"
        return f"{side} x {side} with {count} too {'many' if excess > 0 else 'few'}"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """One set of patterns in a file: its ``name`` there, its ``shape`` and ``dtype``."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} ({' x '.join(map(str, self.shape))}, {self.dtype})"


@dataclass(frozen=True, slots=True, eq=False)
class MissingData:
    """What of an array is not in its file.

    Parameters
    ----------
    positions
        Bool, of the array's shape without the detector's axes: where there is nothing of a pattern.
    notes
        Sentences that tell of it.
    refusal
        Why the scan is not opened as long as nobody says that these positions are lost; empty where it is opened.
    refused_positions
        They, as people count them ("33-64").
    chunks
        Which chunks of the array are stored, where that is what is known of it.
    """

    positions: NDArray[Any]
    notes: tuple[str, ...]
    refusal: str = ""
    refused_positions: str = ""
    chunks: StoredChunks | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScanSource:
    """An array as it lies in a file, with what the file tells of it.

    Parameters
    ----------
    data
        Lazy array; its last two axes are the detector's rows and columns.
    calibration
        What the file tells in units that we understand.
    dataset
        Name of the array inside its file, "" where there is one only.
    kind
        "patterns", or a word for what else the array holds, such as "spectra": it is refused with that word.
    scan_shape
        Rows and columns where the file tells them beside a stack.
    n_promised
        Number of patterns that the file says it has, where these are more.
    notes
        Sentences that the user should read: what was read in another way than it lies in the file.
    find_missing
        Finds what of the array is not in its file, which may take a second; None where that cannot be.
    """

    data: da.Array
    calibration: Calibration = field(default_factory=Calibration)
    dataset: str = ""
    kind: str = "patterns"
    scan_shape: tuple[int, int] | None = None
    n_promised: int | None = None
    notes: tuple[str, ...] = ()
    find_missing: Callable[[], MissingData | None] | None = None

    def with_missing(self, find_missing: Callable[[], MissingData | None]) -> ScanSource:
        """The same source, of which it can be found what is not in its file."""
        return replace(self, find_missing=find_missing)

    @property
    def info(self) -> DatasetInfo:
        """The array's entry in a list of datasets."""
        shape = tuple(int(size) for size in self.data.shape)
        return DatasetInfo(self.dataset or "data", shape, str(self.data.dtype))
