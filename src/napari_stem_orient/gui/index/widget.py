"""IndexWidget: the fourth stage: crystals, method and device; from Bragg disks to an orientation map."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.index.kept_map_row import KeptMapRow
from napari_stem_orient.gui.index.model_cards import ModelCards
from napari_stem_orient.gui.index.result_row import ResultRow
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.stage_jobs import ModelsFound, devices, models_for
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.crystal_list import CrystalList
from napari_stem_orient.gui.parts.exploratory_note import ExploratoryNote
from napari_stem_orient.gui.parts.file_dialogs import ask_folder
from napari_stem_orient.gui.parts.form_layout import form_layout, narrow_box
from napari_stem_orient.gui.parts.missing_values import stage_words
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.parameter_form import ParameterForm
from napari_stem_orient.gui.parts.py4dstem_choice import grey_without_py4dstem
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.indexing.methods import METHODS, MethodName
from napari_stem_orient.session.results import named
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.index import IndexChoice, Leftovers, MapStarted, index
from napari_stem_orient.steps.journal_notices import JournalNotice

if TYPE_CHECKING:
    import napari

PLAIN = ("refine",)


class IndexWidget(StagePanel):
    """Indexes the Session's Bragg peaks; a stopped run keeps what it has done and can be resumed.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage = Stage.INDEX

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._replaced: OrientationMap | None = None  # the map that the run has taken the place of
        self._models: ModelsFound | None = None
        self._devices_asked = False
        self.forms = {name: _form(method.parameters()) for name, method in METHODS.items()}
        self._shown_method: MethodName | None = None
        self.crystals = CrystalList(self)
        self.content.addWidget(self.crystals)
        self.lent_label = plain_label()
        self.content.addWidget(self.lent_label)
        self.content.addLayout(self._choices())
        self.model_label = self.link_label(stage_words())
        model_row = QHBoxLayout()
        model_row.addWidget(self.model_label, 1)
        model_row.addWidget(self.folder_button, 0, Qt.AlignmentFlag.AlignTop)
        self.content.addLayout(model_row)
        self.content.addWidget(self.train_button)
        self.model_cards = ModelCards()
        self.content.addWidget(self.model_cards)
        for form in self.forms.values():
            form.changed.connect(self._on_parameters_changed)
            self.content.addWidget(form)
        self.exploratory = ExploratoryNote()
        self.content.addWidget(self.exploratory)
        self.kept_row = KeptMapRow(self)
        self.content.addWidget(self.kept_row)
        self.content.addLayout(self._button_row())
        self._looking: LatestJob[object, ModelsFound] = LatestJob(
            title="Look for models", on_result=self._on_models, on_error=self._on_no_models
        )
        when_destroyed(self, LatestJob.close, self._looking)
        self.watch(("choices",), self._show_choice)
        self.watch(("crystals", "model_folders"), self._look_for_models)
        self.watch(("results", "current_result"), self._on_map_changed)
        self.watch(("summary", "peaks"), self._on_work_ahead)
        self.watch(("peaks", "calibration"), self._on_measurement_changed)
        self._on_work_ahead()
        self._show_choice()
        self._on_map_changed()

    @property
    def method(self) -> MethodName:
        """The chosen method."""
        return self.session.state.choice(IndexChoice).method

    @property
    def choice(self) -> IndexChoice:
        """What is decided about indexing, with the crystals and models that are chosen."""
        chosen, session = self.session.state.choice(IndexChoice), self.session
        return chosen.changed(
            crystals=tuple(CrystalChoice.of(crystal) for crystal in session.crystals),
            models=session.model_folders if self._uses_models else (),
            device=chosen.device if self._uses_models else "auto",
        )

    def box_of(self, name: str) -> QWidget | None:
        """Return where crystals are added, or a model for them is had."""
        return {"crystals": self.crystals.add_box, "model": self.train_button}.get(name)

    # --- running -------------------------------------------------------------------------------------------

    def _on_run(self) -> None:
        self._start(resume_from=self.session.current_map if self._can_resume() else None)

    def _on_start_over(self) -> None:
        self._start(resume_from=None)

    def _start(self, *, resume_from: OrientationMap | None) -> None:
        session, choice = self.session, self.choice
        if session.peaks is None or session.stage_needs(Stage.INDEX):
            self.refresh()
            return
        # who indexes again what is there wants it done again; otherwise what a crash has left is gone on with
        made_with = {each.method for each in session.orientation_maps.values()}
        afresh = resume_from is None and choice.method in made_with
        leftovers = Leftovers.IGNORE if afresh or resume_from is not None else Leftovers.TAKE
        job = index(choice, session.peaks, session.crystals, resume_from=resume_from, leftovers=leftovers)
        self.kept_row.withdraw()
        session.note_journal(OrientationMap, lost=False)
        self.run(
            job,
            title="Indexing",
            stage=Stage.INDEX,
            on_record=self._on_record,
            on_done=self._on_done,
            on_stopped=self._on_stopped,
            on_error=self._on_failed,
        )

    def _on_record(self, record: MapStarted | IndexedBlock | JournalNotice) -> None:
        if isinstance(record, JournalNotice):
            self.show_message(record.sentence)
            self.session.note_journal(OrientationMap, lost=record.lost)
        elif isinstance(record, MapStarted):
            started = named(self.session.state, record.orientation_map)
            self._replaced = self.session.orientation_maps.get(started.key)
            self.session.start_map(started)
        else:
            self.session.fill_map(record)

    def _on_done(self, orientation_map: OrientationMap) -> None:
        self._replaced = None
        self.session.set_map(orientation_map)
        indexed = int(orientation_map.indexed.sum())
        self.show_message(
            f"{indexed:,} of {orientation_map.n_positions:,} positions indexed "
            f"({100 * orientation_map.indexed_fraction:.0f} %)."
        )

    def _on_stopped(self) -> None:
        current = self.session.current_map
        if self._put_back_replaced():
            self.show_message("Stopped before a position was done; the map is as it was.")
        elif current is not None:
            self.session.set_map(current)
            done = int(current.done.sum())
            self.show_message(f"Stopped at {done:,} of {current.n_positions:,} positions; they are kept.")

    def _on_failed(self, _: str) -> None:
        self._put_back_replaced()

    def _put_back_replaced(self) -> bool:
        """Take back what a run has begun, if it ended before a position was done: there may be other results."""
        session, replaced = self.session, self._replaced
        current, self._replaced = session.current_map, None
        if current is None or current.done.any():
            return False
        if replaced is not None and replaced.key == current.key:
            session.set_map(replaced)
            return True
        if len(session.orientation_maps) < 2:
            return False
        session.remove_result(current.key)
        return True

    def _can_resume(self) -> bool:
        """Whether the current map is partial and made as the panel is set now."""
        session, current = self.session, self.session.current_map
        if current is None or not session.is_partial(Stage.INDEX) or session.stale_because(Stage.INDEX):
            return False
        choice = self.choice
        return (
            current.method == choice.method
            and session.peaks is not None
            and current.parameters == choice.parameters.model_dump(mode="json")
        )

    # --- choices -------------------------------------------------------------------------------------------

    def _on_work_ahead(self) -> None:
        if self.session.summary is not None or self.session.peaks is not None:
            self._load_devices()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Load what the panel offers when it is first looked at."""
        super().showEvent(event)
        self._load_devices()

    def _load_devices(self) -> None:
        """Load torch in a thread: it takes seconds, which the window and the first image should not wait for."""
        if not self._devices_asked:
            self._devices_asked = True
            self.run(
                plain_job(devices),
                title="Loading torch",
                on_done=self._on_devices,
                on_error=self._on_no_devices,
            )

    def _on_no_devices(self, _: str) -> None:
        self._devices_asked = False  # to try again when the panel is looked at again

    def _on_devices(self, found: tuple[tuple[str, str], ...]) -> None:
        self.device_box.blockSignals(True)
        self.device_box.clear()
        for name, words in found:
            self.device_box.addItem(words, name)
        self.device_box.blockSignals(False)
        self._show_choice()
        self.refresh()

    @property
    def _uses_models(self) -> bool:
        return METHODS[self.method].uses_models

    def _on_parameters_changed(self, _: object) -> None:
        self.session.choose(IndexChoice, parameters=self.forms[self.method].value)

    def _on_method_chosen(self, _: int) -> None:
        name = MethodName(self.method_box.currentData())
        self.session.choose(IndexChoice, method=name, parameters=self.forms[name].value)

    def _on_device_chosen(self, _: int) -> None:
        device = self.device_box.currentData()
        if device is not None:  # as long as there is none to choose
            self.session.choose(IndexChoice, device=device)

    def _show_choice(self) -> None:
        """Show what is decided about indexing."""
        choice = self.session.state.choice(IndexChoice)
        for box, value in ((self.method_box, choice.method.value), (self.device_box, choice.device)):
            box.blockSignals(True)
            box.setCurrentIndex(max(0, box.findData(value)))
            box.blockSignals(False)
        if self.forms[choice.method].value != choice.parameters:
            self.forms[choice.method].set_value(choice.parameters)
        if choice.method is not self._shown_method:
            self._shown_method = choice.method
            for name, form in self.forms.items():
                form.setVisible(name is choice.method)
            for widget in (self.device_box, self.device_label, self.folder_button):
                widget.setVisible(self._uses_models)
            self._look_for_models()
        self.refresh()

    def _on_model_folder(self) -> None:
        folder = ask_folder(
            self, "Choose a model folder (config.json and weights.safetensors)", purpose="models"
        )
        if folder is not None:
            self.session.offer_model(folder)

    def _on_train(self) -> None:
        """Open the panel that trains, for the crystals that no model knows."""
        known = {name for use in (self._models.models if self._models else ()) for name in use.crystals}
        unknown = tuple(crystal for crystal in self.session.crystals if crystal.name not in known)
        dock, panel = self.viewer.window.add_plugin_dock_widget("napari-stem-orient", "Train a model")
        dock.raise_()  # it may be there already, behind another tab
        panel.propose(unknown)

    def _on_measurement_changed(self) -> None:
        """Compare voltage and reach of the disks with the models' ranges; which models there are stays."""
        if self._models is not None:
            self._ask_for_models()

    def _look_for_models(self) -> None:
        self._models = None
        if self._uses_models and self.session.crystals:
            self._ask_for_models()
        else:
            self.model_cards.show_models(())
        self._show_models()

    def _ask_for_models(self) -> None:
        session = self.session
        voltage_kv = None if session.calibration is None else session.calibration.voltage_kv
        find = partial(
            models_for, session.crystals, session.model_folders, voltage_kv=voltage_kv, peaks=session.peaks
        )
        self._looking.request((session.crystals, session.model_folders), find)

    def _on_models(self, key: object, found: ModelsFound) -> None:
        if key == (self.session.crystals, self.session.model_folders) and self._uses_models:
            self._models = found
            self._show_models()

    def _on_no_models(self, _: object, message: str) -> None:
        self._models = ModelsFound(False, message)
        self._show_models()

    def _show_models(self) -> None:
        self.model_label.setText(
            "Model: add a crystal first." if self._models is None else self._models.sentence
        )
        self.model_label.setVisible(self._uses_models)
        if self._models is not None:
            self.model_cards.show_models(self._models.models)
        lacking = self._models is not None and not self._models.complete
        self.train_button.setVisible(lacking and self._uses_models)
        self.session.set_model_needed("a model for these crystals" if lacking else None)
        self.refresh()

    def _on_map_changed(self) -> None:
        """Offer the results to choose from."""
        self.results.refresh()
        self.refresh()

    # --- widgets -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the buttons in line with the Session."""
        super().refresh()
        session = self.session
        self.exploratory.show_for(None if session.peaks is None else session.peaks.calibration)
        self.lent_label.setText(_proposed_by(session))
        self.lent_label.setVisible(bool(self.lent_label.text()))
        running = session.stage_state(Stage.INDEX) is StageState.RUNNING
        can_resume = not running and self._can_resume()
        has_models = not self._uses_models or (self._models is not None and self._models.complete)
        has_device = not self._uses_models or self.device_box.count() > 0
        ready = not session.stage_needs(Stage.INDEX) and has_models and has_device
        self.run_button.setText("Resume" if can_resume else "Index")
        self.run_button.setEnabled(ready and not running)
        self.start_over_button.setVisible(can_resume)
        self.start_over_button.setEnabled(ready)
        for widget in (
            self.crystals,
            self.method_box,
            self.device_box,
            self.folder_button,
            *self.forms.values(),
            self.results,
        ):
            widget.setEnabled(not running)

    def _choices(self) -> QFormLayout:
        self.method_box = narrow_box()
        for name, method in METHODS.items():
            self.method_box.addItem(method.full_title, name.value)
        self.method_box.setToolTip(
            "<qt>Transformer: proposes orientations, which are then fitted and verified. Template matching: "
            "py4DSTEM's ACOM, the reference, slower, for every crystal.</qt>"
        )
        template = METHODS[MethodName.TEMPLATE]
        self.py4dstem_label = grey_without_py4dstem(self.method_box, template.name, what=template.title)
        self.method_box.currentIndexChanged.connect(self._on_method_chosen)
        self.device_box = narrow_box()
        self.device_box.setToolTip("Where the transformer runs.")
        self.device_box.currentIndexChanged.connect(self._on_device_chosen)
        self.folder_button = QPushButton("Model folder…")
        self.folder_button.setToolTip("Use a model that you have trained.")
        self.folder_button.clicked.connect(self._on_model_folder)
        self.train_button = QPushButton("Train a model for it…")
        self.train_button.setToolTip("From its structure alone; no measured data are needed.")
        self.train_button.clicked.connect(self._on_train)
        self.train_button.hide()
        layout = form_layout()
        self.device_label = QLabel("Device")
        layout.addRow(QLabel("Method"), self.method_box)
        layout.addRow(self.py4dstem_label)
        layout.addRow(self.device_label, self.device_box)
        return layout

    def _button_row(self) -> QVBoxLayout:
        self.run_button = QPushButton("Index")
        self.run_button.clicked.connect(self._on_run)
        self.start_over_button = QPushButton("Start over")
        self.start_over_button.clicked.connect(self._on_start_over)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.start_over_button, 1)
        self.results = ResultRow(self.session)
        layout = QVBoxLayout()
        layout.addLayout(buttons)
        layout.addWidget(self.results)
        return layout


def _form(parameters: BaseModel) -> ParameterForm[BaseModel]:
    """The form of a method's parameters; those that few need are folded away."""
    return ParameterForm(
        parameters, advanced=[name for name in type(parameters).model_fields if name not in PLAIN]
    )


def _proposed_by(session: Session) -> str:
    """Say where crystals come from that nobody has chosen for this scan; empty where they were chosen."""
    if session.crystals_carried:
        return "Crystals and settings as in the last scan, until you choose otherwise."
    return "As in Calibrate, until you choose otherwise." if session.crystals_lent else ""
