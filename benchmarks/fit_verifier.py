"""Fit the weights by which refined candidates are told apart, on Bloch-wave patterns that py4DSTEM simulates.

Every pattern is thinned out as a detector would: a threshold between 0.1 and 20 % of its strongest disk, some disks
missing or spurious, a second grain, noise in position and intensity, a scale error. The candidates of each pattern are
proposed and refined as in indexing; a multinomial logit on the features of `indexing.verification` gives the weights,
and a logistic regression the odds that none of them is right. Prints what stands in that module, and beside it for each
crystal the choice and the log loss of the forecast, both fitted without it, on patterns of it alone.

    python benchmarks/fit_verifier.py --crystals Cu --patterns 1500    # the weights
    python benchmarks/fit_verifier.py --keep-weights                   # the odds that none is right
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bloch_patterns import simulate_bloch_patterns
from known_patterns import KnownPatterns
from numpy.typing import NDArray
from report import percent, table
from scipy.optimize import minimize
from scipy.special import expit

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.indexing.index import make_pattern_indexer
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.verification import WEIGHTS, verification_features
from napari_stem_orient.transformer.loss import geodesic_distance, symmetry_matrices

RIGHT_WITHIN_DEG = 3.0
REPEATS = 3  # thinned versions of each pattern
MIXED = 0.3  # part of the patterns with a second, weaker grain
FEWEST_DISKS = 2
BATCH = 400

#: One of each structure type that a shipped model is for.
CRYSTALS = ("Cu", "Fe (bcc)", "Ti", "Si", "NaCl", "Cu2O")
COLUMNS = (
    "fitted without",
    "patterns",
    "a candidate within 2°",
    "the chosen one",
    "beyond 34°",
    "none right",
    "forecast",
    "log loss",
    "of a constant",
)


def thinned(patterns: KnownPatterns, *, seed: int) -> tuple[BraggPeaks, NDArray[np.float64]]:
    """The patterns, REPEATS times each, as a detector might see them; and their true orientations (n, 4)."""
    rng = np.random.default_rng(seed)
    lists = []
    for index in np.tile(np.arange(patterns.peaks.n_positions), REPEATS):
        disks = patterns.peaks.at(0, int(index)).astype(np.float64)
        disks = disks[np.hypot(disks[:, 0], disks[:, 1]) > 1e-3]
        threshold = np.exp(rng.uniform(np.log(1e-3), np.log(0.2)))
        disks = disks[disks[:, 2] > threshold * disks[:, 2].max(initial=0.0)]
        disks = disks[rng.random(len(disks)) > rng.uniform(0, 0.1)]
        disks[:, :2] += rng.normal(0, rng.uniform(0.001, 0.008), (len(disks), 2))
        disks[:, :2] *= 1 + rng.normal(0, 0.004)
        disks[:, 2] *= np.exp(rng.normal(0, rng.uniform(0, 0.3), len(disks)))
        if len(disks) and rng.random() < 0.3:
            disks = np.vstack([disks, [*rng.uniform(-1.5, 1.5, 2), disks[:, 2].min()]])
        if len(disks) and rng.random() < MIXED:
            second = patterns.peaks.at(0, int(rng.integers(patterns.peaks.n_positions))).astype(np.float64)
            second = second[np.hypot(second[:, 0], second[:, 1]) > 1e-3]
            second[:, 2] *= rng.uniform(0.05, 0.5) * disks[:, 2].max() / second[:, 2].max(initial=1e-12)
            disks = np.vstack([disks, second[second[:, 2] > disks[:, 2].min()]])
        lists.append(disks[np.hypot(disks[:, 0], disks[:, 1]) < rng.uniform(1.2, 2.1)])
    peaks = BraggPeaks.from_lists(lists, (1, len(lists)), patterns.peaks.calibration)
    return peaks, np.tile(patterns.quaternion, (REPEATS, 1))


@dataclass(frozen=True, slots=True)
class Refined:
    """Refined candidates of n patterns: features (n, K, F), errors (n, K) in degrees, disks of the patterns (n,)."""

    features: NDArray[np.float64]
    error_deg: NDArray[np.float64]
    n_disks: NDArray[np.int64]

    @classmethod
    def of_all(cls, parts: Sequence[Refined]) -> Refined:
        """Several as one, of each as many as of the smallest, so that no crystal counts more than another."""
        fewest = min(len(part.n_disks) for part in parts)
        return cls(
            *(
                np.concatenate([getattr(part, name)[:fewest] for part in parts])
                for name in ("features", "error_deg", "n_disks")
            )
        )

    def chosen(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Errors (n,) in degrees of the candidates that the weights choose."""
        return np.take_along_axis(
            self.error_deg, (self.features @ weights).argmax(axis=1, keepdims=True), axis=1
        )[:, 0]

    @property
    def none_right(self) -> NDArray[np.bool_]:
        """Patterns (n,) that have no right candidate."""
        return self.error_deg.min(axis=1) > RIGHT_WITHIN_DEG


@torch.inference_mode()
def refined_candidates(crystal: Crystal, peaks: BraggPeaks, truth: NDArray[np.float64]) -> Refined:
    """Refine the candidates of patterns with enough disks, and compare them with the truth (n, 4)."""
    parameters = IndexParameters(min_disks=FEWEST_DISKS)
    indexer = make_pattern_indexer(peaks, [crystal], parameters=parameters, device="cpu")
    padded, present = indexer.pad(peaks)
    phase = indexer.indexers[0]
    symmetry = symmetry_matrices([crystal], torch.device("cpu"))[0]
    parts = []
    worth = np.flatnonzero(present.sum(axis=1) >= FEWEST_DISKS)
    for rows in np.array_split(worth, len(worth) // BATCH + 1):
        disks, mask = torch.as_tensor(padded[rows]), torch.as_tensor(present[rows])
        q, intensity = disks[..., :2], disks[..., 2] / disks[..., 2].amax(dim=1, keepdim=True)
        rotation, q = phase.refine(phase.propose(disks, mask), q, intensity)
        features, _ = verification_features(phase.fitter, rotation, q, intensity, mask)
        error = geodesic_distance(
            rotation, torch.as_tensor(quaternion_to_matrix(truth[rows])).float(), symmetry
        )
        values = torch.stack([features[name] for name in WEIGHTS], dim=-1).double()
        parts.append((values.numpy(), torch.rad2deg(error).double().numpy(), present[rows].sum(axis=1)))
    return Refined(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def fit_weights(refined: Refined) -> NDArray[np.float64]:
    """Multinomial logit weights (F,) for "this candidate is right", among patterns that have a right one."""
    spread = refined.features.reshape(-1, refined.features.shape[-1]).std(axis=0)
    x = refined.features[~refined.none_right] / spread
    right = refined.error_deg[~refined.none_right] <= RIGHT_WITHIN_DEG

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = x @ weights
        probability = np.exp(odds - odds.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        hit = (probability * right).sum(axis=1, keepdims=True)
        slope = np.einsum("nk,nkf->f", probability * right / hit - probability, x) / len(x)
        return float(-np.log(hit).mean() + 1e-3 * weights @ weights), -slope + 2e-3 * weights

    return np.asarray(minimize(cost, np.zeros(x.shape[-1]), jac=True, method="L-BFGS-B").x) / spread


def fit_none_right(refined: Refined, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds that no candidate is right: intercept and slopes (3,) in the columns of `regressors`."""
    columns = regressors(refined, weights)
    mean, spread = columns.mean(axis=0), columns.std(axis=0)
    x = np.column_stack([np.ones(len(columns)), (columns - mean) / spread])

    line = minimize(lambda line: log_loss(x @ line, refined.none_right), np.zeros(x.shape[1])).x
    slopes = line[1:] / spread
    return np.asarray([line[0] - slopes @ mean, *slopes])


def regressors(refined: Refined, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2): the weighted features of the best candidate, and the logarithm of the number of disks."""
    return np.column_stack([(refined.features @ weights).max(axis=1), np.log(refined.n_disks)])


def log_loss(odds: NDArray[np.float64], came_true: NDArray[np.bool_]) -> float:
    """Mean negative log likelihood of log odds (n,)."""
    return float((np.logaddexp(0, odds) - odds * came_true).mean())


def left_out_row(name: str, of: dict[str, Refined], kept: NDArray[np.float64] | None) -> list[object]:
    """How a crystal's patterns fare with what was fitted to all the others; weights may be given."""
    others = Refined.of_all([part for other, part in of.items() if other != name])
    here, weights = of[name], fit_weights(others) if kept is None else kept
    line = fit_none_right(others, weights)
    odds = line[0] + regressors(here, weights) @ line[1:]
    chosen, share = here.chosen(weights), float(here.none_right.mean())
    constant = np.full_like(odds, np.log(share / (1 - share)))
    return [
        name,
        len(chosen),
        percent(here.error_deg.min(axis=1) < 2),
        percent(chosen < 2),
        percent(chosen > 34),
        f"{100 * share:.1f} %",
        f"{100 * expit(odds).mean():.1f} %",
        f"{log_loss(odds, here.none_right):.3f}",
        f"{log_loss(constant, here.none_right):.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--patterns", type=int, default=250, help="Bloch patterns to simulate of each crystal"
    )
    parser.add_argument("--crystals", nargs="+", default=list(CRYSTALS), help="to fit to")
    parser.add_argument(
        "--seed", type=int, default=4242, help="seed of orientations, thicknesses and thinning"
    )
    parser.add_argument(
        "--keep-weights", action="store_true", help="fit the odds that none is right to the weights in use"
    )
    arguments = parser.parse_args()
    kept = np.array(list(WEIGHTS.values())) if arguments.keep_weights else None
    of = {}
    for name in arguments.crystals:
        crystal = load_crystal(name)
        patterns = simulate_bloch_patterns(crystal, arguments.patterns, seed=arguments.seed, drop_below=0.001)
        of[name] = refined_candidates(crystal, *thinned(patterns, seed=arguments.seed))
    together = Refined.of_all(list(of.values()))
    weights = fit_weights(together) if kept is None else kept
    for name, weight in zip(WEIGHTS, weights, strict=True):
        print(f'    "{name}": {weight:.2f},')
    line = fit_none_right(together, weights)
    print(f"NONE_RIGHT = ({', '.join(f'{value:.3g}' for value in line)})\n")
    if len(of) > 1:
        print(table(COLUMNS, [left_out_row(name, of, kept) for name in of]))


if __name__ == "__main__":
    main()
