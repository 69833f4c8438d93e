"""A session in one HDF5 file: written whole or not at all, and opened with everything as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient._version import __version__
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Job, Progress, result_of
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.file_arrays import import_h5py
from napari_stem_orient.io.own_files import SESSION, SESSION_ENDING, SESSION_GROUP, kind_of_own_file
from napari_stem_orient.runs.map_journal import journals_of_map
from napari_stem_orient.runs.peaks_journal import journals_of_peaks
from napari_stem_orient.session.file_parts import PARTS, Fields, Part, get_json, put_json
from napari_stem_orient.session.scan_record import AbsentScan, ScanRecord, moved_to, record_of
from napari_stem_orient.session.state import ScanState, Stage
from napari_stem_orient.session.unsaved import Unsaved, scan_name, unsaved_results
from napari_stem_orient.session.window_looks import WindowLooks
from napari_stem_orient.steps.open import OpenChoice

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube

FORMAT_VERSION = 1
#: What belongs to a scan that is open, and goes with it where it is not found.
_OF_PATTERNS = ("summary", "mean_pattern", "probe", "detection_parameters", "detector_mask")


class UnreadableSession(UserError):  # noqa: N818 - it says what is the matter
    """A file that is no session that can be opened; the message tells why."""


@dataclass(frozen=True, slots=True)
class PartWritten:
    """How far the saving of a session is."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class UnsavedThen:
    """A result that was in no other file when a session was saved.

    Attributes
    ----------
    words : what it is
    journals : names of the files that kept it then: while one of them is there, it is in no other file
    """

    words: str
    journals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What a session file holds, in words, without reading it all.

    Attributes
    ----------
    name : of the scan
    saved_at : in seconds since 1970
    unsaved : what was in no other file when it was saved
    """

    name: str
    saved_at: float
    unsaved: tuple[UnsavedThen, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SavedSession:
    """A session as it was read from its file; its scan is not open yet.

    Attributes
    ----------
    path : of the file
    found : the fields of the state, but for the scan
    scan : which it was; None where none was open
    window : how it looked; None where no window was saved
    autosaved : whether the program saved it by itself, so that what is in it is in no file of the user's
    """

    path: Path
    found: Mapping[str, Any]
    scan: ScanRecord | None
    window: WindowLooks | None
    autosaved: bool

    def state(self, datacube: DataCube | None) -> ScanState:
        """The state as it was, with its scan, or without where that is not to be found."""
        found = dict(self.found)
        if datacube is None:
            kept = {name: found.pop(name) for name in _OF_PATTERNS if name in found}
            return ScanState(**found, absent=None if self.scan is None else AbsentScan(self.scan, kept))
        found["source"] = found["source"].joined_by(datacube)
        return ScanState(**found, datacube=datacube)


def frozen(state: ScanState) -> ScanState:
    """The state for a worker: the map that a run fills is copied, all others never change."""
    current = state.current_map
    if current is None or Stage.INDEX not in state.runs:
        return state
    copied = replace(state.results[str(state.current)], orientation_map=current.copy())
    return replace(state, results={**state.results, str(state.current): copied}, runs={})


def save_session(
    state: ScanState, path: str | Path, *, window: WindowLooks | None = None, autosaved: bool = False
) -> Path:
    """Write all that is open, chosen and found into one file; see `saving`."""
    return result_of(saving(state, path, window=window, autosaved=autosaved))


def saving(
    state: ScanState, path: str | Path, *, window: WindowLooks | None = None, autosaved: bool = False
) -> Job[PartWritten, Path]:
    """Write all that is open, chosen and found into one file, which appears under its name when it is whole.

    A job, which leaves no file where it is stopped. Peak memory: nothing beside the state.

    Parameters
    ----------
    state : what `frozen` gives where a run goes on meanwhile
    path : ends in .h5; a session that is there is replaced, no other file is
    window : how it looks
    autosaved : whether the program saves it by itself

    Raises
    ------
    UserError
        The file is one of the scan's, or holds something else.
    OSError
        It cannot be written; the message names the path and the fix, and what was there before is whole.
    """
    path = Path(path)
    yield PartWritten(Progress(0, len(PARTS), "parts"))
    _refuse_other_files(path, state)
    with (
        complete_or_absent(path, replaces=(SESSION,)) as temporary,
        import_h5py().File(temporary, "w") as file,
    ):
        group = file.create_group(SESSION_GROUP)
        group.attrs.update(
            format_version=FORMAT_VERSION,
            software_version=__version__,
            saved_at=datetime.now(UTC).timestamp(),
            autosaved=autosaved,
        )
        put_json(group, "summary_of_contents", _contents(state))
        scan, state = _scan_and_state(state, path)
        if scan is not None:
            put_json(group, "scan", scan.model_dump(mode="json"))
        if window is not None:
            put_json(group, "window", window.model_dump(mode="json"))
        for number, part in enumerate(PARTS, start=1):
            if part.is_there(state):
                part_group = group.create_group(f"parts/{part.name}")
                part_group.attrs["version"] = part.version
                part.save(state, part_group)
            yield PartWritten(Progress(number, len(PARTS), "parts"))
    return path


def open_session(path: str | Path) -> SavedSession:
    """Read a session file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    UnreadableSession
        It is no session file, damaged, or of a later version of this program.
    """
    path = Path(path)
    with _opened(path) as group:
        found: Fields = {}
        parts = _known_parts(group, path)
        for part, version in parts:
            found.update(part.loaders[version](group[f"parts/{part.name}"], found))
        scan = ScanRecord.model_validate(get_json(group, "scan")) if "scan" in group else None
        window = WindowLooks.model_validate(get_json(group, "window")) if "window" in group else None
        autosaved = bool(group.attrs["autosaved"])
    saved = SavedSession(path, found, scan, window, autosaved)
    return saved if autosaved else replace(saved, found=_all_in_this_file(found))


def session_summary(path: str | Path) -> SessionSummary:
    """Say what a session file holds; the errors are those of `open_session`."""
    path = Path(path)
    with _opened(path) as group:
        contents = get_json(group, "summary_of_contents")
        saved_at = float(group.attrs["saved_at"])
    unsaved = tuple(UnsavedThen(each["words"], tuple(each["journals"])) for each in contents["unsaved"])
    return SessionSummary(str(contents["name"]), saved_at, unsaved)


def _contents(state: ScanState) -> dict[str, Any]:
    unsaved = [UnsavedThen(each.words, _journals_of(each)) for each in unsaved_results(state)]
    return {"name": scan_name(state), "unsaved": [asdict(each) for each in unsaved]}


def _journals_of(unsaved: Unsaved) -> tuple[str, ...]:
    if not unsaved.kept:
        return ()
    result = unsaved.result
    if isinstance(result, OrientationMap):
        return tuple(path.name for path in journals_of_map(result))
    return tuple(path.name for path in journals_of_peaks(result))


def _refuse_other_files(path: Path, state: ScanState) -> None:
    from napari_stem_orient.io.scan_members import is_written_over, scan_members  # brings dask

    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise UserError(
            f"{path.name} must end in .h5, as a session is an HDF5 file",
            fix=f"call it {path.stem}{SESSION_ENDING}",
        )
    scan = None if state.datacube is None else state.datacube.path
    if scan is not None and is_written_over(path, scan_members(scan)) is not None:
        raise UserError(
            f"{path.name} belongs to the open scan, which would be destroyed", fix="choose another name"
        )
    if path.is_file() and kind_of_own_file(path) != SESSION:
        what = kind_of_own_file(path) or "something else than a session of this program"
        raise UserError(f"{path.name} holds {what}, which would be lost", fix="choose another name")


def _scan_and_state(state: ScanState, path: Path) -> tuple[ScanRecord | None, ScanState]:
    """The record of the scan, and the state to write: a scan that was not found is kept as it had been saved."""
    if state.datacube is not None:
        return record_of(state.datacube, _choice_of(state), path), state
    if state.absent is not None:
        return moved_to(state.absent.record, path), replace(state, **state.absent.kept)
    return None, state


def _choice_of(state: ScanState) -> OpenChoice:
    """How the scan that is open was read: as it says itself, else as was chosen of its file."""
    request, datacube = state.request, state.datacube
    assert datacube is not None
    for step in datacube.recipe.get("steps", ()):
        if step["step"] == OpenChoice.step:
            return OpenChoice.model_validate({name: value for name, value in step.items() if name != "step"})
    if request.path == datacube.path and not request.failed and request.question is None:
        return request.choice
    return OpenChoice(scan_shape=datacube.scan_shape)


def _all_in_this_file(found: Fields) -> Fields:
    """The fields, all results counted as saved: they are in the file that was opened."""
    saved, peaks = found["saved"], found.get("peaks")
    if peaks is not None:
        saved = saved.with_opened(peaks)
    for result in found["results"].values():
        saved = saved.with_file(result.orientation_map)
    return {**found, "saved": saved}


def _known_parts(group: Any, path: Path) -> list[tuple[Part, int]]:
    """The parts that a file has, and their versions; UnreadableSession where one is not known here."""
    known = {part.name: part for part in PARTS}
    versions = {name: int(child.attrs["version"]) for name, child in group["parts"].items()}
    for name, version in versions.items():
        if name not in known or version not in known[name].loaders:
            words = known[name].words if name in known else f"“{name}”"
            raise UnreadableSession(
                f"{path.name} was saved by napari-stem-orient {group.attrs['software_version']}, which writes {words} "
                f"in a way (version {version}) that this one ({__version__}) does not know",
                value=version,
                fix="update napari-stem-orient",
            )
    return [(part, versions[part.name]) for part in PARTS if part.name in versions]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The group of a session file; whatever goes wrong in it is told in words."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path of the session")
    written_by = ""
    try:
        with import_h5py().File(path, "r") as file:
            group = file.get(SESSION_GROUP)
            if group is None:
                raise UnreadableSession(
                    f"{path.name} is no session", fix="open a file that Save session… has written"
                )
            written_by = str(group.attrs["software_version"])
            version = int(group.attrs["format_version"])
            if version > FORMAT_VERSION:
                raise UnreadableSession(
                    f"{path.name} was saved by napari-stem-orient {written_by} in format {version}, which this one "
                    f"({__version__}) does not know: it knows {FORMAT_VERSION}",
                    value=version,
                    fix="update napari-stem-orient",
                )
            yield group
    except (UserError, PermissionError):
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path, written_by) from error


def _damaged(path: Path, written_by: str) -> UnreadableSession:
    other = f" or not of this version ({written_by} saved it)" if written_by not in ("", __version__) else ""
    return UnreadableSession(
        f"{path.name} is damaged or incomplete{other}",
        fix="fetch a whole copy, or open an earlier session",
    )
