"""start_job: a generator run in a thread, its records taken in the main thread; the only threaded lines."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QTimer

from napari_stem_orient.core.progress import Progress, Record

RecordType = TypeVar("RecordType", bound=Record)
ResultType = TypeVar("ResultType")

_LOGGER = logging.getLogger(__name__)
_QUEUED_RECORDS = 64  # the worker waits when the window has not taken this many yet: bounded memory
_TICK_MS = 30
_DLL_INIT_FAILED = 1114  # Windows, torch imported after Qt
_TICK_BUDGET_S = 0.02  # time a tick may spend on records before the window gets its turn


class JobHandle(Generic[RecordType, ResultType]):
    """A running job, seen from the main thread.

    The worker thread touches no Qt object: it puts records into a queue that a timer of the main thread
    empties. Every record is handed over, in order, unless the job was discarded.

    Attributes
    ----------
    progressed
        Emitted with each Progress.
    ended
        Emitted once, whatever the end was, after the callback of that end.
    title, progress
        What the user reads; progress is None before the first record.
    background
        Whether nobody waits for it.
    """

    progressed = Signal(object)
    ended = Signal()

    def __init__(
        self,
        generator: Generator[RecordType, None, ResultType],
        *,
        title: str,
        on_record: Callable[[RecordType], object] | None,
        on_done: Callable[[ResultType], object] | None,
        on_error: Callable[[str], object] | None,
        on_stopped: Callable[[], object] | None,
        background: bool = False,
    ) -> None:
        self.title = title
        self.background = background
        self.progress: Progress | None = None
        self._on_record, self._on_done = on_record, on_done
        self._on_error, self._on_stopped = on_error, on_stopped
        self._stop = threading.Event()
        self._discarded = False
        self._running = True
        self._first: tuple[float, int] | None = None  # when the first record came, and what was done then
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(_QUEUED_RECORDS)
        self._thread = threading.Thread(
            target=_run, args=(generator, self._queue, self._stop), name=f"job: {title}", daemon=True
        )
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._take_records)

    @property
    def running(self) -> bool:
        """Whether the job has not ended yet, a stop being asked for or not."""
        return self._running

    @property
    def working(self) -> bool:
        """Whether the worker still works on it, and was not asked to stop."""
        return self._thread.is_alive() and not self._stop.is_set()

    @property
    def stopping(self) -> bool:
        """Whether the job was asked to stop."""
        return self._stop.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace since the first record; None before there is one."""
        if self._first is None or self.progress is None:
            return None
        done = self.progress.done - self._first[1]
        if done <= 0:
            return None
        pace = (time.monotonic() - self._first[0]) / done
        return pace * (self.progress.total - self.progress.done)

    def cancel(self) -> None:
        """Stop at the next yield; what is done by then is still handed over, then `on_stopped` is called."""
        self._stop.set()

    def discard(self) -> None:
        """Stop at the next yield and hand over nothing more: no record and no callback."""
        self._discarded = True
        self._stop.set()

    def join(self, *, timeout_s: float = 10.0) -> bool:
        """Discard the job and wait until its thread has ended; False if it has not by then."""
        self.discard()
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._empty_queue()
            self._thread.join(0.01)
        self._finish()
        return not self._thread.is_alive()

    def _start(self) -> None:
        _live_jobs.add(self)
        self._thread.start()
        self._timer.start()

    def _take_records(self) -> None:
        deadline = time.monotonic() + _TICK_BUDGET_S
        while self._running and time.monotonic() < deadline:
            try:
                kind, value = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._take(kind, value)
            except Exception as error:  # noqa: BLE001 - whatever a callback raises ends the job, in words
                self._fail(error)

    def _take(self, kind: str, value: Any) -> None:
        if kind == "record" and not self._discarded:
            if self._on_record is not None:
                self._on_record(value)
            self._note_progress(value.progress)
        elif kind != "record":
            callback = {"done": self._on_done, "stopped": self._on_stopped, "error": self._report}[kind]
            arguments = () if kind == "stopped" else (value,)
            try:
                if callback is not None and not self._discarded:
                    callback(*arguments)
            finally:
                self._thread.join()
                self._finish()

    def _note_progress(self, progress: Progress) -> None:
        before = self.progress
        if before is None or (before.unit, before.total) != (progress.unit, progress.total):
            self._first = (time.monotonic(), progress.done)  # the next part has a pace of its own
        self.progress = progress
        self.progressed.emit(progress)

    def _fail(self, error: Exception) -> None:
        self.discard()
        self._report(error)

    def _report(self, error: BaseException) -> None:
        log_error(error, what=self.title)
        message = error_message(error)
        if self._on_error is not None:
            self._on_error(message)
        show_error(f"{self.title}: {message}")

    def _empty_queue(self) -> None:
        while not self._queue.empty():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _finish(self) -> None:
        if not self._running:
            return
        self._running = False
        self._timer.stop()
        self._timer.deleteLater()
        _live_jobs.discard(self)
        application = QCoreApplication.instance()
        if application is not None and not _live_jobs:
            application.aboutToQuit.disconnect(_join_all_jobs)
        self._on_record = self._on_done = self._on_error = self._on_stopped = None
        self.ended.emit()


# Jobs whose threads may still run: a handle outlives its thread, and all of them end with the program.
_live_jobs: set[JobHandle[Any, Any]] = set()


def start_job(
    generator: Generator[RecordType, None, ResultType],
    *,
    title: str,
    on_record: Callable[[RecordType], object] | None = None,
    on_done: Callable[[ResultType], object] | None = None,
    on_error: Callable[[str], object] | None = None,
    on_stopped: Callable[[], object] | None = None,
    background: bool = False,
) -> JobHandle[RecordType, ResultType]:
    """Run a job in a thread of its own; the callbacks run in the main thread, which must be the caller's.

    Exactly one of `on_done`, `on_error` and `on_stopped` is called, last, unless the job is discarded. An
    error is also shown as a napari notification, in one line.

    Parameters
    ----------
    generator
        The job; it is given a snapshot, never a live widget or layer, and is closed in its own thread.
    title
        What the job is called in the progress bar and in errors.
    on_record, on_done, on_error, on_stopped
        Take a record, the result, a message of one line, and nothing.
    background
        Nobody waits for it: see `somebody_waits`.
    """
    application = QCoreApplication.instance()
    if application is not None and not _live_jobs:
        application.aboutToQuit.connect(_join_all_jobs)
    job = JobHandle(
        generator,
        title=title,
        on_record=on_record,
        on_done=on_done,
        on_error=on_error,
        on_stopped=on_stopped,
        background=background,
    )
    job._start()  # noqa: SLF001 - the handle is of this module
    return job


def somebody_waits() -> bool:
    """Whether a job runs that the user waits for; what is done ahead of time leaves it the processor meanwhile."""
    return any(not job.background and job.working for job in tuple(_live_jobs))


class PlainProgress:
    """The record of a job that cannot tell how far it is."""

    __slots__ = ("progress",)

    def __init__(self, done: int) -> None:
        self.progress = Progress(done, 1, "steps")


def plain_job(function: Callable[[], ResultType]) -> Generator[PlainProgress, None, ResultType]:
    """Make a job of a function that is short but may wait for a disk: opening and saving files."""
    yield PlainProgress(0)
    return function()


def error_message(error: BaseException) -> str:
    """Say an exception in one line, for the person at the microscope."""
    text = " ".join(str(error).split())
    if getattr(error, "winerror", None) == _DLL_INIT_FAILED:
        return f"{text}; torch's libraries could not be loaded: install the Microsoft Visual C++ runtime, or restart"
    if isinstance(error, (ValueError, OSError, ImportError, IndexError, RuntimeError)) and text:
        return text
    if isinstance(error, MemoryError):
        return text or "the memory ran out: close other programs, or use a smaller scan"
    return f"unexpected {type(error).__name__}: {text}" if text else f"unexpected {type(error).__name__}"


def log_error(error: BaseException, *, what: str) -> None:
    """Keep the traceback for whoever looks into the log; the user reads `error_message`."""
    # as text: a kept exception would keep alive every frame that it went through
    _LOGGER.info("%s failed:\n%s", what, "".join(traceback.format_exception(error)))


def _run(
    generator: Generator[Any, None, Any],
    records: queue.Queue[tuple[str, Any]],
    stop: threading.Event,
) -> None:
    """Body of the worker thread: run the generator to its end or to a stop, and close it here."""
    _leave_one_core()
    end: tuple[str, Any] = ("stopped", None)
    try:
        while not stop.is_set():
            try:
                records.put(("record", next(generator)))
            except StopIteration as finished:
                end = ("done", finished.value)
                break
        generator.close()
    except BaseException as error:  # noqa: BLE001 - nothing may end the thread without a word
        end = ("error", error)
    records.put(end)


def _leave_one_core() -> None:
    """Keep torch from taking every core of the computer, which would make the window stutter."""
    torch = sys.modules.get("torch")
    if torch is not None:
        from napari_stem_orient.device import worker_threads

        torch.set_num_threads(min(torch.get_num_threads(), worker_threads()))


def _join_all_jobs() -> None:
    for job in list(_live_jobs):
        job.join()
