"""JobPanel and StagePanel: what panels share: messages and the jobs that run; for the stages state and needs too."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from psygnal import Signal, SignalInstance
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stem_orient.core.progress import Record
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.connections import Connections, when_destroyed
from napari_stem_orient.gui.jobs.workers import JobHandle, error_message, log_error, start_job
from napari_stem_orient.gui.parts.job_bar import JobBar
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.gui.parts.missing_values import LinkLabel, Wanted, enter, show_box, stage_words
from napari_stem_orient.gui.parts.panel import Panel
from napari_stem_orient.gui.parts.wheel_guard import guard_wheel
from napari_stem_orient.session.rules import RULE_FIELDS, StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    import napari

RecordType = TypeVar("RecordType", bound=Record)
ResultType = TypeVar("ResultType")

STATE_SIGNS = {
    StageState.BLOCKED: "○",
    StageState.READY: "●",
    StageState.RUNNING: "▶",
    StageState.DONE: "✓",
    StageState.STALE: "⚠",
}


class JobPanel(Panel):
    """A panel that runs jobs, shows how far they are and says in one line how they ended.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._connections = Connections()
        self.message_label = self.link_label()
        self.message_label.hide()
        self.job_bar = JobBar()
        self.content = QVBoxLayout()
        self.content.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 6)
        layout.setSpacing(4)
        layout.addLayout(self.content)
        layout.addWidget(self.job_bar)
        layout.addWidget(self.message_label)
        layout.addStretch(1)
        self._failed = False  # the last job
        self._jobs: list[JobHandle[Any, Any]] = []
        when_destroyed(self, _let_go, self._connections, self._jobs)
        guard_wheel(self)
        self.listen(self.session.value_wanted, self._on_value_wanted)

    def link_label(self, words: Mapping[str, str] | None = None) -> LinkLabel:
        """Make a label in which words are links to boxes; the names of missing values where none are given."""
        label = LinkLabel(self.viewer, self._connections, words=words)
        label.linkActivated.connect(self.fill_in)
        return label

    def fill_in(self, name: str) -> None:
        """Show the box of something that is missing, here or in another panel."""
        box = self.box_of(name)
        if box is None:
            show_box(self.viewer, self.session, name)
        else:
            self._show_box(box)

    def box_of(self, name: str) -> QWidget | None:
        """Return the box where something that is missing is filled in, ready to be seen; None if it is not here."""
        del name
        return None

    def listen(self, signal: SignalInstance, slot: Callable[..., object]) -> None:
        """Connect a signal to a method of this widget, for as long as the widget lives."""
        self._connections.connect(signal, slot)

    def watch(self, names: tuple[str, ...], slot: Callable[[], object]) -> None:
        """Call a method of this widget whenever any of these fields of the Session's state has changed."""
        self._connections.watch(self.session, names, slot)

    def _on_value_wanted(self, wanted: Wanted) -> None:
        box = None if wanted.shown else self.box_of(wanted.name)
        if box is not None:
            wanted.shown = True
            self._show_box(box)

    def _show_box(self, box: QWidget) -> None:
        enter(box)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Have the window, which the panel is docked in by now, ask before it closes over unsaved results."""
        super().showEvent(event)
        leaving_of(self.session).watch(self)

    def run(
        self,
        generator: Generator[RecordType, None, ResultType],
        *,
        title: str,
        stage: Stage | None = None,
        about_scan: bool = False,
        on_record: Callable[[RecordType], object] | None = None,
        on_done: Callable[[ResultType], object] | None = None,
        on_stopped: Callable[[], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> JobHandle[RecordType, ResultType]:
        """Start a job of this widget; with a stage, that stage is running until the job has ended.

        An error shows as a message in the panel. The job is discarded when the widget goes and, where it has a stage or
        is ``about_scan``, when another scan is opened.
        """
        self.show_message("")
        self._failed = False

        def tell(message: str) -> None:
            self._failed = True
            self.show_message(message)
            if on_error is not None:
                on_error(message)

        job = start_job(
            generator, title=title, on_record=on_record, on_done=on_done, on_stopped=on_stopped, on_error=tell
        )
        self._jobs.append(job)
        job.ended.connect(partial(_forget, self._jobs, self.session, job, stage))
        if stage is not None:
            self.session.begin(stage, job)
        else:
            self.job_bar.watch(job)
        if about_scan:
            self.session.attend(job)
        return job

    def adopt(self, job: JobHandle[Any, Any]) -> None:
        """End a job that was started elsewhere, and may still run, when this widget goes."""
        self._jobs.append(job)
        job.ended.connect(partial(_forget, self._jobs, self.session, job, None))

    def attempt(self, action: Callable[[], ResultType]) -> ResultType | None:
        """Do something short; an error shows as a message of one line, and None is returned."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - no click may end in a traceback
            log_error(error, what=type(self).__name__)
            self.show_message(error_message(error))
            return None


class StagePanel(JobPanel):
    """Base of the stage widgets; each is whole by itself, and they meet in the Session only.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage: ClassVar[Stage]
    asks = Signal()  # the panel has a question that must be seen
    goes_on = Signal()  # the user has done with the panel
    must_be_seen = Signal(object)  # a widget of the panel that says what the user should not miss

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        map_layers_of(napari_viewer, self.session)
        self.state_label = self.link_label(stage_words())
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.indexOf(self.message_label) + 1, self.state_label)
        self.watch(RULE_FIELDS, self._on_stages_changed)
        if self.stage is not Stage.OPEN:
            self.watch(("opening",), self._on_another_scan)

    @property
    def wants_attention(self) -> bool:
        """Whether the panel has something to say that must stay in sight: why its last job failed, or a question."""
        return self._failed

    def refresh(self) -> None:
        """Bring the buttons in line with the state of the stage; subclasses extend this."""
        state = self.session.stage_state(self.stage)
        self.state_label.setText(state_sentence(self.session, self.stage))
        self.state_label.setVisible(state in (StageState.BLOCKED, StageState.STALE))
        job = self.session.running_job(self.stage)
        if isinstance(job, JobHandle):
            self.job_bar.watch(job)

    def _show_box(self, box: QWidget) -> None:
        """Have the desk unfold the panel, and scroll to the box."""
        self.asks.emit()
        self.must_be_seen.emit(box)
        super()._show_box(box)

    def _on_another_scan(self) -> None:
        """Take back what was said of the scan before."""
        self.show_message("")

    def _on_stages_changed(self) -> None:
        self.refresh()


def state_sentence(session: Session, stage: Stage) -> str:
    """Say what a stage still needs, or why its result is out of date; empty where there is nothing to say."""
    reason = session.stale_because(stage)
    if session.stage_state(stage) is StageState.STALE and reason:
        return f"Out of date: {reason}."
    needs = session.stage_needs(stage)
    return f"Needs {_listed(needs)}." if needs else ""


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _forget(
    jobs: list[JobHandle[Any, Any]], session: Session, job: JobHandle[Any, Any], stage: Stage | None
) -> None:
    if job in jobs:
        jobs.remove(job)
    if stage is not None:
        session.end(stage, job)


def _let_go(connections: Connections, jobs: list[JobHandle[Any, Any]]) -> None:
    """Undo what ties a widget that is gone to its Session, and wait for its jobs."""
    connections.disconnect_all()
    for job in list(jobs):
        job.join()
