"""open_datacube reads scans of every family lazily, and says in plain words why a file is none."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from napari_stem_orient.io import rosettasciio_scans
from napari_stem_orient.io.file_arrays import pattern_chunks
from napari_stem_orient.io.scan_kinds import may_be_scan
from napari_stem_orient.io.scan_source import NeedsScanShape, UnreadableScan, WrongFrameCount
from napari_stem_orient.io.scans import list_datasets, open_datacube
from napari_stem_orient.io.zspy_files import write_zspy
from scan_files import SCAN, STACK, hyperspy_signal


def write_hspy(path: Path, data: np.ndarray = SCAN) -> Path:
    from rsciio.hspy import file_writer

    file_writer(str(path), hyperspy_signal(data))
    return path


def write_npy(path: Path, data: np.ndarray) -> Path:
    np.save(path, data)
    return path


def write_hdf5(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=data)
    return path


# --- formats: the patterns come back in place, the detector upright ---------------------------------------------


def write_like_zspy(path: Path) -> None:
    write_zspy(path, hyperspy_signal(SCAN))


def write_like_blo(path: Path) -> None:
    from rsciio.blockfile import file_writer

    file_writer(str(path), hyperspy_signal(SCAN), navigator=None, show_progressbar=False)


def write_like_zarr(path: Path) -> None:
    import zarr

    zarr.create_array(str(path), data=SCAN)


WRITERS = {
    "scan.hspy": write_hspy,
    "scan.zspy": write_like_zspy,
    "scan.blo": write_like_blo,
    "scan.npy": lambda path: write_npy(path, SCAN),
    "scan.zarr": write_like_zarr,
    "scan.h5": lambda path: write_hdf5(path, data=SCAN, extra=np.zeros(3)),
    "deep.hdf5": lambda path: write_hdf5(path, entry__data__frames=SCAN[None], labels=np.zeros((4, 6))),
    "big-endian.npy": lambda path: write_npy(path, SCAN.astype(">u2")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_patterns_come_back_in_place(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    cube = open_datacube(tmp_path / name)
    assert cube.scan_shape == (4, 6)
    assert cube.data.dtype.isnative
    assert np.array_equal(cube.data.compute(), SCAN)
    assert np.array_equal(cube.pattern(2, 5), SCAN[2, 5])
    assert cube.name == Path(name).stem
    assert may_be_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["scan.hspy", "scan.zspy"])
def test_calibration_is_taken_from_hyperspy_files(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    calibration = open_datacube(tmp_path / name).calibration
    assert calibration.scan_step_nm == pytest.approx(2)
    assert calibration.pixel_size_inv_angstrom == pytest.approx(0.025)
    assert calibration.voltage_kv == 200
    assert calibration.convergence_angle_mrad == 1.5


def test_py4dstem_files_bring_their_calibration(tmp_path: Path, py4dstem: ModuleType) -> None:
    cube = py4dstem.DataCube(data=SCAN.astype(np.float32))
    cube.calibration.set_Q_pixel_size(0.03)
    cube.calibration.set_Q_pixel_units("A^-1")
    cube.calibration.set_R_pixel_size(0.5)
    cube.calibration.set_R_pixel_units("nm")
    py4dstem.save(tmp_path / "cube.h5", cube)
    opened = open_datacube(tmp_path / "cube.h5")
    assert np.array_equal(opened.data.compute(), SCAN)
    assert opened.calibration.pixel_size_inv_angstrom == pytest.approx(0.03)
    assert opened.calibration.scan_step_nm == pytest.approx(0.5)


def digital_micrograph(monkeypatch: pytest.MonkeyPatch, data: np.ndarray, **changes: Any) -> None:
    """Have rosettasciio find ``data`` in any .dm4 file."""
    import rsciio.digitalmicrograph

    signal = {**hyperspy_signal(data), **changes}
    monkeypatch.setattr(rsciio.digitalmicrograph, "file_reader", lambda *_, **__: [signal])


@pytest.mark.parametrize("swapped", [True, False])
def test_digital_micrograph_files_may_hold_the_detector_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    tags = {"ImageList": {"TagGroup0": {"ImageTags": {"Meta Data": {"Data Order Swapped": 1}}}}}
    stored = SCAN if swapped else SCAN.transpose(2, 3, 0, 1)
    signal = hyperspy_signal(stored)
    unitless = [{**axis, "units": ""} for axis in signal["axes"]]
    digital_micrograph(monkeypatch, stored, axes=unitless, original_metadata=tags if swapped else {})
    (tmp_path / "scan.dm4").write_bytes(b"dm4")
    assert np.array_equal(open_datacube(tmp_path / "scan.dm4").data.compute(), SCAN)


def test_units_of_digital_micrograph_files_go_before_the_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digital_micrograph(monkeypatch, SCAN)
    (tmp_path / "scan.dm4").write_bytes(b"dm4")
    assert np.array_equal(open_datacube(tmp_path / "scan.dm4").data.compute(), SCAN)


def write_arina(folder: Path, *, side_file: bool = True) -> Path:
    frames = STACK.astype(np.uint32)
    frames[:, 3, 4] = 2**32 - 1
    for number, part in enumerate((frames[:10], frames[10:]), start=1):
        write_hdf5(folder / f"run_data_{number:06d}.h5", entry__data__data=part)
    master = folder / "run_master.h5"
    with h5py.File(master, "w") as file:
        group = file.create_group("entry/data")
        for number in (1, 2):
            group[f"data_{number:06d}"] = h5py.ExternalLink(f"run_data_{number:06d}.h5", "entry/data/data")
    if side_file:
        with h5py.File(folder / "run.h5", "w") as file:
            attrs = file.create_group("STEM Metadata").attrs
            attrs.update({"High Tension": [200000.0], "NumPixelsX": "6", "NumPixelsY": "4"})
            attrs.update({"Pixel Size": [0.25], "IsPixelSizeCalibrated": [1]})
    return master


def test_arina_pieces_are_joined_and_masked_pixels_set_to_zero(tmp_path: Path) -> None:
    cube = open_datacube(write_arina(tmp_path))
    expected = SCAN.copy()
    expected[..., 3, 4] = 0
    assert np.array_equal(cube.data.compute(), expected)
    assert cube.calibration.voltage_kv == 200
    assert cube.calibration.scan_step_nm == 0.25


def test_arina_without_its_side_file_asks_for_the_scan_shape(tmp_path: Path) -> None:
    master = write_arina(tmp_path, side_file=False)
    with pytest.raises(NeedsScanShape) as question:
        open_datacube(master)
    assert question.value.n_frames == 24
    assert open_datacube(master, scan_shape=(4, 6)).scan_shape == (4, 6)


def test_a_missing_piece_of_an_arina_scan_is_named(tmp_path: Path) -> None:
    master = write_arina(tmp_path)
    (tmp_path / "run_data_000002.h5").unlink()
    with pytest.raises(UnreadableScan, match=r"run_data_000002\.h5, which is missing"):
        open_datacube(master)


# --- stacks -------------------------------------------------------------------------------------------------------


def test_a_stack_asks_for_its_scan_shape_and_proposes_some(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "stack.npy", STACK)
    with pytest.raises(NeedsScanShape, match=r"24 patterns .* 4 x 6, 6 x 4") as question:
        open_datacube(path)
    assert question.value.n_frames == 24
    assert question.value.proposals[0] == (4, 6)
    assert np.array_equal(open_datacube(path, scan_shape=(4, 6)).data.compute(), SCAN)


def test_a_wrong_scan_shape_is_refused_with_one_that_fits(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "stack.npy", STACK)
    with pytest.raises(UnreadableScan, match=r"scan shape 5 x 5 does not divide 24 frames; try 4 x 6"):
        open_datacube(path, scan_shape=(5, 5))
    with pytest.raises(UnreadableScan, match="does not divide"):
        open_datacube(path, scan_shape=(0, 24))


def test_frames_before_and_after_the_scan_can_be_left_out(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "stack.npy", STACK)
    cube = open_datacube(path, scan_shape=(3, 7), first_frame=2)
    assert np.array_equal(cube.data.compute(), STACK[2:23].reshape(3, 7, 8, 8))
    with pytest.raises(UnreadableScan, match="needs 25 frames; the file has 24"):
        open_datacube(path, scan_shape=(3, 7), first_frame=4)


def test_a_frame_too_many_is_told_and_can_be_left_out_at_either_end(tmp_path: Path) -> None:
    extra = np.full((1, 8, 8), 9, np.uint8)
    path = write_npy(tmp_path / "stack.npy", np.concatenate([extra, STACK]))
    with pytest.raises(NeedsScanShape, match=r"5 x 5, 1 x 25, 25 x 1"):
        open_datacube(path)
    with pytest.raises(
        WrongFrameCount, match=r"25 frames.*One too many for 4 x 6.*begin with frame 2\).*frame 24\)"
    ):
        open_datacube(path, scan_shape=(4, 6))
    cube = open_datacube(path, scan_shape=(4, 6), first_frame=1)
    assert np.array_equal(cube.data.compute(), SCAN)
    assert cube.notes == ("frames 2 to 25 of 25 are the scan: 1 before and 0 after are left out",)
    ends = open_datacube(path, scan_shape=(4, 6), last_frame=23)
    assert np.array_equal(ends.data.compute()[0, 0], extra[0])
    assert ends.fingerprint != cube.fingerprint  # the same file and shape, but not the same patterns
    with pytest.raises(UnreadableScan, match="frames 3 to 30 are not in the file: it has frames 1 to 25"):
        open_datacube(path, scan_shape=(4, 7), first_frame=2, last_frame=29)


def test_a_lost_frame_leaves_its_position_empty_and_the_others_in_place(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "stack.npy", np.delete(STACK, 10, axis=0))
    with pytest.raises(WrongFrameCount, match=r"23 frames.*One too few for 4 x 6.*these are 24"):
        open_datacube(path, scan_shape=(4, 6))
    cube = open_datacube(path, scan_shape=(4, 6), lost=[10])
    expected = SCAN.copy()
    expected[1, 4] = 0
    assert np.array_equal(cube.data.compute(), expected)
    blocks = list(cube.scan_blocks())
    assert np.array_equal(np.concatenate([block.frames for block in blocks]), expected.reshape(24, 8, 8))
    assert cube.missing is not None
    assert np.argwhere(cube.missing).tolist() == [[1, 4]]
    assert cube.notes == ("1 position has no frame, as was said: 11",)
    with pytest.raises(UnreadableScan, match="position 99 of the scan"):
        open_datacube(path, scan_shape=(4, 6), lost=[98])


def test_a_scan_that_is_shifted_by_a_frame_can_be_put_right(tmp_path: Path) -> None:
    # the frame grabber was one frame late: the first is another, and the last one is lost
    shifted = np.concatenate([np.zeros((1, 8, 8), np.uint8), STACK[:-1]]).reshape(SCAN.shape)
    path = write_npy(tmp_path / "scan.npy", shifted)
    cube = open_datacube(path, first_frame=1, lost=[23])
    assert np.array_equal(cube.data.compute().reshape(24, 8, 8)[:23], STACK[:23])


def test_the_shape_in_a_file_can_be_overridden(tmp_path: Path) -> None:
    path = write_hspy(tmp_path / "scan.hspy")
    assert np.array_equal(open_datacube(path, scan_shape=(3, 8)).data.compute(), SCAN.reshape(3, 8, 8, 8))


# --- several datasets ---------------------------------------------------------------------------------------------


def test_one_of_several_scans_can_be_chosen(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "two.h5", thin__data=SCAN, thick__data=SCAN[::-1], stack=STACK)
    assert [info.name for info in list_datasets(path)] == ["thick/data", "thin/data"]
    assert np.array_equal(open_datacube(path, dataset="thin/data").data.compute(), SCAN)
    assert open_datacube(path, dataset="thin/data").name == "two thin"
    with pytest.raises(UnreadableScan, match=r"no dataset 'other'.*'thick/data'"):
        open_datacube(path, dataset="other")


def test_two_scans_of_one_file_have_different_fingerprints(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "two.h5", a=SCAN, b=SCAN)
    prints = {open_datacube(path, dataset=name).fingerprint for name in ("a", "b")}
    assert len(prints) == 2


def test_scans_of_one_file_whose_names_end_alike_have_different_fingerprints(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "two.h5", first__scan=SCAN, second__scan=SCAN)
    cubes = [open_datacube(path, dataset=f"{name}/scan") for name in ("first", "second")]
    assert cubes[0].name == cubes[1].name
    assert cubes[0].fingerprint != cubes[1].fingerprint


def test_a_scan_that_begins_at_another_frame_has_another_fingerprint(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "stack.h5", data=STACK)
    shape = (1, len(STACK) - 1)
    prints = {open_datacube(path, scan_shape=shape, first_frame=first).fingerprint for first in (0, 1)}
    assert len(prints) == 2


# --- laziness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan.hspy", "scan.h5", "scan.npy"])
def test_no_file_stays_open_and_a_changed_file_is_read_anew(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    first = open_datacube(path)
    path.unlink()
    if name == "scan.hspy":
        write_hspy(path, SCAN[::-1].copy())
    elif name == "scan.h5":
        write_hdf5(path, data=SCAN[::-1])
    else:
        write_npy(path, SCAN[::-1])
    second = open_datacube(path)
    assert np.array_equal(second.data.compute(), SCAN[::-1])
    assert first.data.name != second.data.name
    assert first.fingerprint != "" != second.fingerprint


@pytest.mark.parametrize(
    ("shape", "stored", "largest"),
    [
        ((256, 256, 256, 256), None, 8),
        ((256, 256, 256, 256), (1, 1, 256, 256), 8),
        ((256, 256, 256, 256), (2, 2, 64, 64), 8),
        ((4096, 4096, 64, 64), (32, 32, 32, 32), 8),
        ((512, 512, 512, 512), (16, 16, 16, 16), 512),
        ((512, 512, 512, 512), (64, 64, 16, 16), 512),
        ((20, 30, 2048, 2048), None, 8),
        ((100_000, 256, 256), (1, 256, 256), 8),
    ],
)
def test_chunks_are_whole_patterns_of_bounded_size(
    shape: tuple[int, ...], stored: tuple[int, ...] | None, largest: int
) -> None:
    chunks = pattern_chunks(shape, 2, stored)
    assert chunks[-2:] == shape[-2:]
    assert np.prod(chunks) * 2 <= largest * 2**20 or np.prod(chunks[:-2]) == 1
    if stored is not None and np.prod(stored[:-2]) * np.prod(shape[-2:]) * 2 <= 512 * 2**20:
        assert all(size % part == 0 for size, part in zip(chunks[:-2], stored[:-2], strict=True))


def test_small_stored_chunks_are_read_many_at_once() -> None:
    assert pattern_chunks((256, 256, 128, 128), 2, (1, 1, 128, 128)) == (1, 256, 128, 128)


# --- bad input ----------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(UnreadableScan) as error:
        open_datacube(path)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_missing_file_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.hspy")
    (tmp_path / "empty.mib").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "empty.mib")


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("hello")
    message = refused(tmp_path / "notes.docx")
    assert "unknown format" in message
    assert ".mib" in message
    assert not may_be_scan(tmp_path / "notes.docx")


@pytest.mark.parametrize(
    "ending",
    ["mib", "blo", "dm3", "dm4", "mrc", "ser", "emi", "hspy", "h5", "emd", "npy", "xml", "app5", "zspy"],
)
def test_a_text_file_by_another_name_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scan.{ending}"
    path.write_text("this is a text file, not a scan\n" * 40)
    assert path.name in refused(path)


def test_a_text_file_named_tvips_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan_000.tvips"
    path.write_text("this is a text file, not a scan\n" * 40)
    assert path.name in refused(path)


@pytest.mark.parametrize("name", ["scan.hspy", "scan.blo", "scan.npy", "scan.h5"])
def test_a_truncated_file_is_refused_in_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    message = refused(path)
    assert "truncated" in message or "damaged" in message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SCAN[0, 0], "single image of 8 x 8 pixels"),
        (SCAN[0, 0, 0], "single row of 8 values"),
        (SCAN.astype(complex), "must be real numbers"),
        (SCAN > 100, "masks"),
        (np.zeros((2, 3, 4, 5, 6), np.uint8), "5 axes (2 x 3 x 4 x 5 x 6)"),
        (SCAN[..., :1], "no detector"),
    ],
)
def test_arrays_that_are_no_scan_are_refused_with_the_reason(
    tmp_path: Path, data: np.ndarray, reason: str
) -> None:
    assert reason in refused(write_npy(tmp_path / "array.npy", data))


def test_spectra_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spectra = [{**axis, "units": "eV"} for axis in hyperspy_signal(STACK)["axes"]]
    digital_micrograph(monkeypatch, STACK, axes=spectra)
    (tmp_path / "eels.dm4").write_bytes(b"dm4")
    assert "holds spectra" in refused(tmp_path / "eels.dm4")


def test_an_hdf5_file_without_patterns_is_refused(tmp_path: Path) -> None:
    assert "no stack of patterns" in refused(write_hdf5(tmp_path / "table.h5", table=np.zeros((9, 9))))


def test_orientation_maps_are_told_from_scans(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "map.h5", napari_stem_orient__quaternion=np.zeros((4, 4)))
    assert "open it as a map" in refused(path)


def test_topspin_files_too_large_to_be_read_as_a_whole_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosettasciio_scans, "LARGEST_TOPSPIN_FILE", 100)
    assert "export it as a blockfile" in refused(write_hdf5(tmp_path / "scan.app5", data=SCAN))


def test_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    cube = open_datacube(write_npy(tmp_path / "colour.npy", SCAN[:, :, None]))
    assert np.array_equal(cube.data.compute(), SCAN)


def test_bare_empad_numbers_ask_for_their_xml(tmp_path: Path) -> None:
    (tmp_path / "scan_x4_y4.raw").write_bytes(bytes(100))
    assert "put it into the same folder" in refused(tmp_path / "scan_x4_y4.raw")
    assert not may_be_scan(tmp_path / "scan_x4_y4.raw")


def test_empad_numbers_are_described_by_the_file_that_names_them_in_full(tmp_path: Path) -> None:
    for stem in ("scan", "first scan", "other_scan"):
        (tmp_path / f"{stem}.raw").write_bytes(bytes(100))
        (tmp_path / f"{stem}.xml").write_text(f'<root><raw_file filename="{stem}.raw"/></root>')
    for stem in ("scan", "first scan", "other_scan"):
        assert rosettasciio_scans.empad_xml(tmp_path / f"{stem}.raw").stem == stem


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rosettasciio_scans.FORMATS, ".blo", "no_such_module")
    (tmp_path / "scan.blo").write_bytes(b"blo")
    assert "needs the package rsciio.no_such_module" in refused(tmp_path / "scan.blo")


def test_pictures_of_other_programs_are_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "some.xml").write_text("<html/>")
    assert not may_be_scan(tmp_path / "some.xml")
    assert not may_be_scan(write_npy(tmp_path / "image.npy", np.zeros((5, 5))))
    pyramid = tmp_path / "cells.zarr"
    pyramid.mkdir()
    (pyramid / ".zattrs").write_text('{"multiscales": []}')
    assert not may_be_scan(pyramid)
    (tmp_path / "folder").mkdir()
    assert not may_be_scan(tmp_path / "folder")
