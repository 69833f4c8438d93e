"""How large the network should be: accuracy against patterns a second on a CPU, after trainings of equal time.

Every size is trained from random weights for as many minutes, or with --steps on as many patterns, with parameters of
the shipped model, and compared on Bloch-wave patterns by py4DSTEM as in accuracy_bloch.py. "Proposed" is the part of
the patterns for which one of the candidates is within 5° before refinement, "chosen" the part for which the refined
candidate that is chosen is within 2°. The rates are those of the network alone, tokens ready, on the CPU in fp32 and
under bf16 autocast. A size is width, layers, tokens and candidates; with one candidate it is the published method.

    python benchmarks/sizes.py --minutes 10 --sizes 64,3,24,8 96,3,32,8 128,4,32,8 96,3,32,1 --cache bloch.npz
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bloch_patterns import known_patterns
from candidate_errors import chosen_errors_deg, proposal_errors_deg, proposals_a_second
from known_patterns import KnownPatterns, pattern_options
from report import machine, percent, table
from short_training import ENDLESS_STEPS, KeptLibraries, folder_of_model, parameters_of_model, train_briefly

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.transformer.model_folder import load_model
from napari_stem_orient.transformer.network import TransformerConfig

DEFAULT_SIZES = ("48,2,24,8", "64,3,24,8", "96,3,32,8", "96,3,32,1", "128,4,32,8")
COLUMNS = (
    "d",
    "layers",
    "tokens",
    "K",
    "parameters",
    "million patterns seen",
    "proposed",
    "in bf16",
    "chosen",
    "fp32",
    "bf16",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--minutes", type=float, default=10.0, help="of each training (default: 10)")
    extent.add_argument("--steps", type=int, help="of each training, instead of minutes")
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=list(DEFAULT_SIZES),
        metavar="WIDTH,LAYERS,TOKENS,CANDIDATES",
        help=f"networks to train (default: {' '.join(DEFAULT_SIZES)})",
    )
    pattern_options(parser)
    parser.add_argument("--device", default="auto", help="of the training (default: auto)")
    parser.add_argument(
        "--start-from", type=Path, metavar="FOLDER", help="a model to begin with (default: random weights)"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the trained models in this folder")
    arguments = parser.parse_args()
    networks = [network_of(size) for size in arguments.sizes]
    crystal = load_crystal(arguments.crystal)
    patterns = known_patterns(crystal, arguments.patterns, seed=arguments.seed, cache=arguments.cache)
    parameters = parameters_of_model(
        folder_of_model(crystal, None),
        minutes=arguments.minutes if arguments.steps is None else None,
        steps=arguments.steps or ENDLESS_STEPS,
    )
    libraries = KeptLibraries()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for network, size in zip(networks, arguments.sizes, strict=True):
            output = (arguments.keep or Path(temporary)) / size.replace(",", "-")
            train_briefly(
                [crystal],
                parameters.model_copy(update={"network": network}),
                output,
                libraries=libraries,
                device=arguments.device,
                start_from=arguments.start_from,
            )
            rows.append(_row(output, crystal, patterns))
            print(", ".join(rows[-1]), flush=True)
    print(
        f"\n{arguments.patterns:,} Bloch-wave patterns of {crystal.name}; "
        f"{arguments.steps or arguments.minutes:g} {'steps' if arguments.steps else 'minutes'} each\n"
        f"{machine()}\n"
    )
    print(table(COLUMNS, rows))


def network_of(size: str) -> TransformerConfig:
    """The network that "width,layers,tokens,candidates" stands for; SystemExit where it is no size."""
    try:
        width, layers, tokens, candidates = (int(number) for number in size.split(","))
    except ValueError:
        raise SystemExit(
            f"{size!r} is no size: give width,layers,tokens,candidates such as 96,3,32,8"
        ) from None
    return TransformerConfig(width=width, layers=layers, n_tokens=tokens, n_candidates=candidates)


def _row(folder: Path, crystal: Crystal, patterns: KnownPatterns) -> list[str]:
    model = load_model(folder)
    network = model.card.network
    n_parameters = sum(tensor.numel() for tensor in model.network.parameters())
    proposed = [
        percent(proposal_errors_deg(patterns, crystal, models=[folder], precision=precision) < 5)
        for precision in ("fp32", "bf16")
    ]
    rates = [
        f"{proposals_a_second(patterns, crystal, models=[folder], precision=precision):,.0f}/s"
        for precision in ("fp32", "bf16")
    ]
    return [
        *(str(n) for n in (network.width, network.layers, network.n_tokens, network.n_candidates)),
        f"{n_parameters:,}",
        f"{model.card.training['patterns'] / 1e6:.2f}",
        *proposed,
        percent(chosen_errors_deg(patterns, crystal, models=[folder]) < 2),
        *rates,
    ]


if __name__ == "__main__":
    main()
