"""What is known about one scan position: its solution, the runner-up, and how sure both are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import euler_bunge_deg
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.zone_axes import zone_axis_text, zone_axis_uvw

#: A runner-up whose score is at most so much lower explains the pattern as well as the answer does.
AS_GOOD = 0.0125

#: An expected error below this, in degrees, says that the choice between answers is made.
DECIDED_DEG = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of the candidates at one position.

    Attributes
    ----------
    crystal : its crystal
    quaternion : (4,) float64; sample to crystal, scalar first
    zone_axis : the crystal direction toward the gun, as text; where the indices are more than 1° off it, says so
    euler_deg : Bunge angles phi1, Phi, phi2 in degrees
    score : 0 to 1
    number : among the candidates of the position, 0 for the best
    explained_disks : disks of the pattern that it explains; 0 where unknown
    evidence, pattern_evidence : log odds against "no candidate is right", with what the neighbours say and by the
        pattern alone; NaN where unknown
    confidence_deg : expected error in degrees, were it chosen; NaN where nobody has asked, or unknown
    """

    crystal: Crystal
    quaternion: NDArray[np.float64]
    zone_axis: str
    euler_deg: tuple[float, float, float]
    score: float
    number: int = 0
    explained_disks: int = 0
    evidence: float = math.nan
    pattern_evidence: float = math.nan
    confidence_deg: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What is known about one scan position.

    Attributes
    ----------
    position : scan (y, x)
    phase_id : index into the map's crystals, -1 where not indexed
    crystal : None where not indexed
    quaternion : (4,) float64; sample to crystal, scalar first; identity where not indexed
    zone_axis : the crystal direction toward the gun, as text such as "[112]", or "[001] (2.6° off)" where the
        indices are more than 1° off it; empty where not indexed
    zone_axis_uvw : the same as three integers; None where not indexed
    euler_deg : Bunge angles phi1, Phi, phi2 in degrees; None where not indexed
    score : 0 to 1
    confidence_deg : expected error in degrees, NaN where unknown
    reason : why there is, or is not, an orientation
    alternative : the runner-up at least 10° away, if there is one; also where two answers are as good
    rejected : where two answers are as good and neither was taken, the better one; None elsewhere
    explained_disks : disks of the pattern that the solution explains
    unexplained_disks : disks that it does not explain; both 0 where unknown
    phase_probability : of the phase among all that were searched, 0 to 1; NaN where unknown
    n_crystals : how many crystals were searched
    neighbours_heard : whether the neighbours in the scan had a say
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
    alternative: Candidate | None
    rejected: Candidate | None = None
    explained_disks: int = 0
    unexplained_disks: int = 0
    phase_probability: float = math.nan
    n_crystals: int = 1
    neighbours_heard: bool = False

    @property
    def neighbours_decided(self) -> bool:
        """Whether the pattern by itself would leave it open: its runner-up is as good, and yet the answer is sure.

        Scores are of the pattern alone; the expected error counts what the neighbours say.
        """
        if not (self.indexed and self.neighbours_heard) or self.alternative is None:
            return False
        return self.alternative.score >= self.score - AS_GOOD and self.confidence_deg < DECIDED_DEG

    @property
    def indexed(self) -> bool:
        """Whether this position has an orientation."""
        return self.crystal is not None

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.reason.sentence


def orientation_in_words(
    quaternion: NDArray[np.float64], crystal: Crystal
) -> tuple[tuple[int, int, int], str, tuple[float, float, float]]:
    """Return the zone axis as integers and text and the Euler angles in degrees of one orientation."""
    u, v, w = (int(value) for value in zone_axis_uvw(quaternion, crystal))
    phi1, capital_phi, phi2 = (float(value) for value in euler_bunge_deg(quaternion))
    return (u, v, w), zone_axis_text(quaternion, crystal, (u, v, w)), (phi1, capital_phi, phi2)


def zone_axis_in_words(answer: Solution | Candidate, *, four: bool) -> str:
    """Return the zone axis of an answer as text, with four indices [uvtw] where wanted and the crystal has them."""
    if answer.crystal is None or not four:
        return answer.zone_axis
    return zone_axis_text(answer.quaternion, answer.crystal, four=True)
