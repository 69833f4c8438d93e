"""Results side by side: a run made otherwise has a name of its own, the same run again takes its own place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from example_maps import example_map
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.session.results import result_title
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.unsaved import loss_on_opening, unsaved_results

FIRST = example_map((3, 4))
OTHER_PARAMETERS = replace(example_map((3, 4)), parameters={"n_candidates": 8})
GOLD = replace(example_map((3, 4), ("Au",)), crystals=(load_crystal("Au"),))
TEMPLATE = replace(example_map((3, 4)), method="template", parameters={})


@pytest.fixture
def session() -> Session:
    made = Session()
    for orientation_map in (FIRST, OTHER_PARAMETERS, GOLD, TEMPLATE):
        made.set_map(orientation_map)
    return made


def test_runs_made_otherwise_stand_side_by_side_with_names(session: Session) -> None:
    assert list(session.orientation_maps) == ["transformer", "transformer 2", "transformer, Au", "template"]
    assert [result_title(each) for each in session.orientation_maps.values()] == [
        "Transformer",
        "Transformer 2",
        "Transformer, Au",
        "Template matching",
    ]


def test_the_newest_result_is_the_one_that_the_panels_are_about(session: Session) -> None:
    assert session.current_map is session.orientation_maps["template"]
    session.set_map(session.orientation_maps["transformer"])
    assert session.current_map is session.orientation_maps["transformer"]
    assert len(session.orientation_maps) == 4


def test_the_same_run_again_takes_the_place_of_the_first(session: Session) -> None:
    again = example_map((3, 4))
    session.set_map(again)
    assert list(session.orientation_maps) == ["transformer", "transformer 2", "transformer, Au", "template"]
    assert session.current_map is not None
    assert session.current_map.phase_id is again.phase_id
    assert session.current_map.key == "transformer"


def test_a_name_that_was_given_elsewhere_counts_for_nothing() -> None:
    session = Session()
    session.set_map(FIRST)
    session.set_map(replace(OTHER_PARAMETERS, result_name="transformer"))  # of another session
    assert list(session.orientation_maps) == ["transformer", "transformer 2"]
    assert session.orientation_maps["transformer"].parameters == FIRST.parameters


def test_a_result_is_removed_and_the_newest_left_is_looked_at(session: Session) -> None:
    session.remove_result("template")
    assert session.current_map is session.orientation_maps["transformer, Au"]
    session.remove_result("transformer")
    assert session.current_map is session.orientation_maps["transformer, Au"]
    for name in tuple(session.orientation_maps):
        session.remove_result(name)
    assert session.current_map is None


def test_a_name_that_is_free_again_is_taken_by_the_next(session: Session) -> None:
    session.remove_result("transformer 2")
    session.set_map(replace(FIRST, parameters={"n_candidates": 1}))
    assert session.current_map is not None
    assert session.current_map.key == "transformer 2"


def test_what_is_not_saved_is_told_by_name_and_one_file_saves_one_result(session: Session) -> None:
    words = [each.words for each in unsaved_results(session.state)]
    assert "(transformer 2)" in words[1]
    assert "(template matching)" in words[3]
    assert [each.told_apart for each in unsaved_results(session.state)] == [
        "_transformer",
        "_transformer_2",
        "_transformer_Au",
        "_template",
    ]
    session.mark_saved(session.orientation_maps["transformer 2"])
    assert [each.result.key for each in unsaved_results(session.state)] == [
        "transformer",
        "transformer, Au",
        "template",
    ]


def test_opening_a_map_replaces_only_the_result_that_was_made_like_it(session: Session) -> None:
    def replaced(orientation_map: OrientationMap) -> list[str]:
        return [each.result.key for each in loss_on_opening(session.state, orientation_map).unsaved]

    assert replaced(example_map((3, 4))) == ["transformer"]
    assert replaced(replace(FIRST, parameters={"n_candidates": 2})) == []
