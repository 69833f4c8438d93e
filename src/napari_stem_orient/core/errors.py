"""UserError: the one error that a user is expected to meet: the value that is wrong, and the physical remedy."""

from __future__ import annotations


class UserError(ValueError):
    """Something that only the user can mend; as a text it is one sentence.

    Whoever raises it knows the field of a choice, and no option or box: a window, or a command line, adds the name that
    the field has there.

    Parameters
    ----------
    what
        What is wrong; it names the value.
    value
        The value itself, where there is one.
    fix
        What the user can do about it.
    field
        Name of the field of a choice that it is about ("radius_px"); "" where it is about none.
    """

    def __init__(self, what: str, *, value: object = None, fix: str = "", field: str = "") -> None:
        super().__init__(f"{what}: {fix}" if fix else what)
        self.what, self.value, self.fix, self.field = what, value, fix, field

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with its parts, and not with its sentence alone: it comes out of other processes, too."""
        return _again, (type(self), self.args, self.__dict__.copy())


def _again(kind: type[UserError], args: tuple[object, ...], parts: dict[str, object]) -> UserError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(parts)
    return error
