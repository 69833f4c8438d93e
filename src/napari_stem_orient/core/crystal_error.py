"""CrystalError: why a crystal structure cannot be used, in words that name the fix."""

from __future__ import annotations

from collections.abc import Sequence

from napari_stem_orient.core.errors import UserError


class CrystalError(UserError):
    """A crystal structure that cannot be used; the message names the file and the fix."""


class SeveralStructures(CrystalError):  # noqa: N818 - the name says what is wrong
    """A file that holds several structures, none of which was chosen.

    Attributes
    ----------
    blocks : names of the structures, in the order of the file
    """

    def __init__(self, file_name: str, blocks: Sequence[str]) -> None:
        names = ", ".join(f"{file_name}#{block}" for block in blocks)
        super().__init__(f"{file_name} holds {len(blocks)} structures; choose one of them: {names}")
        self.file_name = file_name
        self.blocks = tuple(blocks)

    def __reduce__(self) -> tuple[type[SeveralStructures], tuple[str, tuple[str, ...]]]:
        """Pickle with both arguments: the error comes from the worker of a job, too."""
        return type(self), (self.file_name, self.blocks)
