"""What is typed into a box of numbers: it stays as it was typed, and what is no number is told, never dropped."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, model_validator
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from napari_stem_orient.gui.parts.number_box import FAULT_COLOUR, NumberBox
from napari_stem_orient.gui.parts.parameter_form import ParameterForm


@pytest.fixture
def voltage(qtbot: QtBot) -> NumberBox:
    box = NumberBox(minimum=0, minimum_excluded=True, empty_text="missing")
    qtbot.addWidget(box)
    box.show()
    return box


def line_of(box: NumberBox) -> QLineEdit:
    line = box.lineEdit()
    assert line is not None
    return line


def enter(qtbot: QtBot, box: NumberBox, text: str) -> None:
    """Replace what stands in the box, and leave it."""
    line_of(box).selectAll()
    qtbot.keyClick(box, Qt.Key.Key_Delete)
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


def frame_colour(box: NumberBox) -> str:
    return box.grab().toImage().pixelColor(1, box.height() // 2).name()


@pytest.mark.parametrize("cursor", [0, 3, 7])
def test_digits_replace_the_word_missing_wherever_the_cursor_stands(
    qtbot: QtBot, voltage: NumberBox, cursor: int
) -> None:
    assert voltage.text() == "missing"
    line_of(voltage).setCursorPosition(cursor)
    qtbot.keyClicks(voltage, "1.5")
    qtbot.keyClick(voltage, Qt.Key.Key_Return)
    assert voltage.number() == 1.5
    assert voltage.text() == "1.5"


def test_a_letter_of_the_word_taken_away_takes_the_whole_word(qtbot: QtBot, voltage: NumberBox) -> None:
    line_of(voltage).end(False)
    qtbot.keyClick(voltage, Qt.Key.Key_Backspace)
    assert voltage.text() == ""
    qtbot.keyClick(voltage, Qt.Key.Key_Return)
    assert voltage.number() is None
    assert voltage.fault == ""


@pytest.mark.parametrize(
    ("typed", "number", "shown"),
    [
        ("0.012345", 0.012345, "0.012345"),
        ("0.01234567", 0.01234567, "0.01234567"),
        ("0,0123", 0.0123, "0.0123"),
        ("1e-2", 0.01, "1e-2"),
        ("2.50", 2.5, "2.50"),
    ],
)
def test_a_number_stays_as_it_was_typed_and_a_comma_shows_as_the_point_that_it_was_read_as(
    qtbot: QtBot, voltage: NumberBox, typed: str, number: float, shown: str
) -> None:
    enter(qtbot, voltage, typed)
    assert voltage.number() == number
    assert voltage.text() == shown
    voltage.clearFocus()
    voltage.interpretText()
    assert voltage.number() == number
    assert voltage.text() == shown


def test_an_emptied_box_holds_nothing_where_nothing_is_allowed(qtbot: QtBot, voltage: NumberBox) -> None:
    enter(qtbot, voltage, "200")
    seen: list[float] = []
    voltage.valueChanged.connect(seen.append)
    enter(qtbot, voltage, "")
    assert voltage.number() is None
    assert voltage.text() == "missing"
    assert len(seen) == 1
    assert voltage.fault == ""


@pytest.mark.parametrize("typed", ["abc", "1.2.3", "200 kV", "1e", "0", "-5", "nan", "1e12"])
def test_what_is_no_value_stays_marked_and_the_value_stays_as_it_was(
    qtbot: QtBot, voltage: NumberBox, typed: str
) -> None:
    enter(qtbot, voltage, "200")
    plain = frame_colour(voltage)
    voltage.setToolTip("Accelerating voltage.")
    enter(qtbot, voltage, typed)
    assert voltage.text() == typed
    assert voltage.number() == 200
    assert typed in voltage.fault
    assert "above 0" in voltage.fault
    assert voltage.fault in voltage.toolTip()
    assert frame_colour(voltage) == FAULT_COLOUR != plain
    enter(qtbot, voltage, "300")
    assert voltage.number() == 300
    assert voltage.fault == ""
    assert voltage.toolTip() == "Accelerating voltage."
    assert frame_colour(voltage) == plain


def test_a_box_that_needs_a_number_says_so_when_it_is_emptied(qtbot: QtBot) -> None:
    box = NumberBox(minimum=1, maximum=9, whole=True)
    qtbot.addWidget(box)
    enter(qtbot, box, "")
    assert "a whole number, not below 1, not above 9" in box.fault
    assert box.text() == ""
    enter(qtbot, box, "2.5")
    assert "2.5 is not allowed" in box.fault
    box.set_number(4)
    assert (box.text(), box.fault) == ("4", "")


def test_nothing_is_marked_while_a_number_is_being_typed(qtbot: QtBot, voltage: NumberBox) -> None:
    line_of(voltage).selectAll()
    for key in "1.5e-2":
        qtbot.keyClicks(voltage, key)
        assert voltage.fault == ""
    qtbot.keyClicks(voltage, "x")
    assert voltage.fault


def test_the_arrows_step_from_a_number_only(qtbot: QtBot, voltage: NumberBox) -> None:
    qtbot.keyClick(voltage, Qt.Key.Key_Up)
    assert voltage.number() is None
    enter(qtbot, voltage, "200")
    qtbot.keyClick(voltage, Qt.Key.Key_Up)
    assert voltage.number() == 210


class Range(BaseModel):
    model_config = ConfigDict(frozen=True)

    low: float = 1.0
    high: float = 5.0

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}; raise high")
        return self


def test_numbers_that_do_not_go_together_stay_marked_until_they_do(qtbot: QtBot) -> None:
    form = ParameterForm(Range())
    qtbot.addWidget(form)
    low, high = form.editor("low"), form.editor("high")
    assert isinstance(low, NumberBox)
    assert isinstance(high, NumberBox)
    enter(qtbot, low, "7")
    assert form.value == Range()
    assert low.text() == "7"
    assert "low 7 is above high 5" in low.fault
    enter(qtbot, high, "9")
    assert form.value == Range(low=7, high=9)
    assert low.fault == high.fault == ""
    assert low.text() == "7"
