"""Choice: what a user decides about a step, as data; and Given: values given in place of measured ones."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, model_validator

ModelType = TypeVar("ModelType", bound=BaseModel)
Device = Literal["auto", "cpu", "cuda", "mps"]


class Choice(BaseModel):
    """Everything that the user can decide about one step; it goes through JSON and YAML unchanged.

    It holds no arrays. A value that is measured where the user gives none is None: one choice serves many scans.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: ClassVar[str] = ""
    """Name of the step in a recipe."""

    def changed(self, **fields: Any) -> Self:
        """Copy with some fields changed, validated like a new one."""
        return self.model_validate(
            {**{name: getattr(self, name) for name in type(self).model_fields}, **fields}
        )

    def given_fields(self) -> dict[str, Any]:
        """What differs from the defaults, JSON-able: what a recipe has to keep."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Given(RootModel[dict[str, Any]], Generic[ModelType]):
    """Values that the user gave for some fields of a model; all others are measured, or read from a file.

    It is written as those fields alone: ``{"edge_px": 4.0}``. A value may be given as None where the field may be.
    """

    model_config = ConfigDict(frozen=True)

    of: ClassVar[type[BaseModel]]
    """The model; all its fields have defaults."""

    root: dict[str, Any] = {}

    @model_validator(mode="after")
    def _as_the_model_has_them(self) -> Self:
        try:
            model = self.of.model_validate(self.root)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, item['loc']))} {item['input']}: {item['msg']}" for item in error.errors()
            )
            raise ValueError(wrong) from error
        for name in self.root:
            self.root[name] = getattr(model, name)  # a list has become a tuple, a whole number a float
        return self

    def __contains__(self, field: str) -> bool:
        return field in self.root

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(value)) for name, value in self.root.items())))

    def over(self, base: ModelType) -> ModelType:
        """A model with these values in place of its own."""
        return type(base).model_validate({**base.model_dump(), **self.root})

    def with_values(self, **values: Any) -> Self:
        """These values and others, which count where both name a field."""
        return type(self).model_validate({**self.root, **values})

    def with_changes(self, before: ModelType, after: ModelType) -> Self:
        """These values, and those that a user who had ``before`` in front of him has changed to ``after``."""
        changed = {
            name: getattr(after, name)
            for name in type(before).model_fields
            if getattr(after, name) != getattr(before, name)
        }
        return self.with_values(**changed)
