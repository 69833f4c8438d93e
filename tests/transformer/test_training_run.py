"""A training run: stopped and gone on with, ended early, short of memory or disk, and what it reports."""

from __future__ import annotations

import errno
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
import torch
from safetensors.torch import load_file

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.simulation.bloch_library import (
    BlochLibrary,
    BlochParameters,
    LibraryProgress,
    build_bloch_library,
)
from napari_stem_orient.transformer import checkpoint, trainer
from napari_stem_orient.transformer.checkpoint import CheckpointError, has_checkpoint, read_checkpoint
from napari_stem_orient.transformer.hold_out import propose
from napari_stem_orient.transformer.model_folder import load_model
from napari_stem_orient.transformer.network import OrientationTransformer, TransformerConfig
from napari_stem_orient.transformer.pattern_sampler import PatternSampler, TrainingBatch
from napari_stem_orient.transformer.preparation import PreparationProgress
from napari_stem_orient.transformer.schedule import FINAL_PART, LearningSchedule, TrainingPart
from napari_stem_orient.transformer.trainer import DivergedError, Trainer
from napari_stem_orient.transformer.training import train_model
from napari_stem_orient.transformer.training_parameters import TrainingParameters
from napari_stem_orient.transformer.training_run import TrainingProgress

TINY = TrainingParameters(
    steps=24,
    batch_size=32,
    learning_rate=3e-3,
    simulation="kinematic",
    q_max_high_inv_angstrom=1.2,
    network=TransformerConfig(width=16, layers=1, heads=2, n_tokens=12, n_candidates=2),
)
Job: TypeAlias = Generator[TrainingProgress, None, Path]
CU, CU2O = load_crystal("Cu"), load_crystal("Cu2O")


@pytest.fixture(autouse=True)
def quick_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge by few patterns, and report every step."""
    from napari_stem_orient.transformer import training_run

    monkeypatch.setattr(training_run, "QUICK_HELD_OUT", 256)
    monkeypatch.setattr(training_run, "FULL_HELD_OUT", 512)
    monkeypatch.setattr(training_run, "_REPORT_EVERY_S", -1.0)


def train(output: Path, *, resume: bool = False, **changes: Any) -> Job:
    parameters = TINY.model_copy(update=changes)
    job = train_model([CU], parameters=parameters, output=output, device="cpu", resume=resume)
    return cast("Job", job)  # kinematic: no library is simulated


def stop_after(job: Job, steps: int) -> None:
    for record in job:
        if record.progress.done >= steps:
            break
    job.close()


# --- checkpoints ---------------------------------------------------------------------------------------------


def test_a_stopped_training_gone_on_with_gives_the_same_model(tmp_path: Path) -> None:
    whole = list(train(tmp_path / "whole"))
    stop_after(train(tmp_path / "parts"), 7)
    stop_after(train(tmp_path / "parts", resume=True), 15)
    assert read_checkpoint(tmp_path / "parts").state.step == 15
    rest = list(train(tmp_path / "parts", resume=True))
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=0)
    cards = [load_model(tmp_path / name).card for name in ("whole", "parts")]
    assert cards[0].held_out == cards[1].held_out
    assert cards[0].training["steps_done"] == cards[1].training["steps_done"] == TINY.steps
    evaluated = [step.evaluation for step in whole if step.evaluation is not None]
    assert [e.step for e in evaluated] == [0, 10, 20]
    assert [s.evaluation for s in rest if s.evaluation is not None] == evaluated[2:]


def test_a_finished_training_leaves_no_checkpoint_and_a_report(tmp_path: Path) -> None:
    list(train(tmp_path))
    assert not has_checkpoint(tmp_path)
    assert load_model(tmp_path).card.training["complete"] is True
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "768 patterns in 24 steps" in report
    assert "| disks | patterns |" in report
    assert "| all | " in report
    assert "is right for" in report
    held_out = load_model(tmp_path).card.held_out
    few, many = (held_out[f"candidate_median_deg_{disks}_disks"] for disks in ("4_to_6", "11_to_16"))
    assert f"{few:.2f}°" in report
    assert f"{many:.2f}°" in report


def test_a_stopped_training_says_so_in_its_card(tmp_path: Path) -> None:
    stop_after(train(tmp_path), 3)
    assert has_checkpoint(tmp_path)
    assert load_model(tmp_path).card.training["complete"] is False


def test_other_parameters_or_crystal_is_no_continuation(tmp_path: Path) -> None:
    stop_after(train(tmp_path), 3)
    with pytest.raises(CheckpointError, match=r"learning_rate: 0.003, not 0.1") as raised:
        next(train(tmp_path, resume=True, learning_rate=0.1))
    assert "crystals" not in str(raised.value)
    with pytest.raises(CheckpointError, match="crystals: Cu, not Cu2O"):
        next(train_model([CU2O], parameters=TINY, output=tmp_path, device="cpu", resume=True))
    inside = TINY.augmentation.model_copy(update={"missing": 0.5})
    with pytest.raises(CheckpointError, match=r"augmentation.missing: 0.3, not 0.5"):
        next(train(tmp_path, resume=True, augmentation=inside))


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no stopped training"):
        next(train(tmp_path, resume=True))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        next(train(tmp_path, resume=True))


def test_a_stop_while_patterns_are_judged_at_the_end_keeps_what_was_learned(tmp_path: Path) -> None:
    job = train(tmp_path)
    assert next(record for record in job if record.part is TrainingPart.REPORTING)
    job.close()
    assert read_checkpoint(tmp_path).state.step == TINY.steps
    list(train(tmp_path, resume=True))
    assert load_model(tmp_path).card.training["steps_done"] == TINY.steps


# --- early stopping ------------------------------------------------------------------------------------------


def test_the_rate_rises_falls_and_ends_at_a_hundredth() -> None:
    schedule = LearningSchedule(TINY)
    assert schedule.rate(0.01) == pytest.approx(0.5)
    assert schedule.rate(0.02) == pytest.approx(1.0)
    assert schedule.rate(0.51) == pytest.approx(0.505)
    assert schedule.rate(1.0) == pytest.approx(0.01)
    assert schedule.part(0.5) is TrainingPart.LEARNING


def test_an_error_that_stands_still_brings_the_end_nearer_with_a_falling_rate() -> None:
    parameters = TINY.model_copy(update={"patience": 3})
    schedule = LearningSchedule(parameters)
    schedule.watch([9, 8, 7, 6, 5, 4], fraction=0.2)
    assert schedule.end == 1.0
    schedule.watch([5, 3, 3, 3, 2.999, 2.999, 2.999], fraction=0.3)
    assert schedule.end == pytest.approx(0.3 + FINAL_PART)
    assert schedule.part(0.3) is TrainingPart.FINISHING
    assert schedule.rate(0.3) == pytest.approx(LearningSchedule(parameters).rate(0.3))
    assert schedule.rate(schedule.end) == pytest.approx(0.01)
    assert schedule.part(schedule.end) is TrainingPart.REPORTING


def test_without_early_stopping_the_run_is_as_long_as_planned() -> None:
    schedule = LearningSchedule(TINY.model_copy(update={"patience": 1, "early_stopping": False}))
    schedule.watch([1.0] * 10, fraction=0.2)
    assert schedule.end == 1.0


def test_a_run_that_learns_nothing_more_ends_early_and_says_so(tmp_path: Path) -> None:
    records = list(train(tmp_path, steps=100, learning_rate=1e-12, patience=1, evaluations=10))
    card = load_model(tmp_path).card
    # The evaluation after 20 steps was no better than that after 10; 15 steps of falling rate were left.
    assert card.training["steps_done"] == 35
    assert records[-1].progress.done == records[-1].progress.total == 35
    assert TrainingPart.FINISHING in {record.part for record in records}
    assert "ended early" in (tmp_path / "report.md").read_text(encoding="utf-8")


# --- what can go wrong ---------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_the_run_with_the_last_good_weights(tmp_path: Path) -> None:
    list(train(tmp_path))
    good = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(DivergedError, match=r"1e\+30.*lower.*as it was last saved"):
        list(train(tmp_path, learning_rate=1e30))
    assert (tmp_path / "weights.safetensors").read_bytes() == good


def test_one_bad_batch_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = PatternSampler.batch
    calls: list[int] = []

    def batch(self: PatternSampler, size: int) -> TrainingBatch:
        found = sampled(self, size)
        calls.append(size)
        if len(calls) == 5:  # one of the first batches that it learns from
            found.peaks.fill_(torch.nan)
        return found

    monkeypatch.setattr(PatternSampler, "batch", batch)
    notices = [record.notice for record in train(tmp_path)]
    assert "a batch without a finite loss was left out" in notices
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def test_batches_that_do_not_fit_are_worked_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Trainer([CU], TINY, device=torch.device("cpu"))
    other = Trainer([CU], TINY, device=torch.device("cpu"))

    def crowded(network: OrientationTransformer, batch: TrainingBatch) -> object:
        if len(batch.rotation) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return propose(network, batch)

    one.step(1.0, fraction=0.5)
    monkeypatch.setattr(trainer, "propose", crowded)
    assert other.step(1.0, fraction=0.5) is not None
    assert other.length_parts == 16
    for ours, theirs in zip(other.network.parameters(), one.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_memory_for_not_even_one_pattern_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(trainer, "propose", full)
    with pytest.raises(MemoryError, match="choose the device 'cpu'"):
        Trainer([CU], TINY, device=torch.device("cpu")).step(1.0, fraction=0.0)


def test_a_full_disk_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_stem_orient.transformer import training_run

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training_run, "SAVED_EVERY", 5)
    with monkeypatch.context() as context:
        context.setattr(checkpoint, "write_whole", full)
        job = train(tmp_path)
        notices = [record.notice for record in job if record.notice]
    assert any("the disk is full" in notice and "the training goes on" in notice for notice in notices)
    assert load_model(tmp_path).card.training["steps_done"] == TINY.steps


# --- dynamical patterns ----------------------------------------------------------------------------------------


def test_dynamical_patterns_are_simulated_first_and_judged_by_other_ones(tmp_path: Path) -> None:
    parameters = TINY.model_copy(
        update={"simulation": "dynamical", "zone_axes": 200, "variants": 1, "thickness_high_angstrom": 300}
    )
    asked: list[tuple[int, float]] = []

    def build(
        crystals: Sequence[Crystal], *, parameters: BlochParameters, seed: int, device: torch.device | str
    ) -> Generator[LibraryProgress, None, BlochLibrary]:
        asked.append((seed, parameters.spacing_deg))
        return (yield from build_bloch_library(crystals, parameters=parameters, seed=seed, device=device))

    records = list(
        train_model([CU], parameters=parameters, output=tmp_path, device="cpu", build_library=build)
    )
    kinds = [type(record) for record in records]
    first = kinds.index(TrainingProgress)
    assert first > 0
    assert set(kinds[:first]) == {PreparationProgress}
    assert set(kinds[first:]) == {TrainingProgress}
    (seed, spacing), (other_seed, other_spacing) = asked
    assert seed != other_seed
    assert other_spacing > spacing
    card = load_model(tmp_path).card
    assert card.thickness_angstrom == (50, 300)
    assert card.training["simulation"] == "dynamical"


# --- several crystals ----------------------------------------------------------------------------------------


def test_phases_are_learned_and_their_accuracy_is_reported(tmp_path: Path) -> None:
    parameters = TINY.model_copy(update={"steps": 30})
    list(train_model([CU, CU2O], parameters=parameters, output=tmp_path, device="cpu"))
    card = load_model(tmp_path).card
    assert 0.5 < card.held_out["phase_accuracy"] <= 1.0
    assert "The phase is right for" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_members_of_a_structure_type_are_one_phase(tmp_path: Path) -> None:
    members = [CU, load_crystal("Al"), load_crystal("Au")]
    list(
        train_model(
            members, parameters=TINY, output=tmp_path / "fcc", device="cpu", whole_structure_type=True
        )
    )
    model = load_model(tmp_path / "fcc")
    assert model.card.network.n_phases == 1
    assert model.card.structure_type == "fcc"
    assert model.card.trained_on == ("Cu", "Al", "Au")
    scales = [crystal.lattice_scale for crystal in members]
    assert model.card.lattice_scale_angstrom == (min(scales), max(scales))
    assert [model.phase_index(crystal) for crystal in members] == [0, 0, 0]
    with pytest.raises(ValueError, match=r"one known structure type, not Cu \(fcc\), Cu2O"):
        next(train_model([CU, CU2O], parameters=TINY, output=tmp_path / "mixed", whole_structure_type=True))


def test_the_proposals_of_a_model_of_one_phase_are_the_start_of_every_phase(tmp_path: Path) -> None:
    list(train(tmp_path))
    source = load_model(tmp_path).network
    two = Trainer([CU, CU2O], TINY, device=torch.device("cpu"), start_from=tmp_path)
    batch = two.sampler.batch(8)
    with torch.no_grad():
        known = source(batch.peaks, batch.mask, batch.conditions).rotations[:, 0]
        proposed = two.network(batch.peaks, batch.mask, batch.conditions).rotations
    for phase in range(2):
        torch.testing.assert_close(proposed[:, phase], known)
