"""BraggPeaks: the Bragg disks found at every probe position, as flat arrays and offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.ragged import flat_positions, gather_rows, merge_rows, offsets_from_counts
from napari_stem_orient.core.scattering_vectors import (
    PeakSelection,
    known_origin,
    moved_origins,
    scattering_vectors,
)

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

#: Pixel size in Å⁻¹ given to peaks that come without detector pixels.
NOMINAL_PIXEL_SIZE_INV_ANGSTROM = 0.01

#: Arrays of `BraggPeaks` with one entry a peak, and the scattering vectors that are derived from them.
PER_PEAK = ("x_px", "y_px", "intensity", "significance")
DERIVED = ("q_x", "q_y")

#: Peaks nearer to the origin than this, in Å⁻¹, are the direct beam of any crystal: planes 20 Å apart.
DIRECT_BEAM_INV_ANGSTROM = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBlock:
    """Peaks just found at some probe positions.

    Parameters
    ----------
    positions
        (m,) int64; flat row-major probe positions.
    x_px, y_px, intensity
        (n,) float32; column, row and intensity of all peaks of the block, one position after another.
    offsets
        (m + 1,) int64; peaks of ``positions[i]`` are ``offsets[i]:offsets[i + 1]``.
    progress
        How far the detection is.
    significance
        (n,) float32; standard deviations (σ) by which each peak exceeds counting noise; None stands for NaN, where
        nobody knows.
    unreadable_frames
        Number of its patterns in which a pixel that counts was NaN or infinite.
    """

    positions: Int64
    x_px: Float32
    y_px: Float32
    intensity: Float32
    offsets: Int64
    progress: Progress
    significance: Float32 = None  # type: ignore[assignment]
    unreadable_frames: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "significance", _known_or_nan(self.significance, len(self.intensity)))

    def counts(self) -> Int64:
        """(m,) int64; number of peaks at each position of the block."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class BraggPeaks:
    """Bragg peaks of a whole scan: where they are on the detector; the calibration makes scattering vectors of that.

    Attributes
    ----------
    q_x, q_y
        (n,) float32; scattering vector in the sample frame in Å⁻¹ (px where the pixel size is not known); worked out
        when first asked for, and kept: 8 bytes a peak.

    Parameters
    ----------
    x_px, y_px
        (n,) float32; raw column and row on the detector in px.
    intensity
        (n,) float32; correlation or summed intensity, in the detector's units.
    offsets
        (n_positions + 1,) int64; peaks of flat row-major position i are ``offsets[i]:offsets[i + 1]``.
    scan_shape
        (scan_y, scan_x).
    calibration
        What q is computed with.
    origin_px
        (n_positions, 2) float32; row and column of the direct beam at each position in px, or None where
        one origin serves the whole scan.
    detector_shape
        (det_y, det_x), or None where the file did not tell.
    detected
        (n_positions,) bool; False where detection has not been yet. None stands for everywhere.
    significance
        (n,) float32; standard deviations (σ) by which each peak exceeds counting noise; NaN where nobody knows (peaks
        of other programs), everywhere for None.
    parameters
        How the peaks were made: JSON-able.
    name, source_fingerprint, software_version
        Name of the scan, fingerprint of the datacube they come from, and the version that made them.
    q_as_given
        (q_x, q_y), each (n,) float32, of peaks that came as scattering vectors or with them, to the last digit; a new
        calibration lets go of them. None where they are derived.
    recipe
        What was decided to make them, step by step, JSON-able: `steps.recipe` reads it. Empty where nobody knows.
    """

    x_px: Float32
    y_px: Float32
    intensity: Float32
    offsets: Int64
    scan_shape: tuple[int, int]
    calibration: Calibration
    origin_px: Float32 | None = None
    detector_shape: tuple[int, int] | None = None
    detected: NDArray[np.bool_] = None  # type: ignore[assignment]
    significance: Float32 = None  # type: ignore[assignment]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = "peaks"
    source_fingerprint: str | None = None
    software_version: str = __version__
    q_as_given: tuple[Float32, Float32] | None = field(default=None, repr=False)
    recipe: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _fingerprint: str = field(default="", init=False, repr=False)
    _q: tuple[Float32, Float32] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fingerprint", "")
        given = self.q_as_given
        if given is not None:
            q_x, q_y = (np.ascontiguousarray(values, dtype=np.float32) for values in given)
            given = (q_x, q_y)
        object.__setattr__(self, "q_as_given", given)
        object.__setattr__(self, "_q", given)
        object.__setattr__(self, "significance", _known_or_nan(self.significance, len(self.intensity)))
        for name in PER_PEAK:
            values = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            object.__setattr__(self, name, values)
        object.__setattr__(self, "offsets", np.ascontiguousarray(self.offsets, dtype=np.int64))
        object.__setattr__(self, "scan_shape", (int(self.scan_shape[0]), int(self.scan_shape[1])))
        detected = np.ones(self.n_positions, dtype=bool) if self.detected is None else self.detected
        object.__setattr__(self, "detected", np.asarray(detected, dtype=bool).ravel())
        if self.origin_px is not None:
            origin = np.asarray(self.origin_px, dtype=np.float32)
            object.__setattr__(self, "origin_px", origin.reshape(-1, 2))
        self._check()

    def _check(self) -> None:
        if len(self.offsets) != self.n_positions + 1:
            raise ValueError(
                f"{len(self.offsets) - 1} lists of peaks do not fill a scan of "
                f"{self.scan_shape[0]} x {self.scan_shape[1]} = {self.n_positions} positions"
            )
        if self.offsets[0] != 0 or np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets of Bragg peaks must start at 0 and never decrease")
        flat = {name: getattr(self, name) for name in PER_PEAK}
        for name, values in (flat | dict(zip(DERIVED, self.q_as_given or (), strict=False))).items():
            if values.shape != (self.offsets[-1],):
                raise ValueError(
                    f"{name} has shape {values.shape}; the offsets ask for ({self.offsets[-1]},)"
                )
        if self.detected.shape != (self.n_positions,):
            raise ValueError(f"detected has {self.detected.size} entries for {self.n_positions} positions")
        if self.origin_px is not None and len(self.origin_px) != self.n_positions:
            raise ValueError(f"origin_px has {len(self.origin_px)} rows for {self.n_positions} positions")

    @property
    def q_x(self) -> Float32:
        """(n,) float32; x of the scattering vectors in the sample frame in Å⁻¹ (px without a pixel size)."""
        return self._vectors()[0]

    @property
    def q_y(self) -> Float32:
        """(n,) float32; y of the scattering vectors, as `q_x`."""
        return self._vectors()[1]

    def _vectors(self) -> tuple[Float32, Float32]:
        if self._q is None:
            q = scattering_vectors(
                self.x_px, self.y_px, self.counts(), self.calibration, self.origin_px, self.detector_shape
            )
            object.__setattr__(self, "_q", q)
            return q
        return self._q

    @property
    def n_positions(self) -> int:
        """Number of probe positions."""
        return self.scan_shape[0] * self.scan_shape[1]

    @property
    def n_peaks(self) -> int:
        """Number of peaks in the whole scan."""
        return int(self.offsets[-1])

    @property
    def fingerprint(self) -> str:
        """Short text that changes when the peaks, their positions or their calibration do; computed once."""
        if self._fingerprint:
            return self._fingerprint
        digest = hashlib.blake2b(digest_size=12)
        digest.update(repr(self.scan_shape).encode())
        digest.update(self.calibration.model_dump_json(exclude={"checked", "pixel_angle_mrad"}).encode())
        for values in (self.offsets, self.detected, self.q_x, self.q_y, self.intensity):
            digest.update(values.data)
        if np.isfinite(self.significance).any():
            digest.update(self.significance.data)
        object.__setattr__(self, "_fingerprint", digest.hexdigest())
        return self._fingerprint

    def with_fingerprint(self) -> BraggPeaks:
        """These peaks with their fingerprint worked out, which takes too long for a window where there are millions."""
        _ = self.fingerprint
        return self

    def with_recipe(self, recipe: Mapping[str, Any]) -> BraggPeaks:
        """The same peaks, of which it is known by now what was decided to make them."""
        return self._with(recipe=recipe)

    def _with(self, **changes: Any) -> BraggPeaks:
        """A copy that differs in nothing that q and fingerprint come from."""
        same = replace(self, **changes)
        object.__setattr__(same, "_fingerprint", self._fingerprint)
        object.__setattr__(same, "_q", self._q)
        return same

    def counts(self) -> Int64:
        """(n_positions,) int64; number of peaks at each position."""
        return np.diff(self.offsets)

    def reach(self, *, part: float) -> float:
        """Radius in Å⁻¹ within which ``part`` (0 to 1) of all disks but direct beams lie; 0 where there are none."""
        q = np.hypot(self.q_x, self.q_y)
        q = q[np.isfinite(q) & (q > DIRECT_BEAM_INV_ANGSTROM)]
        return float(np.quantile(q, part)) if len(q) else 0.0

    def at(self, y: int, x: int) -> Float32:
        """(n, 3) float32; q_x, q_y and intensity of the peaks at scan row ``y`` and column ``x``."""
        part = self._slice(y, x)
        return np.stack([self.q_x[part], self.q_y[part], self.intensity[part]], axis=1)

    def pixels_at(self, y: int, x: int) -> Float32:
        """(n, 3) float32; x_px, y_px and intensity of the peaks at scan row ``y`` and column ``x``."""
        part = self._slice(y, x)
        return np.stack([self.x_px[part], self.y_px[part], self.intensity[part]], axis=1)

    def origin_at(self, y: int, x: int) -> Float32:
        """(2,) float32; row and column of the direct beam at scan row ``y`` and column ``x`` in px."""
        self._slice(y, x)
        if self.origin_px is not None:
            origin: Float32 = self.origin_px[y * self.scan_shape[1] + x]
            return origin
        return np.asarray(known_origin(self.calibration, self.detector_shape), dtype=np.float32)

    def _slice(self, y: int, x: int) -> slice:
        rows, columns = self.scan_shape
        if not (0 <= y < rows and 0 <= x < columns):
            raise IndexError(
                f"probe position (row {y}, column {x}) lies outside the scan of {rows} x {columns}"
            )
        position = y * columns + x
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def select(self, positions: ArrayLike) -> PeakSelection:
        """Peaks of some positions, in the order given.

        Parameters
        ----------
        positions
            Flat row-major positions (m,), or a boolean mask of shape scan_shape or (n_positions,).
        """
        chosen = flat_positions(positions, self.n_positions)
        index, offsets = gather_rows(self.offsets, chosen)
        return PeakSelection(
            positions=chosen,
            offsets=offsets,
            **{name: getattr(self, name)[index] for name in (*PER_PEAK, *DERIVED)},
        )

    def as_block(self) -> DetectedBlock:
        """The detected positions as one block, to go on from where a detection stopped."""
        part = self.select(self.detected)
        progress = Progress(done=len(part.positions), total=self.n_positions, unit="patterns")
        return DetectedBlock(
            part.positions,
            part.x_px,
            part.y_px,
            part.intensity,
            part.offsets,
            progress,
            part.significance,
            unreadable_frames=int(self.parameters.get("unreadable_frames", 0)),
        )

    def with_calibration(self, calibration: Calibration, *, origin_px: ArrayLike | None = None) -> BraggPeaks:
        """The same peaks with q computed anew.

        Parameters
        ----------
        calibration
            The new calibration.
        origin_px
            (n_positions, 2) or (2,), row and column of the direct beam in px. Where None, the origins of the
            positions are kept, shifted as the calibration's mean origin is.
        """
        if origin_px is None:
            origins = moved_origins(self.origin_px, self.calibration.origin_px, calibration.origin_px)
        else:
            origins = np.broadcast_to(np.asarray(origin_px, dtype=np.float32), (self.n_positions, 2))
        if origins is None:
            known_origin(calibration, self.detector_shape)
        return replace(self, q_as_given=None, calibration=calibration, origin_px=origins)

    def with_checked(self, calibration: Calibration) -> BraggPeaks:
        """The same peaks and q with other quantities counted as calibrated; ValueError where more differs."""
        if calibration.updated(checked=self.calibration.checked) != self.calibration:
            raise ValueError("another calibration needs other scattering vectors: use with_calibration")
        return self._with(calibration=calibration)

    def with_vectors(self, q_x: Float32, q_y: Float32) -> BraggPeaks:
        """The same peaks, whose scattering vectors (n,) were worked out before: to the last digit as they were then."""
        same = replace(self, q_as_given=None)
        object.__setattr__(same, "_q", (q_x, q_y))
        return same

    @classmethod
    def from_lists(
        cls,
        peaks: Sequence[ArrayLike],
        scan_shape: tuple[int, int],
        calibration: Calibration,
        *,
        origin_px: ArrayLike | None = None,
        **fields: Any,
    ) -> BraggPeaks:
        """Peaks from one (n, 3) array of q_x, q_y (Å⁻¹, sample frame) and intensity a position.

        Detector pixels are computed back from q; where the calibration has no pixel size or no origin, a
        nominal pixel of 0.01 Å⁻¹ and an origin that keeps all pixels positive are taken.
        """
        parts = [np.asarray(part, dtype=np.float64).reshape(-1, 3) for part in peaks]
        offsets = offsets_from_counts([len(part) for part in parts])
        flat = np.concatenate(parts) if parts else np.zeros((0, 3))
        return cls.from_q(
            flat[:, 0],
            flat[:, 1],
            flat[:, 2],
            offsets,
            scan_shape,
            calibration,
            origin_px=origin_px,
            **fields,
        )

    @classmethod
    def from_q(
        cls,
        q_x: ArrayLike,
        q_y: ArrayLike,
        intensity: ArrayLike,
        offsets: ArrayLike,
        scan_shape: tuple[int, int],
        calibration: Calibration,
        *,
        origin_px: ArrayLike | None = None,
        **fields: Any,
    ) -> BraggPeaks:
        """Peaks from flat q_x, q_y in Å⁻¹ in the sample frame; pixels as in `from_lists`."""
        q_x, q_y = np.asarray(q_x, dtype=np.float64), np.asarray(q_y, dtype=np.float64)
        if calibration.pixel_size_inv_angstrom is None:
            calibration = calibration.updated(pixel_size_inv_angstrom=NOMINAL_PIXEL_SIZE_INV_ANGSTROM)
        if calibration.origin_px is None and origin_px is None:
            size = calibration.pixel_size_inv_angstrom or NOMINAL_PIXEL_SIZE_INV_ANGSTROM
            reach = float(np.ceil(np.max(np.hypot(q_x, q_y), initial=0.0) / size)) + 1
            calibration = calibration.updated(origin_px=(reach, reach))
        n_positions = int(scan_shape[0]) * int(scan_shape[1])
        origins = None if origin_px is None else np.broadcast_to(origin_px, (n_positions, 2))
        per_peak = None if origins is None else np.repeat(origins, np.diff(np.asarray(offsets)), axis=0)
        x_px, y_px = calibration.q_to_pixels(q_x, q_y, origin_px=per_peak)
        return cls(
            x_px=x_px.astype(np.float32),
            y_px=y_px.astype(np.float32),
            q_as_given=(q_x.astype(np.float32), q_y.astype(np.float32)),
            intensity=np.asarray(intensity, dtype=np.float32),
            offsets=np.asarray(offsets, dtype=np.int64),
            scan_shape=scan_shape,
            calibration=calibration,
            origin_px=origins,
            **fields,
        )

    @classmethod
    def from_blocks(
        cls,
        blocks: Iterable[DetectedBlock],
        *,
        scan_shape: tuple[int, int],
        calibration: Calibration,
        detector_shape: tuple[int, int] | None = None,
        origin_px: ArrayLike | None = None,
        **fields: Any,
    ) -> BraggPeaks:
        """Peaks of a scan from blocks in any order.

        A position that no block holds counts as not detected; where two blocks hold the same position, the
        later one wins. Where no origin is known, the middle of the detector is taken.
        """
        n_positions = int(scan_shape[0]) * int(scan_shape[1])
        parts = list(blocks)
        index, offsets, detected = merge_rows(
            [part.positions for part in parts], [part.counts() for part in parts], n_positions
        )
        x_px, y_px, intensity, significance = (
            np.concatenate([np.zeros(0, np.float32), *(getattr(part, name) for part in parts)])[index]
            for name in ("x_px", "y_px", "intensity", "significance")
        )
        if origin_px is None:
            known_origin(calibration, detector_shape)
        origins = None if origin_px is None else np.broadcast_to(origin_px, (n_positions, 2))
        return cls(
            x_px=x_px,
            y_px=y_px,
            intensity=intensity,
            significance=significance,
            offsets=offsets,
            scan_shape=scan_shape,
            calibration=calibration,
            origin_px=origins,
            detector_shape=detector_shape,
            detected=detected,
            **fields,
        )


def _known_or_nan(values: Float32 | None, number: int) -> Float32:
    if values is None:
        return np.full(number, np.nan, dtype=np.float32)
    return np.asarray(values, dtype=np.float32)
