"""The atom sites of a CIF: labels, elements, positions and occupancies, each as the file says or refused by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.atom_sites import Site
from napari_stem_orient.core.cif import CifBlock, number_of
from napari_stem_orient.core.cif_elements import element_of_label, element_of_type, is_vacancy
from napari_stem_orient.core.crystal_error import CrystalError

FloatArray = NDArray[np.float64]

_MULTIPLICITY = (
    "_atom_site_site_symmetry_multiplicity",
    "_atom_site_symmetry_multiplicity",
    "_atom_site_symetry_multiplicity",  # as the dictionary spelt it once
)
_SHIFT_TAGS = tuple(f"_atom_sites_cartn_tran_vector_{i}" for i in (1, 2, 3))
_MATRIX_TAGS = tuple(f"_atom_sites_cartn_tran_matrix_{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3))


def read_sites(block: CifBlock, basis: FloatArray) -> tuple[tuple[Site, ...], tuple[str, ...]]:
    """All occupied sites of a structure, and sentences on those that were left out or taken for something.

    Parameters
    ----------
    block : the structure
    basis : (3, 3) rows a, b, c in Å, for positions in Å

    Raises
    ------
    CrystalError
        When a site has no element, no position or an occupancy that makes no sense; the message names it.
    """
    positions = _positions(block, basis)
    labels, types = block.column("_atom_site_label"), block.column("_atom_site_type_symbol")
    occupancies = block.column("_atom_site_occupancy")
    kinds = block.column("_atom_site_calc_flag")
    multiplicities = next(filter(None, (block.column(tag) for tag in _MULTIPLICITY)), ())
    sites: list[Site] = []
    left_out: list[str] = []
    deuterium = False
    for row, position in enumerate(positions):
        symbol = _known(types, row)
        label = _known(labels, row) or symbol or f"number {row + 1}"
        if is_vacancy(symbol) or is_vacancy(label) or _known(kinds, row).lower() == "dum":
            left_out.append(label)
            continue
        occupancy = _occupancy(block, label, _known(occupancies, row))
        if occupancy == 0:
            continue
        element = _element(block, label, symbol)
        deuterium |= element == "H" and (symbol or label)[:1].upper() == "D"
        multiplicity = number_of(_known(multiplicities, row)) or 0
        sites.append(Site(label, element, position, occupancy, int(multiplicity)))
    if not sites:
        raise CrystalError(
            f"{block.file_name} has no atoms; a CIF with atom sites (_atom_site_...) is needed"
        )
    notes = []
    if left_out:
        notes.append(f"{_listed(left_out)} left out: no atom is there")
    if deuterium:
        notes.append("deuterium is taken as H: electrons see no difference")
    return tuple(sites), tuple(notes)


def _known(column: tuple[str, ...], row: int) -> str:
    value = column[row].strip() if row < len(column) else ""
    return "" if value in ("?", ".") else value


def _element(block: CifBlock, label: str, symbol: str) -> str:
    element = element_of_type(symbol) if symbol else element_of_label(label, block.formula)
    if element is None:
        what = f"type {symbol!r} of site {label}" if symbol else f"site {label}"
        raise CrystalError(
            f"{block.file_name}: {what} is no chemical element; give each site its element in "
            "_atom_site_type_symbol (O for water and hydroxyl), or remove the site"
        )
    return element


def _occupancy(block: CifBlock, label: str, text: str) -> float:
    value = number_of(text) if text else 1.0
    if value is None or not 0 <= value <= 1.1:
        raise CrystalError(
            f"{block.file_name}: the occupancy of {label} is {text!r}; occupancies from 0 to 1 are needed, correct "
            "_atom_site_occupancy"
        )
    return min(1.0, value)


def _positions(block: CifBlock, basis: FloatArray) -> list[tuple[float, float, float]]:
    """Fractional coordinates of all sites (n, 3)."""
    kind = "fract"
    if not block.column("_atom_site_fract_x") and block.column("_atom_site_cartn_x"):
        kind = "cartn"
    rows = [_numbers(block, f"_atom_site_{kind}_{axis}") for axis in "xyz"]
    if len({len(row) for row in rows}) > 1:
        raise CrystalError(
            f"{block.file_name} does not list x, y and z of each atom; complete _atom_site_{kind}_..."
        )
    positions = np.array(rows, dtype=np.float64).T
    if kind == "cartn":
        positions = _from_cartesian(block, positions, basis)
    return [(float(x), float(y), float(z)) for x, y, z in positions]


def _numbers(block: CifBlock, tag: str) -> list[float]:
    texts = block.column(tag)
    if not texts:
        raise CrystalError(f"{block.file_name} does not tell where its atoms are; add {tag}")
    labels = block.column("_atom_site_label") or block.column("_atom_site_type_symbol")
    values = []
    for row, text in enumerate(texts):
        value = number_of(text)
        if value is None:
            label = labels[row] if row < len(labels) else f"number {row + 1}"
            raise CrystalError(
                f"{block.file_name} does not tell where atom {label} is ({tag} is {text}); add it, or remove the atom"
            )
        values.append(value)
    return values


def _from_cartesian(block: CifBlock, positions: FloatArray, basis: FloatArray) -> FloatArray:
    """Fractional coordinates of positions in Å (n, 3), whose axes the file gives or which are those of the cell."""
    matrix = [block.number(tag) for tag in _MATRIX_TAGS]
    if all(value is not None for value in matrix):
        shift = np.array([block.number(tag) or 0.0 for tag in _SHIFT_TAGS])
        to_cartesian = np.array(matrix, dtype=np.float64).reshape(3, 3)
        return np.asarray(np.linalg.solve(to_cartesian, (positions - shift).T).T)
    if np.abs(basis - np.diag(np.diag(basis))).max() > 1e-6:
        raise CrystalError(
            f"{block.file_name} gives its atoms in Å but not along which axes; add _atom_site_fract_x, _y and _z"
        )
    return np.asarray(positions @ np.linalg.inv(basis))


def _listed(labels: list[str]) -> str:
    unique = list(dict.fromkeys(labels))
    shown = ", ".join(unique[:4]) + (" and others" if len(unique) > 4 else "")
    return f"{'site' if len(unique) == 1 else 'sites'} {shown} {'is' if len(unique) == 1 else 'are'}"
