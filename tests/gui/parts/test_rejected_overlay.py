"""Rejected maxima over a pattern: a sign for each, its reason under the mouse, and a legend of what is there."""

from __future__ import annotations

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from napari_stem_orient.detection.rejected_maxima import RejectedMaxima, Rejection
from napari_stem_orient.gui.inspect.rejection_legend import RejectionLegend
from napari_stem_orient.gui.parts.pattern_overlay import Disks
from napari_stem_orient.gui.parts.pattern_view import PatternView
from napari_stem_orient.gui.parts.rejected_overlay import SIGNS, legend_html


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def disks(*, rejected: bool = True) -> Disks:
    """A disk at x 30, y 40 and two maxima that are none."""
    maxima = RejectedMaxima(
        x_px=array(10, 50),
        y_px=array(20, 60),
        intensity=array(12, 300),
        significance=array(2.9, 20),
        reasons=(Rejection.BELOW_THRESHOLD, Rejection.TOO_CLOSE),
        words=("2.9 σ, needs 4.0", "3.0 px from a brighter disk, needs 6.0"),
    )
    return Disks(array(30), array(40), array(1234), 3.0, array(17.25), maxima if rejected else None)


@pytest.fixture
def view(qtbot: QtBot) -> PatternView:
    view = PatternView()
    qtbot.addWidget(view)
    view.resize(400, 400)
    view.show()
    view.set_frame(origin_px=(32, 32), pixel_size_inv_angstrom=0.02, detector_shape=(64, 64))
    view.set_pattern(np.ones((64, 64), dtype=np.float32))
    view.set_disks(disks(), preview=True)
    return view


def hovered(view: PatternView, x_px: float, y_px: float) -> str:
    view.hover(*view.view_position(x_px, y_px))
    return view.hover_text


def test_the_value_against_the_limit_is_read_under_the_mouse(view: PatternView) -> None:
    assert hovered(view, 10, 20) == "Below threshold: 2.9 σ, needs 4.0 · 12 counts"
    assert hovered(view, 50, 60) == "Too close: 3.0 px from a brighter disk, needs 6.0 · 300 counts"
    assert hovered(view, 31, 41) == "Disk of 1,234 counts, 17.2 σ"
    assert hovered(view, 20, 50) == ""


def test_signs_can_be_hidden_and_go_with_the_preview(view: PatternView) -> None:
    view.show_rejected(False)
    assert hovered(view, 10, 20) == ""
    view.show_rejected(True)
    assert hovered(view, 10, 20) != ""
    view.set_disks(disks(rejected=False))
    assert view.hover_text == ""
    assert hovered(view, 10, 20) == ""
    assert len(view.rejected.item.getData()[0]) == 0


def test_each_reason_has_a_sign_and_a_colour_of_its_own() -> None:
    assert set(SIGNS) == set(Rejection)
    for values in zip(*SIGNS.values(), strict=True):
        assert len(set(values)) == len(Rejection)


def test_the_legend_names_what_is_there_and_nothing_else(qtbot: QtBot) -> None:
    legend = RejectionLegend()
    qtbot.addWidget(legend)
    assert legend.isHidden()
    legend.explain(disks())
    assert not legend.isHidden()
    text = legend_html(disks().rejected)  # type: ignore[arg-type]
    assert text.count("(1)") == 2
    assert "masked" not in text
    legend.explain(disks(rejected=False))
    assert legend.isHidden()


def test_the_masked_pixels_are_tinted(view: PatternView) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[5, 7] = True
    view.set_mask(mask)
    tint = view._mask_image.image
    assert np.array_equal(tint[..., 3] > 0, mask)
    view.set_mask(None)
    assert view._mask_image.image is None
