"""What a CIF says, block by block: encodings, old and new data names, numbers with their uncertainty."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from napari_stem_orient.core.crystal_error import CrystalError, SeveralStructures
from napari_stem_orient.core.lattice import Lattice, lattice_basis

CELL_TAGS = tuple(
    f"_cell_{name}"
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_HERMANN_MAUGUIN = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m",
    "_space_group_name_h-m_ref",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_full",
    "_space_group_name_h-m_alt_name",
)
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_OF_INTEREST = (
    "_cell_",
    "_symmetry_",
    "_space_group_",
    "_atom_site",
    "_chemical_formula_",
    "_exptl_crystal_density",
)
_NUMBER_OF_ATOMS = re.compile(r"([A-Za-z]{1,2})\s*([0-9.]*)(?:\([0-9]+\))?")


@dataclass(frozen=True, slots=True)
class CifBlock:
    """One structure of a CIF.

    Attributes
    ----------
    file_name : of the CIF, for messages
    name : of the block, without data_
    items : values by data name, as text; names are of the old dictionary, in small letters; unknown ones are "?" or "."
    """

    file_name: str
    name: str
    items: Mapping[str, tuple[str, ...]]

    def column(self, tag: str) -> tuple[str, ...]:
        """All values of a data name; empty where the file does not have it."""
        return self.items.get(tag.lower(), ())

    def text(self, tags: Sequence[str]) -> str:
        """The first known value of several data names, "" where there is none."""
        values = (value for tag in tags for value in self.column(tag)[:1])
        return next((value.strip() for value in values if value.strip() not in ("", "?", ".")), "")

    def number(self, tag: str) -> float | None:
        """A number without its uncertainty; None where the file does not know it."""
        text = self.text((tag,))
        return number_of(text) if text else None

    @property
    def operations(self) -> tuple[str, ...]:
        """The symmetry operations that are listed, "x, y, z" ...; empty where none are."""
        for tag in _OPERATIONS:
            listed = tuple(value for value in self.column(tag) if value not in ("?", "."))
            if listed:
                return listed
        # Of a magnetic group, "x, y, z, +1": what it does to moments is of no matter here.
        return tuple(v.rsplit(",", 1)[0] for tag in _MAGNETIC for v in self.column(tag) if v.count(",") == 3)

    @property
    def lists_whole_group(self) -> bool:
        """Whether all operations are to be in the list; magnetic ones stand beside their centrings."""
        return not any(self.column(tag) for tag in _MAGNETIC)

    @property
    def hall_symbol(self) -> str:
        """The Hall symbol, or ""."""
        return self.text(_HALL)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All Hermann-Mauguin symbols that the file gives its space group, the usual data name first."""
        given = (self.text((tag,)) for tag in _HERMANN_MAUGUIN)
        return tuple(dict.fromkeys(symbol for symbol in given if symbol))

    @property
    def group_number(self) -> int | None:
        """The number of the space group in the International Tables, 1 to 230, or None."""
        number = number_of(self.text(_NUMBER))
        return int(number) if number is not None and 1 <= number <= 230 else None

    @property
    def formula(self) -> dict[str, float]:
        """The elements of the sum formula with their numbers, deuterium as H; empty where there is none."""
        return formula_of(self.text(("_chemical_formula_sum",)))


def read_structure(path: Path, block: str | None = None) -> CifBlock:
    """The structure of a CIF, or one of several by the name of its block.

    Raises
    ------
    SeveralStructures
        When there are several and none is named.
    CrystalError
        When the file is no CIF, or has no atoms.
    """
    blocks = [b for b in _blocks(path) if any(tag.startswith("_atom_site_") for tag in b.items)]
    for needed in (("_atom_site_fract_x",), CELL_TAGS):
        blocks = [b for b in blocks if all(b.column(tag) for tag in needed)] or blocks
    if not blocks:
        raise CrystalError(f"{path.name} has no atoms; a CIF with atom sites (_atom_site_...) is needed")
    if block is None:
        if len(blocks) > 1:
            raise SeveralStructures(path.name, [b.name for b in blocks])
        return blocks[0]
    for one in blocks:
        if one.name.lower() == block.lower():
            return one
    names = ", ".join(b.name for b in blocks)
    raise CrystalError(f"{path.name} has no structure {block!r}; it holds {names}")


def cell_of(block: CifBlock) -> Lattice:
    """a, b, c in Å and alpha, beta, gamma in degrees.

    Raises
    ------
    CrystalError
        When one is missing or no number, or no cell has such angles.
    """
    values = []
    for tag in CELL_TAGS:
        text = block.text((tag,))
        if not text:
            raise CrystalError(f"{block.file_name} has no whole cell; add {', '.join(CELL_TAGS)}")
        value = number_of(text)
        if value is None or not 0 < value < (180 if "angle" in tag else 1000):
            raise CrystalError(f"{block.file_name}: {tag} is {text!r}, which no cell has; correct it")
        values.append(value)
    a, b, c, alpha, beta, gamma = values
    if not math.isfinite(float(lattice_basis(values)[2, 2])):
        raise CrystalError(
            f"{block.file_name}: no cell has the angles {alpha:g}, {beta:g}, {gamma:g}°; correct _cell_angle_..."
        )
    return a, b, c, alpha, beta, gamma


def number_of(text: str) -> float | None:
    """A number as CIFs write it, "3.6149(2)", "1/3" or "+.5", without its uncertainty; None where it is none."""
    match = re.fullmatch(r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)(?:\([0-9.]*\)?)?(?:/([0-9]+))?", text.strip())
    if match is None:
        return None
    try:
        return float(match[1]) / float(match[2] or 1)
    except (ValueError, ZeroDivisionError):
        return None


def formula_of(text: str) -> dict[str, float]:
    """Elements and numbers of a sum formula, "Li Mn2 O4"; what cannot be read gives an empty one."""
    numbers: dict[str, float] = {}
    for part in re.split(r"[\s,]+", text.strip()):
        pieces = _NUMBER_OF_ATOMS.findall(part)
        if "".join(a + b for a, b in pieces) != re.sub(r"\([0-9]+\)", "", part) or "+" in part:
            return {}
        for symbol, count in pieces if part else ():
            element = "H" if symbol.capitalize() == "D" else symbol.capitalize()
            try:
                numbers[element] = numbers.get(element, 0.0) + float(count or 1)
            except ValueError:
                return {}
    return numbers


def _blocks(path: Path) -> list[CifBlock]:
    """All blocks of a file, their names told apart."""
    from gemmi import cif

    try:
        # Level 0: data names that stand twice, as programs write them, are no reason to refuse a file.
        document = cif.read_string(_text_of(path), check_level=0)
    except (ValueError, RuntimeError) as error:
        raise CrystalError(
            f"{path.name} cannot be read as a CIF{_where(str(error))}; check that it is a crystallographic "
            "information file, with data_, _cell_length_a and the atom sites"
        ) from error
    blocks: list[CifBlock] = []
    for block in document:
        items: dict[str, tuple[str, ...]] = {}
        for item in block:
            if item.pair is not None:
                tag, value = cast("tuple[str, str]", item.pair)
                if _old_name(tag).startswith(_OF_INTEREST):
                    items.setdefault(_old_name(tag), (cif.as_string(value) or value,))
            elif item.loop is not None and _old_name(item.loop.tags[0]).startswith(_OF_INTEREST):
                # not the reflections, of which there may be hundred thousands
                width, values = item.loop.width(), item.loop.values
                for column, tag in enumerate(item.loop.tags):
                    texts = tuple(cif.as_string(value) or value for value in values[column::width])
                    items.setdefault(_old_name(tag), texts)
        own = block.name or f"structure {len(blocks) + 1}"
        taken = sum(b.name.split(" (")[0] == own for b in blocks)
        name = f"{own} ({taken + 1})" if taken else own
        blocks.append(CifBlock(path.name, name, items))
    return blocks


def _old_name(tag: str) -> str:
    """The data name of the old dictionaries: a dot of the new ones was an underscore."""
    return tag.lower().replace(".", "_")


def _text_of(path: Path) -> str:
    """The text of a file in whatever encoding it was written."""
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = raw.decode("utf-16", errors="replace")
    elif b"\x00" in raw[:200]:
        text = raw.decode("utf-16-le" if raw[1:2] == b"\x00" else "utf-16-be", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    # Old Macs end lines with a carriage return; an end-of-file mark of DOS is no text.
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a\x00")


def _where(message: str) -> str:
    """Say in words where gemmi stopped: its "string:4:0(17): Wrong number of values in loop _a*"."""
    match = re.match(r"\w+:(\d+):\d+\(\d+\): (.*)", message, flags=re.DOTALL)
    return f" (line {match[1]}: {match[2].strip()})" if match else ""
