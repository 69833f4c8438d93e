"""Which element sits on a site of a CIF: from its type symbol, or from its label where that says so."""

from __future__ import annotations

import re
from collections.abc import Collection

HEAVIEST = 103
"""Atomic number of the last element with tabulated scattering factors."""

VACANCIES = {"va", "vac", "vacancy", "void", "empty", "du", "dum", "dummy"}
_CHARGE = r"(?:[0-9]*\.?[0-9]*[+-]|[+-][0-9.]*|[0-9.]+)?"


def is_vacancy(symbol: str) -> bool:
    """Whether a site is said to be empty: "Va", "Vac1", "void"."""
    return re.sub(r"[^a-z]", "", symbol.lower()) in VACANCIES


def element_of_type(symbol: str) -> str | None:
    """The element of a type symbol such as "Fe", "Fe3+", "O2-", "CU", "D" (deuterium: H); None where it is none."""
    # "Siva" and "Cval" are the names of valence scattering factors in the International Tables.
    match = re.fullmatch(rf"([A-Za-z]{{1,2}})(?:va?l?)?\s*{_CHARGE}", symbol.strip())
    return None if match is None else _known(match[1])


def element_of_label(label: str, formula: Collection[str]) -> str | None:
    """The element that a label begins with; None where that is a guess.

    "Fe1", "O_w" and "Si(2)" begin with an element. "FeT" and "OA" are Fe and O where the sum formula has that element,
    and none that would fit as well; "Wat1" is no tungsten.
    """
    text = label.strip()
    match = re.match(r"[A-Za-z]+", text)
    # "H2O1" is no hydrogen and "Al-Cu" no aluminium: groups and mixtures have no one element.
    if match is None or re.match(r"[A-Za-z]+-[A-Za-z]|[hH]2[oO]", text):
        return None
    letters = match[0]
    alone = _known(letters) if len(letters) <= 2 else None
    if alone is not None and not (formula and alone not in formula):
        return alone
    fitting = {letters[:n].capitalize() for n in (2, 1) if letters[:n].capitalize() in formula}
    # An upper-case "CA1" of an organic crystal is the alpha carbon: a second letter that is small is surer.
    if len(fitting) > 1:
        fitting = {letters[:2].capitalize()} if letters[1:2].islower() else {letters[:1].capitalize()}
    return _known(fitting.pop()) if fitting else alone


def _known(letters: str) -> str | None:
    """The element with this symbol, whatever the case; deuterium is hydrogen, T is a site of a zeolite."""
    import gemmi

    symbol = letters.capitalize()
    if symbol == "D":
        return "H"
    element = gemmi.Element(symbol)
    known = 1 <= element.atomic_number <= HEAVIEST and element.name == symbol
    return symbol if known else None
