"""The bar over a running job: words, time left and Cancel."""

from __future__ import annotations

import time
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_stem_orient.core.progress import Progress
from napari_stem_orient.gui.jobs.workers import plain_job, start_job
from napari_stem_orient.gui.parts.job_bar import JobBar, time_left
from patience import Until

pytestmark = pytest.mark.bindings


def frames(total: int) -> Generator[Any, None, None]:
    for done in range(1, total + 1):
        time.sleep(0.005)
        yield SimpleNamespace(progress=Progress(done, total, "frames"))


@pytest.fixture
def bar(qtbot: QtBot) -> JobBar:
    bar = JobBar()
    qtbot.addWidget(bar)
    return bar


def test_the_bar_tells_frames_and_time_left_and_its_cancel_stops_the_job(
    qtbot: QtBot, until: Until, bar: JobBar
) -> None:
    assert bar.isHidden()
    stopped: list[bool] = []
    job = start_job(frames(5000), title="Detect", on_stopped=lambda: stopped.append(True))
    bar.watch(job)
    assert not bar.isHidden()
    until(lambda: "of 5,000 frames · " in bar.label.text() and bar.label.text().endswith(" left"))
    assert bar.bar.value() > 0
    qtbot.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    assert not bar.cancel_button.isEnabled()
    until(lambda: not job.running)
    assert stopped
    assert bar.isHidden()


def test_a_job_that_cannot_tell_how_far_it_is_shows_its_title(until: Until, bar: JobBar) -> None:
    job = start_job(plain_job(lambda: time.sleep(0.2)), title="Saving peaks")
    bar.watch(job)
    assert bar.label.text() == "Saving peaks …"
    until(bar.isHidden)
    assert bar.job is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s left"), (12.4, "12 s left"), (200, "3 min left"), (3900, "1 h 5 min left")],
)
def test_time_left_is_said_in_the_units_that_matter(seconds: float, words: str) -> None:
    assert time_left(seconds) == words


def test_the_next_part_of_a_job_has_a_pace_of_its_own(qtbot: QtBot, until: Until) -> None:
    def parts() -> Generator[Any, None, None]:
        for done in range(1, 101):
            yield SimpleNamespace(progress=Progress(done, 100, "zone axes"))
        yield from frames(1000)

    job = start_job(parts(), title="Train")
    until(lambda: job.progress is not None and job.progress.unit == "frames" and job.progress.done > 60)
    assert job.seconds_left is not None
    # At 5 ms or more a frame; with the quick part before them they would have seemed to take a fraction of that.
    assert job.seconds_left > 0.005 * 800
    assert job.join()
