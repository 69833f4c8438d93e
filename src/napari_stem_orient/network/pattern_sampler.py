"""Simulated patterns to learn from, drawn without end from some crystals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.network.recipe import TrainingParameters
from napari_stem_orient.simulation.augment import PeakAugmenter
from napari_stem_orient.simulation.kinematic import KinematicSimulator, excitation_error

#: Patterns with fewer disks than this say too little to learn from.
FEWEST_DISKS = 4


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Simulated patterns and their truth.

    peaks (B, N, 3) with q in 1/a; mask (B, N); conditions (B, 2) = wavelength / a and c / a; rotation (B, 3, 3), sample
    to crystal; phase (B,).
    """

    peaks: Tensor
    mask: Tensor
    conditions: Tensor
    rotation: Tensor
    phase: Tensor

    @property
    def weight(self) -> Tensor:
        """1 where a pattern has enough disks to learn from."""
        return (self.mask.sum(dim=1) >= FEWEST_DISKS).float()

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on another device."""
        return TrainingBatch(*(getattr(self, name).to(device) for name in TrainingBatch.__slots__))

    def by_length(self, n_parts: int) -> list[TrainingBatch]:
        """The same patterns in parts of similar numbers of disks, each with no more places than it needs."""
        count = self.mask.sum(dim=1)
        parts = []
        for rows in torch.argsort(count).chunk(n_parts):
            longest = max(1, int(count[rows].max()))
            parts.append(
                TrainingBatch(
                    self.peaks[rows, :longest],
                    self.mask[rows, :longest],
                    self.conditions[rows],
                    self.rotation[rows],
                    self.phase[rows],
                )
            )
        return parts


class PatternSampler:
    """Endless simulated patterns of some crystals in random orientation.

    q is in units of 1/a, so that one model serves all crystals of a structure type; the wavelength over a is drawn
    from the voltages and cell edges of the recipe. Everything follows from the seed.
    """

    def __init__(self, crystals: Sequence[Crystal], parameters: TrainingParameters, *, seed: int) -> None:
        self.crystals = tuple(crystals)
        self.parameters = parameters
        self._generator = torch.Generator().manual_seed(seed)
        self._augmenters = [self._augmenter(c) for c in self.crystals]
        # Reflections a bit beyond the largest detector: distortion may bring them in.
        self._simulators = [
            KinematicSimulator(c, voltage_kv=300, q_max=1.02 * self._q_limits(c)[1] / c.lattice_scale)
            for c in self.crystals
        ]

    def _q_limits(self, crystal: Crystal) -> tuple[float, float]:
        """Lowest and highest q limit in 1/a."""
        low, high = lattice_range(crystal, self.parameters)
        return self.parameters.q_max_low_inv_angstrom * low, self.parameters.q_max_high_inv_angstrom * high

    def _augmenter(self, crystal: Crystal) -> PeakAugmenter:
        low, high = self._q_limits(crystal)
        augmentation = self.parameters.augmentation.model_copy(
            update={"q_limit_low": low, "q_limit_high": high}
        )
        return PeakAugmenter(
            augmentation, n_peaks=self.parameters.network.n_tokens, generator=self._generator
        )

    def batch(self, size: int) -> TrainingBatch:
        """A fresh batch of ``size`` patterns, the phases in equal parts."""
        share = np.diff(np.linspace(0, size, len(self.crystals) + 1).astype(int))
        parts = [self._of_phase(index, int(n)) for index, n in enumerate(share)]
        return TrainingBatch(
            *(torch.cat([getattr(part, name) for part in parts]) for name in TrainingBatch.__slots__)
        )

    def _of_phase(self, index: int, size: int) -> TrainingBatch:
        crystal, simulator = self.crystals[index], self._simulators[index]
        rotation = random_rotations(size, self._generator)
        curvature = self._curvature(crystal, size)
        g = (simulator.g * crystal.lattice_scale) @ rotation
        s = excitation_error(g, curvature[:, None])
        peaks, mask = self._augmenters[index](g[..., :2], s, simulator.strength)
        conditions = torch.stack([curvature, torch.full_like(curvature, crystal.axial_ratio)], dim=-1)
        return TrainingBatch(peaks, mask, conditions, rotation, torch.full((size,), index))

    def _curvature(self, crystal: Crystal, size: int) -> Tensor:
        p = self.parameters
        longest = electron_wavelength_angstrom(p.voltage_low_kv)
        shortest = electron_wavelength_angstrom(p.voltage_high_kv)
        low, high = lattice_range(crystal, p)
        draw = torch.rand((2, size), generator=self._generator)
        return (shortest + (longest - shortest) * draw[0]) / (low + (high - low) * draw[1])


def lattice_range(crystal: Crystal, parameters: TrainingParameters) -> tuple[float, float]:
    """Smallest and largest cell edge in Å that a model is trained for."""
    own = crystal.lattice_scale
    low = parameters.lattice_scale_low_angstrom or own
    return low, max(low, parameters.lattice_scale_high_angstrom or own)


def random_rotations(n: int, generator: torch.Generator) -> Tensor:
    """(n, 3, 3) uniformly distributed rotations."""
    quaternions = torch.randn((n, 4), generator=generator, dtype=torch.float64)
    quaternions = quaternions / quaternions.norm(dim=1, keepdim=True)
    return torch.as_tensor(quaternion_to_matrix(quaternions.numpy())).float()
