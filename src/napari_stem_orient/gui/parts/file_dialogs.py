"""The questions for a file or a folder, in one place; they begin with the scan, or where the last one ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

if TYPE_CHECKING:
    from napari_stem_orient.gui.parts.panel import Panel
    from napari_stem_orient.session.session import Session

Purpose = Literal["scan", "crystals", "models"]
"""What a file is for. Crystals and models lie together for all scans; everything else goes with its scan."""

Key = tuple[Purpose, Path | None]

# Folders in which something was chosen, of each Session; for what goes with a scan, of each scan.
_chosen: WeakKeyDictionary[Session, dict[Key, Path]] = WeakKeyDictionary()


def ask_open_file(
    parent: QWidget,
    title: str,
    *,
    start: Path | None = None,
    kinds: str = "All files (*)",
    purpose: Purpose = "scan",
) -> Path | None:
    """Ask for a file to open; None where the user cancels.

    Parameters
    ----------
    parent : a panel, or a widget in one: its Session says which scan is open
    title : of the dialog
    start : the folder to begin in where none was chosen before; the scan's where there is none
    kinds : Qt's filter, as in "CIF (*.cif)"
    purpose : what the file is for
    """
    begin = _begin(parent, start, purpose)
    name, _ = QFileDialog.getOpenFileName(parent, title, str(begin or ""), kinds)
    return _remembered(parent, Path(name).parent, purpose, Path(name)) if name else None


def ask_folder(
    parent: QWidget, title: str, *, start: Path | None = None, purpose: Purpose = "scan"
) -> Path | None:
    """Ask for a folder, as `ask_open_file` asks for a file; None where the user cancels."""
    begin = _begin(parent, start, purpose)
    name = QFileDialog.getExistingDirectory(parent, title, str(begin or ""))
    return _remembered(parent, Path(name).parent, purpose, Path(name)) if name else None


def ask_save_file(panel: Panel, title: str, *, start: Path, kinds: str) -> Path | None:
    """Ask for a file to write, with `start` as the proposal; None where the user cancels.

    The dialog begins where the last one ended, else in the folder of `start`, else in that of the open scan.
    A name without a suffix gets that of the proposal. A file of the open scan is refused, in the panel's message.
    """
    begin = _begin(panel, start.parent if start.parent != Path() else None, "scan")
    proposal = start if begin is None else begin / start.name
    name, _ = QFileDialog.getSaveFileName(panel, title, str(proposal), kinds)
    if not name:
        return None
    path = _remembered(panel, Path(name).parent, "scan", Path(name))
    if not path.suffix:
        path = path.with_suffix(start.suffix)
        if path.exists() and not _may_be_replaced(
            panel, title, path
        ):  # the dialog has asked about the bare name
            return None
    from napari_stem_orient.io.scan_members import (  # brings dask: not with the desk
        is_written_over,
        scan_members,
    )

    scan = panel.session.datacube
    kept = None if scan is None or scan.path is None else is_written_over(path, scan_members(scan.path))
    if kept is None:
        return path
    panel.show_message(f"{path.name} belongs to the open scan and would destroy it: choose another name.")
    return None


def _begin(widget: QWidget, start: Path | None, purpose: Purpose) -> Path | None:
    """The folder that a dialog begins in."""
    session = _session_above(widget)
    if session is None:
        return start
    scan = _path_of_scan(session)
    chosen = _chosen.get(session, {}).get(_key(session, purpose))
    folders = [chosen, start, None if scan is None else scan.parent]
    return next((folder for folder in folders if folder is not None and folder.is_dir()), None)


def _remembered(widget: QWidget, folder: Path, purpose: Purpose, path: Path) -> Path:
    session = _session_above(widget)
    if session is not None:
        _chosen.setdefault(session, {})[_key(session, purpose)] = folder
    return path


def _key(session: Session, purpose: Purpose) -> Key:
    return purpose, _path_of_scan(session) if purpose == "scan" else None


def _path_of_scan(session: Session) -> Path | None:
    return None if session.datacube is None else session.datacube.path


def _session_above(widget: QWidget | None) -> Session | None:
    """The Session of the panel that a widget is, or stands in."""
    while widget is not None:
        session: Session | None = getattr(widget, "session", None)
        if session is not None:
            return session
        widget = widget.parentWidget()
    return None


def _may_be_replaced(panel: Panel, title: str, path: Path) -> bool:
    answer = QMessageBox.question(panel, title, f"{path.name} already exists. Do you want to replace it?")
    return bool(answer == QMessageBox.StandardButton.Yes)
