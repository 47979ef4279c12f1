"""Compare gauges on networks that were trained apart: prints the table of docs/results/matching.md.

    python benchmarks/matching.py [--networks 8] [--steps 2000] [--points 21]

Networks of a few widths are trained on scikit-learn's digits, each from its own beginning. Every pair is brought to its
representatives under lists of gauges; the second network of a pair is matched to the first: by the filters that write
units in one pass, where `permutation_match` begins, and as it ends. Measured are the distance between the two, beside
that under the same factors without a permutation, and the barrier of the straight path between them: how far the test
loss on the path rises at most above the straight line between the losses at its ends.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.targets import flatten, slice_weights
from hyperframe.targets.symmetry.matching import FilterMatching, Matching
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.types import Weights

TARGETS: dict[str, dict[str, Any]] = {
    "digits_cnn, 12 and 16 channels": {"name": "digits_cnn"},
    "digits_cnn, 64 and 128 channels": {"name": "digits_cnn", "channels": [64, 128]},
    "mlp, 64 and 64 units": {"name": "mlp", "hidden": [64, 64]},
    "mlp, 512 and 512 units": {"name": "mlp", "hidden": [512, 512]},
}
FACTORS = ("none", "scale", "balanced")
UNMATCHED = ("none", "permutation_sort")
MATCHED = {
    "one pass by filters": lambda of, one, other: FilterMatching(of, one)(Sorting(of)(other)),
    "permutation_match": lambda of, one, other: Matching(of, one)(other),
}


def train(target: dict[str, Any], networks: int, steps: int, folder: Path) -> hf.Run:
    """Train networks side by side; none knows of the others."""
    settings = {
        "target": target,
        "generator": {"name": "direct", "networks": networks},
        "objective": {"name": "trade_off", "lambda": 1.0},
        "diversity": ["none"],
        "trainer.networks": networks,
        "trainer.steps": steps,
        "trainer.rate": 3e-3,
        "trainer.device": "cpu",
        "evaluation.every": steps,
        "evaluation.networks": networks,
        "evaluation.test_networks": networks,
    }
    return hf.train("digits", settings, out=folder)


def gauged(run: hf.Run, name: str, weights: Weights) -> Weights:
    """Representatives under a gauge with its default options; "none" leaves weights as they are."""
    if name == "none":
        return weights
    component = make_registry().get("gauge", name).component
    result: Weights = component.factory(component.options(), run.experiment.orbits)(weights)
    return result


def distance(run: hf.Run, one: Weights, other: Weights) -> float:
    """Distance between two networks."""
    spec = run.experiment.target.spec
    return float(torch.dist(flatten(spec, one), flatten(spec, other)))


def barrier(run: hf.Run, one: Weights, other: Weights, points: int) -> float:
    """How far the test loss on the straight path rises at most above the line between the losses at its ends."""
    t = torch.linspace(0, 1, points)
    losses = test_losses(
        run, {layer: torch.lerp(value, other[layer], t[:, None, None]) for layer, value in one.items()}
    )
    return float((losses - torch.lerp(losses[0], losses[-1], t)).max())


def test_losses(run: hf.Run, weights: Weights) -> Tensor:
    """Mean test loss of each network."""
    task = run.experiment.task
    data = task.data("test")
    outputs = run.experiment.target.forward(weights, data.x, shared=True)
    return task.loss(outputs, data.y.expand(len(outputs), -1)).mean(1)


def compare(run: hf.Run, weights: Weights, pairs: Sequence[tuple[int, int]], points: int) -> None:
    """Print a row for each list of gauges."""
    for factors in FACTORS:
        scaled = gauged(run, factors, weights)
        apart: list[float] = []
        for permutation in (*UNMATCHED, *MATCHED):
            ordered = scaled if permutation in MATCHED else gauged(run, permutation, scaled)
            distances, barriers = [], []
            for i, j in pairs:
                one, other = (slice_weights(ordered, slice(k, k + 1)) for k in (i, j))
                if permutation in MATCHED:
                    other = MATCHED[permutation](run.experiment.orbits, one, other)
                distances.append(distance(run, one, other))
                barriers.append(barrier(run, one, other, points))
            apart = apart or distances
            ratios = [found / plain for found, plain in zip(distances, apart, strict=True)]
            print(f"| | {factors} | {permutation} | {shown(ratios, 3)} | {shown(barriers, 2)} |", flush=True)


def shown(values: Sequence[float], digits: int) -> str:
    """Mean, and the standard deviation over pairs."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


@torch.no_grad()
def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--points", type=int, default=21, help="places on a path")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| target | factors | permutation | distance | barrier |\n| --- | --- | --- | --- | --- |")
    pairs = list(combinations(range(chosen.networks), 2))
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, target) in enumerate(TARGETS.items()):
            with torch.enable_grad():
                run = train(target, chosen.networks, chosen.steps, Path(folder) / str(number))
            accuracy = run.evaluate()["accuracy"]["mean"]
            print(f"| {name}, accuracy {100 * accuracy:.1f} % | | | | |", flush=True)
            compare(run, run.sample(chosen.networks).weights, pairs, chosen.points)


if __name__ == "__main__":
    main()
