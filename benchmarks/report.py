"""What every benchmark prints: the kind of machine it ran on, and a table in markdown."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Timed:
    """The result of a job and the seconds it took."""

    result: Any
    seconds: float


def finish(job: Generator[Any, None, Result]) -> Timed:
    """Run a job to its end; the time includes everything it does, planning and loading of weights too."""
    start = time.perf_counter()
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return Timed(stop.value, time.perf_counter() - start)


def machine() -> str:
    """Kind of machine in words: cores in use, processor family, GPU if any, and versions that matter."""
    import torch

    threads = torch.get_num_threads()
    processor = platform.machine()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "py4DSTEM", "numpy"))
    return (
        f"{os.cpu_count()} cores ({processor}), {threads} torch thread{'s' if threads > 1 else ''}, {gpu}; "
        f"Python {platform.python_version()}, {versions}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def error_summary(errors_deg: NDArray[np.float64]) -> list[str]:
    """Median, within 2°, within 5°, beyond 34° of errors (n,); a pattern not indexed is NaN and counts as wrong."""
    indexed = errors_deg[np.isfinite(errors_deg)]
    median = f"{np.median(indexed):.2f}°" if indexed.size else "-"
    shares = [np.mean(errors_deg < 2), np.mean(errors_deg < 5), np.mean(errors_deg > 34)]
    not_indexed = 1 - indexed.size / max(1, errors_deg.size)
    return [median, *(f"{100 * share:.1f} %" for share in shares), f"{100 * not_indexed:.1f} %"]


ERROR_COLUMNS = ("median", "within 2°", "within 5°", "beyond 34°", "not indexed")
