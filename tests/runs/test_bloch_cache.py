"""A library of dynamical patterns is simulated once; what is read again is the same, and trouble only costs time."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.runs import bloch_cache
from napari_stem_orient.runs.bloch_cache import cached_bloch_library, cached_library_path
from napari_stem_orient.simulation.bloch_library import (
    SIMULATION_VERSION,
    BlochLibrary,
    BlochParameters,
    build_bloch_library,
)

TINY = BlochParameters(spacing_deg=10, variants=2, n_thicknesses=3, q_max_inv_angstrom=1.0, n_beams=8)
CU = load_crystal("Cu")
TENSORS = ("rotation", "member", "wavelength", "q", "intensity", "thickness_angstrom")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all libraries that were really simulated."""
    seeds: list[int] = []

    def build(*args: object, seed: int, **keywords: object) -> object:
        seeds.append(seed)
        return build_bloch_library(*args, seed=seed, **keywords)

    monkeypatch.setattr(bloch_cache, "build_bloch_library", build)
    return seeds


def get(
    folder: Path, *, parameters: BlochParameters = TINY, seed: int = 0, crystals: tuple = (CU,)
) -> BlochLibrary:
    job = cached_bloch_library(crystals, parameters=parameters, seed=seed, device="cpu", folder=folder)
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as stop:
            assert steps[-1].progress.fraction == 1
            return stop.value


def assert_same(first: BlochLibrary, second: BlochLibrary) -> None:
    for name in TENSORS:
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    assert first.crystals == second.crystals
    assert first.parameters == second.parameters
    assert first.mirrored == second.mirrored


def test_a_library_is_simulated_once_and_comes_back_bit_by_bit(tmp_path: Path, builds: list[int]) -> None:
    first = get(tmp_path / "new" / "folder")
    again = get(tmp_path / "new" / "folder")
    assert builds == [0]
    assert_same(first, again)
    again.q.mul_(2)  # it is the reader's own


def test_another_crystal_recipe_seed_or_version_is_another_library(
    tmp_path: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path)
    get(tmp_path, seed=1)
    get(tmp_path, parameters=TINY.model_copy(update={"absorption": False}))
    get(tmp_path, crystals=(dataclasses.replace(CU, thermal_sigma_angstrom=0.1),))
    get(tmp_path, crystals=(CU, load_crystal("Al")))
    monkeypatch.setattr(bloch_cache, "SIMULATION_VERSION", SIMULATION_VERSION + 1)
    get(tmp_path)
    assert len(builds) == len(list(tmp_path.iterdir())) == 6
    get(tmp_path)
    assert len(builds) == 6


@pytest.mark.parametrize("damage", ["cut short", "one bit", "no archive", "empty", "another's"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, builds: list[int], damage: str) -> None:
    first = get(tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    elif damage == "another's":
        np.savez(path, recipe=np.array("{}"))
        content = bytearray(path.read_bytes())
    else:
        kept = {"cut short": content[: len(content) // 2], "no archive": bytearray(b"PK no"), "empty": b""}
        content = bytearray(kept[damage])
    path.write_bytes(content)
    assert_same(get(tmp_path), first)
    assert builds == [0, 0]
    get(tmp_path)
    assert builds == [0, 0]


def test_a_full_disk_costs_the_file_and_not_the_library(
    tmp_path: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object, **_keywords: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with caplog.at_level(logging.WARNING):
        assert len(get(tmp_path)) > 10
    assert "disk is full" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_a_folder_is_gone_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert len(get(tmp_path / "file" / "cache")) > 10
    assert "not kept" in caplog.text


def test_a_cancelled_simulation_leaves_nothing(tmp_path: Path) -> None:
    job = cached_bloch_library([CU], parameters=TINY, seed=0, device="cpu", folder=tmp_path / "cache")
    next(job)
    job.close()
    assert not (tmp_path / "cache").exists()


def test_the_library_that_was_not_used_for_longest_makes_room(
    tmp_path: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path, seed=0)
    (first,) = tmp_path.iterdir()
    get(tmp_path, seed=1)
    (second,) = set(tmp_path.iterdir()) - {first}
    os.utime(first, (1e9, 1e9))
    os.utime(second, (2e9, 2e9))
    get(tmp_path, seed=0)  # used again: now the second is the oldest
    assert first.stat().st_mtime > 1.1e9
    os.utime(second, (1.1e9, 1.1e9))
    monkeypatch.setattr(bloch_cache, "LARGEST_CACHE_BYTES", int(2.5 * first.stat().st_size))
    get(tmp_path, seed=2)
    left = set(tmp_path.iterdir())
    assert first in left
    assert second not in left
    assert len(left) == 2
    monkeypatch.setattr(bloch_cache, "LARGEST_CACHE_BYTES", 100)
    get(tmp_path, seed=3)
    assert set(tmp_path.iterdir()) == left
    assert builds == [0, 1, 2, 3]


def test_libraries_lie_in_the_user_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path)
    assert cached_library_path().parent == tmp_path


def test_the_version_of_the_simulation_goes_with_its_patterns() -> None:
    """Whoever changes the patterns raises SIMULATION_VERSION and enters the new numbers here."""
    mean_intensity_and_q = {1: (0.131938, 0.401906)}
    job = build_bloch_library([CU], parameters=TINY, seed=5)
    while True:
        try:
            next(job)
        except StopIteration as stop:
            library = stop.value
            break
    means = (float(library.intensity.float().mean()), float(library.q.abs().mean()))
    assert means == pytest.approx(mean_intensity_and_q[SIMULATION_VERSION], rel=5e-4)
