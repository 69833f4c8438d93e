"""Simulated patterns to learn from, drawn without end from some crystals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_about_z, quaternion_to_matrix
from napari_stem_orient.simulation.augment import PeakAugmenter
from napari_stem_orient.simulation.bloch_library import BlochLibrary, BlochParameters, spacing_for
from napari_stem_orient.simulation.kinematic import KinematicSimulator, excitation_error
from napari_stem_orient.transformer.training_parameters import TrainingParameters

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
    """Endless simulated patterns of some phases in random orientation.

    q is in units of 1/a, so that one model serves all crystals of a structure type; the wavelength over a is drawn
    from the voltages and cell edges of the parameters. Everything follows from the seed.

    Parameters
    ----------
    phases
        For each phase a crystal, or the members of a structure type that take turns.
    parameters
        The training parameters.
    seed
        Of all randomness.
    libraries
        For each phase its library of dynamical patterns; None: all patterns are kinematic.
    """

    def __init__(
        self,
        phases: Sequence[Crystal | Sequence[Crystal]],
        parameters: TrainingParameters,
        *,
        seed: int,
        libraries: Sequence[BlochLibrary] | None = None,
    ) -> None:
        self.members = tuple((p,) if isinstance(p, Crystal) else tuple(p) for p in phases)
        self.crystals = tuple(members[0] for members in self.members)
        self.parameters = parameters
        self._libraries = None if libraries is None else tuple(libraries)
        self._generator = torch.Generator().manual_seed(seed)
        self._augmenters = [self._augmenter(c) for c in self.crystals]
        # Reflections a bit beyond the largest detector: distortion may bring them in.
        self._simulators = [
            [
                KinematicSimulator(c, voltage_kv=300, q_max=1.02 * self._q_limits(m[0])[1] / c.lattice_scale)
                for c in m
            ]
            for m in self.members
        ]

    @property
    def random_state(self) -> Tensor:
        """Where the sampler is in its endless series, as bytes; set it to go on from there."""
        return self._generator.get_state()

    @random_state.setter
    def random_state(self, state: Tensor) -> None:
        self._generator.set_state(state)

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
        share = np.diff(np.linspace(0, size, len(self.members) + 1).astype(int))
        return _joined([self._of_phase(index, int(n)) for index, n in enumerate(share)])

    def _of_phase(self, index: int, size: int) -> TrainingBatch:
        if self._libraries is None:
            return self._kinematic(index, size)
        n_kinematic = round(self.parameters.kinematic_part * size)
        parts = [self._dynamical(index, size - n_kinematic), self._kinematic(index, n_kinematic)]
        return _joined([part for part in parts if len(part.phase)] or parts[:1])

    def _dynamical(self, index: int, size: int) -> TrainingBatch:
        """Patterns of the library: any zone axis, thickness and in-plane angle, and mirror images where they exist."""
        assert self._libraries is not None
        library, generator = self._libraries[index], self._generator
        row = torch.randint(len(library), (size,), generator=generator)
        draw = torch.rand((2, size), generator=generator)
        # Between two thicknesses the intensities are blended: a wedge within the probe.
        depth = draw[0] * (library.intensity.shape[1] - 1)
        thin = depth.long().clamp_max(library.intensity.shape[1] - 2)
        part = (depth - thin)[:, None]
        intensity = (
            library.intensity[row, thin].float() * (1 - part)
            + library.intensity[row, thin + 1].float() * part
        )
        turn = torch.as_tensor(quaternion_to_matrix(quaternion_about_z(2 * math.pi * draw[1]))).float()
        rotation = library.rotation[row] @ turn
        q = library.q[row] @ turn[:, :2, :2]
        if library.mirrored:
            mirrored = torch.rand(size, generator=generator) < 0.5
            sign = torch.where(mirrored, -1.0, 1.0)
            q = torch.stack([q[..., 0] * sign[:, None], q[..., 1]], dim=-1)
            # The mirror image is the pattern of the crystal turned by 180° about the sample's x, and inverted.
            rotation = rotation * torch.stack([torch.ones(size), sign, sign], dim=-1)[:, None]
        members = self.members[index]
        scale = torch.tensor([c.lattice_scale for c in members])[library.member[row]]
        ratio = torch.tensor([c.axial_ratio for c in members])[library.member[row]]
        peaks, mask = self._augmenters[index](q * scale[:, None, None], intensity)
        conditions = torch.stack([library.wavelength[row] / scale, ratio], dim=-1)
        return TrainingBatch(peaks, mask, conditions, rotation, torch.full((size,), index))

    def _kinematic(self, index: int, size: int) -> TrainingBatch:
        members = self.members[index]
        share = np.diff(np.linspace(0, size, len(members) + 1).astype(int))
        parts = [
            self._kinematic_of(index, member, int(n)) for member, n in enumerate(share) if n or member == 0
        ]
        return _joined(parts)

    def _kinematic_of(self, index: int, member: int, size: int) -> TrainingBatch:
        crystal, simulator = self.members[index][member], self._simulators[index][member]
        rotation = random_rotations(size, self._generator)
        curvature = self._curvature(crystal, size)
        g = (simulator.g * crystal.lattice_scale) @ rotation
        s = excitation_error(g, curvature[:, None])
        augment = self._augmenters[index]
        intensity = augment.kinematic_intensities(g[..., :2], s, simulator.strength)
        peaks, mask = augment(g[..., :2], intensity)
        conditions = torch.stack([curvature, torch.full_like(curvature, crystal.axial_ratio)], dim=-1)
        return TrainingBatch(peaks, mask, conditions, rotation, torch.full((size,), index))

    def _curvature(self, crystal: Crystal, size: int) -> Tensor:
        p = self.parameters
        longest = electron_wavelength_angstrom(p.voltage_low_kv)
        shortest = electron_wavelength_angstrom(p.voltage_high_kv)
        low, high = lattice_range(crystal, p)
        draw = torch.rand((2, size), generator=self._generator)
        return (shortest + (longest - shortest) * draw[0]) / (low + (high - low) * draw[1])


def library_parameters(members: Sequence[Crystal], parameters: TrainingParameters) -> BlochParameters:
    """What the library of a phase (the members of a structure type, or one crystal) covers for training parameters."""
    per_variant = max(1, parameters.zone_axes // parameters.variants)
    return BlochParameters(
        spacing_deg=round(min(10.0, max(0.1, spacing_for(members[0], n_zone_axes=per_variant))), 3),
        variants=parameters.variants,
        voltage_low_kv=parameters.voltage_low_kv,
        voltage_high_kv=parameters.voltage_high_kv,
        thickness_low_angstrom=parameters.thickness_low_angstrom,
        thickness_high_angstrom=parameters.thickness_high_angstrom,
        q_max_inv_angstrom=round(1.02 * parameters.q_max_high_inv_angstrom, 4),
        n_beams=parameters.network.n_tokens + 16,
    )


def _joined(parts: Sequence[TrainingBatch]) -> TrainingBatch:
    """Patterns of several batches one after the other, all with as many places."""
    places = max(part.mask.shape[1] for part in parts)
    padded = [
        replace(
            part,
            peaks=functional.pad(part.peaks, (0, 0, 0, places - part.peaks.shape[1])),
            mask=functional.pad(part.mask, (0, places - part.mask.shape[1])),
        )
        for part in parts
    ]
    return TrainingBatch(
        *(torch.cat([getattr(part, name) for part in padded]) for name in TrainingBatch.__slots__)
    )


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
