"""The parameters of a training run: what is simulated, for how long, and with which network."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_stem_orient.simulation.augment import AugmentationParameters
from napari_stem_orient.transformer.network import TransformerConfig


class TrainingParameters(BaseModel):
    """What one training run is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(5000, ge=1, title="Steps", description="Batches of patterns to learn from")
    batch_size: int = Field(512, ge=8, title="Batch", description="Patterns in a batch")
    learning_rate: float = Field(
        1.2e-3, gt=0, title="Learning rate", description="Highest rate of AdamW, reached after the warm-up"
    )
    voltage_low_kv: float = Field(80, ge=20, le=3000, title="Lowest voltage", description="kV")
    voltage_high_kv: float = Field(300, ge=20, le=3000, title="Highest voltage", description="kV")
    lattice_scale_low_angstrom: float | None = Field(
        None, gt=0, title="Smallest cell edge", description="Å; empty: the crystal's own"
    )
    lattice_scale_high_angstrom: float | None = Field(
        None, gt=0, title="Largest cell edge", description="Å; empty: the crystal's own"
    )
    q_max_low_inv_angstrom: float = Field(
        0.9, gt=0, title="Smallest q limit", description="Lowest detector limit to be ready for, 1/Å"
    )
    q_max_high_inv_angstrom: float = Field(
        2.0, gt=0, title="Largest q limit", description="Highest detector limit to be ready for, 1/Å"
    )
    simulation: Literal["dynamical", "kinematic"] = Field(
        "dynamical",
        title="Simulation",
        description="Of the training patterns: Bloch waves (dynamical), or single scattering (kinematic)",
    )
    zone_axes: int = Field(
        24_000,
        ge=100,
        title="Zone axes",
        description="Dynamical patterns are drawn from a library of about so many zone axes",
    )
    variants: int = Field(
        8,
        ge=1,
        le=1000,
        title="Variants",
        description="The zone axes are covered so many times, each time at another voltage and by another crystal",
    )
    kinematic_part: float = Field(
        0.25, ge=0, le=1, title="Kinematic part", description="Part of a dynamical batch that is kinematic"
    )
    thickness_low_angstrom: float = Field(50, gt=0, title="Smallest thickness", description="Å")
    thickness_high_angstrom: float = Field(1500, gt=0, title="Largest thickness", description="Å")
    seed: int = Field(0, ge=0, title="Seed", description="Same seed, same model (on one kind of device)")
    minutes: float | None = Field(
        None, gt=0, title="Time limit", description="Minutes; the schedule is shortened to fit"
    )
    network: TransformerConfig = TransformerConfig()
    augmentation: AugmentationParameters = AugmentationParameters()
    early_stopping: bool = Field(
        True,
        title="Stop early",
        description="When the held-out error stands still, let the learning rate fall to its end and stop",
    )
    evaluations: int = Field(
        100, ge=1, title="Evaluations", description="How often in a run the held-out error is measured"
    )
    patience: int = Field(
        10,
        ge=1,
        title="Patience",
        description="Evaluations whose mean error is compared with that of as many before them",
    )
    least_improvement: float = Field(
        0.01, ge=0, lt=1, title="Least improvement", description="Relative; with less, the error stands still"
    )

    @model_validator(mode="after")
    def _ranges_run_upwards(self) -> TrainingParameters:
        for low, high, what in _RANGES:
            first, last = getattr(self, low), getattr(self, high)
            if first is not None and last is not None and first > last:
                raise ValueError(
                    f"the range of the {what} runs from {first:g} to {last:g}; give the lower end first"
                )
        return self


_RANGES = (
    ("voltage_low_kv", "voltage_high_kv", "voltage (kV)"),
    ("thickness_low_angstrom", "thickness_high_angstrom", "thickness (Å)"),
    ("q_max_low_inv_angstrom", "q_max_high_inv_angstrom", "q limit (1/Å)"),
    ("lattice_scale_low_angstrom", "lattice_scale_high_angstrom", "cell edge (Å)"),
)
