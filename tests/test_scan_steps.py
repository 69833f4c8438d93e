"""Scan steps that differ along the two axes of a scan are kept, from the file to the layers and the exports."""

from __future__ import annotations

import csv
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from example_maps import example_map
from napari_stem_orient.cli.main import main
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.canvas.layers import scan_grid
from napari_stem_orient.io.figures import map_figure
from napari_stem_orient.io.maps import export_ang, export_csv, open_orientation_map, save_orientation_map
from napari_stem_orient.io.scan_metadata import read_axes
from napari_stem_orient.io.virtual_files import save_virtual_images
from napari_stem_orient.virtual.detector import VirtualDetector
from napari_stem_orient.virtual.images import VirtualImages

#: 2 nm between columns, 3 nm between rows.
STEPS = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02, scan_step_nm=2.0, scan_step_y_nm=3.0)


def axes_of(down: float, along: float) -> list[dict[str, object]]:
    scan = [{"scale": down, "units": "nm"}, {"scale": along, "units": "nm"}]
    return [*scan, {"scale": 0.02, "units": "1/Å"}, {"scale": 0.02, "units": "1/Å"}]


def test_one_step_is_that_of_both_axes_and_either_may_be_given() -> None:
    assert Calibration().scan_steps_nm is None
    assert Calibration(scan_step_nm=5).scan_steps_nm == (5, 5)
    assert Calibration(scan_step_y_nm=5).scan_steps_nm == (5, 5)
    assert STEPS.scan_steps_nm == (3, 2)


def test_the_axes_of_a_file_give_both_steps_and_say_so_where_they_differ() -> None:
    read = read_axes(axes_of(3.0, 2.0), voltage_kv=300)
    assert read.calibration.scan_steps_nm == (3.0, 2.0)
    assert read.notes == ("the scan steps differ: 3 nm between rows, 2 nm between columns",)
    alike = read_axes(axes_of(2.001, 2.0), voltage_kv=300)
    assert alike.calibration.scan_step_y_nm is None
    assert alike.calibration.scan_step_nm == pytest.approx(2.0005)
    assert alike.notes == ()


def test_layers_have_the_step_of_each_axis() -> None:
    assert scan_grid(STEPS)["scale"] == (3.0, 2.0)


def test_exports_have_the_step_of_each_axis(tmp_path: Path) -> None:
    from orix.io import load

    orientation_map = example_map((3, 4), calibration=STEPS)
    save_orientation_map(orientation_map, tmp_path / "map.h5")
    assert open_orientation_map(tmp_path / "map.h5").calibration.scan_steps_nm == (3, 2)
    loaded = load(str(tmp_path / "map.h5"))
    assert (loaded.dy, loaded.dx) == (3, 2)
    export_ang(orientation_map, tmp_path / "map.ang")
    text = (tmp_path / "map.ang").read_text()
    assert "# XSTEP: 0.002000\n# YSTEP: 0.003000\n" in text
    ang = load(str(tmp_path / "map.ang"))
    assert (ang.dy, ang.dx) == (pytest.approx(0.003), pytest.approx(0.002))
    export_csv(orientation_map, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert (float(last["y_nm"]), float(last["x_nm"])) == (2 * 3, 3 * 2)


def test_figures_are_as_wide_and_as_high_as_the_scanned_field() -> None:
    (picture,) = map_figure(example_map((6, 6), calibration=STEPS), kind="score").axes[0].images
    assert picture.get_extent() == [0, 6 * 2, 6 * 3, 0]


def test_virtual_images_have_the_step_of_each_axis(tmp_path: Path) -> None:
    import h5py

    cube = DataCube(da.zeros((3, 4, 8, 8), dtype=np.uint16), STEPS)
    images = VirtualImages.empty(cube, [VirtualDetector(name="bright", outer_radius_px=2)])
    save_virtual_images(images, tmp_path / "images.h5")
    with h5py.File(tmp_path / "images.h5") as file:
        group = file["virtual_root/bright"]
        assert [group[f"dim{axis}"][1] for axis in (0, 1)] == [3, 2]


def test_both_steps_can_be_given_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["detect", "--help"])
    assert "--scan-step-y-nm" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
