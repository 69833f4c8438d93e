"""The two methods as the benchmarks call them: the transformer and py4DSTEM's template matching, on the same peaks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import Timed, finish

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap, Reason
from napari_stem_orient.indexing.template_matching import index_by_template_matching
from napari_stem_orient.indexing.template_plan import TemplateMatchingParameters

Method = Callable[[BraggPeaks, Sequence[Crystal], NDArray[np.bool_]], Timed]


def method_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which methods to run, and how."""
    parser.add_argument("--only", choices=["transformer", "template"], help="leave the other method out")
    parser.add_argument("--device", default="auto", help="device of the transformer (default: auto)")
    parser.add_argument(
        "--model", action="append", help="folder of a trained model (default: the shipped one)"
    )
    parser.add_argument(
        "--most-templates",
        type=int,
        default=400,
        help="template matching runs on about this many positions, evenly spread (default: 400; 0: on all)",
    )


def methods(arguments: argparse.Namespace) -> dict[str, Method]:
    """Name -> what indexes the positions (n,) of a mask; the result is a map of the whole scan and its time."""
    chosen: dict[str, Method] = {}
    if arguments.only != "template":
        chosen["transformer"] = lambda peaks, crystals, where: _transformer(peaks, crystals, where, arguments)
    if arguments.only != "transformer":
        chosen["template"] = lambda peaks, crystals, where: _template(peaks, crystals, where, arguments)
    return chosen


def _transformer(
    peaks: BraggPeaks, crystals: Sequence[Crystal], where: NDArray[np.bool_], arguments: argparse.Namespace
) -> Timed:
    from napari_stem_orient.indexing.index import IndexParameters, index_bragg_peaks
    from napari_stem_orient.network.model_folder import model_identities

    parameters = IndexParameters()
    start = _masked(
        peaks,
        crystals,
        where,
        method="transformer",
        parameters=parameters.model_dump(mode="json"),
        model=model_identities(crystals, folders=arguments.model or ()),
    )
    job: Generator[Any, None, OrientationMap] = index_bragg_peaks(
        peaks,
        tuple(crystals),
        parameters=parameters,
        models=arguments.model or (),
        device=arguments.device,
        resume_from=start,
    )
    return finish(job)


def _template(
    peaks: BraggPeaks, crystals: Sequence[Crystal], where: NDArray[np.bool_], arguments: argparse.Namespace
) -> Timed:
    parameters = TemplateMatchingParameters()
    limit = arguments.most_templates
    if limit and where.sum() > limit:
        kept = np.flatnonzero(where)[:: int(np.ceil(where.sum() / limit))]
        where = np.isin(np.arange(where.size), kept)
    start = _masked(peaks, crystals, where, method="template", parameters=parameters.model_dump(mode="json"))
    return finish(index_by_template_matching(peaks, crystals, parameters=parameters, resume_from=start))


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
