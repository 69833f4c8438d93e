"""Space groups as sets of operations, in any setting: from text, from symbols, from gemmi's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import gemmi

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

PARTS = 24
"""Translations of all tabulated settings are whole numbers of 1/24 of the cell."""

_LARGEST_GROUP = 1152  # 48 rotations and 24 centrings: no setting of the tables comes near
_QUALIFIERS = {"s": "1", "z": "2", "1": "1", "2": "2", "h": "H", "r": "R", "o1": "1", "o2": "2"}


@dataclass(frozen=True, eq=False)
class Operations:
    """A set of symmetry operations, x' = R x + t, modulo whole cells.

    Attributes
    ----------
    rotations : (n, 3, 3) int64; R in fractional coordinates (columns)
    shifts : (n, 3) int64; t in 24ths of the cell, 0 to 23
    """

    rotations: IntArray
    shifts: IntArray

    def __len__(self) -> int:
        return len(self.rotations)

    @cached_property
    def codes(self) -> IntArray:
        """(n,) int64; a number for each operation, sorted."""
        return np.sort(_codes(self.rotations, self.shifts))

    @property
    def translations(self) -> FloatArray:
        """(n, 3) t in units of the cell."""
        return self.shifts / PARTS

    @property
    def centrings(self) -> int:
        """How many of them are pure translations, the identity among them."""
        return int(np.all(self.rotations == np.eye(3, dtype=np.int64), axis=(1, 2)).sum())

    def includes(self, other: Operations) -> bool:
        """Whether all of the other's operations are among these."""
        return bool(np.isin(other.codes, self.codes).all())

    def table_entry(self) -> gemmi.SpaceGroup | None:
        """The tabulated setting with exactly these operations, or None."""
        import gemmi

        triplets = [gemmi.Op() for _ in range(len(self))]
        for op, rotation, shift in zip(triplets, self.rotations, self.shifts, strict=True):
            op.rot = (PARTS * rotation).tolist()
            op.tran = shift.tolist()
        entry: gemmi.SpaceGroup | None = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(triplets))
        return entry


def operations_from(listed: Iterable[gemmi.Op]) -> Operations:
    """Operations from gemmi's, each once."""
    triplets = list(listed)
    rotations = np.array([op.rot for op in triplets], dtype=np.int64).reshape(-1, 3, 3) // PARTS
    shifts = np.array([op.tran for op in triplets], dtype=np.int64).reshape(-1, 3) % PARTS
    return _each_once(rotations, shifts)


def group_of(operations: Operations) -> Operations | None:
    """The group that operations generate, the identity among them; None where there is no finite one."""
    unit, nothing = np.eye(3, dtype=np.int64)[None], np.zeros((1, 3), dtype=np.int64)
    group = _each_once(
        np.concatenate([unit, operations.rotations]), np.concatenate([nothing, operations.shifts])
    )
    while len(group) <= _LARGEST_GROUP and np.abs(group.rotations).max() <= 3:
        # All products of two; the identity keeps the group itself among them.
        n, left = len(group), group.rotations.reshape(-1, 3).astype(np.float64)
        # one product of large matrices of whole numbers, which is exact: numpy is slow on stacks of small ones
        right = np.concatenate([group.rotations.transpose(1, 0, 2).reshape(3, -1), group.shifts.T], axis=1)
        product = np.rint(left @ right).astype(np.int64)
        rotations = product[:, : 3 * n].reshape(n, 3, n, 3).transpose(0, 2, 1, 3).reshape(-1, 3, 3)
        shifts = product[:, 3 * n :].reshape(n, 3, n).transpose(0, 2, 1) + group.shifts[:, None]
        larger = _each_once(rotations, shifts.reshape(-1, 3) % PARTS)
        if len(larger) == len(group):
            return group
        group = larger
    return None


def _each_once(rotations: IntArray, shifts: IntArray) -> Operations:
    first = np.sort(np.unique(_codes(rotations, shifts), return_index=True)[1])
    return Operations(rotations[first], shifts[first])


def operation_of(text: str) -> gemmi.Op | None:
    """One operation as files write it, "1/2+x, -y, z"; None where it cannot be read."""
    import gemmi

    try:
        op = gemmi.Op(re.sub(r"[\s()]", "", text))
    except (RuntimeError, ValueError):
        return None
    return op if abs(round(np.linalg.det(np.array(op.rot) / PARTS))) == 1 else None


def group_of_hall(symbol: str) -> Operations | None:
    """The group of a Hall symbol; None where it is none."""
    import gemmi

    try:
        return operations_from(gemmi.symops_from_hall(symbol.replace("_", " ").strip()))
    except (RuntimeError, ValueError):
        return None


def settings_of_symbol(symbol: str) -> tuple[gemmi.SpaceGroup, ...]:
    """The tabulated settings that a Hermann-Mauguin symbol may mean, the usual one first; empty where it is unknown.

    "P b n m", "Pbnm", "P_b_n_m" and "PBNM" are one. "F d -3 m" means two, for its two origins; ":1", ":2", "S", "Z",
    "H" and "R" after it choose. A short monoclinic symbol, "P 21/n", means one for each unique axis.
    """
    names = _settings_by_name()
    base, _, qualifier = _plain(symbol).partition(":")
    found = names.get(base, ())
    if not found and not qualifier and base[-1:] in ("s", "z", "h", "r"):
        base, qualifier = base[:-1], base[-1]
        found = names.get(base, ())
    found = found or _settings_by_full_name().get(base, ())
    wanted = _QUALIFIERS.get(qualifier, "")
    chosen = tuple(g for g in found if qualifier and (g.ext == wanted or g.qualifier == qualifier))
    # "F m -3 m S" and "R -3 m :H": a group without a choice takes any qualifier.
    return chosen or (found if not qualifier or len({g.ext for g in found}) == 1 else ())


def settings_of_number(number: int) -> tuple[tuple[gemmi.SpaceGroup, ...], tuple[gemmi.SpaceGroup, ...]]:
    """The settings that a number alone means by convention (both origins, both axes), and all the others."""
    every = [group for group in _table() if group.number == number]
    usual = tuple(group for group in every if group.hm == every[0].hm)
    return usual, tuple(group for group in every if group.hm != every[0].hm)


def operations_of(group: gemmi.SpaceGroup) -> Operations:
    """All operations of a tabulated setting."""
    return _operations_of_hall(group.hall)


@lru_cache(maxsize=256)
def standard_rotations(space_group: int) -> IntArray:
    """The point group (n, 3, 3) of the standard setting, in fractional coordinates, sorted."""
    import gemmi

    # gemmi keeps the standard setting of a number first: unique axis b, hexagonal axes.
    rotations = operations_of(gemmi.find_spacegroup_by_number(space_group)).rotations
    unique: IntArray = np.unique(rotations, axis=0)
    unique.flags.writeable = False
    return unique


def group_name(space_group: int, setting: str = "") -> str:
    """A space group as it is written, "Pbnm (62)": in its setting, or in the standard one."""
    import gemmi

    group = gemmi.find_spacegroup_by_name(setting) if setting else None
    group = group or gemmi.find_spacegroup_by_number(space_group)
    # gemmi's short names have H for hexagonal axes of an R lattice.
    name = "R" + group.short_name()[1:] if group.ext == "H" else group.short_name()
    return f"{name} ({space_group})"


def setting_symbol(operations: Operations, space_group: int) -> str:
    """The symbol of a setting, "P b n m"; empty for the standard one of the space group, and for unknown ones."""
    import gemmi

    entry = operations.table_entry()
    if entry is None or entry.number != space_group:
        return ""
    return "" if entry.hm == gemmi.find_spacegroup_by_number(space_group).hm else str(entry.hm)


def _codes(rotations: IntArray, shifts: IntArray) -> IntArray:
    """A number for each operation: nine digits to base 9 (entries up to 4), three to base 24."""
    digits = (rotations.reshape(-1, 9) + 4) @ (9 ** np.arange(9))
    codes: IntArray = digits * PARTS**3 + shifts @ (PARTS ** np.arange(3))
    return codes


def _table() -> Sequence[gemmi.SpaceGroup]:
    import gemmi

    return list(gemmi.spacegroup_table())


@lru_cache(maxsize=64)
def _operations_of_hall(hall: str) -> Operations:
    import gemmi

    return operations_from(gemmi.symops_from_hall(hall))


@lru_cache(maxsize=1)
def _settings_by_name() -> dict[str, tuple[gemmi.SpaceGroup, ...]]:
    """Tabulated settings by their symbol as `_plain` writes it; short and older ones, too."""
    import gemmi

    names: dict[str, list[gemmi.SpaceGroup]] = {}

    def add(name: str, groups: Iterable[gemmi.SpaceGroup]) -> None:
        kept = names.setdefault(_plain(name), [])
        kept.extend(group for group in groups if all(group.xhm() != other.xhm() for other in kept))

    table = _table()
    for group in table:
        add(group.hm, [group])
    for group in table:
        # "P 1 21/n 1" is "P 21/n": the unique axis b comes first, as the table has it.
        fields = group.hm.split()
        if fields[1:] != ["1"] and group.number > 2:
            add(fields[0] + "".join(f for f in fields[1:] if f != "1" or group.number > 15), [group])
        # "F d 3 m" and "P m 3" are written in older files.
        if group.number >= 195:
            add(group.hm.replace("-3", "3"), [group] if "-3" in group.hm else [])
    for name in ("a e m 2", "a e a 2", "c m c e", "c m m e", "c c c e"):  # symbols of 1992
        known = gemmi.find_spacegroup_by_name(name)
        if known is not None:
            add(name, [group for group in table if group.hm == known.hm])
    return {name: tuple(groups) for name, groups in names.items()}


@lru_cache(maxsize=1)
def _settings_by_full_name() -> dict[str, tuple[gemmi.SpaceGroup, ...]]:
    """The same by the full symbols, "P 21/n 21/m 21/a", which spglib knows."""
    import spglib

    by_hall = {group.hall.lower(): group for group in _table()}
    names: dict[str, list[gemmi.SpaceGroup]] = {}
    for number in range(1, 531):
        listed = spglib.get_spacegroup_type(number)
        known = by_hall.get(listed.hall_symbol.lower())
        if known is not None:
            names.setdefault(_plain(listed.international_full), []).append(known)
    return {name: tuple(groups) for name, groups in names.items()}


def _plain(symbol: str) -> str:
    """A symbol without spaces and signs of typesetting, in small letters."""
    return re.sub(r"[\s_()~'\"]", "", symbol).lower()
