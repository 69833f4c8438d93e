"""DataCube reads a scan lazily, block by block."""

from __future__ import annotations

import math
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import (
    BLOCK_BYTES,
    DataCube,
    chunked_by_pattern,
    scan_shape_proposals,
    stack_to_scan,
)


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


def test_blocks_never_read_a_chunk_twice() -> None:
    reads: list[object] = []

    def read(block: np.ndarray, block_id: tuple[int, ...] = ()) -> np.ndarray:
        reads.append(block_id)
        return block

    source = da.zeros((12, 10, 4, 6), chunks=(5, 4, 4, 6), dtype=np.uint8)
    cube = DataCube(source.map_blocks(read, dtype=np.uint8, meta=np.empty(0, np.uint8)), Calibration())
    n_blocks = sum(1 for _ in cube.scan_blocks(max_bytes=20 * 4 * 6))
    assert n_blocks > 1
    assert len(reads) == len(set(reads)) == 9


def test_a_scan_must_have_four_axes_of_real_numbers() -> None:
    with pytest.raises(ValueError, match="four axes"):
        DataCube(da.zeros((3, 4, 5)), Calibration())
    with pytest.raises(ValueError, match="real numbers"):
        DataCube(da.zeros((2, 2, 4, 4), dtype=complex), Calibration())
    with pytest.raises(ValueError, match="empty"):
        DataCube(da.zeros((0, 2, 4, 4)), Calibration())


def test_chunks_never_divide_a_pattern_and_stay_small() -> None:
    data = chunked_by_pattern(da.zeros((64, 64, 256, 256), dtype=np.uint16, chunks=(64, 64, 64, 64)))
    assert data.chunksize[2:] == (256, 256)
    assert math.prod(data.chunksize) * 2 <= BLOCK_BYTES
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


def test_a_calibration_is_exchanged_without_touching_the_data() -> None:
    cube = numbered((2, 2))
    calibrated = cube.with_calibration(Calibration(voltage_kv=80))
    assert calibrated.calibration.voltage_kv == 80
    assert calibrated.data is cube.data
