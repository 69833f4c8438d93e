"""Bragg peaks -> orientation map: the job that indexes a whole scan, block by block."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.device import choose_device
from napari_stem_orient.indexing.indexing_job import IndexingJob
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer, PhaseIndexer
from napari_stem_orient.indexing.position_noise import measured_position_tolerance
from napari_stem_orient.transformer.model_folder import find_models, load_model


def make_pattern_indexer(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    *,
    parameters: IndexParameters,
    models: Sequence[str | Path] = (),
    device: str = "auto",
) -> PatternIndexer:
    """Load the models that know the crystals and set up the fit for the peaks' calibration.

    Raises
    ------
    ValueError
        When the calibration lacks something, there is no crystal, or no model knows one of them.
    """
    missing = peaks.calibration.missing_for_indexing()
    if missing:
        raise ValueError(f"indexing needs the {' and the '.join(missing)}; enter it in the Open stage")
    if not crystals:
        raise ValueError("no crystal to index with; add at least one")
    names = [crystal.name for crystal in crystals]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two crystals are called {twice}; leave one out, or rename its CIF")
    chosen = choose_device(device)
    folders = find_models(crystals, folders=models)
    loaded = {folder: load_model(folder, device=chosen) for folder in set(folders.values())}
    q_limit = visible_q_limit(peaks, largest=min(m.card.q_limit_inv_angstrom[1] for m in loaded.values()))
    indexer = PatternIndexer(
        [
            PhaseIndexer(
                crystal,
                loaded[folders[crystal.name]],
                calibration=peaks.calibration,
                q_limit=q_limit,
                parameters=parameters,
                device=chosen,
            )
            for crystal in crystals
        ],
        parameters=parameters,
        device=chosen,
    )
    if parameters.refine and parameters.position_tolerance is None:
        tolerance = measured_position_tolerance(peaks, indexer)
        for phase_indexer in indexer.indexers:
            phase_indexer.fitter.set_position_tolerance(tolerance)
    return indexer


def visible_q_limit(peaks: BraggPeaks, *, largest: float = 2.0) -> float:
    """How far out in Å⁻¹ disks are seen in this scan: what is beyond cannot be missed."""
    reach = peaks.reach(part=0.995)
    return min(largest, max(0.5, 1.02 * reach)) if reach else largest


def index_bragg_peaks(
    peaks: BraggPeaks,
    crystals: Sequence[Crystal],
    *,
    parameters: IndexParameters | None = None,
    models: Sequence[str | Path] = (),
    device: str = "auto",
    resume_from: OrientationMap | None = None,
) -> Generator[IndexedBlock, None, OrientationMap]:
    """Index a whole scan.

    Parameters
    ----------
    peaks
        With pixel size and voltage in their calibration.
    crystals
        The phases that each pattern is tried against.
    parameters
        See IndexParameters.
    models
        Model folders that come before the shipped ones.
    device
        "auto", "cpu", "cuda" or "mps".
    resume_from
        A map that was stopped: only its remaining positions are indexed, and those again whose neighbours had not
        all been there. ValueError where it was made otherwise.

    Yields
    ------
    IndexedBlock
        Several times a second; with neighbours, a position comes twice: by itself, then with what its neighbours say.
        Peak memory: about 1 GB besides the peaks, and with neighbours some 5 kB for each position of the few dozen
        rows that wait; the number of rows of the scan does not matter.

    Returns
    -------
    The finished map.
    """
    parameters = parameters or IndexParameters()
    crystals = tuple(crystals)
    indexer = make_pattern_indexer(peaks, crystals, parameters=parameters, models=models, device=device)
    empty = OrientationMap.empty(
        peaks,
        crystals,
        method="transformer",
        parameters=parameters.model_dump(mode="json"),
        model={i.crystal.name: i.model.identity for i in indexer.indexers},
    )
    result = empty if resume_from is None else resume_from.continued(empty)
    result = replace(result, measured=indexer.measured, gross_error_deg=indexer.gross_error_deg)
    return (yield from index_with(indexer, peaks, result))


def index_with(
    indexer: PatternIndexer, peaks: BraggPeaks, result: OrientationMap
) -> Generator[IndexedBlock, None, OrientationMap]:
    """Index what remains of a map, in place, by an indexer that is ready; see `index_bragg_peaks`."""
    for block in IndexingJob(indexer, peaks, result).blocks():
        result.fill(block)
        yield block
    return result
