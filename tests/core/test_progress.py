"""Progress tells how far a job is."""

from __future__ import annotations

import pytest

from napari_stem_orient.core.progress import Progress


def test_progress_tells_its_fraction_and_reads_well() -> None:
    progress = Progress(done=2500, total=10_000, unit="patterns")
    assert progress.fraction == 0.25
    assert str(progress) == "2,500 of 10,000 patterns"


def test_a_job_without_work_is_complete() -> None:
    assert Progress(0, 0, "steps").fraction == 1.0


@pytest.mark.parametrize(("done", "total"), [(-1, 3), (4, 3)])
def test_impossible_progress_is_refused(done: int, total: int) -> None:
    with pytest.raises(ValueError, match="between 0 and total"):
        Progress(done, total, "steps")
