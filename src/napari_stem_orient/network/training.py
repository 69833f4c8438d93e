"""Training on patterns simulated on the fly, as a generator that can be stopped at any step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from napari_stem_orient import __version__
from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device
from napari_stem_orient.network.loss import LossTerms, orientation_loss, symmetry_matrices
from napari_stem_orient.network.model_folder import CARD_NAME, ModelCard, load_model, save_model
from napari_stem_orient.network.transformer import OrientationTransformer, Proposal, TransformerConfig
from napari_stem_orient.simulation.augment import AugmentationParameters, PeakAugmenter
from napari_stem_orient.simulation.kinematic import KinematicSimulator, excitation_error

#: Patterns with fewer disks than this say too little to learn from.
FEWEST_DISKS = 4

#: The model folder is written every so many steps.
SAVED_EVERY = 500

#: Patterns that a model is judged by: on the way, so that a stop takes no second, and at the end.
QUICK_HELD_OUT = 1024
FULL_HELD_OUT = 4096

#: A batch is worked in so many parts of similar length: padding would be half of the work.
LENGTH_PARTS = 4


class TrainingParameters(BaseModel):
    """The recipe of one training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(5000, ge=1, title="Steps", description="Batches of patterns to learn from")
    batch_size: int = Field(512, ge=8, title="Batch", description="Patterns in a batch")
    learning_rate: float = Field(
        1.2e-3, gt=0, title="Learning rate", description="Highest rate of AdamW, reached after the warm-up"
    )
    voltage_low_kv: float = Field(80, ge=20, le=3000, title="Lowest voltage", description="kV")
    voltage_high_kv: float = Field(300, ge=20, le=3000, title="Highest voltage", description="kV")
    lattice_scale_low_angstrom: float | None = Field(
        None, gt=0, title="Smallest cell edge", description="Å; empty: the crystal's own"
    )
    lattice_scale_high_angstrom: float | None = Field(
        None, gt=0, title="Largest cell edge", description="Å; empty: the crystal's own"
    )
    q_max_low_inv_angstrom: float = Field(
        0.9, gt=0, title="Smallest q limit", description="Lowest detector limit to be ready for, 1/Å"
    )
    q_max_high_inv_angstrom: float = Field(
        2.0, gt=0, title="Largest q limit", description="Highest detector limit to be ready for, 1/Å"
    )
    seed: int = Field(0, ge=0, title="Seed", description="Same seed, same model (on one kind of device)")
    minutes: float | None = Field(
        None, gt=0, title="Time limit", description="Minutes; the schedule is shortened to fit"
    )
    network: TransformerConfig = TransformerConfig()
    augmentation: AugmentationParameters = AugmentationParameters()


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """How a training run goes: loss, and median errors in degrees of the best and of the chosen candidate."""

    progress: Progress
    loss: float
    best_error_deg: float
    chosen_error_deg: float


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Simulated patterns: peaks (B, N, 3) with q in 1/a, mask (B, N), curvature, rotation (B, 3, 3), phase (B,)."""

    peaks: Tensor
    mask: Tensor
    curvature: Tensor
    rotation: Tensor
    phase: Tensor

    @property
    def weight(self) -> Tensor:
        """1 where a pattern has enough disks to learn from."""
        return (self.mask.sum(dim=1) >= FEWEST_DISKS).float()

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on another device."""
        return TrainingBatch(*(getattr(self, name).to(device) for name in TrainingBatch.__slots__))

    def by_length(self, n_parts: int) -> list[TrainingBatch]:
        """The same patterns in parts of similar numbers of disks, each with no more places than it needs."""
        count = self.mask.sum(dim=1)
        parts = []
        for rows in torch.argsort(count).chunk(n_parts):
            longest = max(1, int(count[rows].max()))
            parts.append(
                TrainingBatch(
                    self.peaks[rows, :longest],
                    self.mask[rows, :longest],
                    self.curvature[rows],
                    self.rotation[rows],
                    self.phase[rows],
                )
            )
        return parts


class PatternSampler:
    """Endless simulated patterns of some crystals in random orientation.

    q is in units of 1/a, so that one model serves all crystals of a structure type; the wavelength over a is drawn
    from the voltages and cell edges of the recipe. Everything follows from the seed.
    """

    def __init__(self, crystals: Sequence[Crystal], parameters: TrainingParameters, *, seed: int) -> None:
        self.crystals = tuple(crystals)
        self.parameters = parameters
        self._generator = torch.Generator().manual_seed(seed)
        self._augmenters = [self._augmenter(c) for c in self.crystals]
        # Reflections a bit beyond the largest detector: distortion may bring them in.
        self._simulators = [
            KinematicSimulator(c, voltage_kv=300, q_max=1.02 * self._q_limits(c)[1] / c.lattice_scale)
            for c in self.crystals
        ]

    def _q_limits(self, crystal: Crystal) -> tuple[float, float]:
        """Lowest and highest q limit in 1/a."""
        low, high = lattice_range(crystal, self.parameters)
        return self.parameters.q_max_low_inv_angstrom * low, self.parameters.q_max_high_inv_angstrom * high

    def _augmenter(self, crystal: Crystal) -> PeakAugmenter:
        low, high = self._q_limits(crystal)
        augmentation = self.parameters.augmentation.model_copy(
            update={"q_limit_low": low, "q_limit_high": high}
        )
        return PeakAugmenter(
            augmentation, n_peaks=self.parameters.network.n_tokens, generator=self._generator
        )

    def batch(self, size: int) -> TrainingBatch:
        """A fresh batch of ``size`` patterns, the phases in equal parts."""
        share = np.diff(np.linspace(0, size, len(self.crystals) + 1).astype(int))
        parts = [self._of_phase(index, int(n)) for index, n in enumerate(share)]
        return TrainingBatch(
            *(torch.cat([getattr(part, name) for part in parts]) for name in TrainingBatch.__slots__)
        )

    def _of_phase(self, index: int, size: int) -> TrainingBatch:
        crystal, simulator = self.crystals[index], self._simulators[index]
        rotation = random_rotations(size, self._generator)
        curvature = self._curvature(crystal, size)
        g = (simulator.g * crystal.lattice_scale) @ rotation
        s = excitation_error(g, curvature[:, None])
        peaks, mask = self._augmenters[index](g[..., :2], s, simulator.strength)
        return TrainingBatch(peaks, mask, curvature, rotation, torch.full((size,), index))

    def _curvature(self, crystal: Crystal, size: int) -> Tensor:
        p = self.parameters
        longest = electron_wavelength_angstrom(p.voltage_low_kv)
        shortest = electron_wavelength_angstrom(p.voltage_high_kv)
        low, high = lattice_range(crystal, p)
        draw = torch.rand((2, size), generator=self._generator)
        return (shortest + (longest - shortest) * draw[0]) / (low + (high - low) * draw[1])


def lattice_range(crystal: Crystal, parameters: TrainingParameters) -> tuple[float, float]:
    """Smallest and largest cell edge in Å that a model is trained for."""
    own = crystal.lattice_scale
    low = parameters.lattice_scale_low_angstrom or own
    return low, max(low, parameters.lattice_scale_high_angstrom or own)


def random_rotations(n: int, generator: torch.Generator) -> Tensor:
    """(n, 3, 3) uniformly distributed rotations."""
    quaternions = torch.randn((n, 4), generator=generator, dtype=torch.float64)
    quaternions = quaternions / quaternions.norm(dim=1, keepdim=True)
    return torch.as_tensor(quaternion_to_matrix(quaternions.numpy())).float()


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
            proposal: Proposal = network(batch.peaks, batch.mask, batch.curvature)
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
