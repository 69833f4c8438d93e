"""How far the proposals of a model can be trusted: what its card says, as odds and as an error to expect.

The odds that none of the candidates is right were fitted to patterns of the shipped models, which nearly always propose
something near the truth. A model whose card says that it does not leaves the fit to chance: a wrong orientation can
explain a few disks as well. What its card says is the odds before any pattern is seen.
"""

from __future__ import annotations

import math

import numpy as np

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg, random_quaternions
from napari_stem_orient.core.solutions import TYPICAL_GROSS_ERROR_DEG
from napari_stem_orient.transformer.model_card import ModelCard

#: A proposal this near the truth, in degrees, is fitted to the right orientation.
CAUGHT_WITHIN_DEG = 10.0

#: Part of the patterns for which the least of the shipped models proposes so near an orientation.
CAUGHT_BY_SHIPPED = 0.75

_LEAST, _N_RANDOM = 0.002, 2000


def caught_part(card: ModelCard) -> float | None:
    """Part of the held-out patterns with a proposal near enough to be fitted; None where the card does not say.

    Between the angles that the card has (2°, 5°, the median, 34°) the part grows like a power of the angle.
    """
    held_out = card.held_out
    known = {2.0: held_out.get("candidate_within_2_deg"), 5.0: held_out.get("candidate_within_5_deg")}
    if "candidate_median_deg" in held_out:
        known[held_out["candidate_median_deg"]] = 0.5
    if "candidate_beyond_34_deg" in held_out:
        known[34.0] = 1 - held_out["candidate_beyond_34_deg"]
    points = sorted((angle, part) for angle, part in known.items() if part is not None and angle > 0)
    if not points:
        return None
    angles, parts = np.array(points).T
    logarithm = np.log(np.clip(np.maximum.accumulate(parts), _LEAST, 1 - _LEAST))
    return float(np.exp(np.interp(math.log(CAUGHT_WITHIN_DEG), np.log(angles), logarithm)))


def log_odds_of_missing(card: ModelCard) -> float:
    """Log odds, 0 or more, that are to be added to those of "no candidate is right" for the model of a card."""
    part = caught_part(card)
    if part is None:
        return 0.0
    return max(0.0, math.log((1 - part) / part) - math.log((1 - CAUGHT_BY_SHIPPED) / CAUGHT_BY_SHIPPED))


def gross_error_deg(crystal: Crystal, log_odds: float) -> float:
    """Error to expect in degrees where no candidate is right, for a model with these `log_odds_of_missing`.

    A good model's wrong candidates are often near relatives of the truth, a bad one's are random: their part of the
    odds counts with the mean angle between two random orientations of the crystal, 41° for cubic ones.
    """
    one, other = random_quaternions(2 * _N_RANDOM, np.random.default_rng(0)).reshape(2, _N_RANDOM, 4)
    at_random = float(disorientation_angle_deg(one, other, crystal.proper_point_group).mean())
    good = math.exp(-log_odds)
    return good * TYPICAL_GROSS_ERROR_DEG + (1 - good) * at_random
