"""DetectorCounter: what virtual detectors count in patterns whose direct beam lies elsewhere from one to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.virtual.detector import VirtualDetector

Float32 = NDArray[np.float32]

#: A detector that covers much of the pattern is moved in steps of this many px after the beam.
STEP_PX = 0.25
#: Detectors whose window is at most this part of the pattern are summed in the window, at their exact place.
WINDOW_PART = 0.125

_BATCH_BYTES = 2**20  # of float32 patterns: they stay in the processor's cache
_CACHE_BYTES = 64 * 2**20


class DetectorCounter:
    """Sums counts over virtual detectors, block by block.

    Parameters
    ----------
    detectors
        At least one.
    detector_shape
        (det_y, det_x).
    origins
        (n_positions, 2) or (2,) float64; row and column of the direct beam in px.
    usable
        (det_y, det_x) bool; pixels that count.

    Raises
    ------
    ValueError
        Where a detector lies outside the pixels when the direct beam is at its mean place.
    """

    def __init__(
        self,
        detectors: Sequence[VirtualDetector],
        detector_shape: tuple[int, int],
        origins: NDArray[np.float64],
        usable: NDArray[np.bool_],
    ) -> None:
        self._detectors, self._shape, self._origins = tuple(detectors), detector_shape, origins
        self._usable = usable
        self._all_usable = bool(usable.all())
        self._cache: dict[tuple[int, int] | None, Float32] = {}
        for detector in self._detectors:
            _check_place(detector, detector_shape, origins.reshape(-1, 2).mean(axis=0))
        small = WINDOW_PART * math.prod(detector_shape)
        windows = [(2 * _reach(detector) + 1) ** 2 for detector in detectors]
        self._small = [index for index, n_pixels in enumerate(windows) if n_pixels <= small]
        self._large = [index for index, n_pixels in enumerate(windows) if n_pixels > small]

    def counts(self, positions: NDArray[np.int64], frames: NDArray[Any]) -> tuple[Float32, NDArray[np.bool_]]:
        """Counts in the patterns ``frames`` (m, det_y, det_x) at flat ``positions`` (m,).

        Returns
        -------
        counts
            (n_detectors, m) float32.
        invalid
            (m,) bool; patterns with NaN or infinite pixels where a detector looked: these count as 0.
        """
        counts = np.empty((len(self._detectors), len(frames)), dtype=np.float32)
        invalid = np.zeros(len(frames), dtype=bool)
        origins = self._origins if self._origins.ndim == 1 else self._origins[positions]
        origins = np.broadcast_to(origins, (len(frames), 2))
        for index in self._small:
            counts[index] = self._in_window(self._detectors[index], frames, origins, invalid)
        if self._large:
            counts[self._large] = self._in_whole(frames, origins, invalid)
        return counts, invalid

    def _in_window(
        self,
        detector: VirtualDetector,
        frames: NDArray[Any],
        origins: NDArray[np.float64],
        invalid: NDArray[np.bool_],
    ) -> Float32:
        """(m,) float32; sums of the few pixels around each pattern's place of the detector."""
        places = detector.place_px(origins)
        offsets = np.arange(-_reach(detector), _reach(detector) + 1)
        pixels = [np.round(places[:, axis]).astype(np.int64)[:, None] + offsets for axis in (0, 1)]
        inside = [(p >= 0) & (p < size) for p, size in zip(pixels, self._shape, strict=True)]
        rows, columns = (np.clip(p, 0, size - 1) for p, size in zip(pixels, self._shape, strict=True))
        rows, columns = rows[:, :, None], columns[:, None, :]
        distance = np.hypot(
            (pixels[0] - places[:, :1]).astype(np.float32)[:, :, None],
            (pixels[1] - places[:, 1:]).astype(np.float32)[:, None, :],
        )
        shares = detector.covered(distance) * (inside[0][:, :, None] & inside[1][:, None, :])
        if not self._all_usable:
            shares *= self._usable[rows, columns]
        seen = frames[np.arange(len(frames))[:, None, None], rows, columns].astype(np.float32)
        values, bad = _finite(seen, counted=shares)
        invalid |= bad
        return np.asarray(np.einsum("mij,mij->m", values, shares, dtype=np.float64), dtype=np.float32)

    def _in_whole(
        self, frames: NDArray[Any], origins: NDArray[np.float64], invalid: NDArray[np.bool_]
    ) -> Float32:
        """(n_large, m) float32; one matrix product for the patterns whose direct beam is at one place."""
        pixels = frames.reshape(len(frames), -1)
        counts = np.empty((len(self._large), len(frames)), dtype=np.float32)
        moving = self._origins.ndim == 2 and any(self._detectors[index].follows_beam for index in self._large)
        steps = np.round(origins / STEP_PX).astype(np.int64) if moving else np.zeros_like(origins, np.int64)
        places, which = np.unique(steps, axis=0, return_inverse=True)
        n_batch = max(1, _BATCH_BYTES // (4 * pixels.shape[1]))
        for index, (row, column) in enumerate(places.tolist()):
            weights = self._weights((row, column) if moving else None)
            counted = weights.any(axis=1) if frames.dtype.kind == "f" else None
            here = np.flatnonzero(which.reshape(-1) == index)
            for start in range(0, len(here), n_batch):
                some = here[start : start + n_batch]
                values, bad = _finite(pixels[some].astype(np.float32), counted=counted)
                invalid[some] |= bad
                counts[:, some] = (values @ weights).T
        return counts

    def _weights(self, steps: tuple[int, int] | None) -> Float32:
        """(n_pixels, n_large) float32; what each pixel adds with the direct beam at this place."""
        found = self._cache.get(steps)
        if found is None:
            mean = self._origins.reshape(-1, 2).mean(axis=0)
            origin = mean if steps is None else np.array(steps) * STEP_PX
            shares = [
                self._detectors[index].weights(self._shape, origin) * self._usable for index in self._large
            ]
            found = np.ascontiguousarray(np.stack(shares).reshape(len(shares), -1).T)
            if (len(self._cache) + 1) * found.nbytes > _CACHE_BYTES:
                self._cache.clear()
            self._cache[steps] = found
        return found


def finite_frames(frames: NDArray[Any]) -> Float32:
    """Patterns (m, det_y, det_x) as float32, with 0 for NaN and infinite values."""
    return _finite(frames.astype(np.float32))[0]


def _finite(
    values: Float32, *, counted: NDArray[np.generic] | None = None
) -> tuple[Float32, NDArray[np.bool_]]:
    """Put 0 in place of NaN and infinite values, in place, and tell which patterns had such where they are counted.

    ``counted``, of the shape of one pattern or of all, is not 0 there; everywhere where None.
    """
    if np.isfinite(values.sum()):
        return values, np.zeros(len(values), dtype=bool)
    wrong = ~np.isfinite(values)
    values[wrong] = 0
    if counted is not None:
        wrong &= counted != 0
    return values, np.asarray(wrong.reshape(len(values), -1).any(axis=1))


def _reach(detector: VirtualDetector) -> int:
    """Pixels that the detector may reach beyond the one at its centre."""
    return math.ceil(detector.outer_radius_px + 0.5)


def _check_place(
    detector: VirtualDetector, detector_shape: tuple[int, int], origin_px: NDArray[np.float64]
) -> None:
    if not detector.weights(detector_shape, origin_px).any():
        row, column = detector.place_px(origin_px)
        raise ValueError(
            f"the virtual detector “{detector.name}” lies outside the detector of {detector_shape[0]} x "
            f"{detector_shape[1]} px, at row {row:.1f}, column {column:.1f}: move it"
        )
