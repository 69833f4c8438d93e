"""The learning rate over a training run: warm-up, cosine, and an early end once the held-out error stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import mean

from napari_stem_orient.transformer.training_parameters import TrainingParameters

WARM_UP_PART = 0.02
LOWEST_RATE = 0.01  # of the highest

#: What is left of a run, as a part of the planned one, after the held-out error was seen to stand still. Most of what
#: a falling rate gains comes at its end, so that it is never left out.
FINAL_PART = 0.15


class TrainingPart(StrEnum):
    """What a training run does; the value is the word shown to the user."""

    WARMING_UP = "warming up"
    LEARNING = "learning"
    FINISHING = "finishing early"
    REPORTING = "measuring the held-out errors"


class LearningSchedule:
    """The learning rate, relative to the highest, as a function of the fraction of the planned run that is over.

    Parameters
    ----------
    parameters
        The training parameters.
    plateau
        The fraction at which the held-out error was seen to stand still; None where it has not been.
    """

    def __init__(self, parameters: TrainingParameters, *, plateau: float | None = None) -> None:
        self._parameters = parameters
        self.plateau = plateau

    @property
    def end(self) -> float:
        """The fraction of the planned run at which it ends."""
        return 1.0 if self.plateau is None else min(1.0, self.plateau + FINAL_PART)

    def rate(self, fraction: float) -> float:
        """Linear warm-up, then a cosine down to a hundredth; after a plateau a steeper one from where it was."""
        if self.plateau is None or self.end == 1.0:
            return _planned_rate(fraction)
        return _falling(_planned_rate(self.plateau), (fraction - self.plateau) / FINAL_PART)

    def part(self, fraction: float) -> TrainingPart:
        """What the run does at this fraction."""
        if fraction >= self.end:
            return TrainingPart.REPORTING
        if self.plateau is not None and self.end < 1.0:
            return TrainingPart.FINISHING
        return TrainingPart.WARMING_UP if fraction < WARM_UP_PART else TrainingPart.LEARNING

    def watch(self, errors: Sequence[float], *, fraction: float) -> None:
        """Look whether the held-out error stands still.

        Parameters
        ----------
        errors
            Held-out median errors of the evaluations so far, in their order.
        fraction
            The fraction of the run that is over.
        """
        p = self._parameters
        if not p.early_stopping or self.plateau is not None or len(errors) < 2 * p.patience:
            return
        # Compared with the evaluations before, not with the best of all: a run that goes on from another model is
        # worse for a while before it is better. Means, because the lowest of a few is mostly a matter of luck.
        before, latest = mean(errors[-2 * p.patience : -p.patience]), mean(errors[-p.patience :])
        if latest > (1 - p.least_improvement) * before:
            self.plateau = fraction


def _planned_rate(fraction: float) -> float:
    if fraction < WARM_UP_PART:
        return max(fraction / WARM_UP_PART, LOWEST_RATE)
    return _falling(1.0, (fraction - WARM_UP_PART) / (1 - WARM_UP_PART))


def _falling(start: float, part: float) -> float:
    """Half a cosine from ``start`` to the lowest rate."""
    return LOWEST_RATE + (start - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, part))))
