"""DetectorView: a pattern with the virtual detectors over it, moved, resized and added with the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.parts.fit_button import ZOOM_WORDS
from napari_stem_orient.gui.parts.pattern_view import PatternView
from napari_stem_orient.gui.virtual.detectors import DetectorEntry
from napari_stem_orient.gui.virtual.roi import DetectorItem
from napari_stem_orient.virtual.detector import VirtualDetector

_TOOLTIP = (
    "<qt>The pattern, with the direct beam at 0, and the virtual detectors. Drag a disk by its inside, an annulus by "
    "its rim; drag the small handle on the rim to resize. Click one to select it. Drag elsewhere to move the pattern. "
    f"{ZOOM_WORDS}</qt>"
)


class DetectorView(PatternView):
    """Shows a pattern and draws detectors over it.

    Parameters
    ----------
    parent : the widget that it is part of

    Attributes
    ----------
    dragged : emits key and `VirtualDetector` as the mouse has left it
    picked : emits the key of the detector that was clicked
    place_clicked : emits row and column of a click while `ask_for_a_place` holds, in px
    """

    dragged = Signal(int, object)
    picked = Signal(int)
    place_clicked = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._drawn: dict[int, DetectorItem] = {}
        self._entries: dict[int, DetectorEntry] = {}
        self._selected: int | None = None
        self._asking = False
        self.setToolTip(_TOOLTIP)
        self.getPlotItem().scene().sigMouseClicked.connect(self._on_scene_clicked)

    @property
    def drawn_items(self) -> dict[int, DetectorItem]:
        """What is drawn of each detector, by its key."""
        return dict(self._drawn)

    def set_frame(
        self,
        *,
        origin_px: tuple[float, float],
        pixel_size_inv_angstrom: float | None,
        detector_shape: tuple[int, int] | None,
    ) -> None:
        """Say where the axes are zero, and their scale; the detectors that follow the beam follow."""
        super().set_frame(
            origin_px=origin_px,
            pixel_size_inv_angstrom=pixel_size_inv_angstrom,
            detector_shape=detector_shape,
        )
        self._place_items()

    def set_entries(self, entries: Sequence[DetectorEntry], *, selected: int | None) -> None:
        """Draw these detectors and no others."""
        self._entries, self._selected = {entry.key: entry for entry in entries}, selected
        for key in [key for key in self._drawn if key not in self._entries]:
            self._drawn.pop(key).remove()
        for key, entry in self._entries.items():
            if key not in self._drawn:
                self._drawn[key] = self._new_item(entry)
        self._place_items()

    def ask_for_a_place(self, asking: bool) -> None:
        """Take the next clicks as places, or as what they were again."""
        self._asking = asking
        viewport = self.viewport()
        if viewport is not None:
            shape = Qt.CursorShape.CrossCursor if asking else Qt.CursorShape.ArrowCursor
            viewport.setCursor(shape)

    def click_at(self, x: float, y: float) -> None:
        """Take a click at a place in the units of the axes."""
        if self._asking:
            row, column = y / self._pixel_size + self._origin_px[0], x / self._pixel_size + self._origin_px[1]
            self.place_clicked.emit(row, column)

    def _new_item(self, entry: DetectorEntry) -> DetectorItem:
        item, key = DetectorItem(self.getPlotItem(), entry), entry.key
        item.dragged.connect(lambda detector: self._on_dragged(key, detector))
        item.clicked.connect(lambda: self._on_picked(key))
        return item

    def _on_dragged(self, key: int, detector: VirtualDetector) -> None:
        self._on_picked(key)
        self.dragged.emit(key, detector)

    def _on_picked(self, key: int) -> None:
        if not self._asking and key != self._selected:
            self.picked.emit(key)

    def _on_scene_clicked(self, event: Any) -> None:
        view_box = self.getPlotItem().getViewBox()
        inside = view_box.sceneBoundingRect().contains(event.scenePos())
        if inside and event.button() == Qt.MouseButton.LeftButton:
            point = view_box.mapSceneToView(event.scenePos())
            self.click_at(point.x(), point.y())

    def _place_items(self) -> None:
        for key, item in self._drawn.items():
            item.show(
                self._entries[key].detector,
                origin_px=self._origin_px,
                pixel_size=self._pixel_size,
                selected=key == self._selected,
            )
