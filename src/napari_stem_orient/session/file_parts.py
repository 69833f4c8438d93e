"""What a session file is made of: for each part of a state one saver, and a loader of each version that there was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.scan_summary import ScanSummary
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import ProbeTemplate
from napari_stem_orient.io.maps import read_map_group, write_map_group
from napari_stem_orient.io.peaks import read_peaks_group, write_peaks_group
from napari_stem_orient.session.file_choices import choice_as_data, choice_of
from napari_stem_orient.session.file_history import read_history, write_history
from napari_stem_orient.session.results import called
from napari_stem_orient.session.saved import Saved
from napari_stem_orient.session.source import Source
from napari_stem_orient.session.state import CrystalsToIndex, MapResult, ScanState

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fields = dict[str, Any]
"""Fields of a ScanState by their names, as they come out of a file."""

_IMAGES = ("dark_field", "bright_field", "mean_pattern", "maximum_pattern")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a state, which is a group of the file.

    Attributes
    ----------
    name : of the group
    words : what it is, to a user
    version : that is written
    save : writes it into a group
    loaders : by version; each reads fields from a group, given those that were read before it
    fields : of the state that it holds
    is_there : whether there is something to write
    """

    name: str
    words: str
    fields: tuple[str, ...]
    save: Callable[[ScanState, Any], None]
    loaders: Mapping[int, Callable[[Any, Fields], Fields]]
    version: int = 1
    is_there: Callable[[ScanState], bool] = field(default=lambda _: True)


def put_json(group: Any, name: str, value: Any) -> None:
    """Write a value as JSON; an attribute would end at 64 kB."""
    group.create_dataset(name, data=json.dumps(value))


def get_json(group: Any, name: str) -> Any:
    """Read a value that `put_json` has written."""
    return json.loads(group[name][()])


def _put_array(group: Any, name: str, values: NDArray[Any]) -> None:
    group.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)


# --- which scan, and what is chosen ------------------------------------------------------------------------------


def _save_source(state: ScanState, group: Any) -> None:
    put_json(group, "name", state.source.name)
    put_json(group, "fingerprints", sorted(state.source.fingerprints))


def _load_source(group: Any, _: Fields) -> Fields:
    fingerprints = frozenset(get_json(group, "fingerprints"))
    return {"source": Source(get_json(group, "name"), fingerprints)}


def _save_view(state: ScanState, group: Any) -> None:
    put_json(group, "position", state.position)
    put_json(group, "four_indices", state.four_indices)


def _load_view(group: Any, _: Fields) -> Fields:
    position = get_json(group, "position")
    return {
        "position": None if position is None else (int(position[0]), int(position[1])),
        "four_indices": bool(get_json(group, "four_indices")),
    }


def _save_choices(state: ScanState, group: Any) -> None:
    put_json(group, "choices", [choice_as_data(each) for each in state.choices.values()])
    put_json(group, "crystals", [_crystal_as_data(crystal) for crystal in state.to_index.crystals])
    put_json(group, "crystals_chosen", state.to_index.chosen)
    put_json(group, "crystals_carried", state.to_index.carried)
    put_json(group, "model_folders", [str(folder) for folder in state.model_folders])


def _load_choices(group: Any, _: Fields) -> Fields:
    choices = {each.step: each for each in map(choice_of, get_json(group, "choices"))}
    crystals = tuple(_crystal_of(each) for each in get_json(group, "crystals"))
    to_index = CrystalsToIndex(
        crystals,
        chosen=bool(get_json(group, "crystals_chosen")),
        carried=bool(get_json(group, "crystals_carried")),
    )
    folders = tuple(Path(folder) for folder in get_json(group, "model_folders"))
    return {"choices": choices, "to_index": to_index, "model_folders": folders}


def _crystal_as_data(crystal: Crystal) -> dict[str, Any]:
    """A crystal with where it came from and what was said of its file, which files of maps leave out."""
    return {"crystal": crystal.to_dict(), "notes": list(crystal.notes), "source": crystal.source}


def _crystal_of(data: Mapping[str, Any]) -> Crystal:
    made = Crystal.from_dict(data["crystal"])
    return replace(made, notes=tuple(data["notes"]), source=data["source"])


# --- detection ---------------------------------------------------------------------------------------------------


def _save_summary(state: ScanState, group: Any) -> None:
    summary = state.summary
    assert summary is not None
    for name in _IMAGES:
        _put_array(group, name, getattr(summary, name))
    put_json(group, "dark_field_radii_px", list(map(float, summary.dark_field_radii_px)))
    put_json(group, "direct_beam_px", list(map(float, summary.direct_beam_px)))
    put_json(group, "n_invalid", int(summary.n_invalid))


def _load_summary(group: Any, _: Fields) -> Fields:
    summary = ScanSummary(
        **{name: group[name][...] for name in _IMAGES},
        dark_field_radii_px=tuple(get_json(group, "dark_field_radii_px")),
        direct_beam_px=tuple(get_json(group, "direct_beam_px")),
        n_invalid=get_json(group, "n_invalid"),
    )
    return {"summary": summary, "mean_pattern": summary.mean_pattern}


def _save_detection(state: ScanState, group: Any) -> None:
    if state.probe is not None:
        _put_array(group, "probe_image", state.probe.image)
        put_json(group, "probe", {"radius_px": float(state.probe.radius_px), "source": state.probe.source})
    if state.detection_parameters is not None:
        put_json(group, "parameters", state.detection_parameters.model_dump(mode="json"))
    if state.detector_mask is not None:
        _put_array(group, "detector_mask", state.detector_mask)


def _load_detection(group: Any, _: Fields) -> Fields:
    found: Fields = {}
    if "probe" in group:
        found["probe"] = ProbeTemplate(image=group["probe_image"][...], **get_json(group, "probe"))
    if "parameters" in group:
        found["detection_parameters"] = DetectionParameters.model_validate(get_json(group, "parameters"))
    if "detector_mask" in group:
        found["detector_mask"] = group["detector_mask"][...]
    return found


def _save_peaks(state: ScanState, group: Any) -> None:
    assert state.peaks is not None
    write_peaks_group(group, state.peaks)
    put_json(group, "q_was_given", state.peaks.q_as_given is not None)


def _load_peaks(group: Any, _: Fields) -> Fields:
    peaks = read_peaks_group(group, Path(group.file.filename))
    if not get_json(group, "q_was_given"):
        peaks = peaks.with_vectors(peaks.q_x, peaks.q_y)
    return {"peaks": peaks.with_fingerprint()}


# --- calibration, maps, and what of them is in files -------------------------------------------------------------


def _save_calibration(state: ScanState, group: Any) -> None:
    put_json(group, "skipped", state.calibration_skipped)
    write_history(group.create_group("history"), state)


def _load_calibration(group: Any, found: Fields) -> Fields:
    history = read_history(group["history"], found.get("peaks"))
    now = history.now
    # the one object, so that undoing to it is known to change nothing
    more = {"peaks": now.peaks.with_fingerprint()} if now is not None and now.peaks is not None else {}
    return {"calibration_skipped": bool(get_json(group, "skipped")), "history": history, **more}


def _save_results(state: ScanState, group: Any) -> None:
    for number, (key, result) in enumerate(state.results.items()):
        result_group = group.create_group(f"{number:03d}")
        put_json(result_group, "id", key)
        crystals = result.orientation_map.crystals
        put_json(result_group, "crystals", [_crystal_as_data(crystal) for crystal in crystals])
        write_map_group(result_group.create_group("map"), result.orientation_map)
    exported = [key for key, each in state.results.items() if each.orientation_map is state.exported_map]
    put_json(group, "current", state.current)
    put_json(group, "exported", exported[0] if exported else None)


def _load_results(group: Any, _: Fields) -> Fields:
    results = {}
    for name in sorted(name for name in group if name.isdigit()):
        crystals = tuple(_crystal_of(each) for each in get_json(group[name], "crystals"))
        key = get_json(group[name], "id")  # its name, which files of maps leave out
        made = replace(read_map_group(group[name]["map"]), crystals=crystals)
        results[key] = MapResult(called(made, key))
    exported = results.get(get_json(group, "exported"))
    return {
        "results": results,
        "current": get_json(group, "current"),
        "exported_map": None if exported is None else exported.orientation_map,
    }


def _save_saved(state: ScanState, group: Any) -> None:
    saved = state.saved
    put_json(group, "peaks", sorted(saved.peaks))
    put_json(group, "opened", state.peaks is not None and state.peaks.x_px is saved.opened)
    put_json(group, "maps", [key for key, each in state.results.items() if saved.has(each.orientation_map)])
    put_json(group, "not_kept", sorted(kind.__name__ for kind in saved.not_kept))


def _load_saved(group: Any, found: Fields) -> Fields:
    peaks, saved = found.get("peaks"), Saved(peaks=frozenset(get_json(group, "peaks")))
    if peaks is not None and get_json(group, "opened"):
        saved = Saved(peaks=saved.peaks, opened=peaks.x_px)
    for key in get_json(group, "maps"):
        saved = saved.with_file(found["results"][key].orientation_map)
    lost = set(get_json(group, "not_kept"))
    for kind in (BraggPeaks, OrientationMap):
        if kind.__name__ in lost:
            saved = saved.with_journal(kind, lost=True)
    return {"saved": saved}


#: The parts of a session file, in the order in which they are read.
PARTS = (
    Part("source", "which scan it is", ("source",), _save_source, {1: _load_source}),
    Part("view", "the position that is looked at", ("position", "four_indices"), _save_view, {1: _load_view}),
    Part(
        "choices",
        "what was chosen",
        ("choices", "to_index", "model_folders"),
        _save_choices,
        {1: _load_choices},
    ),
    Part(
        "summary",
        "virtual images",
        ("summary", "mean_pattern"),
        _save_summary,
        {1: _load_summary},
        is_there=lambda state: state.summary is not None,
    ),
    Part(
        "detection",
        "probe, parameters and mask",
        ("probe", "detection_parameters", "detector_mask"),
        _save_detection,
        {1: _load_detection},
    ),
    Part(
        "peaks",
        "Bragg peaks",
        ("peaks",),
        _save_peaks,
        {1: _load_peaks},
        is_there=lambda state: state.peaks is not None,
    ),
    Part(
        "calibration",
        "the calibration and its history",
        ("history", "calibration_skipped"),
        _save_calibration,
        {1: _load_calibration},
    ),
    Part(
        "results",
        "orientation maps",
        ("results", "current", "exported_map"),
        _save_results,
        {1: _load_results},
    ),
    Part("saved", "what is in files", ("saved",), _save_saved, {1: _load_saved}),
)

#: Fields that no file keeps, and why.
NOT_SAVED = {
    "opening": "is another number in each window",
    "datacube": "is found again by its record",
    "absent": "is written as if it had been found",
    "open_needs": "is about a file that is being opened",
    "request": "is about the file that was chosen last; how the scan is read is in its record",
    "preview": "is worked out anew",
    "model_needed": "is found out anew",
    "runs": "end with the window; journals keep what they had done",
}
