"""Where the time of a job goes: a clock that is hung onto functions of the package, and the memory of this process."""

from __future__ import annotations

import functools
import inspect
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

#: Stages in the order of the work, and what belongs to none of them.
STAGES = ("load", "set up", "tokens", "inference", "refinement", "neighbours", "maps", "rest")


class StageClock:
    """Adds up the time of stages; one stage inside another counts as the inner one only."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._device = device
        self._running = ["rest"]
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of this block for a stage."""
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def watch(self, owner: Any, function: str, stage: str) -> None:
        """Count the calls of a function of a module or class for a stage, from now on and in this process.

        Of a generator, the time between its records is not counted.
        """
        original: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.stage(stage):
                return original(*arguments, **options)

        @functools.wraps(original)
        def timed_records(*arguments: Any, **options: Any) -> Iterator[Any]:
            records = original(*arguments, **options)
            while True:
                with self.stage(stage):
                    record = next(records, None)
                if record is None:
                    return
                yield record

        setattr(owner, function, timed_records if inspect.isgeneratorfunction(original) else timed)

    def stop(self) -> dict[str, float]:
        """Seconds of every stage."""
        self._switch()
        return self.seconds

    def _switch(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now


def watch_indexing(clock: StageClock) -> None:
    """Hang the clock onto what indexing calls."""
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.indexing import index, pattern_indexer
    from napari_stem_orient.indexing.neighbour_pass import NeighbourPass
    from napari_stem_orient.indexing.pattern_indexer import PatternIndexer, PhaseIndexer

    for owner, function, stage in (
        (index, "make_pattern_indexer", "set up"),
        (OrientationMap, "empty", "set up"),
        (BraggPeaks, "select", "tokens"),
        (PatternIndexer, "pad", "tokens"),
        (PhaseIndexer, "propose", "inference"),
        (PhaseIndexer, "refine", "refinement"),
        (PhaseIndexer, "proposed", "refinement"),
        (pattern_indexer, "verify", "refinement"),
        (NeighbourPass, "add", "neighbours"),
        (NeighbourPass, "advance", "neighbours"),
        (PatternIndexer, "decide", "maps"),
        (OrientationMap, "fill", "maps"),
    ):
        clock.watch(owner, function, stage)


def memory_mb() -> tuple[float, float]:
    """Memory of this process now and at its most, in MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return most, most
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    # The high-water mark of this program alone: that of getrusage begins with its parent's.
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
