"""Fill the parameter tables of the documentation from the pydantic models that the program itself uses."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: `<!-- parameters: package.module:Model -->` on a line of its own becomes the table of the model's fields.
MARKER = re.compile(r"^<!-- parameters: ([\w.]+):(\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker of a page (called by mkdocs)."""
    return MARKER.sub(lambda match: parameter_table(_model(match[1], match[2])), markdown)


def _model(module: str, name: str) -> type[BaseModel]:
    model = getattr(import_module(module), name)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{module}:{name} is no pydantic model; a parameter table needs one")
    return model


def parameter_table(model: type[BaseModel]) -> str:
    """Markdown table of a model's fields: name, default, range, what it means."""
    rows = ["| Parameter | Default | Allowed | Meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue  # a model in the model has a table of its own
        cells = (f"`{name}`", _default(field), _allowed(field), field.description or field.title or "")
        rows.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "not set" if value is None else f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(constraint, kind):g}"
        for constraint in field.metadata
        for kind, sign in signs.items()
        if getattr(constraint, kind, None) is not None
    ]
    return ", ".join(bounds)
