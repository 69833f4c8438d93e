"""ParameterForm: a pydantic model as a form of magicgui's widgets; bounds, units and tooltips come from its fields."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import ValueWidget
from psygnal import Signal
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.gui.parts.form_layout import form_label, form_layout
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.number_widget import NumberWidget

ModelType = TypeVar("ModelType", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Editor:
    """The widget of one field, in magicgui, and the signal that says that the user has changed its value."""

    control: ValueWidget[Any]
    changed: Any

    @property
    def widget(self) -> QWidget:
        """The same in Qt."""
        native: QWidget = self.control.native
        return native

    def read(self) -> Any:
        """The value that it shows."""
        return self.control.get_value()

    def write(self, value: Any) -> None:
        """Show a value."""
        self.control.set_value(value)


class ParameterForm(QWidget, Generic[ModelType]):
    """A form that mirrors one model; fields that few need are folded away.

    Parameters
    ----------
    values
        The model to show first; its class decides the fields.
    skip
        Names of fields that have no place in the form; they keep the values they have.
    advanced
        Names of fields to fold away, beside those with ``json_schema_extra={"advanced": True}``.
    empty_text
        What is shown for None.
    """

    changed = Signal(object)  # the model, after the user changed a value

    def __init__(
        self,
        values: ModelType,
        *,
        skip: Collection[str] = (),
        advanced: Collection[str] = (),
        empty_text: str = "automatic",
        folded_title: str = "More parameters",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._values = values
        self._editors: dict[str, Editor] = {}
        self._refused: dict[
            str, Any
        ] = {}  # values that do not go with the others, which their boxes still show
        self._writing = False
        body = QWidget()
        plain, folded = form_layout(), form_layout(body)
        for name, field in type(values).model_fields.items():
            editor = None if name in skip else _editor(name, field, empty_text=empty_text)
            if editor is None:
                continue
            editor.widget.setObjectName(name)
            self._editors[name] = editor
            _add_row(folded if name in advanced or _extra(field, "advanced") else plain, name, field, editor)
            editor.changed.connect(partial(self._on_edited, name))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(plain)
        self.folding: Folding | None = None
        if folded.rowCount():
            self.folding = Folding(folded_title, body)
            layout.addWidget(self.folding)
        self.set_value(values)

    @property
    def value(self) -> ModelType:
        """The model that the form shows."""
        return self._values

    def has(self, name: str) -> bool:
        """Whether there is a widget for a field."""
        return name in self._editors

    def editor(self, name: str) -> QWidget:
        """The widget of a field."""
        return self._editors[name].widget

    @property
    def controls(self) -> Mapping[str, ValueWidget[Any]]:
        """The widgets of the fields in magicgui, by name: a script sets ``form.controls["edge_px"].value = 4``.

        What it sets counts as set by the user.
        """
        return {name: editor.control for name, editor in self._editors.items()}

    def set_value(self, values: ModelType) -> None:
        """Show a model; `changed` stays silent."""
        self._values = values
        self._refused.clear()
        self._writing = True
        try:
            for name, editor in self._editors.items():
                editor.write(getattr(values, name))
        finally:
            self._writing = False

    def _on_edited(self, name: str, *_: object) -> None:
        if self._writing:
            return
        self._refused.pop(name, None)
        shown = self._shown()
        try:
            edited = type(self._values)(**{**shown, **self._refused})  # together they may be right now
            refused = {}
        except ValidationError:
            refused = dict(self._refused)
            try:
                edited = type(self._values)(**shown)
            except ValidationError as error:
                self._refuse(name, shown[name], _first_message(error))
                return
        before = self._values
        if self._refused and not refused:
            self.set_value(edited)
        self._values, self._refused = edited, refused
        if edited != before:
            self.changed.emit(edited)

    def _refuse(self, name: str, value: Any, message: str) -> None:
        """Leave the model as it was; a number stays in its box, marked, everything else goes back."""
        box = self._editors[name].widget
        if not isinstance(box, NumberBox):
            self.set_value(self._values)
            return
        text = box.text()
        self._writing = True
        try:
            self._editors[name].write(getattr(self._values, name))
        finally:
            self._writing = False
        self._refused[name] = value
        box.refuse(text, message)

    def _shown(self) -> dict[str, Any]:
        """The values of all fields, with those of the editors that were changed."""
        values = {name: getattr(self._values, name) for name in type(self._values).model_fields}
        for name, editor in self._editors.items():
            shown = editor.read()
            if not _same(shown, values[name]):
                values[name] = shown
        return values


def _first_message(error: ValidationError) -> str:
    """What a model says against its values, without pydantic's own words."""
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")


def _same(shown: Any, value: Any) -> bool:
    """Whether an editor shows a value, digits that it does not show aside."""
    if isinstance(shown, float) and isinstance(value, float):
        return abs(shown - value) <= 1e-11 + 1e-9 * abs(value)
    return bool(shown == value)


def _add_row(layout: QFormLayout, name: str, field: FieldInfo, editor: Editor) -> None:
    title = field.title or name.replace("_", " ").capitalize()
    unit = _extra(field, "unit")
    label = form_label(f"{title} ({unit})" if unit else title)
    tooltip = _wrapped(field.description or title)
    label.setToolTip(tooltip)
    editor.widget.setToolTip(tooltip)
    layout.addRow(label, editor.widget)


def _wrapped(text: str) -> str:
    """Rich text, which Qt breaks into lines."""
    return f"<qt>{text.replace('&', '&amp;').replace('<', '&lt;')}</qt>"


def _extra(field: FieldInfo, key: str) -> Any:
    return field.json_schema_extra.get(key) if isinstance(field.json_schema_extra, dict) else None


def _editor(name: str, field: FieldInfo, *, empty_text: str) -> Editor | None:
    """Make the editor that suits a field's type; None where there is none (tuples, dicts, models)."""
    kind, optional = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        labels = _extra(field, "labels") or {}
        return _choice_editor(
            name, [(str(labels.get(value, _words(value))), value) for value in get_args(kind)]
        )
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choice_editor(name, [(_words(member.value), member) for member in kind])
    if kind is bool:
        check = CheckBox(name=name, text="")
        return Editor(check, check.native.toggled)
    if kind in (int, float):
        number = _number(name, field, whole=kind is int, empty_text=empty_text if optional else None)
        return Editor(number, number.native.valueChanged)
    if kind is str:
        line = LineEdit(name=name)
        return Editor(line, line.native.editingFinished)  # not with every letter
    return None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        if len(kinds) == 1:
            return kinds[0], True
    return annotation, False


def _number(name: str, field: FieldInfo, *, whole: bool, empty_text: str | None) -> NumberWidget:
    minimum = maximum = None
    excluded = False
    for bound in field.metadata:
        if isinstance(bound, (Ge, Gt)):
            minimum = bound.ge if isinstance(bound, Ge) else bound.gt
            excluded = isinstance(bound, Gt)
        if isinstance(bound, (Le, Lt)):
            maximum = bound.le if isinstance(bound, Le) else bound.lt
    return NumberWidget(
        name=name,
        minimum=minimum,  # type: ignore[arg-type]
        maximum=maximum,  # type: ignore[arg-type]
        minimum_excluded=excluded,
        whole=whole,
        empty_text=empty_text,
    )


def _choice_editor(name: str, choices: list[tuple[str, Any]]) -> Editor:
    """A box of choices (what it says, its value)."""
    box = ComboBox(name=name, choices=choices)
    native = box.native
    native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    native.setMinimumContentsLength(8)
    return Editor(box, native.currentIndexChanged)


def _words(value: object) -> str:
    text = str(value).replace("_", " ")
    return text[:1].upper() + text[1:]
