"""Bragg peaks are saved and opened as py4DSTEM keeps them, with all that made them."""

from __future__ import annotations

import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.peaks import (
    NOMINAL,
    UnreadablePeaks,
    is_peaks_file,
    open_bragg_peaks,
    save_bragg_peaks,
)

CALIBRATION = Calibration(
    voltage_kv=300,
    pixel_size_inv_angstrom=0.02,
    origin_px=(30.0, 34.0),
    scan_step_nm=2.5,
    convergence_angle_mrad=1.5,
    scan_rotation_deg=40,
    flip=True,
    ellipse_ratio=1.04,
    ellipse_angle_deg=20,
)
COUNTS = [3, 0, 1, 5, 2, 0]


def some_peaks(**changes: Any) -> BraggPeaks:
    rng = np.random.default_rng(1)
    lists = [np.column_stack([rng.uniform(-0.5, 0.5, (n, 2)), rng.uniform(1, 9, n)]) for n in COUNTS]
    origin = np.column_stack([np.linspace(29, 31, 6), np.linspace(33, 35, 6)])
    peaks = BraggPeaks.from_lists(lists, (2, 3), CALIBRATION, origin_px=origin)
    made_by = {"parameters": {"mode": "disks", "min_spacing_px": 4.5}, "name": "Cu"}
    return replace(peaks, **{**made_by, "source_fingerprint": "abc", "detector_shape": (64, 72), **changes})


def assert_same(one: BraggPeaks, other: BraggPeaks) -> None:
    for field in (each for each in fields(BraggPeaks) if each.init):
        expected, found = getattr(one, field.name), getattr(other, field.name)
        if field.name == "q_as_given":  # a file gives them, also where they were derived
            expected, found = np.stack([one.q_x, one.q_y]), np.stack([other.q_x, other.q_y])
        if isinstance(expected, np.ndarray):
            assert np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f")
            assert expected.dtype == found.dtype
        else:
            assert expected == found


@pytest.mark.parametrize(
    "changes",
    [
        {"significance": np.arange(11, dtype=np.float32)},
        {},
        {"detected": np.array([True, False, True, True, True, False])},
        {"origin_px": None, "detector_shape": None, "source_fingerprint": None},
    ],
)
def test_saved_peaks_come_back_as_they_were(tmp_path: Path, changes: dict[str, Any]) -> None:
    peaks = some_peaks(**changes)
    path = save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    assert is_peaks_file(path)
    assert_same(peaks, open_bragg_peaks(path))
    assert open_bragg_peaks(path).fingerprint == peaks.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["peaks.h5"]


def test_peaks_say_what_was_decided_to_make_them_and_those_of_earlier_versions_say_nothing(
    tmp_path: Path,
) -> None:
    recipe = {"version": 1, "steps": [{"step": "detect", "parameters": {"edge_px": 4.0}}]}
    save_bragg_peaks(some_peaks().with_recipe(recipe), tmp_path / "peaks.h5")
    assert open_bragg_peaks(tmp_path / "peaks.h5").recipe == recipe
    with h5py.File(tmp_path / "peaks.h5", "a") as file:
        del file["napari_stem_orient_peaks/recipe"]
    assert open_bragg_peaks(tmp_path / "peaks.h5").recipe == {}


def test_a_scan_without_peaks_can_be_saved(tmp_path: Path) -> None:
    peaks = BraggPeaks.from_blocks([], scan_shape=(3, 4), calibration=CALIBRATION, detector_shape=(8, 8))
    assert_same(peaks, open_bragg_peaks(save_bragg_peaks(peaks, tmp_path / "none.h5")))


def test_py4dstem_reads_saved_peaks_as_bragg_vectors(tmp_path: Path, py4dstem: ModuleType) -> None:
    """Raw vectors are row and column in px; calibrated ones are ours with the axes exchanged."""
    peaks = some_peaks()
    vectors = py4dstem.read(str(save_bragg_peaks(peaks, tmp_path / "peaks.h5")))
    assert type(vectors).__name__ == "BraggVectors"
    assert tuple(vectors.Rshape) == (2, 3)
    assert tuple(vectors.Qshape) == (64, 72)
    assert vectors.calibration.get_R_pixel_size() == 2.5
    vectors.setcal()
    assert vectors.calstate == {"center": True, "ellipse": True, "pixel": True, "rotate": True}
    for position in range(6):
        y, x = divmod(position, 3)
        raw, calibrated = vectors.raw[y, x], vectors.cal[y, x]
        pixels, ours = peaks.pixels_at(y, x), peaks.at(y, x)
        assert np.array_equal(raw.qx, pixels[:, 1])
        assert np.array_equal(raw.qy, pixels[:, 0])
        assert np.allclose(calibrated.qy, ours[:, 0], atol=1e-6)
        assert np.allclose(calibrated.qx, ours[:, 1], atol=1e-6)
        assert np.allclose(calibrated.I, ours[:, 2])


@pytest.mark.parametrize("calibrated", [True, False])
def test_bragg_vectors_of_py4dstem_open_as_peaks(
    tmp_path: Path, calibrated: bool, py4dstem: ModuleType
) -> None:
    vectors = py4dstem.BraggVectors((2, 3), (64, 72))
    rng = np.random.default_rng(2)
    for position, n in enumerate(COUNTS):
        data = np.zeros(n, dtype=vectors._v_uncal.dtype)
        data["qx"], data["qy"], data["intensity"] = rng.uniform(0, 64, n), rng.uniform(0, 72, n), 1.0
        vectors._v_uncal[divmod(position, 3)].add(data)
    if calibrated:
        vectors.calibration.set_Q_pixel_size(0.02)
        vectors.calibration.set_Q_pixel_units("A^-1")
        vectors.calibration.set_origin((np.full((2, 3), 31.0), np.arange(6.0).reshape(2, 3) + 30))
        vectors.setcal()
    py4dstem.save(tmp_path / "theirs.h5", vectors)
    peaks = open_bragg_peaks(tmp_path / "theirs.h5")
    assert peaks.scan_shape == (2, 3)
    assert peaks.detector_shape == (64, 72)
    assert peaks.counts().tolist() == COUNTS
    for position in range(6):
        y, x = divmod(position, 3)
        assert np.allclose(peaks.pixels_at(y, x)[:, 0], vectors.raw[y, x].qy)
        assert np.allclose(peaks.pixels_at(y, x)[:, 1], vectors.raw[y, x].qx)
        if calibrated:
            assert np.allclose(peaks.at(y, x)[:, 0], vectors.cal[y, x].qy, atol=1e-6)
            assert np.allclose(peaks.at(y, x)[:, 1], vectors.cal[y, x].qx, atol=1e-6)
    assert peaks.calibration.pixel_size_inv_angstrom == (pytest.approx(0.02) if calibrated else None)


def test_everything_works_without_py4dstem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py4DSTEM", None)
    monkeypatch.setitem(sys.modules, "emdfile", None)
    peaks = some_peaks()
    assert_same(peaks, open_bragg_peaks(save_bragg_peaks(peaks, tmp_path / "peaks.h5")))
    with h5py.File(tmp_path / "peaks.h5", "r+") as file:
        del file["napari_stem_orient_peaks"]
    foreign = open_bragg_peaks(tmp_path / "peaks.h5")
    assert np.allclose(foreign.q_x, peaks.q_x, atol=1e-5)
    assert np.allclose(foreign.q_y, peaks.q_y, atol=1e-5)
    assert np.allclose(foreign.origin_px, peaks.origin_px)
    assert foreign.detector_shape == (64, 72)


def write_legacy(path: Path, lists: list[np.ndarray]) -> Path:
    """A PointListArray as py4DSTEM 0.13 wrote it."""
    vector = np.dtype([("qx", "<f8"), ("qy", "<f8"), ("intensity", "<f8")])
    with h5py.File(path, "w") as file:
        group = file.create_group("4DSTEM/braggpeaks")
        group.attrs.update(emd_group_type=3, py4dstem_class="PointListArray")
        data = group.create_dataset("data", shape=(2, 3), dtype=h5py.vlen_dtype(vector))
        for position, rows in enumerate(lists):
            data[divmod(position, 3)] = np.array([tuple(row) for row in rows], dtype=vector)
    return path


def test_calibrated_legacy_vectors_change_their_frame_once(tmp_path: Path) -> None:
    lists = [np.array([[0.3, -0.1, 5.0]])] * 6
    peaks = open_bragg_peaks(write_legacy(tmp_path / "legacy.h5", lists))
    assert np.allclose(peaks.at(1, 2), [[-0.1, 0.3, 5.0]])
    assert peaks.calibration.pixel_size_inv_angstrom == 0.01
    assert np.allclose(peaks.with_calibration(peaks.calibration).at(1, 2), [[-0.1, 0.3, 5.0]], atol=1e-6)
    assert peaks.parameters["pixels"] == NOMINAL


def test_raw_and_centred_legacy_vectors_are_pixels(tmp_path: Path) -> None:
    raw = open_bragg_peaks(write_legacy(tmp_path / "raw.h5", [np.array([[40.0, 12.0, 5.0]])] * 6))
    assert np.allclose(raw.pixels_at(0, 0), [[12, 40, 5]])
    assert raw.calibration.pixel_size_inv_angstrom is None
    centred = open_bragg_peaks(write_legacy(tmp_path / "centred.h5", [np.array([[-40.0, 12.0, 5.0]])] * 6))
    assert np.allclose(centred.at(0, 0), [[12, -40, 5]])


def test_vectors_that_are_no_numbers_are_left_out_and_intensities_of_nothing_count_1(tmp_path: Path) -> None:
    rows = [[40.0, 12.0, 0.0], [np.nan, 3.0, 0.0], [5.0, 6.0, np.inf], [7.0, 8.0, 0.0]]
    peaks = open_bragg_peaks(write_legacy(tmp_path / "odd.h5", [np.array(rows), *[np.array(rows[1:2])] * 5]))
    assert peaks.counts().tolist() == [2, 0, 0, 0, 0, 0]
    assert np.allclose(peaks.pixels_at(0, 0), [[12, 40, 1], [8, 7, 1]])
    assert peaks.parameters["left_out_not_finite"] == 7
    assert "every disk counts 1" in peaks.parameters["intensities"]


def test_a_measured_scan_of_py4dstem_013_opens(measured_data: Path) -> None:
    """The 110 reflections of LiCoO2 lie along (-0.30, 0.95) in py4DSTEM's frame, at 0.68 Å⁻¹."""
    path = measured_data / "lco_bragg_peaks" / "braggdisks_cali.h5"
    if not path.exists():
        pytest.skip("no measured Bragg peaks")
    peaks = open_bragg_peaks(path)
    assert peaks.scan_shape == (80, 58)
    assert peaks.n_peaks == 121_390
    assert (peaks.counts().min(), peaks.counts().max()) == (1, 70)
    assert np.hypot(peaks.q_x, peaks.q_y).max() == pytest.approx(2.0, abs=0.01)
    along = peaks.q_x * 0.95 - peaks.q_y * 0.30
    across = peaks.q_x * 0.30 + peaks.q_y * 0.95
    assert np.sum(np.hypot(along - 0.682, across) < 0.04) > 3000
    assert np.sum(np.hypot(along, across - 0.682) < 0.04) < 500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "no HDF5 file"),
        (b"hello", "no HDF5 file"),
        (b"\x89HDF\r\n\x1a\n123", "damaged"),
    ],
)
def test_files_that_are_no_peaks_are_refused_with_the_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "peaks.h5"
    if content is not None:
        path.write_bytes(content)
    assert not is_peaks_file(path)
    with pytest.raises(UnreadablePeaks, match=reason):
        open_bragg_peaks(path)


def test_other_hdf5_files_and_newer_formats_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros((3, 4, 5, 6))
    with pytest.raises(UnreadablePeaks, match="no Bragg peaks"):
        open_bragg_peaks(tmp_path / "other.h5")
    path = save_bragg_peaks(some_peaks(), tmp_path / "newer.h5")
    with h5py.File(path, "r+") as file:
        file["napari_stem_orient_peaks"].attrs["format_version"] = 99
    with pytest.raises(UnreadablePeaks, match="update it"):
        open_bragg_peaks(path)


def test_a_truncated_peaks_file_is_refused(tmp_path: Path) -> None:
    path = save_bragg_peaks(some_peaks(), tmp_path / "peaks.h5")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadablePeaks, match="damaged"):
        open_bragg_peaks(path)


def test_a_folder_that_may_not_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_bragg_peaks(some_peaks(), tmp_path / "missing" / "peaks.h5")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # an administrator may write anywhere: have the system refuse
        real = h5py.File

        def refuse(name: Any, mode: str = "r", **options: Any) -> Any:
            if mode == "w":
                raise PermissionError(13, "Permission denied")
            return real(name, mode, **options)

        monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(PermissionError, match="choose another folder"):
        save_bragg_peaks(some_peaks(), folder / "peaks.h5")
    assert not list(folder.iterdir())


def test_an_older_file_is_kept_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_bragg_peaks(some_peaks(), tmp_path / "peaks.h5")
    before = path.read_bytes()
    unsaveable = some_peaks(parameters={"mode": object()})
    with pytest.raises(TypeError):
        save_bragg_peaks(unsaveable, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["peaks.h5"]


@pytest.mark.parametrize(
    "damage", [{"calibration": '{"voltage_kv": -1}'}, {"parameters": "{"}, {"scan_shape": (9, 9)}]
)
def test_peaks_with_values_that_cannot_be_are_refused_in_words(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    path = save_bragg_peaks(some_peaks(), tmp_path / "peaks.h5")
    with h5py.File(path, "r+") as file:
        file["napari_stem_orient_peaks"].attrs.update(damage)
    with pytest.raises(
        UnreadablePeaks, match=r"peaks\.h5 is damaged or incomplete .*: save or copy it again"
    ):
        open_bragg_peaks(path)
