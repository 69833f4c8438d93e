"""DetectWidget: the second stage: from frames to Bragg disks, with a live preview."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.merged_calibration import with_measured_origin
from napari_stem_orient.detection.detectors import DETECTORS
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.gui.detect.mask_row import MaskRow
from napari_stem_orient.gui.detect.planner import DetectPlanner
from napari_stem_orient.gui.detect.probe_chooser import ProbeChooser
from napari_stem_orient.gui.detect.resume_row import ResumeRow
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.workers import error_message, plain_job
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.form_layout import form_label, form_layout, narrow_box
from napari_stem_orient.gui.parts.opened_results import take_result
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.parameter_form import ParameterForm
from napari_stem_orient.gui.parts.py4dstem_choice import grey_without_py4dstem
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import DetectPlan, GivenDetectionParameters, look_at_pattern
from napari_stem_orient.steps.detection_run import DetectionRun, LeftDetection, plan_to_go_on
from napari_stem_orient.steps.export import save_result
from napari_stem_orient.steps.journal_notices import JournalNotice
from napari_stem_orient.steps.recorded import with_scan_of

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.detection.rejected_maxima import Explained

PreviewKey = tuple[tuple[int, int], DetectPlan]

PREVIEW_DELAY_MS = 60
PLAIN = ("mode", "min_significance", "min_contrast", "min_spacing_px")
PEAKS_KINDS = "Bragg peaks (*.h5 *.hdf5 *.emd)"


class DetectWidget(StagePanel):
    """Chooses the probe template and the parameters, previews them on the clicked pattern, and detects.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage = Stage.DETECT

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.planner = DetectPlanner(self)
        self.chooser = ProbeChooser(self, self.planner)
        self.mask_row = MaskRow(self, self.planner)
        self.content.addWidget(self.chooser)
        self.content.addWidget(self.mask_row)
        advanced = [name for name in DetectionParameters.model_fields if name not in PLAIN]
        self.form = ParameterForm(DetectionParameters(), advanced=advanced)
        self.form.changed.connect(self._on_parameters_changed)
        self.content.addWidget(self.form)
        self.content.addWidget(self._make_engine_row())
        self.content.addLayout(self._preview_row())
        self.resume_row = ResumeRow(self)
        self.resume_row.resumed.connect(self._on_resume_interrupted)
        self.resume_row.started_over.connect(self._on_start_over)
        self.content.addWidget(self.resume_row)
        self.content.addLayout(self._button_row())
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PREVIEW_DELAY_MS)
        self._timer.timeout.connect(self._start_preview)
        self._preview_job: LatestJob[PreviewKey, Explained | str] = LatestJob(
            title="Preview", on_result=self._on_preview, on_error=self._on_preview_error
        )
        when_destroyed(self, LatestJob.close, self._preview_job)
        self.watch(("position",), self._on_position_changed)
        self.watch(("detection_parameters",), self._on_parameters_set)
        self.listen(self.planner.changed, self._on_planned)
        self._on_parameters_set()
        self.refresh()

    def box_of(self, name: str) -> QWidget | None:
        """Return the button that makes Bragg peaks."""
        return self.run_button if name == "peaks" else None

    # --- running -------------------------------------------------------------------------------------------

    def _on_run(self) -> None:
        plan = self._plan_to_go_on()
        if plan is None:
            self._on_start_over()
        else:
            self._run(plan, self.session.peaks)

    def _on_start_over(self) -> None:
        plan = self.planner.plan
        if plan is not None:
            self._run(plan, None)
        else:
            missing = "a probe template" if self.session.datacube else "an open scan"
            self.show_message(f"Detection needs {missing} first.")

    def _on_resume_interrupted(self, left: LeftDetection) -> None:
        """Go on with a run that was interrupted: as it was begun, whatever was chosen since."""
        session = self.session
        self.planner.take(left.plan)
        if not left.finished:
            self._run(left.plan, left.peaks)
            return
        session.note_journal(BraggPeaks, lost=False)
        self._on_detected(left.peaks)
        if left.calibrated is not None:
            kept = left.calibrated
            session.restore_calibration(
                kept.calibration, origin_px=kept.origin_px, scan=kept.scan, recipe=kept.recipe
            )

    def _run(self, plan: DetectPlan, resume_from: BraggPeaks | None) -> None:
        detection = DetectionRun(plan, resume_from=resume_from, replaces_others=True)
        self.resume_row.withdraw()
        self.session.set_preview(None)
        self.session.note_journal(BraggPeaks, lost=False)
        self.run(
            detection.job(),
            title="Detecting disks",
            stage=Stage.DETECT,
            on_record=self._on_block,
            on_done=self._on_detected,
            on_stopped=partial(self._on_stopped, detection),
            on_error=lambda _: self.resume_row.look(),
        )

    def _on_block(self, block: DetectedBlock | JournalNotice) -> None:
        if isinstance(block, JournalNotice):
            self.show_message(block.sentence)
            self.session.note_journal(BraggPeaks, lost=block.lost)
            return
        self.session.fill_detection(block)

    def _on_detected(self, peaks: BraggPeaks) -> None:
        self._take(peaks)
        done = int(peaks.detected.sum())
        mean = peaks.n_peaks / max(1, done)
        part = (
            "" if done == peaks.n_positions else f" at {done:,} of {peaks.n_positions:,} positions; resumable"
        )
        unreadable = int(peaks.parameters.get("unreadable_frames", 0))
        note = f" In {unreadable:,} patterns NaN or infinite pixels counted as 0." if unreadable else ""
        self.show_message(f"{peaks.n_peaks:,} disks{part}, {mean:.1f} a pattern.{note}")

    def _on_stopped(self, detection: DetectionRun) -> None:
        """Keep what is done; putting it together may take a moment, so it has a job of its own."""
        if not detection.blocks:
            self.show_message("Stopped before the first patterns were done.")
            return
        self.run(
            plain_job(detection.collected),
            title="Keeping what is done",
            stage=Stage.DETECT,
            on_done=self._on_detected,
        )

    def _take(self, peaks: BraggPeaks) -> None:
        """Hand the peaks to the Session, in the calibration of now: it may have changed during the run."""
        calibration, scan = self.session.calibration, self.session.datacube
        if calibration is not None:
            calibration = with_measured_origin(calibration, peaks.calibration)
            if calibration != peaks.calibration:
                peaks = peaks.with_calibration(calibration)
                if scan is not None:
                    peaks = peaks.with_recipe(with_scan_of(peaks.recipe, scan.recipe))
        self.session.set_peaks(peaks, of_open_scan=True)

    def _plan_to_go_on(self) -> DetectPlan | None:
        """The plan that goes on with the peaks: partial, of this scan, and made with what is chosen here."""
        session, plan = self.session, self.planner.plan
        if plan is None or session.peaks is None or session.datacube is None:
            return None
        if not session.is_partial(Stage.DETECT) or session.stale_because(Stage.DETECT):
            return None
        return plan_to_go_on(plan, session.peaks)

    # --- preview -------------------------------------------------------------------------------------------

    def _on_parameters_changed(self, parameters: DetectionParameters) -> None:
        """Take what the user has changed in the form; what he has left as it is stays measured."""
        before = self.session.detection_parameters or DetectionParameters()
        given = self.planner.choice.parameters.with_changes(before, parameters)
        self.planner.choose(parameters=given)

    def _on_suggest(self) -> None:
        """Measure all parameters, and take back what was given."""
        if self.session.datacube is None:
            self.show_message("Open a scan first: parameters are suggested from its patterns.")
            return
        self.planner.choose(parameters=GivenDetectionParameters())
        if self.planner.plan is None:
            self.planner.measure()
        else:
            self.show_message("Parameters suggested from 64 patterns.")

    def _on_planned(self) -> None:
        """Show what is chosen, and what follows from it."""
        with signals_blocked(self.engine_box):
            self.engine_box.setCurrentIndex(self.engine_box.findData(self.planner.choice.detector))
        self._schedule_preview()
        self.refresh()

    def _on_parameters_set(self) -> None:
        parameters = self.session.detection_parameters
        if parameters is not None:
            self.form.set_value(parameters)

    def _on_position_changed(self) -> None:
        if self.session.position is None:
            self._preview_job.forget()
            self.preview_label.setText("Click a position in the map.")
            return
        self._schedule_preview()

    def _on_preview_toggled(self, wanted: bool) -> None:
        if wanted:
            self._schedule_preview()
        else:
            self._preview_job.forget()
            self.session.set_preview(None)
            self.preview_label.setText("")

    def _schedule_preview(self) -> None:
        if self.preview_box.isChecked() and self.isVisible():
            self._timer.start()

    def _start_preview(self) -> None:
        session, plan, position = self.session, self.planner.plan, self.session.position
        if session.datacube is not None and plan is not None and position is not None:
            self._preview_job.request((position, plan), partial(_seen, plan, position))

    def _on_preview(self, key: PreviewKey, result: Explained | str) -> None:
        session = self.session
        position, plan = key
        current = position == session.position and plan.datacube.data is getattr(
            session.datacube, "data", None
        )
        if not current or not self.preview_box.isChecked():
            return
        if isinstance(result, str):
            self.preview_label.setText(result)
            session.set_preview(None)
            return
        self._write_preview(result, position)
        session.set_preview(result)

    def _write_preview(self, result: Explained, position: tuple[int, int]) -> None:
        number = int(result.offsets[-1])
        words = f"{number} {'disk' if number == 1 else 'disks'} at row {position[0]}, column {position[1]}"
        if self.planner.choice.detector != "correlation":
            words += " (by the batched detector)"  # py4DSTEM's would make the window wait at first
        self.preview_label.setText(words)

    def _on_preview_error(self, key: PreviewKey, message: str) -> None:
        if key[0] == self.session.position:
            self.preview_label.setText(message)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Preview again: position or scan may have changed."""
        super().showEvent(event)
        self._schedule_preview()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802 - Qt's name
        """Leave the inspected pattern to the peaks that were detected."""
        super().hideEvent(event)
        self._timer.stop()
        if self.session.preview is not None:
            self.session.set_preview(None)

    # --- files ---------------------------------------------------------------------------------------------

    def _on_save(self) -> None:
        peaks = self.session.peaks
        if peaks is None:
            self.show_message("There are no Bragg peaks to save: detect or open some first.")
            return

        start = (self._folder() or Path()) / f"{peaks.name}_peaks.h5"
        path = ask_save_file(self, "Save Bragg peaks", start=start, kinds=PEAKS_KINDS)
        if path is not None:
            self.run(
                plain_job(partial(save_result, peaks, path, overwrite=True)),
                title=f"Saving {path.name}",
                on_done=lambda _: self._on_saved(peaks, path.name),
            )

    def _on_saved(self, peaks: BraggPeaks, name: str) -> None:
        self.session.mark_saved(peaks)
        self.show_message(f"Saved {name}.")

    def _on_open(self) -> None:
        from napari_stem_orient.io.peaks import open_bragg_peaks

        path = ask_open_file(
            self, "Open Bragg peaks", start=self._folder(), kinds=f"{PEAKS_KINDS};;All files (*)"
        )
        if path is not None:
            self.run(
                plain_job(lambda: open_bragg_peaks(path)),
                title=f"Opening {path.name}",
                on_done=partial(take_result, self),
            )

    def _folder(self) -> Path | None:
        datacube = self.session.datacube
        return None if datacube is None or datacube.path is None else datacube.path.parent

    # --- widgets -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring buttons and labels in line with the Session."""
        super().refresh()
        session = self.session
        running = session.stage_state(Stage.DETECT) is StageState.RUNNING
        can_resume = not running and self._plan_to_go_on() is not None
        free = not running and not session.stage_needs(Stage.DETECT)
        ready = free and self.planner.ready
        waiting = "Measuring…" if self.planner.busy else "Detect disks"
        self.run_button.setText("Resume" if can_resume else waiting)
        self.run_button.setEnabled(ready)
        self.start_over_button.setVisible(can_resume)
        self.resume_row.set_ready(free)
        self.save_button.setEnabled(session.peaks is not None)
        for widget in (self.chooser, self.mask_row, self.form, self.engine_row, self.suggest_button):
            widget.setEnabled(session.datacube is not None and not running)

    def _on_engine_chosen(self, index: int) -> None:
        self.planner.choose(detector=self.engine_box.itemData(index))

    def _make_engine_row(self) -> QWidget:
        self.engine_box = narrow_box()
        for detector in DETECTORS.values():
            self.engine_box.addItem(detector.title, detector.name)
        self.engine_box.setToolTip("The detector: our batched one, or py4DSTEM's (slower), to compare.")
        self.py4dstem_label = grey_without_py4dstem(self.engine_box, "py4DSTEM", what="The other engine")
        self.engine_box.currentIndexChanged.connect(self._on_engine_chosen)
        self.engine_row = QWidget()
        layout = form_layout(self.engine_row)
        layout.addRow(form_label("Engine"), self.engine_box)
        layout.addRow(self.py4dstem_label)
        return self.engine_row

    def _preview_row(self) -> QHBoxLayout:
        self.preview_box = QCheckBox("Preview")
        self.preview_box.setChecked(True)
        self.preview_box.setToolTip(
            "<qt>Detect in the clicked pattern whenever something changes, with the batched detector. The dock Inspect "
            "shows the disks in yellow and, as small signs, what is left out and why.</qt>"
        )
        self.preview_box.toggled.connect(self._on_preview_toggled)
        self.preview_label = plain_label("Click a position in the map.")
        self.suggest_button = QPushButton("Suggest")
        self.suggest_button.setToolTip(
            "Choose the parameters from 64 patterns of the scan, for this template."
        )
        self.suggest_button.clicked.connect(self._on_suggest)
        row = QHBoxLayout()
        row.addWidget(self.preview_box)
        row.addWidget(self.preview_label, 1)
        row.addWidget(self.suggest_button)
        return row

    def _button_row(self) -> QHBoxLayout:
        self.run_button = QPushButton("Detect disks")
        self.run_button.clicked.connect(self._on_run)
        self.start_over_button = QPushButton("Start over")
        self.start_over_button.clicked.connect(self._on_start_over)
        self.save_button = QPushButton("Save…")
        self.save_button.setToolTip("Save the Bragg peaks as py4DSTEM BraggVectors (.h5).")
        self.save_button.clicked.connect(self._on_save)
        self.open_button = QPushButton("Open…")
        self.open_button.setToolTip("Open Bragg peaks that this or py4DSTEM has saved.")
        self.open_button.clicked.connect(self._on_open)
        row = QHBoxLayout()
        row.addWidget(self.run_button, 2)
        for button in (self.start_over_button, self.save_button, self.open_button):
            row.addWidget(button, 1)
        return row


def _seen(plan: DetectPlan, position: tuple[int, int]) -> Explained | str:
    """The disks of one pattern, or in one line why they cannot be shown."""
    try:
        return look_at_pattern(plan, position)
    except (ValueError, OSError, IndexError) as error:
        return f"No preview: {error_message(error)}"
