"""MapChecks: what an orientation map says about its calibration, and how far it depends on the pixel size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.calibration.words import doubts_in_words
from napari_stem_orient.gui.calibrate.jobs import sensitivity_job
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.calibrate import CalibrateChoice

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.indexing.joint_calibration import JointCalibration
    from napari_stem_orient.indexing.sensitivity import SensitivityProgress, SensitivityTable


class MapChecks(QWidget):
    """Two questions that an indexed map can answer, each asked by a button.

    Parameters
    ----------
    panel : runs the jobs and shows what goes wrong
    calibrate : starts a calibration of the peaks with a choice, under a title
    """

    def __init__(self, panel: JobPanel, *, calibrate: Callable[..., None]) -> None:
        super().__init__()
        self._panel = panel
        self._calibrate = calibrate
        self.refine_button = QPushButton("Refine from the map")
        self.refine_button.setToolTip(
            "<qt>Fit pixel size, ellipse and direct beam together to the disks that the map explains, and say by "
            "how much the score improves. One change, which can be undone; index again afterwards.</qt>"
        )
        self.refine_button.clicked.connect(self._on_refine)
        self.sensitivity_button = QPushButton("What if the pixel size were off?")
        self.sensitivity_button.setToolTip(
            "<qt>Index a sample of the map again with the pixel size wrong by up to 2 %, and show how far the "
            "orientations move. Nothing of the map changes.</qt>"
        )
        self.sensitivity_button.clicked.connect(self._on_sensitivity)
        self.stale_label = plain_label("The map was made with another calibration: index again first.")
        self.report_label = plain_label()
        self.report_label.hide()
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setToolTip(
            "<qt>A sample of the map, squares of the scan, indexed again with other pixel sizes and compared with the "
            "map. The row “as it is” tells what the choice of the sample does alone.</qt>"
        )
        self.table.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.refine_button)
        layout.addWidget(self.sensitivity_button)
        layout.addWidget(self.stale_label)
        layout.addWidget(self.report_label)
        layout.addWidget(self.table)
        panel.watch(("current_result", "peaks"), self._on_result_changed)

    def refresh(self) -> None:
        """Offer what there is a map for; a map of other peaks, or of another calibration, has to be made again."""
        session = self._panel.session
        running = session.stage_state(Stage.CALIBRATE) is StageState.RUNNING
        indexing = session.stage_state(Stage.INDEX) is StageState.RUNNING
        self.setVisible(session.current_map is not None and session.peaks is not None)
        ready = self._subject() is not None and not running and not indexing
        stale = session.stale_because(Stage.INDEX) is not None
        self.stale_label.setVisible(stale and self.report_label.isHidden())
        for button in (self.refine_button, self.sensitivity_button):
            button.setEnabled(ready)

    def _subject(self) -> tuple[BraggPeaks, OrientationMap] | None:
        session = self._panel.session
        if session.peaks is None or session.current_map is None or session.stale_because(Stage.INDEX):
            return None
        return (session.peaks, session.current_map) if session.current_map.indexed.any() else None

    def _on_refine(self) -> None:
        if self._subject() is not None:
            self._calibrate(CalibrateChoice(refine=True), title="Refining from the map")

    def show_refinement(self, joint: JointCalibration) -> None:
        """Say what a refinement has found."""
        self.report_label.setText(refinement_text(joint))
        self.report_label.show()
        self.refresh()

    def _on_sensitivity(self) -> None:
        subject = self._subject()
        if subject is not None:
            self._panel.run(
                sensitivity_job(*subject, self._panel.session.model_folders),
                title="Indexing with other pixel sizes",
                stage=Stage.CALIBRATE,
                on_record=self._on_progress,
                on_done=partial(self._show_table, subject),
            )

    def _on_progress(self, progress: SensitivityProgress) -> None:
        self._panel.show_message(progress.sample)

    def _show_table(self, subject: tuple[BraggPeaks, OrientationMap], found: SensitivityTable) -> None:
        """Show the table; without the column of the phases where there is one only."""
        if self._subject() != subject:
            self._panel.show_message("Map or calibration changed meanwhile: ask again.")
            return
        phases = len(subject[1].crystals) > 1
        header, rows = found.header(phases=phases), found.rows(phases=phases)
        self.table.clear()
        self.table.setColumnCount(len(header))
        self.table.setRowCount(len(rows))
        self.table.setHorizontalHeaderLabels([name.replace(" ", "\n", 1) for name in header])
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        vertical, horizontal = self.table.verticalHeader(), self.table.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        self.table.resizeColumnsToContents()
        self.table.resizeRowsToContents()
        bar = self.table.horizontalScrollBar()
        height = vertical.length() + horizontal.sizeHint().height() + 2 * self.table.frameWidth()
        self.table.setFixedHeight(height + (0 if bar is None else bar.sizeHint().height()))
        self.table.show()
        total = subject[1].n_positions
        self._panel.show_message(f"{found.n_positions:,} of {total:,} positions were compared.")

    def _on_result_changed(self) -> None:
        """What was said is about another map."""
        self.report_label.hide()
        self.table.hide()
        self.refresh()


def refinement_text(joint: JointCalibration) -> str:
    """Say by how much a refinement improved score and distances, and from how many disks."""
    use = "Index again to use it." if joint.gains else doubts_in_words(joint.fit.doubts)
    return (
        f"Score {joint.score_before:.3f} → {joint.score_after:.3f}; disks off by {joint.residual_before:.4f} → "
        f"{joint.residual_after:.4f} 1/Å (root mean square), from {joint.n_disks:,} disks of "
        f"{joint.n_positions:,} patterns. {use}"
    )
