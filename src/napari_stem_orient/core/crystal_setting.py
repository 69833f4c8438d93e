"""The cell in which another program knows a crystal's Laue group by name, and how ours is turned into it.

Files and colour keys name a symmetry ("-3m") and leave its axes to a convention. A crystal whose axes are those of the
convention stays as it is; any other (rhombohedral axes, a primitive cell, two-fold axes between the a axes) is given
another cell of the same crystal, and its orientations the rotation that goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_stem_orient.core.orientation import (
    matrix_to_quaternion,
    multiply,
    quaternion_to_matrix,
    symmetry_quaternions,
)

if TYPE_CHECKING:
    from diffpy.structure import Structure
    from orix.quaternion.symmetry import Symmetry

    from napari_stem_orient.core.crystal import Crystal

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LAUE_GROUPS = {
    "-1": "Ci",
    "2/m": "C2h",
    "mmm": "D2h",
    "4/m": "C4h",
    "4/mmm": "D4h",
    "-3": "S6",
    "-3m": "D3d",
    "6/m": "C6h",
    "6/mmm": "D6h",
    "m-3": "Th",
    "m-3m": "Oh",
}
"""The 11 Laue classes, and orix's name for the group of each whose axes are its convention (2/m: two-fold along c)."""

# The number of rotations and the highest order among them tell the classes apart.
_CLASS_OF = {
    (1, 1): "-1",
    (2, 2): "2/m",
    (4, 2): "mmm",
    (4, 4): "4/m",
    (8, 4): "4/mmm",
    (3, 3): "-3",
    (6, 3): "-3m",
    (6, 6): "6/m",
    (12, 6): "6/mmm",
    (12, 3): "m-3",
    (24, 4): "m-3m",
}
_OWN_AXES = {"2/m": ("C2h", "C2y", "C2x"), "-3m": ("D3d", "D3y")}
_LONGEST_INDEX = 3


@dataclass(frozen=True, slots=True, eq=False)
class CrystalSetting:
    """A cell of a crystal whose Laue group has its axes where a convention wants them.

    Attributes
    ----------
    group : orix's short name of the group, "D3d"
    cell : (3, 3) int; rows: the axes of this cell in those of the crystal; the unit matrix where it is its own
    turn : (3, 3); from the crystal's Cartesian frame (x along a, z along c*) to that of this cell
    """

    group: str
    cell: IntArray
    turn: FloatArray

    @property
    def symmetry(self) -> Symmetry:
        """The group, whose proper rotations are those of the crystal's Laue class in this cell's frame."""
        from orix.quaternion import symmetry

        group: Symmetry = getattr(symmetry, self.group)
        return group

    @property
    def is_own(self) -> bool:
        """Whether this is the cell of the crystal itself."""
        return bool(np.array_equal(self.cell, np.eye(3)))

    def orientations(self, quaternions: ArrayLike) -> FloatArray:
        """Orientations (..., 4), sample to this cell's frame, from those to the crystal's."""
        q = np.asarray(quaternions, dtype=np.float64)
        return q if self.is_own else multiply(matrix_to_quaternion(self.turn), q)

    def structure(self, crystal: Crystal) -> Structure:
        """The crystal in this cell, with all its atoms, for orix and diffpy: a along x, c* along z."""
        from diffpy.structure import Atom, Lattice, Structure

        base = self.cell @ crystal.direct_basis @ self.turn.T
        base[np.abs(base) < 1e-10] = 0.0
        n_cells = round(float(np.linalg.det(self.cell)))
        steps = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        # Whole numbers as long as possible, so that the corners of the old cells are thirds and halves exactly.
        adjugate = np.rint(np.linalg.inv(self.cell) * n_cells).astype(np.int64)
        corners = np.unique(steps @ adjugate % n_cells, axis=0) / n_cells
        inside = crystal.fractional @ np.linalg.inv(self.cell)
        atoms = [
            Atom(element, (xyz + corner) % 1.0 if n_cells > 1 else xyz, occupancy=occupancy)
            for element, xyz, occupancy in zip(crystal.elements, inside, crystal.occupancy, strict=True)
            for corner in corners
        ]
        return Structure(atoms=atoms, lattice=Lattice(base=base), title=crystal.name)


def laue_class(crystal: Crystal) -> str:
    """Name of the crystal's Laue class, one of the 11 of `LAUE_GROUPS`, from its own rotations."""
    operators = symmetry_quaternions(crystal.proper_point_group)
    return _CLASS_OF[len(operators), int(_orders(operators).max())]


def laue_group(crystal: Crystal) -> Symmetry:
    """Orix's group of the crystal's Laue class, with its axes where orix has them, inversion and all."""
    from orix.quaternion import symmetry

    group: Symmetry = getattr(symmetry, LAUE_GROUPS[laue_class(crystal)])
    return group


def orix_setting(crystal: Crystal) -> CrystalSetting:
    """The crystal's own cell where orix has a name for its Laue group there, else one for which it has."""
    name = laue_class(crystal)
    return setting_with(crystal, _OWN_AXES.get(name, (LAUE_GROUPS[name],)), otherwise="C2y")


def colour_key_setting(crystal: Crystal) -> CrystalSetting:
    """A cell with the axes of orix's colour keys: one for each Laue class, 2/m with its two-fold axis along z."""
    return setting_with(crystal, (LAUE_GROUPS[laue_class(crystal)],), otherwise="C2h")


def setting_with(crystal: Crystal, groups: Sequence[str], *, otherwise: str) -> CrystalSetting:
    """The crystal's own cell where its rotations are those of one of the groups, else a cell of the convention.

    Parameters
    ----------
    crystal : any setting
    groups : names of orix groups, such as "C2y", the best one first
    otherwise : the monoclinic group of the other cell, "C2y" or "C2h": two-fold axis along b or c
    """
    from orix.quaternion import symmetry

    ours = symmetry_quaternions(crystal.proper_point_group)
    for name in groups:
        theirs = symmetry_quaternions(getattr(symmetry, name))
        if len(ours) == len(theirs) and np.all(np.abs(ours @ theirs.T).max(axis=1) > 1 - 1e-6):
            return CrystalSetting(name, np.eye(3, dtype=np.int64), np.eye(3))
    laue = laue_class(crystal)
    cell = _conventional_cell(crystal, laue, unique_b=otherwise == "C2y")
    a, b, _ = cell @ crystal.direct_basis
    x, z = a / np.linalg.norm(a), np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    group = otherwise if laue == "2/m" else LAUE_GROUPS[laue]
    return CrystalSetting(group, cell, np.array([x, np.cross(z, x), z]))


def _orders(operators: FloatArray) -> IntArray:
    """Orders (n,) of rotations (n, 4), w >= 0: 1 of the identity, else 2, 3, 4 or 6."""
    angle = 2 * np.arccos(np.clip(operators[:, 0], 0.0, 1.0))
    orders: IntArray = np.rint(2 * np.pi / np.where(angle < 1e-3, 2 * np.pi, angle)).astype(np.int64)
    return orders


def _conventional_cell(crystal: Crystal, laue: str, *, unique_b: bool) -> IntArray:
    """Rows (3, 3) int: right-handed axes where the convention wants them, in the axes of the crystal."""
    operators = symmetry_quaternions(crystal.proper_point_group)
    orders = _orders(operators)
    across = np.linalg.inv(crystal.direct_basis.T)
    rotations = np.rint(across @ quaternion_to_matrix(operators) @ crystal.direct_basis.T).astype(np.int64)
    if laue in ("mmm", "m-3", "m-3m"):
        order = 4 if laue == "m-3m" else 2
        axes = {_along(r, order) for r in rotations[orders == order]}
        return _right_handed(sorted(axes, reverse=True))
    main = _along(rotations[orders.argmax()], int(orders.max()))
    if laue == "2/m":
        p, q = _shortest_across(crystal, main)[:2]
        if _cosine(crystal, p, q) > 1e-9:
            q = -q
        return _right_handed((p, main, q) if unique_b else (p, q, main), flip=1 if unique_b else 2)
    two_fold = [np.array(_along(r, 2)) for r in rotations[orders == 2]]
    two_fold = [axis for axis in two_fold if abs(_cosine(crystal, axis, main)) < 1e-4]
    candidates = two_fold or _shortest_across(crystal, main)
    a = min(candidates, key=lambda axis: float(np.linalg.norm(axis @ crystal.direct_basis)))
    # Of the rotations about the main axis, the one by 90° or 120° counter-clockwise takes a to b.
    wanted = 0.0 if laue.startswith("4") else -0.5
    for b in rotations @ a:
        cell = np.array([a, b, main])
        if abs(_cosine(crystal, a, b) - wanted) < 1e-3 and np.linalg.det(cell) > 0:
            return cell
    raise ValueError(f"the rotations of {crystal.name} are no group; read its CIF again")


def _along(rotation: IntArray, order: int) -> tuple[int, ...]:
    """The shortest whole numbers along the axis of a rotation (3, 3) in fractional coordinates, first one positive."""
    # The sum of all powers projects onto the axis.
    projector = sum(np.linalg.matrix_power(rotation, power) for power in range(order))
    column = next(c for c in np.asarray(projector).T if c.any())
    column = column // np.gcd.reduce(column)
    return tuple(int(i) for i in (column if column[np.flatnonzero(column)[0]] > 0 else -column))


def _shortest_across(crystal: Crystal, axis: Sequence[int]) -> list[IntArray]:
    """Lattice vectors at right angles to another, the two shortest that span their plane first."""
    span = np.arange(-_LONGEST_INDEX, _LONGEST_INDEX + 1)
    steps = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)[::-1]
    steps = steps[[any(step) and abs(_cosine(crystal, step, axis)) < 1e-4 for step in steps]]
    steps = steps[
        np.argsort(np.round(np.linalg.norm(steps @ crystal.direct_basis, axis=1), 6), kind="stable")
    ]
    second = next(step for step in steps if abs(_cosine(crystal, step, steps[0])) < 1 - 1e-6)
    return [steps[0], second]


def _right_handed(axes: Sequence[ArrayLike], *, flip: int = 2) -> IntArray:
    cell = np.array(axes, dtype=np.int64)
    if np.linalg.det(cell) < 0:
        cell[flip] *= -1
    return cell


def _cosine(crystal: Crystal, one: ArrayLike, other: ArrayLike) -> float:
    a, b = np.asarray(one) @ crystal.direct_basis, np.asarray(other) @ crystal.direct_basis
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
