"""Does a structure make sense: does its cell suit its symmetry, its atoms each other, its content the formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.atom_sites import CellContent, Contact, closest_contact
from napari_stem_orient.core.cif import CifBlock
from napari_stem_orient.core.space_groups import Operations

FloatArray = NDArray[np.float64]

LARGEST_STRAIN = 1e-3
"""By how much a cell may differ from one that its symmetry asks for: edges and angles that were fitted freely."""

ROUNDING_STRAIN = 1e-4
"""What is less than this is rounding, and not told."""

TOO_CLOSE = 0.6
"""Two atoms nearer than this part of the sum of their covalent radii are no crystal."""

THINNEST = 1e-3
"""No crystal has a density of less g/cm³; one whose cell is in pm, taken for Å, has."""

UNUSUALLY_CLOSE = 0.75
"""Nearer than this they are told of; but for light atoms, whose multiple bonds are as short."""

_HYDROGEN = ("H",)
_U_IN_GRAMS_PER_CUBIC_ANGSTROM = 1.66053907


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against a structure; None where the file does not say.

    Attributes
    ----------
    contact : the two closest atoms
    formula : whether the elements are there in the proportions of the sum formula
    content : whether the cell holds as many of them as Z says or, without Z, the density
    multiplicities : whether all sites are there as often as the file says
    """

    contact: Contact | None
    formula: bool | None
    content: bool | None
    multiplicities: bool | None

    @property
    def ratio(self) -> float:
        """Shortest distance over the sum of the radii."""
        return np.inf if self.contact is None else self.contact.ratio

    @property
    def is_tight(self) -> bool:
        """Whether two atoms are nearer to each other than is usual."""
        return self.contact is not None and not self.contact.light and self.ratio < UNUSUALLY_CLOSE

    @property
    def contradictions(self) -> int:
        """How many of the statements of the file it contradicts."""
        return sum(found is False for found in (self.formula, self.content, self.multiplicities))


def evidence_for(content: CellContent, block: CifBlock) -> Evidence:
    """Compare a structure with what its file says."""
    units = formula_units(content.composition, block.formula)
    listed = [site.multiplicity for site in content.sites]
    counts = np.bincount(content.owner)
    same = [n == m for n, m in zip(counts, listed, strict=True) if m]
    return Evidence(
        contact=closest_contact(content),
        formula=None if units is None else bool(units),
        content=_right_number(content, block, units),
        multiplicities=all(same) if same else None,
    )


def formula_units(composition: Mapping[str, float], formula: Mapping[str, float]) -> float | None:
    """How many units of the formula a cell holds; 0 where the proportions differ, None without a formula.

    Hydrogen counts only where it has been located.
    """
    both = [element for element in formula if element in composition and formula[element] > 0]
    if not formula:
        return None
    missing = {e for e in formula if e not in composition and e not in _HYDROGEN}
    if not both or missing or any(e not in formula for e in composition):
        return 0.0
    ratios = np.array([composition[e] / formula[e] for e in both])
    # The whole is known best by the commonest element; refined occupancies and rounded formulas differ by some percent.
    weight = np.array([formula[e] for e in both])
    units = float(np.average(ratios, weights=weight))
    far = np.abs(ratios / units - 1) > 0.12
    located = np.array([e not in _HYDROGEN for e in both])
    minor = weight < 0.05 * weight.sum()
    return 0.0 if (far & located & ~minor).any() else units


def cell_strain(operations: Operations, basis: FloatArray) -> float:
    """By how much a cell (rows in Å) would have to be strained to have the symmetry of the operations."""
    metric = basis @ basis.T
    # The operations take a, b, c to lattice vectors: the mean of the metrics that they make is symmetric.
    turned = np.einsum("nji,jk,nkl->nil", operations.rotations, metric, operations.rotations)
    inverse = np.linalg.inv(basis)
    strain = inverse @ (turned.mean(axis=0) - metric) @ inverse.T
    return float(np.abs(np.linalg.eigvalsh(strain)).max() / 2)


def formula_note(content: CellContent, block: CifBlock) -> str:
    """Say where the cell holds another number of formula units than the file says, or lacks hydrogen; else ""."""
    composition = content.composition
    units = formula_units(composition, block.formula)
    z = block.number("_cell_formula_units_z")
    notes = []
    if units and z and not _is_z(units, z, block.formula):
        notes.append(f"the file says Z = {z:g}, but the cell holds {units:.3g} units of the sum formula")
    if not (units and z) and _right_number(content, block, units) is False:
        said = block.number("_exptl_crystal_density_diffrn")
        notes.append(f"the file says {said:g} g/cm³, but the cell has {density_of(content):.3g} g/cm³")
    if block.formula.get("H", 0) > 0 and "H" not in composition:
        notes.append("the hydrogen of the sum formula has no positions in the file, and is left out")
    return "; ".join(notes)


def density_of(content: CellContent) -> float:
    """Density of a content in g/cm³."""
    import gemmi

    mass = sum(gemmi.Element(element).weight * count for element, count in content.composition.items())
    return float(mass * _U_IN_GRAMS_PER_CUBIC_ANGSTROM / abs(np.linalg.det(content.basis)))


def composition_text(composition: Mapping[str, float]) -> str:
    """A content in words: "Al16 Mg8 O32"."""
    return " ".join(f"{element}{count:.4g}" for element, count in sorted(composition.items()))


def _is_z(units: float, z: float, formula: Mapping[str, float]) -> bool:
    """Whether a cell of so many units has this Z; of "Ga4 As4", as some programs write a whole cell, 1 is 4."""
    whole = all(float(n).is_integer() for n in formula.values())
    parts = math.gcd(*(int(n) for n in formula.values())) if whole else 1
    return any(abs(units * number / z - 1) <= 0.12 for number in {1, parts})


def _right_number(content: CellContent, block: CifBlock, units: float | None) -> bool | None:
    z = block.number("_cell_formula_units_z")
    if units and z:
        return _is_z(units, z, block.formula)
    density = block.number("_exptl_crystal_density_diffrn")
    if density is None or density <= 0:
        return None
    return abs(density_of(content) / density - 1) <= 0.2
