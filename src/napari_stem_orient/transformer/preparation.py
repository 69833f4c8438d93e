"""PreparationProgress: what a training does before it learns, in words, and how far that is."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from napari_stem_orient.core.progress import Progress, Record

RecordType = TypeVar("RecordType", bound=Record)
ResultType = TypeVar("ResultType")


@dataclass(frozen=True, slots=True)
class PreparationProgress:
    """Record of a part of the work that has a bar of its own.

    Attributes
    ----------
    text
        What is done: "Simulating dynamical patterns of Si to learn from (1 of 2)".
    progress
        How far that part is.
    """

    text: str
    progress: Progress


def as_preparation(
    job: Generator[RecordType, None, ResultType], text: str
) -> Generator[PreparationProgress, None, ResultType]:
    """The same job, each record of which says what it is part of."""
    try:
        while True:
            try:
                record = next(job)
            except StopIteration as finished:
                result: ResultType = finished.value
                return result
            yield PreparationProgress(text, record.progress)
    finally:
        job.close()
