"""Ensembles of one budget: `python benchmarks/ensembles.py DATA FOLDER SEEDS [--part PART] [RECIPE...]`.

It prints tables. Every recipe spends the same number of gradient evaluations, those of a network at one image
(`Run.gradient_evaluations`; images of diversity terms count too). DATA is

- `digits`, with the budget of its configuration, 2,000 · 16 · 32. Five folds let each of the 1,797 images be a test
  image once, for an ensemble that has not seen it;
- `mnist` or `fashion_mnist`, with the paper's target and 200 passes over the 55,000 training images, 20 for each of ten
  networks; those of `mnist` are moved at random as in `mnist_hypernetwork`. The 10,000 test images test;
- `cifar10`, with LeNet, the images cropped and mirrored at random as in `cifar10_lenet`, and 400 passes over the 45,000
  training images, 40 for each of ten networks. The 10,000 test images test.

PART of the budget is spent where it is given. Runs are kept in FOLDER, which is for one DATA and PART, and taken from
there again. The temperature of one half of the test answers is that of the other half, over several halvings: a
validation set may be so small that all of its answers are right, and then no temperature is too low.

Paired differences of the calibrated negative log-likelihood to the first recipe named are over the same images of the
same folds and seeds; their 95 % intervals are of 10,000 bootstrap draws over images and seeds.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from ensemble_recipes import RECIPES, Recipe
from sklearn.datasets import load_digits
from torch import Tensor

import hyperframe as hf
from hyperframe.analysis.bootstrap import mean_interval
from hyperframe.analysis.runner import analyse
from hyperframe.builtin.analyses.function_spectrum.spectrum import Spectrum
from hyperframe.runtime.rng import stream
from hyperframe.tasks.calibration import held_out_likelihoods, log_likelihoods, results_of

FOLDS, HALVINGS = 5, 10
STRANGE, CORRUPTED = 1000, 500
"""Test images of each kind for what strange and corrupted images show."""


@attrs.frozen(kw_only=True)
class Source:
    """A data set, and what is spent on it.

    Attributes:
        config: the configuration that recipes change.
        budget: gradient evaluations of a training.
        networks: that the configuration's own generator makes in a step.
        largest: the most networks that are drawn for an ensemble.
        images: of a network in a step, where a recipe does not say.
        folds: how many parts of the data test in turn; None: the task's own test images.
        settings: that all recipes have.
        training: settings of recipes with another generator than the configuration's, where a recipe does not say.
    """

    config: str
    budget: int
    networks: int
    largest: int
    images: int = 32
    folds: int | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    training: dict[str, Any] = attrs.field(factory=lambda: {"trainer.rate": 1e-2})

    @property
    def trainings(self) -> int:
        """How many trainings a recipe has for a seed."""
        return self.folds or 1


PASSES, CIFAR_PASSES = 200 * 55_000, 400 * 45_000
SOURCES = {
    "digits": Source(config="digits_hypernetwork", budget=2000 * 16 * 32, networks=16, largest=320, folds=FOLDS),
    "mnist": Source(config="mnist_hypernetwork", budget=PASSES, networks=32, largest=100),
    "fashion_mnist": Source(
        config="mnist_hypernetwork",
        budget=PASSES,
        networks=32,
        largest=100,
        settings={"task.name": "fashion_mnist"},  # nothing that moves images: this setting of the task drops them
    ),
    "cifar10": Source(
        config="cifar10_lenet",
        budget=CIFAR_PASSES,
        networks=10,
        largest=200,
        images=64,
        training={"trainer.rate": 2e-3, "trainer.schedule": "one_cycle"},
    ),
}


def split_digits(fold: int) -> dict[str, Tensor]:
    """The data of one fold: a fifth of all images tests, a tenth of the rest validates."""
    found = load_digits()
    data = hf.Data(torch.tensor(found.images[:, None] / 16, dtype=torch.float32), torch.tensor(found.target))
    parts = torch.randperm(len(data), generator=stream(0, "folds")).chunk(FOLDS)
    rest = torch.cat([part for number, part in enumerate(parts) if number != fold])
    chosen = {"_test": parts[fold], "_validation": rest[: len(rest) // 10], "": rest[len(rest) // 10 :]}
    return {f"{key}{suffix}": getattr(data[rows], key) for suffix, rows in chosen.items() for key in ("x", "y")}


def measure(run: hf.Run, sizes: Sequence[int]) -> dict[str, Any]:
    """Answers of ensembles of several sizes to the test images, and what else is said of them."""
    networks, test = run.sample(sizes[-1], seed=1), run.data("test")
    each = networks.gathered(test.x, lambda outputs: outputs.log_softmax(-1))
    spectrum = Spectrum(len(networks))
    spectrum.add(networks.task.canonical_outputs(each).double().flatten(1))
    return {
        "answers": {size: each[:size].double().exp().mean(0).log().tolist() for size in sizes},
        "labels": test.y.tolist(),
        "single": float((each.argmax(-1) == test.y).double().mean()),
        "functions": spectrum.participation_ratio(),
    }


def measure_strange(run: hf.Run, size: int) -> dict[str, float]:
    """How an ensemble's entropy tells strange images from its own, and what it is worth on corrupted ones."""
    strange = analyse(run, "out_of_distribution", run.registry, {"networks": size, "images": STRANGE})["kinds"]
    corrupted = analyse(run, "corruptions", run.registry, {"networks": size, "images": CORRUPTED})["mean"]["ensemble"]
    changed = list(zip(corrupted["nll"], corrupted["accuracy"], strict=True))[1:]  # the first is not corrupted
    return {
        **{f"AUROC {kind}": found["entropy"]["auroc"] for kind, found in strange.items()},
        "corrupted NLL": sum(nll for nll, _ in changed) / len(changed),
        "corrupted accuracy": sum(accuracy for _, accuracy in changed) / len(changed),
    }


def trained(folder: Path, source: Source, part: float, name: str, seed: int, fold: int) -> dict[str, Any]:
    """Measure a recipe on a fold; its run is trained where the folder does not have it."""
    recipe = RECIPES[name]
    place = folder / f"{name.replace(' ', '_').replace(',', '').replace('=', '')}-{seed}-{fold}"
    found = place / "measured.json"
    if not found.is_file():
        run = _train(place, source, part, recipe, seed, fold)
        sizes = recipe.sizes(source.largest)
        content = measure(run, sizes)
        content["evaluations"] = run.gradient_evaluations
        if source.folds is None:
            content["strange"] = {size: measure_strange(run, size) for size in sizes}
        found.write_text(json.dumps(content))
    content = json.loads(found.read_text())
    return dict(content)


def _train(place: Path, source: Source, part: float, recipe: Recipe, seed: int, fold: int) -> hf.Run:
    networks, images = recipe.networks or source.networks, recipe.images or source.images
    budget = round(part * source.budget)
    held = recipe.settings.get("generator", {}).get("networks", source.largest)
    settings = {
        **source.settings,
        **(source.training if "generator" in recipe.settings else {}),
        **recipe.settings,
        "trainer.networks": networks,
        "trainer.steps": budget // (networks * (images + recipe.shared)),
        "trainer.batch_size": images,
        "trainer.seed": seed,
        "trainer.threads": 1,
        "evaluation.every": 10**6,
        "evaluation.networks": min(held, 16),
        "evaluation.test_networks": held,
    }
    data = None if source.folds is None else split_digits(fold)
    given = {} if data is None else {"data": data}
    if place.exists():
        run = hf.load(place, **given)
        if not run.finished:
            run = hf.resume(place, **given)
    else:
        run = hf.train(source.config, settings, out=place, **given)
    if run.gradient_evaluations > budget:
        raise RuntimeError(f"{place}: {run.gradient_evaluations:,} gradient evaluations are more than {budget:,}")
    return run


def main(folder: Path, source: Source, part: float, seeds: int, names: list[str]) -> None:
    """Train and measure; print a row for each recipe as soon as it is done, and one for each size in the end."""
    nlls: dict[str, Tensor] = {}
    of_sizes = []
    print("| recipe | cNLL | less that of the first [95 %] | NLL | one network | ensemble | functions |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        rows = [
            [trained(folder, source, part, name, seed, fold) for fold in range(source.trainings)]
            for seed in range(seeds)
        ]
        flat = [row for of_seed in rows for row in of_seed]
        labels = torch.tensor([one for row in rows[0] for one in row["labels"]])
        answers = {size: _answers(rows, size) for size in flat[0]["answers"]}
        own = {size: _calibrated(answers_of, labels) for size, answers_of in answers.items()}
        smallest, largest = (choose(own, key=int) for choose in (min, max))
        of_sizes += [
            _row_of_size(name, size, own[size], own[size] - own[smallest], answers[size], labels, flat) for size in own
        ]
        nlls[name] = own[largest]
        paired = "–" if name == names[0] else _as_difference(nlls[name] - nlls[names[0]])
        raw = -float(log_likelihoods(answers[largest].exp(), labels).mean())
        right = float((answers[largest].argmax(-1) == labels).double().mean())
        single, functions = (sum(row[key] for row in flat) / len(flat) for key in ("single", "functions"))
        print(
            f"| {name} | {float(nlls[name].mean()):.4f} | {paired} | {raw:.4f} | {100 * single:.2f} % "
            f"| {100 * right:.2f} % | {functions:.2f} |",
            flush=True,
        )
    strange = sorted({key for row in of_sizes for key in row["strange"]})
    print(f"\n| recipe | networks | cNLL | less that of the fewest [95 %] | NLL | Brier | ECE |"
          f"{''.join(f' {key} |' for key in strange)}")  # fmt: skip
    print(f"| --- | --- | --- | --- | --- | --- | --- |{' --- |' * len(strange)}")
    for row in of_sizes:
        others = "".join(f" {row['strange'].get(key, float('nan')):.4f} |" for key in strange)
        print(f"| {row['name']} | {row['size']} | {row['cnll']:.4f} | {row['more']} | {row['nll']:.4f} "
              f"| {row['brier']:.4f} | {100 * row['ece']:.2f} % |{others}")  # fmt: skip


def _answers(rows: Sequence[Sequence[dict[str, Any]]], size: str) -> Tensor:
    """Log-probabilities of ensembles of one size, those of all folds in a row: [seeds, images, classes]."""
    return torch.tensor(
        [[one for row in of_seed for one in row["answers"][size]] for of_seed in rows], dtype=torch.float64
    )


def _calibrated(answers: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihoods at held-out temperatures, [seeds, images]."""
    return torch.stack([-held_out_likelihoods(one, labels, folds=2, repeats=HALVINGS) for one in answers])


def _as_difference(values: Tensor) -> str:
    low, high = mean_interval(values)
    return f"{float(values.mean()):+.4f} [{low:+.4f}, {high:+.4f}]"


def _row_of_size(
    name: str,
    size: str,
    nlls: Tensor,
    more: Tensor,
    answers: Tensor,
    labels: Tensor,
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Means over seeds for ensembles of one size; `more` are the differences to the smallest size."""
    each = [results_of(of_seed.exp(), labels) for of_seed in answers]
    strange = [row["strange"][size] for row in rows if "strange" in row]
    return {
        "name": name,
        "size": size,
        "cnll": float(nlls.mean()),
        "more": _as_difference(more) if bool(more.any()) else "–",
        **{key: sum(one[key] for one in each) / len(each) for key in ("nll", "brier", "ece")},
        "strange": {key: sum(one[key] for one in strange) / len(strange) for key in (strange[0] if strange else ())},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=SOURCES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seeds", type=int)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="; ".join(RECIPES))
    parser.add_argument("--part", type=float, default=1.0)
    chosen = parser.parse_intermixed_args()  # recipes may stand behind --part
    main(chosen.folder, SOURCES[chosen.data], chosen.part, chosen.seeds, chosen.recipes or list(RECIPES))
