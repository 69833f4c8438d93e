"""Without py4DSTEM everything else works, and whoever wants it reads the one command that brings it."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.py4dstem_extra import COMMAND, import_py4dstem, why_no_py4dstem

Version = namedtuple("Version", "major minor micro releaselevel serial")


@pytest.fixture(autouse=True)
def no_py4dstem(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in list(sys.modules) if name.split(".")[0] == "py4DSTEM"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "py4DSTEM", None)


def on_python(monkeypatch: pytest.MonkeyPatch, minor: int) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, minor, 0, "final", 0))


def greyed(box: QComboBox) -> list[str]:
    """Data of the entries that cannot be chosen; each says why when pointed at."""
    entries = [box.model().index(row, 0) for row in range(box.count())]
    grey = [entry for entry in entries if not entry.flags() & Qt.ItemFlag.ItemIsEnabled]
    assert all("py4DSTEM" in entry.data(Qt.ItemDataRole.ToolTipRole) for entry in grey)
    return [entry.data(Qt.ItemDataRole.UserRole) for entry in grey]


@pytest.mark.parametrize("minor", [11, 12])
def test_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch, minor: int) -> None:
    on_python(monkeypatch, minor)
    assert 'pip install "napari-stem-orient[py4dstem]"' in why_no_py4dstem()


@pytest.mark.parametrize("minor", [13, 14])
def test_no_command_is_named_where_none_can_bring_it(monkeypatch: pytest.MonkeyPatch, minor: int) -> None:
    on_python(monkeypatch, minor)
    assert f"no py4DSTEM for Python 3.{minor}" in why_no_py4dstem()
    assert "pip" not in why_no_py4dstem()


def test_where_it_is_installed_nothing_is_lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "py4DSTEM")
    (tmp_path / "py4DSTEM").mkdir()
    (tmp_path / "py4DSTEM" / "__init__.py").write_text("raise ImportError('numpy.core is gone')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert why_no_py4dstem() == ""
    with pytest.raises(ImportError, match=r"does not load \(numpy.core is gone\).*pip install"):
        import_py4dstem("py4DSTEM.braggvectors")


@pytest.mark.parametrize(
    "words", [["detect", "--detector", "py4dstem"], ["index", "--method", "template", "--crystal", "Cu"]]
)
def test_the_command_line_says_so_in_one_line_before_any_work(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_python(monkeypatch, 12)
    np.save(tmp_path / "scan.npy", np.ones((2, 2, 16, 16), dtype=np.uint16))
    output = tmp_path / "out.h5"
    known = ["--voltage-kv", "300", "--pixel-size-inv-angstrom", "0.05"]
    assert main([words[0], str(tmp_path / "scan.npy"), *words[1:], "--output", str(output), *known]) == 1
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1
    assert COMMAND in told.err
    assert not output.exists()


@pytest.mark.gui
def test_the_window_greys_what_needs_it_and_shows_the_command(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.components import ViewerModel

    from napari_stem_orient.gui.detect.widget import DetectWidget
    from napari_stem_orient.gui.index.widget import IndexWidget

    on_python(monkeypatch, 12)
    viewer = ViewerModel()
    index, detect = IndexWidget(viewer), DetectWidget(viewer)  # type: ignore[arg-type]
    for panel in (index, detect):
        qtbot.addWidget(panel)
        panel.show()
        assert panel.py4dstem_label.isVisible()
        assert COMMAND in panel.py4dstem_label.text()
        assert panel.py4dstem_label.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    assert greyed(index.method_box) == ["template"]
    assert greyed(detect.engine_box) == ["py4DSTEM"]


@pytest.mark.gui
def test_comparing_methods_says_it_beside_the_pattern(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_stem_orient.gui.inspect.pattern_matcher import PatternMatcher
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.simulation.grains import make_polycrystal
    from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks

    on_python(monkeypatch, 12)
    session, copper = Session(), load_crystal("Cu")
    truth = make_polycrystal([copper], scan_shape=(2, 2), detector_shape=(64, 64), n_grains=1, seed=1)
    session.set_peaks(simulate_bragg_peaks(truth))
    session.set_crystals((copper,))
    matcher = PatternMatcher(session, lambda: None)
    answer = matcher.answer((0, 1))
    assert answer.solution is None
    assert COMMAND in answer.message
    assert not matcher.busy
    matcher.close()


def test_index_and_detect_import_without_it() -> None:
    """The modules of both engines load, so that a window without py4DSTEM opens."""
    code = (
        "import sys; sys.modules['py4DSTEM'] = None; "
        "import napari_stem_orient.detection.py4dstem, napari_stem_orient.indexing.template_matching"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
