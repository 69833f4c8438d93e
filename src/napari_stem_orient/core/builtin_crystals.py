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
    "Ir": _fcc("Ir", 3.8394),
    "Rh": _fcc("Rh", 3.8031),
    "Fe (bcc)": _bcc("Fe", 2.8665),
    "Fe (fcc)": _fcc("Fe", 3.5910),
    "Cr": _bcc("Cr", 2.8848),
    "W": _bcc("W", 3.1652),
    "Mo": _bcc("Mo", 3.1470),
    "Ta": _bcc("Ta", 3.3058),
    "Nb": _bcc("Nb", 3.3004),
    "V": _bcc("V", 3.0240),
    "Ti": _hcp("Ti", 2.9508, 4.6855),
    "Mg": _hcp("Mg", 3.2094, 5.2108),
    "Zn": _hcp("Zn", 2.6649, 4.9468),
    "Zr": _hcp("Zr", 3.2320, 5.1470),
    "Co": _hcp("Co", 2.5070, 4.0690),
    "Cd": _hcp("Cd", 2.9789, 5.6177),
    "Be": _hcp("Be", 2.2866, 3.5833),
    "Re": _hcp("Re", 2.7608, 4.4582),
    "Ru": _hcp("Ru", 2.7039, 4.2817),
    "Si": _diamond("Si", "Si", 5.4310),
    "Ge": _diamond("Ge", "Ge", 5.6579),
    "C (diamond)": _diamond("C", "C", 3.5668),
    "GaAs": _diamond("Ga", "As", 5.6533),
    "GaP": _diamond("Ga", "P", 5.4505),
    "InP": _diamond("In", "P", 5.8687),
    "InSb": _diamond("In", "Sb", 6.4782),
    "CdTe": _diamond("Cd", "Te", 6.4800),
    "ZnS": _diamond("Zn", "S", 5.4093),
    "NaCl": _rock_salt("Na", "Cl", 5.6402),
    "KCl": _rock_salt("K", "Cl", 6.2929),
    "LiF": _rock_salt("Li", "F", 4.0173),
    "MgO": _rock_salt("Mg", "O", 4.2117),
    "NiO": _rock_salt("Ni", "O", 4.1684),
    "CoO": _rock_salt("Co", "O", 4.2667),
    "TiN": _rock_salt("Ti", "N", 4.2350),
    "TiC": _rock_salt("Ti", "C", 4.3186),
    "PbS": _rock_salt("Pb", "S", 5.9362),
    "PbTe": _rock_salt("Pb", "Te", 6.4540),
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


_CRYSTAL_SYSTEMS = (
    ("triclinic", 2),
    ("monoclinic", 15),
    ("orthorhombic", 74),
    ("tetragonal", 142),
    ("trigonal", 167),
    ("hexagonal", 194),
    ("cubic", 230),
)
"""Names, each with the last space group of the system."""


def crystal_system_of(space_group: int) -> str:
    """Name of the crystal system of a space group, 1 to 230."""
    return next(name for name, last in _CRYSTAL_SYSTEMS if space_group <= last)
