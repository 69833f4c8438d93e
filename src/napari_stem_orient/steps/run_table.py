"""ScanRow: what came out for one scan of a run; and the table of all, to be read and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from napari_stem_orient.steps.replay import Replayed

State = Literal["done", "done before", "failed"]
TABLE_NAME = "summary.csv"


@dataclass(frozen=True, slots=True)
class ScanRow:
    """What came out for one scan; numbers are None where there is none.

    Attributes
    ----------
    scan : its path
    name : of its results
    state : "done", "done before" (by an earlier run of the same recipe) or "failed"
    positions, disks_per_pattern : number of positions, and mean number of disks
    indexed_percent, median_score, expected_error_deg : of the map; the error is the median of the indexed positions
    phases : percent of the indexed positions, by the name of the crystal
    seconds : that it took
    error : why it failed, or ""
    """

    scan: str
    name: str
    state: State
    positions: int | None = None
    disks_per_pattern: float | None = None
    indexed_percent: float | None = None
    median_score: float | None = None
    expected_error_deg: float | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    error: str = ""

    @classmethod
    def of(cls, made: Replayed, *, scan: Path, name: str, state: State = "done") -> ScanRow:
        """The row of what was made."""
        peaks, found = made.peaks, made.orientation_map
        row = cls(
            str(scan), name, state, peaks.n_positions, peaks.n_peaks / max(1, int(peaks.detected.sum()))
        )
        if found is None:
            return row
        indexed = found.indexed
        shares = {
            crystal.name: 100.0 * float((found.phase_id[indexed] == number).mean()) if indexed.any() else 0.0
            for number, crystal in enumerate(found.crystals)
        }
        return replace(
            row,
            indexed_percent=100.0 * found.indexed_fraction,
            median_score=_median(found.score[indexed]),
            expected_error_deg=_median(found.confidence_deg[indexed]),
            phases=shares,
        )

    @classmethod
    def failed(cls, error: str, *, scan: Path, name: str) -> ScanRow:
        """The row of a scan that could not be done."""
        return cls(str(scan), name, "failed", error=error)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ScanRow:
        """The row of what `as_data` gives."""
        return cls(**data)

    def as_data(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "phases": dict(self.phases)}


def _median(values: Any) -> float | None:
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(np.median(finite)) if len(finite) else None


COLUMNS: Mapping[str, tuple[str, int]] = {
    "positions": ("positions", 0),
    "disks_per_pattern": ("disks a pattern", 1),
    "indexed_percent": ("indexed (%)", 1),
    "median_score": ("median score", 3),
    "expected_error_deg": ("expected error (°)", 2),
}
"""Field of each column of numbers -> its title, and decimals."""


def _head(rows: Sequence[ScanRow]) -> tuple[list[str], list[str]]:
    """The titles of all columns, and the names of the phases."""
    phases = list(dict.fromkeys(name for row in rows for name in row.phases))
    numbers = [title for title, _ in COLUMNS.values()]
    return [
        "scan",
        "state",
        *numbers,
        *(f"{name} (% of indexed)" for name in phases),
        "time (s)",
        "error",
    ], phases


def _cells(row: ScanRow, phases: Sequence[str], *, nothing: str) -> list[str]:
    def number(value: float | None, decimals: int) -> str:
        return nothing if value is None else f"{value:.{decimals}f}"

    return [
        *(number(getattr(row, name), decimals) for name, (_, decimals) in COLUMNS.items()),
        *(number(row.phases.get(name), 1) for name in phases),
        number(row.seconds, 1),
    ]


def as_csv(rows: Sequence[ScanRow]) -> str:
    """The table as CSV, one row a scan, by their paths."""
    head, phases = _head(rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    for row in rows:
        writer.writerow([row.scan, row.state, *_cells(row, phases, nothing=""), row.error])
    return text.getvalue()


def as_text(rows: Sequence[ScanRow]) -> str:
    """The table to be read, one line a scan; errors below."""
    head, phases = _head(rows)
    cells = [head[:-1], *([row.name, row.state, *_cells(row, phases, nothing="–")] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
    return "\n".join([*lines, *(f"{row.name}: {row.error}" for row in rows if row.error)])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def save_table(rows: Sequence[ScanRow], path: Path, *, overwrite: bool = False) -> None:
    """Write the table as CSV, whole or not at all; in place of an earlier one, or with ``overwrite`` of anything."""
    from napari_stem_orient.io.atomic import complete_or_absent
    from napari_stem_orient.io.own_files import RUN_TABLE

    with complete_or_absent(path, replaces=(RUN_TABLE,), overwrite=overwrite) as temporary:
        temporary.write_text(as_csv(rows), encoding="utf-8", newline="")


def result_names(scans: Iterable[Path]) -> dict[Path, str]:
    """A name for the results of each scan, no two alike, also where the file system does not tell A from a.

    The name of the file without its ending; where several scans have that, with the ending, then with as many folders
    above as it takes. It is the same whatever other scans are in the run, unless their names are alike.
    """
    paths = [path.absolute() for path in scans]
    names = {path: _plain(path.stem) for path in paths}
    longest = max((len(path.parts) for path in paths), default=0)
    for folders in range(longest):
        for ending in (False, True):
            for path in _alike(names):
                last = path.name if ending else path.stem
                names[path] = _plain("_".join([*path.parts[len(path.parts) - 1 - folders : -1], last]))
    for number, path in enumerate(_alike(names), start=1):  # a_b/c and a/b_c
        names[path] = f"{names[path]}_{number}"
    return names


def _alike(names: Mapping[Path, str]) -> list[Path]:
    counts: dict[str, int] = {}
    for name in names.values():
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
    return [path for path, name in names.items() if counts[name.casefold()] > 1]


def _plain(name: str) -> str:
    """A name that every file system takes."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f.]+', "_", name).strip("_ ") or "scan"
    return (
        f"{plain}_scan" if f"{plain.casefold()}.csv" == TABLE_NAME else plain
    )  # its table would be that of the run
