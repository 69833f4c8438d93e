"""Loading a crystal in a panel: which structure of several is asked, and what had to be decided is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QInputDialog

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.crystal_error import SeveralStructures
from napari_stem_orient.gui.parts.stage_panel import JobPanel


def load_for(panel: JobPanel, name_or_path: str | Path) -> Crystal | None:
    """A built-in crystal or that of a CIF; None where it cannot be read, which the panel says, or the user cancels.

    What was decided when the file was read stands in the panel's message.
    """
    crystal = panel.attempt(partial(_load_or_ask, panel, name_or_path))
    if crystal is not None:
        panel.show_message(notes_text(crystal))
    return crystal


def notes_text(crystal: Crystal) -> str:
    """What had to be decided when a crystal was read, in a line; "" where nothing had."""
    if not crystal.notes:
        return ""
    sentences = (note[:1].upper() + note[1:] for note in crystal.notes)
    return f"{crystal.name}: {'. '.join(sentences)}."


def _load_or_ask(panel: JobPanel, name_or_path: str | Path) -> Crystal | None:
    try:
        return load_crystal(name_or_path)
    except SeveralStructures as several:
        block, chosen = QInputDialog.getItem(
            panel,
            "Choose a structure",
            f"{several.file_name} holds {len(several.blocks)} structures. Which one?",
            list(several.blocks),
            0,
            False,
        )
        return load_crystal(name_or_path, block=block) if chosen else None
