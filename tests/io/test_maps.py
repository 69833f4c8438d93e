"""What saved maps promise: orix reads them, we restore them whole, a failed save leaves nothing broken."""

from __future__ import annotations

import csv
import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import orix.io
import pytest
from orix.vector import Miller, Vector3d

from example_maps import CALIBRATION, empty_map, example_map
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    from_euler_bunge_deg,
    misorientation_angle_deg,
    normalise,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.zone_axes import four_indices, zone_axis_off_deg, zone_axis_uvw
from napari_stem_orient.io.maps import (
    UnreadableMap,
    export_ang,
    export_csv,
    is_orientation_map_file,
    open_orientation_map,
    save_orientation_map,
)

SCAN_SHAPES = [(3, 4), (1, 5), (5, 1), (2, 2)]


def assert_same(restored: OrientationMap, saved: OrientationMap) -> None:
    there = restored.arrays()
    for name, array in saved.arrays().items():
        assert there[name].dtype == array.dtype, name
        np.testing.assert_array_equal(there[name], array)
    names = set(OrientationMap.__dataclass_fields__) - set(OrientationMap.columns()) - {"solutions"}
    for name in names:
        assert getattr(restored, name) == getattr(saved, name), name


def assert_equivalent(quaternions: np.ndarray, saved: OrientationMap, *, within_deg: float = 0.05) -> None:
    """The orientations, where indexed, are those of the map but for the symmetry of the crystal."""
    for phase, crystal in enumerate(saved.crystals):
        here = saved.phase_id == phase
        angle = disorientation_angle_deg(
            quaternions[here], saved.quaternion[here], crystal.proper_point_group
        )
        assert angle.max(initial=0) < within_deg


@pytest.mark.parametrize("scan_shape", [*SCAN_SHAPES, (1, 1)])
def test_a_saved_map_comes_back_whole(tmp_path: Path, scan_shape: tuple[int, int]) -> None:
    saved = example_map(scan_shape, ("Cu", "LiCoO2"))
    save_orientation_map(saved, tmp_path / "map.h5")
    assert_same(open_orientation_map(tmp_path / "map.h5"), saved)
    assert is_orientation_map_file(tmp_path / "map.h5")


def test_a_saved_map_says_which_scan_it_was_made_from(tmp_path: Path) -> None:
    made = replace(example_map(), name="grain 7", source_fingerprint="abc123")
    save_orientation_map(made, tmp_path / "map.h5")
    restored = open_orientation_map(tmp_path / "map.h5")
    assert (restored.name, restored.source_fingerprint) == ("grain 7", "abc123")


def test_a_saved_map_says_what_was_decided_to_make_it(tmp_path: Path) -> None:
    recipe = {"version": 1, "steps": [{"step": "index", "method": "template"}]}
    save_orientation_map(replace(example_map((2, 3)), recipe=recipe), tmp_path / "map.h5")
    assert open_orientation_map(tmp_path / "map.h5").recipe == recipe


def test_a_map_without_anything_indexed_comes_back_and_opens_in_orix(tmp_path: Path) -> None:
    saved = empty_map((3, 4))
    save_orientation_map(saved, tmp_path / "map.h5")
    assert_same(open_orientation_map(tmp_path / "map.h5"), saved)
    assert (orix.io.load(str(tmp_path / "map.h5")).phase_id == -1).all()


@pytest.mark.parametrize("scan_shape", SCAN_SHAPES)
def test_orix_opens_a_saved_map_as_a_crystal_map(tmp_path: Path, scan_shape: tuple[int, int]) -> None:
    saved = example_map(scan_shape, ("Cu", "LiCoO2"))
    save_orientation_map(saved, tmp_path / "map.h5")
    loaded = orix.io.load(str(tmp_path / "map.h5"))
    assert np.array_equal(loaded.phase_id, saved.phase_id)
    assert_equivalent(loaded.rotations.data, saved)
    assert loaded.scan_unit == "nm"
    row, column = np.indices(scan_shape).reshape(2, -1)
    if scan_shape[0] > 1:
        np.testing.assert_allclose(loaded.y, row * 5.0)
    if scan_shape[1] > 1:
        np.testing.assert_allclose(loaded.x, column * 5.0)
    np.testing.assert_allclose(loaded.prop["score"], saved.score)
    np.testing.assert_allclose(loaded.prop["confidence_deg"], saved.confidence_deg)
    np.testing.assert_allclose(loaded.prop["phase_probability"], saved.phase_probability)
    assert np.array_equal(loaded.prop["explained_disks"], saved.explained_disks)
    assert np.array_equal(loaded.prop["unexplained_disks"], saved.unexplained_disks)


def test_orix_finds_phases_symmetry_and_zone_axes_in_a_saved_map(tmp_path: Path) -> None:
    saved = example_map((4, 4), ("Cu", "LiCoO2"))
    save_orientation_map(saved, tmp_path / "map.h5")
    loaded = orix.io.load(str(tmp_path / "map.h5"))
    assert loaded.phases[0].name == "Cu"
    assert loaded.phases[1].name == "LiCoO2"
    assert loaded.phases[0].space_group.number == 225
    assert loaded.phases[1].structure.lattice.c == pytest.approx(saved.crystals[1].lattice[2])
    # Orientations of one phase behave as orix's: sample -z is the zone axis in crystal coordinates.
    copper = loaded["Cu"].orientations
    toward_gun = Miller(uvw=(copper * -Vector3d.zvector()).data, phase=loaded.phases[0])
    zone_axes = Miller(uvw=saved.zone_axes(0), phase=loaded.phases[0])
    assert np.rad2deg(toward_gun.angle_with(zone_axes, use_symmetry=True)).max() < 6


def test_a_phase_that_is_nowhere_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    saved = example_map((3, 4), ("Cu", "Al", "Ni"))
    saved.phase_id[saved.phase_id == 0] = 2
    save_orientation_map(saved, tmp_path / "map.h5")
    loaded = orix.io.load(str(tmp_path / "map.h5"))
    assert loaded.phases[1].name == "Al"
    assert loaded.phases[2].name == "Ni"


def test_without_a_scan_step_the_coordinates_count_positions(tmp_path: Path) -> None:
    saved = example_map((2, 3), calibration=Calibration(voltage_kv=200))
    save_orientation_map(saved, tmp_path / "map.h5")
    loaded = orix.io.load(str(tmp_path / "map.h5"))
    assert loaded.scan_unit == "px"
    assert loaded.x.tolist() == [0, 1, 2, 0, 1, 2]


def test_saving_over_a_file_replaces_it(tmp_path: Path) -> None:
    save_orientation_map(example_map((3, 4)), tmp_path / "map.h5")
    save_orientation_map(example_map((2, 2)), tmp_path / "map.h5")
    assert open_orientation_map(tmp_path / "map.h5").scan_shape == (2, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["map.h5"]


def test_a_name_that_orix_would_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"map\.dat must end in \.h5"):
        save_orientation_map(example_map(), tmp_path / "map.dat")
    with pytest.raises(ValueError, match=r"must end in \.ang"):
        export_ang(example_map(), tmp_path / "map.txt")


def test_files_that_are_no_map_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_orientation_map(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UnreadableMap, match="truncated, damaged or no HDF5"):
        open_orientation_map(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(UnreadableMap, match="holds no orientation map"):
        open_orientation_map(tmp_path / "other.h5")
    for name in ("none.h5", "text.h5", "other.h5"):
        assert not is_orientation_map_file(tmp_path / name)


def test_a_truncated_map_is_refused_in_words(tmp_path: Path) -> None:
    save_orientation_map(example_map((20, 20)), tmp_path / "map.h5")
    whole = (tmp_path / "map.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableMap, match=r"half\.h5 cannot be read.*truncated"):
        open_orientation_map(tmp_path / "half.h5")
    assert not is_orientation_map_file(tmp_path / "half.h5")


@pytest.mark.parametrize("name", ["calibration", "crystals"])
def test_a_map_with_values_that_cannot_be_is_refused_in_words(tmp_path: Path, name: str) -> None:
    save_orientation_map(example_map(), tmp_path / "map.h5")
    with h5py.File(tmp_path / "map.h5", "a") as file:
        group = file["napari_stem_orient"]
        del group[name]
        group[name] = '{"voltage_kv": -1}' if name == "calibration" else "[{"
    with pytest.raises(UnreadableMap, match=r"map\.h5 cannot be read"):
        open_orientation_map(tmp_path / "map.h5")


def test_a_map_of_a_newer_version_asks_for_an_update(tmp_path: Path) -> None:
    save_orientation_map(example_map(), tmp_path / "map.h5")
    with h5py.File(tmp_path / "map.h5", "a") as file:
        file["napari_stem_orient"].attrs["format_version"] = 99
    with pytest.raises(UnreadableMap, match="newer version"):
        open_orientation_map(tmp_path / "map.h5")


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not made read-only so on Windows")
def test_a_read_only_folder_is_named_with_the_fix(tmp_path: Path) -> None:
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write to read-only folders")
        for write, name in (
            (save_orientation_map, "map.h5"),
            (export_ang, "map.ang"),
            (export_csv, "map.csv"),
        ):
            with pytest.raises(PermissionError, match="read-only for you; choose another folder"):
                write(example_map(), folder / name)
    finally:
        folder.chmod(0o700)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing; create it"):
        save_orientation_map(example_map(), tmp_path / "missing" / "map.h5")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "the disk is full"),
        (RuntimeError("Can't decrement id ref count (No space left on device)"), OSError, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), PermissionError, "read-only for you"),
        (OSError(errno.EROFS, "Read-only file system"), PermissionError, "read-only for you"),
        (OSError(errno.EIO, "Input/output error"), OSError, "could not be written: .*Input/output"),
    ],
)
def test_a_save_that_fails_halfway_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], words: str
) -> None:
    old = example_map((3, 4))
    save_orientation_map(old, tmp_path / "map.h5")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("napari_stem_orient.io.maps.write_map_group", fail)
    with pytest.raises(kind, match=words):
        save_orientation_map(example_map((2, 2)), tmp_path / "map.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["map.h5"]
    assert_same(open_orientation_map(tmp_path / "map.h5"), old)


@pytest.mark.parametrize("scan_shape", [(3, 4), (1, 5)])
def test_orix_reads_the_same_orientations_from_ang(tmp_path: Path, scan_shape: tuple[int, int]) -> None:
    saved = example_map(scan_shape, ("Cu", "LiCoO2"))
    export_ang(saved, tmp_path / "map.ang")
    loaded = orix.io.load(str(tmp_path / "map.ang"), autogen_names=False)
    indexed = saved.indexed
    assert np.array_equal(loaded.phase_id[indexed], saved.phase_id[indexed] + 1)
    assert (loaded.phase_id[~indexed] == -1).all()
    assert_equivalent(loaded.rotations.data, saved)
    # .ang is in µm; the scan step is 5 nm.
    assert loaded.scan_unit == "um"
    assert loaded.x.max() == pytest.approx((scan_shape[1] - 1) * 0.005)
    assert loaded.phases[1].name == "Cu"
    assert loaded.phases[2].point_group.laue.name == "-3m"
    np.testing.assert_allclose(loaded.prop["ci"][indexed], saved.score[indexed], atol=1e-4)
    assert (loaded.prop["ci"][~indexed] == -1).all()
    np.testing.assert_allclose(loaded.prop["fit"][indexed], saved.confidence_deg[indexed], atol=1e-4)


def test_ang_of_one_column_keeps_its_rows(tmp_path: Path) -> None:
    saved = example_map((5, 1))
    export_ang(saved, tmp_path / "map.ang")
    loaded = orix.io.load(str(tmp_path / "map.ang"), autogen_names=False)
    np.testing.assert_allclose(loaded.y, np.arange(5) * 0.005)
    assert loaded.phase_id.tolist() == np.where(saved.indexed, saved.phase_id + 1, -1).tolist()


@pytest.mark.parametrize("crystals", [("Cu",), ("Cu", "LiCoO2")])
@pytest.mark.parametrize("make", [example_map, empty_map])
def test_ang_has_phase_0_where_not_indexed_never_a_negative_one(
    tmp_path: Path, make: Callable[..., OrientationMap], crystals: tuple[str, ...]
) -> None:
    saved = make((3, 4), crystals)
    export_ang(saved, tmp_path / "map.ang")
    columns = np.loadtxt(tmp_path / "map.ang")
    assert columns[:, 7].tolist() == (saved.phase_id + 1).tolist()
    np.testing.assert_allclose(columns[~saved.indexed][:, :3], 4 * np.pi, atol=1e-5)
    assert (columns[~saved.indexed][:, 6] == -1).all()
    assert (columns[~saved.indexed][:, 9] == 180).all()


def test_ang_has_what_its_readers_look_for(tmp_path: Path) -> None:
    crystals = (load_crystal("Cu"), replace(load_crystal("LiCoO2"), name="β phase 2"))
    export_ang(example_map((2, 2), crystals), tmp_path / "map.ang")
    lines = (tmp_path / "map.ang").read_bytes().decode("ascii").splitlines()
    phases = [number for number, line in enumerate(lines) if line.startswith("# Phase ")]
    # DefDAP: ascending, each ended by an empty comment. MTEX: a hundred lines after each.
    assert [lines[number] for number in phases] == ["# Phase 1", "# Phase 2"]
    assert all("#" in lines[number : number + 8] for number in phases)
    assert len(lines) > phases[-1] + 100
    names = [line.split(maxsplit=2)[2] for line in lines if line.startswith("# MaterialName")]
    assert names == ["Cu", "beta_phase_2"]
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    assert any("x along scan columns, y along scan rows" in line for line in header)
    assert any("x along a, z along c*" in line for line in header)


def test_ang_of_a_map_without_anything_indexed_can_be_read(tmp_path: Path) -> None:
    export_ang(empty_map((3, 4)), tmp_path / "map.ang")
    loaded = orix.io.load(str(tmp_path / "map.ang"), autogen_names=False)
    assert (loaded.phase_id == -1).all()
    assert loaded.shape == (3, 4)


def test_csv_tells_every_position_in_a_row(tmp_path: Path) -> None:
    saved = example_map((3, 4))
    export_csv(saved, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert (rows[6]["y"], rows[6]["x"]) == ("1", "2")
    assert (float(rows[6]["y_nm"]), float(rows[6]["x_nm"])) == (5.0, 10.0)
    for index, row in enumerate(rows):
        solution = saved.at(index // 4, index % 4)
        assert row["reason"] == solution.sentence
        assert int(row["explained_disks"]) == solution.explained_disks
        assert int(row["unexplained_disks"]) == solution.unexplained_disks
        if not solution.indexed:
            assert row["phase"] == row["q_w"] == row["phi1_deg"] == row["u"] == row["score"] == ""
            assert row["phase_probability"] == ""
            continue
        assert solution.crystal is not None
        assert row["phase"] == solution.crystal.name
        # One of the symmetric equivalents; the angles and the zone axis are those of the same one.
        quaternion = normalise([float(row[name]) for name in ("q_w", "q_x", "q_y", "q_z")])
        group = solution.crystal.proper_point_group
        assert disorientation_angle_deg(quaternion, solution.quaternion, group) < 0.05
        euler = [float(row[name]) for name in ("phi1_deg", "Phi_deg", "phi2_deg")]
        assert misorientation_angle_deg(from_euler_bunge_deg(euler), quaternion) < 0.1
        uvw = np.array([int(row[name]) for name in "uvw"])
        assert uvw.tolist() == zone_axis_uvw(quaternion, solution.crystal).tolist()
        assert float(row["score"]) == pytest.approx(solution.score, abs=1e-5)
        assert float(row["phase_probability"]) == pytest.approx(solution.phase_probability, abs=1e-5)


def test_csv_has_four_indices_at_will_and_says_how_far_off_zone_axes_are(tmp_path: Path) -> None:
    saved = example_map((3, 4), ("Ti", "Cu"))
    export_csv(saved, tmp_path / "three.csv")
    export_csv(saved, tmp_path / "four.csv", four=True)
    three, four = (
        list(csv.DictReader((tmp_path / f"{name}.csv").open(encoding="utf-8", newline="")))
        for name in ("three", "four")
    )
    assert "t" not in three[0]
    columns = list(four[0])
    assert columns[columns.index("u") :][:5] == ["u", "v", "t", "w", "zone_axis_off_deg"]
    for row, other, phase in zip(three, four, saved.phase_id, strict=True):
        if phase < 0:
            assert row["u"] == other["t"] == row["zone_axis_off_deg"] == ""
            continue
        uvw = [int(row[name]) for name in "uvw"]
        quaternion = normalise([float(row[name]) for name in ("q_w", "q_x", "q_y", "q_z")])
        off = zone_axis_off_deg(quaternion, saved.crystals[phase], uvw)
        assert float(row["zone_axis_off_deg"]) == pytest.approx(float(off), abs=0.01)
        if phase == 0:
            assert [int(other[name]) for name in "uvtw"] == four_indices(uvw).tolist()
        else:
            assert [other[name] for name in "uvtw"] == [row["u"], row["v"], "", row["w"]]


def test_csv_leaves_empty_what_is_not_known(tmp_path: Path) -> None:
    unknown = example_map((2, 3), calibration=CALIBRATION.updated(scan_step_nm=None))
    unknown.confidence_deg[:] = np.nan
    export_csv(unknown, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["y_nm"] for row in rows} == {""}
    assert {row["confidence_deg"] for row in rows} == {""}
    export_csv(empty_map((2, 3)), tmp_path / "none.csv")
    with (tmp_path / "none.csv").open(encoding="utf-8", newline="") as file:
        assert {row["explained_disks"] for row in csv.DictReader(file)} == {""}
    export_csv(empty_map((2, 2)), tmp_path / "empty.csv")
    assert Reason.NOT_DONE.sentence in (tmp_path / "empty.csv").read_text(encoding="utf-8")
