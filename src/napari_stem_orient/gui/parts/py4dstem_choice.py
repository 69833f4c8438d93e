"""The entries of boxes that need py4DSTEM: grey where it is not installed, with the command that brings it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QLabel

from napari_stem_orient.core.py4dstem_extra import COMMAND, why_no_py4dstem
from napari_stem_orient.gui.parts.panel import plain_label


def grey_without_py4dstem(box: QComboBox, entry: str, *, what: str) -> QLabel:
    """Grey an entry where there is no py4DSTEM, and make the label for below the box, hidden where there is one.

    Parameters
    ----------
    box : filled
    entry : data of the entry that needs py4DSTEM
    what : its name at the start of a sentence
    """
    lacking = why_no_py4dstem()
    # short beside the box; the rest is told to whoever points at it
    label = plain_label(f"{what} needs py4DSTEM:\n{COMMAND if COMMAND in lacking else lacking}")
    label.setToolTip(f"<qt>{lacking}</qt>")
    label.setVisible(bool(lacking))
    if lacking:
        index, model = box.findData(str(entry)), box.model()
        assert isinstance(model, QStandardItemModel)
        item = model.item(index)
        assert item is not None
        item.setEnabled(False)
        box.setItemData(index, lacking, Qt.ItemDataRole.ToolTipRole)
    return label
