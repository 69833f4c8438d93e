"""Trainer: a network that learns: its running average, its optimiser, and the patterns that it learns from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.device import describe_device, is_out_of_memory
from napari_stem_orient.simulation.bloch_library import BlochLibrary
from napari_stem_orient.transformer.hold_out import propose
from napari_stem_orient.transformer.loss import LossTerms, orientation_loss, symmetry_matrices
from napari_stem_orient.transformer.model_folder import load_model
from napari_stem_orient.transformer.network import OrientationTransformer
from napari_stem_orient.transformer.pattern_sampler import PatternSampler, TrainingBatch
from napari_stem_orient.transformer.training_parameters import TrainingParameters

#: A batch is worked in so many parts of similar length: padding would be half of the work.
LENGTH_PARTS = 4

#: Batches in a row without a finite loss after which a run is given up.
FEWEST_FAILURES = 5

#: The seed of held-out patterns is so far from that of the patterns learned from.
HELD_OUT_SEED = 2**20


class DivergedError(RuntimeError):
    """The loss is no number any more; the message says what to change."""


class Trainer:
    """The network of a training run, and everything that changes with it.

    Parameters
    ----------
    phases
        The phases to tell apart, each a crystal or the members of a structure type.
    parameters
        The training parameters.
    device
        Where the network learns; batches are drawn on the CPU.
    start_from
        Model folder to take the first weights from.
    libraries, held_out_libraries
        For each phase the dynamical patterns to learn from and those to judge by; None: all are kinematic.
    """

    def __init__(
        self,
        phases: Sequence[Crystal | Sequence[Crystal]],
        parameters: TrainingParameters,
        *,
        device: torch.device,
        start_from: str | Path | None = None,
        libraries: Sequence[BlochLibrary] | None = None,
        held_out_libraries: Sequence[BlochLibrary] | None = None,
    ) -> None:
        torch.manual_seed(parameters.seed)
        network_config = parameters.network.model_copy(update={"n_phases": len(phases)})
        self.parameters = parameters
        self.device = device
        self.length_parts = LENGTH_PARTS
        self.network = OrientationTransformer(network_config).to(device)
        if start_from is not None:
            _load_matching(self.network, load_model(start_from, device=device).network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=parameters.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2
        )
        self.sampler = PatternSampler(phases, parameters, seed=parameters.seed, libraries=libraries)
        self.symmetries = symmetry_matrices(self.sampler.crystals, device)
        self._phases, self._held_out_libraries = tuple(phases), held_out_libraries
        self._failures = 0

    def held_out_sampler(self, *, stream: int = 0) -> PatternSampler:
        """Patterns that the network never learns from; each stream has others."""
        return PatternSampler(
            self._phases,
            self.parameters,
            seed=self.parameters.seed + HELD_OUT_SEED * (1 + stream),
            libraries=self._held_out_libraries,
        )

    def step(self, rate: float, *, fraction: float) -> LossTerms | None:
        """Learn from one batch; None where its loss was not finite and nothing was learned.

        Parameters
        ----------
        rate
            Learning rate, relative to that of the parameters.
        fraction
            Part of the run that is over: the running average gets longer with it.

        Raises
        ------
        DivergedError
            After several such batches in a row.
        MemoryError
            When even single patterns do not fit into the device's memory.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.parameters.learning_rate * rate
        batch = self.sampler.batch(self.parameters.batch_size)
        terms = self._gradients(batch)
        while terms is None:
            self._split_further()
            terms = self._gradients(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not bool(torch.isfinite(norm) & torch.isfinite(terms.total)):
            self._fail()
            return None
        self._failures = 0
        self.optimiser.step()
        self._average_weights(fraction)
        return terms

    def _gradients(self, batch: TrainingBatch) -> LossTerms | None:
        """Compute the gradients of a batch; None where it did not fit into memory."""
        self.optimiser.zero_grad(set_to_none=True)
        terms = []
        try:
            for part in batch.by_length(self.length_parts):
                part = part.to(self.device)
                term = orientation_loss(
                    propose(self.network, part),
                    part.rotation,
                    part.phase,
                    self.symmetries,
                    weight=part.weight,
                )
                (term.total * (part.weight.sum() / batch.weight.sum())).backward()
                terms.append(term)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        return LossTerms(
            torch.stack([t.total.detach() for t in terms]).mean(),
            torch.cat([t.best_error for t in terms]),
            torch.cat([t.chosen_error for t in terms]),
        )

    def _split_further(self) -> None:
        if self.length_parts >= self.parameters.batch_size:
            raise MemoryError(
                f"{describe_device(self.device)} has too little free memory to train; choose the device 'cpu'"
            )
        self.length_parts *= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _fail(self) -> None:
        self._failures += 1
        if self._failures >= FEWEST_FAILURES:
            raise DivergedError(
                f"the loss is not a finite number any more at a learning rate of {self.parameters.learning_rate:g}; "
                "train with a lower one (a third of it, say)"
            )

    @torch.no_grad()
    def _average_weights(self, fraction: float) -> None:
        keep = min(0.999, 0.9 + fraction)
        for averaged, current in zip(self.average.parameters(), self.network.parameters(), strict=True):
            averaged.lerp_(current, 1 - keep)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, as tensors with names."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        return tensors | {"sampler": self.sampler.random_state}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a state; the inverse of `state`."""
        self.network.load_state_dict(_below("network.", tensors))
        self.average.load_state_dict(_below("average.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimiser.", tensors).items():
            index, kind = name.split(".", 1)
            moments.setdefault(int(index), {})[kind] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.sampler.random_state = tensors["sampler"]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_matching(network: OrientationTransformer, source: OrientationTransformer) -> None:
    """Take over every tensor whose shape fits; what a model of one phase proposes is the start of every phase."""
    own = network.state_dict()
    taken = dict(own)
    for name, value in source.state_dict().items():
        if name not in own:
            continue
        n_phases = network.config.n_phases if source.config.n_phases == 1 else 1
        repeated = value.repeat(n_phases, *[1] * (value.dim() - 1))
        if own[name].shape == value.shape:
            taken[name] = value
        elif own[name].shape == repeated.shape and name.startswith("head."):
            taken[name] = repeated
    network.load_state_dict(taken)
