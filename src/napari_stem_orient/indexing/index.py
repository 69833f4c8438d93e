"""Bragg peaks -> orientation map: the job that indexes a whole scan, block by block."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import IndexedBlock, OrientationMap, Reason
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.device import choose_device
from napari_stem_orient.indexing.pattern_indexer import IndexParameters, PatternIndexer, PhaseIndexer
from napari_stem_orient.network.model_folder import find_models, load_model

__all__ = ["IndexParameters", "index_bragg_peaks", "make_pattern_indexer", "visible_q_limit"]

#: A block aims at this time, in seconds: several a second, yet large enough to be quick.
BLOCK_SECONDS = 0.15


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
        raise ValueError(f"indexing needs the {' and the '.join(missing)}; enter it in the Open step")
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
    return PatternIndexer(
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
        A map that was stopped: only its remaining positions are indexed. ValueError where it was made otherwise.

    Yields
    ------
    IndexedBlock
        Several times a second. Peak memory: about 1 GB besides the peaks, whatever the size of the scan.

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
    for block in _indexed_blocks(indexer, peaks, result.remaining_positions):
        result.fill(block)
        yield block
    return result


def _indexed_blocks(
    indexer: PatternIndexer, peaks: BraggPeaks, remaining: NDArray[np.int64]
) -> Iterator[IndexedBlock]:
    """Index the remaining positions; those without detected peaks come first, as not indexed."""
    detected = peaks.detected[remaining]
    total = peaks.n_positions
    done = total - int(detected.sum())
    if not detected.all():
        progress = Progress(done, total, "patterns")
        yield IndexedBlock.not_indexed(remaining[~detected], Reason.NOT_DETECTED, progress=progress)
    for positions in _timed_blocks(remaining[detected]):
        padded, mask = indexer.pad(peaks.select(positions))
        done += len(positions)
        yield indexer.index(padded, mask, positions, progress=Progress(done, total, "patterns"))


def _timed_blocks(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut positions into blocks whose size follows the time that the last one took."""
    size, start = 64, 0
    while start < len(positions):
        begun = time.monotonic()
        yield positions[start : start + size]
        start += size
        taken = max(time.monotonic() - begun, 1e-3)
        size = int(np.clip(size * min(4.0, BLOCK_SECONDS / taken), 16, 8192))
