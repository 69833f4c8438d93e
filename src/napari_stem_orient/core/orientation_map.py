"""The orientation map: phase, orientation, score and reason at every scan position, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solution import Alternative, Solution, orientation_in_words
from napari_stem_orient.core.zone_axes import zone_axis_uvw

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks


NOT_INDEXED = -1
"""The phase_id of a position that has no orientation, as in orix."""


@dataclass(frozen=True, slots=True, eq=False)
class IndexedBlock:
    """The solutions of m scan positions, as an indexing job yields them.

    Attributes
    ----------
    positions : (m,) int64; flat, row-major scan positions
    phase_id : (m,) int16; index into the map's crystals, -1 where not indexed
    quaternion : (m, 4) float32; sample to crystal, scalar first; ignored where nothing was found
    score : (m,) float32; 0 to 1, how much of the measured pattern the solution explains
    confidence_deg : (m,) float32; expected error in degrees (lower is better), NaN where unknown
    reason : (m,) uint8; a Reason
    alternative_phase_id : (m,) int16; the runner-up at least 10° away, -1 where there is none
    alternative_quaternion : (m, 4) float32; NaN where there is none
    alternative_score : (m,) float32; NaN where there is none
    explained_disks : (m,) uint16; disks that the solution explains, 0 where not indexed
    unexplained_disks : (m,) uint16; disks that it does not explain; all disks where not indexed
    phase_probability : (m,) float32; of the phase among all that were searched, 0 to 1; NaN where unknown
    rejected_phase_id : (m,) int16; where two answers are as good (not indexed), the phase of the better one:
        quaternion and score then hold it, the runner-up is the other; -1 elsewhere
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
    explained_disks: NDArray[np.uint16]
    unexplained_disks: NDArray[np.uint16]
    phase_probability: NDArray[np.float32]
    rejected_phase_id: NDArray[np.int16]
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
            **unindexed_arrays(n_positions),
        )

    @property
    def indexed(self) -> NDArray[np.bool_]:
        """(m,) bool: the positions of this block that have an orientation."""
        return self.phase_id >= 0


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
    quaternion : (n, 4) float32; sample to crystal, scalar first; identity where nothing was found
    score : (n,) float32; 0 to 1, 0 where nothing was found
    confidence_deg : (n,) float32; expected error in degrees (lower is better), NaN where unknown
    reason : (n,) uint8; a Reason
    alternative_phase_id : (n,) int16; the runner-up at least 10° away, -1 where there is none
    alternative_quaternion : (n, 4) float32; NaN where there is none
    alternative_score : (n,) float32; NaN where there is none
    explained_disks : (n,) uint16; disks that the solution explains, 0 where not indexed
    unexplained_disks : (n,) uint16; disks that it does not explain; all disks where not indexed
    phase_probability : (n,) float32; of the phase among all that were searched, 0 to 1; NaN where unknown
    rejected_phase_id : (n,) int16; where two answers are as good (not indexed), the phase of the better one:
        quaternion and score then hold it, the runner-up is the other; -1 elsewhere
    calibration : of the Bragg peaks it was made from
    method : "transformer" or "template"
    parameters : the method's parameters; JSON-able
    model : name, version and hash of the network; None where there was none
    peaks_fingerprint : of the Bragg peaks it was made from
    software_version : of this package
    peaks_parameters : how the Bragg peaks were made: detector, its parameters, probe; JSON-able
    measured : what was measured in the whole scan to index it, where the parameters left it open; JSON-able
    name : of the scan; empty where a file does not tell
    source_fingerprint : of the scan's data, by which maps of scans of one shape are told apart; None where unknown
    recipe : what was decided to make it, step by step; JSON-able, `steps.recipe` reads it; empty where nobody knows
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
    explained_disks: NDArray[np.uint16]
    unexplained_disks: NDArray[np.uint16]
    phase_probability: NDArray[np.float32]
    rejected_phase_id: NDArray[np.int16]
    calibration: Calibration
    method: str
    parameters: dict[str, Any]
    model: dict[str, Any] | None
    peaks_fingerprint: str | None
    software_version: str
    peaks_parameters: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    source_fingerprint: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

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
        recipe: Mapping[str, Any] | None = None,
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
            name=peaks.name,
            source_fingerprint=peaks.source_fingerprint,
            recipe=recipe or {},
            **unindexed_arrays(n_positions),
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
        found = block.indexed | (block.rejected_phase_id >= 0)
        for name in ARRAY_NAMES:
            getattr(self, name)[positions] = getattr(block, name)
        self.quaternion[positions[~found]] = _IDENTITY

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

    def has_same_answers(self, other: OrientationMap) -> bool:
        """Whether another map has the same phase, orientation and certainty at every position, or none as this one."""
        if self is other:
            return True
        if self.scan_shape != other.scan_shape or self.crystals != other.crystals:
            return False
        names = ("phase_id", "quaternion", "score", "confidence_deg", "phase_probability")
        return np.array_equal(self.done, other.done) and all(
            np.array_equal(getattr(self, n), getattr(other, n), equal_nan=n != "phase_id") for n in names
        )

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
        uvw, zone_axis, euler_deg = (
            (None, "", None) if crystal is None else orientation_in_words(quaternion, crystal)
        )
        return Solution(
            position=(y, x),
            phase_id=phase_id,
            crystal=crystal,
            quaternion=quaternion if crystal is not None else _IDENTITY.astype(np.float64),
            zone_axis=zone_axis,
            zone_axis_uvw=uvw,
            euler_deg=euler_deg,
            score=float(self.score[index]) if crystal is not None else 0.0,
            confidence_deg=float(self.confidence_deg[index]),
            reason=Reason(int(self.reason[index])),
            alternative=self._answer_at(index, "alternative"),
            rejected=self._answer_at(index, "rejected"),
            explained_disks=int(self.explained_disks[index]),
            unexplained_disks=int(self.unexplained_disks[index]),
            phase_probability=float(self.phase_probability[index]),
            n_crystals=len(self.crystals),
            neighbours_heard=self.method != "template"
            and bool(self.parameters.get("neighbours") and self.parameters.get("refine")),
        )

    def _answer_at(self, index: int, which: str) -> Alternative | None:
        """Return the runner-up ("alternative"), or the better of two that were not taken ("rejected")."""
        phase_id = int(getattr(self, f"{which}_phase_id")[index])
        if phase_id < 0:
            return None
        prefix = "alternative_" if which == "alternative" else ""
        crystal = self.crystals[phase_id]
        quaternion = getattr(self, f"{prefix}quaternion")[index].astype(np.float64)
        _, zone_axis, euler_deg = orientation_in_words(quaternion, crystal)
        return Alternative(
            crystal=crystal,
            quaternion=quaternion,
            zone_axis=zone_axis,
            euler_deg=euler_deg,
            score=float(getattr(self, f"{prefix}score")[index]),
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
    "explained_disks",
    "unexplained_disks",
    "phase_probability",
    "rejected_phase_id",
)
"""The names of the arrays that a block and a map have in common."""

_IDENTITY = np.array([1, 0, 0, 0], dtype=np.float32)


def unindexed_arrays(n_positions: int) -> dict[str, Any]:
    """Return the arrays, all but the reason, of n positions without a solution, whose disks nobody counted."""
    return {
        "phase_id": np.full(n_positions, NOT_INDEXED, dtype=np.int16),
        "quaternion": np.tile(_IDENTITY, (n_positions, 1)),
        "score": np.zeros(n_positions, dtype=np.float32),
        "confidence_deg": np.full(n_positions, np.nan, dtype=np.float32),
        "alternative_phase_id": np.full(n_positions, NOT_INDEXED, dtype=np.int16),
        "alternative_quaternion": np.full((n_positions, 4), np.nan, dtype=np.float32),
        "alternative_score": np.full(n_positions, np.nan, dtype=np.float32),
        "explained_disks": np.zeros(n_positions, dtype=np.uint16),
        "unexplained_disks": np.zeros(n_positions, dtype=np.uint16),
        "phase_probability": np.full(n_positions, np.nan, dtype=np.float32),
        "rejected_phase_id": np.full(n_positions, NOT_INDEXED, dtype=np.int16),
    }
