"""Ensembles around a trained network beside ensembles from nothing: prints the table of docs/results/part.md.

    python benchmarks/part.py [--first 4000] [--steps 400] [--images 100] [--seeds 3] [--generators modes,hypernetwork]

First one LeNet is trained on CIFAR-10's images of airplanes, automobiles, birds, cats and deer. Then
ensembles learn dogs, frogs, horses, ships and trucks from a few images of each, all else alike: from nothing,
or around the network that was trained, of which a part is generated. Needs CIFAR-10 in $HYPERFRAME_DATA. Results are of
the 5,000 test images of the five classes.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.datasets import CIFAR10

import hyperframe as hf

KNOWN = 5
"""Classes from this one on are new."""

LAST = "11."
"""How the names of the last layer's parameters begin, which is new for new classes."""

WAYS: dict[str, dict[str, Any]] = {
    "from nothing": {},
    "begins there": {"target.generate": ["*"]},
    "last layer": {"target.generate": ["11"]},
    "dense layers": {"target.generate": ["7", "9", "11"]},
    "adapters of rank 4": {"target.adapter": "lora", "target.rank": 4},
}
GENERATORS: dict[str, dict[str, Any]] = {
    "modes": {"generator.modes": 8, "generator.spread": 0.1},
    "hypernetwork": {"generator.batch_norm": False, "generator.initialisation": "hyperfan"},
}
COLUMNS = ("generator", "ensemble", "weights", "one network", "vote", "NLL of the ensemble", "CPU s a step")


def images(train: bool, classes: range) -> tuple[Tensor, Tensor]:
    """CIFAR-10's images of some classes, uint8 [examples, 3, 32, 32], and their classes from 0."""
    data = CIFAR10(os.environ["HYPERFRAME_DATA"], train=train)
    labels = torch.tensor(data.targets)
    chosen = (labels >= classes.start) & (labels < classes.stop)
    return torch.from_numpy(data.data)[chosen].permute(0, 3, 1, 2).contiguous(), labels[chosen] - classes.start


def few(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first images of each class."""
    chosen = torch.cat([(y == label).nonzero()[:count, 0] for label in range(KNOWN)])
    return x[chosen], y[chosen]


def settings(steps: int, seed: int) -> dict[str, Any]:
    """The settings that all trainings share."""
    return {
        "target": "lenet",
        "trainer.steps": steps,
        "trainer.seed": seed,
        "trainer.device": "cpu",
        "trainer.threads": 1,
        "trainer.rate": 1e-3,
        "trainer.schedule": "one_cycle",
        "trainer.batch_size": 32,
        "evaluation.every": steps,
    }


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=4000, help="steps of the first training")
    parser.add_argument("--steps", type=int, default=400, help="steps of the second ones")
    parser.add_argument("--images", type=int, default=100, help="training images of each new class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--generators", default=",".join(GENERATORS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        one = {"generator": "direct", "generator.networks": 1, "trainer.networks": 1, "trainer.batch_size": 128}
        known = images(True, range(KNOWN))
        first = hf.train(
            "cifar10_lenet",
            {**settings(chosen.first, 0), **one, "diversity": ["none"]},
            data=known,
            out=Path(folder) / "first",
        )
        trained = Path(folder) / "trained.safetensors"
        state = first.sample(1).state_dict(0)
        save_file({name: value for name, value in state.items() if not name.startswith(LAST)}, trained)
        accuracy = first.evaluate(networks=1)["accuracy"]["mean"]
        print(f"the network that was trained: {100 * accuracy:.1f} % of its classes\n")
        x, y = few(*images(True, range(KNOWN, 10)), chosen.images)
        x_test, y_test = images(False, range(KNOWN, 10))
        data = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
        print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
        for generator in chosen.generators.split(","):
            own = {"generator": generator, "generator.whole": ["last"], **GENERATORS[generator]}
            for way, part in WAYS.items():
                around = {**part, "target.weights": str(trained)} if part else {}
                if generator == "hypernetwork" and way == "begins there":
                    continue  # it has no base points
                found, weights = [], 0
                for seed in range(chosen.seeds):
                    begun = time.process_time()
                    run = hf.train(
                        "cifar10_lenet",
                        {**settings(chosen.steps, seed), "trainer.networks": 16, **own, **around},
                        data=data,
                        out=Path(folder) / f"{generator}-{way}-{seed}",
                    )
                    cost = (time.process_time() - begun) / chosen.steps
                    results = run.evaluate(networks=100)
                    weights = run.experiment.target.spec.num_weights
                    together = results["ensemble"]
                    found.append((100 * results["accuracy"]["mean"], 100 * together["majority"], together["nll"], cost))
                cells = [
                    f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
                    for values, digits in zip(zip(*found, strict=True), (2, 2, 4, 3), strict=True)
                ]
                print(f"| `{generator}` | {way} | {weights:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
