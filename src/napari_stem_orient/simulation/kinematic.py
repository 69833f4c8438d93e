"""Kinematic diffraction: batched, differentiable patterns of a crystal for many orientations at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.simulation.scattering import structure_factors

#: Standard deviation of the Gaussian in the excitation error, Å⁻¹: between a thin and a thick foil.
DEFAULT_EXCITATION_WIDTH = 0.02

#: Beam tilts taken around the precession cone; the cosine nodes make eight as good as many.
PRECESSION_NODES = 8

#: Reflections whose structure factor is below this part of the strongest are forbidden, not weak.
FORBIDDEN_BELOW = 1e-4


@dataclass(frozen=True, slots=True)
class SimulatedPattern:
    """One diffraction pattern as a list of reflections, strongest first.

    q_x, q_y in Å⁻¹ in the sample frame; intensity relative to the strongest reflection that the crystal has in any
    orientation; hkl (m, 3); excitation_error in Å⁻¹, positive where the reflection lies inside the Ewald sphere.
    """

    q_x: NDArray[np.float32]
    q_y: NDArray[np.float32]
    intensity: NDArray[np.float32]
    hkl: NDArray[np.int64]
    excitation_error: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PatternBatch:
    """Every reflection for every orientation: q (B, M, 2) in Å⁻¹, excitation_error (B, M) in Å⁻¹, intensity (B, M)."""

    q: Tensor
    excitation_error: Tensor
    intensity: Tensor


def excitation_error(g: Tensor, wavelength: float | Tensor) -> Tensor:
    """Excitation error s_g in Å⁻¹ of vectors g (..., 3) in the sample frame, beam along +z.

    The distance along the beam from the reciprocal lattice point to the Ewald sphere, to the order that py4DSTEM uses:
    s = (-2 g_z - lambda g²) / (2 + 2 lambda g_z), J. C. H. Spence and J. M. Zuo, Electron Microdiffraction (1992).
    """
    g_z = g[..., 2]
    return (-2 * g_z - wavelength * (g * g).sum(-1)) / (2 + 2 * wavelength * g_z)


class KinematicSimulator:
    """Patterns of one crystal at one voltage.

    Parameters
    ----------
    crystal
    voltage_kv
        Accelerating voltage in kV.
    q_max
        Largest |g| in Å⁻¹.
    excitation_width
        Standard deviation in Å⁻¹ of the Gaussian that falls off with the excitation error.
    precession_angle_deg
        Half angle of the precession cone; intensities are averaged around it.
    device, dtype
        Where the tensors live; memory is 20 B M values of ``dtype``.
    """

    def __init__(
        self,
        crystal: Crystal,
        *,
        voltage_kv: float,
        q_max: float = 1.5,
        excitation_width: float = DEFAULT_EXCITATION_WIDTH,
        precession_angle_deg: float = 0.0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        hkl, g = crystal.reflections(q_max)
        factor = np.abs(structure_factors(crystal, hkl)) ** 2
        allowed = factor > FORBIDDEN_BELOW**2 * factor.max(initial=0.0)
        if not allowed.any():
            raise ValueError(
                f"{crystal.name} has no reflection within {q_max} 1/Å; raise the largest q or check the pixel size"
            )
        self.crystal = crystal
        self.wavelength = electron_wavelength_angstrom(voltage_kv)
        self.q_max = q_max
        self.excitation_width = excitation_width
        self.precession_angle_deg = precession_angle_deg
        self.hkl = hkl[allowed]
        strength = factor[allowed] / factor[allowed].max()
        self.g = torch.as_tensor(g[allowed], dtype=dtype, device=device)
        self.strength = torch.as_tensor(strength, dtype=dtype, device=device)

    def simulate(self, rotations: Tensor) -> PatternBatch:
        """All reflections for rotations (B, 3, 3), sample to crystal; differentiable in them."""
        g = self.g @ rotations  # (B, M, 3): each row is R^T g, the vector in the sample frame
        s = excitation_error(g, self.wavelength)
        return PatternBatch(g[..., :2], s, self.strength * self._shape_factor(g, s))

    def _shape_factor(self, g: Tensor, s: Tensor) -> Tensor:
        """exp(-s²/2 sigma²), averaged around the precession cone; (B, M)."""
        if self.precession_angle_deg == 0:
            return torch.exp(-0.5 * torch.square(s / self.excitation_width))
        # A beam tilted by t moves s by |g| t cos(azimuth): the mean over azimuths by Gauss-Chebyshev nodes.
        nodes = torch.arange(PRECESSION_NODES, dtype=s.dtype, device=s.device) + 0.5
        cosines = torch.cos(math.pi * nodes / PRECESSION_NODES)
        swing = torch.linalg.vector_norm(g[..., :2], dim=-1) * math.sin(
            math.radians(self.precession_angle_deg)
        )
        shifted = s[..., None] + swing[..., None] * cosines
        return torch.exp(-0.5 * torch.square(shifted / self.excitation_width)).mean(dim=-1)


@lru_cache(maxsize=32)
def _simulator(
    crystal: Crystal, voltage_kv: float, q_max: float, width: float, precession_angle_deg: float
) -> KinematicSimulator:
    return KinematicSimulator(
        crystal,
        voltage_kv=voltage_kv,
        q_max=q_max,
        excitation_width=width,
        precession_angle_deg=precession_angle_deg,
        dtype=torch.float64,
    )


def simulate_pattern(
    crystal: Crystal,
    quaternion: ArrayLike,
    *,
    voltage_kv: float,
    q_max: float = 1.5,
    excitation_width: float = DEFAULT_EXCITATION_WIDTH,
    precession_angle_deg: float = 0.0,
    minimum_intensity: float = 1e-3,
) -> SimulatedPattern:
    """The kinematic pattern of one orientation.

    Parameters
    ----------
    crystal
    quaternion
        Orientation (4,), sample to crystal, scalar first.
    voltage_kv
        Accelerating voltage in kV.
    q_max
        Largest |g| in Å⁻¹.
    excitation_width
        Standard deviation in Å⁻¹ of the fall-off with the excitation error.
    precession_angle_deg
        Half angle of the precession cone.
    minimum_intensity
        Reflections weaker than this, relative to the crystal's strongest, are left out.
    """
    simulator = _simulator(crystal, voltage_kv, q_max, excitation_width, precession_angle_deg)
    rotation = torch.as_tensor(quaternion_to_matrix(quaternion))[None]
    batch = simulator.simulate(rotation)
    intensity = batch.intensity[0].numpy()
    shown = np.flatnonzero(intensity >= minimum_intensity)
    shown = shown[np.argsort(-intensity[shown], kind="stable")]
    q = batch.q[0].numpy()[shown].astype(np.float32)
    return SimulatedPattern(
        q_x=q[:, 0],
        q_y=q[:, 1],
        intensity=intensity[shown].astype(np.float32),
        hkl=simulator.hkl[shown],
        excitation_error=batch.excitation_error[0].numpy()[shown].astype(np.float32),
    )
