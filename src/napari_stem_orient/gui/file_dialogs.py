"""The questions for a file or a folder, in one place."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget


def ask_open_file(
    parent: QWidget, title: str, *, start: Path | None, kinds: str = "All files (*)"
) -> Path | None:
    """Ask for a file to open; None where the user cancels. `kinds` is Qt's filter, as in "CIF (*.cif)"."""
    name, _ = QFileDialog.getOpenFileName(parent, title, str(start or ""), kinds)
    return Path(name) if name else None


def ask_folder(parent: QWidget, title: str, *, start: Path | None) -> Path | None:
    """Ask for a folder; None where the user cancels."""
    name = QFileDialog.getExistingDirectory(parent, title, str(start or ""))
    return Path(name) if name else None


def ask_save_file(parent: QWidget, title: str, *, start: Path, kinds: str) -> Path | None:
    """Ask for a file to write, with `start` as the proposal; None where the user cancels.

    A name without a suffix gets that of the proposal.
    """
    name, _ = QFileDialog.getSaveFileName(parent, title, str(start), kinds)
    if not name:
        return None
    path = Path(name)
    return path if path.suffix else path.with_suffix(start.suffix)
