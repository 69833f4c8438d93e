"""ScanShapeRow: rows x columns of a scan, and which frames of the file are the scan."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.core.frames import FrameChoice, near_square, position_ranges, positions_from_text
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.steps.open import FramesWayOut, ScanShapeQuestion


class ScanShapeRow(QWidget):
    """Asks for the shape of a scan and for the frames that belong to it, and offers ways out where they do not fit.

    Frames, and positions of the scan, are counted from 1, as people count.
    """

    wanted = Signal()  # the user has said what to open

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = plain_label()
        self.shape_box = QComboBox()
        self.shape_box.setEditable(True)
        self.shape_box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.shape_box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.shape_box.setToolTip(
            "Rows x columns of the scan, the most square proposals first; others can be typed."
        )
        self.use_button = QPushButton("Use")
        self.use_button.setToolTip("Open the file with this scan shape and these frames.")
        self.use_button.clicked.connect(self.wanted.emit)
        self.first_box = _frame_box(
            "first", "Frame of the file at which the scan begins; those before are left out."
        )
        self.last_box = _frame_box(
            "last", "Frame of the file with which the scan ends; those after are left out."
        )
        self.lost_line = QLineEdit()
        self.lost_line.setPlaceholderText("none")
        self.lost_line.setToolTip(
            "<qt>Positions of the scan, counted from 1 along its rows, that have no frame in the file: 17 or 3, 41-64. "
            "They stay empty.</qt>"
        )
        self.ways_out = QWidget()
        self._ways = QHBoxLayout(self.ways_out)
        self._ways.setContentsMargins(0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.label)
        layout.addLayout(_line(self.shape_box, self.use_button))
        layout.addLayout(_line(QLabel("Frames"), self.first_box, QLabel("to"), self.last_box))
        layout.addLayout(_line(QLabel("Lost positions"), self.lost_line))
        layout.addWidget(self.ways_out)
        self.ways_out.hide()

    def ask(self, question: ScanShapeQuestion) -> None:
        """Show what a file asks for; the shape that was typed before stays where it did not fit."""
        typed = self.shape_box.currentText() if question.way_out is not None else ""
        self.shape_box.clear()
        self.shape_box.addItems([f"{rows} x {columns}" for rows, columns in question.proposals])
        near = near_square(question.n_frames)
        if near is not None:
            self.shape_box.insertItem(1, f"{near[0]} x {near[0]}")
        if typed:
            self.shape_box.setEditText(typed)
        else:
            self.forget_frames()
        promised = question.n_promised
        lost = "" if promised is None else f" of the {promised:,} that the header tells of"
        nearly = f" ({question.near_square})" if question.near_square and not typed else ""
        noun = "frame" if question.n_frames == 1 else "frames"
        self.label.setText(f"{question.n_frames:,} {noun}{lost}{nearly}; rows x columns of the scan:")
        self._show_ways_out(question.way_out)
        self.show()

    def ask_again(self, scan_shape: tuple[int, int]) -> None:
        """Show the shape of the scan that is open, to be changed."""
        self.label.setText("Rows x columns of the scan:")
        self.shape_box.clear()
        self.shape_box.addItem(f"{scan_shape[0]} x {scan_shape[1]}")
        self._show_ways_out(None)
        self.show()

    def forget_frames(self) -> None:
        """Take all frames again."""
        self.first_box.set_number(None)
        self.last_box.set_number(None)
        self.lost_line.clear()

    def frames(self) -> FrameChoice:
        """The frames that the boxes name; ValueError, in words, where they name none."""
        first, last = self.first_box.number(), self.last_box.number()
        return FrameChoice(
            None if first is None else int(first) - 1,
            None if last is None else int(last) - 1,
            positions_from_text(self.lost_line.text()),
        )

    def _show_ways_out(self, way: FramesWayOut | None) -> None:
        while (item := self._ways.takeAt(0)) is not None:
            if (button := item.widget()) is not None:
                button.hide()
                button.deleteLater()
        count = "" if way is None or way.count == 1 else f" {way.count:,}"
        if way is not None and way.first is not None:
            self._offer(f"Leave out the first{count}", first=way.first)
        if way is not None and way.last is not None:
            self._offer(f"Leave out the last{count}", last=way.last)
        if way is not None and way.lost:
            where = position_ranges(way.lost)
            self._offer(f"Lost: {where}" if len(where) < 16 else f"{way.count:,} were lost", lost=where)
        self._ways.addStretch(1)
        self.ways_out.setVisible(self._ways.count() > 1)

    def _offer(self, text: str, *, first: int | None = None, last: int | None = None, lost: str = "") -> None:
        def take() -> None:
            if first is not None:
                self.first_box.set_number(first + 1)
            if last is not None:
                self.last_box.set_number(last + 1)
            if lost:
                self.lost_line.setText(lost)
            self.wanted.emit()

        button = QPushButton(text)
        button.clicked.connect(take)
        self._ways.addWidget(button)


def _frame_box(empty_text: str, tooltip: str) -> NumberBox:
    box = NumberBox(minimum=1, whole=True, empty_text=empty_text)
    box.setToolTip(f"<qt>{tooltip} Counted from 1.</qt>")
    return box


def _line(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side; labels take no more room than their words."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, 0 if type(widget) is QLabel else 1)
    return layout
