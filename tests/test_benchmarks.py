"""The benchmarks measure what they say: patterns are spoilt by as much, times add up, a perfect forecast is perfect."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.orientation import random_quaternions

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = (
    "ablation",
    "accuracy_bloch",
    "accuracy_measured",
    "ambiguity",
    "bloch_convergence",
    "calibration",
    "default_settings",
    "detector",
    "inspect_rate",
    "reading",
    "reliability",
    "scaling",
    "sizes",
    "speed",
    "template_score",
    "two_phases",
)

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are in the source tree only")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the folder as its scripts do, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin is not None and Path(origin).parent == FOLDER:
            del sys.modules[name]


def _patterns(known_patterns: ModuleType, n_patterns: int, n_disks: int) -> Any:
    """Patterns of a direct beam and some diffracted disks each, at random places."""
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(n_patterns):
        radius, angle = rng.uniform(0.5, 1.5, n_disks), rng.uniform(0, 2 * np.pi, n_disks)
        disks = np.stack([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(1, 2, n_disks)], axis=1)
        lists.append(np.vstack([[0.0, 0.0, 9.0], disks]))
    calibration = Calibration(voltage_kv=300.0, pixel_size_inv_angstrom=0.03)
    return known_patterns.KnownPatterns(
        BraggPeaks.from_lists(lists, (1, n_patterns), calibration),
        random_quaternions(n_patterns, rng),
        np.full(n_patterns, 100.0),
        np.zeros(n_patterns, dtype=np.int64),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_explains_itself(name: str) -> None:
    if name == "inspect_rate":
        pytest.importorskip("napari")
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "usage" in done.stdout


def test_degraded_patterns_lack_a_fifth_of_their_disks_and_have_two_more(benchmark: Any) -> None:
    known_patterns = benchmark("known_patterns")
    patterns = _patterns(known_patterns, 200, 10)
    worse = known_patterns.degraded(patterns, seed=1)
    assert set(worse.n_disks) == {1 + 8 + 2}
    direct = np.array([disks[0] for disks in worse.lists()])
    assert np.allclose(direct, [0, 0, 9], atol=1e-6)
    # The eight that are left are where they were but for noise and scale; intensities tell which is which.
    radii = []
    for before, after in zip(patterns.lists(), worse.lists(), strict=True):
        number = np.abs(before[:, None, 2] - after[None, 1:9, 2]).argmin(axis=0)
        radii.append(np.hypot(*after[1:9, :2].T) / np.hypot(*before[number, :2].T))
    scale = np.array([np.mean(ratio) for ratio in radii])
    assert np.abs(np.abs(scale - 1).mean() - known_patterns.SCALE_ERROR) < 0.003
    assert 0.3 < np.mean(scale > 1) < 0.7
    spread = np.concatenate([ratio - ratio.mean() for ratio in radii])
    assert 0.005 < spread.std() < 0.02


def test_patterns_come_back_from_the_file_that_they_were_kept_in(benchmark: Any, tmp_path: Path) -> None:
    known_patterns = benchmark("known_patterns")
    patterns = _patterns(known_patterns, 5, 3)
    path = tmp_path / "patterns.npz"
    assert known_patterns.cached(path, {"seed": 1}, lambda: patterns) is patterns
    again = known_patterns.cached(path, {"seed": 1}, lambda: pytest.fail("simulated twice"))
    assert np.array_equal(again.quaternion, patterns.quaternion)
    assert all(np.allclose(a, b) for a, b in zip(again.lists(), patterns.lists(), strict=True))
    with pytest.raises(SystemExit, match="name another file"):
        known_patterns.cached(path, {"seed": 2}, lambda: patterns)


def test_drawn_disks_lie_where_they_are_said_to_and_each_is_found_once(benchmark: Any) -> None:
    detector, known_disks = benchmark("detector"), benchmark("known_disks")
    known = known_disks.drawn_disks(n_frames=3, size=96, radius_px=3.0, electrons=1e6)
    rows, columns = np.mgrid[:96, :96]
    for number in range(3):
        here = known.frame == number
        near = np.hypot(rows - known.y_px[here, None, None], columns - known.x_px[here, None, None]) <= 6
        inside = known.frames[number][near.any(axis=0)].sum()
        assert inside / known.frames[number].sum() > 0.85 > near.any(axis=0).mean()
    intensity = np.arange(len(known.frame), 0.0, -1.0)
    twice = detector.Found(
        np.repeat(known.frame, 2),
        np.repeat(known.y_px, 2) + np.tile([0.1, 0.3], len(known.frame)),
        np.repeat(known.x_px, 2),
        np.repeat(intensity, 2) - np.tile([0.0, 0.5], len(known.frame)),
        1.0,
    )
    matched = detector.match(twice, known)
    assert np.array_equal(matched.disk[::2], np.arange(len(known.frame)))
    assert (matched.disk[1::2] == -1).all()
    assert matched.error_px[::2] == pytest.approx(0.1)


def test_an_inner_stage_is_not_counted_twice(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    stage_clock = benchmark("stage_clock")
    now = [0.0]
    monkeypatch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Work:
        def inner(self) -> None:
            now[0] += 10

        def outer(self) -> Iterator[int]:
            now[0] += 1
            self.inner()
            yield 1
            self.inner()
            now[0] += 2
            yield 2

    clock = stage_clock.StageClock(torch.device("cpu"))
    clock.watch(Work, "inner", "inference")
    clock.watch(Work, "outer", "neighbours")
    for _ in Work().outer():
        now[0] += 100
    seconds = clock.stop()
    assert (seconds["inference"], seconds["neighbours"], seconds["rest"]) == (20, 3, 200)


def test_a_tiled_scan_repeats_the_peaks_of_the_small_one(benchmark: Any) -> None:
    known_patterns, scaling = benchmark("known_patterns"), benchmark("scaling")
    single = _patterns(known_patterns, 6, 4).peaks
    base = BraggPeaks.from_lists([single.at(0, i) for i in range(6)], (2, 3), single.calibration)
    tiled = scaling.repeated(base, 5)
    assert tiled.scan_shape == (5, 5)
    assert np.allclose(tiled.at(3, 4), base.at(1, 1))
    assert np.allclose(scaling.repeated(base, 2).at(1, 1), base.at(1, 1))


def test_a_forecast_that_comes_true_on_average_has_no_calibration_error(benchmark: Any) -> None:
    reliability = benchmark("reliability")
    expected = np.repeat([0.7, 4.0, 30.0], 100)
    measured = expected * np.tile([0.0, 2.0], 150)
    assert reliability.Expectation(expected, measured).calibration_error == pytest.approx(0)
    too_sure = reliability.Expectation(expected / 2, measured)
    assert too_sure.calibration_error == pytest.approx((0.35 + 2 + 15) / 3)
    rows = reliability.reliability_rows("patterns", too_sure)
    assert [row[2] for row in rows] == [100, 100, 100]


def test_errors_count_what_is_not_indexed_as_neither_right_nor_gross(benchmark: Any) -> None:
    summary = benchmark("report").error_summary(np.array([0.5, 1.5, 3.0, 50.0, np.nan]))
    assert summary == ["2.25°", "40.0 %", "60.0 %", "20.0 %", "20.0 %"]


def _along(first: tuple[float, ...], across: tuple[float, ...]) -> Any:
    """The orientation (4,), sample to crystal, seen along a direction, with another along the sample's x."""
    from napari_stem_orient.core.orientation import matrix_to_quaternion

    beam, x = -np.array(first) / np.linalg.norm(first), np.array(across) / np.linalg.norm(across)
    return matrix_to_quaternion(np.stack([x, np.cross(beam, x), beam], axis=1))


@pytest.mark.parametrize(
    ("seen_along", "across", "turned_deg"),
    [((1, 1, 2), (1, -1, 0), 60.0), ((1, 1, 1), (1, -1, 0), 60.0), ((0, 1, 3), (1, 0, 0), 36.87)],
)
def test_seen_along_an_axis_that_is_not_two_fold_an_fcc_crystal_has_a_mate(
    benchmark: Any, seen_along: tuple[int, ...], across: tuple[int, ...], turned_deg: float
) -> None:
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.core.orientation import multiply

    ambiguity = benchmark("ambiguity")
    finder = ambiguity.MateFinder(load_crystal("Cu"))
    # A degree off the axis, as real patterns are.
    tilt = np.array([np.cos(0.009), np.sin(0.009) * 0.8, np.sin(0.009) * 0.6, 0.0])
    quaternion = multiply(_along(seen_along, across), tilt)
    disks = finder.disks(quaternion, 400.0)
    mate = finder.mate(disks, quaternion, 400.0)
    assert sorted(map(abs, mate.uvw)) == sorted(seen_along)
    assert mate.disorientation_deg == pytest.approx(turned_deg, abs=0.1)
    assert mate.part == 1
    assert mate.cosine > 0.9999


def test_seen_along_a_two_fold_axis_the_mate_is_the_same_orientation(benchmark: Any) -> None:
    from napari_stem_orient.core.crystal import load_crystal

    ambiguity = benchmark("ambiguity")
    finder = ambiguity.MateFinder(load_crystal("Cu"))
    for axis, across in (((0, 0, 1), (1, 0, 0)), ((1, 1, 0), (0, 0, 1))):
        quaternion = _along(axis, across)
        assert finder.mate(finder.disks(quaternion, 400.0), quaternion, 400.0) is None


def test_patterns_are_as_alike_as_the_disks_that_they_share(benchmark: Any) -> None:
    cosine = benchmark("ambiguity").cosine
    disks = np.array([[0.5, 0.0, 1.0], [0.0, 0.5, 1.0], [-0.5, 0.0, 1.0], [0.0, -0.5, 1.0]])
    assert cosine(disks, disks[::-1]) == pytest.approx(1)
    assert cosine(disks, disks[:1]) == pytest.approx(0.5)
    assert cosine(disks, disks + np.array([0.1, 0.1, 0.0])) == 0


def test_a_method_errs_half_the_time_where_two_orientations_have_one_pattern(benchmark: Any) -> None:
    ambiguity = benchmark("ambiguity")
    near, far = (ambiguity.Mate((1, 2, 3), 1.0, np.eye(4)[0], angle, 1.0) for angle in (20.0, 60.0))
    assert "at most 80.0 %, and beyond 34° for at least 10.0 %" in ambiguity.bounds(
        [near, far, None, None, None]
    )


def test_a_strong_beam_that_is_missing_is_off_by_all_of_it(benchmark: Any) -> None:
    deviation = benchmark("bloch_convergence").deviation
    true = {(0, 1, 1, 1): np.array([0.1, 0.2, 0.001]), (0, 2, 0, 0): np.array([0.4, 0.4, 0.4])}
    # The third thickness of the first beam is weak and does not count.
    own = {(0, 1, 1, 1): np.array([0.11, 0.22, 0.9])}
    assert deviation(own, true) == ["100.00 %", "100.00 %"]
    own[0, 2, 0, 0] = np.array([0.4, 0.4, 0.4])
    assert deviation(own, true) == ["0.00 %", "10.00 %"]


@pytest.mark.usefixtures("py4dstem")
def test_absorption_is_that_of_py4dstem(benchmark: Any) -> None:
    rows = benchmark("bloch_convergence").absorption().splitlines()[2:]
    ratios = [float(row.split("|")[-2]) for row in rows]
    assert len(ratios) == 15
    assert ratios == pytest.approx([1.0] * 15, abs=0.03)
