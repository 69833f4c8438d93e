"""History: the states that one part of a session went through, each with what was done, to be undone and redone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from napari_stem_orient.calibration.measured import Doubt, Measured
    from napari_stem_orient.steps.choice import Choice

State = TypeVar("State")


@dataclass(frozen=True, slots=True, eq=False)
class Change(Generic[State]):
    """One change.

    Attributes
    ----------
    title : what was done, "Pixel size" for instance
    state : what there was after it
    measured : what a fit found
    doubts : what is not sure about it
    choice : what does the same again, in a recipe; None where nothing does
    """

    title: str
    state: State
    measured: tuple[Measured, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    choice: Choice | None = None


@dataclass(frozen=True, slots=True, eq=False)
class History(Generic[State]):
    """What was done to one part of a session; a change makes another history, no state is ever changed.

    Attributes
    ----------
    start : what there was before the first change; None where there was nothing
    done : the changes in force, the last one last
    undone : the changes that can be redone, the next one first
    """

    start: State | None = None
    done: tuple[Change[State], ...] = ()
    undone: tuple[Change[State], ...] = ()

    def with_change(self, change: Change[State]) -> History[State]:
        """The history with one change more; those that were undone cannot be redone any more."""
        return replace(self, done=(*self.done, change), undone=())

    def undo(self) -> History[State]:
        """The history with the last change taken back; itself where there is none."""
        if not self.done:
            return self
        return replace(self, done=self.done[:-1], undone=(self.done[-1], *self.undone))

    def redo(self) -> History[State]:
        """The history with the change that was undone last done again; itself where there is none."""
        if not self.undone:
            return self
        return replace(self, done=(*self.done, self.undone[0]), undone=self.undone[1:])

    @property
    def now(self) -> State | None:
        """The state after the last change."""
        return self.done[-1].state if self.done else self.start

    @property
    def before_last(self) -> State | None:
        """The state before the last change; None where nothing was done."""
        return self.undo().now if self.done else None
