"""A pydantic model shown as a form and read back, digit for digit."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pytest
from magicgui.widgets import CheckBox, Container
from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel, ConfigDict, Field
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.number_widget import NumberWidget
from napari_stem_orient.gui.parts.parameter_form import ParameterForm


class Kind(StrEnum):
    DISKS = "disks"
    SPOTS = "spots"


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["fast", "exact"] = Field("fast", description="How to search.")
    kind: Kind = Kind.DISKS
    spacing_px: float = Field(
        4.5, ge=1, le=100, title="Minimum spacing", description="Distance of two disks in px.",
        json_schema_extra={"unit": "px"},
    )  # fmt: skip
    limit: int | None = Field(None, ge=1, description="Most disks.")
    tiny: float = Field(1.23456789e-5, gt=0)
    refine: bool = True
    rank: int = Field(3, ge=0, le=9, json_schema_extra={"advanced": True})
    pair: tuple[float, float] = (1.0, 2.0)


@pytest.fixture
def form(qtbot: QtBot) -> ParameterForm[Parameters]:
    form = ParameterForm(Parameters())
    qtbot.addWidget(form)
    return form


def number(form: ParameterForm[Any], name: str) -> NumberBox:
    box = form.editor(name)
    assert isinstance(box, NumberBox)
    return box


def test_the_form_starts_with_the_defaults_and_keeps_every_digit(form: ParameterForm[Parameters]) -> None:
    assert form.value == Parameters()
    number(form, "rank").setValue(4)
    assert form.value == Parameters(rank=4)


def test_an_edit_gives_a_new_model_and_is_announced_once(form: ParameterForm[Parameters]) -> None:
    seen: list[Parameters] = []
    form.changed.connect(seen.append)
    number(form, "spacing_px").setValue(7.25)
    box = form.editor("mode")
    assert isinstance(box, QComboBox)
    box.setCurrentIndex(1)
    check = form.editor("refine")
    assert isinstance(check, QCheckBox)
    check.setChecked(False)
    assert seen[-1] == Parameters(spacing_px=7.25, mode="exact", refine=False)
    assert len(seen) == 3


def test_showing_a_model_is_silent_and_complete(form: ParameterForm[Parameters]) -> None:
    seen: list[Parameters] = []
    form.changed.connect(seen.append)
    shown = Parameters(mode="exact", kind=Kind.SPOTS, limit=12, refine=False, rank=5, pair=(3.0, 4.0))
    form.set_value(shown)
    assert form.value == shown
    assert number(form, "limit").number() == 12
    assert not seen


def test_none_is_shown_in_words_and_a_number_replaces_it(form: ParameterForm[Parameters]) -> None:
    box = number(form, "limit")
    assert box.number() is None
    assert box.text() == "automatic"
    box.setValue(6)
    assert form.value.limit == 6
    box.set_number(None)
    assert form.value.limit is None


@pytest.mark.parametrize(("typed", "expected"), [("0,0123", 0.0123), ("1e-3", 0.001), (" 0.02", 0.02)])
def test_numbers_may_be_typed_with_a_comma_or_an_exponent(qtbot: QtBot, typed: str, expected: float) -> None:
    box = NumberBox(minimum=0, maximum=10, minimum_excluded=True, empty_text="missing")
    qtbot.addWidget(box)
    line = box.lineEdit()
    assert line is not None
    line.selectAll()
    qtbot.keyClicks(line, typed)
    box.interpretText()
    assert box.number() == expected


def test_bounds_and_excluded_bounds_hold(qtbot: QtBot, form: ParameterForm[Parameters]) -> None:
    number(form, "spacing_px").setValue(-5)
    assert form.value.spacing_px == 1
    number(form, "tiny").setValue(0)
    assert form.value.tiny > 0


def test_units_and_tooltips_come_from_the_fields(form: ParameterForm[Parameters]) -> None:
    labels = [label.text() for label in form.findChildren(QLabel)]
    assert "Minimum spacing (px)" in labels
    assert "Distance of two disks in px." in form.editor("spacing_px").toolTip()


def test_advanced_fields_are_folded_away_and_tuples_left_alone(form: ParameterForm[Parameters]) -> None:
    assert form.folding is not None
    assert not form.folding.unfolded
    assert form.folding.body.isAncestorOf(form.editor("rank"))
    with pytest.raises(KeyError):
        form.editor("pair")


def test_a_calibration_with_gaps_goes_through_the_form_unchanged(qtbot: QtBot) -> None:
    calibration = Calibration(
        voltage_kv=300, pixel_size_inv_angstrom=0.0123456789012, origin_px=(63.5, 64.25)
    )
    form = ParameterForm(calibration, empty_text="missing")
    qtbot.addWidget(form)
    assert form.value == calibration
    number(form, "scan_step_nm").setValue(2.5)
    assert form.value == calibration.updated(scan_step_nm=2.5)


def test_a_script_reads_and_sets_the_fields_as_widgets_of_magicgui(form: ParameterForm[Parameters]) -> None:
    seen: list[Parameters] = []
    form.changed.connect(seen.append)
    controls = form.controls
    shown = {name: control.value for name, control in controls.items()}
    assert shown.pop("tiny") == pytest.approx(1.23456789e-5, rel=1e-6)
    assert shown == {
        "mode": "fast",
        "kind": Kind.DISKS,
        "spacing_px": 4.5,
        "limit": None,
        "refine": True,
        "rank": 3,
    }
    assert all(
        isinstance(control, ValueWidget) and control.name == name for name, control in controls.items()
    )
    controls["spacing_px"].value = 0.012345 + 1
    controls["limit"].value = 7
    controls["kind"].value = Kind.SPOTS
    controls["refine"].value = False
    assert form.value == Parameters(spacing_px=1.012345, limit=7, kind=Kind.SPOTS, refine=False)
    controls["limit"].value = None
    assert form.value.limit is None
    assert len(seen) == 5


def test_a_number_widget_stands_in_a_container_of_magicgui(qtbot: QtBot) -> None:
    width = NumberWidget(name="width", minimum=0.0, empty_text="automatic", label="Width (1/Å)")
    container = Container(widgets=[width, CheckBox(name="wide")])
    qtbot.addWidget(container.native)
    container.show()
    told: list[object] = []
    width.changed.connect(told.append)
    container["width"].value = 0.012345
    container["width"].value = None
    assert told == [0.012345, None]
    assert container.asdict() == {"width": None, "wide": False}
    assert width.render().shape[2] == 4
