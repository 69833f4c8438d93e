"""TrainingForm: what to train: crystals, the range of the measurements to be ready for, time, and where to save it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.gui.parts.crystal_list import CrystalChoice, CrystalList
from napari_stem_orient.gui.parts.file_dialogs import ask_folder
from napari_stem_orient.gui.parts.form_layout import form_label, form_layout, narrow_box
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.parameter_form import ParameterForm
from napari_stem_orient.gui.parts.range_box import RangeBox
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.runs.training_task import NEAREST, NOTHING, TrainingTask
from napari_stem_orient.steps.crystals import CrystalChoice as ChosenCrystal

if TYPE_CHECKING:
    from napari_stem_orient.gui.train.jobs import TrainingChoices
    from napari_stem_orient.steps.train import TrainChoice
    from napari_stem_orient.transformer.training_parameters import TrainingParameters

#: Minutes that a training may take where nothing else is said.
TIME_LIMIT = 45.0

LABEL_WIDTH = 76  # narrower than in the stages: two numbers and a unit stand beside it

#: Fields of the parameters that have a place of their own in the form.
OWN_PLACE = (
    "voltage_low_kv",
    "voltage_high_kv",
    "q_max_low_inv_angstrom",
    "q_max_high_inv_angstrom",
    "thickness_low_angstrom",
    "thickness_high_angstrom",
    "minutes",
)


class TrainingForm(QWidget):
    """The choices of a training; `task` is a snapshot of them.

    Parameters
    ----------
    panel
        The panel that it stands in, which shows what goes wrong.
    """

    changed = Signal()

    def __init__(self, panel: JobPanel) -> None:
        super().__init__()
        self.choice = CrystalChoice()
        self.crystals = CrystalList(
            panel,
            chosen=self.choice,
            tooltip="The crystals that the model shall know; it tells apart what is in one list.",
        )
        self.parameters_form: ParameterForm[TrainingParameters] | None = None
        self._parent_folder: Path | None = None
        self._name_is_ours = True
        self._fields()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.crystals)
        layout.addWidget(self.type_box)
        layout.addLayout(self._rows())
        layout.addWidget(self.folder_label)
        self._parameters_place = QVBoxLayout()
        layout.addLayout(self._parameters_place)
        self.choice.crystals_changed.connect(self._on_crystals_changed)
        self._on_crystals_changed(())

    # --- what is chosen ------------------------------------------------------------------------------------

    @property
    def output(self) -> Path | None:
        """The model folder; None before it is known where models lie, or without a name."""
        name = self.name_edit.text().strip()
        return self._parent_folder / name if self._parent_folder is not None and name else None

    def train_choice(self) -> TrainChoice | None:
        """What is chosen, fixed; None while something is missing."""
        if self.parameters_form is None or self.output is None or not self.choice.crystals:
            return None
        from napari_stem_orient.steps.train import (  # torch is loaded by now
            GivenTrainingParameters,
            TrainChoice,
        )

        (kv_low, kv_high), (q_low, q_high) = self.voltage.values, self.q_limit.values
        thickness_low, thickness_high = self.thickness.values
        parameters = self.parameters_form.value.model_copy(
            update={
                "voltage_low_kv": kv_low,
                "voltage_high_kv": kv_high,
                "q_max_low_inv_angstrom": q_low,
                "q_max_high_inv_angstrom": q_high,
                "thickness_low_angstrom": thickness_low,
                "thickness_high_angstrom": thickness_high,
                "minutes": self.minutes.number(),
            }
        )
        usual = type(parameters)()
        return TrainChoice(
            crystals=tuple(ChosenCrystal.of(crystal) for crystal in self.choice.crystals),
            whole_structure_type=self.type_box.isVisibleTo(self) and self.type_box.isChecked(),
            start_from=self.start_box.currentData() or NEAREST,
            parameters=GivenTrainingParameters().with_changes(usual, parameters),
            device=self.device_box.currentData() or "auto",
        )

    def task(self) -> TrainingTask | None:
        """A training as it is chosen, fixed; None while something is missing."""
        choice = self.train_choice()
        if choice is None or self.output is None:
            return None
        from napari_stem_orient.steps.train import new_training

        return new_training(choice, self.output, crystals=self.choice.crystals)

    # --- what is known -------------------------------------------------------------------------------------

    def set_choices(self, choices: TrainingChoices) -> None:
        """Take what there is to choose."""
        p = choices.parameters
        for words in choices.devices:
            self.device_box.addItem(words[1], words[0])
        self._parent_folder = choices.models_home
        others = [name for name in type(p).model_fields if name not in OWN_PLACE]
        self.parameters_form = ParameterForm(p, skip=OWN_PLACE, advanced=others)
        self._parameters_place.addWidget(self.parameters_form)
        if choices.stopped is not None and not self.choice.crystals:
            folder, crystals = choices.stopped
            self.choice.set_crystals(crystals)
            self.name_edit.setText(folder.name)
        self._show_folder()

    def set_voltage(self, voltage_kv: float | None) -> None:
        """Be ready for the voltage of the measurement."""
        if voltage_kv is not None:
            self.voltage.set_values(voltage_kv, voltage_kv)

    def set_reach(self, reach: float) -> None:
        """Be ready for disks as far out as those of the measurement (1/Å), and somewhat less and more."""
        self.q_limit.set_values(math.floor(14 * reach) / 20, math.ceil(23 * reach) / 20)

    def show_nearest(self, name: str | None) -> None:
        """Name the model that a training starts from."""
        self.start_box.setItemText(0, "Nearest shipped model" if name is None else f"Shipped model {name}")

    # --- widgets -------------------------------------------------------------------------------------------

    def _fields(self) -> None:
        self.type_box = QCheckBox()
        self.type_box.setToolTip(
            "<qt>The crystals are members of one structure type: one model for every crystal of this type whose cell "
            "edge lies between theirs. Otherwise each crystal is a phase of its own.</qt>"
        )
        self.type_box.toggled.connect(self._on_changed)
        self.voltage = RangeBox({"kV": 1.0}, minimum=20, maximum=3000)
        self.voltage.set_values(80, 300)
        self.q_limit = RangeBox({"1/Å": 1.0}, minimum=0.1, maximum=10)
        self.q_limit.set_values(0.9, 2.0)
        self.q_limit.setToolTip("How far out disks are seen: the edge of the detector.")
        self.thickness = RangeBox({"nm": 10.0, "Å": 1.0}, minimum=1, maximum=10_000)
        self.thickness.set_values(50, 1500)
        self.thickness.setToolTip("Thickness of the specimen: intensities depend on it.")
        self.minutes = NumberBox(minimum=0, minimum_excluded=True, empty_text="no limit")
        self.minutes.set_number(TIME_LIMIT)
        self.minutes.setToolTip(
            "The whole schedule is shortened to fit; the libraries of patterns come on top."
        )
        self.start_box = narrow_box()
        self.start_box.addItem("Nearest shipped model", NEAREST)
        self.start_box.addItem("Random weights", NOTHING)
        self.start_box.setToolTip("A model that knows a similar crystal is a head start.")
        self.device_box = narrow_box()
        self.device_box.setToolTip("Where the network learns.")
        self.name_edit = QLineEdit()
        self.name_edit.setToolTip("Name of the model, and of its folder.")
        self.name_edit.textEdited.connect(self._on_name_edited)
        self.folder_button = QPushButton("Folder…")
        self.folder_button.setToolTip(
            "Save elsewhere; where models are saved by default, Index finds them by itself."
        )
        self.folder_button.clicked.connect(self._on_folder)
        self.folder_label = QElidingLabel()

    def _rows(self) -> QVBoxLayout:
        form = form_layout()
        name_row = QHBoxLayout()
        name_row.setSpacing(4)
        name_row.addWidget(self.name_edit, 1)
        name_row.addWidget(self.folder_button)
        time_row = QHBoxLayout()
        time_row.setSpacing(4)
        time_row.addWidget(self.minutes, 1)
        time_row.addWidget(QLabel("min"))
        rows: dict[str, QWidget | QHBoxLayout] = {
            "Voltage": self.voltage,
            "Disks out to": self.q_limit,
            "Thickness": self.thickness,
            "Time limit": time_row,
            "Start from": self.start_box,
            "Device": self.device_box,
            "Save as": name_row,
        }
        for words, field in rows.items():
            label: QLabel = form_label(words)
            label.setMinimumWidth(LABEL_WIDTH)
            form.addRow(label, field)
        layout = QVBoxLayout()
        layout.addLayout(form)
        return layout

    # --- events --------------------------------------------------------------------------------------------

    def _on_crystals_changed(self, crystals: tuple[Crystal, ...]) -> None:
        kinds = {crystal.structure_type for crystal in crystals}
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        self.type_box.setVisible(kind is not None)
        self.type_box.setText(f"For every {kind} crystal of similar size")
        if self._name_is_ours:
            self.name_edit.setText("-".join(crystal.name for crystal in crystals))
        self._show_folder()

    def _on_name_edited(self, text: str) -> None:
        self._name_is_ours = not text.strip()
        self._show_folder()

    def _on_folder(self) -> None:
        folder = ask_folder(
            self, "Save the model in a folder within", start=self._parent_folder, purpose="models"
        )
        if folder is not None:
            self._parent_folder = folder
            self._show_folder()

    def _on_changed(self, _: object = None) -> None:
        self.changed.emit()

    def _show_folder(self) -> None:
        self.folder_label.setText("" if self.output is None else str(self.output))
        self.folder_label.setToolTip(self.folder_label.text())
        self.changed.emit()
