"""From simulation toward experiment: missing, spurious, shifted and distorted peaks with unreliable intensities."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class AugmentationParameters(BaseModel):
    """How far simulated training patterns are taken from the ideal; lengths are in units of 1/a of the crystal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q_limit_low: float = Field(
        3.4, gt=0, title="Smallest q limit", description="Lowest detector limit drawn, 1/a"
    )
    q_limit_high: float = Field(
        7.6, gt=0, title="Largest q limit", description="Highest detector limit drawn, 1/a"
    )
    excitation_width_low: float = Field(
        0.025, gt=0, title="Narrowest excitation error", description="Width of the shape factor, 1/a"
    )
    excitation_width_high: float = Field(
        0.16, gt=0, title="Widest excitation error", description="Width of the shape factor, 1/a"
    )
    intensity_exponent_low: float = Field(
        0.25,
        gt=0,
        le=1,
        title="Lowest intensity exponent",
        description="Dynamical scattering evens intensities out",
    )
    intensity_noise: float = Field(
        0.7, ge=0, title="Intensity noise", description="Largest standard deviation of the logarithm"
    )
    missing: float = Field(
        0.3, ge=0, lt=1, title="Missing disks", description="Largest part of the disks left out"
    )
    spurious: int = Field(
        3, ge=0, title="Spurious disks", description="Largest number of disks added at random"
    )
    mixed: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Mixed patterns",
        description="Part of the patterns that show a second, weaker grain",
    )
    threshold_low: float = Field(
        5e-4, gt=0, title="Lowest threshold", description="Detection limit, of the strongest disk"
    )
    threshold_high: float = Field(
        5e-2, gt=0, title="Highest threshold", description="Detection limit, of the strongest disk"
    )
    position_noise: float = Field(
        0.05, ge=0, title="Position noise", description="Largest standard deviation, 1/a"
    )
    scale_error: float = Field(
        0.02, ge=0, title="Pixel size error", description="Largest relative error of the q scale"
    )
    ellipticity: float = Field(
        0.03, ge=0, title="Ellipticity", description="Largest relative difference of the axes"
    )
    origin_error: float = Field(
        0.06, ge=0, title="Origin error", description="Largest shift of the pattern, 1/a"
    )


class PeakAugmenter:
    """Draws experimental-looking peak lists from ideal reflections, a batch at a time and reproducibly.

    Parameters
    ----------
    parameters
    n_peaks
        Number of peaks kept in each pattern, the strongest.
    generator
        Source of all randomness.
    """

    def __init__(
        self, parameters: AugmentationParameters, *, n_peaks: int, generator: torch.Generator
    ) -> None:
        self.parameters = parameters
        self.n_peaks = n_peaks
        self._generator = generator

    def __call__(self, q: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Peaks (B, N, 3) = (q_x, q_y, intensity), strongest first, and mask (B, N), True where there is one.

        Parameters
        ----------
        q
            (B, M, 2) positions of all reflections, 1/a.
        intensity
            (B, M) ideal intensities, any unit; 0 where there is no reflection.
        """
        noise = self._uniform((len(q), 1), 0.0, self.parameters.intensity_noise)
        intensity = intensity * torch.exp(noise * self._normal(tuple(intensity.shape)))
        found = self._found(q, intensity)
        intensity = torch.where(found, intensity, torch.zeros_like(intensity))
        strongest, index = intensity.topk(min(self.n_peaks, intensity.shape[1]), dim=1)
        position = torch.gather(q, 1, index[..., None].expand(-1, -1, 2))
        position = self._distorted(position)
        position, strongest = self._with_second_grain(position, strongest)
        position, strongest = self._with_spurious(position, strongest)
        strongest, order = strongest.sort(dim=1, descending=True)
        position = torch.gather(position, 1, order[..., None].expand(-1, -1, 2))
        mask = strongest > 0
        peaks = torch.cat([position, strongest[..., None]], dim=-1)
        return peaks * mask[..., None], mask

    def _uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def _log_uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.exp(self._uniform(shape, math.log(low), math.log(high)))

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def kinematic_intensities(self, q: Tensor, excitation_error: Tensor, strength: Tensor) -> Tensor:
        """Intensities (B, M) as a thin or a thick crystal of unknown width and evenness may have them.

        Parameters
        ----------
        q
            (B, M, 2) positions of all reflections, 1/a.
        excitation_error
            (B, M) in 1/a.
        strength
            (M,) relative squared structure factors.
        """
        p, n = self.parameters, len(q)
        width = self._log_uniform((n, 1), p.excitation_width_low, p.excitation_width_high)
        x = torch.square(excitation_error / width)
        # A thin crystal falls off like a Gaussian, a thick one with the long tails of a rocking curve.
        tail = self._uniform((n, 1), 0.0, 0.3)
        shape_factor = (1 - tail) * torch.exp(-0.5 * x) + tail / (1 + x) ** 1.5
        damping = torch.exp(-self._uniform((n, 1), 0.0, 0.05) * torch.square(q).sum(-1))
        exponent = self._uniform((n, 1), p.intensity_exponent_low, 1.0)
        intensity: Tensor = strength.clamp_min(1e-12) ** exponent * shape_factor * damping
        return intensity

    def _found(self, q: Tensor, intensity: Tensor) -> Tensor:
        p, n = self.parameters, len(q)
        limit = self._uniform((n, 1), p.q_limit_low, p.q_limit_high)
        inside = torch.linalg.vector_norm(q, dim=-1) < limit
        threshold = self._log_uniform((n, 1), p.threshold_low, p.threshold_high)
        strongest = torch.where(inside, intensity, torch.zeros_like(intensity)).amax(dim=1, keepdim=True)
        chance = self._uniform((n, 1), 0.0, p.missing)
        kept = torch.rand(intensity.shape, generator=self._generator) > chance
        result: Tensor = inside & kept & (intensity > threshold * strongest)
        return result

    def _distorted(self, position: Tensor) -> Tensor:
        p, n = self.parameters, len(position)
        noise = self._uniform((n, 1, 1), 0.0, p.position_noise) * self._normal(tuple(position.shape))
        scale = 1 + self._uniform((n,), -p.scale_error, p.scale_error)
        stretch = self._uniform((n,), 0.0, p.ellipticity) / 2
        angle = self._uniform((n,), 0.0, math.pi)
        cos, sin = torch.cos(2 * angle) * stretch, torch.sin(2 * angle) * stretch
        affine = torch.stack(
            [torch.stack([scale + cos, sin], dim=-1), torch.stack([sin, scale - cos], dim=-1)], dim=-2
        )
        shift = p.origin_error * torch.sqrt(torch.rand((n, 1, 1), generator=self._generator))
        direction = self._uniform((n, 1), 0.0, 2 * math.pi)
        unit = torch.stack([torch.cos(direction), torch.sin(direction)], dim=-1)
        return (position + noise) @ affine + shift * unit

    def _with_second_grain(self, position: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Lay another pattern of the batch, 2 to 50 times weaker, over some of the patterns."""
        n = len(position)
        if self.parameters.mixed == 0 or n < 2:
            return position, intensity
        chosen = torch.rand((n, 1), generator=self._generator) < self.parameters.mixed
        other = intensity.roll(1, dims=0)
        weaker = self._log_uniform((n, 1), 0.02, 0.5) * chosen
        ratio = intensity[:, :1] / other[:, :1].clamp_min(1e-12)
        both = torch.cat([intensity, other * ratio * weaker], dim=1)
        strongest, index = both.topk(intensity.shape[1], dim=1)
        places = torch.cat([position, position.roll(1, dims=0)], dim=1)
        return torch.gather(places, 1, index[..., None].expand(-1, -1, 2)), strongest

    def _with_spurious(self, position: Tensor, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Put random disks into the last, weakest places of the list."""
        p, n = self.parameters, len(position)
        if p.spurious == 0:
            return position, intensity
        slots = min(p.spurious, intensity.shape[1])
        number = torch.randint(-p.spurious, p.spurious + 1, (n, 1), generator=self._generator)
        used = torch.arange(slots) < number
        radius = p.q_limit_high * torch.sqrt(torch.rand((n, slots), generator=self._generator))
        angle = self._uniform((n, slots), 0.0, 2 * math.pi)
        random_position = radius[..., None] * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
        height = intensity[:, :1] * self._log_uniform((n, slots), p.threshold_low, 1.0)
        position = position.clone()
        intensity = intensity.clone()
        position[:, -slots:] = torch.where(used[..., None], random_position, position[:, -slots:])
        intensity[:, -slots:] = torch.where(used, height, intensity[:, -slots:])
        return position, intensity
