"""The questions for a file or a folder, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_stem_orient.io.scan_members import is_written_over, scan_members

if TYPE_CHECKING:
    from napari_stem_orient.gui.step_panel import JobPanel


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


def ask_save_file(panel: JobPanel, title: str, *, start: Path, kinds: str) -> Path | None:
    """Ask for a file to write, with `start` as the proposal; None where the user cancels.

    A name without a suffix gets that of the proposal. A file of the open scan is refused, in the panel's message.
    """
    name, _ = QFileDialog.getSaveFileName(panel, title, str(start), kinds)
    if not name:
        return None
    path = Path(name)
    if not path.suffix:
        path = path.with_suffix(start.suffix)
        if path.exists() and not _may_be_replaced(
            panel, title, path
        ):  # the dialog has asked about the bare name
            return None
    scan = panel.session.datacube
    kept = None if scan is None or scan.path is None else is_written_over(path, scan_members(scan.path))
    if kept is None:
        return path
    panel.show_message(f"{path.name} belongs to the open scan and would destroy it: choose another name.")
    return None


def _may_be_replaced(panel: JobPanel, title: str, path: Path) -> bool:
    answer = QMessageBox.question(panel, title, f"{path.name} already exists. Do you want to replace it?")
    return bool(answer == QMessageBox.StandardButton.Yes)
