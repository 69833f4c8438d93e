"""File > Open Sample: the scan is made in a worker and ends up in the Session; nothing else stays."""

from __future__ import annotations

import pytest

from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open import sample_data
from napari_stem_orient.io import simulated_scans
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(simulated_scans, "SAMPLE_SCAN_SHAPE", (6, 8))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: folder)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    session = session_of(viewer)
    yield viewer
    session.discard_jobs()
    map_layers_of(viewer, session).close()


def wait_until_read(session, qtbot) -> None:
    qtbot.waitUntil(lambda: session.stage_state(Stage.OPEN) is StageState.DONE, timeout=60_000)


def test_the_sample_opens_in_the_session_with_everything_that_indexing_needs(viewer, qtbot) -> None:
    session = session_of(viewer)
    viewer.open_sample("napari-stem-orient", "simulated_polycrystal")
    wait_until_read(session, qtbot)
    assert session.datacube is not None
    assert session.datacube.scan_shape == (6, 8)
    assert session.datacube.calibration.missing_for_indexing() == ()
    assert session.summary is not None
    assert [layer.name for layer in viewer.layers] == ["Virtual dark field"]


def test_opening_the_sample_twice_makes_it_once(viewer, qtbot) -> None:
    session = session_of(viewer)
    viewer.open_sample("napari-stem-orient", "simulated_polycrystal")
    wait_until_read(session, qtbot)
    first = session.datacube
    viewer.open_sample("napari-stem-orient", "simulated_polycrystal")
    qtbot.waitUntil(lambda: session.datacube is not first, timeout=60_000)
    wait_until_read(session, qtbot)
    assert session.datacube.fingerprint == first.fingerprint
    assert len(viewer.layers) == 1


def test_the_sample_can_be_stopped(viewer, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(simulated_scans, "SAMPLE_SCAN_SHAPE", (64, 64))
    session = session_of(viewer)
    viewer.open_sample("napari-stem-orient", "simulated_polycrystal")
    qtbot.waitUntil(lambda: session.running_job(Stage.OPEN) is not None, timeout=60_000)
    job = session.running_job(Stage.OPEN)
    assert job is not None
    job.cancel()
    qtbot.waitUntil(lambda: session.running_job(Stage.OPEN) is None, timeout=30_000)
    assert session.datacube is None
    qtbot.waitUntil(lambda: len(viewer.layers) == 0)


def test_without_a_window_the_sample_is_a_lazy_layer(monkeypatch) -> None:
    monkeypatch.setattr(sample_data.napari, "current_viewer", lambda: None)
    ((data, keywords, kind),) = sample_data.simulated_polycrystal()
    assert data.shape == (6, 8, 128, 128)
    assert kind == "image"
    assert keywords["name"] == simulated_scans.SAMPLE_NAME
