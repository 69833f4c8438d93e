"""A training in a process of its own: the same records and result, stopped at once, and a crash told in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.runs.training_process import Silence, TrainingFailedError, train_in_child
from napari_stem_orient.runs.training_task import TrainingResult, TrainingTask
from napari_stem_orient.transformer.checkpoint import has_checkpoint, read_checkpoint
from napari_stem_orient.transformer.network import TransformerConfig
from napari_stem_orient.transformer.preparation import PreparationProgress
from napari_stem_orient.transformer.training_parameters import TrainingParameters
from napari_stem_orient.transformer.training_run import TrainingProgress

SMALL = TransformerConfig(width=16, layers=1, heads=2)
SHORT = TrainingParameters(steps=12, batch_size=8, simulation="kinematic", evaluations=1, network=SMALL)
ENDLESS = SHORT.model_copy(update={"steps": 10**6})


def task_in(folder: Path, parameters: TrainingParameters = SHORT, **changes: Any) -> TrainingTask:
    given = {"start_from": "none", "device": "cpu", **changes}
    return TrainingTask((load_crystal("Si"),), parameters, folder / "model", **given)


def run(job: Generator[Any, None, TrainingResult]) -> tuple[list[Any], TrainingResult]:
    records = []
    while True:
        try:
            records.append(next(job))
        except StopIteration as finished:
            return records, finished.value


def until_learning(job: Generator[Any, None, TrainingResult]) -> TrainingProgress:
    return next(r for r in job if isinstance(r, TrainingProgress) and r.patterns > 0)


def children(of: int | None = None) -> set[int]:
    """The trainings' processes that this process, or another one, has started and that are there still."""
    words = ["ps", "-ww", "--ppid", str(of or os.getpid()), "-o", "pid=,args="]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)
    found = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return {int(pid) for pid, words in found if "training_process" in words}


def is_there(process: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_task_comes_out_of_json_as_it_went_in(tmp_path: Path) -> None:
    task = task_in(tmp_path, resume=True, replaces="old", discards=True, whole_structure_type=True)
    assert TrainingTask.from_dict(task.to_dict()) == task


def test_a_training_in_a_child_says_at_once_what_it_does_and_ends_with_its_model(tmp_path: Path) -> None:
    started = time.monotonic()
    job = train_in_child(task_in(tmp_path))
    first = next(job)
    assert isinstance(first, PreparationProgress)
    assert time.monotonic() - started < 2
    records, result = run(job)
    phases = [record.text for record in records if isinstance(record, PreparationProgress)]
    assert phases[0] == "Loading torch"
    steps = [record for record in records if isinstance(record, TrainingProgress)]
    assert steps[-1].patterns == 12 * 8
    assert any(step.evaluation is not None for step in steps)
    assert result.folder == tmp_path / "model"
    assert (result.folder / "weights.safetensors").is_file()
    assert result.report == (result.folder / "report.md").read_text()
    assert [crystal.name for crystal in result.crystals] == ["Si"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes as Linux lists them")
def test_what_is_stopped_before_it_learns_ends_within_a_second(tmp_path: Path) -> None:
    job = train_in_child(task_in(tmp_path))
    next(job)
    next(record for record in job if isinstance(record, Silence))
    assert children()
    started = time.monotonic()
    job.close()
    assert time.monotonic() - started < 1
    assert not children()


def test_what_was_learned_is_kept_when_it_is_stopped_and_gone_on_with(tmp_path: Path) -> None:
    job = train_in_child(task_in(tmp_path, ENDLESS))
    until_learning(job)
    job.close()
    folder = tmp_path / "model"
    step = read_checkpoint(folder).state.step
    assert step > 0
    again = train_in_child(task_in(tmp_path, resume=True))
    assert until_learning(again).patterns >= 8 * step
    again.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_crash_is_told_in_words_with_what_is_kept(tmp_path: Path) -> None:
    job = train_in_child(task_in(tmp_path, ENDLESS))
    until_learning(job)
    job.close()
    step = read_checkpoint(tmp_path / "model").state.step
    again = train_in_child(task_in(tmp_path, resume=True))
    until_learning(again)
    (child,) = children()
    os.kill(child, signal.SIGSEGV)
    with pytest.raises(TrainingFailedError) as raised:
        run(again)
    assert "has crashed (signal 11, Segmentation fault" in str(raised.value)
    assert f"Resume goes on from step {step:,}" in str(raised.value)


def test_an_error_comes_in_the_child_s_own_words(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file where the folder should be")
    with pytest.raises((TrainingFailedError, OSError), match="model"):
        run(train_in_child(task_in(tmp_path)))


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from runs.test_training_process import ENDLESS, task_in, until_learning
from napari_stem_orient.runs.training_process import train_in_child
job = train_in_child(task_in(Path(sys.argv[1]), ENDLESS))
until_learning(job)
print("learning", flush=True)
while True:
    next(job)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes as Linux lists them")
def test_the_child_of_a_killed_parent_keeps_what_it_has_learned_and_ends(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parents[1])],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "learning\n"
        (child,) = children(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while is_there(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_there(child)
    assert has_checkpoint(tmp_path / "model")
