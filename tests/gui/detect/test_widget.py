"""The Detect stage: suggested settings, live preview, runs that can be stopped and resumed, and peaks in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.gui.canvas.scan_region import VACUUM_REGION
from napari_stem_orient.gui.detect.probe_chooser import SOURCES
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.detect import DetectChoice, DetectPlan
from napari_stem_orient.steps.probe import ProbeChoice, ProbeSource
from opened_scan import read_scan
from patience import Until
from shown_panel import ShowPanel

pytestmark = pytest.mark.bindings


@pytest.fixture
def panel(show_panel: ShowPanel) -> DetectWidget:
    return show_panel(DetectWidget)


@pytest.fixture
def ready(panel: DetectWidget, polycrystal: DataCube, until: Until) -> DetectWidget:
    read_scan(panel.session, polycrystal)
    until(panel.run_button.isEnabled)
    return panel


def stopped(panel: DetectWidget) -> bool:
    return panel.session.running_job(Stage.DETECT) is None


def number(panel: DetectWidget, name: str) -> NumberBox:
    box = panel.form.editor(name)
    assert isinstance(box, NumberBox)
    return box


def test_without_a_scan_nothing_can_be_run_and_the_panel_says_why(panel: DetectWidget) -> None:
    assert not panel.run_button.isEnabled()
    assert panel.state_label.text() == "Needs an open scan."
    panel._on_suggest()
    assert "Open a scan first" in panel.message_label.text()


def test_template_and_parameters_are_suggested_as_soon_as_patterns_are_read(ready: DetectWidget) -> None:
    assert ready.session.probe is not None
    assert ready.session.detection_parameters == ready.form.value
    assert "Direct beam at row 47.5, column 47.5 px" in ready.chooser.beam_label.text()


def test_a_run_finds_the_disks_of_every_pattern(ready: DetectWidget, until: Until) -> None:
    seen: list[DetectedBlock] = []
    ready.session.detection_filled.connect(seen.append)
    ready.run_button.click()
    assert not ready.run_button.isEnabled()
    assert ready.session.stage_state(Stage.DETECT) is StageState.RUNNING
    until(lambda: stopped(ready))
    peaks = ready.session.peaks
    assert peaks is not None
    assert peaks.detected.all()
    assert np.median(peaks.counts()) >= 4
    assert sum(len(block.positions) for block in seen) == peaks.n_positions
    assert ready.session.stage_state(Stage.DETECT) is StageState.DONE


def slow_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the detector yield one pattern at a time, so that there is a middle to stop in."""
    import dataclasses

    def one_by_one(plan, resume_from=None):
        import time

        from napari_stem_orient.core.progress import Progress
        from napari_stem_orient.detection.correlation import detect_in_frames

        done = np.zeros(plan.datacube.n_positions, bool)
        blocks = []
        if resume_from is not None:
            done |= resume_from.detected
            blocks.append(resume_from.as_block())
        for position in np.flatnonzero(~done):
            frame = plan.datacube.pattern(*divmod(int(position), plan.datacube.scan_shape[1]))
            block = detect_in_frames(frame, probe=plan.probe, parameters=plan.parameters, device="cpu")
            done[position] = True
            progress = Progress(int(done.sum()), done.size, "patterns")
            blocks.append(dataclasses.replace(block, positions=np.array([position]), progress=progress))
            time.sleep(0.002)
            yield blocks[-1]
        return plan.collected(blocks)

    monkeypatch.setattr(DetectPlan, "blocks", one_by_one)


def test_a_cancelled_run_keeps_what_is_done_and_is_resumed(
    ready: DetectWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_detection(monkeypatch)
    ready.run_button.click()
    until(lambda: ready.job_bar.job is not None and ready.job_bar.job.progress is not None)
    ready.job_bar.cancel_button.click()
    until(lambda: stopped(ready) and ready.session.peaks is not None)
    partial = ready.session.peaks
    assert partial is not None
    assert 0 < partial.detected.sum() < partial.n_positions
    assert ready.session.stage_state(Stage.DETECT) is StageState.READY
    assert ready.session.is_partial(Stage.DETECT)
    assert ready.run_button.text() == "Resume"
    ready.run_button.click()
    until(lambda: stopped(ready) and not ready.session.is_partial(Stage.DETECT))
    assert ready.session.stage_state(Stage.DETECT) is StageState.DONE
    whole = ready.session.peaks
    assert whole is not None
    first_done = int(np.flatnonzero(partial.detected)[0])
    assert np.array_equal(whole.select([first_done]).x_px, partial.select([first_done]).x_px)


def test_other_parameters_start_over_instead_of_resuming(
    ready: DetectWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_detection(monkeypatch)
    ready.run_button.click()
    until(lambda: ready.job_bar.job is not None and ready.job_bar.job.progress is not None)
    ready.job_bar.cancel_button.click()
    until(lambda: stopped(ready) and ready.session.is_partial(Stage.DETECT))
    number(ready, "min_spacing_px").setValue(9)
    assert ready.run_button.text() == "Detect disks"


def test_the_clicked_pattern_is_previewed_while_parameters_move(ready: DetectWidget, until: Until) -> None:
    ready.session.set_position((4, 4))
    until(lambda: ready.session.preview is not None)
    assert ready.session.preview is not None
    many = int(ready.session.preview.offsets[-1])
    number(ready, "min_significance").setValue(1000)
    until(lambda: ready.session.preview is not None and ready.session.preview.offsets[-1] < many)
    assert "row 4, column 4" in ready.preview_label.text()
    ready.preview_box.setChecked(False)
    assert ready.session.preview is None
    ready.hide()
    until(lambda: not ready._preview_job.busy)


def test_hiding_the_panel_ends_the_preview(ready: DetectWidget, until: Until) -> None:
    ready.session.set_position((4, 4))
    until(lambda: ready.session.preview is not None)
    ready.hide()
    assert ready.session.preview is None


@pytest.mark.parametrize("source", ["synthetic", "mean"])
def test_the_template_follows_the_choice(ready: DetectWidget, source: ProbeSource, until: Until) -> None:
    ready.chooser.source_box.setCurrentText(SOURCES[source])
    assert not ready.run_button.isEnabled()  # until there is a plan for it
    until(ready.run_button.isEnabled)
    probe = ready.session.probe
    assert probe is not None
    assert probe.source == {"synthetic": "synthetic", "mean": "mean pattern"}[source]
    if source == "synthetic":
        ready.chooser.radius_box.setValue(5.5)
        until(ready.run_button.isEnabled)
        assert ready.session.probe is not None
        assert ready.session.probe.radius_px == 5.5
        assert ready.form.value.min_spacing_px == 11  # what was not given suits the template


def test_a_radius_that_does_not_suit_is_refused_until_one_does(ready: DetectWidget, until: Until) -> None:
    ready.chooser.source_box.setCurrentText(SOURCES["synthetic"])
    ready.chooser.radius_box.setValue(60)
    assert ready.run_button.text() == "Measuring…"
    until(lambda: "radius 60 px does not suit a detector of 96 x 96" in ready.message_label.text())
    assert ready.run_button.text() == "Detect disks"
    assert not ready.run_button.isEnabled()
    ready.chooser.radius_box.setValue(4)
    until(ready.run_button.isEnabled)
    assert ready.message_label.text() == ""
    assert ready.run_button.text() == "Detect disks"


def test_what_is_given_stays_when_the_template_changes(ready: DetectWidget, until: Until) -> None:
    number(ready, "min_spacing_px").setValue(7)
    ready.chooser.source_box.setCurrentText(SOURCES["synthetic"])
    ready.chooser.radius_box.setValue(5.5)
    until(ready.run_button.isEnabled)
    assert ready.form.value.min_spacing_px == 7
    assert ready.form.value.edge_px == 5.5
    assert ready.planner.choice.parameters.root == {"min_spacing_px": 7.0}


def test_the_template_from_a_drawn_vacuum_region(ready: DetectWidget, until: Until) -> None:
    ready.chooser.source_box.setCurrentText(SOURCES["vacuum"])
    ready.chooser.use_button.click()
    assert "no vacuum region is drawn" in ready.message_label.text()
    ready.chooser.draw_button.click()
    shapes = ready.viewer.layers["Vacuum region"]
    shapes.add_rectangles([[-0.5, -0.5], [-0.5, 3.5], [2.5, 3.5], [2.5, -0.5]])
    ready.chooser.use_button.click()
    until(lambda: ready.session.probe is not None and ready.session.probe.source == "vacuum")


def test_a_vacuum_region_counts_where_it_is_seen_and_goes_with_its_scan(ready: DetectWidget) -> None:
    """Drawn over rows 0-2 and columns 0-3, in whatever scale the layer is and after the step has changed."""
    session, viewer = ready.session, ready.viewer
    assert session.calibration is not None
    session.set_calibration(session.calibration.updated(scan_step_nm=4.0))
    ready.chooser.draw_button.click()
    viewer.layers["Vacuum region"].add_rectangles([[-0.5, -0.5], [-0.5, 3.5], [2.5, 3.5], [2.5, -0.5]])
    expected = np.zeros((10, 12), dtype=bool)
    expected[:3, :4] = True
    session.set_calibration(session.calibration.updated(scan_step_nm=2.0))
    assert tuple(viewer.layers["Vacuum region"].scale) == (2.0, 2.0)
    mine = viewer.add_shapes(  # of the user's own, in nm
        [[[-1, -1], [-1, 7], [5, 7], [5, -1]]], shape_type="rectangle", units=("nm", "nm")
    )
    for layer in (viewer.layers["Vacuum region"], mine):
        viewer.layers.selection.active = layer
        found = VACUUM_REGION.drawn(viewer, (10, 12), calibration=session.calibration)
        np.testing.assert_array_equal(found, expected)
    session.set_datacube(None)
    assert "Vacuum region" not in viewer.layers


def test_labels_can_mark_the_vacuum_too(ready: DetectWidget, until: Until) -> None:
    ready.chooser.source_box.setCurrentText(SOURCES["vacuum"])
    marked = np.zeros((10, 12), int)
    marked[:3, :4] = 1
    ready.viewer.add_labels(marked)
    ready.chooser.use_button.click()
    until(lambda: ready.session.probe is not None and ready.session.probe.source == "vacuum")


def test_parameters_can_be_suggested_again(ready: DetectWidget, until: Until) -> None:
    suggested = ready.form.value
    number(ready, "min_spacing_px").setValue(33)
    ready.suggest_button.click()
    until(lambda: ready.form.value == suggested)


def test_a_scan_without_a_direct_beam_falls_back_to_a_synthetic_disk(
    panel: DetectWidget, polycrystal: DataCube, until: Until
) -> None:
    empty = DataCube(polycrystal.data * 0, polycrystal.calibration)
    read_scan(panel.session, empty)
    until(lambda: panel.session.probe is not None)
    assert panel.chooser.source_box.currentText() == SOURCES["synthetic"]
    assert "no direct beam found" in panel.message_label.text()
    panel.run_button.click()
    until(lambda: stopped(panel))
    assert panel.session.peaks is not None
    assert panel.session.peaks.n_peaks == 0


def test_an_error_of_the_detector_is_one_line_and_leaves_the_panel_usable(
    ready: DetectWidget, until: Until, errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(plan: DetectPlan, resume_from: BraggPeaks | None = None):
        raise UserError("the disk does not fit the detector", fix="give a smaller radius")
        yield

    monkeypatch.setattr(DetectPlan, "blocks", broken)
    ready.run_button.click()
    until(lambda: stopped(ready))
    assert ready.message_label.text() == "the disk does not fit the detector: give a smaller radius"
    assert errors == [f"Detecting disks: {ready.message_label.text()}"]
    assert ready.run_button.isEnabled()


def test_peaks_are_saved_and_opened(
    ready: DetectWidget, until: Until, tmp_path: Path, save_file_as: Callable[[Path | None], None]
) -> None:
    ready.run_button.click()
    until(lambda: stopped(ready))
    found = ready.session.peaks
    assert found is not None
    save_file_as(tmp_path / "peaks.h5")
    ready.save_button.click()
    until(lambda: ready.message_label.text() == "Saved peaks.h5.")
    ready.session.set_peaks(None)
    ready.open_button.click()
    until(lambda: ready.session.peaks is not None)
    opened = ready.session.peaks
    assert isinstance(opened, BraggPeaks)
    np.testing.assert_allclose(opened.x_px, found.x_px, atol=1e-3)


def test_a_new_calibration_during_the_run_is_that_of_the_peaks(
    ready: DetectWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_detection(monkeypatch)
    ready.run_button.click()
    until(lambda: ready.job_bar.job is not None and ready.job_bar.job.progress is not None)
    calibration = ready.session.calibration
    assert calibration is not None
    changed = calibration.updated(pixel_size_inv_angstrom=0.05, origin_px=(1.0, 1.0))
    ready.session.set_calibration(changed.with_checked("origin", "pixel size"))
    until(lambda: stopped(ready))
    assert ready.session.peaks is not None
    of_peaks = ready.session.peaks.calibration
    assert of_peaks.pixel_size_inv_angstrom == 0.05
    assert of_peaks.origin_px != (1.0, 1.0)  # measured with the peaks, and not checked yet
    assert of_peaks.checked == ("pixel size",)


def test_what_is_decided_about_detecting_is_in_the_session_and_followed_from_there(
    ready: DetectWidget, until: Until
) -> None:
    session = ready.session
    assert ready.planner.choice == session.state.choice(DetectChoice)
    session.choose(DetectChoice, probe=ProbeChoice(radius_px=5.5))
    until(lambda: session.probe is not None and session.probe.radius_px == 5.5)
    assert ready.chooser.source_box.currentData() == "synthetic"
    assert ready.chooser.radius_box.value() == 5.5
