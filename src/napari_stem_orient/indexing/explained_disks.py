"""ExplainedDisks: the disks of indexed patterns beside the reflections that they are, for one phase."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.indexing.refine import PatternFitter
from napari_stem_orient.indexing.verification import EXPLAINED_DEPTH, verify

Float64 = NDArray[np.float64]

#: Disks farther from their reflections than so many root mean square distances count less and less.
ROBUST_DEVIATIONS = 2.5


@dataclass(slots=True)
class PhasePatterns:
    """Patterns of one phase whose orientations are refined again and again while the calibration changes.

    positions (B,) flat scan positions; offset_px (B, N, 2) float64, x and y of the disks from where the direct beam was
    taken to be, in detector pixels, on the CPU because Apple's GPUs have no float64; intensity (B, N) relative to the
    strongest; mask (B, N) True where there is a disk; rotation (B, 1, 3, 3), sample to crystal.
    """

    fitter: PatternFitter
    positions: NDArray[np.int64]
    offset_px: Tensor
    intensity: Tensor
    mask: Tensor
    rotation: Tensor

    def vectors(self, matrix: Float64, shift_px: Float64) -> Tensor:
        """Scattering vectors (B, N, 2) in Å⁻¹ for a matrix (2, 2) and shifts (B, 2), x and y, of the beam in px."""
        shift = torch.as_tensor(shift_px, dtype=torch.float64)
        turn = torch.as_tensor(matrix, dtype=torch.float64)
        vectors = ((self.offset_px - shift[:, None]) @ turn.T).to(torch.float32)
        return vectors.to(self.rotation.device)

    @torch.inference_mode()
    def refine(self, q: Tensor, *, tilt: bool) -> None:
        """Fit the rotations to disks q (B, N, 2): positions, and intensities where ``tilt``."""
        weight = self.intensity**self.fitter.parameters.intensity_exponent * self.mask
        self.rotation = self.fitter.fit_positions(self.rotation, q, weight)
        if tilt:
            self.rotation = self.fitter.fit_tilt(self.rotation, q, self.intensity)

    @torch.inference_mode()
    def scores(self, q: Tensor) -> tuple[Float64, int]:
        """The score of each pattern (B,), 0 to 1, and the number of disks that are explained."""
        found = verify(self.fitter, self.rotation, q, self.intensity, self.mask)
        return found.similarity[:, 0].cpu().numpy().astype(np.float64), int(found.explained.sum())

    @torch.inference_mode()
    def residuals(self, q: Tensor) -> ExplainedDisks:
        """What lies between disks q (B, N, 2) and the reflections that they are."""
        assignment = self.fitter.assign(self.rotation, q)
        there = self.fitter.explains(assignment, within=self.fitter.position_tolerance, depth=EXPLAINED_DEPTH)
        there = there[:, 0] & self.mask
        row, _ = torch.nonzero(there, as_tuple=True)
        weight = (self.intensity**self.fitter.parameters.intensity_exponent)[there]
        return ExplainedDisks(
            self.positions[row.cpu().numpy()],
            *(
                values.cpu().numpy().astype(np.float64)
                for values in (
                    self.offset_px[there.cpu()],
                    q[there],
                    assignment.offset[:, 0, :, :2][there],
                    weight,
                )
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedDisks:
    """Disks that have their reflection.

    position (n,) flat scan position; offset_px (n, 2), x and y from the direct beam in px; q (n, 2) and distance (n, 2)
    from there to the reflection in Å⁻¹; weight (n,).
    """

    position: NDArray[np.int64]
    offset_px: Float64
    q: Float64
    distance: Float64
    weight: Float64

    @classmethod
    def joined(cls, parts: list[ExplainedDisks]) -> ExplainedDisks:
        """The disks of several phases."""
        names = ("position", "offset_px", "q", "distance", "weight")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def deviation(self) -> float:
        """Standard deviation in Å⁻¹ of x and of y, outliers aside."""
        length = np.hypot(self.distance[:, 0], self.distance[:, 1])
        # of two normal deviates, half lie within 1.18 standard deviations of the origin
        return max(float(np.median(length)) / math.sqrt(2 * math.log(2)), 1e-5)

    @property
    def root_mean_square(self) -> float:
        """Root mean square distance in Å⁻¹ of disks from their reflections, by weight."""
        return float(np.sqrt(np.average((self.distance**2).sum(axis=1), weights=self.weight)))

    def robust_weight(self) -> Float64:
        """Weights (n,) that fall off for disks far from their reflections."""
        squared = (self.distance**2).sum(axis=1) / (ROBUST_DEVIATIONS * self.deviation) ** 2
        return np.asarray(self.weight / (1 + squared) ** 2)
