"""RangeBox: the lowest and the highest of a quantity, in one row, in a unit that can be chosen."""

from __future__ import annotations

from collections.abc import Mapping

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_stem_orient.gui.parts.number_box import NumberBox


class RangeBox(QWidget):
    """Two numbers, the first never above the second.

    Parameters
    ----------
    units
        Names of units with their size in the unit of `values`; the first is shown first.
    minimum, maximum
        Bounds in the unit of `values`.
    """

    changed = Signal()  # by the user

    def __init__(
        self, units: Mapping[str, float], *, minimum: float, maximum: float, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._units = dict(units)
        self._bounds = (minimum, maximum)
        self._values = (minimum, maximum)
        self.low, self.high = NumberBox(), NumberBox()
        for box in (self.low, self.high):
            box.setMinimumWidth(58)
        self.unit_box = QComboBox()
        self.unit_box.addItems(list(self._units))
        self.unit_label = QLabel(next(iter(self._units)))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.low, 1)
        layout.addWidget(QLabel("to"))
        layout.addWidget(self.high, 1)
        layout.addWidget(self.unit_box if len(self._units) > 1 else self.unit_label)
        self.low.valueChanged.connect(self._on_low)
        self.high.valueChanged.connect(self._on_high)
        self.unit_box.currentTextChanged.connect(self._show)
        self._show()

    @property
    def values(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return self._values

    def set_values(self, low: float, high: float) -> None:
        """Show a range; `changed` stays silent."""
        self._set_values(low, high)
        self._show()

    def _set_values(self, low: float, high: float) -> None:
        least, most = self._bounds
        low = min(max(low, least), most)
        self._values = (low, min(max(low, high), most))

    def _show(self, _: str = "", *, keep_marked: bool = False) -> None:
        size = self._units[self.unit_box.currentText()]
        for box, value in zip((self.low, self.high), self._values, strict=True):
            if keep_marked and box.fault:
                continue  # what was typed into it is no number, and still to be seen
            box.blockSignals(True)
            box.setRange(self._bounds[0] / size, self._bounds[1] / size)
            box.set_number(value / size)
            box.blockSignals(False)

    def _on_low(self, value: float) -> None:
        low = value * self._units[self.unit_box.currentText()]
        self._take(low, max(low, self._values[1]))

    def _on_high(self, value: float) -> None:
        high = value * self._units[self.unit_box.currentText()]
        self._take(min(high, self._values[0]), high)

    def _take(self, low: float, high: float) -> None:
        self._set_values(low, high)
        self._show(keep_marked=True)
        self.changed.emit()
