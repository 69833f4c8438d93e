"""Crystal: lattice, atoms, symmetry and reflections of one structure, from the built-in list or from a CIF."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stem_orient.core.builtin_crystals import BUILTIN_STRUCTURES, crystal_system_of, structure_type_of
from napari_stem_orient.core.cif import read_structure
from napari_stem_orient.core.cif_structure import structure_of
from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.core.lattice import lattice_basis
from napari_stem_orient.core.space_groups import group_name, setting_symbol, standard_rotations
from napari_stem_orient.core.unit_cell import symmetric_cell

if TYPE_CHECKING:
    from orix.crystal_map import Phase
    from orix.quaternion.symmetry import Symmetry

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Names that :func:`load_crystal` knows without a file.
BUILTIN_CRYSTALS: tuple[str, ...] = tuple(BUILTIN_STRUCTURES)

#: Root-mean-square thermal displacement in Å where nothing better is known (room-temperature metals: 0.06-0.1).
DEFAULT_THERMAL_SIGMA = 0.08

#: Å; no lattice has a shorter translation.
SHORTEST_TRANSLATION = 0.5


@dataclass(frozen=True)
class Crystal:
    """One crystal structure.

    Attributes
    ----------
    name
        Its label in menus and maps.
    lattice
        a, b, c in Å and alpha, beta, gamma in degrees, of the conventional cell.
    elements
        Chemical symbol of each atom in the cell (n,).
    fractional
        (n, 3) fractional coordinates of all atoms in the cell.
    occupancy
        (n,) site occupancies, 0 to 1.
    space_group
        International number, 1 to 230.
    thermal_sigma_angstrom
        Root-mean-square displacement along one direction, in Å, the same for every atom.
    rotations
        (n, 3, 3) int64; the point group in this cell: what each operation does to fractional coordinates (columns),
        improper ones among them. None where it is that of the standard setting of the space group.
    setting
        Symbol of the space group in this cell where it is not the standard one, "P b n m"; empty where it is.
    quoted_axes
        (3, 3) rows: the axes that directions and planes are quoted in, in units of a, b, c of this cell. None where
        they are a, b, c themselves; another cell of the file (rhombohedral axes) has its own.
    notes
        Sentences on what had to be decided when the structure was read; no part of what the crystal is.
    source
        What `load_crystal` makes it from again: its built-in name, or the path of its CIF, with "#" and the name of the
        structure where the file holds several; empty where nobody knows. No part of what the crystal is, either.
    """

    name: str
    lattice: tuple[float, float, float, float, float, float]
    elements: tuple[str, ...]
    fractional: FloatArray = field(repr=False)
    occupancy: FloatArray = field(repr=False)
    space_group: int
    thermal_sigma_angstrom: float = DEFAULT_THERMAL_SIGMA
    rotations: IntArray | None = field(default=None, repr=False)
    setting: str = ""
    quoted_axes: FloatArray | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractional", np.asarray(self.fractional, dtype=np.float64).reshape(-1, 3))
        object.__setattr__(self, "occupancy", np.asarray(self.occupancy, dtype=np.float64).ravel())
        if not len(self.elements):
            raise CrystalError(f"crystal {self.name!r} has no atoms; add the atom sites to its CIF")
        if not len(self.elements) == len(self.fractional) == len(self.occupancy):
            raise CrystalError(
                f"crystal {self.name!r}: {len(self.elements)} elements, {len(self.fractional)} positions and "
                f"{len(self.occupancy)} occupancies must be equally many"
            )
        good = np.isfinite(self.occupancy) & (self.occupancy >= 0)
        if not (good.all() and self.occupancy.any() and np.isfinite(self.fractional).all()):
            raise CrystalError(
                f"crystal {self.name!r}: positions must be numbers, and occupancies from 0 to 1, not all 0; correct "
                "_atom_site_fract_x, _y, _z and _atom_site_occupancy in its CIF"
            )
        if self.rotations is not None:
            # Equal crystals are equal however they were made: the standard group is not written down.
            own = np.unique(np.asarray(self.rotations, dtype=np.int64).reshape(-1, 3, 3), axis=0)
            standard = np.array_equal(own, standard_rotations(self.space_group))
            object.__setattr__(self, "rotations", None if standard else own)
        if self.quoted_axes is not None:
            axes = np.asarray(self.quoted_axes, dtype=np.float64).reshape(3, 3)
            object.__setattr__(self, "quoted_axes", None if np.allclose(axes, np.eye(3)) else axes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Crystal) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def direct_basis(self) -> FloatArray:
        """(3, 3) rows a, b, c in Å in the crystal's Cartesian frame: e1 along a, e3 along c*."""
        return lattice_basis(self.lattice)

    @cached_property
    def reciprocal_basis(self) -> FloatArray:
        """(3, 3) rows a*, b*, c* in Å⁻¹ (no factor 2 pi)."""
        return np.asarray(np.linalg.inv(self.direct_basis).T)

    @property
    def quoted_basis(self) -> FloatArray:
        """(3, 3) rows in Å: the axes in which directions [uvw] are quoted, those of the user's cell."""
        return self.direct_basis if self.quoted_axes is None else self.quoted_axes @ self.direct_basis

    def quoted_indices(self, hkl: NDArray[np.int64]) -> NDArray[np.int64]:
        """Miller indices (..., 3) of this cell in the user's, in which they are quoted."""
        if self.quoted_axes is None:
            return hkl
        quoted: NDArray[np.int64] = np.rint(hkl @ self.quoted_axes.T).astype(np.int64)
        return quoted

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return float(np.linalg.det(self.direct_basis))

    @property
    def lattice_scale(self) -> float:
        """The length in Å that turns q into lattice units: the cell edge a."""
        return float(self.lattice[0])

    @property
    def axial_ratio(self) -> float:
        """The ratio c / a of the cell edges."""
        return float(self.lattice[2] / self.lattice[0])

    @property
    def space_group_name(self) -> str:
        """The space group with its number, "Pbnm (62)", in the setting of the cell."""
        return group_name(self.space_group, self.setting)

    @property
    def crystal_system(self) -> str:
        """One of the seven, "cubic" for instance."""
        return crystal_system_of(self.space_group)

    @cached_property
    def structure_type(self) -> str | None:
        """Name of the structure type ("fcc", "bcc", "rock salt", ...), or None where it is not a common one."""
        _, contents = _sites(self)
        return structure_type_of(self.space_group, contents.tolist())

    @cached_property
    def phase(self) -> Phase:
        """The same as an orix Phase: its own atoms and cell, and the group that orix has for the space group's number.

        Files name the Laue class instead, about the crystal's own axes: see `core.crystal_setting`.
        """
        from diffpy.structure import Atom, Lattice, Structure
        from orix.crystal_map import Phase

        atoms = [
            Atom(element, xyz, occupancy=occupancy)
            for element, xyz, occupancy in zip(self.elements, self.fractional, self.occupancy, strict=True)
        ]
        structure = Structure(atoms=atoms, lattice=Lattice(base=self.direct_basis), title=self.name)
        return Phase(name=self.name, space_group=self.space_group, structure=structure)

    @cached_property
    def point_group_operations(self) -> FloatArray:
        """(n, 3, 3) orthogonal matrices of the point group in the crystal's Cartesian frame, in this very cell.

        Rotations have the determinant 1, improper operations -1. They are worked out from the operations of the
        crystal's own cell, so that any setting has its axes where they are.
        """
        fractional = standard_rotations(self.space_group) if self.rotations is None else self.rotations
        to_cartesian = self.direct_basis.T
        matrices = to_cartesian @ fractional @ np.linalg.inv(to_cartesian)
        # A cell with rounded edges is symmetric to that rounding only: take the nearest orthogonal matrices.
        left, _, right = np.linalg.svd(matrices)
        return np.asarray(left @ right)

    @cached_property
    def proper_point_group(self) -> Symmetry:
        """The proper rotations of the Laue class, from the structure's own setting (orix Symmetry).

        Diffraction positions and kinematic intensities have the Laue symmetry, so these are the rotations that no
        pattern can tell apart. Reference: de Graef, Introduction to Conventional TEM (2003), section 1.7.
        """
        from orix.quaternion.symmetry import Symmetry

        from napari_stem_orient.core.orientation import matrix_to_quaternion

        operations = self.point_group_operations
        # With the inversion of the Laue class, an improper operation stands for its proper negative.
        proper = operations * np.sign(np.linalg.det(operations))[:, None, None]
        proper = proper[np.sort(np.unique(np.round(proper, 6) + 0.0, axis=0, return_index=True)[1])]
        named: Symmetry = self.phase.point_group.laue.proper_subgroup
        ours = matrix_to_quaternion(proper)
        theirs = np.asarray(named.data).reshape(-1, 4)
        nearest = np.abs(ours @ theirs.T).max(axis=1)
        if len(ours) == len(theirs) and np.all(nearest > 1 - 1e-6):
            return named
        # A setting that orix does not know by name (monoclinic, unique axis b): the operators speak for themselves.
        return Symmetry(ours)

    def reflections(self, q_max: float) -> tuple[NDArray[np.int64], FloatArray]:
        """Reciprocal lattice points with 0 < |g| <= q_max that the lattice centring allows.

        Returns
        -------
        hkl
            (m, 3) Miller indices.
        g
            (m, 3) vectors in Å⁻¹ in the crystal's Cartesian frame.
        """
        largest = np.ceil(q_max * np.linalg.norm(self.direct_basis, axis=1)).astype(int)
        axes = [np.arange(-n, n + 1) for n in largest]
        hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        g = hkl @ self.reciprocal_basis
        length = np.linalg.norm(g, axis=1)
        keep = (length > 1e-9) & (length <= q_max) & self._allowed_by_centring(hkl)
        order = np.argsort(length[keep], kind="stable")
        return hkl[keep][order], g[keep][order]

    def _allowed_by_centring(self, hkl: NDArray[np.int64]) -> NDArray[np.bool_]:
        translations = self.centring_translations
        phase = np.exp(2j * np.pi * hkl @ translations.T).sum(axis=1)
        return np.asarray(np.abs(phase) > 1e-6)

    @cached_property
    def centring_translations(self) -> FloatArray:
        """Fractional lattice translations (n, 3) that map the whole structure onto itself, (0, 0, 0) among them."""
        site, kinds = _sites(self)
        rarest = np.flatnonzero(kinds == np.bincount(kinds)[1:].argmin() + 1)
        places = _inside(self.fractional[site])
        tree = cKDTree(places, boxsize=np.ones(3))
        kept = []
        for step in places[rarest] - places[rarest[0]]:
            distance, there = tree.query(_inside(places + step), p=np.inf)
            if np.max(distance) < 1e-4 and np.array_equal(kinds[there], kinds):
                kept.append(step)
        translations: FloatArray = np.round(np.array(kept) % 1.0, 9) % 1.0
        # Atoms that are listed twice, a hair apart, make no lattice.
        length = np.linalg.norm((translations - np.rint(translations)) @ self.direct_basis, axis=1)
        lattice: FloatArray = translations[(length > SHORTEST_TRANSLATION) | (length == 0)]
        return lattice

    @cached_property
    def primitive_basis(self) -> FloatArray:
        """(3, 3) rows in Å: the three shortest lattice vectors that span the primitive cell."""
        steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        fractional = (steps[:, None, :] + self.centring_translations[None]).reshape(-1, 3)
        vectors = fractional @ self.direct_basis
        length = np.linalg.norm(vectors, axis=1)
        vectors = vectors[np.argsort(length, kind="stable")][np.sort(length) > 1e-6]
        first = vectors[0]
        second = next(v for v in vectors if np.linalg.norm(np.cross(first, v)) > 1e-3 * (v @ v))
        normal = np.cross(first, second)
        third = next(v for v in vectors if abs(normal @ v) > 1e-3 * self.volume)
        return np.array([first, second, third])

    @property
    def formula(self) -> str:
        """Elements with their numbers in the cell, "Cu4O2"."""
        symbols, counts = np.unique(np.array(self.elements), return_counts=True)
        return "".join(f"{s}{n if n > 1 else ''}" for s, n in zip(symbols, counts, strict=True))

    @property
    def composition(self) -> dict[str, float]:
        """Number of atoms of each element in the cell, by occupancy: La 2.8 and Sr 1.2 where they share a site."""
        counts: dict[str, float] = {}
        for element, occupancy in zip(self.elements, self.occupancy, strict=True):
            counts[element] = counts.get(element, 0.0) + float(occupancy)
        return counts

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of everything that the diffraction depends on."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Everything that the crystal is, ready for JSON; what is as usual is left out."""
        unusual: dict[str, Any] = {}
        if self.rotations is not None:
            unusual["rotations"] = self.rotations.tolist()
        if self.setting:
            unusual["setting"] = self.setting
        if self.quoted_axes is not None:
            unusual["quoted_axes"] = [[round(float(x), 9) for x in row] for row in self.quoted_axes]
        return {
            "name": self.name,
            "lattice": [float(x) for x in self.lattice],
            "elements": list(self.elements),
            "fractional": [[round(float(x), 9) for x in row] for row in self.fractional],
            "occupancy": [float(x) for x in self.occupancy],
            "space_group": int(self.space_group),
            "thermal_sigma_angstrom": float(self.thermal_sigma_angstrom),
            **unusual,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Crystal:
        """The inverse of :meth:`to_dict`."""
        a, b, c, alpha, beta, gamma = (float(x) for x in data["lattice"])
        return cls(
            name=str(data["name"]),
            lattice=(a, b, c, alpha, beta, gamma),
            elements=tuple(str(e) for e in data["elements"]),
            fractional=np.array(data["fractional"], dtype=np.float64),
            occupancy=np.array(data["occupancy"], dtype=np.float64),
            space_group=int(data["space_group"]),
            thermal_sigma_angstrom=float(data["thermal_sigma_angstrom"]),
            rotations=data.get("rotations"),
            setting=str(data.get("setting", "")),
            quoted_axes=data.get("quoted_axes"),
        )


def load_crystal(name_or_path: str | Path, *, block: str | None = None) -> Crystal:
    """A built-in crystal by its name, or the crystal in a CIF.

    Parameters
    ----------
    name_or_path
        "Cu", or the path of a CIF; "two.cif#second" is the structure data_second of a file with several.
    block
        The same, given apart.

    Raises
    ------
    SeveralStructures
        (a CrystalError) When the file holds several structures and none is named.
    CrystalError
        (a ValueError) for an unknown name, a missing file, a CIF without atoms, or one that cannot be read.
    """
    name = str(name_or_path)
    if name in BUILTIN_STRUCTURES:
        return Crystal(name=name, source=name, **BUILTIN_STRUCTURES[name].as_crystal_arguments())
    path = Path(name_or_path)
    if not path.is_file() and block is None and "#" in name:
        name, _, block = name.rpartition("#")
        path = Path(name)
    if path.is_file():
        return crystal_from_cif(path, block=block)
    if path.suffix.lower() == ".cif":
        raise CrystalError(f"there is no file {path}; check the path of the CIF")
    raise CrystalError(
        f"crystal {name!r} is neither a built-in name nor a CIF; built-in: {', '.join(BUILTIN_CRYSTALS)}"
    )


def crystal_from_cif(path: str | Path, *, block: str | None = None) -> Crystal:
    """Read a CIF: in its own cell, with the symmetry that it declares or, where its atoms have more, with theirs.

    ``notes`` of the crystal tell what had to be decided. See `load_crystal` for the block and the errors.
    """
    path = Path(path)
    chosen = read_structure(path, block)
    structure = structure_of(chosen)
    reading = structure.reading
    cell = symmetric_cell(
        structure.content, structure.lattice, reading.operations, number=reading.number, name=reading.name
    )
    return Crystal(
        name=path.stem if block is None else f"{path.stem} {chosen.name}",
        lattice=cell.lattice,
        elements=cell.elements,
        fractional=cell.fractional,
        occupancy=cell.occupancy,
        space_group=cell.space_group,
        rotations=cell.rotations,
        setting=setting_symbol(reading.operations, cell.space_group) if cell.quoted_axes is None else "",
        quoted_axes=cell.quoted_axes,
        notes=tuple(note for note in (*structure.notes, cell.note) if note),
        source=str(path.absolute()) if block is None else f"{path.absolute()}#{chosen.name}",
    )


def _sites(crystal: Crystal) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First atom of each site, and a number for what sits there (elements with their occupancies)."""
    places = _inside(crystal.fractional)
    tree = cKDTree(places, boxsize=np.ones(3))
    together = [tree.query_ball_point(place, 1e-3, p=np.inf) for place in places]
    owner = np.array([min(atoms) for atoms in together])
    site = np.flatnonzero(owner == np.arange(len(owner)))
    contents = [
        tuple(sorted((crystal.elements[j], round(float(crystal.occupancy[j]), 3)) for j in together[i]))
        for i in site
    ]
    kinds = {content: k for k, content in enumerate(sorted(set(contents)), start=1)}
    return site, np.array([kinds[content] for content in contents])


def _inside(fractional: FloatArray) -> FloatArray:
    """Positions (n, 3) inside the cell: 0 to 1, 1 excluded."""
    inside: FloatArray = fractional % 1.0
    return np.where(inside >= 1.0, 0.0, inside)
