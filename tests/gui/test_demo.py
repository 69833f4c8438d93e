"""The demo ends with maps, pictures of both themes and a map file; a stage that fails is told in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from napari import Viewer

from napari_stem_orient.gui.demo import Demo, summary_sentence
from napari_stem_orient.io import simulated_scans
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.session.state import Stage
from patience import Until

pytestmark = pytest.mark.bindings


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sample scan, of fewer positions and in a folder of its own."""
    monkeypatch.setattr(simulated_scans, "SAMPLE_SCAN_SHAPE", (12, 14))
    original = simulated_scans.sample_path
    monkeypatch.setattr(
        simulated_scans, "sample_path", lambda folder=None: original(folder or tmp_path / "cache")
    )


@pytest.mark.usefixtures("small_sample")
def test_demo_writes_pictures_of_both_themes_and_the_map(
    make_napari_viewer_proxy: Callable[..., Viewer], tmp_path: Path, until: Until
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    ends: list[Exception | None] = []
    output = tmp_path / "output"
    demo = Demo(viewer, output=output, on_end=ends.append)
    until(lambda: ends)
    assert ends == [None]
    assert {path.name for path in output.iterdir()} == {"demo-dark.png", "demo-light.png", "demo-map.h5"}
    saved = open_orientation_map(output / "demo-map.h5")
    assert saved.is_complete
    assert saved.indexed_fraction > 0.5
    assert "within 3° of the truth" in summary_sentence(demo.session)


def test_demo_tells_which_step_failed(
    make_napari_viewer_proxy: Callable[..., Viewer],
    monkeypatch: pytest.MonkeyPatch,
    until: Until,
    errors: list[str],
) -> None:
    def broken() -> object:
        raise OSError("the disk is full: free some space")
        yield

    monkeypatch.setattr("napari_stem_orient.gui.open.sample_data.make_sample", broken)
    ends: list[Exception | None] = []
    demo = Demo(make_napari_viewer_proxy(), output=None, on_end=ends.append)
    until(lambda: ends)
    assert f"{Stage.OPEN.value}: the disk is full" in str(ends[0])
    assert errors
    demo.stop()
