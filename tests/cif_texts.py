"""CIFs as texts, for the tests that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TAGS = {
    "label": "_atom_site_label",
    "type": "_atom_site_type_symbol",
    "x": "_atom_site_fract_x",
    "y": "_atom_site_fract_y",
    "z": "_atom_site_fract_z",
    "occ": "_atom_site_occupancy",
    "mult": "_atom_site_site_symmetry_multiplicity",
    "flag": "_atom_site_calc_flag",
}
LAMNO3 = [
    ("La", "La", 0.99, 0.02, 0.25),
    ("Mn", "Mn", 0.5, 0, 0),
    ("O1", "O", 0.06, 0.49, 0.25),
    ("O2", "O", 0.73, 0.28, 0.03),
]
PBNM_CELL = (5.49, 5.47, 7.75, 90, 90, 90)


def cubic(a: float) -> tuple[float, ...]:
    return (a, a, a, 90, 90, 90)


def hexagonal(a: float, c: float) -> tuple[float, ...]:
    return (a, a, c, 90, 90, 120)


def text_of(
    cell: Sequence[Any],
    sites: Sequence[Sequence[Any]],
    *,
    columns: str = "label type x y z",
    operations: Sequence[str] = (),
    block: str = "x",
    **tags: Any,
) -> str:
    """A CIF; other data names are given as keywords: name, number, hall, formula, z."""
    names = {
        "name": "_symmetry_space_group_name_H-M",
        "number": "_symmetry_Int_Tables_number",
        "hall": "_symmetry_space_group_name_Hall",
        "formula": "_chemical_formula_sum",
        "z": "_cell_formula_units_Z",
        "density": "_exptl_crystal_density_diffrn",
    }
    lines = [f"data_{block}"]
    lengths = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines += [f"_cell_{tag} {value}" for tag, value in zip(lengths, cell, strict=True)]
    lines += [f"{names[tag]} '{value}'" for tag, value in tags.items()]
    if operations:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{op}'" for op in operations)]
    lines += ["loop_", *(TAGS[column] for column in columns.split())]
    return "\n".join([*lines, *(" ".join(map(str, site)) for site in sites)]) + "\n"
