"""Dynamical diffraction by Bloch waves, batched over orientations.

The structure matrix of the excited beams is decomposed once for an orientation: all thicknesses come from that one
decomposition, absorption is a perturbation of first order, and U(g - h) is looked up in a table of integer indices.
C. J. Humphreys, Rep. Prog. Phys. 42 (1979) 1825; M. De Graef, Introduction to Conventional TEM (2003), chapter 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.simulation.kinematic import excitation_error
from napari_stem_orient.simulation.scattering import absorptive_scattering_factor, structure_factors

#: Beams with a larger excitation error than this, in Å⁻¹, take no part; see the convergence table in the docs.
DEFAULT_EXCITATION_CUT = 0.1

#: Values of one batch of structure matrices: 64 MiB in single precision.
LARGEST_BATCH_VALUES = 2**24

#: Excitation error, in Å⁻¹, of places without a beam: beyond all beams, and not so far that eigenvalues lose digits.
NO_BEAM = 10.0

#: Electron rest energy in keV.
REST_ENERGY_KEV = 510.99895


@dataclass(frozen=True, slots=True)
class BlochPatterns:
    """Dynamical patterns of Z orientations at T thicknesses.

    hkl (M, 3) and g (M, 3) in Å⁻¹ (crystal frame) are the list of reflections, the direct beam the first of them;
    reflection (Z, B) counts through the list, -1 where a pattern has fewer beams; excitation_error (Z, B) in Å⁻¹;
    intensity (Z, T, B) relative to the incident beam, the direct beam among them at place 0.
    """

    hkl: NDArray[np.int64]
    g: Tensor
    reflection: Tensor
    excitation_error: Tensor
    intensity: Tensor


class StructureMatrix:
    """Fourier coefficients of one crystal's potential at one voltage, by integer index.

    Parameters
    ----------
    crystal
    voltage_kv
        Accelerating voltage in kV.
    q_max
        Largest |g| of a beam, in Å⁻¹.
    absorption
        With thermal diffuse absorption.
    device, dtype
        Memory: 32 bytes for each integer index between -2 h_max and 2 h_max.
    """

    def __init__(
        self,
        crystal: Crystal,
        *,
        voltage_kv: float,
        q_max: float,
        absorption: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.crystal, self.voltage_kv, self.q_max = crystal, voltage_kv, q_max
        self.wavelength = electron_wavelength_angstrom(voltage_kv)
        hkl, _ = crystal.reflections(q_max)
        self.hkl = np.concatenate([np.zeros((1, 3), dtype=np.int64), hkl])
        self.g = torch.as_tensor(self.hkl @ crystal.reciprocal_basis, dtype=dtype, device=device)
        self._reach = 2 * np.abs(self.hkl).max(axis=0, initial=1)
        centre = inversion_centre(crystal)
        self.is_real = centre is not None
        elastic, absorptive = _potential(crystal, tuple(self._reach), voltage_kv, centre)
        if not absorption:
            absorptive = np.zeros_like(absorptive)
        kind = torch.complex64 if dtype == torch.float32 else torch.complex128
        self._elastic = torch.as_tensor(elastic, dtype=kind, device=device)
        self._absorptive = torch.as_tensor(absorptive, dtype=kind, device=device)
        if self.is_real:
            self._elastic, self._absorptive = self._elastic.real.clone(), self._absorptive.real.clone()
        sides = 2 * self._reach + 1
        strides = np.array([sides[1] * sides[2], sides[2], 1])
        self._offset = int(self._reach @ strides)
        self._flat = torch.as_tensor(self.hkl @ strides, device=device)

    def of_beams(self, reflection: Tensor) -> tuple[Tensor, Tensor]:
        """U(g - h) and U'(g - h) in Å⁻², each (Z, B, B), for beams (Z, B); the diagonal of U is zero."""
        flat = self._flat[reflection.clamp_min(0)]
        index = flat[:, :, None] - flat[:, None, :] + self._offset
        there = (reflection >= 0)[:, :, None] & (reflection >= 0)[:, None, :]
        elastic = torch.where(there, self._elastic[index], 0)
        elastic.diagonal(dim1=1, dim2=2).zero_()
        return elastic, torch.where(there, self._absorptive[index], 0)


@lru_cache(maxsize=64)
def inversion_centre(crystal: Crystal) -> tuple[float, float, float] | None:
    """Fractional coordinates of a centre of inversion, None where the crystal has none.

    About a centre all Fourier coefficients of the potential are real.
    """
    hkl, _ = crystal.reflections(max(1.0, 3.0 / min(crystal.lattice[:3])))
    factors = structure_factors(crystal, hkl)
    same = [i for i, e in enumerate(crystal.elements) if e == crystal.elements[0]]
    for index in same:
        middle = (crystal.fractional[same[0]] + crystal.fractional[index]) / 2
        for corner in np.stack(np.meshgrid(*[(0.0, 0.5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3):
            centre = middle + corner
            moved = factors * np.exp(-2j * np.pi * hkl @ centre)
            if np.abs(moved.imag).max() < 1e-4 * np.abs(factors).max():
                return (float(centre[0]), float(centre[1]), float(centre[2]))
    return None


@lru_cache(maxsize=4)  # some 20 MB for a large cell; every variant of a library has another voltage
def _potential(
    crystal: Crystal,
    reach: tuple[int, int, int],
    voltage_kv: float,
    centre: tuple[float, float, float] | None,
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """U_g and U'_g in Å⁻² (both flat) for all integer indices up to ``reach``, the origin at ``centre``."""
    wavelength = electron_wavelength_angstrom(voltage_kv)
    gamma = 1 + voltage_kv / REST_ENERGY_KEV
    axes = [np.arange(-n, n + 1) for n in reach]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(hkl @ crystal.reciprocal_basis, axis=1)
    shift = np.zeros(3) if centre is None else np.asarray(centre)
    elastic = np.empty(len(hkl), dtype=np.complex128)
    absorptive = np.zeros(len(hkl), dtype=np.complex128)
    elements = np.array(crystal.elements)
    for start in range(0, len(hkl), 2**15):  # large cells: a piece at a time
        part = slice(start, start + 2**15)
        elastic[part] = structure_factors(crystal, hkl[part]) * np.exp(-2j * np.pi * hkl[part] @ shift)
        for element in np.unique(elements):
            members = elements == element
            phases = np.exp(2j * np.pi * hkl[part] @ (crystal.fractional[members] - shift).T)
            factor = absorptive_scattering_factor(
                str(element),
                length[part],
                wavelength_angstrom=wavelength,
                thermal_sigma_angstrom=crystal.thermal_sigma_angstrom,
            )
            absorptive[part] += factor * (phases @ crystal.occupancy[members]) / crystal.volume
    return elastic * gamma / math.pi, absorptive * gamma**2 / math.pi


def simulate_bloch(
    matrix: StructureMatrix,
    rotations: Tensor,
    *,
    thickness_angstrom: Tensor,
    excitation_cut: float = DEFAULT_EXCITATION_CUT,
    tilts: Tensor | None = None,
) -> BlochPatterns:
    """Dynamical patterns for rotations (Z, 3, 3), sample to crystal, at thicknesses (T,) in Å.

    Parameters
    ----------
    matrix
        The crystal at its voltage.
    rotations
        (Z, 3, 3), sample to crystal; the beam along the sample's +z, the foil normal to it.
    thickness_angstrom
        (T,) in Å.
    excitation_cut
        Beams with a larger excitation error take no part, Å⁻¹.
    tilts
        (Z, P, 2) beam tilts in rad along the sample's x and y whose intensities are averaged: precession, or a bent
        foil; None for none.

    Notes
    -----
    Intensities are those of the many-beam theory for high energies, with boundary terms of order g_z / K left out;
    strong beams are within 3 % of py4DSTEM's general solution. Memory: three complex matrices (B, B) for every
    orientation of a batch of at most 64 MiB.
    """
    g = matrix.g @ rotations  # (Z, M, 3) in the sample frame
    s = excitation_error(g, matrix.wavelength)
    swing = 0.0 if tilts is None else float(tilts.norm(dim=-1).max())
    excited = s.abs() < excitation_cut + swing * torch.linalg.vector_norm(g[..., :2], dim=-1)
    excited[:, 0] = True
    count = excited.sum(dim=1)
    n_beams = int(count.max())
    # The direct beam first, then by excitation error.
    rank = torch.where(excited, s.abs(), torch.inf)
    rank[:, 0] = -1
    reflection = rank.topk(n_beams, dim=1, largest=False).indices
    there = torch.gather(excited, 1, reflection)
    reflection = torch.where(there, reflection, -1)
    picked = torch.gather(s, 1, reflection.clamp_min(0))
    q = torch.gather(g[..., :2], 1, reflection.clamp_min(0)[..., None].expand(-1, -1, 2))
    intensity = s.new_zeros(len(rotations), len(thickness_angstrom), n_beams)
    order = torch.argsort(count)
    # Orientations with similar numbers of beams go together.
    size = int(min(64, max(1, LARGEST_BATCH_VALUES // n_beams**2)))
    for rows in order.split(size):
        width = int(count[rows].max())
        intensity[rows, :, :width] = _averaged_intensities(
            matrix,
            reflection[rows, :width],
            picked[rows, :width],
            q[rows, :width],
            thickness_angstrom,
            None if tilts is None else tilts[rows],
        )
    return BlochPatterns(matrix.hkl, matrix.g, reflection, picked, intensity)


def _averaged_intensities(
    matrix: StructureMatrix,
    reflection: Tensor,
    s: Tensor,
    q: Tensor,
    thickness: Tensor,
    tilts: Tensor | None,
) -> Tensor:
    """(Z, T, B) intensities, averaged over the tilts (Z, P, 2) in rad where there are any."""
    elastic, absorptive = matrix.of_beams(reflection)
    if tilts is None:
        return _intensities(elastic, absorptive, s, reflection >= 0, thickness, matrix.wavelength)
    total = s.new_zeros(len(s), len(thickness), s.shape[1])
    for tilt in tilts.unbind(dim=1):
        tilted = s + (q * tilt[:, None]).sum(-1)
        total += _intensities(elastic, absorptive, tilted, reflection >= 0, thickness, matrix.wavelength)
    return total / tilts.shape[1]


def _intensities(
    elastic: Tensor, absorptive: Tensor, s: Tensor, there: Tensor, thickness: Tensor, wavelength: float
) -> Tensor:
    """(Z, T, B) intensities of the beams of structure matrices (Z, B, B) with excitation errors s (Z, B) in Å⁻¹."""
    # In Å⁻¹: (2 K s + U) / 2 K; places without a beam are far off and coupled to nothing.
    structure = elastic * (0.5 * wavelength)
    structure.diagonal(dim1=1, dim2=2).copy_(torch.where(there, s, NO_BEAM))
    eigenvalue, vector = torch.linalg.eigh(structure)
    damping = torch.einsum("zbj,zbc,zcj->zj", vector.conj(), absorptive, vector).real * (0.5 * wavelength)
    phase = 2 * math.pi * thickness[:, None] * eigenvalue[:, None]  # (Z, T, J)
    decay = torch.exp(-2 * math.pi * thickness[:, None] * damping[:, None])
    excitation = vector[:, 0, :].conj()[:, None] * torch.polar(decay, phase)  # (Z, T, J)
    if vector.is_complex():
        wave = excitation @ vector.transpose(1, 2)
        real, imaginary = wave.real, wave.imag
    else:
        real = excitation.real @ vector.transpose(1, 2)
        imaginary = excitation.imag @ vector.transpose(1, 2)
    return torch.square(real) + torch.square(imaginary)
