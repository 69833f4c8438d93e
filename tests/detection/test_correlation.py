"""The detector finds the disks that are there, where they are, as strong as they are, and little else."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from detection_frames import KnownFrames, as_datacube, disk_image, known_frames
from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.frames import WITHOUT_PATTERN, positions_without_pattern
from napari_stem_orient.detection import correlation
from napari_stem_orient.detection.correlation import (
    collect_peaks,
    describe,
    detect_bragg_peaks,
    detect_in_frames,
)
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe


def parameters_for(radius: float, **changes: object) -> DetectionParameters:
    return DetectionParameters(**{"min_spacing_px": 2 * radius, "edge_px": radius, **changes})


def compare(known: KnownFrames, found: DetectedBlock, tolerance: float = 1.0) -> dict[str, float]:
    """Recall, false peaks a frame, rms position error in px (each axis) and median relative intensity error."""
    errors, ratios, hits = [], [], 0
    for frame in range(len(known.frames)):
        part = slice(found.offsets[frame], found.offsets[frame + 1])
        dy = found.y_px[part][:, None] - known.y_px[frame]
        dx = found.x_px[part][:, None] - known.x_px[frame]
        distance = np.hypot(dy, dx)
        if distance.size == 0:
            continue
        nearest = distance.argmin(axis=0)
        matched = np.flatnonzero(distance.min(axis=0) < tolerance)
        hits += len(matched)
        errors += [dy[nearest[k], k] for k in matched] + [dx[nearest[k], k] for k in matched]
        ratios += [found.intensity[part][nearest[k]] / known.counts[frame, k] for k in matched]
    n = len(known.frames)
    return {
        "recall": hits / known.y_px.size,
        "false": (len(found.x_px) - hits) / n,
        "error": float(np.sqrt(np.mean(np.square(errors)))),
        "intensity": float(np.median(ratios)),
    }


def finish(job: Generator[DetectedBlock, None, BraggPeaks]) -> tuple[list[DetectedBlock], BraggPeaks]:
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as stop:
            return blocks, stop.value


@pytest.mark.parametrize("radius", [2.0, 3.0, 6.0])
def test_strong_disks_are_all_found_within_a_tenth_of_a_pixel(radius: float) -> None:
    known = known_frames(24, radius=radius, disks=5, counts=(300, 5000), shape=(128, 128))
    result = compare(
        known,
        detect_in_frames(
            known.frames, probe=synthetic_probe(radius, (128, 128)), parameters=parameters_for(radius)
        ),
    )
    assert result["recall"] == 1
    assert result["false"] < 0.3
    assert result["error"] < 0.12
    assert result["intensity"] == pytest.approx(1, abs=0.08)


def test_disks_of_fifteen_electrons_are_found_in_a_sparse_background() -> None:
    known = known_frames(60, radius=2.5, disks=8, counts=(15, 15.01), background=0.05, direct=10000)
    found = detect_in_frames(
        known.frames, probe=synthetic_probe(2.5, (96, 96)), parameters=parameters_for(2.5)
    )
    result = compare(known, found, tolerance=1.5)
    assert result["recall"] > 0.9
    assert result["false"] < 0.3
    assert result["error"] < 0.45


@pytest.mark.parametrize("background", [0.02, 0.3, 5.0, 200.0])
def test_noise_alone_gives_few_false_disks_at_any_dose(background: float) -> None:
    frames = np.random.default_rng(5).poisson(background, (60, 128, 128))
    found = detect_in_frames(frames, probe=synthetic_probe(2.5, (128, 128)), parameters=parameters_for(2.5))
    assert found.counts().mean() < 0.3


def test_a_weak_disk_beside_a_strong_one_is_found() -> None:
    y, x = np.array([48.0, 48.0]), np.array([48.0, 58.5])
    image = disk_image((96, 96), y, x, np.array([9000.0, 60.0]), 2.5) + 0.2
    frames = np.random.default_rng(0).poisson(image, (20, 96, 96))
    found = detect_in_frames(frames, probe=synthetic_probe(2.5, (96, 96)), parameters=parameters_for(2.5))
    beside = np.hypot(found.y_px - 48, found.x_px - 58.5) < 1
    assert beside.sum() >= 18


def test_upsampled_positions_are_better_than_whole_pixels() -> None:
    known = known_frames(20, radius=3.0, disks=6, counts=(3000, 9000))
    probe = synthetic_probe(3.0, (96, 96))
    errors = {
        subpixel: compare(
            known,
            detect_in_frames(known.frames, probe=probe, parameters=parameters_for(3.0, subpixel=subpixel)),
        )["error"]
        for subpixel in ("none", "parabola", "upsampled")
    }
    assert errors["upsampled"] < 0.06
    assert errors["parabola"] < 0.08
    assert errors["none"] > 0.2


@pytest.mark.parametrize("power", [0.0, 0.5, 0.9])
def test_phase_and_hybrid_correlation_find_the_same_strong_disks(power: float) -> None:
    known = known_frames(10, radius=4.0, disks=4, counts=(3000, 9000), direct=9000)
    found = detect_in_frames(
        known.frames,
        probe=synthetic_probe(4.0, (96, 96)),
        parameters=parameters_for(4.0, correlation_power=power, min_relative_intensity=0.1),
    )
    result = compare(known, found)
    assert result["recall"] > 0.95
    assert result["error"] < 0.3


def test_spots_are_found_without_a_disk_template() -> None:
    rows, columns = np.ogrid[:90, :90]
    rng = np.random.default_rng(2)
    places = rng.uniform(12, 78, (6, 2))
    image = 10.0 + sum(
        400 * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 1.2**2) for y, x in places
    )
    found = detect_in_frames(
        rng.poisson(image), probe=synthetic_probe(1.4, (90, 90)), parameters=parameters_for(1.4, mode="spots")
    )
    distance = np.hypot(found.y_px[:, None] - places[:, 0], found.x_px[:, None] - places[:, 1])
    assert (distance.min(axis=0) < 0.15).all()


def test_thresholds_rank_and_number_are_obeyed() -> None:
    known = known_frames(10, disks=8, counts=(200, 4000), direct=9000)
    probe = synthetic_probe(3.0, (96, 96))
    everything = detect_in_frames(known.frames, probe=probe, parameters=parameters_for(3.0))
    few = detect_in_frames(known.frames, probe=probe, parameters=parameters_for(3.0, max_peaks=3))
    assert few.counts().max() == 3
    relative = detect_in_frames(
        known.frames,
        probe=probe,
        parameters=parameters_for(3.0, min_relative_intensity=0.5, relative_to_rank=1),
    )
    absolute = detect_in_frames(
        known.frames, probe=probe, parameters=parameters_for(3.0, min_absolute_intensity=999)
    )
    assert absolute.intensity.min() >= 999
    for frame in range(10):
        strengths = everything.intensity[everything.offsets[frame] : everything.offsets[frame + 1]]
        assert (np.diff(strengths) <= 0).all()
        assert relative.counts()[frame] == (strengths >= 0.5 * strengths[1]).sum()


def test_spacing_and_edge_are_obeyed() -> None:
    known = known_frames(10, disks=8)
    found = detect_in_frames(
        known.frames,
        probe=synthetic_probe(3.0, (96, 96)),
        parameters=parameters_for(3.0, min_spacing_px=25, edge_px=20),
    )
    assert found.y_px.min() >= 20
    assert found.x_px.max() <= 75
    for frame in range(10):
        part = slice(found.offsets[frame], found.offsets[frame + 1])
        distance = np.hypot(
            found.y_px[part][:, None] - found.y_px[part], found.x_px[part][:, None] - found.x_px[part]
        )
        assert distance[~np.eye(len(distance), dtype=bool)].min(initial=99) >= 25


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32, np.float64])
def test_any_detector_type_gives_the_same_peaks(dtype: type) -> None:
    known = known_frames(4, counts=(100, 800), direct=4000)
    probe, parameters = synthetic_probe(3.0, (96, 96)), parameters_for(3.0)
    frames = np.minimum(known.frames, 250)
    expected = detect_in_frames(frames, probe=probe, parameters=parameters)
    found = detect_in_frames(frames.astype(dtype), probe=probe, parameters=parameters)
    np.testing.assert_allclose(found.x_px, expected.x_px, atol=1e-4)


@pytest.mark.parametrize("shape", [(90, 97), (101, 64)])
def test_a_detector_need_not_be_square(shape: tuple[int, int]) -> None:
    known = known_frames(6, shape=shape, disks=3, counts=(800, 2000))
    result = compare(
        known,
        detect_in_frames(known.frames, probe=synthetic_probe(3.0, shape), parameters=parameters_for(3.0)),
    )
    assert result["recall"] == 1
    assert result["error"] < 0.1


def test_empty_broken_and_saturated_frames_do_no_harm() -> None:
    known = known_frames(6, disks=3, counts=(800, 2000))
    frames = known.frames.copy()
    frames[1] = 0
    frames[2] = np.nan
    frames[3] = np.inf
    frames[4, 5, 6] = 65535
    frames[5, 40:44, :] = 0
    frames[5, 7, 7] = np.nan
    datacube = as_datacube(frames, (2, 3))
    _, peaks = finish(
        detect_bragg_peaks(
            datacube, probe=synthetic_probe(3.0, (96, 96)), parameters=parameters_for(3.0), device="cpu"
        )
    )
    assert peaks.counts()[1:4].tolist() == [0, 0, 0]
    assert peaks.counts()[0] == 4
    assert peaks.detected.all()
    assert peaks.parameters["unreadable_frames"] == 3
    assert np.isfinite(peaks.x_px).all()
    assert np.isfinite(peaks.intensity).all()


def test_a_template_of_another_detector_is_refused() -> None:
    with pytest.raises(ValueError, match="from this scan"):
        detect_in_frames(
            np.zeros((1, 64, 64)), probe=synthetic_probe(3.0, (96, 96)), parameters=parameters_for(3.0)
        )


@pytest.fixture
def scan() -> tuple[KnownFrames, NDArray[np.float32]]:
    known = known_frames(24, shape=(64, 64), disks=3, counts=(500, 2000), radius=2.5)
    return known, known.frames


def test_the_whole_scan_equals_its_frames(scan: tuple[KnownFrames, NDArray[np.float32]]) -> None:
    known, frames = scan
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    blocks, peaks = finish(
        detect_bragg_peaks(as_datacube(frames, (4, 6)), probe=probe, parameters=parameters, device="cpu")
    )
    expected = detect_in_frames(frames, probe=probe, parameters=parameters)
    np.testing.assert_array_equal(peaks.offsets, expected.offsets)
    np.testing.assert_allclose(peaks.x_px, expected.x_px, atol=1e-3)
    np.testing.assert_allclose(peaks.y_px, expected.y_px, atol=1e-3)
    assert blocks[-1].progress.done == 24
    assert sum(len(block.positions) for block in blocks) == 24
    assert peaks.parameters["detection"] == parameters.model_dump(mode="json")
    assert peaks.origin_px is not None
    assert peaks.source_fingerprint is not None
    distance = np.hypot(peaks.origin_px[:, 0] - known.y_px[:, 0], peaks.origin_px[:, 1] - known.x_px[:, 0])
    assert distance.mean() < 1.5


def test_small_batches_and_records_give_the_same(
    scan: tuple[KnownFrames, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frames = scan
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    expected = detect_in_frames(frames, probe=probe, parameters=parameters)
    monkeypatch.setitem(correlation.BATCH_PIXELS, "cpu", 64 * 64 * 5)
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    blocks, peaks = finish(
        detect_bragg_peaks(as_datacube(frames, (4, 6)), probe=probe, parameters=parameters, device="cpu")
    )
    assert len(blocks) >= 5
    np.testing.assert_array_equal(peaks.offsets, expected.offsets)
    np.testing.assert_allclose(peaks.x_px, expected.x_px, atol=1e-3)


def test_a_stopped_detection_is_resumed_without_reading_again(
    scan: tuple[KnownFrames, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frames = scan
    datacube = as_datacube(frames, (4, 6))
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    _, whole = finish(detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu"))
    monkeypatch.setitem(correlation.BATCH_PIXELS, "cpu", 64 * 64 * 5)
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    job = detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu")
    first = next(job)
    job.close()
    partial = collect_peaks(
        datacube, [first], description=describe(probe, parameters, detector="correlation")
    )
    assert partial.detected.sum() == len(first.positions)
    blocks, resumed = finish(
        detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu", resume_from=partial)
    )
    again = np.concatenate([block.positions for block in blocks])
    assert not np.isin(again, first.positions).any()
    assert blocks[-1].progress.done == 24
    assert resumed.detected.all()
    np.testing.assert_array_equal(resumed.offsets, whole.offsets)
    np.testing.assert_allclose(resumed.x_px, whole.x_px, atol=1e-3)
    blocks, same = finish(
        detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu", resume_from=resumed)
    )
    assert blocks == []
    np.testing.assert_array_equal(same.offsets, whole.offsets)


def test_frames_that_were_unreadable_before_a_stop_are_told_of_after_it(
    scan: tuple[KnownFrames, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = scan[1].copy()
    frames[[0, 23], 3, 3] = np.nan
    datacube = as_datacube(frames, (4, 6))
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    monkeypatch.setitem(correlation.BATCH_PIXELS, "cpu", 64 * 64 * 5)
    monkeypatch.setattr(correlation, "SECONDS_PER_RECORD", 0.0)
    job = detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu")
    first = next(job)
    job.close()
    made = describe(probe, parameters, detector="correlation")
    partial = collect_peaks(datacube, [first], description=made)
    assert partial.parameters["unreadable_frames"] == 1
    _, whole = finish(
        detect_bragg_peaks(datacube, probe=probe, parameters=parameters, device="cpu", resume_from=partial)
    )
    assert whole.parameters["unreadable_frames"] == 2


def test_the_direct_beam_is_looked_for_where_the_calibration_says() -> None:
    # behind a beam stop the direct beam is weak, and a reflection near the middle outshines it everywhere
    rows, columns = np.mgrid[:64, :64]
    image = sum(
        height / (1 + np.exp(3 * (np.hypot(rows - y, columns - x) - 2.5)))
        for y, x, height in [(32, 30, 500), (44, 42, 100)]
    )
    datacube = as_datacube(np.broadcast_to(1 + image, (6, 64, 64)).astype(np.float32), (2, 3))
    known = datacube.calibration.updated(origin_px=(43.0, 43.0)).with_checked("origin", "ellipse")
    told = datacube.with_calibration(known)
    for cube, truth in ((datacube, (32, 30)), (told, (44, 42))):
        job = detect_bragg_peaks(cube, probe=synthetic_probe(2.5, (64, 64)), parameters=parameters_for(2.5))
        _, peaks = finish(job)
        assert peaks.origin_px is not None
        np.testing.assert_allclose(peaks.origin_px, np.tile(truth, (6, 1)), atol=0.1)
    assert peaks.calibration.checked == ("ellipse",)  # this origin nobody has calibrated yet


def test_peaks_of_another_scan_or_other_parameters_are_not_resumed(
    scan: tuple[KnownFrames, NDArray[np.float32]],
) -> None:
    _, frames = scan
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    _, peaks = finish(detect_bragg_peaks(as_datacube(frames, (4, 6)), probe=probe, parameters=parameters))
    with pytest.raises(ValueError, match="detect anew"):
        next(
            detect_bragg_peaks(
                as_datacube(frames, (3, 8)), probe=probe, parameters=parameters, resume_from=peaks
            )
        )
    other = parameters_for(2.5, max_peaks=7)
    with pytest.raises(ValueError, match="other parameters"):
        next(
            detect_bragg_peaks(as_datacube(frames, (4, 6)), probe=probe, parameters=other, resume_from=peaks)
        )
    wider = synthetic_probe(3.0, (64, 64))
    with pytest.raises(ValueError, match="another template"):
        next(
            detect_bragg_peaks(
                as_datacube(frames, (4, 6)), probe=wider, parameters=parameters, resume_from=peaks
            )
        )
    with pytest.raises(ValueError, match="another scan"):
        next(
            detect_bragg_peaks(
                as_datacube(frames + 1, (4, 6)), probe=probe, parameters=parameters, resume_from=peaks
            )
        )


def test_a_batch_that_does_not_fit_is_halved(
    scan: tuple[KnownFrames, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frames = scan
    probe, parameters = synthetic_probe(2.5, (64, 64)), parameters_for(2.5)
    expected = detect_in_frames(frames, probe=probe, parameters=parameters)
    original = correlation.find_frame_peaks
    sizes: list[int] = []

    def small_memory(batch: torch.Tensor, *rest: object, **keywords: object) -> correlation.FramePeaks:
        sizes.append(len(batch))
        if len(batch) > 8:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(batch, *rest, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(correlation, "find_frame_peaks", small_memory)
    found = detect_in_frames(frames, probe=probe, parameters=parameters, device="cpu")
    assert max(sizes) == 24
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_allclose(found.x_px, expected.x_px, atol=1e-3)


@pytest.mark.gpu
def test_the_accelerator_finds_what_the_cpu_finds() -> None:
    known = known_frames(20)
    probe, parameters = synthetic_probe(3.0, (96, 96)), parameters_for(3.0)
    on_cpu = detect_in_frames(known.frames, probe=probe, parameters=parameters, device="cpu")
    elsewhere = detect_in_frames(known.frames, probe=probe, parameters=parameters, device="auto")
    assert abs(on_cpu.counts() - elsewhere.counts()).sum() <= 2
    assert compare(known, elsewhere)["error"] == pytest.approx(compare(known, on_cpu)["error"], abs=0.01)


def test_peaks_keep_the_positions_of_which_the_scan_has_no_pattern_and_can_be_gone_on_with() -> None:
    known = known_frames(12, radius=4.0, disks=4, shape=(64, 64))
    missing = np.zeros((3, 4), dtype=bool)
    missing[1, 2:] = missing[2, 0] = True
    frames = known.frames.astype(np.uint16)
    frames[missing.ravel()] = 0
    cube = replace(as_datacube(frames, (3, 4)), missing=missing)
    probe, parameters = synthetic_probe(4.0, (64, 64)), parameters_for(4.0)
    _, peaks = finish(correlation.detect_bragg_peaks(cube, probe=probe, parameters=parameters, device="cpu"))
    assert peaks.parameters[WITHOUT_PATTERN] == "7-9"
    assert np.flatnonzero(positions_without_pattern(peaks.parameters, 12)).tolist() == [6, 7, 8]
    job = correlation.detect_bragg_peaks(
        cube, probe=probe, parameters=parameters, device="cpu", resume_from=peaks
    )
    assert finish(job)[1].parameters == peaks.parameters
