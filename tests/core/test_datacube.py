"""DataCube reads a scan lazily, block by block."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube, chunked_by_pattern, scan_shape_proposals, stack_to_scan
from napari_stem_orient.core.scan_reading import BLOCK_BYTES, SLAB_BYTES, FramesInFile


def numbered(scan_shape: tuple[int, int], chunks: tuple[int, int] = (2, 3)) -> DataCube:
    """A scan whose patterns hold their own flat position."""
    values = np.arange(math.prod(scan_shape), dtype=np.uint16).reshape(*scan_shape, 1, 1)
    frames = np.broadcast_to(values, (*scan_shape, 4, 6)).copy()
    return DataCube(da.from_array(frames, chunks=(*chunks, -1, -1)), Calibration())


def test_a_pattern_is_read_by_row_and_column() -> None:
    cube = numbered((3, 5))
    assert cube.scan_shape == (3, 5)
    assert cube.detector_shape == (4, 6)
    pattern = cube.pattern(1, 2)
    assert pattern.dtype == np.float32
    assert (pattern == 7).all()
    with pytest.raises(IndexError, match=r"row 3, column 0.*3 x 5"):
        cube.pattern(3, 0)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 2000),
    st.none() | st.integers(0, 2**16),
)
def test_blocks_hold_every_wanted_pattern_once(
    scan_shape: tuple[int, int], chunks: tuple[int, int], max_bytes: int, seed: int | None
) -> None:
    cube = numbered(scan_shape, chunks)
    mask = None if seed is None else np.random.default_rng(seed).random(scan_shape) < 0.3
    seen = []
    for block in cube.scan_blocks(max_bytes=max_bytes, positions=mask):
        assert block.frames.dtype == np.uint16
        assert block.frames.nbytes <= max(max_bytes, 48)
        assert (block.frames == block.positions[:, None, None]).all()
        seen += block.positions.tolist()
    wanted = range(cube.n_positions) if mask is None else np.flatnonzero(mask)
    assert sorted(seen) == list(wanted)


class CountingFile:
    """An array in a file that hands out zeros without making them, and keeps what was read of it."""

    dtype = np.dtype(np.uint16)

    def __init__(self, *shape: int) -> None:
        self.shape, self.ndim = shape, len(shape)
        self.reads: list[tuple[slice, ...]] = []

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        self.reads.append(index)
        sizes = [part.stop - part.start for part in index]
        return np.broadcast_to(np.zeros((), self.dtype), sizes)

    def lazily(self, chunks: tuple[int, ...]) -> da.Array:
        return da.from_array(self, chunks=chunks, asarray=False, meta=np.empty(0, self.dtype))

    def in_order(self) -> list[tuple[int, ...]]:
        """First element of each read; the reads of two threads may change places."""
        return sorted(tuple(part.start for part in index) for index in self.reads)

    @property
    def times_over(self) -> float:
        """How many times over the file was read."""
        sizes = [math.prod(part.stop - part.start for part in index) for index in self.reads]
        return sum(sizes) / math.prod(self.shape)


@pytest.mark.parametrize(
    ("scan_shape", "chunks"),
    [
        ((12, 10), (5, 4, 4, 6)),  # chunks that do not divide the scan
        ((12, 10), (12, 10, 2, 3)),  # one chunk across the scan, the detector in pieces
        ((12, 10), (1, 3, 4, 6)),
        ((40, 2), (17, 1, 4, 2)),
        ((1, 100), (1, 7, 4, 6)),
    ],
)
@pytest.mark.parametrize("patterns_a_block", [1, 7, 25, 1000])
def test_blocks_read_the_chunks_of_a_file_once(
    scan_shape: tuple[int, int], chunks: tuple[int, ...], patterns_a_block: int
) -> None:
    file = CountingFile(*scan_shape, 4, 6)
    cube = DataCube(file.lazily(chunks), Calibration())
    blocks = list(cube.scan_blocks(max_bytes=patterns_a_block * 48))
    assert sum(len(block.positions) for block in blocks) == cube.n_positions
    assert max(len(block.positions) for block in blocks) <= patterns_a_block
    assert file.times_over == 1


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 13),
    st.integers(1, 40),
    st.none() | st.integers(0, 2**16),
)
def test_a_stack_is_read_chunk_by_chunk_though_chunks_end_within_rows(
    scan_shape: tuple[int, int], chunk: int, patterns_a_block: int, seed: int | None
) -> None:
    numbers = np.arange(math.prod(scan_shape), dtype=np.uint16)
    stack = da.from_array(np.broadcast_to(numbers[:, None, None], (len(numbers), 4, 6)), chunks=(chunk, 4, 6))
    scan = stack_to_scan(stack, scan_shape)
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(stack, scan))
    assert cube.in_file is not None
    mask = None if seed is None else np.random.default_rng(seed).random(scan_shape) < 0.2
    seen = []
    for block in cube.scan_blocks(max_bytes=patterns_a_block * 48, positions=mask):
        assert (block.frames == block.positions[:, None, None]).all()
        assert len(block.positions) <= patterns_a_block
        rows, columns = np.divmod(block.positions, scan_shape[1])
        if mask is None:  # a rectangle
            assert len(np.unique(rows)) * len(np.unique(columns)) == len(block.positions)
        seen += block.positions.tolist()
    assert seen == list(range(cube.n_positions) if mask is None else np.flatnonzero(mask))


@pytest.mark.parametrize("patterns_a_block", [105, 150, 1000])
def test_what_is_left_of_a_stack_is_complete_wherever_it_begins(patterns_a_block: int) -> None:
    stack = da.from_array(np.zeros((300, 4, 6), np.uint16), chunks=(10, 4, 6))
    scan = stack_to_scan(stack, (3, 100))
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(stack, scan))
    for first in range(0, 300, 7):
        wanted = np.arange(first, 300)
        blocks = cube.scan_blocks(positions=wanted, max_bytes=patterns_a_block * 48)
        assert np.concatenate([block.positions for block in blocks]).tolist() == wanted.tolist()


@pytest.mark.parametrize("columns", [10, 16, 90, 360])
def test_a_stack_is_read_once(columns: int) -> None:
    file = CountingFile(720, 4, 6)
    stack = file.lazily((64, 4, 6))
    scan = stack_to_scan(stack, (720 // columns, columns))
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(stack, scan))
    assert sum(len(block.positions) for block in cube.scan_blocks(max_bytes=100 * 48)) == 720
    assert file.times_over == 1
    assert [start for start, _, _ in file.in_order()] == list(range(0, 720, 64))


def test_chunks_are_read_in_the_order_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask.system.CPU_COUNT", 1)
    monkeypatch.setattr("dask.threaded.CPU_COUNT", 1)
    file = CountingFile(24, 10, 4, 6)
    cube = DataCube(file.lazily((1, 10, 4, 6)), Calibration())
    for _ in cube.scan_blocks(max_bytes=15 * 10 * 48):
        pass
    assert [index[0].start for index in file.reads] == list(range(24))


def test_a_cache_of_results_mixes_up_no_blocks() -> None:
    cache = pytest.importorskip("dask.cache", reason="cachey is not installed")
    cube = numbered((12, 9))
    with cache.Cache(1e9, limit=0):
        for _ in range(2):
            for block in cube.scan_blocks(max_bytes=40 * 48):
                assert (block.frames == block.positions[:, None, None]).all()


def test_patterns_that_are_not_wanted_are_not_read() -> None:
    file = CountingFile(24, 10, 4, 6)
    cube = DataCube(file.lazily((4, 10, 4, 6)), Calibration())
    blocks = list(cube.scan_blocks(positions=[3, 239], max_bytes=40 * 48))
    assert [block.positions.tolist() for block in blocks] == [[3], [239]]
    assert [start[0] for start in file.in_order()] == [0, 20]
    file.reads.clear()
    list(cube.scan_blocks(positions=[3, 50, 239]))  # all of the scan fits into a block
    assert [start[0] for start in file.in_order()] == [0, 4, 20]
    stack = CountingFile(240, 4, 6)
    lazy = stack.lazily((10, 4, 6))
    scan = stack_to_scan(lazy, (8, 30))
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(lazy, scan))
    blocks = list(cube.scan_blocks(positions=[3, 59, 61, 239], max_bytes=70 * 48))
    assert [p for block in blocks for p in block.positions] == [3, 59, 61, 239]
    assert [start[0] for start in stack.in_order()] == [0, 50, 60, 230]


def test_a_scan_of_100_gb_takes_no_more_memory_than_its_blocks() -> None:
    file = CountingFile(1024, 800, 256, 256)
    assert file.times_over == 0
    cube = DataCube(file.lazily((1, 512, 256, 256)), Calibration())
    assert cube.data.nbytes > 100e9
    tracemalloc.start()
    n_positions = sum(len(block.positions) for block in cube.scan_blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_positions == cube.n_positions
    assert file.times_over == 1
    assert peak < 3 * BLOCK_BYTES  # of which what is known of the chunks takes but a few MB


def test_a_stack_in_one_piece_or_cut_across_the_detector_is_read_whole() -> None:
    frames = np.broadcast_to(np.arange(24, dtype=np.uint16)[:, None, None], (24, 4, 6))
    stack = da.from_array(frames, chunks=(10, 2, 5))
    scan = stack_to_scan(stack, (4, 6))
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(stack, scan))
    assert cube.in_file is not None
    assert all((block.frames == block.positions[:, None, None]).all() for block in cube.scan_blocks())
    huge = da.zeros((8192, 256, 256), dtype=np.uint16, chunks=(8192, 256, 256))
    assert FramesInFile.of(huge, stack_to_scan(huge, (64, 128))) is None


def test_what_stood_for_the_file_does_not_stand_for_other_patterns() -> None:
    stack = da.zeros((24, 4, 6), dtype=np.uint16, chunks=(5, 4, 6))
    scan = stack_to_scan(stack, (4, 6))
    cube = DataCube(scan, Calibration(), in_file=FramesInFile.of(stack, scan))
    assert cube.with_calibration(Calibration(voltage_kv=80)).in_file is cube.in_file
    brighter = replace(cube, data=cube.data + 1)
    assert brighter.in_file is None
    assert all((block.frames == 1).all() for block in brighter.scan_blocks())


def test_a_scan_must_have_four_axes_of_real_numbers() -> None:
    with pytest.raises(ValueError, match="four axes"):
        DataCube(da.zeros((3, 4, 5)), Calibration())
    with pytest.raises(ValueError, match="real numbers"):
        DataCube(da.zeros((2, 2, 4, 4), dtype=complex), Calibration())
    with pytest.raises(ValueError, match="empty"):
        DataCube(da.zeros((0, 2, 4, 4)), Calibration())


def test_chunks_never_divide_a_pattern_and_stay_small() -> None:
    split = chunked_by_pattern(da.zeros((64, 64, 256, 256), dtype=np.uint16, chunks=(64, 32, 64, 64)))
    assert split.chunksize == (64, 32, 256, 256)  # cut, every chunk of the file would be read again
    huge = chunked_by_pattern(da.zeros((64, 128, 256, 256), dtype=np.uint16, chunks=(64, 128, 64, 64)))
    assert huge.chunksize[2:] == (256, 256)
    assert math.prod(huge.chunksize) * 2 <= BLOCK_BYTES < SLAB_BYTES
    wide = chunked_by_pattern(da.zeros((2, 4096, 512, 512), dtype=np.uint16, chunks=(1, 4096, 512, 512)))
    assert math.prod(wide.chunksize) * 2 <= BLOCK_BYTES


def test_proposals_are_complete_and_the_most_square_comes_first() -> None:
    assert scan_shape_proposals(100)[0] == (10, 10)
    assert scan_shape_proposals(24) == [(4, 6), (6, 4), (3, 8), (8, 3), (2, 12), (12, 2), (1, 24), (24, 1)]
    assert scan_shape_proposals(13) == [(1, 13), (13, 1)]
    with pytest.raises(ValueError, match="no scan shape"):
        scan_shape_proposals(0)


def test_a_wrong_scan_shape_names_one_that_fits() -> None:
    with pytest.raises(ValueError, match=r"scan shape 100 x 99 does not divide 10,000 frames; try 100 x 100"):
        stack_to_scan(da.zeros((10_000, 2, 2)), (100, 99))


def test_another_scan_shape_keeps_the_order_of_the_patterns() -> None:
    cube = numbered((3, 8)).reshaped((4, 6))
    assert cube.scan_shape == (4, 6)
    assert (cube.data[:, :, 0, 0].compute() == np.arange(24).reshape(4, 6)).all()
    assert numbered((3, 8)).reshaped((1, 24)).scan_shape == (1, 24)


def test_rows_larger_than_a_block_are_reshaped_without_being_joined() -> None:
    stack = da.zeros((8192, 256, 256), dtype=np.uint16, chunks=(64, 256, 256))
    scan = stack_to_scan(stack, (4, 2048))
    assert scan.shape == (4, 2048, 256, 256)
    assert math.prod(scan.chunksize) * 2 <= BLOCK_BYTES
    back = DataCube(scan, Calibration()).reshaped((2048, 4))
    assert back.scan_shape == (2048, 4)
    assert math.prod(back.data.chunksize) * 2 <= BLOCK_BYTES


def test_the_fingerprint_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "scan.npy"
    file.write_bytes(b"one")
    data = numbered((2, 2)).data
    first = DataCube(data, Calibration(), path=file).fingerprint
    assert DataCube(data, Calibration(voltage_kv=200), path=file).fingerprint == first
    file.write_bytes(b"three")
    assert DataCube(data, Calibration(), path=file).fingerprint != first
    assert numbered((2, 2)).fingerprint != numbered((2, 3)).fingerprint


def test_the_fingerprint_of_a_folder_follows_the_chunks_in_it(tmp_path: Path) -> None:
    """A chunk that is written anew changes neither size nor time of the folder."""
    folder = tmp_path / "scan.zarr"
    chunk = folder / "c" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"one")
    cube = DataCube(numbered((2, 2)).data, Calibration(), path=folder)
    before, time_of_folder = cube.fingerprint, folder.stat().st_mtime_ns
    chunk.write_bytes(b"two, and longer")
    assert folder.stat().st_mtime_ns == time_of_folder
    assert cube.fingerprint != before


def test_what_a_scan_was_opened_as_stays_though_its_file_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "scan.npy"
    file.write_bytes(b"one")
    cube = DataCube(numbered((2, 2)).data, Calibration(), path=file)
    assert cube.opened_as == cube.fingerprint
    file.write_bytes(b"another")
    calibrated = cube.with_calibration(Calibration(voltage_kv=200))
    assert calibrated.opened_as == cube.opened_as != cube.fingerprint
    assert DataCube(cube.data, Calibration(), path=file).opened_as == cube.fingerprint


def test_the_parts_of_one_file_are_different_scans(tmp_path: Path) -> None:
    file = tmp_path / "scan.npy"
    file.write_bytes(b"frames")
    data = numbered((2, 2)).data
    prints = {DataCube(data, Calibration(), path=file, part=part).fingerprint for part in ("", "a", "b")}
    assert len(prints) == 3


def test_a_calibration_is_exchanged_without_touching_the_data() -> None:
    cube = numbered((2, 2))
    calibrated = cube.with_calibration(Calibration(voltage_kv=80))
    assert calibrated.calibration.voltage_kv == 80
    assert calibrated.data is cube.data
