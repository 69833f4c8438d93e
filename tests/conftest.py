"""What all tests share: where measured data lie, a display or a failure, no trace left on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA_VARIABLE = "NAPARI_STEM_ORIENT_DATA"
NEEDS_DISPLAY_VARIABLE = "NAPARI_STEM_ORIENT_NEEDS_DISPLAY"

# Before torch and numba are imported: many small tensors are faster on one thread, and runs repeat exactly.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _has_display() -> bool:
    """Say whether windows with OpenGL can open: on Linux that takes an X or Wayland display."""
    if os.environ.get("QT_QPA_PLATFORM", "") in {"offscreen", "minimal"}:
        return False
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _display_is_required() -> bool:
    """Say whether green has to mean that the GUI tests ran: `make test` and any CI ask for it."""
    return any(os.environ.get(name, "") not in {"", "0", "false"} for name in ("CI", NEEDS_DISPLAY_VARIABLE))


def _leave_no_trace(config: pytest.Config) -> None:
    """Send napari's settings and the user cache, also those of child processes, to a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="stem-orient-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    home = Path(folder.name)
    fonts = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "matplotlib"
    os.environ.setdefault("MPLCONFIGDIR", str(fonts))  # or matplotlib builds its list of fonts anew each run
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["NAPARI_CONFIG"] = str(home / "napari" / "settings.yaml")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    os.environ["XDG_DATA_HOME"] = str(home / "data")
    if sys.platform in {"win32", "darwin"}:  # there, platformdirs does not ask the XDG variables
        import platformdirs

        platformdirs.user_cache_dir = lambda *_args, **_kwargs: str(home / "cache")
        platformdirs.user_cache_path = lambda *_args, **_kwargs: home / "cache"


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Fail at once where the GUI tests would only skip (pytest-xvfb has set DISPLAY by now)."""
    _leave_no_trace(config)
    if _display_is_required() and not _has_display():
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
def py4dstem() -> None:
    """Skip what needs py4DSTEM's own engines: from Python 3.13 on it cannot be installed beside the rest."""
    pytest.importorskip("py4DSTEM", reason="py4DSTEM is not installed")
