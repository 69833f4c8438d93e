"""The command that trains: where it writes, what it starts from, how it is stopped and gone on with."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.transformer import training, training_run
from napari_stem_orient.transformer.checkpoint import has_checkpoint, read_checkpoint
from napari_stem_orient.transformer.hold_out import PIECE
from napari_stem_orient.transformer.model_folder import (
    find_models,
    models_home,
    nearest_shipped_model,
    read_card,
    trained_models,
)
from napari_stem_orient.transformer.training_parameters import TrainingParameters

PARAMETERS = ["--steps", "2", "--batch-size", "8", "--simulation", "kinematic", "--quiet"]
EVALUATION = 3  # records: one after each piece, and one with the result


def train(*words: str) -> int:
    return main(["train", *words, *PARAMETERS])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's models in a folder of the test."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_args, **_keywords: tmp_path)
    return models_home()


@pytest.fixture(autouse=True)
def quick_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge by few patterns, in two pieces, and report every step."""
    monkeypatch.setattr(training_run, "QUICK_HELD_OUT", 2 * PIECE)
    monkeypatch.setattr(training_run, "FULL_HELD_OUT", 2 * PIECE)
    monkeypatch.setattr(training_run, "_REPORT_EVERY_S", -1.0)


@contextmanager
def ctrl_c_after(records: int) -> Iterator[None]:
    """Press Ctrl-C after so many records of the training."""
    original = training.train_model

    def job(*args: Any, **keywords: Any) -> Generator[Any, None, Path]:
        inner = original(*args, **keywords)
        try:
            for _ in range(records):
                yield next(inner)
            raise KeyboardInterrupt
        finally:
            inner.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_model", job)
        yield


def test_a_model_goes_to_the_user_s_models_is_found_there_and_reports(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silicon = load_crystal("Si")
    assert train("--crystal", "Si", "--voltage-low-kv", "200") == 0
    assert trained_models() == {"Si": home / "Si"}
    assert find_models([silicon])["Si"] == home / "Si"
    said = capsys.readouterr().out
    assert "| disks | patterns |" in said
    assert f"{home / 'Si'}: model written" in said
    assert read_card(home / "Si").voltage_kv == (200, 300)


def test_training_starts_from_the_nearest_shipped_model_with_its_network(tmp_path: Path) -> None:
    nearest = nearest_shipped_model([load_crystal("Pd")])
    assert nearest is not None
    assert train("--crystal", "Pd", "--output", str(tmp_path / "near")) == 0
    card = read_card(tmp_path / "near")
    assert card.training["start_from"] == nearest.name
    assert card.network == read_card(nearest).network
    assert card.training["learning_rate"] == TrainingParameters().learning_rate / 2
    assert train("--crystal", "Pd", "--output", str(tmp_path / "new"), "--start-from", "none") == 0
    fresh = read_card(tmp_path / "new")
    assert fresh.training["start_from"] is None
    assert fresh.training["learning_rate"] == TrainingParameters().learning_rate
    assert fresh.held_out["candidate_median_deg"] > 3 * card.held_out["candidate_median_deg"]


def test_ctrl_c_keeps_the_checkpoint_says_how_to_go_on_and_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    with ctrl_c_after(EVALUATION + 1):
        assert train("--crystal", "Cu", "--output", str(folder)) == 130
    assert f"go on with: napari-stem-orient train --resume --output {folder}" in capsys.readouterr().err
    assert read_checkpoint(folder).state.step == 1
    # A new training does not throw the work of the stopped one away without being told so.
    with pytest.raises(SystemExit):
        train("--crystal", "Cu", "--output", str(folder))
    assert "go on with it, let it go, or choose another name (--resume, --start-over or --output)" in (
        capsys.readouterr().err
    )
    assert main(["train", "--resume", "--output", str(folder), "--quiet", "--batch-size", "16"]) == 1
    assert "batch_size: 8, not 16" in capsys.readouterr().err
    assert main(["train", "--resume", "--output", str(folder), "--quiet"]) == 0
    assert read_card(folder).training["steps_done"] == 2
    assert not has_checkpoint(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--start-over"], "leave one of them out"),
        (["--name", "other"], "begun as cu"),
        (["--start-from", "elsewhere"], "begun with --start-from none"),
        (["--whole-structure-type"], "begun for its crystals alone"),
    ],
)
def test_going_on_otherwise_than_it_was_begun_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--output", str(tmp_path / "cu")]
    with ctrl_c_after(EVALUATION + 1):
        assert train("--crystal", "Cu", "--start-from", "none", *folder) == 130
    with pytest.raises(SystemExit):
        main(["train", "--resume", *folder, "--quiet", *words])
    assert said in capsys.readouterr().err
    assert has_checkpoint(tmp_path / "cu")
    same = ["--name", "cu", "--start-from", "none"]
    assert main(["train", "--resume", *folder, "--quiet", *same]) == 0


def test_a_stopped_training_is_let_go_on_demand(tmp_path: Path) -> None:
    with ctrl_c_after(EVALUATION + 1):
        assert train("--crystal", "Cu", "--output", str(tmp_path)) == 130
    assert train("--crystal", "Cu", "--output", str(tmp_path), "--start-over", "--seed", "1") == 0
    assert read_card(tmp_path).training["seed"] == 1


def test_members_make_a_model_of_their_structure_type(tmp_path: Path) -> None:
    words = ("--crystal", "Cu", "--member", "Al", "--member", "Au", "--output", str(tmp_path / "fcc"))
    assert train(*words) == 0
    card = read_card(tmp_path / "fcc")
    assert card.serves == ("fcc",)
    assert card.network.n_phases == 1
    assert card.trained_on == ("Cu", "Al", "Au")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--crystal is needed"),
        (["--resume"], "give --output"),
        (["--crystal", "Cu", "--crystal", "Al", "--member", "Au"], "--member belongs to one --crystal"),
        (["--crystal", "Cu", "--member", "W"], "one known structure type, not Cu (fcc), W (bcc)"),
    ],
)
def test_a_line_that_makes_no_sense_is_told_so(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = [] if "--resume" in words else ["--output", str(tmp_path / "m")]
    with pytest.raises(SystemExit):
        main(["train", *words, *output])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_second_training_reads_the_libraries_that_the_first_one_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    from napari_stem_orient.runs import bloch_cache
    from napari_stem_orient.runs.bloch_cache import cached_library_path
    from napari_stem_orient.runs.training_task import TrainingTask, training_job
    from napari_stem_orient.transformer.network import TransformerConfig

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_args, **_keywords: tmp_path)
    brief = {"steps": 2, "batch_size": 8, "zone_axes": 100, "variants": 1, "q_max_high_inv_angstrom": 1.0}
    words = [word for name, value in brief.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    output = ["--output", str(tmp_path / "one"), "--start-from", "none", "--quiet"]
    assert main(["train", "--crystal", "Cu", *output, *words]) == 0
    assert len(list(cached_library_path().iterdir())) == 2  # to learn from, and to judge by
    monkeypatch.setattr(bloch_cache, "build_bloch_library", lambda *_, **__: pytest.fail("simulated twice"))
    parameters = TrainingParameters(**brief, network=TransformerConfig())
    crystals = (load_crystal("Cu"),)
    job = training_job(TrainingTask(crystals, parameters, tmp_path / "two", start_from="none"))
    for _ in job:
        pass
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second


def test_a_model_is_not_overwritten_without_being_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copper"
    words = ("--crystal", "Cu", "--start-from", "none", "--output", str(folder))
    assert train(*words) == 0
    weights = folder / "weights.safetensors"
    before = weights.read_bytes()
    with pytest.raises(SystemExit):
        train(*words, "--seed", "1")
    said = capsys.readouterr().err
    assert "holds the model copper by now: let the new one take its place" in said
    assert "(--start-over or --output)" in said
    assert weights.read_bytes() == before
    assert train(*words, "--seed", "1", "--start-over") == 0
    assert weights.read_bytes() != before


def test_what_lies_in_the_folder_stays_where_the_new_training_cannot_begin(tmp_path: Path) -> None:
    with ctrl_c_after(EVALUATION + 1):
        assert train("--crystal", "Cu", "--output", str(tmp_path)) == 130
    nowhere = str(tmp_path / "nowhere")
    assert train("--crystal", "Cu", "--output", str(tmp_path), "--start-over", "--start-from", nowhere) == 1
    assert has_checkpoint(tmp_path)


def test_a_reach_without_disks_is_refused_before_anything_is_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reach = ("--q-max-low-inv-angstrom", "0.2", "--q-max-high-inv-angstrom", "0.3")
    with pytest.raises(SystemExit):
        train("--crystal", "Cu", "--output", str(tmp_path / "m"), *reach)
    said = capsys.readouterr().err
    assert "disks are seen out to 0.3 1/Å, but the first disks of Cu lie at 0.479 1/Å" in said
    assert "(--q-max-high-inv-angstrom)" in said
    assert not (tmp_path / "m").exists()
