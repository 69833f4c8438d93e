"""The step index: Bragg peaks and crystals to an orientation map; kept in a journal, and gone on with."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.py4dstem_extra import require_py4dstem
from napari_stem_orient.indexing.methods import METHODS, IndexingRun, MethodName
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.steps.choice import Choice, Device
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.journal_notices import JournalNotice, with_notices
from napari_stem_orient.steps.recorded import recorded

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.crystal import Crystal


class IndexChoice(Choice):
    """How Bragg peaks are indexed."""

    step: ClassVar[str] = "index"

    crystals: tuple[CrystalChoice, ...] = Field(
        (), title="Crystals", description="The phases that each pattern is tried against"
    )
    method: MethodName = Field(
        MethodName.TRANSFORMER,
        title="Method",
        description="transformer, or template: py4DSTEM's template matching (the extra py4dstem)",
    )
    parameters: IndexParameters | TemplateMatchingParameters = Field(
        default_factory=IndexParameters, title="Parameters", description="Of the chosen method"
    )
    models: tuple[Path, ...] = Field(
        (),
        title="Models",
        description="Folders of trained models, before the user's own and the shipped ones",
    )
    device: Device = Field("auto", title="Device", description="Where the transformer runs")

    @model_validator(mode="before")
    @classmethod
    def _default_of_the_method(cls, values: Any) -> Any:
        """Where no parameters are given, those of the method that is named stand for them."""
        if not isinstance(values, dict) or values.get("parameters") is not None:
            return values
        method = values.get("method", MethodName.TRANSFORMER)
        known = method in tuple(MethodName)
        return {**values, "parameters": METHODS[MethodName(method)].parameters()} if known else values

    @field_validator("parameters", mode="before")
    @classmethod
    def _parameters_of_the_method(cls, given: Any, info: ValidationInfo) -> Any:
        """Read parameters as those of the method that is named, so that an error speaks of no other method's."""
        method = info.data.get("method")
        if not isinstance(given, dict) or method is None:
            return given
        return METHODS[method].parameters.model_validate(given)

    @model_validator(mode="after")
    def _one_method(self) -> IndexChoice:
        method = METHODS[self.method]
        if not isinstance(self.parameters, method.parameters):
            raise ValueError(f"{type(self.parameters).__name__} are no parameters of {method.title}")
        if self.models and not method.uses_models:
            raise ValueError(f"{method.title} uses no model: leave the models out")
        return self


class Leftovers(Enum):
    """What becomes of what an interrupted run of the same kind has left."""

    TAKE = "the run goes on from them"
    TELL = "the run begins anew, and tells of them"
    IGNORE = "the run begins anew"


@dataclass(frozen=True, slots=True)
class MapStarted:
    """First record of an indexing run: the map that the blocks which follow belong into.

    `left` is how many positions an interrupted run has done which this one does not go on from.
    """

    orientation_map: OrientationMap
    progress: Progress
    left: int = 0


def index(
    choice: IndexChoice,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    *,
    resume_from: OrientationMap | None = None,
    leftovers: Leftovers = Leftovers.TAKE,
) -> Generator[MapStarted | IndexedBlock | JournalNotice, None, OrientationMap]:
    """Index the peaks of a whole scan.

    Parameters
    ----------
    choice
        How; its crystals are given loaded.
    peaks
        With pixel size and voltage in their calibration.
    crystals
        What `CrystalChoice.load` gives, or what is in memory already.
    resume_from
        A map that was stopped; ValueError where it was made otherwise.
    leftovers
        What becomes of an interrupted run of the same peaks, crystals, method, parameters and models. Where both it
        and ``resume_from`` are there, the one that came further is taken.

    Yields
    ------
    MapStarted once, then blocks and notices. What could go wrong at the start (no model, a missing calibration) does so
    before the first record. Blocks are in a journal before they are handed on; the journal stays until `safe` is told
    that the map is.

    Returns
    -------
    The finished map.
    """
    from napari_stem_orient.runs.map_journal import (
        begin_map_journal,
        find_interrupted_map,
        map_kept_in_journal,
        remove_interrupted_maps,
    )

    run = indexing_run(choice, peaks, crystals)
    empty = empty_map(choice, run)
    if resume_from is not None:
        resume_from = resume_from.continued(empty)
    found = None if leftovers is Leftovers.IGNORE else find_interrupted_map(empty)
    left = found if leftovers is Leftovers.TAKE else None
    start = max((m for m in (resume_from, left) if m is not None), key=_n_done, default=empty)
    job = METHODS[choice.method].job(run, start)
    told = _n_done(found) if found is not None and leftovers is Leftovers.TELL else 0
    yield MapStarted(start.copy(), Progress(_n_done(start), start.n_positions, "patterns"), told)
    journal = begin_map_journal(start)
    if start is not empty and not journal.problem:
        remove_interrupted_maps(start)  # the new journal has all of it
    finished = yield from with_notices(map_kept_in_journal(job, journal), journal)
    if not journal.problem:
        remove_interrupted_maps(finished, keep=journal.path)  # those like it have no more than it has
    return finished


def indexing_run(choice: IndexChoice, peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> IndexingRun:
    """What a choice asks a method to do."""
    return IndexingRun(peaks, tuple(crystals), choice.parameters, choice.models, choice.device)


def empty_map(choice: IndexChoice, run: IndexingRun) -> OrientationMap:
    """The map that a run begins with; ModelError where a crystal has no model."""
    models = METHODS[choice.method].model_identities(run)
    return OrientationMap.empty(
        run.peaks,
        run.crystals,
        method=choice.method.value,
        parameters=choice.parameters.model_dump(mode="json"),
        model=models,
        recipe=recorded(
            run.peaks.recipe,
            _with_used_models(choice, run.crystals),
            made_from=run.peaks.name,
            models=models,
        ),
    )


def _with_used_models(choice: IndexChoice, crystals: tuple[Crystal, ...]) -> IndexChoice:
    """The choice with those models alone that serve its crystals: a recipe needs no others, and they may go."""
    if not choice.models:
        return choice
    from napari_stem_orient.transformer.model_folder import find_models

    used = set(find_models(crystals, folders=choice.models).values())
    return choice.changed(models=tuple(folder for folder in choice.models if folder in used))


def check(choice: IndexChoice, crystals: tuple[Crystal, ...]) -> tuple[str, ...]:
    """Refuse what cannot be indexed before any work is done; what is doubtful of the models is told.

    Returns
    -------
    One text for each model that will be used and proposes badly, as its card says.

    Raises
    ------
    ImportError
        Where the method needs py4DSTEM, which is not installed.
    ModelError
        Where a crystal has no model.
    """
    method = METHODS[choice.method]
    if method.lacks():
        require_py4dstem()
    if not method.uses_models:
        return ()
    from napari_stem_orient.transformer.model_folder import find_models, read_card

    folders = dict.fromkeys(find_models(crystals, folders=choice.models).values())
    cards = [read_card(folder) for folder in folders]
    return tuple(f"model {card.name}: {card.poor_proposals}" for card in cards if card.poor_proposals)


def safe(orientation_map: OrientationMap) -> None:
    """A map is in a file: what journals keep of runs like it goes, but for runs that have come further."""
    from napari_stem_orient.runs.map_journal import remove_saved_maps

    remove_saved_maps(orientation_map)


def _n_done(orientation_map: OrientationMap) -> int:
    return int(orientation_map.done.sum())
