"""A session file brings everything back as it was, whole or not at all, wherever it and its scan have gone."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import napari_stem_orient.session.scan_record as scan_record
import napari_stem_orient.session.session_file as session_file
from inspect_scene import Scene, make_scene
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.maps import save_orientation_map
from napari_stem_orient.io.own_files import SESSION, SESSION_GROUP, kind_of_own_file
from napari_stem_orient.session.file_parts import NOT_SAVED, PARTS
from napari_stem_orient.session.saved import Saved
from napari_stem_orient.session.scan_record import content_of, find_scan, open_recorded
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.session_file import (
    SavedSession,
    UnreadableSession,
    frozen,
    open_session,
    save_session,
    session_summary,
)
from napari_stem_orient.session.state import ScanState, Stage
from napari_stem_orient.session.unsaved import unsaved_results
from napari_stem_orient.session.window_looks import DockLook, LayerLook, WindowLooks
from napari_stem_orient.steps.detect import DetectChoice
from saved_scene import scan_file, work_on

LOOKS = WindowLooks(
    layers=(LayerLook(kind="ipf_z", made_by="template", name="IPF-Z", fields={"opacity": 0.5}),),
    camera=(10.0, 20.0, 3.0),
    side_by_side=True,
    active=("ipf_z", "template"),
    docks=(DockLook(name="Orientation mapping", size=(370, 640)),),
)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


@pytest.fixture
def session(scene: Scene, tmp_path: Path) -> Session:
    session = Session()
    work_on(session, scene, scan_file(scene, tmp_path / "data"))
    return session


@pytest.fixture
def path(session: Session, tmp_path: Path) -> Path:
    """The session in its file, beside the folder of its scan."""
    return save_session(session.state, tmp_path / "day.session.h5", window=LOOKS)


def reopened(path: Path) -> ScanState:
    saved = open_session(path)
    assert saved.scan is not None
    return saved.state(find_scan(saved.scan, path))


def same(one: Any, other: Any) -> bool:
    """Whether two values of a state are equal, arrays and records within them too."""
    if type(one) is not type(other) or one is None:
        return one is other
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one) if not field.name.startswith("_")]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_every_field_of_the_state_is_in_the_file_or_known_not_to_be() -> None:
    kept = [name for part in PARTS for name in part.fields]
    assert sorted([*kept, *NOT_SAVED]) == sorted(field.name for field in dataclasses.fields(ScanState))


def test_a_day_of_work_differs_from_an_empty_session_in_every_field_that_is_kept(session: Session) -> None:
    session.update(choices={"detect": DetectChoice()}, calibration_skipped=True)
    session.update(exported_map=session.current_map)
    session.mark_saved(session.peaks)
    empty = ScanState()
    unchanged = [
        name
        for part in PARTS
        for name in part.fields
        if same(getattr(empty, name), getattr(session.state, name))
    ]
    assert unchanged == []


def test_everything_is_as_it_was(session: Session, tmp_path: Path) -> None:
    session.update(choices={"detect": DetectChoice()}, calibration_skipped=True)
    session.mark_saved(session.current_map)
    before = session.state
    path = save_session(before, tmp_path / "day.session.h5", window=LOOKS, autosaved=True)
    after = reopened(path)
    for part in PARTS:
        for name in set(part.fields) - {"source", "saved"}:
            assert same(getattr(after, name), getattr(before, name)), name
    assert after.source.name == before.source.name
    assert after.source.fingerprints == before.source.fingerprints
    assert after.exported_map is after.current_map
    assert [each.words for each in unsaved_results(after)] == [each.words for each in unsaved_results(before)]
    assert len(unsaved_results(after)) == 2
    assert after.datacube is not None
    assert before.datacube is not None
    assert after.datacube.calibration == before.datacube.calibration
    assert np.array_equal(after.datacube.data, before.datacube.data)
    assert open_session(path).window == LOOKS


def test_two_maps_of_one_method_keep_their_names_so_that_each_is_saved_and_goes_for_itself(
    session: Session, tmp_path: Path
) -> None:
    first = session.current_map
    session.set_map(dataclasses.replace(first, parameters={**first.parameters, "n": 2}, result_name=""))
    session.update(saved=Saved())
    names = ["template", "transformer", "transformer 2"]
    assert list(session.orientation_maps) == names
    session.mark_saved(session.current_map)
    after = session_with(reopened(save_session(session.state, tmp_path / "day.session.h5", autosaved=True)))
    assert [each.key for each in after.orientation_maps.values()] == names
    unsaved = [each.result for each in unsaved_results(after.state)]
    assert [each.key for each in unsaved if isinstance(each, OrientationMap)] == names[:2]
    assert after.current_map is not None
    after.remove_result(after.current_map.key)
    assert list(after.orientation_maps) == names[:2]


def test_peaks_and_maps_still_fit_together(path: Path, session: Session) -> None:
    after = Session()
    after.restore(reopened(path))
    assert after.peaks_fingerprint == session.peaks_fingerprint
    for stage in Stage:
        assert after.stale_because(stage) == session.stale_because(stage)
        assert after.is_partial(stage) == session.is_partial(stage)


def test_what_was_done_to_the_calibration_can_be_undone_and_redone_as_before(
    path: Path, session: Session
) -> None:
    after = Session()
    after.restore(reopened(path))
    steps = ["redo", "undo", "undo", "undo", "redo"]
    for step in steps:
        for each in (session, after):
            getattr(each, f"{step}_calibration")()
        assert after.calibration == session.calibration
        assert after.calibration_changes == session.calibration_changes
        assert after.peaks_fingerprint == session.peaks_fingerprint
        assert after.peaks is not None
        assert same(after.peaks.q_x, session.peaks.q_x)


def test_peaks_that_came_as_scattering_vectors_get_them_back_on_undo(scene: Scene, tmp_path: Path) -> None:
    session, after = Session(), Session()
    session.open_peaks(scene.peaks)
    session.set_calibration(scene.peaks.calibration.updated(pixel_size_inv_angstrom=0.03))
    after.restore(open_session(save_session(session.state, tmp_path / "q.session.h5")).state(None))
    after.undo_calibration()
    assert np.array_equal(after.peaks.q_x, scene.peaks.q_x)
    assert after.peaks_fingerprint == scene.peaks.fingerprint


def test_what_is_in_a_session_file_of_the_user_counts_as_saved(path: Path) -> None:
    assert unsaved_results(reopened(path)) == ()


def test_a_scan_is_found_after_the_folder_of_both_has_moved(
    path: Path, session: Session, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    shutil.move(tmp_path / "data", elsewhere / "data")
    shutil.move(path, elsewhere / path.name)
    after = reopened(elsewhere / path.name)
    assert after.datacube is not None
    assert after.datacube.path == elsewhere / "data" / "scan_A.npy"
    assert after.source.fingerprints == session.source.fingerprints


def test_a_copy_of_the_scan_is_the_scan_though_its_time_and_name_are_others(
    path: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy of scan_A.npy"
    shutil.copyfile(tmp_path / "data" / "scan_A.npy", copied)
    os.utime(copied, (1e9, 1e9))
    saved = open_session(path)
    after = saved.state(open_recorded(saved.scan, copied))
    assert after.belongs(after.datacube)
    assert session_with(after).stale_because(Stage.DETECT) is None


class Backwards:
    """What a folder holds, in the order of another disk."""

    scandir = os.scandir

    def __init__(self, path: Any) -> None:
        with Backwards.scandir(path) as entries:
            self._entries = iter(list(entries)[::-1])

    def __enter__(self) -> Backwards:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Backwards:
        return self

    def __next__(self) -> Any:
        return next(self._entries)


def test_a_copy_of_a_folder_of_very_many_files_is_known_again_in_whatever_order_its_disk_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "b/c", "d"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.tif").write_bytes(bytes(10 * number + len(name)))
    monkeypatch.setattr(scan_record, "_MOST_FILES", 7)
    content = content_of(tmp_path)
    monkeypatch.setattr(os, "scandir", Backwards)
    assert content_of(tmp_path) == content
    (tmp_path / "a" / "1.tif").write_bytes(b"another one")
    assert content_of(tmp_path) != content


def session_with(state: ScanState) -> Session:
    session = Session()
    session.restore(state)
    return session


def test_another_file_in_the_place_of_the_scan_is_not_taken_for_it(path: Path, tmp_path: Path) -> None:
    place = tmp_path / "data" / "scan_A.npy"
    data = np.load(place)
    data[6, 7] += 1
    np.save(place, data)
    os.utime(place, (1e9, 1e9))
    saved = open_session(path)
    with pytest.raises(UserError, match=r"scan_A.npy is not the scan that this session was made from"):
        find_scan(saved.scan, path)


def test_without_its_scan_a_session_has_its_results_and_keeps_what_it_knows_of_the_scan(
    path: Path, session: Session, tmp_path: Path
) -> None:
    shutil.move(tmp_path / "data", tmp_path / "gone")
    saved = open_session(path)
    assert find_scan(saved.scan, path) is None
    state = saved.state(None)
    assert state.datacube is None
    assert state.peaks_fingerprint == session.peaks_fingerprint
    assert list(state.results) == list(session.state.results)
    again = save_session(state, tmp_path / "again.session.h5")
    shutil.move(tmp_path / "gone", tmp_path / "data")
    after = reopened(again)
    assert after.datacube is not None
    for name in ("probe", "detection_parameters", "detector_mask", "summary"):
        assert same(getattr(after, name), getattr(session.state, name)), name


def test_the_scan_that_is_opened_later_gets_back_what_was_chosen_for_it(
    path: Path, session: Session, tmp_path: Path
) -> None:
    saved = open_session(path)
    after = session_with(saved.state(None))
    after.set_datacube(open_recorded(saved.scan, tmp_path / "data" / "scan_A.npy"))
    assert same(after.probe, session.probe)
    assert same(after.detector_mask, session.detector_mask)
    assert len(after.orientation_maps) == 2


# --- whole or not at all -----------------------------------------------------------------------------------------


def test_a_disk_that_is_full_leaves_the_session_before_whole(
    path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(session_file, "record_of", full)
    with pytest.raises(OSError, match="the disk is full; free some space"):
        save_session(session.state, path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == [path.name]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_file_that_was_cut_off_is_refused_in_words(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        UnreadableSession, match=r"day.session.h5 is damaged or incomplete: fetch a whole copy"
    ):
        open_session(path)


def test_damage_within_a_part_is_told_as_damage(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file[SESSION_GROUP]["parts/peaks/x_px"]
    with pytest.raises(UnreadableSession, match="damaged or incomplete"):
        open_session(path)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_of_a_later_version_is_refused_by_name(path: Path, part: Any) -> None:
    with h5py.File(path, "a") as file:
        file[SESSION_GROUP][f"parts/{part.name}"].attrs["version"] = 99
    with pytest.raises(UnreadableSession, match=rf"writes {part.words} in a way \(version 99\)"):
        open_session(path)


def test_a_part_that_nobody_knows_here_is_refused_by_name(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file[SESSION_GROUP].create_group("parts/grains").attrs["version"] = 1
    with pytest.raises(UnreadableSession, match=r"“grains”.*update napari-stem-orient"):
        open_session(path)


def test_a_later_format_is_refused_by_name(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file[SESSION_GROUP].attrs.update(format_version=2, software_version="9.1")
    with pytest.raises(UnreadableSession, match=r"saved by napari-stem-orient 9.1 in format 2"):
        open_session(path)


def test_neither_the_scan_nor_another_result_is_replaced(session: Session, tmp_path: Path) -> None:
    scan = tmp_path / "data" / "scan_A.npy"
    link = tmp_path / "link.h5"
    link.symlink_to(scan)
    result = tmp_path / "map.h5"
    save_orientation_map(session.current_map, result)
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["data"] = [1]
    for path, words in (
        (link, "belongs to the open scan"),
        (result, "holds an orientation map"),
        (foreign, "holds something else than a session"),
        (tmp_path / "session.txt", "must end in .h5"),
    ):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(UserError, match=words):
            save_session(session.state, path)
        assert (path.read_bytes() if path.exists() else None) == before


def test_a_session_replaces_the_one_before(path: Path, session: Session) -> None:
    session.set_position((0, 1))
    save_session(session.state, path)
    assert reopened(path).position == (0, 1)


def test_a_file_that_is_no_session_is_told_so(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["data"] = [1]
    assert kind_of_own_file(foreign) == ""
    with pytest.raises(UnreadableSession, match=r"foreign.h5 is no session"):
        open_session(foreign)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_session(tmp_path / "missing.h5")


def test_a_session_file_says_what_is_in_it(path: Path) -> None:
    assert kind_of_own_file(path) == SESSION
    summary = session_summary(path)
    assert summary.name == "scan_A"
    assert [each.words for each in summary.unsaved] == [
        "Map of scan_A (template matching), 192 positions",
        "Map of scan_A (transformer), 192 positions",
        "Bragg peaks of scan_A, 192 positions",
    ]


def test_an_empty_session_comes_back_empty(tmp_path: Path) -> None:
    saved: SavedSession = open_session(save_session(ScanState(), tmp_path / "empty.session.h5"))
    assert saved.scan is None
    assert same(saved.state(None).results, {})


def test_a_map_that_a_run_still_fills_is_written_as_it_was_at_that_moment(
    session: Session, scene: Scene, tmp_path: Path
) -> None:
    class Job:
        def discard(self) -> None: ...

    session.begin(Stage.INDEX, Job())
    before = session.current_map
    state = frozen(session.state)
    before.score[:] = 0
    path = save_session(state, tmp_path / "running.session.h5")
    assert open_session(path).state(None).current_map.score.max() > 0
