"""What an error of the pixel size would do to an orientation map: a sample of it indexed again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.ragged import offsets_from_counts
from napari_stem_orient.indexing.index import index_with, make_pattern_indexer
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.template_matching import index_by_template_matching, measured_q_max
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.indexing.template_plan import TemplatePlans

#: The sample is made of squares of the scan of so many positions across, so that positions have their neighbours; so
#: many positions around a square are indexed with it and not counted. A word travels farther, but fades: with 5 the
#: table is the same, in nearly twice the time.
SQUARE = 12
HALO = 3

#: An orientation that moves by more than these, in degrees, has moved notably, and is another one.
MOVED_DEG = (2.0, 5.0)


class SensitivityParameters(BaseModel):
    """Which errors of the pixel size are tried, and on how many patterns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    changes_percent: tuple[Annotated[float, Field(gt=-50, le=100)], ...] = Field(
        (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
        title="Changes",
        description="Changes of the pixel size in percent; 0 is always among them",
        json_schema_extra={"unit": "%"},
    )
    n_positions: int = Field(
        200,
        ge=10,
        le=100_000,
        title="Positions",
        description="Indexed positions that are indexed again, about",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the choice of positions")


@dataclass(frozen=True, slots=True)
class SensitivityProgress:
    """How far the calculation is, which change it is at, and what is indexed for it, in words."""

    progress: Progress
    note: str
    sample: str = ""


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """What one change of the pixel size does.

    Attributes
    ----------
    change_percent : of the pixel size
    median_disorientation_deg : from the map, of what has kept its phase; NaN where nothing has
    moved_2_deg, moved_5_deg : shares, 0 to 1, of the sample that lie farther from the map than that, or have lost their
        orientation or phase
    indexed : share that is indexed, 0 to 1
    mean_score : of what is indexed, 0 to 1; NaN where nothing is
    phase_changed : share of the indexed ones that has another phase
    """

    change_percent: float
    median_disorientation_deg: float
    moved_2_deg: float
    moved_5_deg: float
    indexed: float
    mean_score: float
    phase_changed: float


@dataclass(frozen=True, slots=True)
class SensitivityTable:
    """The rows of all changes, that of no change among them, in rising order; and the size of the sample."""

    entries: tuple[SensitivityRow, ...]
    n_positions: int

    def header(self, *, phases: bool = True) -> tuple[str, ...]:
        """Names of the columns; without that of the phases where there is one only."""
        near, far = MOVED_DEG
        names = (
            "Pixel size",
            "Median turn (°)",
            f"Moved > {near:g}°",
            f"Moved > {far:g}°",
            "Indexed",
            "Mean score",
            "Other phase",
        )
        return names if phases else names[:-1]

    def rows(self, *, phases: bool = True) -> list[tuple[str, ...]]:
        """One row of texts a change, under `header`."""
        rows: list[tuple[str, ...]] = [
            (
                "as it is" if entry.change_percent == 0 else f"{entry.change_percent:+g} %",
                f"{entry.median_disorientation_deg:.2f}",
                _percent(entry.moved_2_deg),
                _percent(entry.moved_5_deg),
                _percent(entry.indexed),
                f"{entry.mean_score:.3f}",
                _percent(entry.phase_changed),
            )
            for entry in self.entries
        ]
        return rows if phases else [row[:-1] for row in rows]


def calibration_sensitivity(
    peaks: BraggPeaks,
    orientation_map: OrientationMap,
    *,
    models: Sequence[str | Path] = (),
    device: str = "auto",
    parameters: SensitivityParameters | None = None,
) -> Generator[SensitivityProgress, None, SensitivityTable]:
    """Index a sample of a map again with the pixel size changed, by the method and the parameters of the map.

    The sample is some squares of the scan, and what lies around them where neighbours have a say. The row without
    change tells what the sampling alone does.

    Peak memory: as for indexing.

    Parameters
    ----------
    peaks
        With the calibration that the map was made with.
    orientation_map
        The map at hand.
    models
        Model folders that come before the shipped ones.
    device
        "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    ValueError
        Where nothing is indexed, or the map is of another scan.
    """
    parameters = parameters or SensitivityParameters()
    if peaks.scan_shape != orientation_map.scan_shape:
        raise ValueError("the map and the peaks are of different scans: index these peaks first")
    size = peaks.calibration.pixel_size_inv_angstrom
    if size is None or not orientation_map.indexed.any():
        raise ValueError("nothing is indexed yet: index the peaks first, then see how sensitive the map is")
    asks = orientation_map.method != "template" and bool(orientation_map.parameters.get("neighbours", True))
    layout = _squares(orientation_map, parameters, halo=HALO if asks else 0)
    sample, number = _sample(peaks, layout.position), layout.position.size
    changes = sorted({0.0, *parameters.changes_percent})
    told = layout.sentence(orientation_map.n_positions, n_sizes=len(changes))
    plans = TemplatePlans(max_plans=len(orientation_map.crystals))
    entries = []
    for count, change in enumerate(changes):
        calibration = peaks.calibration.updated(pixel_size_inv_angstrom=size * (1 + change / 100))
        whole, part = peaks.with_calibration(calibration), sample.with_calibration(calibration)
        if orientation_map.method == "template":
            job = _match_again(part, whole, orientation_map, plans)
        else:
            job = _index_again(part, whole, orientation_map, models, device)
        note = "pixel size as it is" if change == 0 else f"pixel size {change:+g} %"
        steps = _followed(
            job, SensitivityProgress(Progress(count * number, len(changes) * number, "patterns"), note, told)
        )
        entries.append(_row(change, (yield from steps), orientation_map, layout))
    return SensitivityTable(tuple(entries), int(layout.counted.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """A scan made of squares of another: its positions there (h, w), -1 for none, and those that count (h, w) bool."""

    position: NDArray[np.int64]
    counted: NDArray[np.bool_]

    def sentence(self, n_positions: int, *, n_sizes: int) -> str:
        """What is indexed of a scan of so many positions, in words."""
        counted, indexed = int(self.counted.sum()), int((self.position >= 0).sum())
        around = f" and {indexed - counted:,} around them" if indexed > counted else ""
        return (
            f"{counted:,} of {n_positions:,} positions{around} are indexed again with {n_sizes} pixel sizes"
        )


def _squares(orientation_map: OrientationMap, parameters: SensitivityParameters, *, halo: int) -> _Layout:
    """Squares of the scan, below each other with a row of nothing between, until enough positions are indexed."""
    rows, columns = orientation_map.scan_shape
    indexed = orientation_map.indexed.reshape(rows, columns)
    flat = np.arange(rows * columns).reshape(rows, columns)
    corners = [(y, x) for y in range(0, rows, SQUARE) for x in range(0, columns, SQUARE)]
    order = np.random.default_rng(parameters.seed).permutation(len(corners))
    size = SQUARE + 2 * halo
    tiles: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.bool_]] = []
    found = 0
    for number in order:
        y, x = corners[number]
        here = indexed[y : y + SQUARE, x : x + SQUARE]
        if found >= parameters.n_positions or not here.any():
            continue
        tile, count = np.full((size + 1, size), -1, dtype=np.int64), np.zeros((size + 1, size), dtype=bool)
        top, left = max(0, y - halo), max(0, x - halo)
        part = flat[top : y + SQUARE + halo, left : x + SQUARE + halo]
        at = top - y + halo, left - x + halo
        tile[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
        count[halo : halo + here.shape[0], halo : halo + here.shape[1]] = here
        tiles.append(tile)
        counts.append(count)
        found += int(here.sum())
    return _Layout(np.concatenate(tiles), np.concatenate(counts))


def _sample(peaks: BraggPeaks, position: NDArray[np.int64]) -> BraggPeaks:
    """The peaks of some positions (h, w) as a scan of that shape; -1 is a position where nothing was detected."""
    there = position.ravel() >= 0
    chosen = np.where(there, position.ravel(), 0)
    part = peaks.select(chosen[there])
    counts = np.zeros(len(chosen), dtype=np.int64)
    counts[there] = part.counts()
    return BraggPeaks(
        x_px=part.x_px,
        y_px=part.y_px,
        q_as_given=(part.q_x, part.q_y),
        intensity=part.intensity,
        significance=part.significance,
        offsets=offsets_from_counts(counts),
        scan_shape=(position.shape[0], position.shape[1]),
        calibration=peaks.calibration,
        origin_px=None if peaks.origin_px is None else peaks.origin_px[chosen],
        detector_shape=peaks.detector_shape,
        detected=there & peaks.detected[chosen],
    )


def _match_again(
    sample: BraggPeaks, whole: BraggPeaks, orientation_map: OrientationMap, plans: TemplatePlans
) -> Generator[IndexedBlock, None, OrientationMap]:
    """The template matching that made the map, for a sample; templates reach as far as those of the whole scan."""
    template = TemplateMatchingParameters.model_validate(orientation_map.parameters)
    reach = template.q_max_inv_angstrom or measured_q_max(whole)
    template = template.model_copy(update={"q_max_inv_angstrom": reach})
    return index_by_template_matching(sample, orientation_map.crystals, parameters=template, plans=plans)


def _index_again(
    sample: BraggPeaks,
    whole: BraggPeaks,
    orientation_map: OrientationMap,
    models: Sequence[str | Path],
    device: str,
) -> Generator[IndexedBlock, None, OrientationMap]:
    """The job that made the map, for a sample; what it measures in a scan first, it measures in the whole one."""
    crystals = orientation_map.crystals
    parameters = IndexParameters.model_validate(orientation_map.parameters)
    indexer = make_pattern_indexer(whole, crystals, parameters=parameters, models=models, device=device)
    empty = OrientationMap.empty(
        sample, crystals, method="transformer", parameters=orientation_map.parameters
    )
    return (yield from index_with(indexer, sample, empty))


def _followed(
    job: Generator[IndexedBlock, None, OrientationMap], start: SensitivityProgress
) -> Generator[SensitivityProgress, None, OrientationMap]:
    """Run a job that is one of some; tell how far all of them are."""
    first, total = start.progress.done, start.progress.total
    yield start
    try:
        while True:
            progress = next(job).progress
            if progress.unit == start.progress.unit:  # not while templates are made
                done = min(first + progress.done, total)
                start = replace(start, progress=Progress(done, total, progress.unit))
            yield start
    except StopIteration as finished:
        result: OrientationMap = finished.value
        return result
    finally:
        job.close()


def _row(
    change: float, found: OrientationMap, orientation_map: OrientationMap, layout: _Layout
) -> SensitivityRow:
    """Compare the sample, indexed again, with what the map has at the same positions."""
    counted = np.flatnonzero(layout.counted)
    chosen = layout.position.ravel()[counted]
    phase, phase_now = orientation_map.phase_id[chosen], found.phase_id[counted]
    turn = np.full(len(chosen), np.inf)
    same = phase_now == phase
    for number, crystal in enumerate(orientation_map.crystals):
        rows = np.flatnonzero(same & (phase == number))
        if len(rows):
            before, now = orientation_map.quaternion[chosen[rows]], found.quaternion[counted[rows]]
            turn[rows] = disorientation_angle_deg(now, before, crystal.proper_point_group)
    indexed = phase_now >= 0
    near, far = (float(np.mean(turn > limit)) for limit in MOVED_DEG)
    return SensitivityRow(
        change,
        float(np.median(turn[same])) if same.any() else float("nan"),
        near,
        far,
        float(indexed.mean()),
        float(found.score[counted][indexed].mean()) if indexed.any() else float("nan"),
        float((~same & indexed).sum() / max(1, indexed.sum())),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
