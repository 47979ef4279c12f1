"""Compare generators that begin where another task's ended with new ones: prints the table of docs/results/transfer.md.

    python benchmarks/transfer.py [--first 2000] [--steps 50,100,200,400,800] [--seeds 3]

First a generator is trained on MNIST, its images shrunk to 8 × 8 pixels; then, for each number of steps and each seed,
one that begins there (`trainer.from`) and one that begins anew are trained on scikit-learn's digits, with everything
else alike. Needs MNIST in $HYPERFRAME_DATA. Results are of the 360 test images.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.datasets import MNIST

import hyperframe as hf

CONFIGS = ("digits", "digits_hypernetwork")
COLUMNS = ("one network", "vote", "NLL of the ensemble")


def shrunk_mnist() -> tuple[Tensor, Tensor]:
    """Training images of MNIST as means of 4 × 4 pixels, with a border of two: [examples, 1, 8, 8] in [0, 1]."""
    data = MNIST(os.environ["HYPERFRAME_DATA"])
    return F.avg_pool2d(F.pad(data.data[:, None].float() / 255, (2, 2, 2, 2)), 4), data.targets


def settings(steps: int, seed: int) -> dict[str, Any]:
    """The settings that all trainings share."""
    return {"trainer.steps": steps, "trainer.seed": seed, "trainer.device": "cpu", "evaluation.every": steps}


def measured(run: hf.Run) -> tuple[float, float, float]:
    """Accuracies of one network and of the vote in %, and the NLL of the ensemble, on the test images."""
    results = run.evaluate()
    together = results["ensemble"]
    return 100 * results["accuracy"]["mean"], 100 * together["majority"], together["nll"]


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=2000, help="steps of the first training")
    parser.add_argument("--steps", default="50,100,200,400,800", help="steps of the second ones")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| configuration | steps | begins | {' | '.join(COLUMNS)} |\n| --- | --- | --- |{' --- |' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        for config in CONFIGS:
            first = Path(folder) / config
            hf.train(config, settings(chosen.first, 0), data=shrunk_mnist(), out=first)
            for steps in map(int, chosen.steps.split(",")):
                for begins, own in (("anew", {}), ("at MNIST's", {"trainer.from": str(first)})):
                    found = []
                    for seed in range(chosen.seeds):
                        out = Path(folder) / f"{config}-{steps}-{len(own)}-{seed}"
                        found.append(measured(hf.train(config, {**settings(steps, seed), **own}, out=out)))
                    cells = [
                        f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
                        for values, digits in zip(zip(*found, strict=True), (2, 2, 4), strict=True)
                    ]
                    print(f"| `{config}` | {steps} | {begins} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
