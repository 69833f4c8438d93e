"""Libraries of dynamical patterns: all zone axes, many thicknesses, several voltages and members of a type."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import fundamental_zone_axes
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.simulation.bloch import (
    DEFAULT_EXCITATION_CUT,
    BlochPatterns,
    StructureMatrix,
    inversion_centre,
    simulate_bloch,
)
from napari_stem_orient.simulation.kinematic import excitation_error

#: Raise this when the same parameters and seed give other patterns: libraries kept in files are then made anew.
SIMULATION_VERSION = 1

#: Orientations simulated at once: so many at most, and so few that they take a fraction of a second; the cost of one is
#: the cube of its number of beams.
CHUNK = 256
LARGEST_CHUNK_COST = 1.5e8

#: Beam tilts that an averaged pattern takes: around a precession cone, or along the curve of a bent foil.
AVERAGED_TILTS = 6


class BlochParameters(BaseModel):
    """What a library of dynamical patterns covers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_deg: float = Field(
        0.5,
        ge=0.1,
        le=10,
        title="Spacing",
        description="Mean distance of neighbouring zone axes within one variant, in degrees",
    )
    variants: int = Field(
        4,
        ge=1,
        le=1000,
        title="Variants",
        description="How often the zone axes are covered, each time by another crystal of the list, another voltage, "
        "and other zone axes",
    )
    averaged_part: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Precessed or bent",
        description="Part of the variants whose intensities are averaged over a precession cone or the bend of a foil",
    )
    voltage_low_kv: float = Field(300, ge=20, le=3000, title="Lowest voltage", description="kV")
    voltage_high_kv: float = Field(300, ge=20, le=3000, title="Highest voltage", description="kV")
    thickness_low_angstrom: float = Field(50, gt=0, title="Smallest thickness", description="Å")
    thickness_high_angstrom: float = Field(1500, gt=0, title="Largest thickness", description="Å")
    n_thicknesses: int = Field(16, ge=2, le=256, title="Thicknesses", description="Number of thicknesses")
    q_max_inv_angstrom: float = Field(2.0, gt=0, le=10, title="Largest q", description="Of the beams, 1/Å")
    excitation_cut: float = Field(
        DEFAULT_EXCITATION_CUT,
        gt=0,
        le=1,
        title="Excitation error",
        description="Beams within this excitation error take part, 1/Å",
    )
    n_beams: int = Field(
        48, ge=4, le=512, title="Beams kept", description="Strongest diffracted beams kept of a pattern"
    )
    absorption: bool = Field(
        True, title="Absorption", description="With absorption by thermal diffuse scattering"
    )


@dataclass(frozen=True, slots=True)
class BlochLibrary:
    """Dynamical patterns of Z zone axes at T thicknesses, the direct beam left out.

    crystals are the members that took turns; rotation (Z, 3, 3) sample to crystal, without in-plane turn; member (Z,)
    counts through the crystals; wavelength (Z,) in Å; q (Z, B, 2) in Å⁻¹ in the sample frame; intensity (Z, T, B)
    float16 relative to the strongest of the Z-th pattern over all thicknesses; thickness_angstrom (T,); mirrored says
    whether the mirror image of a pattern is a pattern of the crystal too (it has a centre of inversion).
    """

    crystals: tuple[Crystal, ...]
    parameters: BlochParameters
    rotation: Tensor
    member: Tensor
    wavelength: Tensor
    q: Tensor
    intensity: Tensor
    thickness_angstrom: Tensor
    mirrored: bool

    def __len__(self) -> int:
        """Return the number of zone axes, Z."""
        return len(self.rotation)


@dataclass(frozen=True, slots=True)
class LibraryProgress:
    """How far the simulation of a library is."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class _Variant:
    """One cover of the zone axes: which member, at which voltage, averaged over tilts or not."""

    member: int
    voltage_kv: float
    rotation: Tensor
    tilts: Tensor | None


def build_bloch_library(
    crystals: Sequence[Crystal],
    *,
    parameters: BlochParameters,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Generator[LibraryProgress, None, BlochLibrary]:
    """Simulate a library of the members of one structure type.

    Parameters
    ----------
    crystals
        The members; they take turns over the variants.
    parameters
    seed
        Of the jitter of the zone axes, the voltages and the tilts.
    device
        Where it is computed; the library itself lies in the computer's memory.

    Yields
    ------
    LibraryProgress
        A few times a second. Peak memory: 200 MB besides the library, 500 MB where 350 beams are excited (a cell
        of 550 Å³). The library takes B (8 + 2 T) bytes a zone axis.

    Returns
    -------
    The library.
    """
    crystals = tuple(crystals)
    if not crystals:
        raise ValueError("no crystal to simulate; name at least one")
    variants = _variants(crystals, parameters, torch.Generator().manual_seed(seed))
    thickness = torch.linspace(
        parameters.thickness_low_angstrom, parameters.thickness_high_angstrom, parameters.n_thicknesses
    )
    total = sum(len(v.rotation) for v in variants)
    done = 0
    q, intensity = [], []
    yield LibraryProgress(Progress(0, total, "zone axes"))
    for variant in variants:
        for chunk in _chunks(variant, crystals[variant.member], parameters, thickness, device):
            q.append(chunk[0])
            intensity.append(chunk[1])
            done += len(chunk[0])
            yield LibraryProgress(Progress(done, total, "zone axes"))
    return _library(crystals, parameters, variants, torch.cat(q), torch.cat(intensity), thickness)


def _chunks(
    variant: _Variant,
    crystal: Crystal,
    parameters: BlochParameters,
    thickness: Tensor,
    device: torch.device | str,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The strongest beams of one variant, some zone axes at a time: q and intensity, as `_strongest` gives them."""
    matrix = StructureMatrix(
        crystal,
        voltage_kv=variant.voltage_kv,
        q_max=parameters.q_max_inv_angstrom,
        absorption=parameters.absorption,
        device=device,
    )
    size = _chunk_size(matrix, variant, parameters.excitation_cut)
    for start in range(0, len(variant.rotation), size):
        part = slice(start, start + size)
        rotation = variant.rotation[part].to(device)
        patterns = simulate_bloch(
            matrix,
            rotation,
            thickness_angstrom=thickness.to(device),
            excitation_cut=parameters.excitation_cut,
            tilts=None if variant.tilts is None else variant.tilts[part].to(device),
        )
        yield _strongest(patterns, rotation, n_beams=parameters.n_beams)


def _chunk_size(matrix: StructureMatrix, variant: _Variant, excitation_cut: float) -> int:
    """How many orientations of a variant are simulated at once, by the beams of some of them."""
    some = variant.rotation[:: max(1, len(variant.rotation) // 16)].to(matrix.g.device)
    excited = excitation_error(matrix.g @ some, matrix.wavelength).abs() < excitation_cut
    cost = float(excited.sum(dim=1).float().mean()) ** 3 * (1 if variant.tilts is None else AVERAGED_TILTS)
    return int(min(CHUNK, max(4, LARGEST_CHUNK_COST // max(cost, 1.0))))


def _library(
    crystals: tuple[Crystal, ...],
    parameters: BlochParameters,
    variants: Sequence[_Variant],
    q: Tensor,
    intensity: Tensor,
    thickness: Tensor,
) -> BlochLibrary:
    """The patterns of all variants with what they were simulated for."""
    wavelengths = [
        torch.full((len(v.rotation),), electron_wavelength_angstrom(v.voltage_kv)) for v in variants
    ]
    return BlochLibrary(
        crystals=crystals,
        parameters=parameters,
        rotation=torch.cat([v.rotation for v in variants]),
        member=torch.cat([torch.full((len(v.rotation),), v.member) for v in variants]),
        wavelength=torch.cat(wavelengths),
        q=q,
        intensity=intensity,
        thickness_angstrom=thickness,
        mirrored=all(inversion_centre(c) is not None for c in crystals),
    )


def spacing_for(crystal: Crystal, *, n_zone_axes: int) -> float:
    """Spacing in degrees at which about so many zone axes cover the crystal's fundamental sector."""
    n_symmetry = len(np.asarray(crystal.proper_point_group.data).reshape(-1, 4))
    return math.degrees(math.sqrt(4 * math.pi / (n_symmetry * n_zone_axes)))


def _variants(
    crystals: Sequence[Crystal], parameters: BlochParameters, generator: torch.Generator
) -> list[_Variant]:
    low, high = parameters.voltage_low_kv, parameters.voltage_high_kv
    n_averaged = round(parameters.averaged_part * parameters.variants)
    variants = []
    for index in range(parameters.variants):
        member = index % len(crystals)
        rotation = _zone_axis_rotations(crystals[member], parameters.spacing_deg, generator)
        # Voltages are spread evenly, each drawn within its own part of the range; the last variants are averaged.
        place = (index * 0.618034 + float(torch.rand(1, generator=generator)) / parameters.variants) % 1.0
        voltage = low * (high / low) ** place
        averaged = index >= parameters.variants - n_averaged
        tilts = _tilts(len(rotation), generator) if averaged else None
        variants.append(_Variant(member, voltage, rotation, tilts))
    return variants


def _zone_axis_rotations(crystal: Crystal, spacing_deg: float, generator: torch.Generator) -> Tensor:
    """Rotations (Z, 3, 3), sample to crystal, whose zone axes cover the fundamental sector, jittered by the spacing."""
    toward_gun = torch.as_tensor(
        fundamental_zone_axes(crystal.proper_point_group, spacing_deg=spacing_deg), dtype=torch.float32
    )
    jitter = math.radians(spacing_deg) * (torch.rand(toward_gun.shape, generator=generator) - 0.5)
    beam = -torch.nn.functional.normalize(toward_gun + jitter, dim=1)
    across = torch.where(beam[:, :1].abs() < 0.7, torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]))
    y = torch.nn.functional.normalize(torch.linalg.cross(beam, across), dim=1)
    # Columns: the sample's x, y, z in the crystal; z is the way the electrons go.
    return torch.stack([torch.linalg.cross(y, beam), y, beam], dim=-1)


def _tilts(n: int, generator: torch.Generator) -> Tensor:
    """Beam tilts (n, P, 2) in rad: for every other pattern a precession cone, for the rest a bent foil."""
    draw = torch.rand((4, n, 1), generator=generator)
    step = torch.arange(AVERAGED_TILTS) / AVERAGED_TILTS
    cone = torch.deg2rad(0.3 + 1.2 * draw[0])
    around = 2 * math.pi * (step + draw[1])
    ring = cone[..., None] * torch.stack([torch.cos(around), torch.sin(around)], dim=-1)
    bend = torch.deg2rad(0.1 + 0.6 * draw[2]) * (2 * step - 1)
    direction = 2 * math.pi * draw[3]
    line = bend[..., None] * torch.stack([torch.cos(direction), torch.sin(direction)], dim=-1)
    precessed = (torch.arange(n) % 2 == 0)[:, None, None]
    return torch.where(precessed, ring, line)


def _strongest(patterns: BlochPatterns, rotation: Tensor, *, n_beams: int) -> tuple[Tensor, Tensor]:
    """The strongest diffracted beams of each pattern: q (Z, n_beams, 2) and intensity (Z, T, n_beams) as float16."""
    there = patterns.reflection[:, 1:] >= 0
    intensity = patterns.intensity[:, :, 1:] * there[:, None]
    strongest = intensity.amax(dim=1)
    number = min(n_beams, strongest.shape[1])
    value, place = strongest.topk(number, dim=1)
    highest = torch.nn.functional.pad(value, (0, 1))[:, :1]  # 0 where the direct beam is alone
    reflection = torch.gather(patterns.reflection[:, 1:], 1, place).clamp_min(0)
    q = (patterns.g[reflection] @ rotation)[..., :2]
    picked = torch.gather(intensity, 2, place[:, None].expand(-1, intensity.shape[1], -1))
    picked = picked / highest[:, :, None].clamp_min(1e-20)
    missing = n_beams - number
    q = torch.nn.functional.pad(q, (0, 0, 0, missing))
    picked = torch.nn.functional.pad(picked, (0, missing))
    return q.float().cpu(), picked.half().cpu()
