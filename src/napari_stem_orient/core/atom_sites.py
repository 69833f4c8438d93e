"""Atom sites: the sites that a file lists, and all the atoms of the cell that symmetry makes of them.

An atom on a symmetry element is one atom, though its coordinates are rounded: 0.333 stands for 1/3, and its copies a
hundredth of an Å apart are the same atom. It is put onto the element, the mean of its copies, and has as many copies in
the cell as its place allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.core.space_groups import Operations

FloatArray = NDArray[np.float64]

FULL = 1.05
"""Occupancies of what cannot be there at once add up to no more than this: 1, and the error of a refinement."""

_OVERLAP = 0.5  # Å: two atoms are never so close
_ROUNDING = 0.035  # Å: by how much rounded coordinates are off, 0.33 for 1/3 in a cell of 10 Å
_LARGEST_MOVE = 0.15  # Å: farther from a symmetry element an atom is not taken for one that lies on it
_SAME_PLACE = 0.05  # Å: sites of two elements nearer than this are one site that they share


_MULTIPLE_BONDS = ("H", "B", "C", "N", "O", "F")


@dataclass(frozen=True, slots=True)
class Site:
    """An atom site of a file.

    Attributes
    ----------
    label : its name in the file
    element : chemical symbol
    position : x, y, z in units of the cell
    occupancy : 0 to 1
    multiplicity : how many the file says that the cell has; 0 where it does not say
    """

    label: str
    element: str
    position: tuple[float, float, float]
    occupancy: float = 1.0
    multiplicity: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class CellContent:
    """All atoms of a cell.

    Attributes
    ----------
    basis : (3, 3) rows a, b, c in Å
    sites : the sites, after copies were merged; positions as they are used
    owner : (n,) int64; the site that each atom belongs to
    fractional : (n, 3) in units of the cell, 0 to 1
    notes : sentences on what was merged or moved
    """

    basis: FloatArray
    sites: tuple[Site, ...]
    owner: NDArray[np.int64]
    fractional: FloatArray
    notes: tuple[str, ...] = ()

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbol of each atom (n,)."""
        return tuple(self.sites[i].element for i in self.owner)

    @property
    def occupancy(self) -> FloatArray:
        """(n,) site occupancies."""
        return np.array([self.sites[i].occupancy for i in self.owner])

    @property
    def composition(self) -> dict[str, float]:
        """Number of atoms of each element in the cell, by occupancy."""
        counts: dict[str, float] = {}
        for element, occupancy in zip(self.elements, self.occupancy, strict=True):
            counts[element] = counts.get(element, 0.0) + float(occupancy)
        return counts


def fill_cell(sites: Sequence[Site], operations: Operations, basis: FloatArray) -> CellContent:
    """All atoms that the operations make of the sites.

    Parameters
    ----------
    sites : as the file lists them
    operations : the whole space group
    basis : (3, 3) rows a, b, c in Å

    Raises
    ------
    CrystalError
        When atoms lie on top of each other; the message names the sites.
    """
    notes: list[str] = []
    placed: list[tuple[Site, FloatArray]] = []
    for site in sites:
        position, moved = _on_symmetry(site, operations, basis)
        if moved > _ROUNDING:
            notes.append(f"{site.label} was moved by {moved:.2f} Å onto the symmetry element beside it")
        atoms = _copies(position, operations)
        x, y, z = (float(value) for value in position)
        placed.append((replace(site, position=(x, y, z)), atoms))
    kept = _merged(placed, basis, notes)
    return CellContent(
        basis=basis,
        sites=tuple(site for site, _ in kept),
        owner=np.repeat(np.arange(len(kept)), [len(atoms) for _, atoms in kept]),
        fractional=np.concatenate([atoms for _, atoms in kept]),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class Contact:
    """Two atoms that are close.

    Attributes
    ----------
    first, second : labels of their sites
    distance : in Å
    ratio : of the distance to the sum of their covalent radii
    light : whether one of them forms multiple bonds, which are short: 1.6 Å for V=O, 1.8 Å for U=O
    """

    first: str
    second: str
    distance: float
    ratio: float
    light: bool


def closest_contact(content: CellContent) -> Contact | None:
    """The two atoms that are closest for their size, of those that can be there at once; None if far apart.

    Radii are the covalent ones of Cordero et al., Dalton Trans. (2008) 2832: bonds have a ratio of about 1.
    """
    import gemmi

    radius = np.array([gemmi.Element(site.element).covalent_r for site in content.sites])
    occupancy = np.array([site.occupancy for site in content.sites])
    first = np.unique(content.owner, return_index=True)[1]
    reach = 2.2 * float(radius.max())
    around, number = _with_neighbours(content, reach)
    tree = cKDTree(around)
    found: Contact | None = None
    near = tree.query_ball_point(content.fractional[first] @ content.basis, reach)
    for site, neighbours in enumerate(near):
        distance = np.linalg.norm(
            around[neighbours] - content.fractional[first[site]] @ content.basis, axis=1
        )
        others = content.owner[number[neighbours]]
        apart = distance > 1e-3  # shared sites have been looked at
        apart &= occupancy[others] + occupancy[site] > FULL
        if not apart.any():
            continue
        ratio = np.where(apart, distance / (radius[others] + radius[site]), np.inf)
        best = int(ratio.argmin())
        if found is None or ratio[best] < found.ratio - 1e-9:
            pair = content.sites[site], content.sites[others[best]]
            light = any(one.element in _MULTIPLE_BONDS for one in pair)
            found = Contact(pair[0].label, pair[1].label, float(distance[best]), float(ratio[best]), light)
    return found


def _on_symmetry(site: Site, operations: Operations, basis: FloatArray) -> tuple[FloatArray, float]:
    """The position of a site (3,) on the symmetry elements that it is meant to lie on, and its move in Å."""
    position = np.array(site.position)
    images = operations.rotations @ position + operations.translations
    step = images - position
    step -= np.rint(step)
    distance = np.linalg.norm(step @ basis, axis=1)
    near = distance < _OVERLAP
    overlapping = len(np.unique(np.round(step[near], 3), axis=0))
    # Several copies of a half-occupied atom may be close: it is on one of its places at a time.
    crowded = site.occupancy * overlapping > FULL
    for reach in np.unique(np.round(distance[near], 6))[::-1]:
        these = distance <= reach + 1e-6
        middle = position + step[these].mean(axis=0)
        back = operations.rotations[these] @ middle + operations.translations[these] - middle
        fixed = np.abs(back - np.rint(back)).max() < 1e-6
        moved = float(np.linalg.norm((middle - position) @ basis))
        if fixed and moved <= (_LARGEST_MOVE if crowded else _ROUNDING):
            return middle, moved
    return position, 0.0


def _copies(position: FloatArray, operations: Operations) -> FloatArray:
    """All different images (m, 3) of a position, 0 to 1."""
    images = (operations.rotations @ position + operations.translations) % 1.0
    # Off by an odd amount, so that no coordinate of a file lies where rounding could go either way.
    rounded = np.round(images + 2.718e-7, 5) % 1.0
    first = np.sort(np.unique(rounded, axis=0, return_index=True)[1])
    # What is a rounding error below 1 is 0.
    atoms: FloatArray = np.where(np.abs(images[first] - 1.0) < 1e-9, 0.0, images[first])
    return atoms


def _merged(
    placed: list[tuple[Site, FloatArray]], basis: FloatArray, notes: list[str]
) -> list[tuple[Site, FloatArray]]:
    """The sites without those that are listed twice; sites that elements share are put onto one place."""
    kept: list[tuple[Site, FloatArray]] = []
    for site, atoms in placed:
        on = [i for i, (_, others) in enumerate(kept) if _distance(atoms[0], others, basis) < _SAME_PLACE]
        same = next((i for i in on if kept[i][0].element == site.element), None)
        if on:
            # one place for all that share it, to the last digit
            atoms = kept[on[0]][1]
        if same is None:
            kept.append((site, atoms))
            continue
        other = kept[same][0]
        total = other.occupancy + site.occupancy
        if total <= FULL:
            kept[same] = (replace(other, occupancy=min(1.0, total)), kept[same][1])
        elif abs(other.occupancy - site.occupancy) < 1e-3:
            notes.append(f"{site.label} is a copy of {other.label}, and was left out")
        else:
            raise CrystalError(_too_full(other, site, total))
    for number, (site, atoms) in enumerate(kept):
        others = [s for i, (s, a) in enumerate(kept) if i < number and a is atoms]
        total = site.occupancy + sum(other.occupancy for other in others)
        if others and total > FULL:
            raise CrystalError(_too_full(others[0], site, total))
    return kept


def _too_full(first: Site, second: Site, total: float) -> str:
    return (
        f"atoms {first.label} and {second.label} lie on one place, with occupancies that add up to {total:.2f}; "
        "correct their positions, or their occupancies to 1 at most"
    )


def _distance(position: FloatArray, others: FloatArray, basis: FloatArray) -> float:
    step = others - position
    step -= np.rint(step)
    return float(np.linalg.norm(step @ basis, axis=1).min())


def _with_neighbours(content: CellContent, reach: float) -> tuple[FloatArray, NDArray[np.int64]]:
    """Cartesian positions (m, 3) in Å of all atoms within reach of the cell, and which atom each is an image of."""
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(content.basis), axis=0)
    cells = [np.arange(-n, n + 1) for n in np.ceil(reach / spacing).astype(int)]
    steps = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)
    images = content.fractional[None] + steps[:, None]
    margin = reach / spacing
    inside = np.all((images > -margin) & (images < 1 + margin), axis=-1)
    number = np.broadcast_to(np.arange(len(content.fractional)), inside.shape)
    return images[inside] @ content.basis, number[inside]
