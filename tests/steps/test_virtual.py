"""Virtual detectors as a step: what is counted is data, and both faces choose, and count, the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from napari_stem_orient.cli.main import build_parser, main
from napari_stem_orient.cli.virtual import virtual_choice
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.gui.virtual import jobs as window
from napari_stem_orient.gui.virtual.widget import VirtualWidget
from napari_stem_orient.steps.mask import NO_MASK
from napari_stem_orient.steps.open import GivenCalibration, OpenChoice, open_scan
from napari_stem_orient.steps.virtual import VirtualChoice, images_of, pattern_of, region_text, scene_of
from napari_stem_orient.virtual.detector import annular_dark_field, bright_field

ORIGIN = (24.0, 24.0)
OPENED = OpenChoice(calibration=GivenCalibration({"origin_px": ORIGIN}), pedestal=0)


def test_a_choice_comes_back_from_yaml_and_names_are_told_apart() -> None:
    choice = VirtualChoice(
        detectors=(bright_field(3), bright_field(5), annular_dark_field(6, 12)), mask=NO_MASK
    )
    assert [each.name for each in choice.detectors] == [
        "Bright field",
        "Bright field 2",
        "Annular dark field",
    ]
    assert (
        VirtualChoice.model_validate(yaml.safe_load(yaml.safe_dump(choice.model_dump(mode="json")))) == choice
    )
    region = VirtualChoice(region="1-4, 9", pattern_follows_beam=False)
    assert VirtualChoice.model_validate(region.given_fields()) == region


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"region": "a-b"}, "write numbers from 1"),
        ({"region": "1-4", "detectors": (bright_field(3),)}, "choose one or the other"),
        (
            {"detectors": ({"shape": "annulus", "inner_radius_px": 5, "outer_radius_px": 4},)},
            "must be smaller",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(fields: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        VirtualChoice(**fields)


def test_a_region_is_averaged_where_it_lies_in_the_scan(scan_file: Path) -> None:
    scan = open_scan(scan_file, OPENED)
    frames = np.load(scan_file)
    region = np.zeros((8, 10), dtype=bool)
    region[2, 3:6] = region[7, 9] = True
    assert region_text(region) == "24-26, 80"
    made = result_of(pattern_of(VirtualChoice(region=region_text(region)), scene_of(scan)))
    np.testing.assert_allclose(made.mean, frames[region].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(made.region, region)
    with pytest.raises(UserError, match="positions 79-81 do not lie in the scan of 80 positions"):
        result_of(pattern_of(VirtualChoice(region="1,79-81"), scene_of(scan)))


@pytest.fixture
def dock(qtbot: Any, scan_file: Path) -> VirtualWidget:
    from napari.components import ViewerModel

    dock = VirtualWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(dock)
    dock.session.set_datacube(open_scan(scan_file, OPENED))
    dock.live_box.setChecked(False)
    return dock


def words_for(scan_file: Path, *words: str) -> list[str]:
    origin = [str(value) for value in ORIGIN]
    return ["virtual", str(scan_file), *words, "--pedestal", "0", "--origin-px", *origin]


def chosen(words: list[str], scan_file: Path) -> VirtualChoice:
    arguments = build_parser("virtual").parse_args([*words, "--output", "out.npy"])
    return virtual_choice(arguments, scene_of(open_scan(scan_file, OPENED)))


def test_dock_and_command_line_choose_and_count_the_same(
    dock: VirtualWidget, scan_file: Path, tmp_path: Path, qtbot: Any
) -> None:
    dock.bright_button.click()
    dock.form.outer_box.setValue(4.5)
    dock.dark_button.click()
    dock.form.inner_box.setValue(8)
    dock.form.outer_box.setValue(20)
    words = words_for(scan_file, "--bright-field", "4.5", "--annular", "8", "20")
    detectors = tuple(entry.detector for entry in dock.detectors.entries)
    assert window.virtual_choice(dock.session, detectors) == chosen(words, scan_file)
    dock.compute_button.click()
    qtbot.waitUntil(lambda: not dock.imager.running, timeout=150_000)
    images = dock.imager.images()
    assert images is not None
    assert main([*words, "--output", str(tmp_path / "out.npy"), "--quiet"]) == 0
    np.testing.assert_array_equal(images.images, np.load(tmp_path / "out.npy"))
    again = result_of(images_of(chosen(words, scan_file), scene_of(open_scan(scan_file, OPENED))))
    np.testing.assert_array_equal(images.images, again.images)


def test_the_pattern_of_a_region_is_chosen_and_made_alike(
    dock: VirtualWidget, scan_file: Path, tmp_path: Path
) -> None:
    region = np.zeros((8, 10), dtype=bool)
    region[1:4, 2:6] = True
    words = words_for(scan_file, "--region", "1", "3", "2", "5", "--mask", "none")
    choice = window.region_choice(dock.session, region)
    assert choice.changed(mask=NO_MASK) == chosen(words, scan_file)
    scene = window.virtual_scene(dock.session)
    assert scene is not None
    made = result_of(pattern_of(choice, scene))
    assert main([*words, "--output", str(tmp_path / "out.npy"), "--quiet"]) == 0
    np.testing.assert_array_equal([made.mean, made.maximum], np.load(tmp_path / "out.npy"))


def test_the_beam_is_where_peaks_know_it_else_where_the_scan_does(scan_file: Path) -> None:
    scan = open_scan(scan_file, OpenChoice())
    assert scene_of(scan).origins == pytest.approx((23.5, 23.5), abs=1.0)  # looked for: the brightest disk
    known = scan.with_calibration(Calibration(origin_px=(20.0, 21.0)))
    np.testing.assert_array_equal(scene_of(known).origins, (20.0, 21.0))
