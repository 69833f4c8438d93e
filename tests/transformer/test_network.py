"""The network: what it must not depend on, and that its outputs are rotations."""

from __future__ import annotations

import pytest
import torch

from napari_stem_orient.transformer.network import (
    OrientationTransformer,
    TransformerConfig,
    rotation_from_six,
)

CONFIG = TransformerConfig(width=32, layers=2, heads=4, n_tokens=12, n_candidates=3, n_phases=2)


@pytest.fixture
def network() -> OrientationTransformer:
    torch.manual_seed(0)
    return OrientationTransformer(CONFIG).eval()


def patterns(n: int = 4, places: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    peaks = torch.randn((n, places, 3), generator=generator)
    peaks[..., 2] = peaks[..., 2].abs()
    mask = torch.arange(places) < torch.tensor([[places], [5], [1], [0]])[:n]
    return peaks * mask[..., None], mask, torch.tensor([0.006, 1.6]).expand(n, 2)


def test_outputs_are_proper_rotations(network: OrientationTransformer) -> None:
    proposal = network(*patterns())
    assert proposal.rotations.shape == (4, 2, 3, 3, 3)
    assert proposal.candidate_logits.shape == (4, 2, 3)
    assert proposal.phase_logits.shape == (4, 2)
    product = proposal.rotations @ proposal.rotations.transpose(-1, -2)
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(proposal.rotations), torch.ones(4, 2, 3), atol=1e-5, rtol=0)


def test_empty_and_one_disk_patterns_give_finite_answers(network: OrientationTransformer) -> None:
    proposal = network(*patterns())
    for tensor in (proposal.rotations, proposal.candidate_logits, proposal.phase_logits):
        assert torch.isfinite(tensor).all()


def test_order_of_disks_does_not_matter(network: OrientationTransformer) -> None:
    peaks, mask, conditions = patterns()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        network(peaks, mask, conditions).rotations,
        network(peaks[:, order], mask[:, order], conditions).rotations,
        atol=1e-4,
        rtol=1e-4,
    )


def test_padding_does_not_matter(network: OrientationTransformer) -> None:
    peaks, mask, conditions = patterns()
    garbage = torch.where(mask[..., None], peaks, torch.zeros_like(peaks))
    padded = torch.cat([garbage, torch.zeros(4, 6, 3)], dim=1)
    longer = torch.cat([mask, torch.zeros(4, 6, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(
        network(peaks, mask, conditions).rotations,
        network(padded, longer, conditions).rotations,
        atol=1e-4,
        rtol=1e-4,
    )


def test_six_numbers_keep_their_first_direction() -> None:
    six = torch.tensor([2.0, 0, 0, 1, 1, 0])
    torch.testing.assert_close(rotation_from_six(six), torch.eye(3))


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide a width of 32; try a width of 33"):
        TransformerConfig(width=32, heads=3)
