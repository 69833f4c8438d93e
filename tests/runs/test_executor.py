"""Commands in processes of their own: all are run, one that fails stops no other, and a stop stops them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from napari_stem_orient.runs.executor import Ended, Silence, run_in_processes, threads_for_each

WAITING = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules the processes find."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_every_command_is_run_and_one_that_fails_stops_no_other(modules: Path) -> None:
    (modules / "says.py").write_text("import os, sys; print(sys.argv[1], os.environ['OMP_NUM_THREADS'])")
    (modules / "dies.py").write_text("import os; print('about to', flush=True); os.abort()")
    commands = [("says", "one"), ("dies",), ("says", "two"), ("no_such_module",)]
    ended = {each.number: each for each in run_in_processes(commands, at_once=2) if isinstance(each, Ended)}
    assert {number: each.code == 0 for number, each in ended.items()} == {
        0: True,
        1: False,
        2: True,
        3: False,
    }
    assert ended[2].said == f"two {threads_for_each(2)}"
    assert ended[1].said.startswith("about to")
    assert "no_such_module" in ended[3].said
    assert sorted(each.progress.done for each in ended.values()) == [1, 2, 3, 4]


def test_processes_share_the_cores() -> None:
    cores = os.cpu_count() or 1
    assert all(threads_for_each(n) * n <= max(cores, n) and threads_for_each(n) >= 1 for n in (1, 2, 3, 99))


def test_stopping_stops_what_runs_and_begins_nothing_more(modules: Path) -> None:
    (modules / "waits.py").write_text(WAITING)
    marks = [modules / f"begun-{number}" for number in range(3)]
    job = run_in_processes([("waits", str(mark)) for mark in marks], at_once=2)
    until = time.monotonic() + 60
    while not all(mark.exists() for mark in marks[:2]) and time.monotonic() < until:
        assert isinstance(next(job), Silence)
    began = time.monotonic()
    job.close()
    assert time.monotonic() - began < 25
    assert [mark.exists() for mark in marks] == [True, True, False]
    if sys.platform == "linux":
        lines = list(Path("/proc").glob("[0-9]*/cmdline"))
        assert not any(b"begun-" in line.read_bytes() for line in lines if line.exists())
