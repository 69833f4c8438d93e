"""What start_job promises: every record in order, one ending, a stop within a second, no thread left."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.progress import Progress
from napari_stem_orient.gui.jobs import workers
from napari_stem_orient.gui.jobs.workers import error_message, plain_job, start_job
from patience import Until

pytestmark = pytest.mark.bindings


@dataclass
class Number:
    value: int
    progress: Progress


class Ends:
    """Collects what the callbacks are given."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.ends: list[Any] = []
        self.threads: set[str] = set()

    def record(self, number: Number) -> None:
        self.threads.add(threading.current_thread().name)
        self.records.append(number.value)

    def done(self, result: Any) -> None:
        self.ends.append(("done", result))

    def error(self, message: str) -> None:
        self.ends.append(("error", message))

    def stopped(self) -> None:
        self.ends.append(("stopped",))

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_record": self.record,
            "on_done": self.done,
            "on_error": self.error,
            "on_stopped": self.stopped,
        }


def counting(
    total: int, *, closed: list[str] | None = None, pause_s: float = 0.0
) -> Generator[Number, None, str]:
    try:
        for value in range(total):
            time.sleep(pause_s)
            yield Number(value, Progress(value + 1, total, "frames"))
        return "result"
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


@pytest.fixture(autouse=True)
def no_job_left(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Generator[list[str], None, None]:
    shown: list[str] = []
    monkeypatch.setattr(workers, "show_error", shown.append)
    yield shown
    assert not workers._live_jobs
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("job:")]


def test_every_record_arrives_in_order_in_the_main_thread(until: Until) -> None:
    ends = Ends()
    job = start_job(counting(500), title="Count", **ends.callbacks())
    until(lambda: not job.running)
    assert ends.records == list(range(500))
    assert ends.ends == [("done", "result")]
    assert ends.threads == {threading.main_thread().name}
    assert job.progress == Progress(500, 500, "frames")


def test_a_cancelled_job_stops_within_a_second_keeps_what_is_done_and_closes_in_its_own_thread(
    until: Until,
) -> None:
    ends, closed = Ends(), []
    job = start_job(counting(10_000, closed=closed, pause_s=0.01), title="Count", **ends.callbacks())
    until(lambda: len(ends.records) > 5)
    assert job.seconds_left is not None
    job.cancel()
    until(lambda: not job.running)
    assert ends.ends == [("stopped",)]
    assert ends.records == list(range(len(ends.records)))
    assert closed == ["job: Count"]


def test_a_discarded_job_says_nothing_more(until: Until) -> None:
    ends = Ends()
    job = start_job(counting(10_000, pause_s=0.001), title="Count", **ends.callbacks())
    until(lambda: bool(ends.records))
    job.discard()
    before = len(ends.records)
    until(lambda: not job.running)
    assert len(ends.records) == before
    assert ends.ends == []


def test_a_full_queue_does_not_keep_a_job_from_being_joined(qtbot: QtBot) -> None:
    closed: list[str] = []
    job = start_job(counting(100_000, closed=closed), title="Count")
    assert job.join()
    assert closed == ["job: Count"]
    assert not job.running


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ValueError("pixel size 0 is not positive;\n give it in 1/Å"),
            "pixel size 0 is not positive; give it in 1/Å",
        ),
        (RuntimeError("CUDA out of memory"), "CUDA out of memory"),
        (KeyError("peaks"), "unexpected KeyError: 'peaks'"),
    ],
)
def test_an_error_becomes_one_line_in_the_panel_and_a_notification(
    until: Until, no_job_left: list[str], error: Exception, expected: str
) -> None:
    def failing() -> Generator[Number, None, None]:
        yield Number(0, Progress(1, 2, "frames"))
        raise error

    ends = Ends()
    job = start_job(failing(), title="Fail", **ends.callbacks())
    until(lambda: not job.running)
    assert ends.records == [0]
    assert ends.ends == [("error", expected)]
    assert no_job_left == [f"Fail: {expected}"]


def test_an_error_while_painting_ends_the_job_with_a_message(until: Until, no_job_left: list[str]) -> None:
    def refuse(_: Number) -> None:
        raise ValueError("cannot paint")

    ends = Ends()
    job = start_job(
        counting(10_000, pause_s=0.001), title="Count", **{**ends.callbacks(), "on_record": refuse}
    )
    until(lambda: not job.running)
    assert ends.ends == [("error", "cannot paint")]
    assert no_job_left == ["Count: cannot paint"]


def test_ended_is_emitted_once_after_the_callback(until: Until) -> None:
    ends = Ends()
    job = start_job(plain_job(lambda: "saved"), title="Save", on_done=ends.done)

    @job.ended.connect
    def note() -> None:
        ends.ends.append("ended")

    until(lambda: not job.running)
    assert ends.ends == [("done", "saved"), "ended"]


def test_an_error_without_words_names_its_kind() -> None:
    assert error_message(ValueError()) == "unexpected ValueError"
    assert "memory" in error_message(MemoryError())
