"""A journal keeps what a run has done through a crash, a damaged end and a full disk."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.runs import run_journal
from napari_stem_orient.runs.run_journal import (
    ENDING,
    RunJournal,
    free_journals,
    is_being_written,
    make_room,
    new_journal_path,
    read_journal,
)


def arrays(number: int) -> dict[str, np.ndarray]:
    return {
        "positions": np.arange(number, number + 3, dtype=np.int64),
        "image": np.full((2, number), 0.5, dtype=np.float32),
        "good": np.array([True, False]),
    }


def write(path: Path, *numbers: int) -> RunJournal:
    journal = RunJournal(path, {"what": "a run"}, {"template": np.eye(3, dtype=np.float32)})
    for number in numbers:
        journal.append({"number": number}, arrays(number))
    return journal


def numbers_in(path: Path) -> list[int]:
    return [int(record.note["number"]) for record in list(read_journal(path))[1:]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return new_journal_path("test", "abc", tmp_path / "made by the journal")


def test_records_come_back_as_they_were(path: Path) -> None:
    write(path, 4, 0, 7).close()
    first, *records = read_journal(path)
    assert first.note == {"what": "a run"}
    assert np.array_equal(first.arrays["template"], np.eye(3))
    for number, record in zip((4, 0, 7), records, strict=True):
        for name, values in arrays(number).items():
            assert record.arrays[name].dtype == values.dtype
            assert np.array_equal(record.arrays[name], values)


def test_a_record_is_on_disk_before_the_next_one_and_without_an_orderly_end(path: Path) -> None:
    journal = write(path)
    for number in range(5):
        journal.append({"number": number}, arrays(number))
        assert numbers_in(path) == list(range(number + 1))
    journal.close()


def test_a_tail_cut_off_anywhere_loses_no_more_than_its_record(path: Path) -> None:
    write(path, 1, 2).close()
    two = path.stat().st_size
    path.unlink()
    write(path, 1, 2, 3).close()
    whole = path.read_bytes()
    for size in range(two, len(whole)):
        path.write_bytes(whole[:size])
        assert numbers_in(path) == [1, 2]


def test_damage_ends_the_journal_and_foreign_files_are_none(path: Path) -> None:
    write(path, 1, 2, 3).close()
    whole = bytearray(path.read_bytes())
    whole[-10] ^= 1
    path.write_bytes(whole)
    assert numbers_in(path) == [1, 2]
    path.write_bytes(b"\x89HDF\r\n\x1a\n something else")
    assert list(read_journal(path)) == []
    path.write_bytes(b"")
    assert list(read_journal(path)) == []


def test_a_full_disk_is_said_once_and_what_was_kept_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write(path, 1, 2)
    write_to_disk = os.write

    def half_and_no_more(file: int, content: memoryview) -> int:
        if len(content) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_to_disk(file, content[: len(content) // 2])

    monkeypatch.setattr(run_journal.os, "write", half_and_no_more)
    journal.append({"number": 3}, arrays(3))
    assert "the disk is full" in journal.problem
    assert str(path.parent) in journal.problem
    monkeypatch.undo()
    journal.append({"number": 4}, arrays(4))  # nothing may follow a gap
    journal.close()
    assert numbers_in(path) == [1, 2]


def test_a_folder_that_cannot_be_made_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    journal = write(tmp_path / "a file" / "x.journal", 1, 2)
    assert journal.problem
    journal.remove()


def test_a_journal_belongs_to_the_program_that_writes_it(path: Path) -> None:
    journal = write(path, 1)
    assert is_being_written(path)
    assert free_journals("test", "abc", path.parent) == []
    journal.close()
    assert not is_being_written(path)
    assert free_journals("test", "abc", path.parent) == [path]
    assert free_journals("test", "other", path.parent) == []
    write(path.with_name(f"test-abc-2{ENDING}"), 1).remove()
    assert free_journals("test", "abc", path.parent) == [path]


def test_journals_that_nobody_came_back_for_are_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, newest = (path.with_name(f"test-abc-{name}{ENDING}") for name in ("old", "new", "newest"))
    for file in (old, new, newest):
        write(file, 500).close()
    long_ago = time.time() - 100 * 86400
    os.utime(old, (long_ago, long_ago))
    os.utime(new, (time.time() - 60, time.time() - 60))
    make_room(path.parent)
    assert set(path.parent.iterdir()) == {new, newest}
    monkeypatch.setattr(run_journal, "LARGEST_BYTES", newest.stat().st_size + 10)
    make_room(path.parent)
    assert set(path.parent.iterdir()) == {newest}


def test_an_old_journal_that_cannot_be_removed_stops_no_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = path.with_name(f"test-abc-old{ENDING}")
    write(old, 1).close()
    os.utime(old, (0, 0))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        journal = write(path, 1)
    assert journal.problem == ""
    journal.close()
    assert numbers_in(path) == [1]
