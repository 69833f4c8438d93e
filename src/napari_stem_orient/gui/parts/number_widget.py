"""NumberWidget: a NumberBox as a widget of magicgui, so that scripts can read and set it like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from magicgui.widgets.bases import ValueWidget
from magicgui.widgets.protocols import ValueWidgetProtocol
from numpy.typing import NDArray
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.parts.number_box import NumberBox


class NumberBackend(ValueWidgetProtocol):
    """What magicgui asks of a widget, answered by a NumberBox.

    magicgui's own box for numbers rounds to its decimals (0.012345 becomes 0.01), has no "no value" and forgets what is
    typed and is no number.

    Parameters
    ----------
    parent
        Of the box.
    options
        Those of `NumberBox`.
    """

    def __init__(self, parent: QWidget | None = None, **options: Any) -> None:
        self._box = NumberBox(parent=parent, **options)

    def _mgui_get_value(self) -> float | int | None:
        return self._box.number()

    def _mgui_set_value(self, value: Any) -> None:
        self._box.set_number(value)

    def _mgui_bind_change_callback(self, callback: Callable[[Any], Any]) -> None:
        self._box.valueChanged.connect(lambda _: callback(self._box.number()))

    def _mgui_close_widget(self) -> None:
        self._box.close()

    def _mgui_get_visible(self) -> bool:
        return self._box.isVisible()

    def _mgui_set_visible(self, value: bool) -> None:
        self._box.setVisible(value)

    def _mgui_get_enabled(self) -> bool:
        return self._box.isEnabled()

    def _mgui_set_enabled(self, enabled: bool) -> None:
        self._box.setEnabled(enabled)

    def _mgui_get_parent(self) -> Any:
        return self._box.parentWidget()

    def _mgui_set_parent(self, widget: Any) -> None:
        self._box.setParent(widget)

    def _mgui_get_native_widget(self) -> QWidget:
        return self._box

    def _mgui_get_root_native_widget(self) -> QWidget:
        return self._box

    def _mgui_bind_parent_change_callback(self, callback: Callable[[Any], None]) -> None:
        """Nobody listens: a form lays its boxes out once."""

    def _mgui_render(self) -> NDArray[np.uint8]:
        image = self._box.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
        pixels: Any = image.constBits()
        if hasattr(pixels, "setsize"):  # PyQt does not know how long they are
            pixels.setsize(image.sizeInBytes())
        rows: NDArray[np.uint8] = np.frombuffer(pixels, dtype=np.uint8)
        rows = rows.reshape(image.height(), image.bytesPerLine())[:, : 4 * image.width()]
        return rows.reshape(image.height(), image.width(), 4).copy()

    def _mgui_get_tooltip(self) -> str:
        return self._box.toolTip()

    def _mgui_set_tooltip(self, value: str | None) -> None:
        self._box.setToolTip(value or "")

    def _mgui_get_width(self) -> int:
        return self._box.width()

    def _mgui_set_width(self, value: int) -> None:
        self._box.resize(value, self._box.height())

    def _mgui_get_min_width(self) -> int:
        return self._box.minimumWidth()

    def _mgui_set_min_width(self, value: int) -> None:
        self._box.setMinimumWidth(value)

    def _mgui_get_max_width(self) -> int:
        return self._box.maximumWidth()

    def _mgui_set_max_width(self, value: int) -> None:
        self._box.setMaximumWidth(value)

    def _mgui_get_height(self) -> int:
        return self._box.height()

    def _mgui_set_height(self, value: int) -> None:
        self._box.resize(self._box.width(), value)

    def _mgui_get_min_height(self) -> int:
        return self._box.minimumHeight()

    def _mgui_set_min_height(self, value: int) -> None:
        self._box.setMinimumHeight(value)

    def _mgui_get_max_height(self) -> int:
        return self._box.maximumHeight()

    def _mgui_set_max_height(self, value: int) -> None:
        self._box.setMaximumHeight(value)


class NumberWidget(ValueWidget[Any]):
    """A physical number, or None where the box may be empty, in magicgui.

    Parameters
    ----------
    minimum, maximum, minimum_excluded, whole, empty_text
        As `NumberBox` has them.
    keywords
        Those of magicgui's widgets: name, label, annotation, tooltip ...
    """

    def __init__(
        self,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        minimum_excluded: bool = False,
        whole: bool = False,
        empty_text: str | None = None,
        **keywords: Any,
    ) -> None:
        options = {
            "minimum": minimum,
            "maximum": maximum,
            "minimum_excluded": minimum_excluded,
            "whole": whole,
            "empty_text": empty_text,
        }
        nullable = empty_text is not None
        super().__init__(widget_type=NumberBackend, backend_kwargs=options, nullable=nullable, **keywords)
