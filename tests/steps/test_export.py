"""Exporting as a step: a choice says what is written, what is safe leaves its journal, both faces write the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from example_maps import example_map, no_peaks
from napari_stem_orient.cli.export import export_choices
from napari_stem_orient.cli.main import build_parser, main
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.gui.export import widget as export_widget
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.io.maps import open_orientation_map, save_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.steps.export import ExportChoice, Exported, Result, export

PICTURE = ExportChoice(what=Exported.FIGURE, figure="ipf_z", ending=".pdf")
TABLE = ExportChoice(what=Exported.TABLE, four_indices=True)


def test_a_choice_comes_back_from_yaml_and_names_the_file() -> None:
    for choice, name in (
        (PICTURE, "_ipf_z.pdf"),
        (TABLE, ".csv"),
        (ExportChoice(), "_map.h5"),
        (ExportChoice(what=Exported.PEAKS, ending=".emd"), "_peaks.emd"),
    ):
        written = yaml.safe_dump(choice.model_dump(mode="json"))
        assert ExportChoice.model_validate(yaml.safe_load(written)) == choice
        assert choice.file_ending == name
        assert choice.for_name(Path(f"scan{name}")) == choice


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        ({"what": "figure", "figure": "ipf_w"}, "there is no figure ipf_w: choose one of overview, ipf_z"),
        ({"what": "table", "ending": ".xlsx"}, r"a table does not end in \.xlsx: choose one of \.csv"),
        ({"what": "ang", "four_indices": True}, "write a table"),
        ({"what": "map", "figure": "phase"}, "write a figure"),
        ({"what": "ctf"}, "Input should be 'map', 'peaks', 'ang', 'table' or 'figure'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(fields: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        ExportChoice(**fields)


def test_a_result_is_written_as_what_it_is(tmp_path: Path) -> None:
    found, peaks = example_map(), no_peaks((3, 4))
    export(ExportChoice(), found, tmp_path / "map.h5")
    assert open_orientation_map(tmp_path / "map.h5").scan_shape == (3, 4)
    export(ExportChoice(what=Exported.PEAKS), peaks, tmp_path / "peaks.h5")
    assert open_bragg_peaks(tmp_path / "peaks.h5").scan_shape == (3, 4)
    with pytest.raises(UserError, match="ang is written of a map, not of peaks"):
        export(ExportChoice(what=Exported.ANG), peaks, tmp_path / "a.ang")
    with pytest.raises(UserError, match="peaks is written of peaks, not of a map"):
        export(ExportChoice(what=Exported.PEAKS), found, tmp_path / "b.h5")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        export(TABLE, found, tmp_path / "c.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.h5", "peaks.h5"]


def _press_table(panel: ExportWidget) -> None:
    panel.session.update(four_indices=True)
    panel.csv_button.click()


def _press_figure(panel: ExportWidget) -> None:
    panel.figure_box.setCurrentIndex(panel.figure_box.findData("phase"))
    panel.figure_button.click()


@pytest.mark.parametrize(
    ("press", "name", "words"),
    [
        (lambda panel: panel.ang_button.click(), "a.ang", ["--ang"]),
        (_press_table, "a.csv", ["--four-indices", "--csv"]),
        (_press_figure, "a.svg", ["--figure-kind", "phase", "--figure"]),
    ],
)
def test_panel_and_command_line_write_the_same(
    press: Callable[[ExportWidget], None],
    name: str,
    words: list[str],
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari.components import ViewerModel

    asked: list[ExportChoice] = []

    def noted(choice: ExportChoice, result: Result, path: Path, *, overwrite: bool) -> Path:
        asked.append(choice)
        return export(choice, result, path, overwrite=overwrite)

    found = example_map()
    save_orientation_map(found, tmp_path / "map.h5")
    panel = ExportWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.session.set_map(open_orientation_map(tmp_path / "map.h5"))
    by_window, by_command = tmp_path / f"window_{name}", tmp_path / name
    monkeypatch.setattr(export_widget, "ask_save_file", lambda *_, **__: by_window)
    monkeypatch.setattr(export_widget, "export", noted)
    press(panel)
    qtbot.waitUntil(lambda: panel.message_label.text() == f"Saved {by_window.name}.", timeout=150_000)
    command = ["export", str(tmp_path / "map.h5"), *words, str(by_command)]
    assert [(asked[0], by_command)] == export_choices(build_parser("export").parse_args(command))
    assert main(command) == 0
    if name != "a.svg":  # matplotlib numbers what it draws anew each time
        assert by_window.read_bytes() == by_command.read_bytes()
    assert by_command.stat().st_size == pytest.approx(by_window.stat().st_size, rel=0.01)


@pytest.mark.parametrize(
    "words", [["--four-indices", "--ang", "a.ang"], ["--figure-kind", "phase", "--csv", "a.csv"]]
)
def test_an_option_that_has_no_effect_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["export", "map.h5", *words])
    assert f"{words[0]} has no effect without" in capsys.readouterr().err
