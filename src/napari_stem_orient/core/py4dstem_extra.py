"""py4DSTEM is an extra that not every environment has: whether it is here, and the one command that brings it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

#: py4DSTEM needs numpy below 2, which has no packages from this Python on.
FIRST_PYTHON_WITHOUT = (3, 13)
COMMAND = 'pip install "napari-stem-orient[py4dstem]"'


def why_no_py4dstem() -> str:
    """Say why there is no py4DSTEM and what brings it; empty where it is installed.

    It is looked for, not imported, which would take seconds.
    """
    if importlib.util.find_spec("py4DSTEM") is not None:
        return ""
    version = sys.version_info[:2]
    if version >= FIRST_PYTHON_WITHOUT:
        return (
            f"there is no py4DSTEM for Python {version[0]}.{version[1]}: it needs Python 3.12 or 3.11 "
            "(everything else works without it)"
        )
    return f"py4DSTEM is not installed. This command brings it (Python below 3.13, numpy below 2): {COMMAND}"


def require_py4dstem() -> None:
    """Raise an ImportError that says how to get py4DSTEM, where it is not installed."""
    if lacking := why_no_py4dstem():
        raise ImportError(lacking)


def import_py4dstem(module: str) -> ModuleType:
    """Import a module of py4DSTEM, "py4DSTEM. ...", or raise an ImportError that says what to do."""
    require_py4dstem()
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"py4DSTEM is installed, but does not load ({error}). Install it anew: {COMMAND}"
        ) from error
