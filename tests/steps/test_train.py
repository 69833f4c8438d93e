"""Training as a step: what is trained is data, and panel and command line make the same choice and the same task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from napari_stem_orient.cli.main import build_parser
from napari_stem_orient.cli.train import train_choice
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.gui.train.form import TrainingForm
from napari_stem_orient.gui.train.jobs import TrainingChoices
from napari_stem_orient.gui.train.widget import TrainWidget
from napari_stem_orient.runs.training_task import TrainingTask
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.train import (
    GivenTrainingParameters,
    TrainChoice,
    new_training,
    resumed_training,
)
from napari_stem_orient.transformer.training_parameters import TrainingParameters

CU, AL = load_crystal("Cu"), load_crystal("Al")
CHOICE = TrainChoice(
    crystals=(CrystalChoice.of(CU), CrystalChoice.of(AL)),
    whole_structure_type=True,
    start_from="none",
    parameters=GivenTrainingParameters({"steps": 7, "network": {"layers": 1}}),
)


def test_a_choice_comes_back_from_yaml_with_what_was_given_alone() -> None:
    written = CHOICE.model_dump(mode="json")
    assert set(written["parameters"]) == {"steps", "network"}
    assert TrainChoice.model_validate(yaml.safe_load(yaml.safe_dump(written))) == CHOICE
    assert TrainChoice().given_fields() == {}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"parameters": {"steps": 0}}, "greater than or equal to 1"),
        ({"parameters": {"stepz": 5}}, "stepz"),
        ({"start_from": ""}, "at least 1 character"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TrainChoice(**fields)


def test_a_task_has_what_was_chosen_and_goes_through_json(tmp_path: Path) -> None:
    task = new_training(CHOICE, tmp_path / "fcc", replaces="old", discards=True)
    assert (task.crystals, task.parameters.steps, task.parameters.batch_size) == ((CU, AL), 7, 512)
    assert (task.name, task.start_from, task.whole_structure_type) == (None, "none", True)
    assert TrainingTask.from_dict(task.to_dict()) == task
    again = resumed_training(CHOICE, tmp_path / "fcc")
    assert again.resume
    assert again.changes == CHOICE.parameters.model_dump(mode="json")
    assert TrainingTask.from_dict(again.to_dict()) == again


@pytest.fixture
def form(qtbot: Any, tmp_path: Path) -> TrainingForm:
    from napari.components import ViewerModel

    panel = TrainWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    devices = (("auto", "Automatic"), ("cpu", "Processor"))
    panel.form.set_choices(TrainingChoices(TrainingParameters(), devices, tmp_path))
    return panel.form


def test_panel_and_command_line_make_the_same_choice_and_task(form: TrainingForm, tmp_path: Path) -> None:
    form.crystals.add("Cu")
    form.crystals.add("Al")
    form.type_box.show()
    form.type_box.setChecked(True)
    form.voltage.set_values(200, 300)
    form.minutes.set_number(12)
    form.start_box.setCurrentIndex(form.start_box.findData("none"))
    form.device_box.setCurrentIndex(form.device_box.findData("cpu"))
    assert form.parameters_form is not None
    form.parameters_form.set_value(form.parameters_form.value.model_copy(update={"seed": 3}))
    words = ["train", "--crystal", "Cu", "--member", "Al", "--voltage-low-kv", "200", "--minutes", "12"]
    words += ["--start-from", "none", "--device", "cpu", "--seed", "3"]
    arguments = build_parser("train").parse_args(words)
    by_command = train_choice(arguments, (CU, AL))
    assert form.train_choice() == by_command
    assert form.task() == new_training(by_command, tmp_path / "Cu-Al")
