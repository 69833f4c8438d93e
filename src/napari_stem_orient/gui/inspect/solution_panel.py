"""SolutionPanel: a pattern with one method's solution over it, in words below it, and the choice of the runner-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.core.solution import zone_axis_in_words
from napari_stem_orient.core.zone_axes import has_four_indices
from napari_stem_orient.gui.canvas.solution_text import (
    choice_texts,
    confidence_text,
    disks_text,
    euler_text,
    neighbours_text,
    overlined,
    probability_text,
)
from napari_stem_orient.gui.parts.exploratory_note import ExploratoryNote
from napari_stem_orient.gui.parts.pattern_view import PatternView

if TYPE_CHECKING:
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.solution import Candidate, Solution


class SolutionPanel(QWidget):
    """Shows one pattern and what one method made of it.

    Parameters
    ----------
    message : shows what is said instead of a solution; a plain label where none is given

    Attributes
    ----------
    view : the pattern
    exploratory : what of the map's calibration nobody has checked
    choice_changed : the user chose the solution, or its runner-up
    four_indices_toggled : the user wants zone axes of hexagonal crystals with four indices, or with three again
    """

    choice_changed = Signal()
    four_indices_toggled = Signal(bool)

    def __init__(self, message: QLabel | None = None) -> None:
        super().__init__()
        self._solution: Solution | None = None
        self._title = QLabel()
        self._message, self._reflection = QLabel() if message is None else message, QLabel(" ")
        self._choice = QComboBox()
        self.view = PatternView()
        self._phase, self._zone_axis, self._euler = QLabel(), QLabel(), QLabel()
        self.four_indices = QCheckBox("[uvtw]")
        self._score, self._error, self._disks = QLabel(), QLabel(), QLabel()
        self._neighbours = QLabel()
        self._facts, self._words = QWidget(), QWidget()
        self.exploratory = ExploratoryNote()
        self._build()

    def _build(self) -> None:
        self.view.setMinimumSize(150, 240)
        self.setMinimumWidth(262)
        self._message.setWordWrap(True)
        self._reflection.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._reflection.setToolTip(
            "The reflection under the mouse: hkl, spacing, excitation error, intensity."
        )
        self.view.hover_changed.connect(self._on_hover_changed)
        self._choice.setToolTip(
            "<qt>The solution, or the runner-up: the next best at least 10° away. Where neither was taken, both.</qt>"
        )
        self._choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._choice.setMinimumContentsLength(12)
        self._choice.currentIndexChanged.connect(self._on_choice_changed)
        self._build_facts()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._title)
        layout.addWidget(self.view, 1)
        layout.addWidget(self._reflection)
        layout.addWidget(self._words)
        layout.addWidget(self.exploratory)  # the same at all positions: the picture shall not jump
        words = QVBoxLayout(self._words)
        words.setContentsMargins(0, 0, 0, 0)
        words.setSpacing(3)
        for widget in (self._choice, self._facts, self._message):
            words.addWidget(widget)
        words.addStretch(1)
        self.set_title("")
        self.set_solution(None)

    def _build_facts(self) -> None:
        self._form = QFormLayout(self._facts)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setVerticalSpacing(2)
        rows = (
            (
                "Phase",
                self._phase,
                "The crystal that explains the pattern and, where several were searched, the probability that it is "
                "this one of them.",
            ),
            (
                "Zone axis",
                self._zone_axis,
                "Crystal direction [uvw] toward the electron gun: the smallest whole numbers within 1° of it. Where "
                "there are none up to 9, the nearest, and how far off they are.",
            ),
            ("φ₁ Φ φ₂", self._euler, "Bunge's Euler angles in degrees, from sample to crystal."),
            (
                "Score",
                self._score,
                "0 to 1: how much of the pattern the solution explains. Transformer and template matching reckon it "
                "by different formulas: compare their orientations, not their scores.",
            ),
            (
                "Expected error",
                self._error,
                "How far the orientation is probably from the truth: calibrated on simulated patterns. Large where "
                "the runner-up is nearly as good.",
            ),
            (
                "Disks",
                self._disks,
                "How many of the detected Bragg disks lie where the solution puts a reflection. Many that are not "
                "explained may be a second grain or a phase that is missing from the list.",
            ),
        )
        for name, value, tooltip in rows:
            value.setToolTip(f"<qt>{tooltip}</qt>")
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            self._form.addRow(name, self._with_four_indices(value) if value is self._zone_axis else value)
            if value is self._error:
                self._form.addRow(self._neighbours)
        self._neighbours.setWordWrap(True)
        self._neighbours.setToolTip(
            "<qt>Two orientations explain the pattern about equally well. The expected error counts what the eight "
            "neighbours in the scan say: without them it would be large.</qt>"
        )

    def _with_four_indices(self, zone_axis: QLabel) -> QHBoxLayout:
        self.four_indices.setToolTip(
            "<qt>Four indices for directions of hexagonal and trigonal crystals.</qt>"
        )
        self.four_indices.toggled.connect(self._on_four_indices)
        row = QHBoxLayout()
        row.addWidget(zone_axis, 1)
        row.addWidget(self.four_indices)
        return row

    def set_title(self, title: str) -> None:
        """Name the method; hidden when empty."""
        self._title.setText(title)
        self._title.setVisible(bool(title))

    @property
    def title(self) -> str:
        """The method, and what else was put beside its name."""
        return self._title.text()

    def set_solution(self, solution: Solution | None, *, message: str = "") -> None:
        """Show a solution in words, or the message where there is none; the choice goes back to the solution."""
        self._solution = solution
        self._choice.blockSignals(True)
        self._choice.clear()
        for text, answer in (
            () if solution is None else choice_texts(solution, four=self.four_indices.isChecked())
        ):
            self._choice.addItem(text, answer)
        self._choice.setVisible(self._choice.count() > 0)
        self._choice.blockSignals(False)
        if solution is not None and not solution.indexed:
            message = message or solution.sentence
            if solution.unexplained_disks:
                message += f" Disks detected here: {solution.unexplained_disks}."
        self._message.setText(message)
        self._message.setVisible(bool(message))
        self.keep_room(self.says_something)
        self._write_facts()

    @property
    def says_something(self) -> bool:
        """Whether there is a solution, or a message in its place."""
        return self._solution is not None or bool(self._message.text())

    def keep_room(self, wanted: bool) -> None:
        """Keep the room below the picture for all that may be said of a solution, or give it to the picture."""
        self._words.setMinimumHeight(self._height_of_words() if wanted else 0)

    def _height_of_words(self) -> int:
        """Return the room for a choice and all facts: the picture shall not jump from one position to the next."""
        row = self._phase.fontMetrics().height() + self._form.verticalSpacing()
        of_neighbours = 1  # a line more than the others
        return self._choice.sizeHint().height() + 3 + (1 + self._form.rowCount() + of_neighbours) * row

    def chosen(self) -> tuple[Crystal, NDArray[np.float64]] | None:
        """Return crystal and quaternion of what is chosen: the solution or its runner-up; None if not indexed."""
        chosen = self._chosen()
        if chosen is None or chosen.crystal is None:
            return None
        return chosen.crystal, chosen.quaternion

    @property
    def text(self) -> str:
        """Everything that is said about the solution, for tests and for copying."""
        chosen = self._chosen()
        if self._facts.isHidden() or chosen is None:
            return self._message.text()
        shown = (
            self._phase.text(),
            zone_axis_in_words(chosen, four=self.four_indices.isChecked()),
            self._euler.text(),
            self._score.text(),
            self._error.text(),
            self._neighbours.text(),
            self._disks.text(),
            self._message.text(),
        )
        return "\n".join(part for part in shown if part)

    @property
    def choices(self) -> QComboBox:
        """The choice between the solution and the runner-up."""
        return self._choice

    def _chosen(self) -> Solution | Candidate | None:
        if self._choice.count():
            chosen: Solution | Candidate = self._choice.currentData()
            return chosen
        return self._solution

    def _on_hover_changed(self, text: str) -> None:
        # A space keeps the line's height, so that the picture does not jump.
        self._reflection.setText(overlined(text) or " ")

    def set_four_indices(self, wanted: bool) -> None:
        """Show zone axes of hexagonal crystals with four indices, or with three, and tell nobody."""
        self.four_indices.blockSignals(True)
        self.four_indices.setChecked(wanted)
        self.four_indices.blockSignals(False)
        if self._solution is not None:
            for row, (text, _) in enumerate(choice_texts(self._solution, four=wanted)):
                self._choice.setItemText(row, text)
        self._write_facts()

    def _on_four_indices(self, wanted: bool) -> None:
        self.set_four_indices(wanted)
        self.four_indices_toggled.emit(wanted)

    def _on_choice_changed(self) -> None:
        self._write_facts()
        self.choice_changed.emit()

    def _write_facts(self) -> None:
        chosen = self._chosen()
        if chosen is None or chosen.crystal is None or chosen.euler_deg is None:
            self._facts.hide()
            return
        self._facts.show()
        # Probability, expected error and disks belong to the best answer, not to its runner-up.
        solution = self._solution
        best = solution is not None and (chosen is solution or chosen is solution.rejected)
        probability = (
            probability_text(solution).removeprefix("phase ") if solution is not None and best else ""
        )
        self._phase.setText(chosen.crystal.name + (f"   ({probability})" if probability else ""))
        four = self.four_indices.isChecked()
        self._zone_axis.setText(overlined(zone_axis_in_words(chosen, four=four)))
        self.four_indices.setVisible(has_four_indices(chosen.crystal))
        self._euler.setText(euler_text(chosen.euler_deg))
        self._score.setText(f"{chosen.score:.2f}")
        error = confidence_text(solution.confidence_deg) if solution is not None and best else ""
        disks = disks_text(solution).replace(" disks", "") if solution is not None and best else ""
        self._set_row(self._error, error)
        decided = neighbours_text(solution) if solution is not None and best and error else ""
        self._set_row(self._neighbours, decided)
        self._set_row(self._disks, disks if chosen is solution else "")

    def _set_row(self, value: QLabel, text: str) -> None:
        """Write a row's text, or hide the row where there is none."""
        value.setText(text)
        value.setVisible(bool(text))
        title = self._form.labelForField(value)
        if title is not None:
            title.setVisible(bool(text))
