"""The orientation map: phase, orientation, score and reason at every scan position, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.answers import IDENTITY, Answers, IndexedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.solution import Candidate, Solution, orientation_in_words
from napari_stem_orient.core.solutions import MOST_CANDIDATES, unpacked_rotations
from napari_stem_orient.core.zone_axes import zone_axis_uvw

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks


@dataclass(frozen=True, slots=True, eq=False)
class OrientationMap(Answers):
    """Phase and orientation over a whole scan, and what made them.

    Its arrays are those of `Answers`, over all n = scan_y * scan_x positions, row by row. `fill` writes into them in
    place while a job runs: nothing else changes a map. With eight candidates a position takes 157 bytes: 165 MB for
    1024² positions.

    Attributes
    ----------
    scan_shape : (scan_y, scan_x)
    crystals : phase_id counts through these
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
    result_name : among the results of a session, which gives it; in no file
    gross_error_deg : (crystals,) error to expect of each crystal where no candidate is right, in degrees; empty where
        unknown
    """

    scan_shape: tuple[int, int]
    crystals: tuple[Crystal, ...]
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
    gross_error_deg: tuple[float, ...] = ()
    result_name: str = ""

    def __post_init__(self) -> None:
        """Refuse arrays that do not cover the scan."""
        n_positions = self.n_positions
        for name, array in self.arrays().items():
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
        n_candidates: int = MOST_CANDIDATES,
    ) -> OrientationMap:
        """Make the map that an indexing job of `peaks` starts from: every position NOT_DONE."""
        return cls(
            scan_shape=peaks.scan_shape,
            crystals=tuple(crystals),
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
            **cls.blank_fields(peaks.n_positions, n_candidates),
        )

    @property
    def key(self) -> str:
        """What tells the map's layers from those of others: its name among the results, else its method."""
        return self.result_name or self.method

    @property
    def n_positions(self) -> int:
        """Number of scan positions."""
        return self.scan_shape[0] * self.scan_shape[1]

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
        self.put(block.positions, block)
        self.quaternion[block.positions[~block.indexed & (block.choice < 0)]] = IDENTITY

    def copy(self) -> OrientationMap:
        """Return a map with arrays of its own, so that a resumed job leaves this one as it is."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values.update(self.fields_from(self.arrays_at(slice(None))))
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
        return self.copy().widened(start.solutions.n_candidates)

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
        index = self.flat_position(y, x)
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
            quaternion=quaternion if crystal is not None else np.array(IDENTITY),
            zone_axis=zone_axis,
            zone_axis_uvw=uvw,
            euler_deg=euler_deg,
            score=float(self.score[index]) if crystal is not None else 0.0,
            confidence_deg=float(self.confidence_deg[index]),
            reason=Reason(int(self.reason[index])),
            alternative=self.candidate(index, int(self.runner_up[index])),
            rejected=None if crystal is not None else self.candidate(index, int(self.choice[index])),
            explained_disks=int(self.explained_disks[index]),
            unexplained_disks=int(self.unexplained_disks[index]),
            phase_probability=float(self.phase_probability[index]),
            n_crystals=len(self.crystals),
            neighbours_heard=self.method != "template"
            and bool(self.parameters.get("neighbours") and self.parameters.get("refine")),
        )

    def flat_position(self, y: int, x: int) -> int:
        """Return the flat, row-major number of scan position (y, x); IndexError outside the scan."""
        rows, columns = self.scan_shape
        if not (0 <= y < rows and 0 <= x < columns):
            raise IndexError(
                f"position ({y}, {x}) is outside the scan of {rows} x {columns}; "
                f"use 0 to {rows - 1} and 0 to {columns - 1}"
            )
        return y * columns + x

    def candidate(self, index: int, number: int) -> Candidate | None:
        """Return candidate ``number`` of a flat position, the chosen one as exact as in the map; None where none is."""
        solutions = self.solutions
        if number < 0 or solutions.phase[index, number] < 0:
            return None
        crystal = self.crystals[int(solutions.phase[index, number])]
        chosen = number == int(self.choice[index])
        packed = unpacked_rotations(solutions.rotation[index, number])
        quaternion = self.quaternion[index].astype(np.float64) if chosen else packed
        _, zone_axis, euler_deg = orientation_in_words(quaternion, crystal)
        return Candidate(
            crystal=crystal,
            quaternion=quaternion,
            zone_axis=zone_axis,
            euler_deg=euler_deg,
            score=float(self.score[index] if chosen else solutions.score[index, number]),
            number=number,
            explained_disks=int(solutions.explained_disks[index, number]),
            evidence=float(solutions.evidence[index, number]),
            pattern_evidence=float(solutions.pattern_evidence[index, number]),
        )
