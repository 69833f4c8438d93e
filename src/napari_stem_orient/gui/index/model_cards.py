"""ModelCards: the cards of the models in use, folded away, and in sight what they were not trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.gui.parts.form_layout import form_layout
from napari_stem_orient.gui.parts.panel import plain_label

if TYPE_CHECKING:
    from napari_stem_orient.gui.jobs.stage_jobs import ModelUse

_TOOLTIPS = {
    "Made for": "The crystals that the model proposes orientations for.",
    "Trained on": "The crystals whose patterns were simulated for the training.",
    "Voltage": "The voltages of the simulated patterns.",
    "Cell edge a": "The cell edges of the simulated crystals; the model measures q in units of 1/a.",
    "c/a": "The axial ratios of the simulated crystals.",
    "Highest q": "How far from the direct beam the simulated detectors reached. Disks farther out than the highest "
    "are left out; where they reach less far than the lowest, they say less than the model is used to.",
    "Thickness": "The thicknesses of the simulated crystals. Multiple scattering changes the intensities of the disks, "
    "not their places.",
    "Accuracy": "How near the model's proposals come, on simulated patterns with missing, spurious and shifted disks. "
    "Each proposal is then fitted to the pattern, which makes it more exact.",
    "Training": "How many patterns the model has seen, how they were simulated, and for how long it was trained.",
    "Made by": "The version of this program that made the model.",
}
_ADVICE = "The map may be wrong: look at some patterns in Inspect, compare with template matching, or train a model."


class ModelCards(QWidget):
    """One foldable card a model; a warning, which does not keep anybody from indexing, stays in sight."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards: list[Folding] = []
        self._warnings: list[QLabel] = []
        self._shown: tuple[ModelUse, ...] = ()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self.hide()

    @property
    def cards(self) -> tuple[Folding, ...]:
        """The foldable cards, one a model."""
        return tuple(self._cards)

    @property
    def warning_text(self) -> str:
        """What lies outside the models' ranges, as it is shown; empty where nothing does."""
        return "\n".join(label.text() for label in self._warnings)

    def show_models(self, models: tuple[ModelUse, ...]) -> None:
        """Show the cards of these models; a card that was unfolded stays so."""
        if models == self._shown:
            return
        unfolded = {card.button.text() for card in self._cards if card.unfolded}
        while self._layout.count():
            item = self._layout.takeAt(0)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._shown, self._cards, self._warnings = models, [], []
        for use in models:
            if use.outside:
                warning = plain_label(f"⚠ {use.name}: {'; '.join(use.outside)}. {_ADVICE}")
                self._warnings.append(warning)
                self._layout.addWidget(warning)
            card = _card(use)
            card.set_unfolded(card.button.text() in unfolded)
            self._cards.append(card)
            self._layout.addWidget(card)
        self.setVisible(bool(models))


def _card(use: ModelUse) -> Folding:
    """Make the card of a model, folded."""
    body = QWidget()
    form = form_layout(body)
    form.setContentsMargins(12, 0, 0, 4)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    for title, text in use.lines:
        name, value = QLabel(title), plain_label(text)
        tooltip = f"<qt>{_TOOLTIPS.get(title, '')}</qt>"
        name.setToolTip(tooltip)
        value.setToolTip(tooltip)
        form.addRow(name, value)
    card = Folding(f"Model card {use.name}", body)
    card.button.setToolTip("<qt>What the model was trained for, and how well it does.</qt>")
    card.note.setText(use.note)
    card.note.setToolTip(use.note)
    return card
