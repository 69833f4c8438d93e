"""CrystalChoice: a crystal that the user has named, as it stands in a recipe, and the structure that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal, load_crystal
from napari_stem_orient.core.crystal_error import CrystalError


class CrystalChoice(BaseModel):
    """A built-in crystal, the structure of a CIF, or a structure that is written down in full."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        "",
        title="Crystal",
        description="A built-in crystal or a CIF (file.cif#name where it holds several structures)",
    )
    fingerprint: str = Field(
        "", title="Fingerprint", description="Of the structure, where it is known: another one is refused"
    )
    structure: dict[str, Any] | None = Field(
        None, title="Structure", description="The structure in full, where no file is known"
    )

    @model_validator(mode="after")
    def _names_something(self) -> CrystalChoice:
        if not self.source and self.structure is None:
            raise ValueError("a crystal needs a name, a CIF or its structure")
        return self

    @classmethod
    def of(cls, crystal: Crystal) -> CrystalChoice:
        """The choice that stands for a crystal which is there already."""
        if crystal.source:
            return cls(source=crystal.source, fingerprint=crystal.fingerprint)
        return cls(fingerprint=crystal.fingerprint, structure=crystal.to_dict())

    @property
    def path(self) -> Path | None:
        """The file that is named; None for a built-in crystal or a structure in full."""
        if not self.source or self.source in BUILTIN_CRYSTALS:
            return None
        path = Path(self.source)
        return path if path.is_file() or "#" not in self.source else Path(self.source.rpartition("#")[0])

    def with_path(self, change: Callable[[Path], Path]) -> CrystalChoice:
        """The choice with the name of its file changed, where it has one; "#name" of a structure in it stays."""
        if not self.source or self.source in BUILTIN_CRYSTALS:
            return self
        whole = change(Path(self.source))
        if whole.is_file() or "#" not in self.source:
            return self.model_copy(update={"source": whole.as_posix()})
        path, _, structure = self.source.rpartition("#")
        return self.model_copy(update={"source": f"{change(Path(path)).as_posix()}#{structure}"})

    def load(self) -> Crystal:
        """The structure.

        Raises
        ------
        CrystalError
            Where it cannot be read, or is another one than when it was chosen.
        """
        crystal = load_crystal(self.source) if self.source else Crystal.from_dict(self.structure or {})
        if self.fingerprint and crystal.fingerprint != self.fingerprint:
            raise CrystalError(
                f"crystal {self.source or crystal.name} is another structure than the one that was chosen (its "
                f"fingerprint is {crystal.fingerprint}, not {self.fingerprint}): find the file as it was, or take the "
                "fingerprint out of the recipe to use this one"
            )
        return crystal


def loaded(choices: Iterable[CrystalChoice]) -> tuple[Crystal, ...]:
    """The structures of several choices; CrystalError where one cannot be read."""
    return tuple(choice.load() for choice in choices)
