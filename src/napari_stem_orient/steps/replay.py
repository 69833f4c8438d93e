"""Replay a recipe with a scan: every step as it was decided, and the results in files that say how they were made."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient._version import __version__
from napari_stem_orient.core.progress import Progress, Record
from napari_stem_orient.detection.detectors import DETECTORS
from napari_stem_orient.indexing.methods import METHODS
from napari_stem_orient.steps import index as indexing
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.calibration_run import calibrate
from napari_stem_orient.steps.crystals import loaded
from napari_stem_orient.steps.detect import DetectChoice, plan_detection
from napari_stem_orient.steps.detection_run import DetectionRun, resumable
from napari_stem_orient.steps.export import ExportChoice, Exported, export
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.mask import open_mask
from napari_stem_orient.steps.open import OpenChoice, open_scan
from napari_stem_orient.steps.recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.orientation_map import OrientationMap


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results of one scan go; ``map`` is None where the recipe makes none.

    ``exports``: files beside the map, in the order of the recipe's exports.
    """

    peaks: Path
    map: Path | None
    exports: tuple[Path, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, name: str) -> Outputs:
        """The outputs of a recipe for a scan of this name."""
        makes_map = recipe.choice(IndexChoice) is not None
        exports = tuple(folder / f"{name}{choice.file_ending}" for choice in exports_of(recipe))
        return cls(folder / f"{name}_peaks.h5", folder / f"{name}_map.h5" if makes_map else None, exports)

    @property
    def last(self) -> Path:
        """The file that is written last: where it is whole, all is done."""
        return self.map or self.peaks

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.peaks, *(() if self.map is None else (self.map,)), *self.exports)


def exports_of(recipe: Recipe) -> tuple[ExportChoice, ...]:
    """What a recipe exports beside peaks and map, which are saved anyway."""
    always = (Exported.MAP, Exported.PEAKS)
    return tuple(c for c in recipe.steps if isinstance(c, ExportChoice) and c.what not in always)


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Record: a step of the recipe begins."""

    step: str
    progress: Progress


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What a recipe has made of a scan; both are in their files."""

    peaks: BraggPeaks
    orientation_map: OrientationMap | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recipe that can be repeated: with every step it needs, and the models that it will use.

    ``doubts``: of models that propose badly, as their cards say.
    """

    recipe: Recipe
    doubts: tuple[str, ...]


def prepared(recipe: Recipe) -> Prepared:
    """See that all is there that a recipe names, before any scan is read.

    Raises
    ------
    UserError, OSError, ImportError
        A step, a crystal, a mask, a model or py4DSTEM is missing, or another one than when the recipe was recorded.
    """
    detect = recipe.choice(DetectChoice)
    if detect is None:
        raise RecipeError(
            "the recipe has no step detect: it begins with peaks from a file",
            fix="add '- step: detect' where the disks are to be detected in each scan",
        )
    lacking = DETECTORS[detect.detector].lacking()
    if lacking:
        raise ImportError(lacking)
    if detect.mask.file is not None:
        open_mask(detect.mask.file, fingerprint=detect.mask.fingerprint)
    elif detect.mask.kind == "painted":
        raise RecipeError(
            f"the detector mask {detect.mask.fingerprint} was painted, and is in no file",
            value=detect.mask.fingerprint,
            fix="save the recipe in the window, which keeps the mask beside it, or name a mask file",
            place="mask",
        )
    if exports_of(recipe) and recipe.choice(IndexChoice) is None:
        raise RecipeError(
            "the recipe exports a map, and has no step index",
            fix="add '- step: index', or leave the export out",
            place="steps",
        )
    _refuse_what_has_nothing_to_work_on(recipe)
    steps = recipe.steps if recipe.choice(OpenChoice) else (OpenChoice(), *recipe.steps)
    doubts: list[str] = []
    models: dict[str, dict[str, str]] = {}
    for choice in steps:
        if isinstance(choice, CalibrateChoice):
            loaded(choice.crystals)
            for path in filter(None, (choice.source, choice.rings)):
                if not path.exists():
                    raise RecipeError(
                        f"there is no file {path}, which the recipe calibrates with",
                        value=str(path),
                        fix="bring it back, or correct its name in the recipe",
                        place="source",
                    )
        if isinstance(choice, IndexChoice):
            crystals = loaded(choice.crystals)
            doubts += indexing.check(choice, crystals)
            if METHODS[choice.method].uses_models:
                from napari_stem_orient.transformer.model_folder import model_identities

                models |= model_identities(crystals, folders=choice.models)
    _refuse_other_models(recipe, models)
    return Prepared(
        recipe.model_copy(update={"steps": steps, "models": models}), tuple(dict.fromkeys(doubts))
    )


def _refuse_what_has_nothing_to_work_on(recipe: Recipe) -> None:
    """Refuse a refinement before there is a map, and an index step that names no crystal."""
    indexed = False
    for number, choice in enumerate(recipe.steps):
        if isinstance(choice, CalibrateChoice) and choice.refine and not indexed:
            raise RecipeError(
                f"step {number + 1} refines the calibration from a map, and no step before it makes one",
                fix="put '- step: index' before it, or take 'refine' out",
                place=f"steps.{number}.refine",
            )
        if isinstance(choice, IndexChoice):
            indexed = True
            if not choice.crystals:
                raise RecipeError(
                    f"step {number + 1} indexes without a crystal",
                    fix="name one under 'crystals:', as '- source: Ni' or with a CIF file",
                    place=f"steps.{number}.crystals",
                )


def _refuse_other_models(recipe: Recipe, found: dict[str, dict[str, str]]) -> None:
    for crystal, wanted in recipe.models.items():
        here = found.get(crystal)
        if here is not None and here.get("weights") != wanted.get("weights"):
            raise RecipeError(
                f"the model for {crystal} is {here.get('name')} with weights {here.get('weights')} here, and was "
                f"{wanted.get('name')} with {wanted.get('weights')} when the recipe was recorded",
                value=here.get("weights"),
                fix="bring the former model back, or take it out of 'models:' to use this one",
                place=f"models.{crystal}",
            )


def replay(
    recipe: Recipe, scan: Path, outputs: Outputs, *, go_on: bool = False, overwrite: bool = False
) -> Generator[StepStarted | Record, None, Replayed]:
    """Repeat a recipe with one scan.

    Parameters
    ----------
    recipe
        As `prepared` gives it.
    scan
        File or folder.
    outputs
        Where the results go: whole or not at all, first the peaks, then the map.
    go_on
        Go on from what a run that broke off has left of this scan.
    overwrite
        Whether the results may take the place of files that this program has not written.

    Raises
    ------
    UserError, OSError
        The scan cannot be read, or does not fit the recipe; nothing is written then.
    """
    yield StepStarted("open", Progress(0, 1, "scans"))
    datacube = open_scan(scan, recipe.choice(OpenChoice) or OpenChoice())
    datacube = datacube.with_recipe({**datacube.recipe, "notes": recipe.notes})
    detect = recipe.choice(DetectChoice)
    assert detect is not None
    yield StepStarted("detect", Progress(0, datacube.n_positions, "patterns"))
    plan = yield from plan_detection(detect, datacube)
    run = DetectionRun(plan)
    if go_on:
        found = resumable(plan)
        run = DetectionRun(found.plan, resume_from=found.peaks)
    peaks = yield from run.job()
    maps: list[OrientationMap] = []
    for choice in recipe.steps:
        if isinstance(choice, CalibrateChoice):
            yield StepStarted("calibrate", Progress(0, 1, "parts"))
            peaks = yield from calibrate(choice, peaks, orientation_map=maps[-1] if maps else None)
        elif isinstance(choice, IndexChoice):
            yield StepStarted("index", Progress(0, peaks.n_positions, "patterns"))
            leftovers = indexing.Leftovers.TAKE if go_on else indexing.Leftovers.IGNORE
            job = indexing.index(choice, peaks, loaded(choice.crystals), leftovers=leftovers)
            maps.append((yield from job))
    yield StepStarted("save", Progress(0, 1, "files"))
    # the last result says that this recipe has made it; a refinement that has gained nothing is not in what it knows
    whole = {**recipe.to_data(), "software": __version__, "made_from": datacube.name}
    made = Replayed(
        peaks if maps else peaks.with_recipe(whole), replace(maps[-1], recipe=whole) if maps else None
    )
    _save(made, outputs, overwrite=overwrite)
    _export(recipe, made, outputs, overwrite=overwrite)
    run.forget()
    for each in maps:
        indexing.safe(each)
    return made


def _save(made: Replayed, outputs: Outputs, *, overwrite: bool) -> None:
    from napari_stem_orient.io.maps import save_orientation_map
    from napari_stem_orient.io.peaks import save_bragg_peaks

    save_bragg_peaks(made.peaks, outputs.peaks, overwrite=overwrite)
    if made.orientation_map is not None and outputs.map is not None:
        save_orientation_map(made.orientation_map, outputs.map, overwrite=overwrite)


def _export(recipe: Recipe, made: Replayed, outputs: Outputs, *, overwrite: bool) -> None:
    for choice, path in zip(exports_of(recipe), outputs.exports, strict=True):
        export(choice, made.orientation_map or made.peaks, path, overwrite=overwrite)


def made_before(recipe: Recipe, scan: Path, outputs: Outputs) -> Replayed:
    """What is in the files of a scan already, where the same recipe has made it of the same scan and all of it.

    Exports that are missing are written.

    Raises
    ------
    UserError
        It is not, and why.
    """
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.io.peaks import open_bragg_peaks

    peaks = open_bragg_peaks(outputs.peaks)
    orientation_map = None if outputs.map is None else open_orientation_map(outputs.map)
    result = peaks if orientation_map is None else orientation_map
    why = ""
    if result.source_fingerprint != open_scan(scan, recipe.choice(OpenChoice) or OpenChoice()).fingerprint:
        why = "was made of another scan, or the scan has changed since"
    elif not result.recipe:
        why = "does not say how it was made"
    elif not peaks.detected.all() or (orientation_map is not None and not orientation_map.is_complete):
        why = "is not whole"
    else:
        differs = Recipe.from_data(result.recipe).differs_from(recipe)
        why = f"was made with another recipe ({differs})" if differs else ""
    if why:
        raise RecipeError(
            f"{outputs.last.name} {why}",
            value=str(outputs.last),
            fix="give another output folder, or let it be replaced",
            field="overwrite",
        )
    made = Replayed(peaks, orientation_map)
    for choice, path in zip(exports_of(recipe), outputs.exports, strict=True):
        if not path.exists():
            export(choice, orientation_map or peaks, path)
    return made
