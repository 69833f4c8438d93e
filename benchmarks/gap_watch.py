"""GapWatch: how long a window does not answer, what that costs its main thread, and what it was doing meanwhile."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from qtpy.QtCore import Qt, QTimer

TICK_MS = 5
SAMPLE_EVERY_S = 0.01
_FRAMES_KEPT = 4


@dataclass(slots=True)
class Gap:
    """A time between two turns of the event loop, in seconds, and the CPU time of the main thread in it."""

    at_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    stacks: Counter[str] = field(default_factory=Counter)


class GapWatch:
    """Ticks in the main thread, and keeps the gaps between ticks that are longer than wanted.

    A thread looks at what the main thread does while a gap lasts. CPU time tells what the window costs from what
    the other programs of a loaded computer do to it.

    Parameters
    ----------
    longer_than_s : shorter gaps are not kept
    """

    def __init__(self, *, longer_than_s: float = 0.05) -> None:
        self.longer_than_s = longer_than_s
        self.gaps: list[Gap] = []
        self._main = threading.get_ident()
        self._ended = threading.Event()
        self._start = self._last = time.perf_counter()
        self._last_cpu = time.thread_time()
        self._stacks: Counter[str] = Counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._start = self._last = time.perf_counter()
        self._last_cpu = time.thread_time()
        self._timer.start()
        self._sampler.start()

    def stop(self) -> Gap:
        """Watch no longer; return the longest gap by CPU time of the main thread."""
        self._on_tick()
        self._timer.stop()
        self._ended.set()
        self._sampler.join()
        return max(self.gaps, key=lambda gap: gap.cpu_s, default=Gap())

    def _on_tick(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        if now - self._last > self.longer_than_s:
            gap = Gap(self._last - self._start, now - self._last, cpu - self._last_cpu, self._stacks)
            self.gaps.append(gap)
        self._stacks = Counter()
        self._last, self._last_cpu = time.perf_counter(), time.thread_time()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            if time.perf_counter() - self._last > self.longer_than_s / 2:
                frame = sys._current_frames().get(self._main)  # noqa: SLF001 - Python's documented way
                if frame is not None:
                    self._stacks.update({_place(frame)})


def _place(frame: object) -> str:
    """The innermost frames of ours, or napari's, and the innermost of all, as "file:line function"."""
    stack = traceback.extract_stack(frame)  # type: ignore[arg-type]
    known = [one for one in stack if "napari_stem_orient" in one.filename or "/napari/" in one.filename]
    chosen = [*known[-_FRAMES_KEPT:], stack[-1]]
    return " < ".join(
        f"{one.filename.rsplit('/', 1)[-1]}:{one.lineno} {one.name}" for one in reversed(chosen)
    )
