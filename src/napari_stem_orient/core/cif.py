"""What a CIF says of its cell and its atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_stem_orient.core.crystal_error import CrystalError

_CELL_TAGS = tuple(
    f"_cell_{name}"
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)


def check_block(block: Any, path: Path) -> None:
    """Refuse a CIF without a cell, or with atoms nobody knows the place of: diffpy takes 1 Å, and the origin."""
    if any(tag not in block for tag in _CELL_TAGS):
        raise CrystalError(f"{path.name} has no whole cell; add {', '.join(_CELL_TAGS)}")
    for axis in "xyz":
        tag = f"_atom_site_fract_{axis}"
        if tag not in block and f"_atom_site_cartn_{axis}" not in block:
            raise CrystalError(f"{path.name} does not tell where its atoms are; add {tag}")
        values = block[tag] if tag in block else ()  # noqa: SIM401 - it is no mapping
        for label, value in zip(block["_atom_site_label"], values, strict=False):
            if value in ("?", "."):
                raise CrystalError(
                    f"{path.name} does not tell where atom {label} is ({tag} is {value}); add it, or remove the atom"
                )


def bare_element(label: str, path: Path) -> str:
    """Element symbols such as "Co3+" and "O2-" without their charge."""
    from diffsims.utils.lobato_scattering_params import ATOMIC_SCATTERING_PARAMS_LOBATO

    letters = "".join(c for c in label if c.isalpha()).capitalize()
    for symbol in (letters[:2], letters[:1]):
        if symbol in ATOMIC_SCATTERING_PARAMS_LOBATO:
            return symbol
    raise CrystalError(
        f"{path.name} holds an atom {label!r} that is no chemical element; correct its type symbol"
    )
