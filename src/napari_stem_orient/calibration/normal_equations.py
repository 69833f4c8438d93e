"""NormalEquations: linear least squares by groups, so that drawing groups anew tells how well the answer is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

RESAMPLES = 200


@dataclass(frozen=True, slots=True, eq=False)
class NormalEquations:
    """Normal equations of groups of measurements.

    Attributes
    ----------
    normal, right : (g, k, k) and (g, k) float64; sums over each group's measurements
    prior, prior_right : (k,) float64; what is known of each unknown beforehand: weight, and weight times value
    """

    normal: Float64
    right: Float64
    prior: Float64
    prior_right: Float64

    @classmethod
    def of(
        cls,
        columns: Float64,
        target: Float64,
        weight: Float64,
        *,
        group: NDArray[np.int64],
        prior: tuple[Float64, Float64],
    ) -> NormalEquations:
        """Equations columns (n, k) times unknowns = target (n,), of some weight (n,), in groups (n,).

        Weights are inverse variances, so that they compare with the prior's.
        """
        n_groups, k = int(group.max()) + 1, columns.shape[1]
        weighted = columns * weight[:, None]
        normal, right = np.zeros((n_groups, k, k)), np.zeros((n_groups, k))
        for i in range(k):
            right[:, i] = np.bincount(group, weights=weighted[:, i] * target, minlength=n_groups)
            for j in range(i, k):
                products = weighted[:, i] * columns[:, j]
                normal[:, i, j] = np.bincount(group, weights=products, minlength=n_groups)
                normal[:, j, i] = normal[:, i, j]
        counted = np.bincount(group, weights=weight, minlength=n_groups) > 0
        return cls(normal[counted], right[counted], *prior)

    def solve(self, times: Float64 | None = None) -> Float64:
        """The solution (k,), with each group taken so many ``times`` (g,)."""
        times = np.ones(len(self.normal)) if times is None else times
        normal = np.tensordot(times, self.normal, axes=1) + np.diag(self.prior)
        right = times @ self.right + self.prior_right
        scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-30))
        values = np.linalg.lstsq(normal * np.outer(scale, scale), right * scale, rcond=1e-12)[0]
        return np.asarray(scale * values)

    def resampled(self) -> list[Float64]:
        """Solutions with as many groups drawn anew, with replacement; the same ones every time."""
        rng = np.random.default_rng(0)
        n = len(self.normal)
        draws = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
        return [self.solve(times) for times in draws]
