"""TrainingRun: one training from its first step, or from a checkpoint, to the finished model folder."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_stem_orient._version import __version__
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.transformer.checkpoint import (
    Evaluation,
    TrainingSettings,
    TrainingState,
    load_tensors,
    remove_checkpoint,
    save_checkpoint,
)
from napari_stem_orient.transformer.hold_out import (
    HeldOutErrors,
    fresh_patterns,
    judge,
    report_text,
)
from napari_stem_orient.transformer.loss import LossTerms
from napari_stem_orient.transformer.model_card import ModelCard
from napari_stem_orient.transformer.model_folder import CARD_NAME, save_model, write_whole
from napari_stem_orient.transformer.pattern_sampler import TrainingBatch, lattice_range
from napari_stem_orient.transformer.schedule import LearningSchedule, TrainingPart
from napari_stem_orient.transformer.trainer import DivergedError, Trainer

#: Model and checkpoint are written every so many steps or minutes.
SAVED_EVERY = 500
SAVED_EVERY_MINUTES = 2.0

#: Patterns that a model is judged by: on the way, and at the end.
QUICK_HELD_OUT = 1024
FULL_HELD_OUT = 4096

#: There is no evaluation before so many steps after the last one.
FEWEST_STEPS_BETWEEN = 10

REPORT_NAME = "report.md"
_REPORT_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How a training run goes.

    Attributes
    ----------
    progress
        In steps; the total falls when the run is to end early.
    loss, best_error_deg, chosen_error_deg
        Of the latest batches: mean loss, median errors of the best and of the chosen candidate.
    part
        Part of the schedule.
    patterns
        Patterns learned from so far.
    evaluation
        Errors on held-out patterns, in the one record after they were measured.
    lowest_held_out_deg
        Lowest held-out median error of the best candidate so far; None before the first evaluation.
    notice
        What the user should know: that a checkpoint could not be written, that batches are worked in smaller parts.
    """

    progress: Progress
    loss: float
    best_error_deg: float
    chosen_error_deg: float
    part: TrainingPart
    patterns: int
    evaluation: Evaluation | None = None
    lowest_held_out_deg: float | None = None
    notice: str | None = None


class TrainingRun:
    """One training from its first step, or from a checkpoint, to the finished model folder."""

    def __init__(
        self,
        settings: TrainingSettings,
        output: Path,
        *,
        trainer: Trainer,
        resume_from: TrainingState | None,
    ) -> None:
        self.settings = settings
        self.output = output
        self.trainer = trainer
        self.step, self.fraction, self._minutes_before = 0, 0.0, 0.0
        self.history: list[Evaluation] = []
        self.schedule = LearningSchedule(settings.parameters)
        if resume_from is not None:
            self.trainer.load_state(load_tensors(output))
            self.step, self.fraction = resume_from.step, resume_from.fraction
            self._minutes_before = resume_from.minutes
            self.history = list(resume_from.history)
            self.schedule.plateau = resume_from.plateau
        self._held_out: list[TrainingBatch] = []
        self._begun = self._reported = self._saved = time.monotonic()
        self._saved_step = self.step
        self._pending: list[LossTerms] = []
        self._latest = (math.nan, math.nan, math.nan)
        self._unseen: Evaluation | None = None
        self._notice: str | None = None

    @property
    def minutes(self) -> float:
        """Time that the training has taken, over all its parts."""
        return self._minutes_before + (time.monotonic() - self._begun) / 60

    # --- learning ------------------------------------------------------------------------------------------

    def learn(self) -> Generator[TrainingProgress, None, None]:
        """Learn until the schedule is over; where it is stopped, what was learned is kept."""
        try:
            while self.fraction < self.schedule.end:
                if self._evaluation_is_due():
                    yield from self._evaluate()
                    continue  # the error may have been seen to stand still
                self._learn_one_batch()
                if self._saving_is_due():
                    self._save_on_the_way()
                if self._is_time(_REPORT_EVERY_S):
                    yield self._record()
            yield self._record()
        except (GeneratorExit, KeyboardInterrupt):
            if self.step:
                self._save()
            raise
        except DivergedError as error:
            raise DivergedError(f"{error}{self._what_is_left()}") from error

    def _learn_one_batch(self) -> None:
        p, parts = self.settings.parameters, self.trainer.length_parts
        terms = self.trainer.step(self.schedule.rate(self.fraction), fraction=self.fraction)
        if terms is None:
            self._notice = "a batch without a finite loss was left out"
        else:
            self._pending.append(terms)
        if self.trainer.length_parts != parts:
            self._notice = (
                f"the device's memory is full: batches are worked in {self.trainer.length_parts} parts"
            )
        self.step += 1
        self.fraction = self.step / p.steps
        if p.minutes is not None:
            self.fraction = max(self.fraction, self.minutes / p.minutes)

    def _evaluation_is_due(self) -> bool:
        if not self.history:
            return True
        n, last = self.settings.parameters.evaluations, self.history[-1]
        return self.step - last.step >= FEWEST_STEPS_BETWEEN and int(self.fraction * n) > int(
            last.fraction * n
        )

    def _evaluate(self) -> Generator[TrainingProgress, None, None]:
        judging = judge(
            self.trainer.average,
            self._held_out or self._drawn(),
            symmetries=self.trainer.symmetries,
            device=self.trainer.device,
        )
        errors = yield from self._followed(judging)
        found = errors.summary(n_phases=self.settings.n_phases)
        if not math.isfinite(found["candidate_median_deg"]):
            raise DivergedError(
                "the network's proposals are not finite numbers any more; lower the learning rate"
            )
        patterns = self.step * self.settings.parameters.batch_size
        self._unseen = Evaluation(self.step, self.fraction, patterns, found)
        self.history.append(self._unseen)
        # Without the first: a model that this run started from may be better than what it is after the warm-up.
        self.schedule.watch([e.best_median_deg for e in self.history[1:]], fraction=self.fraction)
        yield self._record()

    def _drawn(self) -> Iterator[TrainingBatch]:
        """Draw the patterns to judge by, and keep them for the next evaluations."""
        drawn = []
        for piece in fresh_patterns(self.trainer.held_out_sampler(), QUICK_HELD_OUT):
            drawn.append(piece)
            yield piece
        self._held_out = drawn

    def _followed(
        self, judging: Generator[None, None, HeldOutErrors]
    ) -> Generator[TrainingProgress, None, HeldOutErrors]:
        """Pass on a record now and then while patterns are judged."""
        while True:
            try:
                next(judging)
            except StopIteration as finished:
                errors: HeldOutErrors = finished.value
                return errors
            if self._is_time(_REPORT_EVERY_S):
                yield self._record()

    def _is_time(self, every_s: float) -> bool:
        return time.monotonic() - self._reported > every_s

    def _record(self) -> TrainingProgress:
        """Say how the run goes; what is new is said once."""
        if self._pending:
            terms = self._pending
            self._latest = (
                float(torch.stack([t.total for t in terms]).mean()),
                math.degrees(float(torch.cat([t.best_error for t in terms]).median())),
                math.degrees(float(torch.cat([t.chosen_error for t in terms]).median())),
            )
            self._pending = []
        steps, end = self.settings.parameters.steps, self.schedule.end
        total = max(1, round(end * steps))
        record = TrainingProgress(
            Progress(min(total, round(self.fraction * steps)), total, "steps"),
            *self._latest,
            part=self.schedule.part(self.fraction),
            patterns=self.step * self.settings.parameters.batch_size,
            evaluation=self._unseen,
            lowest_held_out_deg=min((e.best_median_deg for e in self.history), default=None),
            notice=self._notice,
        )
        self._reported = time.monotonic()
        self._unseen = self._notice = None
        return record

    # --- saving --------------------------------------------------------------------------------------------

    def _saving_is_due(self) -> bool:
        waited = (time.monotonic() - self._saved) / 60
        return self.step - self._saved_step >= SAVED_EVERY or waited >= SAVED_EVERY_MINUTES

    def _save_on_the_way(self) -> None:
        """Save; a full disk does not end the training."""
        try:
            self._save()
        except OSError as error:
            self._notice = f"{error}; the training goes on"
        self._saved, self._saved_step = time.monotonic(), self.step

    def _save(self) -> None:
        """Write the checkpoint and the model; a few steps do not replace an earlier model."""
        state = TrainingState(
            self.step, self.fraction, self.minutes, self.schedule.plateau, tuple(self.history)
        )
        save_checkpoint(self.output, self.settings, state, self.trainer.state())
        if self.history and (self.step >= SAVED_EVERY or not (self.output / CARD_NAME).exists()):
            save_model(self.trainer.average, self._card(self.history[-1].errors, complete=False), self.output)

    def _what_is_left(self) -> str:
        kept = (self.output / CARD_NAME).is_file()
        return f"; {self.output} holds the model as it was last saved" if kept else "; no model was saved"

    def conclude(self) -> Generator[TrainingProgress, None, Path]:
        """Measure the errors on new patterns, write model and report, and let the checkpoint go."""
        try:
            errors = yield from self._followed(
                judge(
                    self.trainer.average,
                    fresh_patterns(self.trainer.held_out_sampler(stream=1), FULL_HELD_OUT),
                    symmetries=self.trainer.symmetries,
                    device=self.trainer.device,
                )
            )
        except (GeneratorExit, KeyboardInterrupt):
            self._save()
            raise
        numbers = {**errors.summary(n_phases=self.settings.n_phases), **errors.by_disks()}
        card = self._card(numbers, complete=True)
        report = report_text(
            errors, title=card.name, lines=self._story(card), n_phases=self.settings.n_phases
        )
        save_model(self.trainer.average, card, self.output)
        write_whole(self.output / REPORT_NAME, report.encode())
        remove_checkpoint(self.output)
        return self.output

    def _story(self, card: ModelCard) -> Iterator[str]:
        """How the model came about, for the report."""
        s, p = self.settings, self.settings.parameters
        names = ", ".join(crystal.name for crystal in s.crystals)
        low, high = card.voltage_kv
        yield f"for {f'every {s.structure_type} crystal, from {names}' if s.structure_type else names}"
        yield f"{low:.0f} to {high:.0f} kV, disks out to {card.q_limit_inv_angstrom[1]:g} 1/Å"
        patterns = self.step * p.batch_size
        start = f"the model {s.start_from}" if s.start_from else "random weights"
        yield f"{patterns:,} patterns in {self.step:,} steps and {self.minutes:.0f} min, from {start}"
        if self.schedule.end < 1.0:
            yield f"ended early, at {100 * self.schedule.end:.0f} % of the planned run: the error stood still"

    def _card(self, held_out: dict[str, float], *, complete: bool) -> ModelCard:
        s, p = self.settings, self.settings.parameters
        ranges = [lattice_range(c, p) for c in s.crystals]
        thickness = (p.thickness_low_angstrom, p.thickness_high_angstrom)
        axial = [c.axial_ratio for c in s.crystals] if len(s.crystals) > s.n_phases else []
        return ModelCard(
            name=s.name,
            structure_type=s.structure_type,
            structure_types=_types(s),
            crystals=tuple(c.to_dict() for c in s.crystals[: s.n_phases]),
            trained_on=tuple(c.name for c in s.crystals[s.n_phases :] and s.crystals),
            voltage_kv=(p.voltage_low_kv, p.voltage_high_kv),
            lattice_scale_angstrom=(min(low for low, _ in ranges), max(high for _, high in ranges)),
            axial_ratio=(min(axial), max(axial)) if axial else None,
            q_limit_inv_angstrom=(p.q_max_low_inv_angstrom, p.q_max_high_inv_angstrom),
            thickness_angstrom=None if p.simulation == "kinematic" else thickness,
            network=self.trainer.network.config,
            training={
                **p.model_dump(mode="json"),
                "start_from": s.start_from,
                "steps_done": self.step,
                "patterns": self.step * p.batch_size,
                "minutes_done": round(self.minutes, 1),
                "complete": complete,
            },
            held_out=held_out,
            software_version=__version__,
        )


def _types(settings: TrainingSettings) -> tuple[str, ...]:
    """The structure types of the members, where the model is for whole types."""
    if settings.structure_type is None:
        return ()
    return tuple(dict.fromkeys(c.structure_type for c in settings.crystals if c.structure_type is not None))
