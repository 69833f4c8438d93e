"""PatternReader: gets single patterns of a scan, at once where that is quick and in a thread where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.gui.jobs.latest_job import LatestJob

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

QUICK_S = 0.005
"""A scan whose last pattern took less than this is read in the main thread: a thread would only delay it."""

SLOW_S = 0.005
"""A read in the main thread that took longer than this sends the next ones back to the thread."""

Position = tuple[int, int]
_Request = tuple[int, Position]  # generation, where
_Answer = tuple["NDArray[np.float32] | None", str, float]  # pattern, why not, seconds
PatternCallback = Callable[[Position, "NDArray[np.float32] | None", str], object]


class PatternReader:
    """Reads the pattern that is wanted now; requests that a newer one has overtaken are dropped.

    Parameters
    ----------
    on_pattern : called in the main thread with position, pattern (None if it cannot be read) and why not
    """

    def __init__(self, on_pattern: PatternCallback) -> None:
        self._on_pattern = on_pattern
        self._datacube: DataCube | None = None
        self._quick = False
        self._generation = 0
        self._job: LatestJob[_Request, _Answer] = LatestJob(
            title="Read a pattern", on_result=self._on_read, on_error=self._on_error
        )

    @property
    def busy(self) -> bool:
        """Whether a pattern is being read."""
        return self._job.busy

    def request(self, datacube: DataCube, position: Position) -> None:
        """Read the pattern at (y, x); the callback comes before this returns where reading is quick."""
        if self._datacube is None or datacube.data is not self._datacube.data:
            self._quick = False
            self._generation += 1
            self._job.forget()
        self._datacube = datacube
        if self._quick and not self._job.busy:
            pattern, message, seconds = _read(datacube, position)
            self._quick = seconds < SLOW_S
            self._on_pattern(position, pattern, message)
            return
        self._job.request((self._generation, position), partial(_read, datacube, position))

    def forget(self) -> None:
        """Drop what was asked for."""
        self._job.forget()

    def close(self) -> None:
        """Read nothing more."""
        self._job.close()

    def _on_read(self, key: _Request, result: _Answer) -> None:
        generation, position = key
        pattern, message, seconds = result
        if generation == self._generation:
            self._quick = seconds < QUICK_S
            self._on_pattern(position, pattern, message)

    def _on_error(self, key: _Request, message: str) -> None:
        generation, position = key
        if generation == self._generation:
            self._on_pattern(position, None, message)


def _read(datacube: DataCube, position: Position) -> _Answer:
    """Return the pattern, why there is none, and the seconds it took."""
    start = time.perf_counter()
    try:
        pattern = datacube.pattern(*position)
    except (OSError, ValueError, IndexError, RuntimeError) as error:
        # A disc that went away must not raise a notification for each place that the mouse passes.
        return (
            None,
            f"The pattern cannot be read: {' '.join(str(error).split())}",
            time.perf_counter() - start,
        )
    return pattern, "", time.perf_counter() - start
