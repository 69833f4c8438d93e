"""The pedestal of a detector: what a pixel reads that no electron has hit, measured in the empty parts of patterns.

Cameras add a constant to every pixel so that readout noise does not fall below zero, and a dark image that was taken
at another gain leaves one behind, of either sign. Counts begin above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.scan_reading import computed

SAMPLE_BYTES = 24 * 2**20
"""Bytes of patterns that are read to measure it."""
RUNS, RUN = 3, 8
"""Patterns are read in so many runs of so many neighbours: these mostly share a chunk of the file."""
EMPTIEST = 0.1
"""Part of the pixels whose patterns are as good as empty."""
LEAST_SHARE, MOST_BELOW = 0.02, 0.001
"""Where nothing is counted often, at least that part of the values is the pedestal itself and hardly any is lower."""
MOST_NOISE = 0.5
"""Values of single electrons scatter as much as they are high (times the gain, which is no less than 1): where the
variance is less than this part of the level, that was not counted."""
LIKE_COUNTS = 0.7
"""What is counted above the lowest value scatters at least by this part of what single electrons would."""
LEAST_PART, LEAST_PART_COUNTED, LEAST_SIGMA = 0.6, 0.4, 3.0
"""A pedestal is at least this part of the level of the empty pixels, less where single electrons are counted, and so
many standard deviations of a pixel."""
MOST_UNEVEN = 0.5
"""Empty pixels differ by no more than this part of the pedestal."""
COUNTING = (0.7, 1.5)
"""Whole numbers that scatter by this much times what single electrons would are counts of single electrons."""
FEWEST_PIXELS = 1000
"""Of fewer, none may be empty."""
FEWEST_BRIGHT = 24
"""So many pixels of like brightness tell how much counts scatter there."""


def measure_pedestal(scan: da.Array, missing: NDArray[np.bool_] | None = None) -> float:
    """Pedestal of a scan (scan_y, scan_x, det_y, det_x), from some 24 of its patterns; 0.0 where there is none.

    ``missing`` (scan_y, scan_x) is True where there is no pattern.
    """
    return find_pedestal(list(_sample(scan, missing)))


def find_pedestal(runs: Sequence[NDArray[Any]]) -> float:
    """The value at which counting begins; 0.0 where that is what the patterns show, or where nobody can tell.

    A detector that counts single electrons shows it as the lowest value, which most of its empty pixels have. A camera
    with readout noise shows it as a level that is higher than its noise: what has been counted scatters by the square
    root of what was counted, times the gain, which the brighter pixels tell.

    Parameters
    ----------
    runs
        (n, det_y, det_x) each; runs of patterns of neighbouring positions. Patterns that are the same all over, as
        where nothing was recorded, tell nothing.
    """
    # of a part of the scan whose patterns are all missing, there is a run of none
    runs = [kept for run in runs if len(run) and len(kept := run[np.ptp(run, axis=(1, 2)) != 0])]
    if not runs or runs[0].dtype.kind == "b":
        return 0.0
    values = np.concatenate(runs)
    values = np.where(np.isfinite(values), values, np.nan) if values.dtype.kind == "f" else values
    whole = values.dtype.kind != "f" or bool(
        np.all(values[:2] == np.round(values[:2]), where=~np.isnan(values[:2]))
    )
    mean, changes = _per_pixel(values)
    usable = (
        changes if changes.sum() >= FEWEST_PIXELS else np.isfinite(mean)
    )  # a pixel that never changes may be dead
    if usable.sum() < FEWEST_PIXELS:
        return 0.0
    order = np.argsort(mean[usable])
    empty = np.flatnonzero(usable)[order[: max(16, math.ceil(EMPTIEST * len(order)))]]
    level = float(np.mean(mean.flat[empty]))
    noise = np.mean([_variance(run) for run in runs], axis=0).ravel()
    floor = float(np.mean(noise[empty]))
    if level > 0 and whole and floor > MOST_NOISE * level:
        return 0.0
    lowest = _lowest_shared(values.reshape(len(values), -1)[:, empty])
    if lowest is not None and (lowest >= 0 or not whole or floor >= LIKE_COUNTS * (level - lowest)):
        return lowest
    found = _extrapolated(
        runs, mean.ravel(), np.flatnonzero(usable)[order], empty, level=level, floor=floor, whole=whole
    )
    return float(np.round(found)) if whole else float(f"{found:.6g}")


def above_pedestal(data: da.Array, pedestal: float) -> da.Array:
    """The same patterns with ``pedestal`` taken from every value; whole numbers stay whole, with room for a sign."""
    dtype = _counts_dtype(data.dtype)
    name = f"above-{pedestal:g}-{data.name}"
    subtract = partial(_less, level=dtype.type(pedestal), dtype=dtype)
    return data.map_blocks(subtract, dtype=dtype, name=name, meta=np.empty((0,) * data.ndim, dtype))


def _less(block: NDArray[Any], *, level: np.generic, dtype: np.dtype[Any]) -> NDArray[Any]:
    # said outright: numpy 1 would take a small level for one of the block's own type, and wrap below zero
    return np.asarray(np.subtract(block, level, dtype=dtype, casting="unsafe"))


def pedestal_notes(pedestal: float) -> tuple[str, ...]:
    """What to tell of it: a sentence, or none where there is no pedestal."""
    if not pedestal:
        return ()
    verb = "are subtracted" if pedestal > 0 else "are added"
    return (
        f"a pixel that no electron hits reads {pedestal:,.6g} counts: {abs(pedestal):,.6g} {verb} everywhere",
    )


def _counts_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A type that holds differences of the values exactly, or nearly so."""
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    return np.dtype(np.int32 if dtype.itemsize <= 2 else np.int64)


def _sample(scan: da.Array, missing: NDArray[np.bool_] | None) -> Iterator[NDArray[Any]]:
    """(n, det_y, det_x) each; neighbouring patterns at the beginning, in the middle and at the end of the scan."""
    rows, columns = int(scan.shape[0]), int(scan.shape[1])
    pattern_bytes = math.prod(scan.shape[2:]) * scan.dtype.itemsize
    length = int(np.clip(SAMPLE_BYTES // (RUNS * pattern_bytes), 1, min(RUN, columns)))
    places = dict.fromkeys(
        (row, (columns - length) * part // 2) for row, part in ((0, 0), (rows // 2, 1), (rows - 1, 2))
    )
    for row, left in places:
        run = computed(scan[row, left : left + length])
        yield run if missing is None else run[~missing[row, left : left + length]]


def _per_pixel(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean of each pixel, NaN where it has no value, and whether its values (n, det_y, det_x) differ."""
    lacking = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    number = (~lacking).sum(axis=0)
    total = np.sum(values, axis=0, dtype=np.float64, where=~lacking)
    mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    with np.errstate(invalid="ignore"):
        differ = (values != values[0]) & ~lacking & ~lacking[0]
    return mean, differ.any(axis=0) & np.isfinite(mean)


def _variance(run: NDArray[Any]) -> NDArray[np.float64]:
    """(det_y, det_x); variance of the noise from differences of neighbouring patterns, or else of pixels of a row."""
    frames = run.astype(np.float32)
    if len(frames) > 1:
        squares = np.diff(frames, axis=0) ** 2 / 2
    else:
        squares = np.zeros(frames.shape)
        curvature = frames[..., :-2] - 2 * frames[..., 1:-1] + frames[..., 2:]
        squares[..., 1:-1] = curvature**2 / 6
        squares[..., [0, -1]] = squares[..., [1, -2]]
    lacking = ~np.isfinite(squares)
    squares[lacking] = 0
    number = np.maximum((~lacking).sum(axis=0), 1)
    return np.asarray(squares.sum(axis=0, dtype=np.float64) / number, dtype=np.float64)


def _lowest_shared(values: NDArray[Any]) -> float | None:
    """The lowest of the values (n, n_empty) where many are just that and hardly any is lower; None otherwise."""
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    found, number = np.unique(known, return_counts=True)
    often = np.flatnonzero(number >= LEAST_SHARE * len(known))
    if not len(often) or number[: often[0]].sum() > MOST_BELOW * len(known):
        return None
    return float(found[often[0]])


def _extrapolated(
    runs: Sequence[NDArray[Any]],
    mean: NDArray[np.float64],
    by_brightness: NDArray[np.int64],
    empty: NDArray[np.int64],
    *,
    level: float,
    floor: float,
    whole: bool,
) -> float:
    """Where the noise, which falls with the level from bright pixels to empty ones, would be that of no counts."""
    unevenness = float(np.ptp(np.percentile(mean[empty], [10, 90])))
    gain = min((_gain(run, by_brightness, empty) for run in runs), default=0.0)
    if whole and COUNTING[0] < gain < COUNTING[1]:
        gain = 1.0
    counted = floor / gain if gain > 0 and math.isfinite(gain) else (0.0 if floor == 0 else math.inf)
    pedestal = level - min(counted, LEAST_SIGMA * math.sqrt(floor))
    if level < 0:
        return (
            pedestal if level < -LEAST_SIGMA * math.sqrt(floor) and unevenness < MOST_UNEVEN * -level else 0.0
        )
    explained = level - counted
    is_flat = unevenness < MOST_UNEVEN * explained
    least_part = LEAST_PART_COUNTED if gain == 1.0 else LEAST_PART
    stands_out = explained > max(least_part * level, LEAST_SIGMA * math.sqrt(floor))
    return explained if is_flat and stands_out else 0.0


def _gain(run: NDArray[Any], by_brightness: NDArray[np.int64], empty: NDArray[np.int64]) -> float:
    """Counts per electron in a run (n, det_y, det_x): how much faster the noise rises than the level; inf if unknown.

    Structure that changes from pattern to pattern only adds to the noise: the least of all is nearest to the gain.
    """
    noise, mean = _variance(run).ravel(), _per_pixel(run)[0].ravel()
    level, floor = float(np.mean(mean[empty])), float(np.mean(noise[empty]))
    freedom = max(1, len(run) - 1)
    typical = (1 - 2 / (9 * freedom)) ** 3  # the median of chi-squared over its mean
    slopes, part = [], by_brightness
    while len(part) >= 2 * FEWEST_BRIGHT:
        part = part[len(part) // 2 :]
        for some in np.array_split(part, 2):
            above = float(np.median(mean[some])) - level
            if above > max(math.sqrt(floor), 1e-12):
                there = float(np.median(noise[some])) / typical
                uncertain = 1.25 * math.sqrt(2 / (freedom * len(some))) * there
                slopes.append((there + 2 * uncertain - floor) / above)
    return max(min(slopes, default=math.inf), 0.0)
