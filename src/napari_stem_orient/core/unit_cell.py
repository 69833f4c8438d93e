"""The cell of a crystal and the symmetry that its atoms have in it: the file's own cell, but for two kinds of cells.

A primitive cell, or one of rhombohedral axes, does not show its symmetry in its edges: those crystals are calculated in
the conventional cell, and their directions quoted in the file's. Every other cell stays as it is, whatever the setting.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.atom_sites import CellContent
from napari_stem_orient.core.lattice import Lattice, lattice_of
from napari_stem_orient.core.space_groups import Operations, group_name, standard_rotations

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Content = tuple[tuple[str, float], ...]
"""The elements on a place, each with its occupancy."""

_SYMMETRY_TOLERANCE = 1e-2  # Å


@dataclass(frozen=True, slots=True, eq=False)
class SymmetricCell:
    """A cell with all its atoms and the point group that they have.

    Attributes
    ----------
    lattice : a, b, c in Å and alpha, beta, gamma in degrees
    elements, fractional, occupancy : (n,), (n, 3), (n,); all atoms
    space_group : 1 to 230
    rotations : (m, 3, 3) int64 in fractional coordinates
    quoted_axes : (3, 3) rows, the file's a, b, c in units of this cell's; None where they are the same
    note : a sentence on what differs from the file; empty where nothing does
    """

    lattice: Lattice
    elements: tuple[str, ...]
    fractional: FloatArray
    occupancy: FloatArray
    space_group: int
    rotations: IntArray
    quoted_axes: FloatArray | None = None
    note: str = ""


def symmetric_cell(
    content: CellContent, lattice: Lattice, declared: Operations, *, number: int, name: str
) -> SymmetricCell:
    """The cell in which a structure is calculated.

    Parameters
    ----------
    content, lattice : the file's cell with all its atoms
    declared : the operations that the file declares; where its atoms have more (P1), those are found
    number, name : of the declared group
    """
    place, kind, contents = _places(content)
    found = _searched((content.basis, content.fractional[place], kind))
    own = np.unique(declared.rotations, axis=0)
    as_declared = SymmetricCell(
        lattice,
        content.elements,
        content.fractional,
        content.occupancy,
        number or _number(declared, content),
        own,
    )
    if found is None or not _includes(np.asarray(found.rotations, dtype=np.int64), own):
        # Atoms that are too close for a search (split sites), or rounded edges: the file knows better.
        return as_declared
    rotations = np.unique(np.asarray(found.rotations, dtype=np.int64), axis=0)
    note = ""
    if number not in (0, int(found.number)):
        note = f"the file declares {name}; its atoms have the symmetry {group_name(int(found.number))}, which is used"
    unit = np.eye(3, dtype=np.int64)
    centrings = int(np.all(np.asarray(found.rotations) == unit, axis=(1, 2)).sum())
    change = np.asarray(found.transformation_matrix, dtype=np.float64)
    # A cell of several primitive ones is the user's where the file declares it so, or where it is the usual one.
    whole = abs(abs(np.linalg.det(change)) - 1.0) < 1e-3 or centrings == declared.centrings
    if _shows(rotations) and whole:
        return replace(as_declared, space_group=int(found.number), rotations=rotations, note=note)
    return _conventional(found, contents, change, note)


def _searched(cell: tuple[FloatArray, FloatArray, IntArray]) -> Any:
    """What spglib finds of the symmetry of basis, positions and kinds; None where it finds nothing."""
    import spglib

    # It is going to raise an error where it returned None up to now, and warns of that.
    failed = getattr(spglib, "SpglibError", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return spglib.get_symmetry_dataset(cell, symprec=_SYMMETRY_TOLERANCE)
        except failed:
            return None


def _conventional(found: Any, contents: Sequence[Content], change: FloatArray, note: str) -> SymmetricCell:
    """The conventional cell that spglib found, x' = P x + p of the file's x; ``change`` is P."""
    lattice = lattice_of(np.asarray(found.std_lattice, dtype=np.float64))
    there = [contents[kind - 1] for kind in found.std_types]
    owner = np.repeat(np.arange(len(there)), [len(content) for content in there])
    number = int(found.number)
    edges = ", ".join(f"{value:.4g}" for value in lattice[:3])
    told = (
        f"calculated in the conventional cell of {group_name(number)}, a, b, c = {edges} Å; "
        "directions and planes are given in the axes of the file"
    )
    return SymmetricCell(
        lattice,
        tuple(element for content in there for element, _ in content),
        np.asarray(found.std_positions, dtype=np.float64)[owner] % 1.0,
        np.array([occupancy for content in there for _, occupancy in content]),
        number,
        standard_rotations(number),
        quoted_axes=np.round(change.T, 12) + 0.0,
        note="; ".join(filter(None, (note, told))),
    )


def _shows(rotations: IntArray) -> bool:
    """Whether a cell has its axes along its symmetry: each operation takes them to each other, or c to itself.

    Rhombohedral axes are exchanged among themselves by a rotation about none of them, and do not count.
    """
    proper = np.unique(rotations * np.rint(np.linalg.det(rotations)).astype(np.int64)[:, None, None], axis=0)
    if int((np.trace(proper, axis1=1, axis2=2) == 0).sum()) == 2:
        # One three-fold axis: a hexagonal cell has it along c, rhombohedral axes lie around it.
        return bool(
            np.all(np.abs(proper[:, 2]) == [0, 0, 1]) and np.all(np.abs(proper[:, :, 2]) == [0, 0, 1])
        )
    # Each axis goes to an axis. Of a triclinic cell (the identity alone) any axes will do.
    return bool(np.all(np.abs(proper).sum(axis=1) == 1) and np.all(np.abs(proper).sum(axis=2) == 1))


def _includes(rotations: IntArray, others: IntArray) -> bool:
    there = {tuple(r.ravel().tolist()) for r in rotations}
    return all(tuple(r.ravel().tolist()) in there for r in others)


def _places(content: CellContent) -> tuple[IntArray, IntArray, list[Content]]:
    """The first atom of each place (m,), the kind of place (m,) from 1, and what sits on each kind.

    Elements that share a place are one kind for the search for symmetry.
    """
    labels = np.round(content.fractional, 6) % 1.0
    _, first, which = np.unique(labels, axis=0, return_index=True, return_inverse=True)
    there: list[list[tuple[str, float]]] = [[] for _ in first]
    for place, element, occupancy in zip(which.ravel(), content.elements, content.occupancy, strict=True):
        there[place].append((element, float(occupancy)))
    whats = [tuple(sorted(what)) for what in there]
    contents = sorted(set(whats))
    kinds = {what: kind for kind, what in enumerate(contents, start=1)}
    return first, np.array([kinds[what] for what in whats]), contents


def _number(declared: Operations, content: CellContent) -> int:
    """The number of a group whose setting is in no table."""
    # A general position has the symmetry of the group and no more.
    atoms = (declared.rotations @ np.array([0.1137, 0.2271, 0.0619]) + declared.translations) % 1.0
    found = _searched((content.basis, atoms, np.ones(len(atoms), dtype=np.int64)))
    return 1 if found is None else int(found.number)
