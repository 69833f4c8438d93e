"""The orientation map: phase, orientation, score and reason at every scan position, and what made them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import euler_bunge_deg, format_zone_axis, zone_axis_uvw
from napari_stem_orient.core.progress import Progress

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks

NOT_INDEXED = -1
"""The phase_id of a position that has no orientation, as in orix."""


class Reason(IntEnum):
    """Why a position has, or has not, an orientation."""

    INDEXED = 0
    NOT_DONE = 1
    TOO_FEW_DISKS = 2
    NO_PHASE_FITS = 3
    AMBIGUOUS = 4
    NOT_DETECTED = 5
    MASKED = 6

    @property
    def sentence(self) -> str:
        """The reason in words for the person who looks at the map."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.INDEXED: "Indexed.",
    Reason.NOT_DONE: "Not indexed yet: run Index, or let it finish.",
    Reason.TOO_FEW_DISKS: "Not indexed: too few Bragg disks (vacuum, very thin, or thresholds too strict).",
    Reason.NO_PHASE_FITS: "Not indexed: none of the crystals explains this pattern.",
    Reason.AMBIGUOUS: "Not indexed: two orientations explain this pattern equally well.",
    Reason.NOT_DETECTED: "Not indexed: Bragg disks were not detected here yet.",
    Reason.MASKED: "Not indexed: this position is outside the chosen region.",
}


@dataclass(frozen=True, slots=True, eq=False)
class IndexedBlock:
    """The solutions of m scan positions, as an indexing job yields them.

    Attributes
    ----------
    positions : (m,) int64; flat, row-major scan positions
    phase_id : (m,) int16; index into the map's crystals, -1 where not indexed
    quaternion : (m, 4) float32; sample to crystal, scalar first; ignored where not indexed
    score : (m,) float32; 0 to 1, how much of the measured pattern the solution explains
    confidence_deg : (m,) float32; expected error in degrees (lower is better), NaN where unknown
    reason : (m,) uint8; a Reason
    alternative_phase_id : (m,) int16; the runner-up at least 10° away, -1 where there is none
    alternative_quaternion : (m, 4) float32; NaN where there is none
    alternative_score : (m,) float32; NaN where there is none
    progress : how far the job is after this block
    """

    positions: NDArray[np.int64]
    phase_id: NDArray[np.int16]
    quaternion: NDArray[np.float32]
    score: NDArray[np.float32]
    confidence_deg: NDArray[np.float32]
    reason: NDArray[np.uint8]
    alternative_phase_id: NDArray[np.int16]
    alternative_quaternion: NDArray[np.float32]
    alternative_score: NDArray[np.float32]
    progress: Progress

    @classmethod
    def not_indexed(
        cls, positions: NDArray[np.int64], reason: Reason | NDArray[np.uint8], *, progress: Progress
    ) -> IndexedBlock:
        """Make the block of positions (m,) that have no solution, for one reason or one each (m,)."""
        n_positions = len(positions)
        return cls(
            positions=np.asarray(positions, dtype=np.int64),
            reason=np.broadcast_to(np.asarray(reason, dtype=np.uint8), n_positions).copy(),
            progress=progress,
            **_unindexed_arrays(n_positions),
        )

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """(m,) bool: the positions of this block that have an orientation."""
        return self.phase_id >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """The runner-up solution at one position.

    Attributes
    ----------
    crystal : the runner-up's crystal
    quaternion : (4,) float64; sample to crystal, scalar first
    zone_axis : the crystal direction toward the gun, as text
    euler_deg : Bunge angles phi1, Phi, phi2 in degrees
    score : 0 to 1
    """

    crystal: Crystal
    quaternion: NDArray[np.float64]
    zone_axis: str
    euler_deg: tuple[float, float, float]
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What is known about one scan position.

    Attributes
    ----------
    position : scan (y, x)
    phase_id : index into the map's crystals, -1 where not indexed
    crystal : None where not indexed
    quaternion : (4,) float64; sample to crystal, scalar first; identity where not indexed
    zone_axis : the crystal direction toward the gun, as text such as "[112]"; empty where not indexed
    zone_axis_uvw : the same as three integers; None where not indexed
    euler_deg : Bunge angles phi1, Phi, phi2 in degrees; None where not indexed
    score : 0 to 1
    confidence_deg : expected error in degrees, NaN where unknown
    reason : why there is, or is not, an orientation
    alternative : the runner-up at least 10° away, if there is one
    """

    position: tuple[int, int]
    phase_id: int
    crystal: Crystal | None
    quaternion: NDArray[np.float64]
    zone_axis: str
    zone_axis_uvw: tuple[int, int, int] | None
    euler_deg: tuple[float, float, float] | None
    score: float
    confidence_deg: float
    reason: Reason
    alternative: Alternative | None

    @property
    def indexed(self) -> bool:
        """Whether this position has an orientation."""
        return self.crystal is not None

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.reason.sentence


@dataclass(frozen=True, slots=True, eq=False)
class OrientationMap:
    """Phase and orientation over a whole scan, and what made them.

    The arrays run over all n = scan_y * scan_x positions, row by row. `fill` writes into them in place while
    a job runs: nothing else changes a map.

    Attributes
    ----------
    scan_shape : (scan_y, scan_x)
    crystals : phase_id counts through these
    phase_id : (n,) int16; -1 where not indexed
    quaternion : (n, 4) float32; sample to crystal, scalar first; identity where not indexed
    score : (n,) float32; 0 to 1, 0 where not indexed
    confidence_deg : (n,) float32; expected error in degrees (lower is better), NaN where unknown
    reason : (n,) uint8; a Reason
    alternative_phase_id : (n,) int16; the runner-up at least 10° away, -1 where there is none
    alternative_quaternion : (n, 4) float32; NaN where there is none
    alternative_score : (n,) float32; NaN where there is none
    calibration : of the Bragg peaks it was made from
    method : "transformer" or "template"
    parameters : the method's parameters; JSON-able
    model : name, version and hash of the network; None where there was none
    peaks_fingerprint : of the Bragg peaks it was made from
    software_version : of this package
    peaks_parameters : how the Bragg peaks were made: detector, its parameters, probe; JSON-able
    """

    scan_shape: tuple[int, int]
    crystals: tuple[Crystal, ...]
    phase_id: NDArray[np.int16]
    quaternion: NDArray[np.float32]
    score: NDArray[np.float32]
    confidence_deg: NDArray[np.float32]
    reason: NDArray[np.uint8]
    alternative_phase_id: NDArray[np.int16]
    alternative_quaternion: NDArray[np.float32]
    alternative_score: NDArray[np.float32]
    calibration: Calibration
    method: str
    parameters: dict[str, Any]
    model: dict[str, Any] | None
    peaks_fingerprint: str | None
    software_version: str
    peaks_parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse arrays that do not cover the scan."""
        n_positions = self.n_positions
        for name in ARRAY_NAMES:
            array = getattr(self, name)
            if len(array) != n_positions:
                raise ValueError(
                    f"{name} has {len(array)} entries, but scan shape "
                    f"{self.scan_shape[0]} x {self.scan_shape[1]} has {n_positions} positions; "
                    "give one entry for each position"
                )

    @classmethod
    def empty(
        cls,
        peaks: BraggPeaks,
        crystals: tuple[Crystal, ...],
        *,
        method: str,
        parameters: dict[str, Any],
        model: dict[str, Any] | None = None,
    ) -> OrientationMap:
        """Make the map that an indexing job of `peaks` starts from: every position NOT_DONE."""
        n_positions = peaks.n_positions
        return cls(
            scan_shape=peaks.scan_shape,
            crystals=tuple(crystals),
            reason=np.full(n_positions, Reason.NOT_DONE, dtype=np.uint8),
            calibration=peaks.calibration,
            method=method,
            parameters=parameters,
            model=model,
            peaks_fingerprint=peaks.fingerprint,
            software_version=__version__,
            peaks_parameters=dict(peaks.parameters),
            **_unindexed_arrays(n_positions),
        )

    @property
    def n_positions(self) -> int:
        """Number of scan positions."""
        return self.scan_shape[0] * self.scan_shape[1]

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """(n,) bool: the positions that have an orientation."""
        return self.phase_id >= 0

    @property
    def done(self) -> NDArray[np.bool_]:
        """(n,) bool: the positions that a job has been at, indexed or not."""
        return np.asarray(self.reason != Reason.NOT_DONE)

    @property
    def remaining_positions(self) -> NDArray[np.int64]:
        """(m,) int64: the flat positions that a resumed job still has to do."""
        return np.flatnonzero(~self.done).astype(np.int64)

    @property
    def is_complete(self) -> bool:
        """Whether every position is done."""
        return bool(self.done.all())

    @property
    def indexed_fraction(self) -> float:
        """Indexed positions as a fraction of the scan, 0 to 1."""
        return float(self.indexed.mean()) if self.n_positions else 0.0

    def fill(self, block: IndexedBlock) -> None:
        """Write a block's solutions into the map, in place."""
        positions = block.positions
        indexed = block.indexed
        for name in ARRAY_NAMES:
            getattr(self, name)[positions] = getattr(block, name)
        self.quaternion[positions[~indexed]] = _IDENTITY

    def copy(self) -> OrientationMap:
        """Return a map with arrays of its own, so that a resumed job leaves this one as it is."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values.update({name: values[name].copy() for name in ARRAY_NAMES})
        return OrientationMap(**values)

    def made_otherwise(self, other: OrientationMap) -> tuple[str, ...]:
        """What was not the same when another map was made: of peaks, crystals, method, parameters and model."""
        same = {
            "peaks": self.peaks_fingerprint == other.peaks_fingerprint
            and self.scan_shape == other.scan_shape,
            "crystals": self.crystals == other.crystals,
            "method": self.method == other.method,
            "parameters": self.parameters == other.parameters,
            "model": self.model == other.model,
        }
        return tuple(name for name, equal in same.items() if not equal)

    def continued(self, start: OrientationMap) -> OrientationMap:
        """Return a copy of this stopped map, to go on with the job that ``start`` is the empty map of.

        Raises
        ------
        ValueError
            When this map was made otherwise; the message names in what.
        """
        other = self.made_otherwise(start)
        if other:
            raise ValueError(
                f"the earlier map was made with other {' and '.join(other)}: use the same, or index anew"
            )
        return self.copy()

    def is_made_from(self, peaks: BraggPeaks) -> bool:
        """Whether the map was made from these Bragg peaks, as they are now."""
        return self.peaks_fingerprint == peaks.fingerprint

    def zone_axes(self, phase_id: int, *, max_index: int = 9) -> NDArray[np.int64]:
        """Return the zone axes toward the gun of the positions of one phase.

        Returns
        -------
        uvw : (m, 3) int; in the order of np.flatnonzero(phase_id == ...)
        """
        quaternion = self.quaternion[self.phase_id == phase_id]
        return np.asarray(zone_axis_uvw(quaternion, self.crystals[phase_id], max_index=max_index)).reshape(
            -1, 3
        )

    def at(self, y: int, x: int) -> Solution:
        """Return what is known about scan position (y, x); IndexError outside the scan."""
        rows, columns = self.scan_shape
        if not (0 <= y < rows and 0 <= x < columns):
            raise IndexError(
                f"position ({y}, {x}) is outside the scan of {rows} x {columns}; "
                f"use 0 to {rows - 1} and 0 to {columns - 1}"
            )
        index = y * columns + x
        phase_id = int(self.phase_id[index])
        quaternion = self.quaternion[index].astype(np.float64)
        crystal = self.crystals[phase_id] if phase_id >= 0 else None
        uvw, zone_axis, euler_deg = (None, "", None) if crystal is None else _in_words(quaternion, crystal)
        return Solution(
            position=(y, x),
            phase_id=phase_id,
            crystal=crystal,
            quaternion=quaternion,
            zone_axis=zone_axis,
            zone_axis_uvw=uvw,
            euler_deg=euler_deg,
            score=float(self.score[index]),
            confidence_deg=float(self.confidence_deg[index]),
            reason=Reason(int(self.reason[index])),
            alternative=self._alternative_at(index),
        )

    def _alternative_at(self, index: int) -> Alternative | None:
        phase_id = int(self.alternative_phase_id[index])
        if phase_id < 0:
            return None
        crystal = self.crystals[phase_id]
        quaternion = self.alternative_quaternion[index].astype(np.float64)
        _, zone_axis, euler_deg = _in_words(quaternion, crystal)
        return Alternative(
            crystal=crystal,
            quaternion=quaternion,
            zone_axis=zone_axis,
            euler_deg=euler_deg,
            score=float(self.alternative_score[index]),
        )


ARRAY_NAMES = (
    "phase_id",
    "quaternion",
    "score",
    "confidence_deg",
    "reason",
    "alternative_phase_id",
    "alternative_quaternion",
    "alternative_score",
)
"""The names of the arrays that a block and a map have in common."""

_IDENTITY = np.array([1, 0, 0, 0], dtype=np.float32)


def _unindexed_arrays(n_positions: int) -> dict[str, Any]:
    """Return the arrays, all but the reason, of n positions that have no solution."""
    return {
        "phase_id": np.full(n_positions, NOT_INDEXED, dtype=np.int16),
        "quaternion": np.tile(_IDENTITY, (n_positions, 1)),
        "score": np.zeros(n_positions, dtype=np.float32),
        "confidence_deg": np.full(n_positions, np.nan, dtype=np.float32),
        "alternative_phase_id": np.full(n_positions, NOT_INDEXED, dtype=np.int16),
        "alternative_quaternion": np.full((n_positions, 4), np.nan, dtype=np.float32),
        "alternative_score": np.full(n_positions, np.nan, dtype=np.float32),
    }


def _in_words(
    quaternion: NDArray[np.float64], crystal: Crystal
) -> tuple[tuple[int, int, int], str, tuple[float, float, float]]:
    """Return the zone axis as integers and text and the Euler angles in degrees of one orientation."""
    u, v, w = (int(value) for value in zone_axis_uvw(quaternion, crystal))
    phi1, capital_phi, phi2 = (float(value) for value in euler_bunge_deg(quaternion))
    return (u, v, w), format_zone_axis((u, v, w)), (phi1, capital_phi, phi2)
