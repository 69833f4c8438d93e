"""ResumeRow: says what an earlier detection has left of the open scan, and offers to take it or to go on with it.

It also keeps what the peaks are calibrated with beside them, so that they come back as they were.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.resume_jobs import keep_calibrated
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.steps.detection_run import LeftDetection, left_detections

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.datacube import DataCube


class ResumeRow(QWidget):
    """Part of the Detect stage; hidden while there is nothing to go on with.

    Parameters
    ----------
    panel
        The stage that it stands in.

    Attributes
    ----------
    resumed, started_over
        Emitted when the user has chosen: the LeftDetection to go on with, or nothing.
    """

    resumed = Signal(object)
    started_over = Signal()

    def __init__(self, panel: StagePanel) -> None:
        super().__init__()
        self._panel = panel
        self._run: LeftDetection | None = None
        self.label = plain_label()
        self.resume_button = QPushButton("Resume")
        self.resume_button.clicked.connect(self._on_resume)
        self.start_over_button = QPushButton("Start over")
        self.start_over_button.clicked.connect(self._on_start_over)
        buttons = QHBoxLayout()
        buttons.addWidget(self.resume_button)
        buttons.addWidget(self.start_over_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addLayout(buttons)
        self.hide()
        self._looking: LatestJob[DataCube, LeftDetection | None] = LatestJob(
            title="Look for an interrupted run", on_result=self._on_found, on_error=lambda *_: None
        )
        when_destroyed(self, LatestJob.close, self._looking)
        self._keeping: LatestJob[BraggPeaks, bool] = LatestJob(
            title="Keep the calibration", on_result=lambda *_: None, on_error=self._on_not_kept
        )
        when_destroyed(self, LatestJob.close, self._keeping)
        panel.watch(("opening",), self.look)
        panel.watch(("history",), self._on_calibration_changed)
        self.look()

    @property
    def offers(self) -> bool:
        """Whether there is a run to go on with."""
        return self._run is not None

    def look(self) -> None:
        """See whether a run of the open scan was interrupted."""
        self.withdraw()
        datacube = self._panel.session.datacube
        if datacube is not None and datacube.path is not None:
            self._looking.request(datacube, partial(_came_furthest, datacube))

    def withdraw(self) -> None:
        """Offer nothing."""
        self._looking.forget()
        self._run = None
        self.hide()

    def set_ready(self, ready: bool) -> None:
        """Let the user choose, or not yet."""
        self.resume_button.setEnabled(ready)
        self.start_over_button.setEnabled(ready)

    def _on_found(self, datacube: DataCube, run: LeftDetection | None) -> None:
        session = self._panel.session
        current, peaks = session.datacube, session.peaks
        if run is None or current is None or current.data is not datacube.data:
            return
        if peaks is not None and peaks.source_fingerprint == current.fingerprint:
            return  # the results of this scan are there
        self._run = run
        words = str(run)
        self.label.setText(f"{words[:1].upper()}{words[1:]}.")
        if not run.finished:
            self.resume_button.setText("Resume")
            self.resume_button.setToolTip(
                "Go on with the interrupted run: with its template, its parameters and its mask, from its last block."
            )
            self.start_over_button.setText("Start over")
            self.start_over_button.setToolTip(
                "Forget the interrupted run, and detect with what is chosen here."
            )
        else:
            self.resume_button.setText("Take them")
            self.resume_button.setToolTip("Go on with these peaks, as they were calibrated last.")
            self.start_over_button.setText("Discard")
            self.start_over_button.setToolTip("Remove these peaks: they are in no file.")
            self._panel.asks.emit()
        self.show()

    def _on_resume(self) -> None:
        run = self._run
        self.withdraw()
        if run is not None:
            self.resumed.emit(run)

    def _on_start_over(self) -> None:
        run = self._run
        self.withdraw()
        if run is None:
            return
        if run.finished:
            self._panel.run(
                plain_job(run.forget),
                title="Discarding the peaks",
                on_done=lambda _: self.look(),  # others may lie behind them
            )
        else:
            self._panel.run(
                plain_job(run.forget),
                title="Forgetting the interrupted run",
                about_scan=True,
                on_done=lambda _: self.started_over.emit(),
            )

    def _on_calibration_changed(self) -> None:
        session = self._panel.session
        peaks, history = session.peaks, session.history
        if peaks is not None and (history.done or history.undone):
            scan = None if session.datacube is None else session.datacube.calibration
            self._keeping.request(peaks, partial(keep_calibrated, peaks, scan))

    def _on_not_kept(self, _: BraggPeaks, message: str) -> None:
        self._panel.show_message(f"The calibration cannot be kept for the next time: {message}.")


def _came_furthest(datacube: DataCube) -> LeftDetection | None:
    return next(iter(left_detections(datacube)), None)
