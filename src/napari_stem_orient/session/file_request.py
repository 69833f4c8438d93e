"""FileRequest: the file that was chosen last, how it is to be read, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_stem_orient.steps.open import OpenChoice

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.steps.open import ScanShapeQuestion


@dataclass(frozen=True, slots=True)
class FileRequest:
    """The file that was chosen last.

    Attributes
    ----------
    path : file or folder; None where none was chosen yet
    choice : how it is to be read
    datasets : names of the scans in it, where there are several
    question : what has to be known before it can be read, or None
    shape_refused : whether it does not open with the scan shape that was chosen, for another reason than a question
    failed : whether it could not be opened
    said : one line on what was done or went wrong; empty for nothing
    """

    path: Path | None = None
    choice: OpenChoice = field(default_factory=OpenChoice)
    datasets: tuple[str, ...] = ()
    question: ScanShapeQuestion | None = None
    shape_refused: bool = False
    failed: bool = False
    said: str = ""
