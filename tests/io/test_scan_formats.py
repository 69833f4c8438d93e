"""Files as detectors and programs write them: each opens as what it is, or is refused with the reason."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.io.peaks import is_peaks_file
from napari_stem_orient.io.scan_source import NeedsScanShape, UnreadableScan, WrongFrameCount
from napari_stem_orient.io.scans import list_datasets, open_datacube

#: Every file of a scan, and the shape that it has.
SCANS = {
    "ag_sped/semi_real_scan.h5": (32, 104, 112, 112),
    "austenite_nbed/subset_data.hspy": (2, 2, 256, 256),
    "bent_ni_scan/scan.hspy": (48, 56, 128, 128),
    "blockfile/test1.blo": (3, 2, 144, 144),
    "formats/arina/test_00_master.h5": (4, 4, 192, 192),
    "formats/blockfile/test1.blo": (3, 2, 144, 144),
    "formats/blockfile/test2.blo": (2, 3, 5, 5),
    "formats/de/20241021_00405_movie.mrc": (4, 8, 4, 8),
    "formats/de/ROI_Random_Scan_movie.mrc": (29, 12, 16, 16),
    "formats/emd/Si100_4D.emd": (11, 11, 8, 8),
    "formats/emd/py4DSTEM_size2x3x4x5.h5": (2, 3, 4, 5),
    "formats/empad/map4x4.xml": (4, 4, 128, 128),
    "formats/empad/scan_x4_y4.raw": (4, 4, 128, 128),
    "formats/fpd/fpd_file_test.hdf5": (2, 2, 256, 256),
    "formats/merlin/001_4x2_6bit.hdr": (2, 4, 256, 256),
    "formats/merlin/001_4x2_6bit.mib": (2, 4, 256, 256),
    "formats/merlin/002_4x2_6bit_roi128.hdr": (2, 4, 128, 256),
    "formats/merlin/002_4x2_6bit_roi128.mib": (2, 4, 128, 256),
    "multislice_cu_cu2o/scan.hspy": (40, 48, 128, 128),
}
#: Stacks: number of patterns, and one shape that they can be given.
STACKS = {
    "ag_sped/SPED_Ag_labels_sum_signal.hspy": (5, (1, 5)),
    "formats/arina/test_00_data_000001.h5": (16, (4, 4)),
    "formats/dm/dmTest_3D_int16_64_65_66.dm4": (66, (6, 11)),
    "formats/hyperspy/signal2d_20x10x10-ragged_markers.zspy": (20, (4, 5)),
    "formats/tia/128x128x5-diffraction_preview.emi": (5, (1, 5)),
    "formats/tia/128x128x5-diffraction_preview_1.ser": (5, (1, 5)),
    "formats/tvips/test_tvips_2233_000.tvips": (4, (2, 2)),
    "formats/tvips/test_tvips_2345_000.tvips": (6, (2, 3)),
    "formats/tvips/test_tvips_2345_split_000.tvips": (6, (2, 3)),
}
#: What holds no scan, and words of the reason.
REFUSED = {
    "ag_sped/SPED_Ag_labels.hspy": "masks",
    "calibration/au_xgrating_20cm.tif": "single image",
    "calibration/moo3_20cm.tif": "single image",
    "formats/arina/test_00.h5": "no stack of patterns",
    "formats/de/ROI_Random_Scan_Sum.mrc": "single image of 29 x 12",
    "formats/dm/EELS_SI.dm4": "spectra",
    "formats/dm/dd020.dm3": "single image of 256 x 256",
    "formats/emd/STEM_HAADF_Diffraction_Micro.emd": "single image of 128 x 128",
    "formats/merlin/test_CL30cm.hdr": "single image of 256 x 256",
    "formats/merlin/test_CL30cm.mib": "single image of 256 x 256",
    "formats/tvips/test_tvips_2345_split_001.tvips": "open its first part, test_tvips_2345_split_000.tvips",
    "formats/tvips/test_tvips_2345_split_002.tvips": "open its first part, test_tvips_2345_split_000.tvips",
    "lco_bragg_peaks/braggdisks_cali.h5": "holds Bragg peaks",
}
#: voltage in kV, pixel size in Å⁻¹, scan step in nm, convergence angle in mrad, as far as the file tells.
CALIBRATIONS = {
    "ag_sped/semi_real_scan.h5": (None, None, None, None),
    "austenite_nbed/subset_data.hspy": (None, 0.01261, 2, None),
    "bent_ni_scan/scan.hspy": (300, 0.0315, 3, 1.6),
    "blockfile/test1.blo": (200, None, 12.8, None),
    "formats/arina/test_00_master.h5": (300, None, None, None),
    "formats/de/20241021_00405_movie.mrc": (300, None, None, None),
    "formats/emd/Si100_4D.emd": (None, 0.0184162, 0.5, None),
    "formats/emd/py4DSTEM_size2x3x4x5.h5": (None, 0.0442516, 0.126797, None),
    "formats/empad/map4x4.xml": (300, 0.0182654, 1141.586, None),
    "formats/fpd/fpd_file_test.hdf5": (None, None, None, None),
    "formats/merlin/001_4x2_6bit.mib": (None, None, None, None),
    "multislice_cu_cu2o/scan.hspy": (300, 0.03125, 2, 1.5),
}
#: Files that rosettasciio also reads at once: what comes lazily must be the same.
EAGER = {
    "formats/blockfile/test1.blo": "blockfile",
    "formats/empad/map4x4.xml": "empad",
    "formats/merlin/001_4x2_6bit.mib": "quantumdetector",
    "formats/merlin/002_4x2_6bit_roi128.mib": "quantumdetector",
    "formats/de/20241021_00405_movie.mrc": "mrc",
    "multislice_cu_cu2o/scan.hspy": "hspy",
}


def existing(measured_data: Path, name: str) -> Path:
    path = measured_data / name
    if not path.exists():
        pytest.skip(f"{name} is not among the measured data")
    return path


def check_lazily_whole(cube: DataCube, shape: tuple[int, ...]) -> None:
    assert cube.data.shape == shape
    assert cube.data.chunksize[2:] == shape[2:]
    assert cube.data.dtype.isnative
    positions = [block.positions for block in cube.scan_blocks()]
    assert np.array_equal(np.sort(np.concatenate(positions)), np.arange(cube.n_positions))
    last = cube.pattern(shape[0] - 1, shape[1] - 1)
    assert last.shape == shape[2:]


@pytest.mark.parametrize("name", SCANS)
def test_scans_open_lazily_with_their_shape(measured_data: Path, name: str) -> None:
    check_lazily_whole(open_datacube(existing(measured_data, name)), SCANS[name])


@pytest.mark.parametrize("name", STACKS)
def test_stacks_ask_for_a_scan_shape_and_open_with_it(measured_data: Path, name: str) -> None:
    n_frames, scan_shape = STACKS[name]
    path = existing(measured_data, name)
    with pytest.raises(NeedsScanShape) as question:
        open_datacube(path)
    assert question.value.n_frames == n_frames
    assert question.value.proposals[0] == scan_shape
    cube = open_datacube(path, scan_shape=scan_shape)
    check_lazily_whole(cube, (*scan_shape, *cube.detector_shape))


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_the_reason(measured_data: Path, name: str) -> None:
    with pytest.raises(UnreadableScan) as error:
        open_datacube(existing(measured_data, name))
    assert REFUSED[name] in str(error.value)


def test_every_file_with_data_is_in_one_of_the_tables(measured_data: Path) -> None:
    known = {*SCANS, *STACKS, *REFUSED}
    folders = [measured_data / "formats", measured_data / "blockfile", measured_data / "calibration"]
    files = {
        file.relative_to(measured_data).as_posix()
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in (".txt", ".csv", ".md")
    }
    assert files <= known


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibration_is_what_the_file_tells_and_no_more(measured_data: Path, name: str) -> None:
    calibration = open_datacube(existing(measured_data, name)).calibration
    found = (
        calibration.voltage_kv,
        calibration.pixel_size_inv_angstrom,
        calibration.scan_step_nm,
        calibration.convergence_angle_mrad,
    )
    for value, expected in zip(found, CALIBRATIONS[name], strict=True):
        assert value == (None if expected is None else pytest.approx(expected, rel=1e-4))


@pytest.mark.parametrize("name", EAGER)
def test_lazy_equals_eager(measured_data: Path, name: str) -> None:
    path = existing(measured_data, name)
    reader = importlib.import_module(f"rsciio.{EAGER[name]}").file_reader
    assert np.array_equal(open_datacube(path).data.compute(), reader(str(path))[0]["data"])


def test_arina_equals_what_rosettasciio_reads_at_once(measured_data: Path) -> None:
    from rsciio.arina import file_reader

    path = existing(measured_data, "formats/arina/test_00_master.h5")
    masked = np.iinfo(np.uint16).max
    eager = file_reader(str(path))[0]["data"]
    assert np.array_equal(open_datacube(path).data.compute(), np.where(eager == masked, 0, eager))


def test_merlin_patterns_stand_upright(measured_data: Path) -> None:
    """Merlin writes the lowest row of the detector first."""
    merlin = open_datacube(existing(measured_data, "formats/merlin/002_4x2_6bit_roi128.mib"))
    raw = np.fromfile(merlin.path, dtype=np.uint8)[-128 * 256 :].reshape(128, 256)
    assert np.array_equal(merlin.pattern(1, 3), raw[::-1])


def test_a_random_scan_is_put_in_order(measured_data: Path) -> None:
    """The patterns of a DE scan in random order go where its list of coordinates says."""
    path = existing(measured_data, "formats/de/ROI_Random_Scan_movie.mrc")
    coordinates = np.loadtxt(path.with_name("ROI_Random_Scan_scan_coordinates.csv"), delimiter=",", dtype=int)
    raw = np.fromfile(path, dtype="<u2")[-348 * 16 * 16 :].reshape(348, 16, 16)
    cube = open_datacube(path)
    for frame in (0, 100, 347):
        x, y = coordinates[frame]
        assert np.array_equal(cube.pattern(y, x), raw[frame])


def test_thicknesses_of_a_simulated_scan_are_datasets_to_choose_from(measured_data: Path) -> None:
    path = existing(measured_data, "formats/emd/Si100_4D.emd")
    names = [info.name for info in list_datasets(path)]
    assert [name.split("/")[-2] for name in names] == ["CBED_array_depth0000", "CBED_array_depth0001"]
    patterns = [open_datacube(path, dataset=name).pattern(5, 5) for name in names]
    assert not np.array_equal(*patterns)


@pytest.mark.parametrize(
    "name",
    [
        "formats/arina/test_00_data_000001.h5",
        "formats/blockfile/test1.blo",
        "formats/de/20241021_00405_movie.mrc",
        "formats/dm/dmTest_3D_int16_64_65_66.dm4",
        "formats/emd/py4DSTEM_size2x3x4x5.h5",
        "formats/fpd/fpd_file_test.hdf5",
        "formats/tia/128x128x5-diffraction_preview_1.ser",
        "multislice_cu_cu2o/scan.hspy",
    ],
)
def test_a_truncated_file_of_any_format_is_refused(measured_data: Path, tmp_path: Path, name: str) -> None:
    path = existing(measured_data, name)
    copy = tmp_path / path.name
    whole = path.read_bytes()
    copy.write_bytes(whole[: int(0.6 * len(whole))])
    with pytest.raises(UnreadableScan, match=r"truncated|damaged"):
        open_datacube(copy, scan_shape=STACKS.get(name, (0, None))[1])


def test_an_interrupted_merlin_scan_keeps_its_whole_rows(measured_data: Path, tmp_path: Path) -> None:
    path = existing(measured_data, "formats/merlin/001_4x2_6bit.mib")
    whole = path.read_bytes()
    (tmp_path / path.name).write_bytes(whole[: int(0.6 * len(whole))])
    shutil.copy(path.with_suffix(".hdr"), tmp_path)
    with pytest.raises(NeedsScanShape) as asked:
        open_datacube(tmp_path / path.name)  # a guess from its length would be another geometry
    assert (asked.value.n_frames, asked.value.n_promised) == (4, 8)
    assert "holds 4 patterns of the 8 that its header tells of" in str(asked.value)
    cube = open_datacube(tmp_path / path.name, scan_shape=(1, 4))
    assert np.array_equal(cube.data.compute()[0], open_datacube(path).data.compute()[0])


def test_no_frame_of_a_merlin_file_is_dropped_in_silence(measured_data: Path, tmp_path: Path) -> None:
    path = existing(measured_data, "formats/merlin/001_4x2_6bit.mib")
    whole = path.read_bytes()
    one_more = tmp_path / path.name
    one_more.write_bytes(whole + whole[: len(whole) // 8])  # 8 frames of the same size, and the first again
    shutil.copy(path.with_suffix(".hdr"), tmp_path)
    with pytest.raises(WrongFrameCount, match=r"9 frames.*One too many for 2 x 4"):
        open_datacube(one_more, scan_shape=(2, 4))
    with pytest.raises(NeedsScanShape, match="9 patterns"):
        open_datacube(one_more)
    cube = open_datacube(one_more, scan_shape=(2, 4), last_frame=7)
    assert np.array_equal(cube.data.compute(), open_datacube(path).data.compute())
    with pytest.raises(WrongFrameCount, match="8 frames"):
        open_datacube(path, scan_shape=(1, 7))


def test_empad_names_the_missing_raw_file(measured_data: Path, tmp_path: Path) -> None:
    shutil.copy(existing(measured_data, "formats/empad/map4x4.xml"), tmp_path)
    with pytest.raises(UnreadableScan, match=r"scan_x4_y4\.raw, which is missing"):
        open_datacube(tmp_path / "map4x4.xml")


def test_scans_are_no_peaks(measured_data: Path) -> None:
    assert not is_peaks_file(existing(measured_data, "multislice_cu_cu2o/scan.hspy"))
    assert is_peaks_file(existing(measured_data, "lco_bragg_peaks/braggdisks_cali.h5"))
