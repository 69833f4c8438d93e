"""Calibrating as a step: parts in their order, the same by window and command line, and again by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from calibration_scenes import distorted_scan, miscalibrated, ring_pattern
from napari_stem_orient.cli.calibrate import calibrate_choice
from napari_stem_orient.cli.main import build_parser, main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.gui.calibrate import widget as calibrate_widget
from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.io.calibration_files import read_calibration, save_calibration
from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.steps.calibrate import TAKEN, CalibrateChoice
from napari_stem_orient.steps.calibration_run import Calibrated, calibrate, calibrate_standard
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.open import GivenCalibration
from napari_stem_orient.steps.recipe import Recipe
from napari_stem_orient.steps.recipe_text import recipe_as_text, recipe_from_text

NI = load_crystal("Ni")
NICKEL = (CrystalChoice.of(NI),)


@pytest.fixture(scope="module")
def peaks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Peaks of an 8 x 8 scan at 200 kV with a 2 % ellipse, a wrong pixel size and a drifting origin."""
    scan, _ = distorted_scan(scan_shape=(8, 8), n_grains=8)
    wrong = miscalibrated(scan)
    wrong = wrong.with_calibration(wrong.calibration.updated(voltage_kv=200, scan_step_nm=None))
    return save_bragg_peaks(wrong, tmp_path_factory.mktemp("calibrate") / "peaks.h5")


@pytest.fixture
def peaks(peaks_file: Path) -> BraggPeaks:
    return open_bragg_peaks(peaks_file)


@pytest.fixture
def panel(qtbot: Any, peaks: BraggPeaks) -> CalibrateWidget:
    from napari.components import ViewerModel

    panel = CalibrateWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.session.set_peaks(peaks)
    return panel


def wait(panel: CalibrateWidget, qtbot: Any) -> BraggPeaks:
    """The peaks when the panel is done."""
    qtbot.waitUntil(lambda: panel.session.running_job(panel.stage) is None, timeout=150_000)
    assert panel.message_label.text() == ""
    assert panel.session.peaks is not None
    return panel.session.peaks


def chosen(*words: str) -> CalibrateChoice:
    """What the command line chooses."""
    arguments = build_parser("calibrate").parse_args(["calibrate", *words, "--output", "out.h5"])
    return calibrate_choice(arguments, tuple(load_crystal(name) for name in arguments.crystal or ()))


def same(one: BraggPeaks, other: BraggPeaks) -> bool:
    """Whether peaks are calibrated alike, to the last bit."""
    if one.calibration != other.calibration or (one.origin_px is None) != (other.origin_px is None):
        return False
    origins = one.origin_px is None or np.array_equal(one.origin_px, other.origin_px)  # type: ignore[arg-type]
    return bool(origins and np.array_equal(one.q_x, other.q_x) and np.array_equal(one.q_y, other.q_y))


def parts_of(peaks: BraggPeaks) -> tuple[CalibrateChoice, ...]:
    """What the recipe of peaks says of their calibration."""
    steps = [dict(step) for step in peaks.recipe["steps"] if step["step"] == CalibrateChoice.step]
    return tuple(
        CalibrateChoice.model_validate({key: value for key, value in step.items() if key != "step"})
        for step in steps
    )


# --- the choice ---


def test_a_choice_comes_back_from_yaml_and_is_told_by_what_differs() -> None:
    choice = CalibrateChoice(
        source=Path("last.json"),
        take=("scan", "rotation"),
        given=GivenCalibration({"voltage_kv": 200, "origin_px": [31, 32.5]}),
        confirmed=("rotation", "ellipse"),
        crystals=NICKEL,
        fits=("pixel size", "origin"),
        refine=True,
    )
    again = CalibrateChoice.model_validate(yaml.safe_load(yaml.safe_dump(choice.model_dump(mode="json"))))
    assert again == choice
    assert CalibrateChoice.model_validate(choice.given_fields()) == choice
    assert choice.fits == ("origin", "pixel size")  # the order in which they are done
    assert CalibrateChoice().given_fields() == {}


def test_the_parts_stand_in_the_order_in_which_they_are_done() -> None:
    choice = CalibrateChoice(
        source=Path("last.json"),
        given=GivenCalibration({"flip": True}),
        confirmed=("rotation",),
        crystals=NICKEL,
        origin_model="constant",
        fits=("ellipse", "pixel size", "origin"),
        refine=True,
    )
    assert choice.parts() == (
        CalibrateChoice(source=Path("last.json"), fits=()),
        CalibrateChoice(given=GivenCalibration({"flip": True}), fits=()),
        CalibrateChoice(confirmed=("rotation",), fits=()),
        CalibrateChoice(origin_model="constant", fits=("origin",)),
        CalibrateChoice(crystals=NICKEL, fits=("ellipse", "pixel size")),
        CalibrateChoice(refine=True, fits=()),
    )


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, ("origin", "ellipse")),
        ({"crystals": NICKEL}, ("origin", "ellipse", "pixel size")),
        ({"refine": True}, ()),
        ({"rings": Path("gold.tif"), "crystals": NICKEL}, ()),
        ({"refine": True, "fits": ("origin",)}, ("origin",)),
    ],
)
def test_where_no_fit_is_named_all_that_can_be_fitted_is(
    fields: dict[str, Any], fits: tuple[str, ...]
) -> None:
    assert CalibrateChoice(**fields).wanted_fits == fits


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"fits": ("pixel size",)}, "choose the crystal that is in the scan"),
        ({"rings": Path("gold.tif")}, "choose the crystal that the standard is made of"),
        ({"confirmed": ("ellipse",), "unconfirmed": ("ellipse",)}, "leave one out"),
        ({"fits": ("rotation",)}, "Input should be 'origin', 'ellipse' or 'pixel size'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_fix(fields: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        CalibrateChoice(**fields)


# --- what is taken from a file ---

OF_FILE = Calibration(
    voltage_kv=300,
    scan_step_nm=5.0,
    pixel_size_inv_angstrom=0.03,
    scan_rotation_deg=12,
    checked=("rotation",),
)


def taken(peaks: BraggPeaks, path: Path, **fields: Any) -> Calibrated:
    """The last record of taking a calibration from a file."""
    choice = CalibrateChoice(source=path, fits=(), **fields)
    records = [record for record in calibrate(choice, peaks) if isinstance(record, Calibrated)]
    return records[-1]


@pytest.mark.parametrize(
    ("take", "voltage", "step", "size", "rotation"),
    [
        (TAKEN, 200, 5.0, 0.03, 12),
        (("rotation",), 200, None, 0.02525, 12),
        (("pixel size",), 200, None, 0.03, 0),
        (("scan",), 200, 5.0, 0.02525, 0),
    ],
)
def test_what_belongs_to_the_scan_stays_and_what_it_does_not_know_is_taken_and_told(
    peaks: BraggPeaks,
    tmp_path: Path,
    take: tuple[Any, ...],
    voltage: float,
    step: float | None,
    size: float,
    rotation: float,
) -> None:
    record = taken(peaks, save_calibration(OF_FILE, tmp_path / "other.json"), take=take)
    made = record.peaks.calibration
    assert (made.voltage_kv, made.scan_step_nm) == (voltage, step)
    assert made.pixel_size_inv_angstrom == pytest.approx(size)
    assert made.scan_rotation_deg == rotation
    assert ("rotation" in made.checked) == (rotation == 12)
    assert record.fit is not None
    steps = [(each.value, each.unit) for each in record.fit.measured if each.what.value == "scan step"]
    assert steps == ([] if step is None else [(5.0, "nm")])


def test_a_file_that_tells_nothing_that_is_wanted_is_refused(peaks: BraggPeaks, tmp_path: Path) -> None:
    knows_voltage = save_calibration(Calibration(voltage_kv=300), tmp_path / "voltage.json")
    with pytest.raises(UserError, match=r"voltage\.json does not say how the scan is calibrated"):
        taken(peaks, knows_voltage)  # the scan has a voltage of its own
    with pytest.raises(UserError, match="does not say how the detector is turned"):
        taken(peaks, knows_voltage, take=("rotation",))


@pytest.mark.parametrize("calibrated_here", [False, True])
def test_the_direct_beam_is_taken_unless_it_is_calibrated_here(
    peaks: BraggPeaks, tmp_path: Path, calibrated_here: bool
) -> None:
    fitted = result_of(calibrate(CalibrateChoice(fits=("origin",)), peaks))
    file = save_bragg_peaks(fitted, tmp_path / "fitted.h5")
    known = peaks.with_calibration(peaks.calibration.updated(origin_px=(60.0, 60.0)))
    if calibrated_here:
        known = known.with_checked(known.calibration.with_checked("origin"))
    made = taken(known, file).peaks
    expected = known if calibrated_here else fitted
    np.testing.assert_array_equal(made.origin_px, expected.origin_px)
    assert made.calibration.origin_px == expected.calibration.origin_px
    without = taken(known, file, take=("ellipse", "pixel size")).peaks
    assert without.calibration.origin_px == known.calibration.origin_px


# --- a recipe ---


def test_the_recipe_of_calibrated_peaks_does_the_same_again_to_the_bit(peaks: BraggPeaks) -> None:
    choice = CalibrateChoice(
        given=GivenCalibration({"scan_rotation_deg": 20.0}), confirmed=("rotation",), crystals=NICKEL
    )
    made = result_of(calibrate(choice, peaks))
    assert made.calibration.unchecked() == ()
    assert made.calibration.scan_rotation_deg == 20
    again = peaks
    for part in parts_of(made):
        again = result_of(calibrate(part, again))
    assert parts_of(made) == choice.parts()
    assert same(made, again)


def test_what_was_undone_in_the_window_is_not_in_the_recipe(
    panel: CalibrateWidget, peaks: BraggPeaks, qtbot: Any
) -> None:
    panel.rows.fit_buttons["origin"].click()
    wait(panel, qtbot)
    panel.rows.rotation_box.setValue(35.0)
    panel.rows.rows["rotation"].tick.click()
    panel.session.set_calibration(panel.session.calibration.updated(pixel_size_inv_angstrom=0.026))  # type: ignore[union-attr]
    panel.rows.rows["ellipse"].tick.click()
    panel.undo_button.click()
    made = wait(panel, qtbot)
    assert parts_of(made) == (
        CalibrateChoice(fits=("origin",)),
        CalibrateChoice(given=GivenCalibration({"scan_rotation_deg": 35.0, "flip": False}), fits=()),
        CalibrateChoice(confirmed=("rotation",), fits=()),
        CalibrateChoice(given=GivenCalibration({"pixel_size_inv_angstrom": 0.026}), fits=()),
    )
    again = peaks
    for part in parts_of(made):
        again = result_of(calibrate(part, again))
    assert same(made, again)


# --- both faces ---


def test_panel_and_command_line_fit_the_same(
    panel: CalibrateWidget, peaks_file: Path, tmp_path: Path, qtbot: Any
) -> None:
    panel.crystal_box.choose("Ni")
    words = [str(peaks_file), "--crystal", "Ni", "--origin-model", "parabola"]
    panel.rows.model_box.setCurrentIndex(1)
    assert panel.choice() == chosen(*words)
    panel.fit_all_button.click()
    by_window = wait(panel, qtbot)
    assert main(["calibrate", *words, "--output", str(tmp_path / "out.h5"), "--quiet"]) == 0
    by_command = open_bragg_peaks(tmp_path / "out.h5")
    assert by_window.calibration.unchecked() == ("rotation",)
    assert same(by_window, by_command)
    assert parts_of(by_window) == parts_of(by_command)


@pytest.mark.parametrize("rotation_only", [False, True])
def test_panel_and_command_line_take_the_same_from_a_file(
    panel: CalibrateWidget,
    peaks_file: Path,
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    rotation_only: bool,
) -> None:
    """The window once kept 200 kV and took the scan step, and the command line took 300 kV and no step."""
    file = save_calibration(OF_FILE, tmp_path / "other.json")
    asked: list[CalibrateChoice] = []
    monkeypatch.setattr(calibrate_widget, "ask_open_file", lambda *_, **__: file)
    monkeypatch.setattr(
        calibrate_widget,
        "calibrate",
        lambda choice, *a, **k: asked.append(choice) or calibrate(choice, *a, **k),
    )
    words = [str(peaks_file), "--from", str(file), "--steps", "none"]
    words += ["--take", "rotation"] if rotation_only else []
    (panel.rows.file_button if rotation_only else panel.open_button).click()
    by_window = wait(panel, qtbot)
    assert asked == [chosen(*words)]
    assert main(["calibrate", *words, "--output", str(tmp_path / "out.h5"), "--quiet"]) == 0
    assert same(by_window, open_bragg_peaks(tmp_path / "out.h5"))
    made = by_window.calibration
    assert (made.voltage_kv, made.scan_step_nm) == (200, None if rotation_only else 5.0)


def test_a_standard_is_chosen_alike_and_its_rings_are_fitted_to_the_same_pattern(
    panel: CalibrateWidget, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Calibration(pixel_size_inv_angstrom=0.02, ellipse_ratio=1.03, origin_px=(49.0, 47.0))
    frames = np.broadcast_to(ring_pattern(true).astype(np.float32), (6, 96, 96)).copy()
    frames[1, 20, 30] = np.nan  # one pixel of one pattern
    file = tmp_path / "gold.npy"
    np.save(file, frames)  # a stack: nobody knows how it was scanned, and nobody has to
    monkeypatch.setattr(calibrate_widget, "ask_open_file", lambda *_, **__: file)
    panel.session.set_calibration(Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.02, origin_px=(1, 2)))
    panel.crystal_box.choose("Au")
    panel.rows.rings_button.click()
    by_window = wait(panel, qtbot).calibration
    words = [str(file), "--rings", "--crystal", "Au", "--pixel-size-inv-angstrom", "0.02"]
    choice = chosen(*words)
    alone = choice.changed(given=GivenCalibration({}))
    assert alone == panel.choice(rings=file, fits=())
    output = tmp_path / "gold.json"
    assert main(["calibrate", *words, "--output", str(output), "--quiet"]) == 0
    by_command, _ = read_calibration(output)
    assert by_command.pixel_size_inv_angstrom == pytest.approx(0.02, rel=0.002)
    assert by_window.pixel_size_inv_angstrom == by_command.pixel_size_inv_angstrom
    assert by_window.ellipse_ratio == by_command.ellipse_ratio
    assert (
        by_window.origin_px != by_command.origin_px
    )  # the direct beam is that of the scan, not of the picture
    assert result_of(calibrate_standard(choice)).calibration == by_command


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("peaks.h5", "--from", "last.json"), "source"),
        (("gold.tif", "--rings", "--crystal", "Au"), "rings"),
    ],
)
def test_the_files_of_a_recipe_are_found_from_every_folder(
    words: tuple[str, ...], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("last.json", "gold.tif"):
        (tmp_path / name).touch()
    text = recipe_as_text(Recipe(steps=(chosen(*words),)), folder=tmp_path / "out")
    found = recipe_from_text(text, folder=tmp_path / "out").choice(CalibrateChoice)
    assert found is not None
    assert getattr(found, field) == tmp_path / (words[2] if field == "source" else words[0])
