"""The structure of a CIF: of all ways to read its symmetry the one that cell, atoms and formula agree with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.atom_sites import CellContent, Site, fill_cell
from napari_stem_orient.core.cif import CifBlock, cell_of
from napari_stem_orient.core.cif_sites import read_sites
from napari_stem_orient.core.cif_symmetry import Reading, declared_symmetry
from napari_stem_orient.core.crystal_checks import (
    LARGEST_STRAIN,
    ROUNDING_STRAIN,
    THINNEST,
    TOO_CLOSE,
    Evidence,
    cell_strain,
    composition_text,
    density_of,
    evidence_for,
    formula_note,
)
from napari_stem_orient.core.crystal_error import CrystalError
from napari_stem_orient.core.lattice import Lattice, lattice_basis

FloatArray = NDArray[np.float64]

_DECIDED = (
    1.1  # a shortest distance this many times longer, for the size of the atoms, decides between two origins
)


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Cell, symmetry and atoms of a file, in its own cell; notes are sentences on what had to be decided."""

    lattice: Lattice
    reading: Reading
    content: CellContent
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    reading: Reading
    content: CellContent
    evidence: Evidence


def structure_of(block: CifBlock) -> Structure:
    """The structure of a block of a CIF.

    Raises
    ------
    CrystalError
        When the file does not say what is needed, contradicts itself, or describes no crystal.
    """
    lattice = cell_of(block)
    basis = lattice_basis(lattice)
    sites, notes = read_sites(block, basis)
    readings = _that_fit_the_cell(block, declared_symmetry(block), lattice)
    trials = _trials(block, sites, readings, basis)
    trial = _without_idle_notes(_chosen(block, trials), trials)
    contact = trial.evidence.contact
    strain = cell_strain(trial.reading.operations, basis)
    told = [trial.reading.note, *notes, *trial.content.notes]
    if strain > ROUNDING_STRAIN:
        told.append(f"the cell is not quite that of {trial.reading.name}: off by {100 * strain:.2f} %")
    if trial.evidence.formula is False:
        _check_formula(block, trial)
        told.append(
            f"the cell holds {composition_text(trial.content.composition)}, not in the proportions of the sum formula"
        )
    told.append(formula_note(trial.content, block))
    if contact is not None and trial.evidence.is_tight:
        told.append(
            f"atoms {contact.first} and {contact.second} are only {contact.distance:.2f} Å apart: check the file"
        )
    return Structure(lattice, trial.reading, trial.content, tuple(note for note in told if note))


def _that_fit_the_cell(block: CifBlock, readings: Sequence[Reading], lattice: Lattice) -> list[Reading]:
    """The readings whose symmetry the cell has; of those of the lowest rank first."""
    basis = lattice_basis(lattice)
    fitting = [r for r in readings if cell_strain(r.operations, basis) <= LARGEST_STRAIN]
    if not fitting:
        numbers = " ".join(f"{value:g}" for value in lattice)
        raise CrystalError(
            f"{block.file_name}: no cell {numbers} (Å, °) has the symmetry {readings[0].name}; correct "
            "_cell_length_... and _cell_angle_..., or the space group"
        )
    if len(fitting) == 1 and fitting[0].rank == 0 and len(readings) > 1:
        # Hexagonal or rhombohedral axes: the cell has told, and there is nothing else to tell.
        return [replace(fitting[0], note="")]
    return fitting


def _trials(
    block: CifBlock, sites: Sequence[Site], readings: Sequence[Reading], basis: FloatArray
) -> list[_Trial]:
    """The structures of all readings whose atoms can stand beside each other."""
    trials: list[_Trial] = []
    refused: list[str] = []
    for reading in sorted(readings, key=lambda r: r.rank):
        if reading.rank == 2 and any(trial.reading.rank < 2 for trial in trials):
            break
        try:
            content = fill_cell(sites, reading.operations, basis)
        except CrystalError as error:
            refused.append(str(error))
            continue
        evidence = evidence_for(content, block)
        contact = evidence.contact
        if contact is not None and contact.ratio < TOO_CLOSE:
            refused.append(
                f"with the symmetry {reading.name}, atoms {contact.first} and {contact.second} are "
                f"{contact.distance:.2f} Å apart; correct positions, cell or space group (and its origin)"
            )
            continue
        density = density_of(content)
        if density < THINNEST:
            refused.append(
                f"its cell is so large that its density is {density:.2g} g/cm³; cell lengths must be in Å, not in pm"
            )
            continue
        trials.append(_Trial(reading, content, evidence))
    if not trials:
        raise CrystalError(f"{block.file_name}: {refused[0]}")
    return trials


def _chosen(block: CifBlock, trials: list[_Trial]) -> _Trial:
    """The one that the file agrees with best."""
    first = trials[0]
    if len(trials) == 1:
        return first
    fewest = min(t.evidence.contradictions for t in trials)
    best = [t for t in trials if t.evidence.contradictions == fewest]
    likely = [t for t in best if not t.evidence.is_tight] or best
    lowest = min(t.reading.rank for t in likely)
    likely = [t for t in likely if t.reading.rank == lowest]
    if len(likely) == 1:
        return likely[0]
    # Atoms prefer symmetry elements: of two origins the right one makes fewer atoms of the sites, and wider apart.
    least = min(len(t.content.owner) for t in likely)
    special = [t for t in likely if len(t.content.owner) == least]
    widest = max(likely, key=lambda t: t.evidence.ratio)
    if len(special) == 1 and special[0].evidence.ratio >= widest.evidence.ratio / _DECIDED:
        return special[0]
    others = [t.evidence.ratio for t in likely if t is not widest]
    if widest in special and widest.evidence.ratio > _DECIDED * max(others):
        return widest
    alike = all(_same_atoms(t.content, likely[0].content) for t in likely)
    if alike:
        return likely[0]
    names = " or ".join(dict.fromkeys(t.reading.name for t in likely))
    raise CrystalError(
        f"{block.file_name} can be read as {names}, which are different crystals; write the one that is meant into "
        "_space_group_name_H-M_alt, or add the symmetry operations (_space_group_symop_operation_xyz)"
    )


def _without_idle_notes(chosen: _Trial, trials: Sequence[_Trial]) -> _Trial:
    """Say nothing of a list of operations that was completed where the file lists all the atoms as well."""
    for other in trials:
        if other.reading.rank > chosen.reading.rank and _same_atoms(other.content, chosen.content):
            return replace(
                chosen, reading=replace(chosen.reading, note=""), content=replace(chosen.content, notes=())
            )
    return chosen


def _same_atoms(one: CellContent, other: CellContent) -> bool:
    """Whether two contents have the same atoms in the same places."""
    if one.composition != other.composition:
        return False

    def listed(content: CellContent) -> list[tuple[object, ...]]:
        places = np.round(content.fractional, 4) % 1.0
        return sorted((e, *map(float, p)) for e, p in zip(content.elements, places, strict=True))

    return listed(one) == listed(other)


def _check_formula(block: CifBlock, trial: _Trial) -> None:
    """Refuse a content that is clearly another crystal than that of the sum formula."""
    composition, formula = trial.content.composition, block.formula
    heavy = {e: n for e, n in formula.items() if e != "H"}
    total, wanted = sum(n for e, n in composition.items() if e != "H"), sum(heavy.values())
    strange = sum(n for e, n in composition.items() if e not in formula)
    missing = sum(n for e, n in heavy.items() if e not in composition)
    # An element of which there is half or twice as much is no rounding of a formula, but another crystal.
    ratios = [
        composition[e] / total / (n / wanted)
        for e, n in heavy.items()
        if n >= 0.05 * wanted and e in composition
    ]
    off = max((max(ratio, 1 / ratio) for ratio in ratios), default=np.inf)
    if strange > 0.2 * total or missing > 0.2 * wanted or off > 1.6:
        text = block.text(("_chemical_formula_sum",))
        raise CrystalError(
            f"{block.file_name}: the cell holds {composition_text(composition)} with the symmetry "
            f"{trial.reading.name}, which is not {text!r} as _chemical_formula_sum says; correct the formula, the "
            "sites, or the space group with its origin"
        )
