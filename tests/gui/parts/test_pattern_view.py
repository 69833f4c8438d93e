"""What the picture of a pattern promises: it stays in view, whatever the calibration does to its axes."""

from __future__ import annotations

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QRectF

from napari_stem_orient.gui.parts.pattern_view import PatternView

SHAPE = (64, 64)


@pytest.fixture
def view(qtbot: QtBot) -> PatternView:
    view = PatternView()
    qtbot.addWidget(view)
    view.resize(300, 300)
    view.show()
    qtbot.waitExposed(view)
    view.set_pattern(np.ones(SHAPE, dtype=np.float32))
    calibrate(view, (32.0, 32.0), 0.025)
    return view


def calibrate(view: PatternView, origin_px: tuple[float, float], pixel_size: float | None) -> None:
    view.set_frame(origin_px=origin_px, pixel_size_inv_angstrom=pixel_size, detector_shape=SHAPE)


def seen_px(view: PatternView) -> QRectF:
    """The part of the detector that is in view: x, y, width and height in px from the direct beam."""
    (left, right), (top, bottom) = view.getPlotItem().getViewBox().viewRange()
    pixel = view.view_position(1, 0)[0] - view.view_position(0, 0)[0]
    return QRectF(left / pixel, top / pixel, (right - left) / pixel, (bottom - top) / pixel)


@pytest.mark.parametrize(
    ("origin_px", "pixel_size"),
    [((32.0, 32.0), 0.1), ((32.0, 32.0), None), ((2.0, 60.0), 0.025), ((10.0, 10.0), 0.001)],
)
def test_the_whole_detector_stays_in_view_when_the_calibration_changes(
    view: PatternView, origin_px: tuple[float, float], pixel_size: float | None
) -> None:
    calibrate(view, origin_px, pixel_size)
    seen, (y, x) = seen_px(view).translated(origin_px[1], origin_px[0]), (SHAPE[0], SHAPE[1])
    assert seen.contains(QRectF(-0.5, -0.5, x, y))
    assert min(seen.width(), seen.height()) < 1.1 * x  # and no more than that


def test_what_the_user_has_zoomed_to_stays_with_the_direct_beam_in_any_unit(view: PatternView) -> None:
    box = view.getPlotItem().getViewBox()
    box.setRange(QRectF(-0.1, -0.05, 0.4, 0.4), padding=0)
    box.sigRangeChangedManually.emit(box.mouseEnabled())  # as the wheel does
    before = seen_px(view)
    calibrate(view, (30.0, 36.0), 0.05)
    for value, kept in zip(seen_px(view).getRect(), before.getRect(), strict=True):
        assert value == pytest.approx(kept)
    view.reset_view()
    calibrate(view, (10.0, 10.0), 0.05)
    assert seen_px(view).translated(10, 10).contains(QRectF(-0.5, -0.5, *SHAPE))
