"""The built-in list of crystals and the structure types that shipped models are trained for.

Lattice parameters at room temperature, in Å, from W. B. Pearson's Handbook of Lattice Spacings (1958) as tabulated in
R. W. G. Wyckoff, Crystal Structures (1963), and for LiCoO2 from Akimoto, Gotoh and Oosawa (1998).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

Position = tuple[float, float, float]

FCC: tuple[Position, ...] = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
BCC: tuple[Position, ...] = ((0, 0, 0), (0.5, 0.5, 0.5))
HCP: tuple[Position, ...] = ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75))
RHOMBOHEDRAL: tuple[Position, ...] = ((0, 0, 0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3))
PRIMITIVE: tuple[Position, ...] = ((0, 0, 0),)


@dataclass(frozen=True, slots=True)
class BuiltinStructure:
    """A cell as lattice, centring and the atoms that the centring repeats."""

    lattice: tuple[float, float, float, float, float, float]
    space_group: int
    atoms: tuple[tuple[str, Position], ...]
    centring: tuple[Position, ...] = PRIMITIVE

    def as_crystal_arguments(self) -> dict[str, Any]:
        """Keywords for Crystal, without its name."""
        elements, positions = [], []
        for element, xyz in self.atoms:
            for shift in self.centring:
                elements.append(element)
                positions.append([(x + s) % 1.0 for x, s in zip(xyz, shift, strict=True)])
        return {
            "lattice": self.lattice,
            "elements": tuple(elements),
            "fractional": positions,
            "occupancy": [1.0] * len(elements),
            "space_group": self.space_group,
        }


def _cubic(
    a: float, space_group: int, atoms: tuple[tuple[str, Position], ...], centring: tuple[Position, ...]
) -> BuiltinStructure:
    return BuiltinStructure((a, a, a, 90.0, 90.0, 90.0), space_group, atoms, centring)


def _fcc(element: str, a: float) -> BuiltinStructure:
    return _cubic(a, 225, ((element, (0, 0, 0)),), FCC)


def _bcc(element: str, a: float) -> BuiltinStructure:
    return _cubic(a, 229, ((element, (0, 0, 0)),), BCC)


def _hcp(element: str, a: float, c: float) -> BuiltinStructure:
    return BuiltinStructure((a, a, c, 90.0, 90.0, 120.0), 194, tuple((element, p) for p in HCP))


def _diamond(first: str, second: str, a: float) -> BuiltinStructure:
    space_group = 227 if first == second else 216
    return _cubic(a, space_group, ((first, (0, 0, 0)), (second, (0.25, 0.25, 0.25))), FCC)


def _rock_salt(cation: str, anion: str, a: float) -> BuiltinStructure:
    return _cubic(a, 225, ((cation, (0, 0, 0)), (anion, (0.5, 0.5, 0.5))), FCC)


BUILTIN_STRUCTURES: dict[str, BuiltinStructure] = {
    "Cu": _fcc("Cu", 3.6149),
    "Cu2O": _cubic(
        4.2696,
        224,
        (
            *(("Cu", p) for p in FCC),
            *(("O", (x + 0.25, y + 0.25, z + 0.25)) for x, y, z in BCC),
        ),
        PRIMITIVE,
    ),
    "Al": _fcc("Al", 4.0496),
    "Ni": _fcc("Ni", 3.5240),
    "Ag": _fcc("Ag", 4.0857),
    "Au": _fcc("Au", 4.0782),
    "Pt": _fcc("Pt", 3.9242),
    "Pd": _fcc("Pd", 3.8907),
    "Fe (bcc)": _bcc("Fe", 2.8665),
    "Fe (fcc)": _fcc("Fe", 3.5910),
    "Cr": _bcc("Cr", 2.8848),
    "W": _bcc("W", 3.1652),
    "Mo": _bcc("Mo", 3.1470),
    "Ti": _hcp("Ti", 2.9508, 4.6855),
    "Mg": _hcp("Mg", 3.2094, 5.2108),
    "Zn": _hcp("Zn", 2.6649, 4.9468),
    "Si": _diamond("Si", "Si", 5.4310),
    "Ge": _diamond("Ge", "Ge", 5.6579),
    "GaAs": _diamond("Ga", "As", 5.6533),
    "NaCl": _rock_salt("Na", "Cl", 5.6402),
    "MgO": _rock_salt("Mg", "O", 4.2117),
    "SrTiO3": _cubic(
        3.9050,
        221,
        (
            ("Sr", (0, 0, 0)),
            ("Ti", (0.5, 0.5, 0.5)),
            ("O", (0.5, 0.5, 0)),
            ("O", (0.5, 0, 0.5)),
            ("O", (0, 0.5, 0.5)),
        ),
        PRIMITIVE,
    ),
    "LiCoO2": BuiltinStructure(
        (2.8156, 2.8156, 14.0542, 90.0, 90.0, 120.0),
        166,
        (("Li", (0, 0, 0.5)), ("Co", (0, 0, 0)), ("O", (0, 0, 0.2605)), ("O", (0, 0, 0.7395))),
        RHOMBOHEDRAL,
    ),
}

_STRUCTURE_TYPES: dict[tuple[int, tuple[int, ...]], str] = {
    (225, (4,)): "fcc",
    (229, (2,)): "bcc",
    (194, (2,)): "hcp",
    (227, (8,)): "diamond",
    (216, (4, 4)): "zinc blende",
    (225, (4, 4)): "rock salt",
    (224, (2, 4)): "cuprite",
    (221, (1, 1, 3)): "perovskite",
}


def structure_type_of(space_group: int, sites: Iterable[Hashable]) -> str | None:
    """Name of the structure type with this space group and numbers of equal sites in the cell, or None.

    ``sites`` says what sits on each site: an element, or anything that stands for a mixture of elements.
    """
    counts = tuple(sorted(Counter(sites).values()))
    return _STRUCTURE_TYPES.get((space_group, counts))
