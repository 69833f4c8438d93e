"""What every benchmark prints: the kind of machine it ran on, and a table in markdown; and how figures look."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
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
    shares = [errors_deg < 2, errors_deg < 5, errors_deg > 34, ~np.isfinite(errors_deg)]
    return [median, *(percent(share) for share in shares)]


def percent(good: NDArray[np.bool_], *, digits: int = 1) -> str:
    """Share of the true ones in words; "-" where there is none at all."""
    return f"{100 * np.mean(good):.{digits}f} %" if good.size else "-"


ERROR_COLUMNS = ("median", "within 2°", "within 5°", "beyond 34°", "not indexed")


#: Colours that colour-blind eyes tell apart (Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7f7f7f", "#000000")


def new_figure(rows: int, columns: int, *, size_inches: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of no window and its axes; on white, so that it is read on light and dark pages alike."""
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
        "font.size": 9,
    }
    with rc_context(style):
        figure = Figure(figsize=size_inches, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure into a file of moderate size."""
    figure.savefig(path, dpi=110, facecolor="white")
    print(f"\nfigure: {path}")
