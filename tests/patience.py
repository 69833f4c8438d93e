"""How tests of the window wait: for a condition, never for a time."""

from __future__ import annotations

from collections.abc import Callable

#: The fixture `until`: returns once a condition holds, and fails the test where it never does.
Until = Callable[[Callable[[], object]], None]
