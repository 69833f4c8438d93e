"""Scans in TIFF files: stacks of pages and ImageJ's hyperstacks, read page by page with tifffile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.io.file_arrays import FileArray
from napari_stem_orient.io.scan_source import ScanSource, UnreadableScan

TIFF_EXTENSIONS = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class TiffArray(FileArray):
    """A series of pages of a TIFF file."""

    series: int

    def read(self, index: Any) -> NDArray[Any]:
        """The patterns that ``index`` asks for, in native byte order; only their pages are read."""
        import tifffile

        parts = index if isinstance(index, tuple) else (index,)
        n_leading = len(self.shape) - 2
        numbers = np.arange(int(np.prod(self.shape[:-2]))).reshape(self.shape[:-2])[parts[:n_leading]]
        with tifffile.TiffFile(self.path) as file:
            series = file.series[self.series]
            if (
                series.dataoffset is not None
            ):  # one block of numbers, as ImageJ writes beyond 4 GB, with one page for all
                whole = np.memmap(
                    self.path, series.dtype.newbyteorder(file.byteorder), "r", series.dataoffset, self.shape
                )
                return np.array(whole[index], dtype=self.dtype)
            pages = [series.pages[int(number)] for number in numbers.ravel()]
            frames = np.stack([page.asarray() for page in pages if page is not None])
        shaped = frames.reshape(*numbers.shape, *self.shape[-2:]).astype(self.dtype, copy=False)
        return np.asarray(shaped[(Ellipsis, *parts[n_leading:])] if len(parts) > n_leading else shaped)


def read_tiff(path: Path) -> list[ScanSource]:
    """All series of a TIFF file that have more than one page, or its one image.

    Raises
    ------
    UnreadableScan
        The file holds colour pictures, or pages of its own for parts of a pattern.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        found = [(number, series) for number, series in enumerate(file.series) if series.ndim >= 2]
        stacks = [(number, series) for number, series in found if series.ndim >= 3]
        colour = [series for _, series in stacks if "S" in series.axes]
        chosen = [(number, series) for number, series in stacks if "S" not in series.axes] or found[:1]
        if not chosen or (colour and chosen == found[:1]):
            raise UnreadableScan(f"{path.name} holds colour pictures and no diffraction patterns")
        sources = []
        for number, series in chosen:
            shape = tuple(int(size) for size in series.shape)
            array = TiffArray(path, str(number), shape, series.dtype.newbyteorder("="), number)
            sources.append(ScanSource(array.lazily(), dataset=f"series {number + 1}"))
    return sources
