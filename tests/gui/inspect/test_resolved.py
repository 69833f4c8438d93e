"""What Inspect shows follows from the state alone, and what is drawn already is not drawn again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspect_scene import make_scene, preview_of
from napari_stem_orient.gui.inspect.reflection_reader import ReflectionReader, Wanted
from napari_stem_orient.gui.inspect.resolved import Inspected, differs, resolve
from napari_stem_orient.gui.inspect.text import header_text
from napari_stem_orient.gui.parts.pattern_overlay import Reflections
from napari_stem_orient.session.state import MapResult, ScanState

NAMES = tuple(Inspected.__dataclass_fields__)


@pytest.fixture(scope="module")
def state() -> ScanState:
    scene = make_scene()
    result = MapResult(scene.truth)
    return ScanState(
        datacube=scene.datacube, peaks=scene.peaks, results={"transformer": result}, current="transformer"
    )


def test_nothing_open_is_nothing_to_look_at() -> None:
    resolved = resolve(ScanState(), None)
    assert not resolved.is_open
    assert resolved.frame is None
    assert header_text(resolved).startswith("Open a 4D-STEM scan")


def test_a_position_has_its_own_disks_solution_and_place(state: ScanState) -> None:
    resolved = resolve(state, (5, 9))
    assert state.peaks is not None
    np.testing.assert_array_equal(resolved.disks.x_px, state.peaks.pixels_at(5, 9)[:, 0])
    assert resolved.solution is not None
    assert resolved.solution.position == (5, 9)
    steps = state.calibration.scan_steps_nm
    assert resolved.place_nm == (5 * steps[0], 9 * steps[1])
    assert header_text(resolved).startswith("Row 5, column 9\ny ")
    assert resolved.frame.detector_shape == state.datacube.detector_shape


def test_the_same_state_resolves_to_what_is_drawn_already(state: ScanState) -> None:
    one, other = resolve(state, (5, 9)), resolve(state, (5, 9))
    assert [name for name in NAMES if differs(name, one, other)] == []
    elsewhere = resolve(state, (9, 2))
    assert {"position", "place_nm", "disks", "solution"} <= {n for n in NAMES if differs(n, one, elsewhere)}
    assert all(differs(name, None, one) for name in NAMES)


def test_a_preview_is_drawn_at_its_position_only_and_changes_nothing_but_the_disks(state: ScanState) -> None:
    previewed = replace(state, position=(5, 9), preview=preview_of(make_scene(), (5, 9)))
    there, before = resolve(previewed, (5, 9)), resolve(state, (5, 9))
    assert there.is_preview
    assert len(there.disks.x_px) == 1
    assert {name for name in NAMES if differs(name, before, there)} == {"disks", "is_preview"}
    assert not resolve(previewed, (7, 7)).is_preview


def test_the_first_pattern_of_a_crystal_is_simulated_in_a_thread_and_the_next_at_once(
    state: ScanState, qtbot
) -> None:
    shown: list[Reflections | None] = []
    reader = ReflectionReader(shown.append)
    resolved = resolve(state, (5, 9))
    wanted = Wanted(
        resolved.solution.crystal,
        resolved.solution.quaternion,
        resolved.map_calibration,
        resolved.frame.origin_px,
        resolved.frame.detector_shape,
        resolved.found,
    )
    reader.request(wanted)
    assert shown == [None]  # the window goes on meanwhile
    qtbot.waitUntil(lambda: len(shown) == 2, timeout=60_000)
    reader.request(wanted)
    assert len(shown) == 3
    np.testing.assert_array_equal(shown[1].hkl, shown[2].hkl)
    reader.request(None)
    assert shown[3] is None
    reader.close()
