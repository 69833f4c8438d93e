"""NumberBox: a spin box for physical numbers, which keeps every digit and may be empty."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QFocusEvent, QValidator, QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QWidget

_LIMIT = 1e9


class NumberBox(QDoubleSpinBox):
    """A number between two bounds; unlike its base class it does not round, and knows "no value".

    Parameters
    ----------
    minimum, maximum
        Bounds, None where there is none.
    minimum_excluded
        Whether the minimum itself is no value.
    whole
        Whether only whole numbers are allowed.
    empty_text
        What is shown for None; where it is None itself, the box always holds a number.
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
        self.setDecimals(0 if whole else 12)
        self.setRange(
            *_range(minimum, maximum, excluded=minimum_excluded, whole=whole, empty=bool(empty_text))
        )
        if empty_text is not None:
            self.setSpecialValueText(empty_text)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(70)

    def number(self) -> float | int | None:
        """The value, or None where the box says that there is none."""
        if self._empty_text is not None and self.value() <= self.minimum():
            return None
        return round(self.value()) if self._whole else self.value()

    def set_number(self, number: float | None) -> None:
        """Show a value, or None."""
        self.setValue(self.minimum() if number is None else float(number))

    def textFromValue(self, v: float) -> str:  # noqa: N802 - Qt's name
        """Write a value with six digits and no trailing zeros."""
        return f"{round(v)}" if self._whole else f"{v:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        """Read a value written with a point or a comma, or with an exponent."""
        number = _read(text)
        return self.minimum() if number is None else number

    def validate(self, input: str | None, pos: int) -> tuple[QValidator.State, str, int]:  # noqa: A002
        """Accept what reads as a number within the bounds."""
        text = input or ""
        number = _read(text)
        inside = number is not None and self.minimum() <= number <= self.maximum()
        acceptable = text == self._empty_text or (
            inside and not (self._whole and number != round(number or 0))
        )
        state = QValidator.State.Acceptable if acceptable else QValidator.State.Intermediate
        return state, text, pos

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Select the text, so that typing replaces it."""
        super().focusInEvent(event)
        QTimer.singleShot(0, self.selectAll)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Turn only a box that was chosen: the wheel scrolls the panel otherwise."""
        if self.hasFocus():
            super().wheelEvent(event)
        elif event is not None:
            event.ignore()


def _read(text: str | None) -> float | None:
    try:
        number = float((text or "").strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


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
