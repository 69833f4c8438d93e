"""How far a long job is: the records that every generator of the package yields."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a job is done.

    Parameters
    ----------
    done, total
        Work done so far and in all, in ``unit``; ``0 <= done <= total``.
    unit
        What is counted: "patterns", "frames" or "steps".
    """

    done: int
    total: int
    unit: str

    def __post_init__(self) -> None:
        if not 0 <= self.done <= self.total:
            raise ValueError(
                f"progress {self.done} of {self.total} {self.unit}: done must lie between 0 and total"
            )

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1; 1 where there is no work at all."""
        return self.done / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.unit}"


class Record(Protocol):
    """Anything that a job yields: it tells at least how far the job is."""

    @property
    def progress(self) -> Progress:
        """How far the job is."""
        ...


RecordType = TypeVar("RecordType", bound=Record)
ResultType = TypeVar("ResultType")

#: A long job: yields small records several times a second and returns its result. It knows nothing of
#: threads, and ``close()`` ends it cleanly at any yield.
Job: TypeAlias = Generator[RecordType, None, ResultType]


def result_of(job: Job[RecordType, ResultType]) -> ResultType:
    """Run a job to its end without looking at its records."""
    while True:
        try:
            next(job)
        except StopIteration as finished:
            result: ResultType = finished.value
            return result
