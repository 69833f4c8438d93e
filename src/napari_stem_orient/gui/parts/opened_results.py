"""Results from files: peaks and maps are compared with the open scan by fingerprint before the Session takes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QPushButton

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.session.rules import doubts

if TYPE_CHECKING:
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.gui.parts.stage_panel import JobPanel


def take_result(
    panel: JobPanel, result: BraggPeaks | OrientationMap, *, otherwise: Callable[[], object] = lambda: None
) -> None:
    """Hand a result from a file to the Session; where it is of another scan than the open one, the user decides.

    A result of a scan of another shape cannot be of the open one, and takes its place without a question.

    Parameters
    ----------
    panel : that opened the file; says how it went
    result : peaks or a map
    otherwise : done where the user would rather keep what is there
    """
    session = panel.session
    scan = session.datacube
    if scan is None or result.scan_shape != scan.scan_shape or session.belongs(result) is not False:
        _take(panel, result, otherwise)
        return
    _which_scan(panel, result, otherwise).open()  # which does not wait, unlike exec: jobs go on


def _which_scan(
    panel: JobPanel, result: BraggPeaks | OrientationMap, otherwise: Callable[[], object]
) -> QMessageBox:
    """Make the question whether a result of another scan is opened alone, or used with the scan that is open."""
    session = panel.session
    what = "These Bragg peaks were" if isinstance(result, BraggPeaks) else "This orientation map was"
    open_name = session.source.name
    made_from = (
        f"“{result.name}”" if result.name and result.name != open_name else "another file of that name"
    )
    box = QMessageBox(panel)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Another scan")
    box.setText(f"{what} made from another scan than “{open_name}”, which is open.")
    box.setInformativeText(
        f"Made from: {made_from}. A file that was copied or written anew since counts as another one, too."
    )
    alone = _button(box, "Open alone", "open_alone", partial(_take, panel, result, otherwise))
    _button(
        box,
        f"Use with “{open_name}”",
        "use_together",
        partial(_take_as_of_open_scan, panel, result, otherwise),
    )
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.rejected.connect(otherwise)
    box.setDefaultButton(alone)
    return box


def _button(box: QMessageBox, words: str, name: str, slot: partial[None]) -> QPushButton:
    button = box.addButton(words, QMessageBox.ButtonRole.ActionRole)
    assert button is not None
    button.setObjectName(name)
    button.clicked.connect(lambda _=False: slot())
    return button


def _take_as_of_open_scan(
    panel: JobPanel, result: BraggPeaks | OrientationMap, otherwise: Callable[[], object]
) -> None:
    panel.attempt(partial(panel.session.count_as_open_scan, result))
    _take(panel, result, otherwise)


def _take(panel: JobPanel, result: BraggPeaks | OrientationMap, otherwise: Callable[[], object]) -> None:
    """Hand it over, once what it replaces is saved, kept or given up."""
    take = partial(_take_now, panel, result)
    leaving_of(panel.session).before_opening(result, take, otherwise=otherwise)


def _take_now(panel: JobPanel, result: BraggPeaks | OrientationMap) -> None:
    session = panel.session
    closed = session.source.name if session.belongs(result) is False else ""
    if isinstance(result, BraggPeaks):
        session.open_peaks(result)
        said = _peaks_opened(result)
    else:
        session.open_map(result)
        said = "Orientation map opened."
    parts = [said, doubts(session.state), f"“{closed}” was closed for it." if closed else ""]
    panel.show_message(" ".join(filter(None, parts)))


def _peaks_opened(peaks: BraggPeaks) -> str:
    """Say how many peaks a file held, and what of it was left out."""
    left_out = int(peaks.parameters.get("left_out_not_finite", 0))
    note = f" {left_out:,} that were NaN or infinite were left out." if left_out else ""
    return f"{peaks.n_peaks:,} Bragg peaks opened.{note}"
