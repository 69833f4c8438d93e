"""Journals of indexing runs: one that was interrupted, or whose map was not saved, is found again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Job, Progress
from napari_stem_orient.io.map_records import header_of, map_of, upgraded
from napari_stem_orient.runs.run_journal import (
    JournalRecord,
    RunJournal,
    date_in_words,
    free_journals,
    has_more_than,
    kept,
    new_journal_path,
    read_journal,
    remove_free_journals,
)

KIND = "indexing"

_KNOWN_AT_THE_END = ("measured", "gross_error_deg")


@dataclass(frozen=True, slots=True, eq=False)
class KeptMap:
    """A map that nobody has saved: its journal, the map, whether its run came to its end, and when that was."""

    path: Path
    orientation_map: OrientationMap
    finished: bool
    modified: float

    def __str__(self) -> str:
        done, total = int(self.orientation_map.done.sum()), self.orientation_map.n_positions
        names = " and ".join(crystal.name for crystal in self.orientation_map.crystals)
        part = f"all {total:,}" if self.finished else f"{done:,} of {total:,}"
        return f"a map of {names} at {part} positions is kept from {date_in_words(self.modified)}; it was not saved"


def begin_map_journal(start: OrientationMap, *, folder: str | Path | None = None) -> RunJournal:
    """Begin the journal of the run that fills a map; what the map holds already is kept first."""
    note = {"scan_shape": list(start.scan_shape), "name": start.name, "made_by": header_of(start)}
    journal = RunJournal(new_journal_path(KIND, _key(start), folder), note, {})
    if start.done.any():
        positions = np.flatnonzero(start.done).astype(np.int64)
        arrays = {"positions": positions, **start.arrays_at(positions)}
        journal.append({"done": len(positions), "total": start.n_positions}, arrays)
    return journal


def map_kept_in_journal(
    job: Job[IndexedBlock, OrientationMap], journal: RunJournal
) -> Job[IndexedBlock, OrientationMap]:
    """The same run, each block of which is in the journal before it is handed on; see `kept`."""
    return kept(job, journal, _keep_block, finish=_finish)


def find_kept_maps(
    *,
    scan: str | None,
    peaks: str | None,
    besides: Iterable[OrientationMap] = (),
    folder: str | Path | None = None,
) -> list[KeptMap]:
    """Maps of a scan, or of peaks, that were not saved; finished ones first, then those that came furthest.

    Parameters
    ----------
    scan, peaks
        Fingerprints of the scan and of the Bragg peaks; None where there are none.
    besides
        Maps that are there already: journals of runs that were to fill such a map are left out.
    """
    there = {path for each in besides for path in journals_of_map(each, folder=folder)}
    found = []
    for path in _journals_about(scan, peaks, folder):
        if path in there:
            continue
        read = _read_map(path)
        if read is not None and read.orientation_map.done.any():
            found.append(read)
    return sorted(found, key=lambda each: (each.finished, int(each.orientation_map.done.sum())), reverse=True)


def journals_of_map(orientation_map: OrientationMap, *, folder: str | Path | None = None) -> list[Path]:
    """Journals of ended runs that were to fill such a map."""
    return free_journals(KIND, _key(orientation_map), folder)


def _journals_about(scan: str | None, peaks: str | None, folder: str | Path | None) -> list[Path]:
    """Journals of maps of the scan or of the peaks, newest first; those of earlier versions do not say."""
    found = []
    for path in free_journals(KIND, "*", folder):
        with contextlib.suppress(OSError, ValueError, KeyError, StopIteration):
            note = next(read_journal(path)).note
            made_by = note["made_by"]
            wanted = ((scan, made_by["source_fingerprint"]), (peaks, made_by["peaks_fingerprint"]))
            if any(one is not None and one == other for one, other in wanted):
                found.append(path)
    return found


def _finish(journal: RunJournal, finished: OrientationMap) -> None:
    header = header_of(finished)
    journal.append({"finished": True, **{name: header[name] for name in _KNOWN_AT_THE_END}}, {})


def _read_map(path: Path) -> KeptMap | None:
    """The map that a journal keeps; None where it is of no use."""
    try:
        records = list(read_journal(path))
        note = records[0].note
        header = dict(note["made_by"])
        shape = (int(note["scan_shape"][0]), int(note["scan_shape"][1]))
        ends = [record.note for record in records if "finished" in record.note]
        if ends:
            header.update({name: ends[-1][name] for name in _KNOWN_AT_THE_END if name in ends[-1]})
        found = _filled(map_of(header, shape), records[1:])
        return KeptMap(path, found, bool(ends) and found.is_complete, path.stat().st_mtime)
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return None


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


def remove_interrupted_maps(
    start: OrientationMap, *, keep: Path | None = None, folder: str | Path | None = None
) -> None:
    """Forget the runs that were to fill such a map, but for the journal ``keep``; others have found something else."""
    remove_free_journals(KIND, _key(start), folder, which=lambda path: path != keep)


def remove_saved_maps(saved: OrientationMap, *, folder: str | Path | None = None) -> None:
    """Forget the runs that were to fill such a map and did no position that it lacks: it is in a file."""
    done = saved.done
    remove_free_journals(KIND, _key(saved), folder, which=lambda path: not has_more_than(path, done))


def _keep_block(journal: RunJournal, block: IndexedBlock) -> None:
    arrays = {"positions": block.positions, **block.arrays()}
    journal.append({"done": block.progress.done, "total": block.progress.total}, arrays)


def _replayed(path: Path, start: OrientationMap) -> OrientationMap | None:
    """The map as it was when the run ended; None where the journal is of no use."""
    try:
        records = read_journal(path)
        next(records)
        return _filled(start.copy(), records)
    except (OSError, StopIteration, KeyError, ValueError, TypeError, IndexError):
        return None


def _filled(orientation_map: OrientationMap, records: Iterable[JournalRecord]) -> OrientationMap:
    """The map with the blocks of a journal, those of earlier releases as they are now; filled in place or widened."""
    for record in records:
        if "finished" not in record.note:
            progress = Progress(record.note["done"], record.note["total"], "patterns")
            block = IndexedBlock.of_arrays(dict(upgraded(record.arrays)), progress=progress)
            orientation_map = orientation_map.widened(block.solutions.n_candidates)
            orientation_map.fill(block)
    return orientation_map


def _key(start: OrientationMap) -> str:
    """Short text that is the same for runs that give the same map."""
    made_by = {
        "peaks": start.peaks_fingerprint,
        "crystals": [crystal.fingerprint for crystal in start.crystals],
        "method": start.method,
        "parameters": dict(start.parameters),
        "model": start.model,
        "version": start.software_version,
    }
    text = json.dumps(made_by, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
