"""What is done when a Qt object is gone, and what must not be when garbage collection takes it."""

from __future__ import annotations

import gc

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.jobs.connections import when_destroyed

pytestmark = pytest.mark.bindings


class Keeper:
    """Refers to its widget, as a job with callbacks does."""

    def __init__(self, widget: QWidget, closed: list[str]) -> None:
        self.widget, self.closed = widget, closed

    def close(self) -> None:
        self.closed.append("closed")


def test_a_widget_that_qt_destroys_ends_what_belongs_to_it(qtbot):
    closed: list[str] = []
    widget = QWidget()
    when_destroyed(widget, Keeper.close, Keeper(widget, closed))
    widget.deleteLater()
    QCoreApplication.sendPostedEvents(widget, QEvent.Type.DeferredDelete)
    assert closed == ["closed"]


def test_a_widget_in_a_cycle_goes_with_garbage_collection_without_a_crash(qtbot):
    closed: list[str] = []
    for _ in range(20):
        parent = QWidget()
        child = QWidget(parent)
        parent.itself, child.itself = parent, child
        when_destroyed(child, Keeper.close, Keeper(child, closed))
        when_destroyed(parent, Keeper.close, Keeper(parent, closed))
        del parent, child
    gc.collect()
    assert closed == []
