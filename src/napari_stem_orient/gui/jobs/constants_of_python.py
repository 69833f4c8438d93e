"""Keeps None, True and False from running out: PySide6 6.12.0 uses them up on Python 3.11, and napari ends with them.

Before Python 3.12 these constants are counted like all objects, and the program is ended where one has no reference
left ("Fatal Python error: none_dealloc"). PySide6 6.12.0 hands them out without counting: each call of a Qt method that
returns nothing takes one of the references that others hold. A new viewer costs about 12,000 of the 130,000 or so that
napari has, a scan opened, indexed and shown 80,000; what is not saved ends with it. From 3.12 on nothing is lost.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import partial

_CALLS = 1000
#: More references than a program can lose; a million taken a second would last for thirty thousand years.
RESERVE = sys.maxsize >> 3


def keep_constants() -> None:
    """Give the constants references for ever where the Qt binding takes them; safe, and quick, to call again."""
    from qtpy.QtCore import QObject

    probe = QObject()
    if sys.getrefcount(None) < RESERVE and takes_references(partial(probe.setObjectName, "")):
        for constant in (None, True, False, NotImplemented, Ellipsis):
            _add_references(constant, RESERVE)


def takes_references(call: Callable[[], object]) -> bool:
    """Say whether each call, of something that returns None, leaves one reference to None less than before."""
    before = sys.getrefcount(None)
    for _ in range(_CALLS):
        call()
    # half: other threads take and give some meanwhile
    return before - sys.getrefcount(None) > _CALLS // 2


def _add_references(constant: object, number: int) -> None:
    """Write a count, which comes first in each object of CPython; nothing happens where it is not found there."""
    count = ctypes.c_ssize_t.from_address(id(constant))
    if abs(count.value - sys.getrefcount(constant)) < _CALLS:
        count.value += number
