"""The recipe of a training run: what is simulated, for how long, and with which network."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from napari_stem_orient.network.transformer import TransformerConfig
from napari_stem_orient.simulation.augment import AugmentationParameters


class TrainingParameters(BaseModel):
    """The recipe of one training run."""

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
    seed: int = Field(0, ge=0, title="Seed", description="Same seed, same model (on one kind of device)")
    minutes: float | None = Field(
        None, gt=0, title="Time limit", description="Minutes; the schedule is shortened to fit"
    )
    network: TransformerConfig = TransformerConfig()
    augmentation: AugmentationParameters = AugmentationParameters()
