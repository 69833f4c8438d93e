"""Training: it learns, it repeats, it can be stopped, and it leaves a model folder that loads."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.simulation.bloch_library import LibraryProgress
from napari_stem_orient.transformer.checkpoint import TrainingSettings
from napari_stem_orient.transformer.hold_out import judge
from napari_stem_orient.transformer.loss import symmetry_matrices
from napari_stem_orient.transformer.model_folder import load_model
from napari_stem_orient.transformer.network import OrientationTransformer, TransformerConfig
from napari_stem_orient.transformer.pattern_sampler import PatternSampler
from napari_stem_orient.transformer.trainer import Trainer
from napari_stem_orient.transformer.training import _libraries, train_model
from napari_stem_orient.transformer.training_parameters import TrainingParameters
from napari_stem_orient.transformer.training_run import TrainingProgress

SMALL = TrainingParameters(
    steps=40,
    batch_size=128,
    learning_rate=3e-3,
    simulation="kinematic",
    q_max_high_inv_angstrom=1.2,
    network=TransformerConfig(width=32, layers=1, heads=2, n_tokens=16, n_candidates=4),
)
CU = load_crystal("Cu")


def run(output: Path, **changes: object) -> list[TrainingProgress]:
    job = train_model([CU], parameters=SMALL.model_copy(update=changes), output=output, device="cpu")
    return [record for record in job if isinstance(record, TrainingProgress)]


def test_the_error_goes_down_and_the_folder_loads(tmp_path: Path) -> None:
    steps = run(tmp_path / "model", steps=150)
    model = load_model(tmp_path / "model")
    first = next(step.evaluation for step in steps if step.evaluation is not None)
    assert first.step == 0
    assert steps[-1].progress.fraction == 1
    assert model.card.held_out["candidate_median_deg"] < first.best_median_deg
    assert model.card.training["steps_done"] == 150
    assert model.card.training["patterns"] == 150 * SMALL.batch_size
    assert model.phase_index(CU) == 0
    assert model.phase_index(load_crystal("Ti")) is None


def test_patterns_follow_from_the_seed() -> None:
    first = PatternSampler([CU], SMALL, seed=3).batch(16)
    second = PatternSampler([CU], SMALL, seed=3).batch(16)
    other = PatternSampler([CU], SMALL, seed=4).batch(16)
    torch.testing.assert_close(first.peaks, second.peaks, rtol=0, atol=0)
    assert not torch.equal(first.peaks, other.peaks)


def test_disks_of_an_undistorted_pattern_are_lattice_points() -> None:
    calm = SMALL.augmentation.model_copy(
        update={
            "position_noise": 0.0,
            "scale_error": 0.0,
            "ellipticity": 0.0,
            "origin_error": 0.0,
            "spurious": 0,
            "mixed": 0.0,
        }
    )
    batch = PatternSampler([CU], SMALL.model_copy(update={"augmentation": calm}), seed=0).batch(64)
    q = batch.peaks[..., :2]
    on_sphere = torch.cat(
        [q, -0.5 * batch.conditions[:, 0, None, None] * (q * q).sum(-1, keepdim=True)], dim=-1
    )
    indices = on_sphere @ batch.rotation.transpose(1, 2)
    # In units of 1/a the reflections of fcc are integers; the excitation error is all that is left.
    residual = (indices - indices.round()).norm(dim=-1)[batch.mask]
    assert residual.quantile(0.9) < 0.45
    # Twice the standard deviation of random points in a cell is no lattice.
    assert residual.median() < 0.25


def test_parts_of_similar_length_hold_the_same_patterns() -> None:
    batch = PatternSampler([CU], SMALL, seed=0).batch(64)
    parts = batch.by_length(4)
    assert sum(len(p.rotation) for p in parts) == 64
    assert sum(int(p.mask.sum()) for p in parts) == int(batch.mask.sum())
    assert parts[0].mask.shape[1] < parts[-1].mask.shape[1]


def test_a_stopped_training_ends_at_once_and_keeps_what_it_learned(tmp_path: Path) -> None:
    endless = SMALL.model_copy(update={"steps": 10**6})
    job = train_model([CU], parameters=endless, output=tmp_path / "m", device="cpu")
    assert next(r for r in job if isinstance(r, TrainingProgress) and r.patterns)
    job.close()
    kept = load_model(tmp_path / "m").card.training["steps_done"]
    assert kept >= 1
    # A few steps of another run do not replace it.
    weights = (tmp_path / "m" / "weights.safetensors").read_bytes()
    again = train_model([CU], parameters=endless, output=tmp_path / "m", device="cpu")
    assert next(r for r in again if isinstance(r, TrainingProgress) and r.patterns)
    again.close()
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == weights


def test_two_phases_are_told_apart_by_the_card(tmp_path: Path) -> None:
    crystals = [CU, load_crystal("Cu2O")]
    list(
        train_model(
            crystals, parameters=SMALL.model_copy(update={"steps": 2}), output=tmp_path / "m", device="cpu"
        )
    )
    model = load_model(tmp_path / "m")
    assert [model.phase_index(c) for c in crystals] == [0, 1]
    batch = PatternSampler(crystals, SMALL, seed=0).batch(10)
    assert batch.phase.tolist() == [0] * 5 + [1] * 5


def test_no_crystal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(train_model([], parameters=SMALL, output=tmp_path))


def test_training_goes_on_from_another_model(tmp_path: Path) -> None:
    run(tmp_path / "first", steps=2)
    first = load_model(tmp_path / "first").network.state_dict()
    started = Trainer([CU], SMALL, device=torch.device("cpu"), start_from=tmp_path / "first")
    for name, tensor in started.network.state_dict().items():
        torch.testing.assert_close(tensor, first[name], rtol=0, atol=0)
    # With another number of phases the head is new and the encoder is taken over.
    two = Trainer([CU, load_crystal("Au")], SMALL, device=torch.device("cpu"), start_from=tmp_path / "first")
    torch.testing.assert_close(two.network.embed_radius.weight, started.network.embed_radius.weight)


def test_patterns_without_disks_are_refused_in_words_and_not_called_a_divergence() -> None:
    batch = PatternSampler([CU], SMALL, seed=3).batch(16)
    empty = replace(batch, peaks=torch.zeros_like(batch.peaks), mask=torch.zeros_like(batch.mask))
    device = torch.device("cpu")
    judging = judge(
        OrientationTransformer(SMALL.network),
        [empty],
        symmetries=symmetry_matrices([CU], device),
        device=device,
    )
    with pytest.raises(ValueError, match="none of the simulated patterns has 4 disks or more"):
        list(judging)


def test_libraries_are_not_simulated_on_apples_gpus() -> None:
    """Most versions of torch have no eigenvalues there."""
    devices = []

    def build(
        *_args: object, device: torch.device, **_keywords: object
    ) -> Generator[LibraryProgress, None, None]:
        devices.append(device.type)
        return
        yield

    settings = TrainingSettings((CU,), SMALL.model_copy(update={"simulation": "dynamical"}), "cu")
    for name in ("mps", "cuda"):
        list(_libraries(settings, torch.device(name), build))  # type: ignore[arg-type]
    assert devices == ["cpu", "cpu", "cuda", "cuda"]
