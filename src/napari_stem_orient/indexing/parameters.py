"""IndexParameters: how patterns are indexed by the transformer, as a user sets it."""

from __future__ import annotations

from pydantic import Field

from napari_stem_orient.indexing.refinement_parameters import RefinementParameters


class IndexParameters(RefinementParameters):
    """How patterns are indexed by the transformer."""

    n_candidates: int = Field(
        8,
        ge=1,
        le=64,
        title="Candidates",
        description="Orientations that the transformer proposes for each pattern and phase",
    )
    n_views: int = Field(
        1,
        ge=1,
        le=8,
        title="Views",
        description="The transformer reads each pattern so many times, each time turned by another quarter, and its "
        "candidates are put together: with two, more noisy patterns find their orientation, in twice the time. "
        "Only with refinement",
        json_schema_extra={"advanced": True},
    )
    refine: bool = Field(
        True,
        title="Refine and verify",
        description="Fit every candidate to the measured disks and choose by the fit; "
        "off, with one candidate, is the published method",
    )
    min_disks: int = Field(
        4, ge=2, le=100, title="Fewest disks", description="Patterns with fewer Bragg disks are not indexed"
    )
    max_disks: int = Field(
        48, ge=4, le=256, title="Most disks", description="Strongest Bragg disks that are used in a pattern"
    )
    minimum_score: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Lowest score",
        description="Patterns that no crystal explains better than this (0 to 1) are not indexed",
    )
    largest_expected_error_deg: float = Field(
        40.0,
        ge=1,
        le=90,
        title="Largest expected error (°)",
        description="Positions whose orientation is less sure than this, in degrees, are left out as ambiguous; "
        "Inspect lists both answers",
    )
    neighbours: bool = Field(
        True,
        title="Ask the neighbours",
        description="Let the eight neighbours in the scan help to choose between orientations that explain a pattern "
        "about equally well; grain boundaries stay where the patterns put them. Needs 'Refine and verify'",
    )
