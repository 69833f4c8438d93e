"""LatestJob: does small pieces of work in a thread, the newest one wanted, and forgets those that came between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from napari_stem_orient.gui.jobs.workers import JobHandle, PlainProgress, plain_job, start_job

Key = TypeVar("Key")
Result = TypeVar("Result")


class LatestJob(Generic[Key, Result]):
    """Runs one function at a time; while it runs, only the newest request waits.

    A request has a key, and its result is handed over with it, so that an answer that nobody waits for any more can
    be told from the one that is wanted.

    Parameters
    ----------
    title : what the work is called when it fails
    on_result : called in the main thread with key and result
    on_error : called in the main thread with key and a message of one line
    """

    def __init__(
        self,
        *,
        title: str,
        on_result: Callable[[Key, Result], object],
        on_error: Callable[[Key, str], object],
    ) -> None:
        self._title = title
        self._on_result = on_result
        self._on_error = on_error
        self._job: JobHandle[PlainProgress, Result] | None = None
        self._waiting: tuple[Key, Callable[[], Result]] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether something runs or waits."""
        return self._job is not None or self._waiting is not None

    def request(self, key: Key, function: Callable[[], Result]) -> None:
        """Do this next, in place of whatever waits; `function` must be given all it needs, and touch no Qt."""
        if self._closed:
            return
        self._waiting = (key, function)
        if self._job is None:
            self._start()

    def forget(self) -> None:
        """Hand over nothing of what was asked for until now."""
        self._waiting = None
        if self._job is not None:
            self._job.discard()

    def close(self) -> None:
        """Hand over nothing more, and take no more requests."""
        self._closed = True
        self.forget()

    def _start(self) -> None:
        if self._waiting is None:
            return
        (key, function), self._waiting = self._waiting, None
        self._job = start_job(
            plain_job(function),
            title=self._title,
            on_done=lambda result: self._on_result(key, result),
            on_error=lambda message: self._on_error(key, message),
        )
        self._job.ended.connect(self._on_ended)

    def _on_ended(self) -> None:
        self._job = None
        self._start()
