"""Expected error of a solution in degrees, from its score, its runner-up and its disks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Logistic regression of "off by more than 5°" on (1, margin, score, log2 disks, explained part).
GROSS_ERROR_COEFFICIENTS = np.array([4.0, -12.0, -4.0, -0.6, -1.0])

#: Mean error in degrees of solutions that are right, and of those that are not.
FINE_ERROR_DEG = 0.6
GROSS_ERROR_DEG = 35.0


def gross_error_features(
    *, score: ArrayLike, runner_up_score: ArrayLike, n_disks: ArrayLike, n_explained: ArrayLike
) -> NDArray[np.float64]:
    """Features (n, 5) that tell how likely a solution is wrong."""
    score = np.asarray(score, dtype=np.float64)
    disks = np.maximum(np.asarray(n_disks, dtype=np.float64), 1.0)
    margin: NDArray[np.float64] = score - np.asarray(runner_up_score, dtype=np.float64)
    explained = np.asarray(n_explained, dtype=np.float64) / disks
    return np.stack([np.ones_like(score), margin, score, np.log2(disks), explained], axis=-1)


def expected_error_deg(
    *, score: ArrayLike, runner_up_score: ArrayLike, n_disks: ArrayLike, n_explained: ArrayLike
) -> NDArray[np.float32]:
    """Expected error in degrees (n,): small where one solution stands out, tens of degrees where two are as good."""
    features = gross_error_features(
        score=score, runner_up_score=runner_up_score, n_disks=n_disks, n_explained=n_explained
    )
    wrong = 1 / (1 + np.exp(-features @ GROSS_ERROR_COEFFICIENTS))
    disks = np.maximum(np.asarray(n_disks, dtype=np.float64), 1.0)
    fine = FINE_ERROR_DEG * np.sqrt(12 / disks)
    return np.asarray(wrong * GROSS_ERROR_DEG + (1 - wrong) * fine, dtype=np.float32)
