"""CrystalChooser: the crystals that can be added: the user's and the built-in ones under headings, with a search."""

from __future__ import annotations

from functools import lru_cache

from napari_stem_orient.core.builtin_crystals import BUILTIN_STRUCTURES, structure_type_of
from napari_stem_orient.gui.parts.crystal_search import CrystalSearch

INVITATION = "Add a crystal…"
YOURS = "Yours"
OTHER = "other structures"
_FIRST = ("fcc", "bcc", "hcp", "diamond", "zinc blende", "rock salt")  # the common ones, before the rest


class CrystalChooser(CrystalSearch):
    """Tells the name of each crystal that is chosen, and is empty again."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "<qt>Crystals that are built in, by structure type, and yours from CIF files. Type to search by name or "
            "structure type, or open the list. <i>CIF…</i> takes any other.</qt>"
        )
        self.set_yours(())
        line = self.lineEdit()
        assert line is not None
        line.setPlaceholderText(INVITATION)

    def set_yours(self, names: tuple[str, ...]) -> None:
        """List these crystals of the user's above those that are built in."""
        groups = [(YOURS, tuple(sorted(names, key=str.casefold)))] if names else []
        groups += [(f"Built in: {kind}", members) for kind, members in builtin_groups()]
        self.set_entries([(title, [(name, name) for name in members]) for title, members in groups])


@lru_cache(maxsize=1)
def builtin_groups() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the names of the built-in crystals by structure type, the common types first, names in order."""
    groups: dict[str, list[str]] = {}
    for name, structure in BUILTIN_STRUCTURES.items():
        elements = structure.as_crystal_arguments()["elements"]
        kind = structure_type_of(structure.space_group, elements) or OTHER
        groups.setdefault(kind, []).append(name)
    rest = sorted(set(groups) - {*_FIRST, OTHER})
    order = [kind for kind in (*_FIRST, *rest, OTHER) if kind in groups]
    return tuple((kind, tuple(sorted(groups[kind], key=str.casefold))) for kind in order)
