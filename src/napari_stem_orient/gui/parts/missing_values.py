"""What is missing, as a link to the box where it is filled in: one way for all panels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QDockWidget, QLabel, QLineEdit, QSizePolicy, QWidget

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.parts.theme_colours import theme_colours

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.gui.jobs.connections import Connections
    from napari_stem_orient.session.session import Session

OF_STAGES = {
    "an open scan": "path",
    "another file": "path",
    "a file": "path",
    "Open a 4D-STEM scan": "path",
    "open the scan again": "path",
    "scan shape": "scan_shape",
    "peaks or an orientation map": "peaks",
    "Bragg peaks": "peaks",
    "a crystal": "crystals",
    "a model for these crystals": "model",
    "a name": "name",
}
"""What else than a value of the calibration a stage may lack, by the words for it: where that is filled in."""


@dataclass(slots=True)
class Wanted:
    """A value that the user wants to fill in; whichever panel has its box shows it, and says that it did."""

    name: str
    shown: bool = False


@lru_cache(maxsize=1)
def calibration_words() -> Mapping[str, str]:
    """Return the fields of a calibration that may be missing, by their words: "pixel size (1/Å)"."""
    needed = Calibration().missing_for_indexing()
    words = {"scan step": "scan_step_nm"}
    for name, field in Calibration.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        title = (field.title or name)[:1].lower() + (field.title or name)[1:]
        text = f"{title} ({extra.get('unit', '')})"
        if text in needed:
            words[text] = name
    return words


@lru_cache(maxsize=1)
def stage_words() -> Mapping[str, str]:
    """Return all that a stage may lack, values of the calibration and more, by the words for it."""
    return {**calibration_words(), **OF_STAGES}


class LinkLabel(QLabel):
    """Lines that name what is missing, each name a link; breaks into lines and never widens the panel.

    Parameters
    ----------
    napari_viewer : its theme gives the links their colour
    connections : leaves the theme when the panel goes
    words : the words that become links, and what each leads to, which `linkActivated` tells
    """

    def __init__(
        self,
        napari_viewer: napari.Viewer,
        connections: Connections,
        *,
        words: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._targets = calibration_words() if words is None else words
        self._said = ""
        self.links: tuple[str, ...] = ()
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        connections.connect(napari_viewer.events.theme, self._on_theme_changed)
        self.setText("")

    def setText(self, a0: str | None) -> None:  # noqa: N802 - Qt's name
        """Say something in plain words; those that name something missing become links."""
        self._said = a0 or ""
        found = sorted(
            (place, words) for words in self._targets if (place := _place_of(words, self._said)) is not None
        )
        self.links = tuple(self._targets[words] for _, words in found)
        flags = Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.LinksAccessibleByMouse
        if found:  # without one the label is no stop of the Tab key
            flags |= Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        self.setTextInteractionFlags(flags)
        super().setText(self._with_links([words for _, words in found]))

    def text(self) -> str:
        """What is said, in plain words."""
        return self._said

    def _with_links(self, names: list[str]) -> str:
        text = self._said
        for mark, plain in (("&", "&amp;"), ("<", "&lt;"), ("\n", "<br>")):
            text = text.replace(mark, plain)
        colour = theme_colours(self._viewer).text
        for words in names:
            link = f'<a href="{self._targets[words]}" style="color: {colour}">{words}</a>'
            text = re.sub(_pattern(words), lambda _, link=link: link, text, count=1)  # type: ignore[misc]
        return text

    def _on_theme_changed(self, _: object = None) -> None:
        self.setText(self._said)


def show_box(napari_viewer: napari.Viewer, session: Session, name: str) -> None:
    """Show the box of a value, in whichever panel it is; the desk, which has them all, is opened where none is."""
    wanted = Wanted(name)
    session.value_wanted.emit(wanted)
    if not wanted.shown:
        napari_viewer.window.add_plugin_dock_widget("napari-stem-orient", "Orientation mapping")
        session.value_wanted.emit(wanted)


def asking_label(napari_viewer: napari.Viewer, session: Session, connections: Connections) -> LinkLabel:
    """Make a label whose links to what a stage may lack lead to the panel that has the box."""
    label = LinkLabel(napari_viewer, connections, words=stage_words())
    label.linkActivated.connect(lambda name: show_box(napari_viewer, session, name))
    return label


def enter(box: QWidget) -> None:
    """Make a box ready to be typed into, its dock in front of others."""
    ancestor: QWidget | None = box
    while ancestor is not None and not isinstance(ancestor, QDockWidget):
        ancestor = ancestor.parentWidget()
    if ancestor is not None:
        ancestor.show()
        ancestor.raise_()
    box.setFocus(Qt.FocusReason.OtherFocusReason)
    line = box.lineEdit() if isinstance(box, (QAbstractSpinBox, QComboBox)) else box
    if isinstance(line, QLineEdit):
        line.selectAll()  # what stands there, a value or none, is to be replaced


def _pattern(words: str) -> str:
    return rf"(?<!\w){re.escape(words)}(?!\w)"


def _place_of(words: str, text: str) -> int | None:
    found = re.search(_pattern(words), text)
    return None if found is None else found.start()
