"""What the Inspect dock promises: picture, disks and solution of one position, together, quickly, and without leaks."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from inspect_scene import CALIBRATION, crystal_of, make_scene, preview_of, show_map
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.canvas.solution_text import difference_text, status_text
from napari_stem_orient.gui.inspect.colour_key_widget import ColourKeyWidget
from napari_stem_orient.gui.inspect.widget import InspectWidget
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.pattern_reader import PatternReader
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.jobs.throttle import Throttle
from napari_stem_orient.gui.parts.pattern_view import IntensityScale, PatternView, grey_values
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.session.state import ScanState

pytestmark = pytest.mark.bindings


@pytest.fixture
def inspect(viewer, qtbot):
    widget = InspectWidget(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def indexed(inspect, session, scene):
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    return inspect


def go_to(inspect, session, qtbot, position) -> None:
    session.set_position(position)
    qtbot.waitUntil(lambda: inspect.shown_position == position and inspect.panel.view.pattern is not None)
    settle(inspect, qtbot)


def settle(inspect, qtbot) -> None:
    """Wait until everything that was asked for is drawn."""
    qtbot.waitUntil(lambda: not inspect.busy, timeout=60_000)


# --- one position ------------------------------------------------------------------------------------------


def test_the_mean_pattern_shows_until_a_position_is_chosen(inspect, session, scene, qtbot):
    session.set_datacube(scene.datacube)
    mean = np.asarray(scene.datacube.data.mean(axis=(0, 1)), dtype=np.float32)
    session.update(mean_pattern=mean)
    qtbot.waitUntil(lambda: inspect.panel.view.pattern is mean)
    assert inspect.shown_position is None
    go_to(inspect, session, qtbot, (2, 2))
    inspect.mean_button.click()
    qtbot.waitUntil(lambda: inspect.panel.view.pattern is mean)
    assert session.position is None


def test_a_position_shows_its_own_pattern_disks_and_solution(indexed, session, scene, qtbot):
    for position in ((3, 4), (10, 12), (1, 15)):
        go_to(indexed, session, qtbot, position)
        view = indexed.panel.view
        np.testing.assert_array_equal(view.pattern, scene.datacube.pattern(*position))
        assert len(view.disk_positions()) == len(scene.peaks.at(*position))
        solution = scene.truth.at(*position)
        for part in (solution.crystal.name, solution.zone_axis, f"{solution.score:.2f}", "±"):
            assert part in indexed.panel.text


def test_what_is_drawn_lies_on_the_disks_of_the_picture(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    view = indexed.panel.view
    drawn = np.column_stack([view.reflections.x_px, view.reflections.y_px])
    x_px, y_px, _ = scene.peaks.pixels_at(3, 4)[1:].T
    distance = np.linalg.norm(np.column_stack([x_px, y_px])[:, None] - drawn[None], axis=-1)
    assert distance.min(axis=1).max() < 0.5
    # the axes are in 1/Å around the direct beam
    origin_y, origin_x = CALIBRATION.origin_px
    assert view.view_position(origin_x, origin_y) == pytest.approx((0, 0))
    assert view.view_position(origin_x + 4, origin_y) == pytest.approx((0.1, 0))
    assert "Å⁻¹" in view.getPlotItem().getAxis("bottom").labelText


def test_in_a_narrow_and_low_dock_nothing_is_cut_off_at_the_side(make_napari_viewer_proxy, scene, qtbot):
    """The scroll bar takes its width from what is below the picture, which napari's style has made wider."""
    viewer = make_napari_viewer_proxy(show=True)
    session = session_of(viewer)
    widget = InspectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Inspect")
    session.set_datacube(scene.datacube)
    bar = widget._scroll.verticalScrollBar().sizeHint().width()
    qtbot.waitUntil(lambda: widget._scroll.minimumWidth() >= widget._body.minimumSizeHint().width() + bar)
    widget.compare_box.setChecked(True)
    qtbot.waitUntil(lambda: widget._scroll.minimumWidth() >= 2 * widget.panel.minimumWidth())


def test_compare_methods_gives_its_width_back(make_napari_viewer_proxy, scene, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1200, 700)
    session = session_of(viewer)
    widget = InspectWidget(viewer)
    dock = viewer.window.add_dock_widget(widget, name="Inspect")
    session.set_datacube(scene.datacube)
    qtbot.waitUntil(lambda: dock.width() == dock.minimumSizeHint().width())  # laid out
    window = dock.parentWidget()
    before = dock.width(), window.width()
    for _ in range(2):  # nothing adds up
        widget.compare_box.setChecked(True)
        qtbot.waitUntil(lambda: dock.width() >= 2 * widget.panel.minimumWidth())
        widget.compare_box.setChecked(False)
        qtbot.waitUntil(lambda: dock.width() == before[0])
        assert window.width() == before[1]


def test_a_position_without_solution_says_why(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (0, 0))
    assert "too few Bragg disks" in indexed.panel.text
    assert indexed.panel.view.reflections is None


def test_the_runner_up_can_be_chosen(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (10, 12))
    best = indexed.panel.view.reflections
    choices = indexed.panel.choices
    assert choices.count() == 2
    choices.setCurrentIndex(1)
    settle(indexed, qtbot)
    runner_up = indexed.panel.view.reflections
    # turned by 180° about the beam: each reflection goes to the other side
    strongest = int(np.argmax(np.all(runner_up.hkl == best.hkl[0], axis=1)))
    origin_y, origin_x = CALIBRATION.origin_px
    assert runner_up.x_px[strongest] == pytest.approx(2 * origin_x - best.x_px[0], abs=1e-3)
    assert runner_up.y_px[strongest] == pytest.approx(2 * origin_y - best.y_px[0], abs=1e-3)
    assert "0.40" in indexed.panel.text
    go_to(indexed, session, qtbot, (10, 13))
    assert choices.count() == 0


def test_the_picture_stays_in_its_place_while_positions_and_answers_change(indexed, session, scene, qtbot):
    """What is flipped between must not jump: a runner-up, none, or no solution at all."""
    indexed.resize(400, 900)
    indexed.show()
    heights = []
    for position in ((10, 12), (10, 13), (0, 0)):
        go_to(indexed, session, qtbot, position)
        for choice in range(max(1, indexed.panel.choices.count())):
            indexed.panel.choices.setCurrentIndex(choice)
            settle(indexed, qtbot)
            qtbot.wait(50)
            heights.append((indexed.panel.view.geometry().top(), indexed.panel.view.height()))
    assert len(heights) == 4
    assert len(set(heights)) == 1


def test_the_button_in_the_corner_of_the_picture_shows_the_whole_detector_again(indexed, session, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    plot = indexed.panel.view.getPlotItem()
    box = plot.getViewBox()
    whole = np.array(box.viewRange())
    box.scaleBy((0.3, 0.3))
    assert np.ptp(box.viewRange()[0]) < 0.5 * np.ptp(whole[0])
    plot.autoBtn.clicked.emit(plot.autoBtn)
    np.testing.assert_allclose(box.viewRange(), whole, atol=1e-6)


def test_the_panel_says_how_sure_it_is(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (10, 12))
    solution = scene.truth.at(10, 12)
    probability = f"{solution.crystal.name}   ({100 * solution.phase_probability:.3g} %)"
    for part in (probability, f"± {solution.confidence_deg:.1f}°", "15 of 18 explained"):
        assert part in indexed.panel.text
    indexed.panel.choices.setCurrentIndex(1)  # what is known of the best says nothing of the runner-up
    settle(indexed, qtbot)
    for part in ("%", "±", "explained"):
        assert part not in indexed.panel.text


def ambiguous_at(scene, position, *, with_second=True):
    """The truth, but for one position at which neither answer was taken."""
    index = position[0] * 16 + position[1]
    ambiguous = scene.truth.copy()
    ambiguous.phase_id[index] = -1
    ambiguous.reason[index] = Reason.AMBIGUOUS
    ambiguous.unexplained_disks[index], ambiguous.explained_disks[index] = 18, 0
    if not with_second:
        ambiguous.runner_up[index] = -1
    return ambiguous


def test_where_two_orientations_fit_equally_well_both_can_be_looked_at(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (10, 12))
    best = indexed.panel.view.reflections
    session.set_map(ambiguous_at(scene, (10, 12)))
    panel = indexed.panel
    qtbot.waitUntil(lambda: Reason.AMBIGUOUS.sentence in panel.text)
    settle(indexed, qtbot)
    assert "Disks detected here: 18" in panel.text
    assert [panel.choices.itemText(i).split(":")[0] for i in range(panel.choices.count())] == ["Either", "Or"]
    np.testing.assert_allclose(panel.view.reflections.x_px, best.x_px)
    panel.choices.setCurrentIndex(1)
    settle(indexed, qtbot)
    assert "Cu2O" in panel.text
    assert Reason.AMBIGUOUS.sentence in panel.text
    strongest = int(np.argmax(np.all(panel.view.reflections.hkl == best.hkl[0], axis=1)))
    origin_x = CALIBRATION.origin_px[1]
    assert panel.view.reflections.x_px[strongest] == pytest.approx(2 * origin_x - best.x_px[0], abs=1e-3)


def test_an_answer_that_was_not_taken_is_shown_though_it_has_no_runner_up(indexed, session, scene, qtbot):
    session.set_map(ambiguous_at(scene, (10, 12), with_second=False))
    go_to(indexed, session, qtbot, (10, 12))
    assert indexed.panel.choices.itemText(0).startswith("Perhaps: Cu2O")
    assert indexed.panel.view.reflections is not None


def test_the_status_line_tells_what_the_panel_tells(scene):
    line = status_text(scene.truth, (10, 12))
    for part in ("Cu2O", "phase ", "score ", "± ", "15 of 18 disks explained", "next: Cu2O"):
        assert part in line
    both = status_text(ambiguous_at(scene, (10, 12)), (10, 12))
    assert both.startswith(Reason.AMBIGUOUS.sentence)
    assert both.count("Cu2O") == 2
    assert "disks: 18" in both
    assert status_text(scene.truth, (0, 0)) == Reason.TOO_FEW_DISKS.sentence


def test_with_one_crystal_the_phase_is_no_question(scene):
    one = replace(
        scene.truth, crystals=scene.truth.crystals[:1], phase_id=np.minimum(scene.truth.phase_id, 0)
    )
    assert "phase" not in status_text(one, (10, 13))


def test_hovering_over_a_reflection_tells_hkl(indexed, session, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    view = indexed.panel.view
    index = int(np.argmax(np.all(view.reflections.hkl == [0, -2, 0], axis=1)))
    x, y = view.view_position(view.reflections.x_px[index], view.reflections.y_px[index])
    view.hover(x, y)
    assert view.hover_text.startswith("0 2\u0304 0")
    view.hover(10.0, 10.0)
    assert view.hover_text == ""


def test_the_preview_of_the_detect_step_replaces_the_detected_disks(indexed, session, scene, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    session.set_preview(preview_of(scene, (3, 4)))
    np.testing.assert_allclose(indexed.panel.view.disk_positions(), [[0, 0]], atol=1e-6)
    session.set_preview(None)
    assert len(indexed.panel.view.disk_positions()) == len(scene.peaks.at(3, 4))


def test_blocks_that_arrive_at_the_shown_position_show_themselves(inspect, session, scene, qtbot):
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    go_to(inspect, session, qtbot, (3, 4))
    assert "Cu" not in inspect.panel.text
    show_map(session, scene)
    qtbot.waitUntil(lambda: "Cu" in inspect.panel.text)


def test_that_the_neighbours_decided_is_said_beside_the_expected_error(indexed, session, scene, qtbot):
    asked = {"neighbours": True, "refine": True}
    orientation_map = replace(session.current_map, parameters=asked)
    orientation_map.solutions.score[:, 1] = orientation_map.score
    session.set_map(orientation_map)
    go_to(indexed, session, qtbot, (10, 12))
    qtbot.waitUntil(lambda: "the neighbours decided" in indexed.panel.text)
    lines = indexed.panel.text.splitlines()
    error = next(number for number, line in enumerate(lines) if line.startswith("± "))
    assert lines[error + 1] == "The runner-up fits this pattern as well: the neighbours decided."
    assert "by its neighbours" in status_text(orientation_map, (10, 12))
    indexed.panel.choices.setCurrentIndex(1)  # of the runner-up there is no expected error
    settle(indexed, qtbot)
    assert "the neighbours decided" not in indexed.panel.text
    go_to(indexed, session, qtbot, (10, 13))  # no runner-up
    assert "the neighbours decided" not in indexed.panel.text


def test_peaks_without_a_scan_show_circles_and_solution(inspect, session, scene, qtbot):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    session.set_position((3, 4))
    qtbot.waitUntil(lambda: inspect.shown_position == (3, 4))
    settle(inspect, qtbot)
    assert inspect.panel.view.pattern is None
    assert len(inspect.panel.view.disk_positions()) > 4
    assert inspect.panel.view.reflections is not None


def test_a_scan_without_calibration_can_be_looked_at(inspect, session, scene, qtbot):
    from napari_stem_orient.core.calibration import Calibration

    session.set_datacube(scene.datacube.with_calibration(Calibration()))
    go_to(inspect, session, qtbot, (3, 4))
    assert "px" in inspect.panel.view.getPlotItem().getAxis("bottom").labelText


def test_grey_values_and_overlays_are_chosen_below_the_picture(indexed, session, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    view, display = indexed.panel.view, indexed.display
    before = view.grey_values
    display.scale_box.setCurrentText(IntensityScale.GAMMA.value)
    assert not display.gamma_box.isHidden()
    display.gamma_box.setValue(0.8)
    assert view.grey_values.mean() < before.mean()
    assert view.shows_disks
    assert view.shows_simulated
    display.disks_box.setChecked(False)
    display.simulated_box.setChecked(False)
    assert not view.shows_disks
    assert not view.shows_simulated


@pytest.mark.parametrize("scale", list(IntensityScale))
def test_grey_values_stay_between_black_and_white(scale):
    pattern = np.random.default_rng(0).poisson(2.0, (32, 32)).astype(np.float32)
    pattern[3, 3], pattern[4, 4] = np.nan, 1e9
    grey = grey_values(pattern, scale, gamma=0.5)
    assert grey.min() >= 0
    assert grey.max() <= 1
    assert np.isfinite(grey).all()
    assert not grey_values(np.zeros((8, 8), dtype=np.float32), scale, gamma=0.5).any()


# --- the other method --------------------------------------------------------------------------------------


def test_another_map_is_shown_beside(indexed, viewer, session, scene, qtbot):
    show_map(session, scene, method="template")
    go_to(indexed, session, qtbot, (3, 4))
    assert indexed.comparison.isHidden()
    indexed.compare_box.setChecked(True)
    assert map_layers_of(viewer, session).framing.waiting  # the panel takes the canvas some of its width
    qtbot.waitUntil(lambda: "Cu" in indexed.comparison.text)
    settle(indexed, qtbot)
    assert indexed.comparison.view.reflections is not None
    np.testing.assert_array_equal(indexed.comparison.view.pattern, indexed.panel.view.pattern)
    assert indexed.comparison.title == "Transformer · 0.0° away"


def test_the_pictures_of_both_methods_have_the_same_size(indexed, viewer, session, scene, qtbot):
    """Whatever is said below them: of one of them nothing is known, or that the calibration is unchecked."""
    indexed.resize(700, 700)
    indexed.show()
    indexed.compare_box.setChecked(True)
    views = indexed.panel.view, indexed.comparison.view

    def same_size() -> bool:
        return views[0].geometry().height() == views[1].geometry().height() > 0

    go_to(indexed, session, qtbot, (3, 4))
    assert not indexed.panel.exploratory.isHidden()
    qtbot.waitUntil(same_size)
    show_map(session, scene, method="template")
    go_to(indexed, session, qtbot, (0, 0))
    qtbot.waitUntil(same_size)
    session.set_map(None)
    go_to(indexed, session, qtbot, (5, 4))
    qtbot.waitUntil(same_size)


def test_equivalent_orientations_are_said_to_be_the_same():
    """A quarter turn about [001] changes the Euler angles of a cubic crystal, and nothing else."""
    crystal = load_crystal("Cu")
    turned = np.array([np.cos(np.pi / 4 + 0.01), 0, 0, np.sin(np.pi / 4 + 0.01)])
    identity = np.array([1.0, 0, 0, 0])
    assert difference_text((crystal, identity), (crystal, turned)) == "1.1° away"
    assert difference_text((crystal, identity), (load_crystal("Cu2O"), identity)) == "another phase"
    assert difference_text(None, (crystal, turned)) == ""


@pytest.mark.usefixtures("py4dstem")
def test_without_another_map_this_one_pattern_is_matched(indexed, session, qtbot):
    go_to(indexed, session, qtbot, (3, 4))
    indexed.compare_box.setChecked(True)
    qtbot.waitUntil(lambda: "Cu" in indexed.comparison.text, timeout=60_000)
    settle(indexed, qtbot)
    assert indexed.comparison.view.reflections is not None


def test_matching_without_peaks_says_what_it_needs(inspect, session, scene, qtbot):
    session.set_datacube(scene.datacube)
    go_to(inspect, session, qtbot, (3, 4))
    inspect.compare_box.setChecked(True)
    qtbot.waitUntil(lambda: "needs Bragg peaks" in inspect.comparison.text)


# --- dragging ----------------------------------------------------------------------------------------------


class SlowCube:
    """A scan on a disk that takes its time, and counts how often it is read."""

    def __init__(self, datacube: DataCube) -> None:
        self.data = datacube.data
        self.calibration = datacube.calibration
        self.scan_shape = datacube.scan_shape
        self.detector_shape = datacube.detector_shape
        self.read: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self._datacube = datacube

    def pattern(self, y: int, x: int) -> np.ndarray:
        self.read.append((y, x))
        assert self.gate.wait(10)
        return self._datacube.pattern(y, x)


def test_requests_that_a_newer_one_overtook_are_not_read(scene, qtbot):
    got = []
    reader = PatternReader(lambda position, pattern, message: got.append((position, pattern, message)))
    cube = SlowCube(scene.datacube)
    for x in range(10):
        reader.request(cube, (3, x))
    cube.gate.set()
    qtbot.waitUntil(lambda: not reader.busy)
    assert cube.read == [(3, 0), (3, 9)]
    assert got[-1][0] == (3, 9)
    np.testing.assert_array_equal(got[-1][1], scene.datacube.pattern(3, 9))


def test_a_scan_that_is_no_longer_open_hands_over_nothing(scene, qtbot):
    got = []
    reader = PatternReader(lambda *answer: got.append(answer))
    old, new = SlowCube(scene.datacube), SlowCube(make_scene(scan_shape=(4, 4)).datacube)
    reader.request(old, (3, 3))
    reader.request(new, (0, 0))
    old.gate.set()
    new.gate.set()
    qtbot.waitUntil(lambda: bool(got) and not reader.busy)
    assert [answer[0] for answer in got] == [(0, 0)]


def test_a_late_pattern_is_not_drawn_for_the_scan_of_a_session_that_was_opened_meanwhile(
    inspect, session, scene, qtbot
):
    cube, other = SlowCube(scene.datacube), replace(scene.datacube, data=scene.datacube.data[::-1])
    session.set_datacube(scene.datacube)
    session.update(datacube=cube, position=(9, 9))
    qtbot.waitUntil(lambda: bool(cube.read))
    inspect._update_timer.setInterval(60_000)  # the pattern comes before the next drawing
    session.restore(ScanState(datacube=other, peaks=scene.peaks, position=(1, 2)))
    cube.gate.set()
    settle(inspect, qtbot)
    assert inspect.panel.view.pattern is None
    assert inspect.shown_position != (9, 9)
    inspect._update()
    qtbot.waitUntil(lambda: inspect.shown_position == (1, 2) and inspect.panel.view.pattern is not None)
    np.testing.assert_array_equal(inspect.panel.view.pattern, other.pattern(1, 2))


def test_a_pattern_that_cannot_be_read_says_so_in_the_panel(scene, qtbot):
    class BrokenCube(SlowCube):
        def pattern(self, y: int, x: int) -> np.ndarray:
            raise OSError("the disc is gone")

    got = []
    reader = PatternReader(lambda *answer: got.append(answer))
    reader.request(BrokenCube(scene.datacube), (1, 1))
    qtbot.waitUntil(lambda: bool(got))
    assert got[0][1] is None
    assert "the disc is gone" in got[0][2]


def test_a_slow_disk_never_shows_a_picture_with_the_disks_of_another(inspect, session, scene, qtbot):
    cube = SlowCube(scene.datacube)
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    session.update(datacube=cube)
    session.set_position((3, 4))
    # the position is late: disks without picture
    qtbot.waitUntil(lambda: inspect.shown_position == (3, 4))
    assert inspect.panel.view.pattern is None
    assert "Reading" in inspect.header_text
    cube.gate.set()
    qtbot.waitUntil(lambda: inspect.panel.view.pattern is not None)
    assert inspect.shown_position == (3, 4)


def test_many_positions_in_one_go_are_drawn_once(indexed, session, qtbot, monkeypatch):
    go_to(indexed, session, qtbot, (0, 5))
    drawn = []
    set_pattern = PatternView.set_pattern
    monkeypatch.setattr(PatternView, "set_pattern", lambda view, p: (drawn.append(p), set_pattern(view, p)))
    for x in range(16):
        session.set_position((5, x))
    qtbot.waitUntil(lambda: indexed.shown_position == (5, 15))
    assert len(drawn) == 1


def test_closing_while_a_pattern_is_read_is_clean(make_napari_viewer_proxy, scene, qtbot):
    viewer = make_napari_viewer_proxy()
    session = session_of(viewer)
    inspect = InspectWidget(viewer)
    viewer.window.add_dock_widget(inspect, name="Inspect")
    cube = SlowCube(scene.datacube)
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    session.update(datacube=cube)
    session.set_position((3, 4))
    qtbot.waitUntil(lambda: bool(cube.read))
    viewer.close()
    cube.gate.set()
    session.set_position((3, 5))
    qtbot.wait(50)
    map_layers_of(viewer, session).close()


def test_a_window_that_is_gone_leaves_no_widget_behind(scene, qtbot, viewer, session):
    widget = InspectWidget(viewer)
    session.set_datacube(scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    go_to(widget, session, qtbot, (3, 4))
    gone = []
    widget.destroyed.connect(lambda: gone.append(True))
    reference = weakref.ref(widget)
    widget.deleteLater()
    del widget
    qtbot.waitUntil(lambda: bool(gone))
    session.set_position((5, 5))
    session.set_map(session.current_map)
    gc.collect()
    assert reference() is None


def test_the_newest_request_is_the_next_one_done(qtbot):
    done = []
    gate = threading.Event()
    job = LatestJob(title="test", on_result=lambda key, result: done.append((key, result)), on_error=print)
    job.request(0, lambda: gate.wait(10))
    for key in range(1, 5):
        job.request(key, lambda key=key: key * key)
    gate.set()
    qtbot.waitUntil(lambda: not job.busy)
    assert done == [(0, True), (4, 16)]
    job.close()
    job.request(5, lambda: 5)
    assert not job.busy


def test_a_throttled_method_is_called_at_once_and_its_last_call_is_not_lost(qtbot):
    class Notes(list):
        value = 0

        def note(self) -> None:
            self.append(self.value)

    notes = Notes()
    throttle = Throttle(notes.note, interval_ms=30)
    for value in range(5):
        notes.value = value
        throttle()
    assert notes == [0]
    qtbot.waitUntil(lambda: notes == [0, 4])


# --- theme and colour key ----------------------------------------------------------------------------------


def test_the_plots_follow_the_theme(indexed, viewer):
    for theme in ("light", "dark"):
        viewer.theme = theme
        colours = theme_colours(viewer)
        background = indexed.panel.view.backgroundBrush().color().name()
        assert background == colours.background
        text = indexed.panel.view.getPlotItem().getAxis("left").textPen().color().name()
        assert text == colours.text


def test_each_phase_has_a_key_that_marks_the_orientation(indexed, viewer, session, qtbot):
    keys = indexed.colour_keys.keys
    assert len(keys) == 2

    def marked() -> list[bool]:
        return [key.marker is not None for key in keys]

    session.set_position((3, 4))
    qtbot.waitUntil(lambda: marked() == [True, False])
    pointer = map_layers_of(viewer, session).pointer
    pointer.hovered_position = (10, 12)
    pointer.hovered.emit((10, 12))
    qtbot.waitUntil(lambda: marked() == [False, True])
    pointer.hovered_position = (0, 0)
    pointer.hovered.emit((0, 0))
    qtbot.waitUntil(lambda: marked() == [False, False])


def test_the_marker_of_a_cube_axis_lies_in_its_corner(indexed, session, qtbot):
    session.set_position((3, 4))
    qtbot.waitUntil(lambda: indexed.colour_keys.keys[0].marker is not None)
    row, column = indexed.colour_keys.keys[0].marker
    height = indexed.colour_keys.keys[0].sizeHint().height()
    # [001] is at the lower left
    assert column < 3
    assert row > height / 2


def test_the_key_follows_the_map_that_is_looked_at_and_the_map_the_key(indexed, viewer, session):
    assert indexed.colour_keys.direction == "z"
    viewer.layers.selection.active = viewer.layers["IPF-X"]
    assert indexed.colour_keys.direction == "x"
    box = indexed.colour_keys.direction_box
    box.setCurrentIndex(box.findData("y"))
    box.activated.emit(box.currentIndex())
    assert map_layers_of(viewer, session).layer("ipf_y", "transformer").visible


def test_a_key_is_drawn_in_the_colours_of_its_crystal(viewer, session, scene, qtbot):
    widget = ColourKeyWidget(viewer)
    qtbot.addWidget(widget)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    key = widget.keys[0]
    image = key.grab().toImage()
    colours = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
    assert len(colours) > 200
    assert crystal_of(0).name == "Cu"
    widget.disconnect_all()
