"""Form layouts whose label columns line up from one form of the desk to the next, and fields that fit into it."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget

LABEL_WIDTH = 150


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Make a compact form layout, on a widget or to be nested."""
    layout = QFormLayout(parent) if parent is not None else QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(3)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


def form_label(text: str) -> QLabel:
    """Make the label of a row."""
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    return label


def narrow_box() -> QComboBox:
    """Make a choice whose longest entry does not widen the panel, which would push buttons out of sight."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    return box
