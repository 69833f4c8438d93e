"""Run commands in processes of their own, so many at a time: a crash, or a lack of memory, takes no other along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from napari_stem_orient.core.progress import Progress

#: How often it is looked whether one has ended.
LOOK_EVERY_S = 0.1
#: So long a process that was asked to stop may take to keep what it has done.
LONGEST_STOP_S = 30.0
#: What tells numerical libraries how many threads to use.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DASK_NUM_WORKERS")


@dataclass(frozen=True, slots=True)
class Ended:
    """Record: a process has ended.

    ``number`` of its command, from 0; its ``code``, below 0 for a signal; the last that it ``said``; and the
    ``seconds`` that it ran.
    """

    number: int
    code: int
    said: str
    seconds: float
    progress: Progress


@dataclass(frozen=True, slots=True)
class Silence:
    """Record that no process has ended for a moment."""

    progress: Progress


@dataclass(slots=True)
class _Child:
    number: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float


def run_in_processes(
    commands: Sequence[Sequence[str]], *, at_once: int
) -> Generator[Ended | Silence, None, None]:
    """Run Python modules with arguments, each in a process of its own; the cores are shared between them.

    Parameters
    ----------
    commands
        Module and arguments of each: ("napari_stem_orient.cli", "detect", ...).
    at_once
        Most processes at one time.

    ``close()`` asks those that run to stop, as Ctrl-C does, and waits until they have kept what they have done.
    """
    waiting = list(enumerate(commands))[::-1]
    running: list[_Child] = []
    done, total = 0, len(commands)
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, command = waiting.pop()
                running.append(_started(number, command, at_once=at_once))
            yield Silence(Progress(done, total, "scans"))
            time.sleep(LOOK_EVERY_S)
            for child in [each for each in running if each.process.poll() is not None]:
                running.remove(child)
                done += 1
                yield _ended(child, Progress(done, total, "scans"))
    finally:
        _stop(running)


def threads_for_each(at_once: int) -> int:
    """Number of threads for each of several processes, so that all together do not want more cores than there are."""
    return max(1, (os.cpu_count() or 1) // max(1, at_once))


def _started(number: int, command: Sequence[str], *, at_once: int) -> _Child:
    package_home = str(Path(__file__).resolve().parents[2])
    paths = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = dict.fromkeys(THREADS, str(threads_for_each(at_once)))
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
    process = subprocess.Popen(
        # -P: a file in the current folder that is called like a module must not be taken for it
        [sys.executable, "-P", "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
        # Ctrl-C is for the parent, who passes it on once
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        | getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    return _Child(number, process, log, time.monotonic())


def _ended(child: _Child, progress: Progress) -> Ended:
    child.log.seek(0)
    said = child.log.read().decode("utf-8", errors="replace").strip()
    child.log.close()
    seconds = time.monotonic() - child.began
    return Ended(child.number, child.process.returncode, said[-4000:], seconds, progress)


def _stop(running: Sequence[_Child]) -> None:
    for child in running:
        with suppress(OSError, ValueError):
            if sys.platform == "win32":
                child.process.terminate()
            else:
                child.process.send_signal(signal.SIGINT)
    until = time.monotonic() + LONGEST_STOP_S
    for child in running:
        try:
            child.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.log.close()
