"""How near a model's candidates come to the truth, chosen or not: as the network proposes them, and refined."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from known_patterns import KnownPatterns
from methods import errors_deg
from numpy.typing import NDArray
from report import finish
from torch import Tensor

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg, matrix_to_quaternion
from napari_stem_orient.indexing.index import index_bragg_peaks, make_pattern_indexer
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer

Precision = Literal["fp32", "bf16"]

#: Every candidate of the network counts, and nothing is left out as unsure.
UNSPARING = IndexParameters(
    n_candidates=64,
    n_refined=64,
    min_disks=2,
    minimum_score=0.0,
    largest_expected_error_deg=90.0,
    neighbours=False,
)

#: Patterns that the network reads at once.
BATCH = 512


def candidate_errors_deg(
    peaks: BraggPeaks,
    crystal: Crystal,
    quaternion: NDArray[np.float64],
    *,
    parameters: IndexParameters,
    models: Sequence[str | Path] = (),
    device: str = "auto",
) -> NDArray[np.float64]:
    """(n,) distance in degrees of the truth (n, 4) from the nearest of the candidates that are chosen among.

    NaN where there are too few disks to propose anything.
    """
    indexer = make_pattern_indexer(peaks, [crystal], parameters=parameters, models=models, device=device)
    found = indexer.solve(*indexer.pad(peaks))
    there = torch.isfinite(found.evidence).cpu().numpy()
    return _nearest_deg(found.rotation, quaternion, crystal, there=there)


def proposal_errors_deg(
    patterns: KnownPatterns, crystal: Crystal, *, models: Sequence[str | Path], precision: Precision = "fp32"
) -> NDArray[np.float64]:
    """(n,) the same for what the network proposes, in one precision, on the CPU."""
    indexer, disks, mask = _read(patterns, crystal, models)
    rotation = torch.cat(list(_proposed(indexer, disks, mask, precision=precision)))
    there = (mask.sum(dim=1) >= UNSPARING.min_disks)[:, None].expand(rotation.shape[:2])
    return _nearest_deg(rotation, patterns.quaternion, crystal, there=there.numpy())


def chosen_errors_deg(
    patterns: KnownPatterns, crystal: Crystal, *, models: Sequence[str | Path], device: str = "auto"
) -> NDArray[np.float64]:
    """(n,) the same for the refined candidate that is chosen, however unsure."""
    job = index_bragg_peaks(patterns.peaks, [crystal], parameters=UNSPARING, models=models, device=device)
    return errors_deg(finish(job).result, patterns.quaternion)


def proposals_a_second(
    patterns: KnownPatterns, crystal: Crystal, *, models: Sequence[str | Path], precision: Precision
) -> float:
    """Patterns that the network reads in a second on the CPU, tokens ready."""
    import time

    indexer, disks, mask = _read(patterns, crystal, models)
    for _ in _proposed(indexer, disks[:BATCH], mask[:BATCH], precision=precision):
        pass  # warmed up
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 2.0:
        for rotation in _proposed(indexer, disks, mask, precision=precision):
            count += len(rotation)
    return count / (time.perf_counter() - start)


def _read(
    patterns: KnownPatterns, crystal: Crystal, models: Sequence[str | Path]
) -> tuple[PatternIndexer, Tensor, Tensor]:
    """An indexer on the CPU, and the patterns padded: (n, N, 3) and (n, N)."""
    indexer = make_pattern_indexer(
        patterns.peaks, [crystal], parameters=UNSPARING, models=models, device="cpu"
    )
    disks, mask = indexer.pad(patterns.peaks)
    longest = max(1, int(mask.sum(axis=1).max()))
    return indexer, torch.as_tensor(disks[:, :longest]), torch.as_tensor(mask[:, :longest])


def _proposed(indexer: PatternIndexer, disks: Tensor, mask: Tensor, *, precision: Precision) -> list[Tensor]:
    """What the network proposes, (b, K, 3, 3) for one batch after the other."""
    half = torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.inference_mode(), half:
        return [
            indexer.indexers[0].propose(disks[start : start + BATCH], mask[start : start + BATCH])
            for start in range(0, len(disks), BATCH)
        ]


def _nearest_deg(
    rotation: Tensor, quaternion: NDArray[np.float64], crystal: Crystal, *, there: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n,) distance of the truth (n, 4) from the nearest of rotations (n, C, 3, 3), of which some are there (n, C)."""
    n_patterns, n_candidates = rotation.shape[:2]
    angle = disorientation_angle_deg(
        np.repeat(quaternion, n_candidates, axis=0),
        matrix_to_quaternion(rotation.double().cpu().numpy().reshape(-1, 3, 3)),
        crystal.proper_point_group,
    ).reshape(n_patterns, n_candidates)
    nearest: NDArray[np.float64] = np.where(there, angle, np.inf).min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)
