"""The colours of napari's theme, for drawings that napari's own style does not reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.utils.theme import get_theme

if TYPE_CHECKING:
    import napari


@dataclass(frozen=True, slots=True)
class ThemeColours:
    """Colours "#rrggbb" of the theme that a viewer is in.

    Attributes
    ----------
    background : of the panel
    foreground : of fields in it
    text : of what is written on either
    faint : of grids and frames
    """

    background: str
    foreground: str
    text: str
    faint: str


def theme_colours(napari_viewer: napari.Viewer) -> ThemeColours:
    """Return the colours of a viewer's theme; follow `viewer.events.theme` to stay with it."""
    theme = get_theme(str(napari_viewer.theme))
    return ThemeColours(
        background=theme.background.as_hex("long"),
        foreground=theme.foreground.as_hex("long"),
        text=theme.text.as_hex("long"),
        faint=theme.secondary.as_hex("long"),
    )
