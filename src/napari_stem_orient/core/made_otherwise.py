"""In what two ways of detecting Bragg peaks differ, from the descriptions that are saved with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SAME_RADIUS = 1e-3
"""A radius that is measured again may differ in its last digits: templates this much alike are one."""


def made_otherwise(earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """What peaks were detected with that is not what is wanted now, in words; empty where they can be gone on with.

    Parameters
    ----------
    earlier
        Description of the peaks that there are; what it does not say, as that of peaks of other programs, is trusted.
    wanted
        Description of those that are wanted: ``detector``, ``detection``, ``probe`` and, where pixels are left out,
        ``mask``.
    """
    found = []
    if "detector" in earlier and earlier["detector"] != wanted["detector"]:
        found.append("another detector")
    if "detection" in earlier and earlier["detection"] != wanted["detection"]:
        found.append("other parameters")
    if "probe" in earlier and not _same_probe(earlier["probe"], wanted["probe"]):
        found.append("another template")
    if "detection" in earlier and earlier.get("mask") != wanted.get("mask"):
        found.append("another detector mask")
    return tuple(found)


def _same_probe(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["source"] == other["source"] and math.isclose(
        one["radius_px"], other["radius_px"], rel_tol=SAME_RADIUS
    )
