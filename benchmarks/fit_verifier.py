"""Fit the weights by which refined candidates are told apart, on Bloch-wave patterns that py4DSTEM simulates.

Every pattern is thinned out as a detector would: a threshold between 0.1 and 20 % of its strongest disk, some disks
missing or spurious, a second grain, noise in position and intensity, a scale error. The candidates of each pattern are
proposed and refined as in indexing; a multinomial logit on the features of `indexing.verification` gives the weights,
and a logistic regression the odds that none of them is right. Prints what stands in that module.

    python benchmarks/fit_verifier.py --patterns 1500
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from bloch_patterns import simulate_bloch_patterns
from known_patterns import KnownPatterns
from numpy.typing import NDArray
from scipy.optimize import minimize

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix
from napari_stem_orient.indexing.index import IndexParameters, make_pattern_indexer
from napari_stem_orient.indexing.verification import WEIGHTS, verification_features
from napari_stem_orient.network.loss import geodesic_distance, symmetry_matrices

RIGHT_WITHIN_DEG = 3.0
REPEATS = 3  # thinned versions of each pattern
MIXED = 0.3  # part of the patterns with a second, weaker grain


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


@torch.inference_mode()
def candidate_features(
    peaks: BraggPeaks, truth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (n, K, F) of the refined candidates of patterns with enough disks, and errors (n, K) in degrees."""
    crystal = load_crystal("Cu")
    indexer = make_pattern_indexer(peaks, [crystal], parameters=IndexParameters(), device="cpu")
    padded, present = indexer.pad(peaks)
    worth = present.sum(axis=1) >= indexer.parameters.min_disks
    disks, mask = torch.as_tensor(padded[worth]), torch.as_tensor(present[worth])
    phase = indexer.indexers[0]
    q, intensity = disks[..., :2], disks[..., 2] / disks[..., 2].amax(dim=1, keepdim=True)
    rotation, q = phase.refine(phase.propose(disks, mask), q, intensity)
    features, _ = verification_features(phase.fitter, rotation, q, intensity, mask)
    true_rotation = torch.as_tensor(quaternion_to_matrix(truth[worth])).float()
    symmetry = symmetry_matrices([crystal], torch.device("cpu"))[0]
    error = torch.rad2deg(geodesic_distance(rotation, true_rotation, symmetry))
    return torch.stack([features[name] for name in WEIGHTS], dim=-1).double().numpy(), error.double().numpy()


def fit_weights(features: NDArray[np.float64], error_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multinomial logit weights (F,) for "this candidate is right", among patterns that have a right one."""
    solvable = error_deg.min(axis=1) < RIGHT_WITHIN_DEG
    spread = features.reshape(-1, features.shape[-1]).std(axis=0)
    x = features[solvable] / spread
    right = error_deg[solvable] < RIGHT_WITHIN_DEG

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = x @ weights
        probability = np.exp(odds - odds.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        hit = (probability * right).sum(axis=1, keepdims=True)
        slope = np.einsum("nk,nkf->f", probability * right / hit - probability, x) / len(x)
        return float(-np.log(hit).mean() + 1e-3 * weights @ weights), -slope + 2e-3 * weights

    return np.asarray(minimize(cost, np.zeros(x.shape[-1]), jac=True, method="L-BFGS-B").x) / spread


def fit_none_right(
    features: NDArray[np.float64], error_deg: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intercept and slope (2,) of the log odds that no candidate is right, in the chosen one's diffuse similarity."""
    chosen = (features @ weights).argmax(axis=1)
    similarity = features[np.arange(len(chosen)), chosen, list(WEIGHTS).index("diffuse_similarity")]
    none_right = error_deg.min(axis=1) > RIGHT_WITHIN_DEG

    def cost(line: NDArray[np.float64]) -> float:
        odds = line[0] + line[1] * similarity
        return float(np.logaddexp(0, odds).mean() - (odds * none_right).mean())

    return np.asarray(minimize(cost, np.zeros(2)).x)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patterns", type=int, default=1500, help="Bloch patterns to simulate")
    parser.add_argument(
        "--seed", type=int, default=4242, help="seed of orientations, thicknesses and thinning"
    )
    arguments = parser.parse_args()
    patterns = simulate_bloch_patterns(
        load_crystal("Cu"), arguments.patterns, seed=arguments.seed, drop_below=0.001
    )
    features, error = candidate_features(*thinned(patterns, seed=arguments.seed))
    weights = fit_weights(features, error)
    chosen = error[np.arange(len(error)), (features @ weights).argmax(axis=1)]
    for name, weight in zip(WEIGHTS, weights, strict=True):
        print(f'    "{name}": {weight:.2f},')
    none_right = fit_none_right(features, error, weights)
    print(f"NONE_RIGHT = ({none_right[0]:.2f}, {none_right[1]:.2f})")
    print(
        f"{len(error)} patterns; a candidate within 2°: {np.mean(error.min(axis=1) < 2):.1%}, "
        f"the chosen one: {np.mean(chosen < 2):.1%}, beyond 34°: {np.mean(chosen > 34):.1%}"
    )


if __name__ == "__main__":
    main()
