"""JournalNotice: a record that says that results are not kept as the user may think, among the records of a job."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.core.progress import Progress, RecordType, ResultType

if TYPE_CHECKING:
    from napari_stem_orient.runs.run_journal import RunJournal


@dataclass(frozen=True, slots=True)
class JournalNotice:
    """Record that results are not kept as the user may think, in words; the run goes on.

    `lost`: those of this very run; otherwise older ones had to make room.
    """

    text: str
    progress: Progress
    lost: bool

    @property
    def sentence(self) -> str:
        """The words as a sentence."""
        return f"{self.text[:1].upper()}{self.text[1:]}."


def with_notices(
    job: Generator[RecordType, None, ResultType], journal: RunJournal | None
) -> Generator[RecordType | JournalNotice, None, ResultType]:
    """The same job; what its journal had to give up is told once, after the next record."""
    told: set[str] = set()
    try:
        while True:
            try:
                record = next(job)
            except StopIteration as finished:
                result: ResultType = finished.value
                return result
            yield record
            if journal is None:
                continue
            for text in (*journal.made_room, journal.problem):
                if text and text not in told:
                    told.add(text)
                    yield JournalNotice(text, record.progress, lost=text == journal.problem)
    finally:
        job.close()
