"""Training on patterns simulated on the fly, as a generator that can be stopped at any step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from napari_stem_orient import __version__
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device
from napari_stem_orient.network.loss import LossTerms, orientation_loss, symmetry_matrices
from napari_stem_orient.network.model_folder import CARD_NAME, ModelCard, load_model, save_model
from napari_stem_orient.network.pattern_sampler import PatternSampler, TrainingBatch, lattice_range
from napari_stem_orient.network.recipe import TrainingParameters
from napari_stem_orient.network.transformer import OrientationTransformer, Proposal

#: The model folder is written every so many steps.
SAVED_EVERY = 500

#: Patterns that a model is judged by: on the way, so that a stop takes no second, and at the end.
QUICK_HELD_OUT = 1024
FULL_HELD_OUT = 4096

#: A batch is worked in so many parts of similar length: padding would be half of the work.
LENGTH_PARTS = 4


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """How a training run goes: loss, and median errors in degrees of the best and of the chosen candidate."""

    progress: Progress
    loss: float
    best_error_deg: float
    chosen_error_deg: float


class Trainer:
    """The state of a training run: network, its running average, optimiser and schedule."""

    def __init__(
        self,
        crystals: Sequence[Crystal],
        parameters: TrainingParameters,
        *,
        device: torch.device,
        start_from: str | Path | None = None,
    ) -> None:
        torch.manual_seed(parameters.seed)
        network_config = parameters.network.model_copy(update={"n_phases": len(crystals)})
        self.parameters = parameters
        self.device = device
        self.network = OrientationTransformer(network_config).to(device)
        if start_from is not None:
            _load_matching(self.network, load_model(start_from, device=device).network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=parameters.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2
        )
        self.symmetries = symmetry_matrices(crystals, device)
        self.sampler = PatternSampler(crystals, parameters, seed=parameters.seed)

    def step(self, fraction: float) -> LossTerms:
        """Learn from one batch; ``fraction`` of the schedule is over."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.parameters.learning_rate * _schedule(fraction)
        batch = self.sampler.batch(self.parameters.batch_size)
        self.optimiser.zero_grad(set_to_none=True)
        terms = []
        for part in batch.by_length(LENGTH_PARTS):
            part = part.to(self.device)
            term = self._loss(self._propose(self.network, part), part)
            (term.total * (part.weight.sum() / batch.weight.sum())).backward()
            terms.append(term)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self._average_weights(fraction)
        return LossTerms(
            torch.stack([t.total.detach() for t in terms]).mean(),
            torch.cat([t.best_error for t in terms]),
            torch.cat([t.chosen_error for t in terms]),
        )

    def _propose(self, network: OrientationTransformer, batch: TrainingBatch) -> Proposal:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            proposal: Proposal = network(batch.peaks, batch.mask, batch.conditions)
        return proposal

    def _loss(self, proposal: Proposal, batch: TrainingBatch) -> LossTerms:
        return orientation_loss(proposal, batch.rotation, batch.phase, self.symmetries, weight=batch.weight)

    @torch.no_grad()
    def _average_weights(self, fraction: float) -> None:
        keep = min(0.999, 0.9 + fraction)
        for averaged, current in zip(self.average.parameters(), self.network.parameters(), strict=True):
            averaged.lerp_(current, 1 - keep)

    @torch.no_grad()
    def held_out(self, n_patterns: int) -> dict[str, float]:
        """Errors of the averaged network on kinematic patterns from another seed."""
        sampler = PatternSampler(self.sampler.crystals, self.parameters, seed=self.parameters.seed + 2**20)
        best, chosen = [], []
        for _ in range(max(1, n_patterns // 512)):
            batch = sampler.batch(512).to(self.device)
            terms = self._loss(self._propose(self.average, batch), batch)
            good = batch.weight > 0
            best.append(terms.best_error[good])
            chosen.append(terms.chosen_error[good])
        return {
            **_report("candidate", torch.rad2deg(torch.cat(best))),
            **_report("chosen", torch.rad2deg(torch.cat(chosen))),
        }


def _report(prefix: str, error_deg: Tensor) -> dict[str, float]:
    return {
        f"{prefix}_median_deg": round(float(error_deg.median()), 3),
        f"{prefix}_within_2_deg": round(float((error_deg < 2).float().mean()), 4),
        f"{prefix}_within_5_deg": round(float((error_deg < 5).float().mean()), 4),
        f"{prefix}_beyond_34_deg": round(float((error_deg > 34).float().mean()), 4),
    }


def _schedule(fraction: float) -> float:
    """Linear warm-up over 2 % of the run, then a cosine down to a hundredth."""
    if fraction < 0.02:
        return max(fraction / 0.02, 0.01)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (fraction - 0.02) / 0.98)))


def _load_matching(network: OrientationTransformer, source: OrientationTransformer) -> None:
    """Take over every tensor whose shape fits: the encoder always does, the head where the phases are as many."""
    own = network.state_dict()
    matching = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    network.load_state_dict({**own, **matching})


def train_model(
    crystals: Sequence[Crystal],
    *,
    parameters: TrainingParameters,
    output: str | Path,
    name: str | None = None,
    structure_type: str | None = None,
    device: str = "auto",
    start_from: str | Path | None = None,
) -> Generator[TrainingStep, None, Path]:
    """Train a model for some crystals and write its folder.

    Parameters
    ----------
    crystals
        The phases that the model shall propose orientations for.
    parameters
        The recipe.
    output
        Model folder; written every 500 steps, at the end and when stopped.
    name
        The model's name; the folder's name where none is given.
    structure_type
        Say that the model serves every crystal of the (one) crystal's structure type.
    device
        "auto", "cpu", "cuda" or "mps".
    start_from
        Model folder to take the first weights from.

    Yields
    ------
    TrainingStep
        After every few batches. Peak memory: about 1 GB for a cubic crystal at the default batch size.

    Returns
    -------
    The model folder.
    """
    crystals = tuple(crystals)
    if not crystals:
        raise ValueError("no crystal to train for; name at least one")
    trainer = Trainer(crystals, parameters, device=choose_device(device), start_from=start_from)
    output = Path(output)
    begun = last_report = time.monotonic()
    pending: list[LossTerms] = []
    step, fraction = 0, 0.0

    def save(n_held_out: int) -> Path:
        minutes = (time.monotonic() - begun) / 60
        return _save(trainer, output, name, structure_type, step=step, minutes=minutes, n_held_out=n_held_out)

    try:
        while fraction < 1.0:
            pending.append(trainer.step(fraction))
            step += 1
            fraction = step / parameters.steps
            if parameters.minutes is not None:
                fraction = max(fraction, (time.monotonic() - begun) / (60 * parameters.minutes))
            if step % SAVED_EVERY == 0:
                save(QUICK_HELD_OUT)
            if time.monotonic() - last_report > 0.3 or fraction >= 1.0:
                last_report = time.monotonic()
                yield _training_step(pending, min(fraction, 1.0), parameters.steps)
                pending.clear()
    except (GeneratorExit, KeyboardInterrupt):
        # What was learned is kept, but a few steps do not replace an earlier model.
        if step >= SAVED_EVERY or (step and not (output / CARD_NAME).exists()):
            save(QUICK_HELD_OUT)
        raise
    return save(FULL_HELD_OUT)


def _training_step(terms: list[LossTerms], fraction: float, steps: int) -> TrainingStep:
    return TrainingStep(
        Progress(round(fraction * steps), steps, "steps"),
        loss=float(torch.stack([t.total.detach() for t in terms]).mean()),
        best_error_deg=math.degrees(float(torch.cat([t.best_error for t in terms]).median())),
        chosen_error_deg=math.degrees(float(torch.cat([t.chosen_error for t in terms]).median())),
    )


def _save(
    trainer: Trainer,
    output: Path,
    name: str | None,
    structure_type: str | None,
    *,
    step: int,
    minutes: float,
    n_held_out: int,
) -> Path:
    p, crystals = trainer.parameters, trainer.sampler.crystals
    ranges = [lattice_range(c, p) for c in crystals]
    card = ModelCard(
        name=name or output.name,
        structure_type=structure_type,
        crystals=tuple(c.to_dict() for c in crystals),
        voltage_kv=(p.voltage_low_kv, p.voltage_high_kv),
        lattice_scale_angstrom=(min(low for low, _ in ranges), max(high for _, high in ranges)),
        q_limit_inv_angstrom=(p.q_max_low_inv_angstrom, p.q_max_high_inv_angstrom),
        network=trainer.network.config,
        training={
            **p.model_dump(mode="json"),
            "steps_done": step,
            "patterns": step * p.batch_size,
            "minutes_done": round(minutes, 1),
            "simulation": "kinematic",
        },
        held_out=trainer.held_out(n_held_out),
        software_version=__version__,
    )
    return save_model(trainer.average, card, output)
