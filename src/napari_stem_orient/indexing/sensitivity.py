"""What an error of the pixel size would do to an orientation map: a sample of it indexed again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress


class SensitivityParameters(BaseModel):
    """Which errors of the pixel size are tried, and on how many patterns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    changes_percent: tuple[float, ...] = Field(
        (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
        title="Changes",
        description="Changes of the pixel size in percent",
        json_schema_extra={"unit": "%"},
    )
    n_positions: int = Field(
        200, ge=10, le=100_000, title="Positions", description="Indexed positions that are indexed again"
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the choice of positions")


@dataclass(frozen=True, slots=True)
class SensitivityStep:
    """How far the calculation is, and which change it is at, in words."""

    progress: Progress
    note: str


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """What one change of the pixel size does; shares are 0 to 1."""

    change_percent: float
    median_disorientation_deg: float
    moved_2_deg: float
    moved_5_deg: float
    indexed: float
    mean_score: float
    phase_changed: float


@dataclass(frozen=True, slots=True)
class SensitivityTable:
    """The rows of all changes, that of no change among them, in rising order."""

    entries: tuple[SensitivityRow, ...]
    n_positions: int

    def header(self) -> tuple[str, ...]:
        """Names of the columns."""
        raise NotImplementedError

    def rows(self) -> list[tuple[str, ...]]:
        """One row of texts a change."""
        raise NotImplementedError


def calibration_sensitivity(
    peaks: BraggPeaks,
    orientation_map: OrientationMap,
    *,
    models: Sequence[str | Path] = (),
    device: str = "auto",
    parameters: SensitivityParameters | None = None,
) -> Generator[SensitivityStep, None, SensitivityTable]:
    """Index a sample of a map again with the pixel size changed."""
    raise NotImplementedError
    yield
