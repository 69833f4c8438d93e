"""CrystalError: why a crystal structure cannot be used, in words that name the fix."""

from __future__ import annotations


class CrystalError(ValueError):
    """A crystal structure that cannot be used; the message names the file and the fix."""
