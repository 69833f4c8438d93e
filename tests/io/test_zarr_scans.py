"""Scans in zarr folders and zips, as zarr 2 and 3 write them, open as they are; what is not in them is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_stem_orient.io.scan_source import NeedsScanShape, UnreadableScan
from napari_stem_orient.io.scans import list_datasets, open_datacube
from napari_stem_orient.io.zspy_files import write_zspy
from scan_files import SCAN, STACK, hyperspy_signal


def write(path: Path, data: np.ndarray = SCAN, **options: Any) -> Any:
    array = zarr.create_array(
        str(path), shape=data.shape, dtype=data.dtype, config={"write_empty_chunks": True}, **options
    )
    array[...] = data
    return array


#: How programs write arrays: name -> data and options of zarr.
KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "v2 blosc": (SCAN, {"zarr_format": 2, "chunks": (2, 3, 8, 8), "compressors": numcodecs.Blosc("zstd")}),
    "v2 raw": (SCAN, {"zarr_format": 2, "chunks": (4, 6, 8, 8), "compressors": None}),
    "v2 nested, chunks across the detector": (
        SCAN,
        {
            "zarr_format": 2,
            "chunks": (2, 2, 4, 8),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        },
    ),
    "v2 filters": (
        SCAN.astype(np.uint16),
        {
            "zarr_format": 2,
            "chunks": (2, 6, 8, 8),
            "filters": [numcodecs.Delta(dtype="u2"), numcodecs.Shuffle(2)],
            "compressors": numcodecs.GZip(),
        },
    ),
    "v2 Fortran order, big endian": (
        SCAN.astype(">u2"),
        {"zarr_format": 2, "chunks": (2, 3, 8, 8), "order": "F"},
    ),
    "v3 zstd": (SCAN, {"zarr_format": 3, "chunks": (3, 4, 8, 8), "compressors": ZstdCodec()}),
    "v3 gzip, float": (
        SCAN.astype(np.float32),
        {"zarr_format": 3, "chunks": (1, 6, 8, 8), "compressors": GzipCodec()},
    ),
    "v3 shards": (
        SCAN,
        {"zarr_format": 3, "chunks": (1, 2, 8, 8), "shards": (2, 6, 8, 8), "compressors": BloscCodec()},
    ),
    "v3 chunk names of v2": (
        SCAN,
        {
            "zarr_format": 3,
            "chunks": (2, 3, 8, 8),
            "chunk_key_encoding": {"name": "v2", "separator": "."},
        },
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_both_formats_open_as_they_were_written(tmp_path: Path, kind: str) -> None:
    data, options = KINDS[kind]
    write(tmp_path / "scan.zarr", data, **options)
    cube = open_datacube(tmp_path / "scan.zarr")
    assert cube.data.dtype.isnative
    assert np.array_equal(cube.data.compute(), SCAN)
    assert np.array_equal(cube.pattern(3, 5), SCAN[3, 5])
    assert cube.missing is None
    assert cube.notes == ()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_scans_in_nested_groups_are_found_and_named(tmp_path: Path, zarr_format: int, zipped: bool) -> None:
    path = tmp_path / "scans.zarr"
    store: Any = zarr.storage.ZipStore(path, mode="w") if zipped else str(path)
    root = zarr.create_group(store, zarr_format=zarr_format)
    root.create_array("specimen/area 1/thin", data=SCAN)
    root.create_array("specimen/area 1/thick", data=SCAN[::-1])
    root.create_array("labels", data=np.zeros((4, 6)))
    if zipped:
        store.close()
    names = [info.name for info in list_datasets(path)]
    assert sorted(names) == ["specimen/area 1/thick", "specimen/area 1/thin"]
    cube = open_datacube(path, dataset="specimen/area 1/thin")
    assert np.array_equal(cube.data.compute(), SCAN)


def test_a_stack_in_zarr_asks_for_its_scan_shape(tmp_path: Path) -> None:
    write(tmp_path / "stack.zarr", STACK, zarr_format=3, chunks=(5, 8, 8))
    with pytest.raises(NeedsScanShape, match="24 patterns"):
        open_datacube(tmp_path / "stack.zarr")
    cube = open_datacube(tmp_path / "stack.zarr", scan_shape=(4, 6))
    assert np.array_equal(cube.data.compute(), SCAN)


# --- what is not in the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "n_chunks"),
    [("v2 blosc", 4), ("v3 zstd", 4), ("v3 shards", 12), ("v2 nested, chunks across the detector", 12)],
)
def test_positions_that_an_interrupted_recording_never_wrote_are_told_and_missing(
    tmp_path: Path, kind: str, n_chunks: int
) -> None:
    data, options = KINDS[kind]
    array = zarr.create_array(str(tmp_path / "scan.zarr"), shape=data.shape, dtype=data.dtype, **options)
    rows = array.shards[0] if array.shards else array.chunks[0]
    written = rows if kind != "v3 shards" else 1  # one row of the shard's two
    array[:written] = data[:written]
    cube = open_datacube(tmp_path / "scan.zarr")
    expected = np.zeros((4, 6), dtype=bool)
    expected[written:] = True
    assert cube.missing is not None
    assert np.array_equal(cube.missing, expected)
    assert cube.n_missing == int(expected.sum())
    (note,) = cube.notes
    assert f"of {array.nchunks} chunks are not in the file and count as 0" in note
    assert f"no pattern at {cube.n_missing} positions" in note
    assert array.nchunks == n_chunks or kind == "v2 nested, chunks across the detector"


def test_chunks_that_are_missing_in_a_stack_are_missing_in_the_scan(tmp_path: Path) -> None:
    array = zarr.create_array(
        str(tmp_path / "stack.zarr"), shape=STACK.shape, dtype=STACK.dtype, chunks=(4, 8, 8)
    )
    array[:16] = STACK[:16]
    cube = open_datacube(tmp_path / "stack.zarr", scan_shape=(4, 6))
    assert cube.missing is not None
    assert np.flatnonzero(cube.missing).tolist() == list(range(16, 24))
    assert "frames 17 to 24" in cube.notes[0]


def test_an_empty_corner_of_the_detector_makes_no_pattern_missing(tmp_path: Path) -> None:
    # counting detectors leave corners without a count, and zarr leaves chunks without a value out
    data = SCAN.copy()
    data[..., :4, :4] = 0
    array = zarr.create_array(
        str(tmp_path / "scan.zarr"), shape=data.shape, dtype=data.dtype, chunks=(4, 6, 4, 4)
    )
    array[...] = data
    cube = open_datacube(tmp_path / "scan.zarr")
    assert cube.missing is None
    assert "1 of 4 chunks are not in the file" in cube.notes[0]
    assert "part of the detector" in cube.notes[0]


@pytest.mark.parametrize("compressors", [None, BloscCodec()], ids=["raw", "blosc"])
def test_a_damaged_chunk_is_named_and_not_taken_for_data(tmp_path: Path, compressors: Any) -> None:
    write(tmp_path / "scan.zarr", zarr_format=3, chunks=(2, 3, 8, 8), compressors=compressors)
    chunk = tmp_path / "scan.zarr" / "c" / "0" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises((UnreadableScan, OSError), match=r"scan\.zarr.*(damaged|truncated)"):
        open_datacube(tmp_path / "scan.zarr").data.compute()


def test_a_folder_that_lost_its_description_is_refused_in_words(tmp_path: Path) -> None:
    write(tmp_path / "scan.zarr", zarr_format=2, chunks=(2, 3, 8, 8))
    for hidden in (tmp_path / "scan.zarr").glob(".z*"):
        hidden.unlink()
    with pytest.raises(UnreadableScan, match=r"Names that begin with a dot are easily left behind"):
        open_datacube(tmp_path / "scan.zarr")


# --- HyperSpy's .zspy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_hyperspy_axes_and_metadata_are_read_in_both_formats(tmp_path: Path, zarr_format: int) -> None:
    path = tmp_path / "scan.zspy"
    root = zarr.create_group(str(path), zarr_format=zarr_format, attributes={"file_format": "ZSpy"})
    group = root.create_group("Experiments").create_group("a scan")
    group.create_array("data", data=SCAN, chunks=(2, 3, 8, 8))
    for index, axis in enumerate(hyperspy_signal(SCAN)["axes"]):
        group.create_group(f"axis-{index}", attributes=axis)
    group.create_group("metadata").create_group("Acquisition_instrument").create_group(
        "TEM", attributes={"beam_energy": 200.0, "convergence_angle": "_None_"}
    )
    group.create_group("learning_results").create_array("factors", data=np.zeros((3, 5, 5)))
    cube = open_datacube(path)
    assert np.array_equal(cube.data.compute(), SCAN)
    assert cube.calibration.voltage_kv == 200
    assert cube.calibration.pixel_size_inv_angstrom == pytest.approx(0.025)
    assert cube.calibration.scan_step_nm == pytest.approx(2)
    assert cube.calibration.convergence_angle_mrad is None


def test_lists_beside_the_patterns_do_not_keep_a_file_from_opening(tmp_path: Path) -> None:
    path = tmp_path / "scan.zspy"
    write_zspy(path, hyperspy_signal(SCAN))
    ragged(path / "Experiments" / "__unnamed__" / "metadata" / "markers", (4, 6))
    assert np.array_equal(open_datacube(path).data.compute(), SCAN)


def test_ragged_signals_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "peaks.zspy"
    write_zspy(path, hyperspy_signal(SCAN))
    data = path / "Experiments" / "__unnamed__" / "data"
    ragged(data, (4, 6))
    with pytest.raises(
        UnreadableScan, match=r"lists of varying length \(4 x 6\) and no diffraction patterns"
    ):
        open_datacube(path)


def ragged(folder: Path, shape: tuple[int, ...]) -> None:
    """An array of lists as zarr 2 describes it; zarr 3 knows no such type."""
    folder.mkdir(exist_ok=True)
    described = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": shape,
        "dtype": "|O",
        "filters": [{"id": "vlen-array", "dtype": "<f8"}],
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "dimension_separator": "/",
    }
    (folder / ".zarray").write_text(json.dumps(described))


def test_a_zspy_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "scan.zspy"
    empty = np.zeros_like(SCAN)
    write_zspy(path, hyperspy_signal(empty), chunks=(2, 3, 8, 8))
    cube = open_datacube(path)
    assert cube.missing is None  # patterns that nothing reached are data
    with pytest.raises(FileExistsError, match="choose another name"):
        write_zspy(path, hyperspy_signal(SCAN))
    with pytest.raises(TypeError):
        write_zspy(tmp_path / "broken.zspy", {**hyperspy_signal(SCAN), "axes": [{"scale": object()}]})
    assert [file.name for file in tmp_path.iterdir()] == ["scan.zspy"]
