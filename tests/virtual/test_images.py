"""Virtual images count what lies on the detectors, in one pass, wherever the direct beam has drifted to."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.virtual.detector import VirtualDetector, annular_dark_field, bright_field
from napari_stem_orient.virtual.images import VirtualBlock, beam_origins, virtual_images

Result = TypeVar("Result")
Record = TypeVar("Record")

SCAN, DETECTOR = (4, 6), (24, 32)


def finished(job: Generator[Record, None, Result]) -> tuple[list[Record], Result]:
    records = []
    while True:
        try:
            records.append(next(job))
        except StopIteration as end:
            return records, end.value


def drifting_patterns() -> tuple[np.ndarray, np.ndarray]:
    """A beam pixel of 1000 that moves a column right with each row of the scan, and a spot 8 columns from it.

    The spot of flat position i holds i counts. Returns patterns (4, 6, 24, 32) and origins (24, 2).
    """
    patterns = np.zeros((*SCAN, *DETECTOR), dtype=np.uint16)
    origins = np.empty((24, 2))
    for index in range(24):
        y, x = divmod(index, 6)
        origins[index] = 12, 10 + y
        patterns[y, x, 12, 10 + y] = 1000
        patterns[y, x, 12, 18 + y] = index
    return patterns, origins


def cube_of(patterns: np.ndarray, *, chunks: Any = (2, 3, -1, -1), **calibration: Any) -> DataCube:
    return DataCube(da.from_array(patterns, chunks=chunks), Calibration(**calibration))


def test_detectors_count_the_pixels_on_them_while_the_beam_drifts() -> None:
    patterns, origins = drifting_patterns()
    detectors = [
        bright_field(1.5),
        annular_dark_field(3, 10),
        VirtualDetector(name="spot", centre_px=(0, 8), outer_radius_px=1.5),
        VirtualDetector(name="fixed", centre_px=(12, 18), follows_beam=False, outer_radius_px=0.5),
    ]
    _, result = finished(virtual_images(cube_of(patterns), detectors, origin_px=origins))
    spot = np.arange(24, dtype=np.float32).reshape(SCAN)
    assert result.images.dtype == np.float32
    np.testing.assert_array_equal(result.images[0], np.full(SCAN, 1000))
    np.testing.assert_array_equal(result.images[1], spot)
    np.testing.assert_array_equal(result.images[2], spot)
    np.testing.assert_array_equal(result.images[3][0], spot[0])  # there before the beam moves on
    np.testing.assert_array_equal(result.images[3][1:], 0)
    assert result.detectors == tuple(detectors)


def test_one_origin_for_all_positions_is_that_of_the_calibration() -> None:
    patterns, _ = drifting_patterns()
    _, result = finished(virtual_images(cube_of(patterns, origin_px=(12.0, 11.0)), [bright_field(0.5)]))
    np.testing.assert_array_equal(result.images[0], [[0] * 6, [1000] * 6, [0] * 6, [0] * 6])


def test_an_unknown_direct_beam_is_looked_for_in_the_patterns() -> None:
    rows, columns = np.indices(DETECTOR)
    beam = np.hypot(rows - 9, columns - 20) <= 3
    cube = cube_of(np.broadcast_to(50 * beam, (*SCAN, *DETECTOR)).astype(np.float32))
    assert beam_origins(cube) == pytest.approx((9, 20), abs=0.1)


def test_positions_whose_beam_is_unknown_take_the_mean_of_the_others() -> None:
    patterns, origins = drifting_patterns()
    origins[:, 1] = 10
    origins[5] = np.nan
    np.testing.assert_array_equal(beam_origins(cube_of(patterns), origins)[5], (12, 10))


def test_masked_pixels_count_for_no_detector_and_invalid_ones_as_nothing() -> None:
    patterns, origins = drifting_patterns()
    numbers = patterns.astype(np.float32)
    numbers[0, 0, 12, 12] = np.nan
    mask = np.zeros(DETECTOR, dtype=bool)
    mask[12, 10] = True  # the beam of the first row of the scan
    _, result = finished(virtual_images(cube_of(numbers), [bright_field(4)], origin_px=origins, mask=mask))
    np.testing.assert_array_equal(result.images[0], [[0] * 6, [1000] * 6, [1000] * 6, [1000] * 6])
    assert (result.n_invalid, result.n_masked, result.origin_px) == (1, 1, (12, 11.5))


@pytest.mark.parametrize("detector", [bright_field(4), annular_dark_field(1, 20)], ids=["small", "large"])
def test_pixels_that_do_not_count_make_no_pattern_invalid(detector: VirtualDetector) -> None:
    patterns, origins = drifting_patterns()
    numbers = patterns.astype(np.float32)
    numbers[..., 12, 13] = np.nan  # in the way, but masked
    numbers[..., 0, 31] = np.inf
    numbers[2, 3, 12, 14] = np.nan
    mask = np.zeros(DETECTOR, dtype=bool)
    mask[12, 13] = mask[0, 31] = True
    _, result = finished(virtual_images(cube_of(numbers), [detector], origin_px=origins, mask=mask))
    assert result.n_invalid == 1


def test_a_mask_that_leaves_nothing_is_refused() -> None:
    patterns, _ = drifting_patterns()
    with pytest.raises(ValueError, match="covers the whole detector"):
        next(virtual_images(cube_of(patterns), [bright_field(4)], mask=np.ones(DETECTOR, dtype=bool)))


def test_every_chunk_is_read_once_for_all_detectors() -> None:
    patterns, origins = drifting_patterns()
    read: list[Any] = []

    def block(block_info: Any = None) -> np.ndarray:
        where = tuple(slice(*span) for span in block_info[None]["array-location"])
        read.append(where[:2])
        return patterns[where]

    data = da.map_blocks(
        block, chunks=((2, 2), (3, 3), (24,), (32,)), dtype=patterns.dtype, meta=patterns[:0, :0]
    )
    detectors = [bright_field(1.5), annular_dark_field(3, 10)]
    blocks, result = finished(virtual_images(DataCube(data, Calibration()), detectors, origin_px=origins))
    assert len(read) == 4
    assert blocks[-1].progress.done == blocks[-1].progress.total == 24
    assert not np.isnan(result.images).any()


def test_a_coarse_image_comes_first_where_little_has_to_be_read_for_it() -> None:
    patterns = np.arange(40 * 40, dtype=np.float32).reshape(40, 40, 1, 1) * np.ones((1, 1, 8, 8), np.float32)
    detector = bright_field(0.5)
    options: dict[str, Any] = {"origin_px": (4, 4), "coarse_first": True}
    blocks, result = finished(
        virtual_images(cube_of(patterns, chunks=(1, 40, -1, -1)), [detector], **options)
    )
    coarse = [block for block in blocks if block.progress.done == 0]
    positions = np.concatenate([block.positions for block in coarse])
    assert np.unique(positions // 40).tolist() == [5, 15, 25, 35]  # a tenth of the chunks, a row each
    assert np.unique(positions % 40).tolist() == list(range(40))
    np.testing.assert_array_equal(np.concatenate([block.counts[0] for block in coarse]), positions)
    np.testing.assert_array_equal(result.images[0].ravel(), np.arange(1600))
    whole, _ = finished(virtual_images(cube_of(patterns, chunks=(40, 40, -1, -1)), [detector], **options))
    assert whole[0].progress.done > 0


def test_a_stopped_job_has_filled_what_its_blocks_say() -> None:
    patterns, origins = drifting_patterns()
    job = virtual_images(cube_of(patterns), [bright_field(1.5)], origin_px=origins)
    block = next(job)
    job.close()
    assert isinstance(block, VirtualBlock)
    np.testing.assert_array_equal(block.counts, 1000)


def test_what_cannot_be_counted_is_refused_in_words() -> None:
    cube = cube_of(drifting_patterns()[0])
    with pytest.raises(ValueError, match="add at least one"):
        next(virtual_images(cube, []))
    far = VirtualDetector(name="too far", centre_px=(0, 40))
    with pytest.raises(
        ValueError, match=r"“too far” lies outside the detector of 24 x 32 px, at row 12.0, column 50.0"
    ):
        next(virtual_images(cube, [far], origin_px=(12, 10)))
    with pytest.raises(ValueError, match=r"have shape \(3, 2\); the scan needs \(24, 2\)"):
        next(virtual_images(cube, [bright_field(2)], origin_px=np.ones((3, 2))))
    with pytest.raises(ValueError, match=r"detector mask has shape \(4, 4\)"):
        next(virtual_images(cube, [bright_field(2)], origin_px=(12, 10), mask=np.zeros((4, 4))))


def test_a_small_and_a_large_detector_count_alike_wherever_the_beam_is() -> None:
    """The same disk, once as it is and once as a large annulus whose outside is empty."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices((48, 48))
    origins = np.round(rng.uniform(22, 26, (12, 2)) * 4) / 4
    distance = np.hypot(rows - origins[:, :1, None], columns - origins[:, 1:, None])
    patterns = rng.poisson(50, (12, 48, 48)) * (distance <= 7)
    detectors = [bright_field(8.0), VirtualDetector(outer_radius_px=20.0)]
    mask = rng.random((48, 48)) < 0.1
    cube = cube_of(patterns.reshape(3, 4, 48, 48).astype(np.int32))
    _, result = finished(virtual_images(cube, detectors, origin_px=origins, mask=mask))
    np.testing.assert_array_equal(result.images[0].ravel(), (patterns * ~mask).sum(axis=(1, 2)))
    np.testing.assert_array_equal(result.images[1], result.images[0])
