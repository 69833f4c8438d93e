"""NumberBox: a spin box for physical numbers, which keeps what is typed, may be empty, and marks what is no number."""

from __future__ import annotations

import math
import re

from qtpy.QtCore import QRectF, Qt, QTimer
from qtpy.QtGui import QColor, QFocusEvent, QPainter, QPaintEvent, QPen, QValidator
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QLineEdit, QWidget

_LIMIT = 1e9
_BEGINNING = re.compile(r"\s*[+-]?\d*[.,]?\d*([eE][+-]?\d*)?\s*")  # of a number that is being typed
FAULT_COLOUR = "#e5432d"  # 3:1 and more against the fields of both themes


class NumberBox(QDoubleSpinBox):
    """A number between two bounds; unlike its base class it does not round, and knows "no value".

    What was typed stays as it was typed. What reads as no number stays, too, framed in red with a tooltip that
    says what is wanted; the value is then what it was before.

    Parameters
    ----------
    minimum, maximum
        Bounds, None where there is none.
    minimum_excluded
        Whether the minimum itself is no value.
    whole
        Whether only whole numbers are allowed.
    empty_text
        What is shown for None, which an emptied box holds; where it is None itself, the box always holds a number.
    """

    def __init__(
        self,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        minimum_excluded: bool = False,
        whole: bool = False,
        empty_text: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._whole = whole
        self._empty_text = empty_text
        self._bounds = minimum, maximum, minimum_excluded
        self._typed: tuple[float, str] | None = None  # the number that was typed last, and how
        self._wrong: str | None = None  # the text that is no number, while it stands
        self._fault = ""  # what is wrong with it
        self._explanation: str | None = None  # the tooltip that the fault stands in for
        self._texts = "", ""  # the text before, and now
        self.setDecimals(0 if whole else 12)
        super().setRange(
            *_range(minimum, maximum, excluded=minimum_excluded, whole=whole, empty=bool(empty_text))
        )
        line = self.lineEdit() or QLineEdit()
        line.textEdited.connect(self._on_edited)
        line.textChanged.connect(self._on_text_changed)
        self.setValue(self.minimum() if empty_text is not None else self.value())
        line.setText(self.textFromValue(self.value()))
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(70)

    # --- the value -----------------------------------------------------------------------------------------

    def number(self) -> float | int | None:
        """The value, or None where the box says that there is none."""
        if self._empty_text is not None and self.value() <= self.minimum():
            return None
        return round(self.value()) if self._whole else self.value()

    def set_number(self, number: float | None) -> None:
        """Show a value, or None; what stood there and was no number is forgotten."""
        self.setValue(self.minimum() if number is None else float(number))

    def setValue(self, val: float) -> None:  # noqa: N802 - Qt's name
        """Show a value instead of whatever was typed."""
        if self._wrong is not None:
            self._wrong = None
            self._show(self.textFromValue(self.value()))
        super().setValue(val)

    def setRange(self, min: float, max: float) -> None:  # noqa: A002, N802 - Qt's names
        """Take other bounds."""
        self._bounds = min, max, False
        super().setRange(min, max)

    def refuse(self, text: str, fault: str) -> None:
        """Mark a text that reads as a number but is not allowed, for a reason that the box itself does not know."""
        self._wrong = text
        self._show(text)
        self._mark(fault)

    @property
    def fault(self) -> str:
        """What is wrong with the text in the box; empty where it stands for the value."""
        return self._fault

    # --- what Qt asks --------------------------------------------------------------------------------------

    def textFromValue(self, v: float) -> str:  # noqa: N802 - Qt's name
        """Write a value as it was typed, else with six digits and no trailing zeros."""
        if self._wrong is not None:
            return self._wrong
        if self._empty_text is not None and v <= self.minimum():
            return self._empty_text
        if self._typed is not None and math.isclose(v, self._typed[0], rel_tol=1e-9, abs_tol=1e-12):
            return self._typed[1]
        return f"{round(v)}" if self._whole else f"{v:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        """Read a value written with a point or a comma, or with an exponent."""
        number = _read(text)
        if number is None:
            return self.minimum()
        self._typed = number, (text or "").strip().replace(",", ".")  # the point shows how a comma was read
        return number

    def validate(self, input: str | None, pos: int) -> tuple[QValidator.State, str, int]:  # noqa: A002
        """Accept what reads as a number within the bounds."""
        text = input or ""
        if text != self._texts[1]:  # every change of the text comes here, of some Qt sends no signal
            self._texts = self._texts[1], text
        wrong = self._fault_of(text)
        return QValidator.State.Intermediate if wrong else QValidator.State.Acceptable, text, pos

    def fixup(self, input: str | None) -> str:  # noqa: A002
        """Keep what is no number, marked, when the box is left."""
        text = input or ""
        self._wrong = text
        self._mark(self._fault_of(text))
        return text

    def stepEnabled(self) -> QAbstractSpinBox.StepEnabledFlag:  # noqa: N802 - Qt's name
        """Step from a number only."""
        if self.number() is None:
            return QAbstractSpinBox.StepEnabledFlag.StepNone
        return super().stepEnabled()

    def stepBy(self, steps: int) -> None:  # noqa: N802 - Qt's name
        """Step from the value, not from what is no number."""
        if self._fault:
            self.setValue(self.value())
        super().stepBy(steps)

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Select the text, so that typing replaces it."""
        super().focusInEvent(event)
        QTimer.singleShot(0, self.selectAll)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Frame in red what is no number; napari's style sheet leaves no other way."""
        super().paintEvent(event)
        if self._fault:
            painter = QPainter(self)
            painter.setPen(QPen(QColor(FAULT_COLOUR), 2))
            painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))
            painter.end()

    # --- private -------------------------------------------------------------------------------------------

    def _on_edited(self, text: str) -> None:
        """Let what is typed replace the word for "no value", wherever the cursor stood in it."""
        self._wrong = None
        before = self._texts[0] if self._texts[1] == text else self._texts[1]
        if self._empty_text and before == self._empty_text:
            self._show(_inserted(self._empty_text, text))

    def _on_text_changed(self, _: str) -> None:
        line = self.lineEdit()
        text = "" if line is None else line.text()
        if self._wrong != text:
            still_typing = _BEGINNING.fullmatch(text) is not None
            self._mark("" if still_typing else self._fault_of(text))

    def _show(self, text: str) -> None:
        line = self.lineEdit()
        if line is not None and line.text() != text:
            line.setText(text)

    def _mark(self, fault: str) -> None:
        if fault == self._fault:
            return
        if not self._fault:
            self._explanation = self.toolTip()
        self._fault = fault
        self.setToolTip(f"<qt>{_escaped(fault)}</qt>" if fault else self._explanation or "")
        self.setAccessibleDescription(fault)
        self.update()

    def _fault_of(self, text: str) -> str:
        """What is wrong with a text, and what is wanted; empty where nothing is."""
        text = text.strip()
        if self._empty_text is not None and text in ("", self._empty_text):
            return ""
        number = _read(text)
        if number is None:
            said = f"“{text}” is no number" if text else "A number is missing here"
            return f"{said}; wanted is {self._wanted()}."
        least, most, excluded = self._bounds
        below = least is not None and (number <= least if excluded else number < least)
        above = most is not None and number > most
        if below or above or abs(number) >= _LIMIT or (self._whole and number != round(number)):
            return f"{text} is not allowed; wanted is {self._wanted()}."
        return ""

    def _wanted(self) -> str:
        least, most, excluded = self._bounds
        words = ["a whole number" if self._whole else "a number such as 0.0125 or 1.25e-2"]
        if least is not None:
            words.append(f"{'above' if excluded else 'not below'} {least:g}")
        if most is not None:
            words.append(f"not above {most:g}")
        empty = "" if self._empty_text is None else f", or nothing for “{self._empty_text}”"
        return ", ".join(words) + empty


def _read(text: str | None) -> float | None:
    try:
        number = float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _inserted(before: str, after: str) -> str:
    """What was put into a text, or instead of a part of it; empty where something was only taken out."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return after[start : len(after) - end]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _range(
    minimum: float | None, maximum: float | None, *, excluded: bool, whole: bool, empty: bool
) -> tuple[float, float]:
    low = -_LIMIT if minimum is None else minimum
    high = _LIMIT if maximum is None else maximum
    if empty and minimum is not None and not excluded:
        low = minimum - (1 if whole else 1e-9)  # one step below the least number stands for None
    elif excluded and not empty:
        low = low + 1 if whole else math.nextafter(low, math.inf) if low else 1e-12
    return low, high
