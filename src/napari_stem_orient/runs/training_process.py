"""A training in a process of its own, seen from the program that asked for it as the generator that it is.

A crash, or a graphics card without memory, then takes nothing else along, and learning does not slow a window down. On
Linux there is no other way: with the first optimiser torch loads triton, whose LLVM brings down a program that has
drawn with Mesa's. The child gets its task as one line of JSON on its standard input, and appends its records as lines
of JSON to a file, which the parent reads: nothing is ever unpickled, no pipe can fill up, and the parent never waits.
The child stops, and keeps what it has learned, when its input says so or ends, as it does when the parent dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.runs.training_task import (
    TrainingResult,
    TrainingTask,
    check_task,
    stopped_in,
    training_job,
)
from napari_stem_orient.transformer.preparation import PreparationProgress

if TYPE_CHECKING:
    from napari_stem_orient.transformer.training_run import TrainingProgress

#: How often the parent looks for records; so soon it notices that it is to stop, too.
LOOK_EVERY_S = 0.1

#: So long a child that was asked to stop may take to keep what it has learned.
LONGEST_STOP_S = 60.0

_ENDS = {"result", "error", "stopped"}


class TrainingFailedError(RuntimeError):
    """The training has ended with an error, or its process with a crash; the message says what is kept."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Record that the child has said nothing new for a moment."""

    progress: Progress


def train_in_child(
    task: TrainingTask,
) -> Generator[TrainingProgress | PreparationProgress | Silence, None, TrainingResult]:
    """Train as `training_job` does, in a process of its own.

    ``close()`` ends it: at once where nothing was learned yet, else as soon as that is kept.

    Raises
    ------
    ValueError
        See `check_task`.
    TrainingFailedError
        With the child's own words, or how it crashed.
    """
    latest: TrainingProgress | PreparationProgress = PreparationProgress("Starting", Progress(0, 1, "steps"))
    yield latest
    check_task(task)
    with tempfile.TemporaryDirectory(prefix="stem-orient-training-", ignore_cleanup_errors=True) as name:
        child = _Child(task, Path(name))
        try:
            while True:
                ended = child.ended  # before the last look: what comes after it is read, too
                for line in child.new_lines():
                    if _ENDS & line.keys():
                        return _result(line)
                    latest = _record(line)
                    child.has_learned |= not isinstance(latest, PreparationProgress) and latest.patterns > 0
                    yield latest
                if ended:
                    raise TrainingFailedError(child.crash_in_words())
                time.sleep(LOOK_EVERY_S)
                yield Silence(latest.progress)
        finally:
            child.end()


class _Child:
    """The process, and the files in a temporary folder through which it speaks."""

    def __init__(self, task: TrainingTask, folder: Path) -> None:
        self.has_learned = False
        self._task = task
        records, log = folder / "records.jsonl", folder / "log.txt"
        records.touch()
        self._records = records.open(encoding="utf-8")
        self._partial = ""
        self._log = log
        package_home = str(Path(__file__).resolve().parents[2])
        paths = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                # -P: a file in the current folder that is called like a module must not be taken for it
                [sys.executable, "-P", "-m", __name__, str(records)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        self._say(json.dumps(task.to_dict()))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """What was written since the last look, each line whole."""
        *lines, self._partial = (self._partial + self._records.read()).split("\n")
        for line in lines:
            yield json.loads(line)

    def end(self) -> None:
        """Have the process end, with what it has learned kept, and wait for that."""
        if not self.ended:
            if self.has_learned:
                self._say("stop")
                self._wait_until_kept()
            if not self.ended:  # all is kept: the interpreter's own end may take seconds
                self._process.kill()
        self._process.wait()
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._records.close()

    def _wait_until_kept(self) -> None:
        deadline = time.monotonic() + LONGEST_STOP_S
        while not self.ended and time.monotonic() < deadline:
            if any(_ENDS & line.keys() for line in self.new_lines()):
                return
            time.sleep(LOOK_EVERY_S / 4)

    def crash_in_words(self) -> str:
        """How the process has ended, its last words, and what is left."""
        code = self._process.returncode
        how = f"exit code {code}"
        if code < 0:
            with suppress(ValueError):
                how = f"signal {-code}, {signal.strsignal(-code) or signal.Signals(-code).name}"
        elif code > 255:
            how = f"Windows error {code & 0xFFFFFFFF:#010x}"
        log = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f"; its last words: {log[-1].strip()[:300]}" if log else ""
        kept = stopped_in(self._task.output)
        left = "nothing was kept" if kept is None else f"Resume goes on from step {kept.state.step:,}"
        return f"the training's process has crashed ({how}{last}); {left}"

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):  # it has ended meanwhile
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()


def _result(line: dict[str, Any]) -> TrainingResult:
    if "result" not in line:
        raise TrainingFailedError(
            line.get("error") or "the training was stopped from outside; Resume goes on"
        )
    result = line["result"]
    crystals = tuple(Crystal.from_dict(crystal) for crystal in result["crystals"])
    return TrainingResult(Path(result["folder"]), crystals, result["report"])


def _record(line: dict[str, Any]) -> TrainingProgress | PreparationProgress:
    from napari_stem_orient.transformer.checkpoint import Evaluation
    from napari_stem_orient.transformer.schedule import TrainingPart
    from napari_stem_orient.transformer.training_run import TrainingProgress

    if "preparation" in line:
        return PreparationProgress(line["preparation"], Progress(**line["progress"]))
    values = dict(line["learning"])
    evaluation = values.pop("evaluation")
    return TrainingProgress(
        **{
            **values,
            "progress": Progress(**values["progress"]),
            "part": TrainingPart(values["part"]),
            "evaluation": None if evaluation is None else Evaluation(**evaluation),
        }
    )


# --- the child -----------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Train as the first line of the standard input says, and append records to a file, until done or told to stop."""
    with Path(arguments[0]).open("a", encoding="utf-8") as file:
        _tell(file, _told(PreparationProgress("Loading torch", Progress(0, 1, "steps"))))
        stop = threading.Event()
        task = TrainingTask.from_dict(json.loads(sys.stdin.readline()))
        threading.Thread(target=_wait_for_stop, args=(stop,), daemon=True).start()
        _leave_one_core()
        try:
            _tell(file, _followed(training_job(task), file, stop))
        except BaseException as error:  # noqa: BLE001 - nothing may end the child without a word
            text = " ".join(str(error).split())
            plain = isinstance(error, (ValueError, OSError, ImportError, RuntimeError, MemoryError)) and text
            _tell(file, {"error": text if plain else f"unexpected {type(error).__name__}: {text}"})
            return 1
    return 0


def _followed(
    job: Generator[TrainingProgress | PreparationProgress, None, TrainingResult],
    file: TextIOWrapper,
    stop: threading.Event,
) -> dict[str, Any]:
    try:
        while not stop.is_set():
            try:
                _tell(file, _told(next(job)))
            except StopIteration as finished:
                result: TrainingResult = finished.value
                crystals = [crystal.to_dict() for crystal in result.crystals]
                return {
                    "result": {"folder": str(result.folder), "crystals": crystals, "report": result.report}
                }
    except KeyboardInterrupt:  # Ctrl-C in the terminal goes to the parent and to this process
        pass
    job.close()  # keeps what was learned
    return {"stopped": True}


def _told(record: TrainingProgress | PreparationProgress) -> dict[str, Any]:
    if isinstance(record, PreparationProgress):
        return {"preparation": record.text, "progress": asdict(record.progress)}
    return {"learning": {**asdict(record), "part": record.part.value}}


def _tell(file: TextIOWrapper, line: dict[str, Any]) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def _wait_for_stop(stop: threading.Event) -> None:
    """Set the event when the parent says so, or is gone; then end the process, should it take too long."""
    sys.stdin.readline()
    stop.set()
    time.sleep(LONGEST_STOP_S)
    os._exit(1)


def _leave_one_core() -> None:
    import torch

    from napari_stem_orient.device import worker_threads

    torch.set_num_threads(min(torch.get_num_threads(), worker_threads()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
