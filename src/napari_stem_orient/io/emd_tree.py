"""EMD 1.0 trees in HDF5 files: py4DSTEM's layout, of which every group says what it is."""

from __future__ import annotations

import uuid
from typing import Any


def begin_emd_tree(file: Any, root_name: str) -> Any:
    """Mark an open, empty HDF5 file as EMD 1.0 of ours, and make its root; returns the root's group."""
    file.attrs.update(
        emd_group_type="file",
        version_major=1,
        version_minor=0,
        UUID=str(uuid.uuid4()),
        authoring_program="napari-stem-orient",
        authoring_user="",
    )
    return emd_group(file, root_name, "root", "Root")


def emd_group(parent: Any, name: str, kind: str, python_class: str) -> Any:
    """Make a group of an EMD kind ("root", "array", "metadata", ...), which py4DSTEM opens as one of its classes."""
    group = parent.create_group(name)
    group.attrs.update(emd_group_type=kind, python_class=python_class)
    return group
