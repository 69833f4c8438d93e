"""The methods as the benchmarks call them: the transformer in its variants and py4DSTEM, on the same peaks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import Timed, finish

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.template_matching import index_by_template_matching
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.transformer.model_folder import find_models, model_identities, read_card

#: Indexes the positions (n,) of a mask; the result is a map of the whole scan and its time.
Method = Callable[[BraggPeaks, Sequence[Crystal], NDArray[np.bool_]], Timed]

PY4DSTEM_KERNEL = 0.08  # Å⁻¹
TEMPLATE = "py4DSTEM ACOM 2°/2°"
REFINED = "transformer, refined"
PAINSTAKING = "transformer, refined, two views, calibration fitted"
NEIGHBOURS = "transformer, refined, neighbours"


def method_options(parser: argparse.ArgumentParser, *, most_templates: int = 400) -> None:
    """Options that say which methods to run, and how."""
    parser.add_argument("--only", choices=["transformer", "template"], help="leave the other method out")
    parser.add_argument("--device", default="auto", help="device of the transformer (default: auto)")
    parser.add_argument(
        "--model", action="append", default=[], help="folder of a trained model (default: the shipped one)"
    )
    parser.add_argument(
        "--one-candidate-model",
        action="append",
        default=[],
        help="folder of a model trained with one candidate, for the row of the published method "
        "(default: the likeliest candidate of the other model)",
    )
    parser.add_argument(
        "--most-templates",
        type=int,
        default=most_templates,
        help=f"template matching runs on about this many positions, evenly spread (default: {most_templates}; "
        "0: on all)",
    )


def transformer_parameters(
    arguments: argparse.Namespace, *, neighbours: bool, min_disks: int | None = None
) -> dict[str, IndexParameters]:
    """Name -> parameters of the variants: as published; candidates as proposed; refined; with neighbours."""
    common: dict[str, Any] = {"neighbours": False}
    if min_disks is not None:
        common["min_disks"] = min_disks
    published = "K = 1, not refined (published method)"
    if not arguments.one_candidate_model:
        published = "likeliest candidate, not refined"
    chosen = {
        f"transformer, {published}": IndexParameters(n_candidates=1, refine=False, **common),
        "transformer, not refined": IndexParameters(position_steps=0, tilt_steps=0, **common),
        REFINED: IndexParameters(**common),
    }
    if not neighbours:
        chosen[PAINSTAKING] = IndexParameters(n_views=2, fit_calibration=True, **common)
    if neighbours:
        chosen[NEIGHBOURS] = IndexParameters(**{**common, "neighbours": True})
    return chosen


def models_of(parameters: IndexParameters, arguments: argparse.Namespace) -> list[str]:
    """Model folders that a variant looks into before the shipped ones."""
    if parameters.n_candidates == 1 and arguments.one_candidate_model:
        return list(arguments.one_candidate_model)
    return list(arguments.model)


def methods(
    arguments: argparse.Namespace, *, neighbours: bool = False, min_disks: int | None = None
) -> dict[str, Method]:
    """Name -> method; ``neighbours`` adds the variant that looks at them, for scans."""
    chosen: dict[str, Method] = {}
    if arguments.only != "template":
        variants = transformer_parameters(arguments, neighbours=neighbours, min_disks=min_disks)
        for name, parameters in variants.items():
            chosen[name] = _transformer(parameters, arguments)
    if arguments.only != "transformer":
        # py4DSTEM's own kernel, and no answer refused for its score: what py4DSTEM itself would say
        templates = TemplateMatchingParameters(min_score=0.05, kernel_size_inv_angstrom=PY4DSTEM_KERNEL)
        if min_disks is not None:
            templates = templates.model_copy(update={"min_disks": min_disks})
        chosen[TEMPLATE] = _template(templates, arguments.most_templates)
    return chosen


def _transformer(parameters: IndexParameters, arguments: argparse.Namespace) -> Method:
    models = models_of(parameters, arguments)

    def index(peaks: BraggPeaks, crystals: Sequence[Crystal], where: NDArray[np.bool_]) -> Timed:
        start = _masked(
            peaks,
            crystals,
            where,
            method="transformer",
            parameters=parameters.model_dump(mode="json"),
            model=model_identities(crystals, folders=models),
        )
        job: Generator[Any, None, OrientationMap] = index_bragg_peaks(
            peaks,
            tuple(crystals),
            parameters=parameters,
            models=models,
            device=arguments.device,
            resume_from=start,
        )
        return finish(job)

    return index


def _template(parameters: TemplateMatchingParameters, limit: int) -> Method:
    def index(peaks: BraggPeaks, crystals: Sequence[Crystal], where: NDArray[np.bool_]) -> Timed:
        if limit and where.sum() > limit:
            kept = np.flatnonzero(where)[:: int(np.ceil(where.sum() / limit))]
            where = np.isin(np.arange(where.size), kept)
        start = _masked(
            peaks, crystals, where, method="template", parameters=parameters.model_dump(mode="json")
        )
        return finish(index_by_template_matching(peaks, crystals, parameters=parameters, resume_from=start))

    return index


def _masked(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    where: NDArray[np.bool_],
    *,
    method: str,
    parameters: dict[str, Any],
    model: dict[str, Any] | None = None,
) -> OrientationMap:
    """An empty map whose positions outside the mask count as done."""
    start = OrientationMap.empty(peaks, tuple(crystals), method=method, parameters=parameters, model=model)
    start.reason[~where] = Reason.MASKED
    return start


def warm_up(crystals: Sequence[Crystal], arguments: argparse.Namespace) -> None:
    """Index one made-up pattern, so that no method's time holds the import of libraries."""
    q = np.array([[0.55, 0], [-0.55, 0], [0, 0.55], [0, -0.55], [0.55, 0.55], [-0.55, -0.55]])
    calibration = Calibration(voltage_kv=300.0, pixel_size_inv_angstrom=0.03)
    peaks = BraggPeaks.from_lists([np.column_stack([q, np.ones(len(q))])], (1, 1), calibration)
    finish(index_bragg_peaks(peaks, tuple(crystals), models=tuple(arguments.model), device=arguments.device))


def everywhere(peaks: BraggPeaks) -> NDArray[np.bool_]:
    """All positions (n,)."""
    return np.ones(peaks.n_positions, dtype=bool)


def was_done(orientation_map: OrientationMap) -> NDArray[np.bool_]:
    """(n,) positions that a run was at."""
    return np.asarray(orientation_map.done & (orientation_map.reason != Reason.MASKED))


def errors_deg(
    orientation_map: OrientationMap,
    quaternion: NDArray[np.float64],
    phase: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """(n,) distance from the true orientations (n, 4) over all symmetric equivalents.

    NaN where not indexed, 180° where the phase is not that of ``phase`` (n,).
    """
    errors = np.full(orientation_map.n_positions, np.nan)
    for index, crystal in enumerate(orientation_map.crystals):
        here = orientation_map.phase_id == index
        errors[here] = disorientation_angle_deg(
            quaternion[here], orientation_map.quaternion[here], crystal.proper_point_group
        )
    if phase is not None:
        errors[orientation_map.indexed & (orientation_map.phase_id != phase)] = 180.0
    return errors


def model_names(crystals: Sequence[Crystal], arguments: argparse.Namespace) -> str:
    """The models in words: name, parameters, training."""
    folders = find_models(crystals, folders=arguments.model)
    cards = {folder: read_card(folder) for folder in folders.values()}
    return "; ".join(
        f"model {card.name}: {size_in_words(card.network)}, trained on "
        f"{card.training.get('patterns', 0) / 1e6:,.1f} million patterns"
        for card in cards.values()
    )


def size_in_words(network: Any) -> str:
    """The size of a network, from its configuration."""
    return (
        f"d = {network.width}, {network.layers} layers, {network.n_tokens} tokens, K = {network.n_candidates}"
    )
