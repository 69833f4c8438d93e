"""What a History promises: every state that was there can be had again, and none is ever changed."""

from __future__ import annotations

from napari_stem_orient.session.history import Change, History


def titles(history: History[int]) -> tuple[list[str], list[str]]:
    return [change.title for change in history.done], [change.title for change in history.undone]


def test_what_was_done_is_undone_and_redone_one_by_one() -> None:
    history = History(0).with_change(Change("one", 1)).with_change(Change("two", 2))
    assert (history.now, history.before_last) == (2, 1)
    back = history.undo()
    assert (back.now, back.before_last) == (1, 0)
    assert titles(back) == (["one"], ["two"])
    assert back.undo().now == 0
    assert back.undo().redo().redo().now == 2
    assert titles(history) == (["one", "two"], [])  # itself it is as it was


def test_there_is_no_more_to_undo_or_redo_than_was_done() -> None:
    empty: History[int] = History()
    assert empty.undo() is empty
    assert empty.redo() is empty
    assert empty.now is None
    assert empty.before_last is None
    assert History(0).with_change(Change("one", 1)).undo().before_last is None


def test_another_change_takes_the_place_of_what_was_undone() -> None:
    history = History(0).with_change(Change("one", 1)).undo().with_change(Change("other", 5))
    assert titles(history) == (["other"], [])
    assert history.redo() is history
