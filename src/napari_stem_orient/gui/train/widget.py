"""TrainWidget: trains a model for crystals of one's own, live, with pause and resume, up to its use in Index."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent, QTextOption
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.throttle import Throttle
from napari_stem_orient.gui.jobs.workers import JobHandle, plain_job
from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.gui.parts.missing_values import stage_words
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.gui.train.form import TrainingForm
from napari_stem_orient.gui.train.jobs import (
    FolderContent,
    TrainingChoices,
    folder_content,
    reach_of,
    training_choices,
)
from napari_stem_orient.gui.train.plot import TrainingPlot
from napari_stem_orient.runs.training_process import Silence, train_in_child
from napari_stem_orient.runs.training_task import TrainingResult, TrainingTask
from napari_stem_orient.transformer.preparation import PreparationProgress

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.transformer.training_run import TrainingProgress

DRAWN_EVERY_MS = 300
_STATE_TOOLTIP = (
    "<qt>Patterns: how many simulated ones the network has seen. Loss: what the training makes small. Best candidate: "
    "median angle from the truth of the best of the orientations that it proposes. Held out: the same on patterns "
    "that it never learns from. Warming up: the learning rate rises.</qt>"
)
SMALLEST = (376, 250)  # below another dock on a small screen


class TrainWidget(JobPanel):
    """A panel of its own beside the stages; what is paused or cancelled can be gone on with, also another day.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session lends crystals, voltage and reach, and takes the model.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._choices_asked = False
        self._job: JobHandle[TrainingProgress | PreparationProgress | Silence, TrainingResult] | None = None
        self._task: TrainingTask | None = None
        self._latest: TrainingProgress | None = None
        self._content: FolderContent | None = None
        self._pausing = False
        self._result: TrainingResult | None = None
        self.form = TrainingForm(self)
        self.form_folding = Folding("What to train", self.form, unfolded=True)
        self.stopped_label = self.link_label(stage_words())
        self.state_label = plain_label()
        self.state_label.setToolTip(_STATE_TOOLTIP)
        self.plot = TrainingPlot()
        self.plot.setMinimumHeight(220)
        self._fill_scroll_area()
        self._draw = Throttle(self._on_draw, interval_ms=DRAWN_EVERY_MS, parent=self)
        self._looking: LatestJob[tuple[Path, tuple[Crystal, ...]], FolderContent] = LatestJob(
            title="Look into the folder", on_result=self._on_content, on_error=self._on_no_content
        )
        self._measuring: LatestJob[None, float | None] = LatestJob(
            title="Find how far out disks lie", on_result=self._on_reach, on_error=self._on_no_content
        )
        when_destroyed(self, LatestJob.close, self._looking)
        when_destroyed(self, LatestJob.close, self._measuring)
        self.form.changed.connect(self._on_form_changed)
        self._connections.connect(napari_viewer.events.theme, self._on_theme_changed)
        self.watch(("calibration", "peaks"), self._on_measurement_changed)
        self._on_theme_changed()
        self._on_measurement_changed()
        self.propose(self.session.crystals)
        self.refresh()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the form and the curves, where there is room."""
        return QSize(SMALLEST[0], 640)

    def propose(self, crystals: tuple[Crystal, ...]) -> None:
        """Train for these crystals; nothing changes while a training runs."""
        if not self.running and crystals:
            self.form.choice.set_crystals(crystals)
            self.form_folding.set_unfolded(True)

    @property
    def running(self) -> bool:
        """Whether a training runs."""
        return self._job is not None

    def box_of(self, name: str) -> QWidget | None:
        """Return where the crystals of the training, or its name, are given."""
        box = {"crystals": self.form.crystals.add_box, "name": self.form.name_edit}.get(name)
        if box is not None:
            self.form_folding.set_unfolded(True)
        return box

    # --- running -------------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        task = self.form.task()
        if task is None:
            self.refresh()
            return
        self.plot.clear_curves()
        known = self._content or FolderContent(None, None, None)
        self._start(dataclasses.replace(task, replaces=known.model_name, discards=known.stopped is not None))

    def _on_resume(self) -> None:
        task = self.form.task()
        stopped = None if self._content is None else self._content.stopped
        if task is None or stopped is None:
            self.refresh()
            return
        if self._task is None or self._task.output != task.output:
            self.plot.clear_curves()
            for evaluation in stopped.state.history:
                self.plot.add_evaluation(evaluation)
        self._start(dataclasses.replace(task, resume=True))

    def _start(self, task: TrainingTask) -> None:
        self._task, self._latest, self._result, self._pausing = task, None, None, False
        self._job = self.run(
            train_in_child(task),
            title="Training",
            on_record=self._on_record,
            on_done=self._on_done,
            on_stopped=self._on_stopped,
            on_error=self._on_error,
        )
        self.state_label.setText("Starting …")
        self.form_folding.set_unfolded(False)
        self.refresh()

    def _on_pause(self) -> None:
        if self._job is not None:
            self._pausing = True
            self.pause_button.setEnabled(False)
            self._job.cancel()

    def _on_record(self, record: TrainingProgress | PreparationProgress | Silence) -> None:
        if isinstance(record, Silence):
            return
        if isinstance(record, PreparationProgress):
            self.state_label.setText(preparation_text(record))
            return
        self._latest = record
        self.plot.add(record)
        if record.notice:
            self.show_message(record.notice)
        self._draw()

    def _on_draw(self) -> None:
        self.plot.draw()
        if self._latest is not None:
            self.state_label.setText(training_text(self._latest, running=self.running))

    def _on_done(self, result: TrainingResult) -> None:
        self._end()
        self._result = result
        self.report_view.setMarkdown(result.report)
        self.show_message(f"The model is in {result.folder}.")
        self.refresh()
        QTimer.singleShot(0, self._reveal_report)

    def _reveal_report(self) -> None:
        self._scroll_area.ensureWidgetVisible(self.use_button)

    def _on_stopped(self) -> None:
        task, paused = self._task, self._pausing
        self._end()
        if task is not None:
            word = "Paused" if paused else "Cancelled"
            learned = self._latest is not None and self._latest.patterns
            kept = f"what was learned is kept in {task.output}" if learned else "nothing was learned yet"
            self.show_message(f"{word}; {kept}.")
        self.refresh()

    def _on_error(self, _: str) -> None:
        self._end()
        self.refresh()

    def _end(self) -> None:
        """Settle what belongs to a job that has ended, however that was."""
        self._job = None
        self._draw.stop()
        self._on_draw()
        self._look_into_folder()

    def _on_use(self) -> None:
        if self._result is not None:
            self.session.offer_model(self._result.folder, self._result.crystals)
            self.show_message("Index uses the model now.")

    # --- choices -------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Load what the panel offers when it is first looked at: torch takes seconds."""
        super().showEvent(event)
        if not self._choices_asked:
            self._choices_asked = True
            self.run(
                plain_job(training_choices),
                title="Loading torch",
                on_done=self._on_choices,
                on_error=self._on_no_choices,
            )

    def _on_choices(self, choices: TrainingChoices) -> None:
        self.form.set_choices(choices)
        self.refresh()

    def _on_no_choices(self, _: str) -> None:
        self._choices_asked = False  # to try again when the panel is looked at again

    def _on_measurement_changed(self) -> None:
        calibration, peaks = self.session.calibration, self.session.peaks
        if self.running:
            return
        if calibration is not None:
            self.form.set_voltage(calibration.voltage_kv)
        if peaks is not None:
            self._measuring.request(None, partial(reach_of, peaks))

    def _on_reach(self, _: None, reach: float | None) -> None:
        if reach is not None and not self.running:
            self.form.set_reach(reach)

    def _on_form_changed(self) -> None:
        self._look_into_folder()
        self.refresh()

    def _look_into_folder(self) -> None:
        """See whether a stopped training lies in the chosen folder."""
        self._content = None
        output, crystals = self.form.output, self.form.choice.crystals
        if output is not None and self.form.parameters_form is not None:
            self._looking.request((output, crystals), partial(folder_content, output, crystals))

    def _on_content(self, key: tuple[Path, tuple[Crystal, ...]], content: FolderContent) -> None:
        if key == (self.form.output, self.form.choice.crystals):
            self._content = content
            self.form.show_nearest(content.nearest)
            self.refresh()

    def _on_no_content(self, _: object, message: str) -> None:
        self.show_message(message)

    def _on_theme_changed(self, _: object = None) -> None:
        self.plot.apply_theme(theme_colours(self.viewer))

    # --- widgets -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the buttons in line with what runs and what lies in the folder."""
        running, ready = self.running, self.form.task() is not None
        stopped = None if running or self._content is None else self._content.stopped
        self.form.setEnabled(not running)
        self.start_button.setText(self._start_text())
        self.start_button.setVisible(not running)
        self.start_button.setEnabled(ready)
        self.resume_button.setVisible(stopped is not None)
        self.pause_button.setVisible(running)
        self.pause_button.setEnabled(running and not self._pausing)
        self.stopped_label.setText(self._what_runs() if running else self._what_lies_there())
        self.stopped_label.setVisible(bool(self.stopped_label.text()))
        self.plot.setVisible(running or self._task is not None)
        self.state_label.setVisible(running or (self._latest is not None and self._result is None))
        self.result_box.setVisible(self._result is not None)

    def _start_text(self) -> str:
        """What the button does: a model that lies in the folder is not given up without a word."""
        if self._content is not None and self._content.stopped is not None:
            return "Start over"
        return "Start" if self._content is None or self._content.model_name is None else "Replace"

    def _what_runs(self) -> str:
        if self._task is None:
            return ""
        stopped = None if self._content is None else self._content.stopped
        crystals = stopped.settings.crystals if self._task.resume and stopped else self._task.crystals
        return f"Training for {', '.join(crystal.name for crystal in crystals)}, kept in {self._task.output}."

    def _what_lies_there(self) -> str:
        if not self.form.choice.crystals:
            return "Needs a crystal: add one above."
        if self.form.output is None:
            return "" if self.form.parameters_form is None else "Needs a name to save it as."
        if self._content is None:
            return ""
        name = self._content.model_name
        if self._content.stopped is not None:
            settings, state = self._content.stopped.settings, self._content.stopped.state
            names = ", ".join(crystal.name for crystal in settings.crystals)
            percent = f"{100 * min(1.0, state.fraction):.0f} %" if state.fraction >= 0.01 else "less than 1 %"
            return (
                f"Here lies a training for {names} that was stopped at {percent}: Resume goes on as it was begun, "
                "Start over discards it."
            ) + ("" if name is None else f" Either replaces the model {name}, which lies here, too.")
        if name is not None:
            return f"Here lies the model {name}: Replace trains another in its place. To keep it, save as another name."
        return ""

    def _fill_scroll_area(self) -> None:
        """Everything but the job's bar and message scrolls: a window must not outgrow its screen."""
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 4, 0)
        column.setSpacing(4)
        for widget in (
            self.form_folding,
            self.stopped_label,
            self._button_row(),
            self.plot,
            self.state_label,
        ):
            column.addWidget(widget)
        column.addWidget(self._result_view(), 1000)  # the empty room below belongs to the report
        column.addStretch(1)
        area = self._scroll_area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        area.setMinimumSize(*SMALLEST)
        self.content.addWidget(area)
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.setStretchFactor(self.content, 1000)  # the empty room below belongs to it

    def _button_row(self) -> QWidget:
        self.start_button, self.resume_button = QPushButton("Start"), QPushButton("Resume")
        self.pause_button = QPushButton("Pause")
        self.resume_button.setToolTip("Go on with the training that lies in the folder.")
        self.pause_button.setToolTip("Stop within a second; Resume goes on, also after a restart.")
        self.start_button.clicked.connect(self._on_start)
        self.resume_button.clicked.connect(self._on_resume)
        self.pause_button.clicked.connect(self._on_pause)
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.resume_button, self.pause_button, self.start_button):
            row.addWidget(button, 1)
        return buttons

    def _result_view(self) -> QWidget:
        self.report_view = QTextBrowser()
        self.report_view.setMinimumHeight(200)
        self.report_view.setWordWrapMode(
            QTextOption.WrapMode.WordWrap
        )  # not within the numbers of its tables
        self.report_view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.use_button = QPushButton("Use in Index")
        self.use_button.setToolTip("Index with this model, and with the crystals that it was trained for.")
        self.use_button.clicked.connect(self._on_use)
        self.result_box = QWidget()
        layout = QVBoxLayout(self.result_box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.report_view)
        layout.addWidget(self.use_button)
        return self.result_box


def training_text(progress: TrainingProgress, *, running: bool = True) -> str:
    """Say in a line how a training goes, or how far it has come."""
    part = [progress.part.value[:1].upper() + progress.part.value[1:]] if running else []
    words = [*part, f"{progress.patterns:,} patterns"]
    if progress.patterns and progress.loss == progress.loss:
        words += [f"loss {progress.loss:.3f}", f"best candidate off by {progress.best_error_deg:.2f}°"]
    if progress.lowest_held_out_deg is not None:
        words.append(f"held out {progress.lowest_held_out_deg:.2f}° at best")
    return " · ".join(words)


def preparation_text(preparation: PreparationProgress) -> str:
    """Say what a training does before it learns."""
    if preparation.progress.total < 2:
        return f"{preparation.text} …"
    return f"{preparation.text}: {preparation.progress}"
