"""napari does not end because a Qt binding has used up None: a program of its own makes more calls than that takes."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from functools import partial

import pytest

from napari_stem_orient.gui.jobs.constants_of_python import keep_constants, takes_references

pytestmark = pytest.mark.bindings

MANY_CALLS = """
from qtpy.QtCore import QObject, Signal
from napari_stem_orient.gui.jobs.sessions import session_of

class Emitter(QObject):
    signal = Signal()

class Viewer:
    pass

viewer = Viewer()
session_of(viewer)
emitter = Emitter()
for _ in range(400_000):
    emitter.setObjectName("a")  # returns None
    emitter.signal.emit()  # returns True
print("still here")
"""


def test_the_constants_outlive_any_number_of_qt_calls_once_a_panel_is_open() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_CALLS], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout.strip() == "still here", done.stderr[-2000:]
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_call_that_takes_references_is_told_from_one_that_does_not() -> None:
    none = ctypes.py_object(None)
    take, give = (
        partial(function, none) for function in (ctypes.pythonapi.Py_DecRef, ctypes.pythonapi.Py_IncRef)
    )
    ctypes.pythonapi.Py_DecRef.restype = ctypes.pythonapi.Py_IncRef.restype = None
    found = takes_references(take)
    for _ in range(1000):
        give()
    assert found == (sys.version_info < (3, 12))  # from then on nothing is counted
    assert not takes_references(list[object]().clear)


def test_the_constants_are_kept_once_only() -> None:
    keep_constants()
    before = sys.getrefcount(None)
    keep_constants()
    assert abs(sys.getrefcount(None) - before) < 2000
