"""Why a scan position has, or has not, an orientation, and what to do about it."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why a position has, or has not, an orientation."""

    INDEXED = 0
    NOT_DONE = 1
    TOO_FEW_DISKS = 2
    NO_PHASE_FITS = 3
    AMBIGUOUS = 4
    NOT_DETECTED = 5
    MASKED = 6
    TWO_GRAINS = 7
    OUTSIDE_TRAINED_RANGE = 8
    NO_PATTERN = 9

    @property
    def sentence(self) -> str:
        """The reason in words for the person who looks at the map, and what to do."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.INDEXED: "Indexed.",
    Reason.NOT_DONE: "Not indexed yet: run Index, or let it finish.",
    Reason.TOO_FEW_DISKS: "Not indexed: too few Bragg disks (vacuum, very thin, or thresholds too strict).",
    Reason.NO_PHASE_FITS: "Not indexed: none of the crystals explains this pattern. Is one missing from the list?",
    Reason.AMBIGUOUS: "Not indexed: too unsure. Where two orientations explain this pattern about as well, Inspect "
    "lists both.",
    Reason.NOT_DETECTED: "Not indexed: Bragg disks were not detected here yet.",
    Reason.MASKED: "Not indexed: this position is outside the chosen region.",
    Reason.TWO_GRAINS: "Not indexed: probably two grains overlap here, neither explains the pattern alone.",
    Reason.OUTSIDE_TRAINED_RANGE: "Not indexed: this is outside what the model was trained for. "
    "Train a model for this crystal and voltage, or use template matching.",
    Reason.NO_PATTERN: "Not indexed: the file has no pattern for this position.",
}
