"""What all tests share: measured data, py4DSTEM and a display, each there, skipped or a failure; no trace left here."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA_VARIABLE = "NAPARI_STEM_ORIENT_DATA"
NEEDS_DISPLAY_VARIABLE = "NAPARI_STEM_ORIENT_NEEDS_DISPLAY"
NEEDS_PY4DSTEM_VARIABLE = "NAPARI_STEM_ORIENT_NEEDS_PY4DSTEM"

# Before torch and numba are imported: many small tensors are faster on one thread, and runs repeat exactly.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _has_display() -> bool:
    """Say whether windows with OpenGL can open: on Linux that takes an X or Wayland display."""
    if os.environ.get("QT_QPA_PLATFORM", "") in {"offscreen", "minimal"}:
        return False
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _is_asked(*variables: str) -> bool:
    """Say whether any of these environment variables is set to yes."""
    return any(os.environ.get(name, "") not in {"", "0", "false"} for name in variables)


def _display_is_required(config: pytest.Config) -> bool:
    """Say whether green has to mean that the GUI tests ran here: `make test` and any CI ask for it.

    The process that only hands tests to the workers of pytest-xdist runs none and has no display.
    """
    hands_out = config.getoption("dist", "no") != "no" and "PYTEST_XDIST_WORKER" not in os.environ
    return _is_asked("CI", NEEDS_DISPLAY_VARIABLE) and not hands_out


def _leave_no_trace(config: pytest.Config) -> None:
    """Send what this and child processes would keep in the user's folders to a temporary one."""
    folder = tempfile.TemporaryDirectory(prefix="stem-orient-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    home = Path(folder.name)
    # not the temporary one: matplotlib would build its list of fonts anew each run
    os.environ["MPLCONFIGDIR"] = str(ROOT / ".pytest_cache" / "matplotlib")
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["NAPARI_CONFIG"] = str(home / "napari" / "settings.yaml")
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{kind}_HOME"] = str(home / kind.lower())
    os.environ["WIN_PD_OVERRIDE_LOCAL_APPDATA"] = str(home / "data")  # what platformdirs asks on Windows


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fail at once where the GUI tests would only skip (pytest-xvfb has set DISPLAY by now)."""
    _leave_no_trace(config)
    if _display_is_required(config) and not _has_display():
        raise pytest.UsageError(
            "no display, so the GUI tests cannot run: install Xvfb (apt-get install xvfb), or use xvfb-run"
        )


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in tests/gui as gui; skip, saying why, what needs a display or GPU that is not here."""
    no_display = pytest.mark.skip(reason="no display: install Xvfb or run under xvfb-run")
    no_gpu = pytest.mark.skip(reason="torch finds no CUDA or Apple GPU here")
    for item in items:
        if "gui" in item.path.relative_to(ROOT).parts:
            item.add_marker(pytest.mark.gui)
        if item.get_closest_marker("gui") is not None and not _has_display():
            item.add_marker(no_display)
    for item in items:
        if item.get_closest_marker("gpu") is not None and not _has_accelerator():
            item.add_marker(no_gpu)


@pytest.fixture(scope="session")
def measured_data() -> Path:
    """Folder of the measured scans, or a skip that says where they would have to be."""
    chosen = os.environ.get(DATA_VARIABLE)
    folder = Path(chosen) if chosen else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no measured data: {folder} is no folder; set {DATA_VARIABLE} to where they are")
    return folder


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def py4dstem() -> ModuleType:
    """py4DSTEM, or a skip that says why; a failure where the environment has to have it (`make test` says so)."""
    try:
        return importlib.import_module("py4DSTEM")
    except ImportError as missing:
        if _is_asked(NEEDS_PY4DSTEM_VARIABLE):
            pytest.fail(f"this environment has to have py4DSTEM, but: {missing}")
        pytest.skip("py4DSTEM is not installed (the extra py4dstem brings it; it needs numpy < 2)")
