"""Measure errors of the entropy estimators on known entropies: `python benchmarks/entropies.py [SEEDS]` prints a table.

For each distribution and estimator: mean and standard deviation over the seeds of estimate − truth, in nats, for
several numbers of samples. `renyi` estimates the entropy of order 2 and is compared with it, the others with Shannon's.
"""

import math
import platform
import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from hyperframe.builtin.entropies.gaussian import GaussianEntropy
from hyperframe.builtin.entropies.kozachenko_leonenko import KozachenkoLeonenko, Options
from hyperframe.builtin.entropies.renyi import Options as RenyiOptions
from hyperframe.builtin.entropies.renyi import RenyiEntropy
from hyperframe.types import EntropyEstimator

COUNTS = (50, 200, 1000, 3000)
SIDE, RADIUS, ENTRIES = 2.0, 3.0, 50
COVARIANCE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.3], [0.0, 0.3, 0.5]], dtype=torch.float64)


def neighbours(**options: object) -> KozachenkoLeonenko:
    """Return the nearest-neighbour estimator with constants, so that values are comparable."""
    return KozachenkoLeonenko(Options(constants=True, **options))  # type: ignore[arg-type]


ESTIMATORS: dict[str, EntropyEstimator] = {
    "kozachenko_leonenko": neighbours(),
    "… neighbour=3": neighbours(neighbour=3),
    "… distance=l1": neighbours(distance="l1"),
    "… subset=32": neighbours(subset=32),
    "… coordinates=25": neighbours(coordinates=25),
    "gaussian": GaussianEntropy(),
    "renyi": RenyiEntropy(RenyiOptions()),
    "renyi bandwidth=0.3": RenyiEntropy(RenyiOptions(bandwidth=0.3)),
}


def cube(count: int, rng: torch.Generator) -> Tensor:
    """Draw uniformly from [0, 2]³."""
    return SIDE * torch.rand(count, 3, generator=rng, dtype=torch.float64)


def normal(count: int, rng: torch.Generator) -> Tensor:
    """Draw from a normal distribution in three dimensions, with correlations."""
    rows = torch.randn(count, 3, generator=rng, dtype=torch.float64)
    return rows @ torch.linalg.cholesky(COVARIANCE).T


def circle(count: int, rng: torch.Generator) -> Tensor:
    """Draw uniformly from a circle that is rotated at random in 50 dimensions."""
    plane = torch.linalg.qr(torch.randn(ENTRIES, 2, generator=rng, dtype=torch.float64)).Q
    angles = 2 * math.pi * torch.rand(count, 1, generator=rng, dtype=torch.float64)
    return RADIUS * torch.cat([angles.cos(), angles.sin()], 1) @ plane.T


LOG_DET = float(COVARIANCE.logdet())
# A function that draws samples, the dimension, the entropies of Shannon and of order 2.
DISTRIBUTIONS: dict[str, tuple[Callable[[int, torch.Generator], Tensor], int, float, float]] = {
    "uniform on a cube": (cube, 3, 3 * math.log(SIDE), 3 * math.log(SIDE)),
    "normal": (
        normal,
        3,
        1.5 * math.log(2 * math.pi * math.e) + LOG_DET / 2,
        1.5 * math.log(4 * math.pi) + LOG_DET / 2,
    ),
    "uniform on a circle": (circle, 1, math.log(2 * math.pi * RADIUS), math.log(2 * math.pi * RADIUS)),
}


def main() -> None:
    """Print the table, and the seeds and versions it was made with."""
    seeds = int(sys.argv[1]) if sys.argv[1:] else 10
    print("| distribution | estimator | " + " | ".join(f"n = {count:,}" for count in COUNTS) + " |")
    print("|" + " --- |" * (2 + len(COUNTS)))
    for name, (draw, dimension, shannon, second) in DISTRIBUTIONS.items():
        for label, estimator in ESTIMATORS.items():
            truth = second if label.startswith("renyi") else shannon
            cells = []
            for count in COUNTS:
                errors = []
                for seed in range(seeds):
                    rng = torch.Generator().manual_seed(seed)
                    errors.append(float(estimator(draw(count, rng), dimension, rng)) - truth)
                cells.append(f"{statistics.mean(errors):+.3f} ± {statistics.stdev(errors):.3f}")
            print(f"| {name} | {label} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nSeeds 0 … {seeds - 1}; Python {platform.python_version()}, torch {torch.__version__}, float64, CPU")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
