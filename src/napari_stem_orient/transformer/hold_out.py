"""How well a model does on patterns that it has not seen: errors, phases, reliability, and the report in words."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from napari_stem_orient.transformer.loss import orientation_loss
from napari_stem_orient.transformer.network import OrientationTransformer, Proposal
from napari_stem_orient.transformer.pattern_sampler import FEWEST_DISKS, PatternSampler, TrainingBatch

#: Patterns that are judged at once: a piece takes a fraction of a second on any device.
PIECE = 128

#: Classes of the report: fewest disks of each.
DISK_CLASSES = (4, 7, 11, 17, 25)

#: Edges of the classes of certainty, the network's own probability of its choice.
CERTAINTY_EDGES = (0.0, 0.4, 0.6, 0.8, 0.95, 1.0)

#: A choice within so many degrees counts as right in the table of reliability.
RIGHT_WITHIN_DEG = 5.0


@dataclass(frozen=True, slots=True)
class HeldOutErrors:
    """What was found for N patterns with enough disks.

    Attributes
    ----------
    best_deg, chosen_deg
        (N,) errors in degrees of the best and of the chosen candidate of the true phase.
    n_disks
        (N,) number of disks of each pattern.
    certainty
        (N,) probability that the network gives to its choice.
    phase_right
        (N,) bool; whether the true phase has the largest logit.
    """

    best_deg: Tensor
    chosen_deg: Tensor
    n_disks: Tensor
    certainty: Tensor
    phase_right: Tensor

    def summary(self, *, n_phases: int) -> dict[str, float]:
        """The numbers of the model card."""
        numbers = {**_errors("candidate", self.best_deg), **_errors("chosen", self.chosen_deg)}
        numbers["patterns"] = float(len(self.best_deg))
        if n_phases > 1:
            numbers["phase_accuracy"] = round(float(self.phase_right.float().mean()), 4)
        return numbers

    def by_disks(self) -> dict[str, float]:
        """Median errors by the number of disks, for the model card."""
        numbers = {}
        for words, part in self.disk_classes():
            name = f"{words.replace(' ', '_')}_disks"
            numbers[f"candidate_median_deg_{name}"] = round(float(part.best_deg.median()), 3)
            numbers[f"chosen_median_deg_{name}"] = round(float(part.chosen_deg.median()), 3)
        return numbers

    def disk_classes(self) -> Iterator[tuple[str, HeldOutErrors]]:
        """The same by the number of disks; classes without patterns are left out."""
        for low, above in pairwise((*DISK_CLASSES, 2**30)):
            inside = (self.n_disks >= low) & (self.n_disks < above)
            if inside.any():
                last = above == 2**30
                yield (f"{low} or more" if last else f"{low} to {above - 1}"), self._of(inside)

    def reliability(self) -> Iterator[tuple[float, float, int]]:
        """Mean certainty, part of the choices that are right, and number of patterns, by class of certainty."""
        for low, high in pairwise(CERTAINTY_EDGES):
            inside = (self.certainty > low) & (self.certainty <= high)
            if inside.any():
                right = self.chosen_deg[inside] < RIGHT_WITHIN_DEG
                yield float(self.certainty[inside].mean()), float(right.float().mean()), int(inside.sum())

    def _of(self, rows: Tensor) -> HeldOutErrors:
        return HeldOutErrors(*(getattr(self, name)[rows] for name in HeldOutErrors.__slots__))


def fresh_patterns(sampler: PatternSampler, n_patterns: int) -> Iterator[TrainingBatch]:
    """Patterns in pieces, each drawn when it is asked for."""
    for _ in range(math.ceil(n_patterns / PIECE)):
        yield sampler.batch(PIECE)


def judge(
    network: OrientationTransformer,
    pieces: Iterable[TrainingBatch],
    *,
    symmetries: list[Tensor],
    device: torch.device,
) -> Generator[None, None, HeldOutErrors]:
    """Propose orientations for pieces of patterns and compare them with the truth; yields after each piece.

    Raises
    ------
    ValueError
        When no pattern has disks enough.
    """
    found: list[HeldOutErrors] = []
    for piece in pieces:
        found.append(_judged(network, piece.to(device), symmetries))
        yield
    whole = HeldOutErrors(
        *(torch.cat([getattr(part, name) for part in found]) for name in HeldOutErrors.__slots__)
    )
    if not len(whole.n_disks):
        raise ValueError(
            f"none of the simulated patterns has {FEWEST_DISKS} disks or more, so that nothing can be learned from "
            "them; raise the largest q limit"
        )
    return whole


@torch.no_grad()
def _judged(network: OrientationTransformer, batch: TrainingBatch, symmetries: list[Tensor]) -> HeldOutErrors:
    proposal = propose(network, batch)
    terms = orientation_loss(proposal, batch.rotation, batch.phase, symmetries, weight=batch.weight)
    rows = torch.arange(len(batch.phase), device=batch.phase.device)
    logits = proposal.candidate_logits[rows, batch.phase]
    good = batch.weight > 0
    found = (
        torch.rad2deg(terms.best_error),
        torch.rad2deg(terms.chosen_error),
        batch.mask.sum(dim=1),
        torch.softmax(logits, dim=1).amax(dim=1),
        proposal.phase_logits.argmax(dim=1) == batch.phase,
    )
    return HeldOutErrors(*(values[good].cpu() for values in found))


def propose(network: OrientationTransformer, batch: TrainingBatch) -> Proposal:
    """What a network says of a batch; on CUDA in bfloat16."""
    device = batch.peaks.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
        proposal: Proposal = network(batch.peaks, batch.mask, batch.conditions)
    return proposal


def report_text(errors: HeldOutErrors, *, title: str, lines: Iterable[str], n_phases: int) -> str:
    """The hold-out report in Markdown.

    Parameters
    ----------
    errors
        What was found on patterns that the model has not seen.
    title
        The name of the model.
    lines
        How it was trained, a sentence each.
    n_phases
        How many phases the model tells apart.
    """
    text = [f"## {title}", "", *(f"- {line}" for line in lines), "", *_error_table(errors)]
    if n_phases > 1:
        right = 100 * float(errors.phase_right.float().mean())
        text += ["", f"The phase is right for {right:.1f} % of the patterns ({n_phases} phases)."]
    return "\n".join([*text, "", *_reliability_table(errors)]) + "\n"


def _error_table(errors: HeldOutErrors) -> list[str]:
    rows = [
        f"Errors on {len(errors.best_deg):,} simulated patterns that it has not seen, before any refinement; best: the "
        "best of its candidates, chosen: the one it would choose.",
        "",
        "| disks | patterns | best: median | within 2° | within 5° | chosen: median | within 2° | beyond 34° |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for words, part in (*errors.disk_classes(), ("all", errors)):
        best, chosen = part.best_deg, part.chosen_deg
        rows.append(
            f"| {words} | {len(best):,} | {float(best.median()):.2f}° | {_percent(best < 2)} | {_percent(best < 5)} "
            f"| {float(chosen.median()):.2f}° | {_percent(chosen < 2)} | {_percent(chosen > 34)} |"
        )
    return rows


def _reliability_table(errors: HeldOutErrors) -> list[str]:
    rows = [
        f"How far its certainty can be trusted (right: within {RIGHT_WITHIN_DEG:.0f}°):",
        "",
        "| says | is right for | patterns |",
        "|---|---|---|",
    ]
    return rows + [
        f"| {100 * said:.0f} % | {100 * was:.0f} % | {n:,} |" for said, was, n in errors.reliability()
    ]


def _percent(flags: Tensor) -> str:
    return f"{100 * float(flags.float().mean()):.0f} %"


def _errors(prefix: str, error_deg: Tensor) -> dict[str, float]:
    return {
        f"{prefix}_median_deg": round(float(error_deg.median()), 3),
        f"{prefix}_within_2_deg": round(float((error_deg < 2).float().mean()), 4),
        f"{prefix}_within_5_deg": round(float((error_deg < 5).float().mean()), 4),
        f"{prefix}_beyond_34_deg": round(float((error_deg > 34).float().mean()), 4),
    }
