"""BraggPeaks keep a list of peaks for every probe position, flat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import BraggPeaks, DetectedBlock
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.ragged import offsets_from_counts

CALIBRATION = Calibration(
    voltage_kv=300,
    pixel_size_inv_angstrom=0.02,
    origin_px=(31.0, 32.5),
    scan_rotation_deg=25,
    flip=True,
    ellipse_ratio=1.03,
    ellipse_angle_deg=40,
)
counts_of_a_scan = st.lists(st.integers(0, 6), min_size=6, max_size=6)


def lists_of(counts: list[int], seed: int = 0) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [np.column_stack([rng.uniform(-1, 1, (n, 2)), rng.uniform(0, 9, n)]) for n in counts]


def block_of(peaks: BraggPeaks, positions: list[int]) -> DetectedBlock:
    part = peaks.select(positions)
    return DetectedBlock(
        part.positions, part.x_px, part.y_px, part.intensity, part.offsets, Progress(0, 1, "patterns")
    )


@given(counts_of_a_scan)
def test_lists_come_back_as_they_went_in(counts: list[int]) -> None:
    lists = lists_of(counts)
    peaks = BraggPeaks.from_lists(lists, (2, 3), CALIBRATION)
    assert peaks.counts().tolist() == counts
    for position, expected in enumerate(lists):
        assert np.allclose(peaks.at(*divmod(position, 3)), expected, atol=1e-6)


@settings(deadline=None)
@given(counts_of_a_scan, st.permutations(range(6)), st.integers(0, 6), st.integers(1, 4))
def test_blocks_in_any_order_give_the_same_peaks(
    counts: list[int], order: list[int], n_done: int, size: int
) -> None:
    whole = BraggPeaks.from_lists(lists_of(counts), (2, 3), CALIBRATION)
    done = order[:n_done]
    blocks = [block_of(whole, done[start : start + size]) for start in range(0, n_done, size)]
    peaks = BraggPeaks.from_blocks(blocks, scan_shape=(2, 3), calibration=CALIBRATION)
    assert peaks.detected.tolist() == [position in done for position in range(6)]
    for position in range(6):
        expected = whole.at(*divmod(position, 3)) if position in done else np.zeros((0, 3))
        assert np.allclose(peaks.at(*divmod(position, 3)), expected, atol=1e-5)


def test_a_later_block_replaces_an_earlier_one() -> None:
    old = BraggPeaks.from_lists(lists_of([2, 1, 0, 3, 0, 1]), (2, 3), CALIBRATION)
    new = BraggPeaks.from_lists(lists_of([1, 4, 2, 0, 5, 1], seed=1), (2, 3), CALIBRATION)
    peaks = BraggPeaks.from_blocks(
        [old.as_block(), block_of(new, [1, 3])], scan_shape=(2, 3), calibration=CALIBRATION
    )
    assert peaks.counts().tolist() == [2, 4, 0, 0, 0, 1]
    assert np.allclose(peaks.at(0, 1), new.at(0, 1), atol=1e-5)


@given(counts_of_a_scan)
def test_a_new_calibration_and_the_old_one_again_change_nothing(counts: list[int]) -> None:
    peaks = BraggPeaks.from_lists(lists_of(counts), (2, 3), CALIBRATION)
    other = Calibration(pixel_size_inv_angstrom=0.05, origin_px=(3, 4), scan_rotation_deg=-70)
    back = peaks.with_calibration(other).with_calibration(CALIBRATION)
    assert np.allclose(back.q_x, peaks.q_x, atol=1e-5)
    assert np.allclose(back.q_y, peaks.q_y, atol=1e-5)


def test_a_larger_pixel_stretches_q() -> None:
    peaks = BraggPeaks.from_lists(lists_of([3] * 6), (2, 3), CALIBRATION)
    larger = peaks.with_calibration(CALIBRATION.updated(pixel_size_inv_angstrom=0.04))
    assert np.allclose(larger.q_x, 2 * peaks.q_x, atol=1e-5)


def test_origins_of_the_positions_move_with_the_calibration() -> None:
    origins = np.array([[30.0, 33.0], [32.0, 32.0]])
    peaks = BraggPeaks.from_lists(lists_of([1, 1]), (1, 2), CALIBRATION, origin_px=origins)
    kept = peaks.with_calibration(CALIBRATION.updated(scan_rotation_deg=0))
    assert np.allclose(kept.origin_px, origins)
    moved = peaks.with_calibration(CALIBRATION.updated(origin_px=(32.0, 32.5)))
    assert np.allclose(moved.origin_px, origins + np.array([1, 0]))
    measured = peaks.with_calibration(CALIBRATION, origin_px=(1, 2))
    assert np.allclose(measured.origin_px, [[1, 2], [1, 2]])
    assert np.allclose(measured.origin_at(0, 1), [1, 2])


def test_each_of_many_positions_has_its_own_origin() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, 5000)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    x_px, y_px = rng.uniform(0, 64, (2, offsets[-1])).astype(np.float32)
    origin = rng.normal(32, 2, (5000, 2)).astype(np.float32)
    peaks = BraggPeaks(
        x_px=x_px,
        y_px=y_px,
        intensity=x_px,
        offsets=offsets,
        scan_shape=(50, 100),
        calibration=Calibration(),
    ).with_calibration(Calibration(pixel_size_inv_angstrom=0.5), origin_px=origin)
    position = np.repeat(np.arange(5000), counts)
    np.testing.assert_allclose(peaks.q_x, 0.5 * (x_px - origin[position, 1]), atol=1e-5)
    np.testing.assert_allclose(peaks.q_y, 0.5 * (y_px - origin[position, 0]), atol=1e-5)


def test_peaks_without_pixels_get_such_that_fit_a_nominal_pixel_size() -> None:
    lists = lists_of([2, 0, 3, 1, 1, 1])
    peaks = BraggPeaks.from_lists(lists, (2, 3), Calibration(voltage_kv=300))
    assert peaks.calibration.pixel_size_inv_angstrom == 0.01
    assert min(peaks.x_px.min(), peaks.y_px.min()) >= 0
    again = peaks.with_calibration(peaks.calibration)
    assert np.allclose(again.q_x, peaks.q_x, atol=1e-5)


def test_without_an_origin_the_middle_of_the_detector_is_taken() -> None:
    block = DetectedBlock(
        np.array([0]),
        np.array([4.0]),
        np.array([7.0]),
        np.ones(1),
        np.array([0, 1]),
        Progress(1, 1, "patterns"),
    )
    peaks = BraggPeaks.from_blocks(
        [block], scan_shape=(1, 1), calibration=Calibration(), detector_shape=(9, 9)
    )
    assert peaks.at(0, 0).tolist() == [[0.0, 3.0, 1.0]]
    with pytest.raises(ValueError, match="set origin_px"):
        BraggPeaks.from_blocks([block], scan_shape=(1, 1), calibration=Calibration())


def test_a_scan_without_any_peak_is_fine() -> None:
    peaks = BraggPeaks.from_blocks([], scan_shape=(4, 5), calibration=Calibration(), detector_shape=(8, 8))
    assert peaks.n_peaks == 0
    assert not peaks.detected.any()
    assert peaks.at(3, 4).shape == (0, 3)
    assert peaks.with_calibration(CALIBRATION).counts().sum() == 0


def test_a_selection_keeps_the_order_asked_for() -> None:
    peaks = BraggPeaks.from_lists(lists_of([2, 0, 3, 1, 1, 1]), (2, 3), CALIBRATION)
    part = peaks.select([2, 0])
    assert part.counts().tolist() == [3, 2]
    assert np.array_equal(part.q_x[:3], peaks.at(0, 2)[:, 0])
    assert peaks.select(peaks.counts() == 1).positions.tolist() == [3, 4, 5]


def test_positions_outside_the_scan_are_named() -> None:
    peaks = BraggPeaks.from_lists(lists_of([1] * 6), (2, 3), CALIBRATION)
    with pytest.raises(IndexError, match=r"row 2, column 0.*2 x 3"):
        peaks.at(2, 0)


def test_lists_that_do_not_fill_the_scan_are_refused() -> None:
    with pytest.raises(ValueError, match="5 lists of peaks do not fill a scan of 2 x 3"):
        BraggPeaks.from_lists(lists_of([1] * 5), (2, 3), CALIBRATION)
    peaks = BraggPeaks.from_lists(lists_of([1] * 6), (2, 3), CALIBRATION)
    with pytest.raises(ValueError, match="never decrease"):
        replace(peaks, offsets=peaks.offsets[::-1])
    with pytest.raises(ValueError, match="offsets ask for"):
        replace(peaks, x_px=peaks.x_px[1:])
    with pytest.raises(ValueError, match="detected has"):
        replace(peaks, detected=np.ones(3, bool))
    with pytest.raises(ValueError, match="origin_px has"):
        replace(peaks, origin_px=np.ones((3, 2)))


def test_the_fingerprint_changes_with_peaks_and_calibration() -> None:
    peaks = BraggPeaks.from_lists(lists_of([1] * 6), (2, 3), CALIBRATION)
    same = BraggPeaks.from_lists(lists_of([1] * 6), (2, 3), CALIBRATION)
    assert peaks.fingerprint == same.fingerprint
    assert peaks.with_calibration(CALIBRATION.updated(voltage_kv=200)).fingerprint != peaks.fingerprint
    other = BraggPeaks.from_lists(lists_of([1] * 6, seed=2), (2, 3), CALIBRATION)
    assert other.fingerprint != peaks.fingerprint


def test_the_fingerprint_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = BraggPeaks.from_lists(lists_of([1] * 6), (2, 3), CALIBRATION).with_fingerprint()
    known = peaks.fingerprint
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.blake2b", None)
        assert peaks.fingerprint == known
    weaker = replace(peaks, intensity=0.5 * peaks.intensity)
    assert weaker.fingerprint != known
    assert replace(weaker, intensity=peaks.intensity).fingerprint == known


def test_arrays_are_compact() -> None:
    peaks = BraggPeaks.from_lists(lists_of([2] * 6), (2, 3), CALIBRATION)
    assert peaks.q_x.dtype == np.float32
    assert peaks.offsets.dtype == np.int64
    assert np.array_equal(offsets_from_counts([2] * 6), peaks.offsets)


def test_the_reach_of_disks_does_not_depend_on_how_much_vacuum_there_is() -> None:
    direct_beam = np.array([[0.0, 0.004, 1e4]])
    disks = np.array([[0.01 * i, 0.0, 10.0] for i in range(50, 150)])
    lists = [np.concatenate([direct_beam, disks]), *[direct_beam] * 9999]
    peaks = BraggPeaks.from_lists(lists, (100, 100), Calibration(pixel_size_inv_angstrom=0.01))
    assert peaks.reach(part=0.995) == pytest.approx(1.49, abs=0.01)
    vacuum = BraggPeaks.from_lists(lists[1:5], (2, 2), Calibration(pixel_size_inv_angstrom=0.01))
    assert vacuum.reach(part=0.995) == 0


def test_scattering_vectors_are_worked_out_once_when_they_are_first_asked_for() -> None:
    calibration = Calibration(pixel_size_inv_angstrom=0.02, origin_px=(30.0, 32.0))
    given = BraggPeaks.from_lists(lists_of([2, 0, 3, 1, 1, 1]), (2, 3), calibration)
    derived = given.with_calibration(calibration.updated(ellipse_ratio=1.02))
    assert derived.q_as_given is None
    assert derived.q_x is derived.q_x
    assert derived.q_x.dtype == np.float32
    x, y = calibration.updated(ellipse_ratio=1.02).pixels_to_q(derived.x_px, derived.y_px)
    np.testing.assert_array_equal(derived.q_x, x.astype(np.float32))
    np.testing.assert_array_equal(derived.q_y, y.astype(np.float32))


def test_vectors_that_were_given_stay_to_the_last_digit_until_the_calibration_is_another_one() -> None:
    calibration = Calibration(pixel_size_inv_angstrom=0.02, origin_px=(30.0, 32.0))
    peaks = BraggPeaks.from_lists(lists_of([2, 0, 3, 1, 1, 1]), (2, 3), calibration)
    q_x, fingerprint = peaks.q_x, peaks.fingerprint
    assert replace(peaks, name="other").q_x is q_x
    confirmed = peaks.with_checked(calibration.with_checked("ellipse"))
    assert confirmed.q_x is q_x
    assert confirmed.fingerprint == fingerprint
    with pytest.raises(ValueError, match="use with_calibration"):
        peaks.with_checked(calibration.updated(pixel_size_inv_angstrom=0.03))
    with pytest.raises(ValueError, match="q_y has shape"):
        replace(peaks, q_as_given=(peaks.q_x, peaks.q_y[1:]))
