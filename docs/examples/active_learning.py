"""Batch active learning on digits: which images to have labelled, 20 a round.

`python docs/examples/active_learning.py FOLDER SEEDS [ARM...]` prints a table and draws FOLDER/curves.png. Curves are
kept in FOLDER and read from there again.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from methods import draw_curves, kept, mean_and_interval, networks_of
from sklearn.datasets import load_digits
from torch import Tensor

import hyperframe as hf

BATCH, LAST, TEST, DRAWS, OUTCOMES = 20, 260, 600, 200, 100
"""Labels a round and of the last training; test images; networks that are drawn; drawn labels of the images chosen."""
GOAL = 0.95
SETTINGS: dict[str, Any] = {}
"""Over those of all methods; what a quick trial changes."""


def entropy(probabilities: Tensor) -> Tensor:
    """In nats, over the last axis."""
    return torch.special.entr(probabilities).sum(-1)


def batch_bald(probabilities: Tensor, count: int, rng: torch.Generator) -> list[int]:
    """Choose images whose labels together tell most about which network is right (A. Kirsch et al. 2019, BatchBALD).

    Images are chosen one after the other, each with the greatest mutual information of its label and the network given
    the labels of those before: the mean of H(label | labels before) over drawn labels of these, less the networks' mean
    entropy. Drawn labels are those that one of the networks would give; they change the networks' weights by Bayes'
    law.

    Args:
        probabilities: [networks, images, classes].
        count: how many images.
        rng: of the labels.
    """
    networks, images, classes = probabilities.shape
    alone = entropy(probabilities).mean(0)
    by_network = probabilities.flatten(1)
    speaking = torch.arange(OUTCOMES) % networks  # whose labels an outcome has
    logs = torch.zeros(OUTCOMES, networks, dtype=torch.float64)  # of the networks' weights, given an outcome's labels
    chosen: list[int] = []
    for _ in range(count):
        predicted = (logs.softmax(1).to(by_network) @ by_network).view(OUTCOMES, images, classes)
        gain = entropy(predicted).mean(0) - alone
        gain[chosen] = -torch.inf
        best = int(gain.argmax())
        labels = torch.multinomial(probabilities[speaking, best], 1, generator=rng)[:, 0]
        logs += probabilities[:, best, labels].T.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
        chosen.append(best)
    return chosen


def mutual_information(probabilities: Tensor, count: int, rng: torch.Generator) -> list[int]:
    """Choose the images about which networks disagree most, each for itself (N. Houlsby et al. 2011, BALD)."""
    return (entropy(probabilities.mean(0)) - entropy(probabilities).mean(0)).topk(count).indices.tolist()


def at_random(probabilities: Tensor, count: int, rng: torch.Generator) -> list[int]:
    """Choose any images."""
    return torch.randperm(probabilities.shape[1], generator=rng)[:count].tolist()


CHOICES = {"batch": batch_bald, "single": mutual_information, "random": at_random}
ARMS = ["modes, batch", "deep ensemble, batch", "hypernetwork, batch", "deep ensemble, single", "deep ensemble, random"]


def learn(arm: str, seed: int) -> dict[str, Any]:
    """Train, measure and have images labelled until `LAST` images are."""
    method, _, choice = arm.partition(", ")
    found, rng = load_digits(), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(found.target), generator=rng)
    images = torch.tensor(found.images[:, None] / 16, dtype=torch.float32)[order]
    classes = torch.tensor(found.target)[order]
    test, pool = hf.Data(images[:TEST], classes[:TEST]), hf.Data(images[TEST:], classes[TEST:])
    labelled = torch.zeros(len(pool), dtype=torch.bool)
    labelled[:BATCH] = True
    curve: dict[str, Any] = {"labels": [], "accuracy": [], "nll": [], "evaluations": 0}
    while True:
        data = {"x": pool.x[labelled], "y": pool.y[labelled], "x_test": test.x, "y_test": test.y}
        data |= {"x_validation": data["x"], "y_validation": data["y"]}  # nothing is chosen by them
        networks, evaluations = networks_of(method, data, DRAWS, seed, SETTINGS)
        mean = networks.mean(test.x).double()
        curve["labels"].append(int(labelled.sum()))
        curve["accuracy"].append(float((mean.argmax(-1) == test.y).double().mean()))
        curve["nll"].append(-float(mean.gather(1, test.y[:, None]).clamp(min=1e-30).log().mean()))
        curve["evaluations"] += evaluations
        if curve["labels"][-1] >= LAST:
            return curve
        open_ = (~labelled).nonzero()[:, 0]
        chosen = CHOICES[choice](networks.predict(pool.x[open_]), BATCH, rng)
        labelled[open_[chosen]] = True


def needed(curve: dict[str, Any]) -> float:
    """The fewest labels at which a curve reaches the goal; infinity where it does not."""
    pairs = zip(curve["labels"], curve["accuracy"], strict=True)
    return next((labels for labels, accuracy in pairs if accuracy >= GOAL), float("inf"))


def main(folder: Path, seeds: int, arms: Sequence[str]) -> None:
    """Print a row for each arm as soon as it is done."""
    print(f"| arm | labels for {100 * GOAL:.0f} % | mean accuracy over the rounds, % | NLL with {LAST} labels |")
    print("| --- | --- | --- | --- |")
    curves = {}
    for arm in arms:
        curves[arm] = [kept(folder, arm, seed, partial(learn, arm, seed)) for seed in range(seeds)]
        means = [100 * sum(curve["accuracy"]) / len(curve["accuracy"]) for curve in curves[arm]]
        labels = ", ".join(f"{needed(curve):g}" for curve in curves[arm]).replace("inf", f"> {LAST}")
        last = mean_and_interval([curve["nll"][-1] for curve in curves[arm]], 3)
        print(f"| {arm} | {labels} | {mean_and_interval(means, 2)} | {last} |", flush=True)
    accuracies = {arm: [[100 * one for one in curve["accuracy"]] for curve in found] for arm, found in curves.items()}
    x = curves[arms[0]][0]["labels"]
    draw_curves(folder / "curves.png", x, accuracies, ("labelled images", "test accuracy of the ensemble, %"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or ARMS)
