"""Journals of indexing runs: an interrupted run that was begun in the same way is found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from napari_stem_orient import __version__
from napari_stem_orient.core.orientation_map import ARRAY_NAMES, IndexedBlock, OrientationMap
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.io.run_journal import (
    RunJournal,
    free_journals,
    kept,
    new_journal_path,
    read_journal,
    remove_free_journals,
)

KIND = "indexing"


def begin_map_journal(start: OrientationMap, *, folder: str | Path | None = None) -> RunJournal:
    """Begin the journal of the run that fills a map; what the map holds already is kept first."""
    note = {"scan_shape": list(start.scan_shape)}
    journal = RunJournal(new_journal_path(KIND, _key(start), folder), note, {})
    if start.done.any():
        positions = np.flatnonzero(start.done).astype(np.int64)
        arrays = {name: getattr(start, name)[positions] for name in ARRAY_NAMES}
        journal.append(
            {"done": len(positions), "total": start.n_positions}, {"positions": positions, **arrays}
        )
    return journal


def map_kept_in_journal(
    job: Job[IndexedBlock, OrientationMap], journal: RunJournal
) -> Job[IndexedBlock, OrientationMap]:
    """The same run, each block of which is in the journal before it is handed on; see `kept`."""
    return kept(job, journal, _keep_block)


def find_interrupted_map(start: OrientationMap, *, folder: str | Path | None = None) -> OrientationMap | None:
    """The interrupted run that came furthest of those that were to fill such a map; None where there is none.

    Parameters
    ----------
    start
        The empty map of the run that is to be begun: of the same peaks, crystals, method, parameters and model.
    """
    found = [_replayed(path, start) for path in free_journals(KIND, _key(start), folder)]
    begun = [each for each in found if each is not None and each.done.any()]
    return max(begun, key=lambda each: int(each.done.sum()), default=None)


def remove_interrupted_maps(start: OrientationMap, *, folder: str | Path | None = None) -> None:
    """Forget the interrupted runs that were to fill such a map."""
    remove_free_journals(KIND, _key(start), folder)


def _keep_block(journal: RunJournal, block: IndexedBlock) -> None:
    arrays = {name: getattr(block, name) for name in ("positions", *ARRAY_NAMES)}
    journal.append({"done": block.progress.done, "total": block.progress.total}, arrays)


def _replayed(path: Path, start: OrientationMap) -> OrientationMap | None:
    """The map as it was when the run ended; None where the journal is of no use."""
    filled = start.copy()
    try:
        records = read_journal(path)
        next(records)
        for record in records:
            progress = Progress(record.note["done"], record.note["total"], "patterns")
            filled.fill(IndexedBlock(progress=progress, **record.arrays))
    except (OSError, StopIteration, KeyError, ValueError, TypeError, IndexError):
        return None
    return filled


def _key(start: OrientationMap) -> str:
    """Short text that is the same for runs that give the same map."""
    made_by = {
        "peaks": start.peaks_fingerprint,
        "crystals": [crystal.fingerprint for crystal in start.crystals],
        "method": start.method,
        "parameters": dict(start.parameters),
        "model": start.model,
        "version": __version__,
    }
    text = json.dumps(made_by, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
