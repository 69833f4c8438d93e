"""What is said about a calibration: short, and without digits or signs that mean nothing."""

from __future__ import annotations

from napari_stem_orient.calibration.words import change_in_words


def test_no_change_has_no_minus_sign() -> None:
    assert change_in_words(0.0249999999, 0.025) == "+0.00\N{NO-BREAK SPACE}%"
    assert change_in_words(0.02505, 0.025) == "+0.20\N{NO-BREAK SPACE}%"
    assert change_in_words(0.0245, 0.025) == "-2.00\N{NO-BREAK SPACE}%"
