"""The symmetry that a CIF declares: its own operations first, then its Hall symbol, its name, its number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_stem_orient.core.cif import CifBlock
from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.core.space_groups import (
    Operations,
    group_of,
    group_of_hall,
    operation_of,
    operations_from,
    operations_of,
    settings_of_number,
    settings_of_symbol,
)

if TYPE_CHECKING:
    import gemmi


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the symmetry of a file.

    Attributes
    ----------
    operations : the whole group
    name : how the setting is called, for messages
    number : of the space group in the International Tables; 0 where the tables do not have the setting
    rank : 0 what the file says; 1 what the atoms may speak for against it; 2 what is looked at only where nothing of a
        lower rank is possible at all
    note : what had to be taken for granted, a sentence; empty where the file says it all
    """

    operations: Operations
    name: str
    number: int
    rank: int = 0
    note: str = ""


def declared_symmetry(block: CifBlock) -> tuple[Reading, ...]:
    """All ways to read the symmetry of a file that are to be weighed, the likeliest first; one where it is plain.

    Raises
    ------
    CrystalError
        When the file does not tell its symmetry, or contradicts itself.
    """
    named = _named(block)
    if not block.operations:
        if not named:
            raise CrystalError(_unknown_symmetry(block))
        return named
    listed = _listed(block)
    own = group_of(listed)
    if own is None or len(own) > len(listed):
        misprinted = tuple(_corrected(r, listed) for r in named if r.rank == 0 and _nearly(listed, r))
        if misprinted:
            return misprinted
    if own is None:
        raise CrystalError(
            f"{block.file_name}: its symmetry operations make no group; correct "
            "_space_group_symop_operation_xyz, or remove it so that the space group is taken by its name"
        )
    entry = own.table_entry()
    name = f"{len(own)} listed operations" if entry is None else entry.xhm()
    note = ""
    if len(own) > len(listed) and block.lists_whole_group:
        note = f"the file lists {_count(len(listed))}, which make a group of {len(own)}: all were taken"
    whole = [r for r in named if r.rank == 0 and len(r.operations) > len(own) and r.operations.includes(own)]
    own_number = 0 if entry is None else entry.number
    taken = Reading(own, name, own_number, note=note or _contradiction(own, entry, named))
    if not whole:
        return (taken,)
    # The loop is shorter than the group that is named: either could be meant, the atoms decide.
    completed = (
        Reading(
            r.operations,
            r.name,
            r.number,
            note=f"the file lists {_count(len(listed))}, {r.name} has {len(r.operations)}: those of {r.name} "
            "were taken",
        )
        for r in whole
    )
    alone = f"the file names {whole[0].name}, but its atoms fit the {_count(len(own))} that it lists"
    return (*completed, Reading(own, name, own_number, rank=1, note=alone))


def _nearly(listed: Operations, reading: Reading) -> bool:
    """Whether a list is that of a group but for a few operations, which are misprints."""
    share = float(np.isin(listed.codes, reading.operations.codes).mean())
    return 0.75 <= share < 1.0 and len(listed) <= len(reading.operations)


def _corrected(reading: Reading, listed: Operations) -> Reading:
    wrong = int((~np.isin(listed.codes, reading.operations.codes)).sum())
    note = (
        f"{_count(wrong)} of the file's list cannot be: those of {reading.name}, which it names, were taken"
    )
    return Reading(reading.operations, reading.name, reading.number, note=note)


def _named(block: CifBlock) -> tuple[Reading, ...]:
    """The readings of Hall symbol, Hermann-Mauguin symbols and number, without the operations that are listed."""
    hall = group_of_hall(block.hall_symbol) if block.hall_symbol else None
    if hall is None:
        return _of_names(block)
    entry = hall.table_entry()
    if entry is None:
        return (Reading(hall, block.hall_symbol, 0),)
    others = _of_names(block)
    if not others or any(r.number == entry.number for r in others):
        return (Reading(hall, entry.xhm(), entry.number),)
    # They contradict each other: the atoms decide, or nobody.
    note = f"the Hall symbol is that of {entry.xhm()}, the file names {others[0].name}: "
    return (
        Reading(hall, entry.xhm(), entry.number, note=f"{note}{entry.xhm()} was taken"),
        *(Reading(r.operations, r.name, r.number, r.rank, f"{note}{r.name} was taken") for r in others),
    )


def _of_names(block: CifBlock) -> tuple[Reading, ...]:
    """The readings of Hermann-Mauguin symbols and number."""
    number = block.group_number
    for symbol in block.symbols:
        # newer files give the choice of axes or origin apart from the symbol
        choice = block.text(("_space_group_it_coordinate_system_code",))
        found = settings_of_symbol(f"{symbol}:{choice}") if choice and ":" not in symbol else ()
        found = found or settings_of_symbol(symbol)
        if found:
            _refuse_other_names(block, symbol, {g.number for g in found})
            return _of_symbol(block, symbol, found, number)
    if number is None:
        return ()
    usual, others = settings_of_number(number)
    only = f"the file gives its space group by the number {number} alone: "
    readings = [
        Reading(operations_of(g), g.xhm(), g.number, rank, note=f"{only}{g.xhm()} was taken")
        for rank, groups in ((0, usual), (2, others))
        for g in groups
    ]
    if len(usual) == 1:
        # One standard setting: that is what a number means, and nothing to be told.
        readings[0] = Reading(readings[0].operations, readings[0].name, number)
    return tuple(readings)


def _refuse_other_names(block: CifBlock, symbol: str, numbers: set[int]) -> None:
    """Refuse a file that names two space groups and says nothing else by which to tell which one it is."""
    if block.operations or block.hall_symbol:
        return
    for other in block.symbols:
        others = {g.number for g in settings_of_symbol(other)}
        if others and not others & numbers:
            raise CrystalError(
                f"{block.file_name} names two space groups, {symbol!r} and {other!r}; remove the wrong one, or add "
                "the symmetry operations (_space_group_symop_operation_xyz)"
            )


def _of_symbol(
    block: CifBlock, symbol: str, found: Iterable[gemmi.SpaceGroup], number: int | None
) -> tuple[Reading, ...]:
    groups = [g for g in found if number in (None, g.number)]
    if not groups:
        if block.operations:  # they speak for themselves
            return ()
        raise CrystalError(
            f"{block.file_name} names the space group {symbol!r}, which is not number {number}; correct one of "
            "them, or add the symmetry operations (_space_group_symop_operation_xyz)"
        )
    axes = {g.hm for g in groups}
    readings = []
    for g in groups:
        # Of the settings of a short symbol the first has the usual axes; the others need a cell that says so.
        rank = 0 if g.hm == groups[0].hm else 2
        note = f"{symbol.strip()} was read as {g.xhm()}" if len(groups) > len(axes) or rank else ""
        readings.append(Reading(operations_of(g), g.xhm(), g.number, rank, note))
    return tuple(readings)


def _listed(block: CifBlock) -> Operations:
    operations = []
    for text in block.operations:
        operation = operation_of(text)
        if operation is None:
            raise CrystalError(
                f"{block.file_name}: {text!r} is no symmetry operation; correct it, or remove the list so that "
                "the space group is taken by its name"
            )
        operations.append(operation)
    return operations_from(operations)


def _contradiction(own: Operations, entry: gemmi.SpaceGroup | None, named: tuple[Reading, ...]) -> str:
    """Say so where the operations are those of another group than the one that is named."""
    if len(own) == 1 or not named or entry is None or any(r.number in (0, entry.number) for r in named):
        return ""
    return f"the file names {named[0].name}, but its operations are those of {entry.xhm()}, which were taken"


def _unknown_symmetry(block: CifBlock) -> str:
    given = " ".join(filter(None, (block.hall_symbol, *block.symbols)))
    if given:
        return (
            f"{block.file_name} names the space group {given!r}, which is not known; correct it, or add the symmetry "
            "operations (_space_group_symop_operation_xyz)"
        )
    return (
        f"{block.file_name} does not tell its symmetry; add the symmetry operations "
        "(_space_group_symop_operation_xyz) or the space group (_space_group_name_H-M_alt), "
        "'P 1' where all atoms of the cell are listed"
    )


def _count(n: int) -> str:
    return f"{n} symmetry operation{'s' if n != 1 else ''}"
