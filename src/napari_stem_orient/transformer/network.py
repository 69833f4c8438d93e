"""The transformer that reads a pattern as a set of disks and proposes orientations and phases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from napari_stem_orient.transformer.tokens import (
    ANGULAR_FEATURES,
    INTENSITY_FEATURES,
    PATTERN_FEATURES,
    RADIAL_FEATURES,
    pattern_features,
    token_features,
)


class TransformerConfig(BaseModel):
    """Size of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(96, ge=8, le=1024, title="Width", description="Length of a token's vector")
    layers: int = Field(3, ge=1, le=24, title="Layers", description="Number of encoder layers")
    heads: int = Field(4, ge=1, le=32, title="Heads", description="Attention heads; they divide the width")
    n_tokens: int = Field(32, ge=4, le=256, title="Tokens", description="Strongest disks read in a pattern")
    n_candidates: int = Field(
        8,
        ge=1,
        le=64,
        title="Candidates",
        description="Rotations proposed for each phase; 1 is the published method",
    )
    n_phases: int = Field(1, ge=1, le=16, title="Phases", description="Crystals that the model tells apart")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> TransformerConfig:
        if self.width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide a width of {self.width}; try a width of "
                f"{self.heads * max(1, round(self.width / self.heads))}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the network says of B patterns, P phases, K candidates.

    rotations (B, P, K, 3, 3) sample to crystal; candidate_logits (B, P, K); phase_logits (B, P).
    """

    rotations: Tensor
    candidate_logits: Tensor
    phase_logits: Tensor


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, each on a residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attention_out = nn.Linear(config.width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.width, 2 * config.width), nn.GELU(), nn.Linear(2 * config.width, config.width)
        )

    def forward(self, x: Tensor, attend: Tensor) -> Tensor:
        """One layer on x (B, T, d); attend (B, 1, 1, T) is True for keys that are there."""
        batch, tokens, width = x.shape
        qkv = self.query_key_value(self.attention_norm(x))
        q, k, v = qkv.view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=attend
        )  # (B, heads, T, d / heads)
        x = x + self.attention_out(attended.transpose(1, 2).reshape(batch, tokens, width))
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class OrientationTransformer(nn.Module):
    """Encoder over disks, masked mean pooling, and an MLP head to K rotations for each phase.

    Method: Je, Kennedy, Kim, Yang and Thiede, arXiv 2602.12420; K candidates with logits are our addition.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed_radius = nn.Linear(RADIAL_FEATURES, width)
        self.embed_angle = nn.Linear(ANGULAR_FEATURES, width)
        self.embed_intensity = nn.Linear(INTENSITY_FEATURES, width)
        self.embed_pattern = nn.Linear(PATTERN_FEATURES, width)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.summary = nn.Parameter(torch.zeros(width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        outputs = config.n_phases * (config.n_candidates * 7 + 1)
        self.head = nn.Sequential(
            nn.Linear(2 * width, 3 * width),
            nn.GELU(),
            nn.Linear(3 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, outputs),
        )

    def forward(self, peaks: Tensor, mask: Tensor, conditions: Tensor) -> Proposal:
        """Propose orientations.

        Parameters
        ----------
        peaks
            (B, N, 3) = q_x a, q_y a (no unit) and intensity (any unit).
        mask
            (B, N) bool, True where there is a disk.
        conditions
            (B, 2) = wavelength / a and c / a.
        """
        radial, angular, levels = token_features(peaks, mask).split(
            [RADIAL_FEATURES, ANGULAR_FEATURES, INTENSITY_FEATURES], dim=-1
        )
        disks = self.embed_radius(radial) + self.embed_angle(angular) + self.embed_intensity(levels)
        pattern = self.embed_pattern(pattern_features(mask, conditions))[:, None]  # (B, 1, d)
        disks = self.mix(disks + pattern)
        x = torch.cat([self.summary + pattern, disks], dim=1)  # (B, 1 + N, d); the summary is never masked
        present = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        attend = present[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, attend)
        x = self.norm(x)
        weight = present[..., None].to(x.dtype)
        mean = (x * weight).sum(dim=1) / weight.sum(dim=1)
        return self._proposal(self.head(torch.cat([mean, x[:, 0]], dim=-1)))

    def _proposal(self, output: Tensor) -> Proposal:
        config = self.config
        # Orthonormal only in full precision, whatever the encoder ran in.
        output = output.float().view(len(output), config.n_phases, config.n_candidates * 7 + 1)
        candidates = output[..., :-1].unflatten(-1, (config.n_candidates, 7))
        return Proposal(
            rotations=rotation_from_six(candidates[..., :6]),
            candidate_logits=candidates[..., 6],
            phase_logits=output[..., -1],
        )


def rotation_from_six(six: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from six numbers (..., 6) by Gram-Schmidt.

    Y. Zhou et al., On the continuity of rotation representations in neural networks, CVPR 2019.
    """
    first = functional.normalize(six[..., :3], dim=-1, eps=1e-6)
    second = six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1, eps=1e-6)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)
