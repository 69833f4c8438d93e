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
    "inspect_rate",
    "reliability",
    "scaling",
    "sizes",
    "speed",
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
