"""Ensembles of one budget on digits: `python benchmarks/ensembles.py FOLDER SEEDS [RECIPE...]` prints a table.

Every recipe spends the same number of gradient evaluations of the target on an image, networks · images · steps. Five
folds let every image be a test image once, for an ensemble that has not seen it: the mean probabilities of 100 draws,
or of all networks that there are. The temperature of one half of the 1,797 answers is that of the other half, over
several halvings: a fold's own validation set is so small that all of its answers may be right, and then no temperature
is too low. Runs are kept in FOLDER, and taken from there again.

Paired differences of the calibrated negative log-likelihood to the first recipe named are over the same images of the
same folds and seeds; their 95 % intervals are of 10,000 bootstrap draws over images and seeds.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import hyperframe as hf
from hyperframe.analysis.bootstrap import mean_interval
from hyperframe.builtin.analyses.function_spectrum.spectrum import Spectrum
from hyperframe.runtime.rng import stream
from hyperframe.tasks.calibration import held_out_likelihoods, log_likelihoods

FOLDS, DRAWS, HALVINGS = 5, 100, 10
BUDGET, IMAGES = 2000 * 16 * 32, 32
"""Gradient evaluations, those of the configuration `digits`; and images of a network in a step."""


def held(networks: int, **others: Any) -> dict[str, Any]:
    """Independent networks, each trained for its part of the budget."""
    generator = {"name": "direct", "networks": networks}
    return of_budget(networks, generator=generator, diversity="none", **others)


def modes(count: int, factor: float, networks: int = 16, **others: Any) -> dict[str, Any]:
    """Base points with generated offsets, and a λ."""
    return of_budget(networks, generator={"name": "modes", "modes": count}, **{"objective.lambda": factor, **others})


def of_budget(networks: int, **others: Any) -> dict[str, Any]:
    """As many steps as the budget allows, at the best rate that is known for base points."""
    steps = BUDGET // (networks * IMAGES)
    return {"trainer.networks": networks, "trainer.steps": steps, "trainer.rate": 1e-2, **others}


RECIPES: dict[str, dict[str, Any]] = {
    "hypernetwork": {},
    **{f"direct {count}": held(count) for count in (2, 4, 8, 16)},
    **{f"modes {count}, λ = {factor:g}": modes(count, factor) for count in (2, 4, 8, 16) for factor in (1e3, 1e4, 1e5)},
    **{f"modes {count}, λ = 10000, 8 networks a step": modes(count, 1e4, 8) for count in (4, 8)},
    "moments 4": {
        **held(4, **{"trainer.schedule": "one_cycle_tail"}),
        "generator": {"name": "modes", "modes": 4, "around": "moments"},
    },
}


def digits() -> hf.Data:
    """All 1,797 images and their labels."""
    found = load_digits()
    return hf.Data(torch.tensor(found.images[:, None] / 16, dtype=torch.float32), torch.tensor(found.target))


def split(data: hf.Data, fold: int) -> dict[str, Tensor]:
    """The data of one fold: a fifth tests, a tenth of the rest validates."""
    order = torch.randperm(len(data), generator=stream(0, "folds"))
    parts = order.chunk(FOLDS)
    rest = torch.cat([part for number, part in enumerate(parts) if number != fold])
    chosen = {"test": parts[fold], "validation": rest[: len(rest) // 10], "train": rest[len(rest) // 10 :]}
    named = {split: data[rows] for split, rows in chosen.items()}
    return {
        f"{key}{'' if split == 'train' else f'_{split}'}": getattr(part, key)
        for split, part in named.items()
        for key in ("x", "y")
    }


def measure(run: hf.Run) -> dict[str, Any]:
    """The ensemble's answers to the test images, and what else is said of it."""
    networks, test = run.sample(run.default_count, seed=1), run.data("test")
    each = networks.gathered(test.x, lambda outputs: outputs.double().log_softmax(-1))
    spectrum = Spectrum(len(networks))
    spectrum.add(networks.task.canonical_outputs(each).flatten(1))
    return {
        "answers": each.exp().mean(0).log().tolist(),
        "labels": test.y.tolist(),
        "single": float((each.argmax(-1) == test.y).double().mean()),
        "functions": spectrum.participation_ratio(),
    }


def trained(folder: Path, name: str, seed: int, fold: int, data: hf.Data) -> dict[str, Any]:
    """Measure a recipe on a fold; its run is trained where the folder does not have it."""
    place = folder / f"{name.replace(' ', '_').replace(',', '').replace('=', '')}-{seed}-{fold}"
    found = place / "measured.json"
    if found.is_file():
        content: dict[str, Any] = json.loads(found.read_text())
        return content
    count = RECIPES[name].get("generator", {}).get("networks", DRAWS)
    settings = {**RECIPES[name], "trainer.seed": seed, "evaluation.every": 10**6, "evaluation.test_networks": count}
    settings |= {"evaluation.networks": min(count, 16)}
    own = split(data, fold)
    run = hf.load(place, data=own) if place.exists() else hf.train("digits", settings, data=own, out=place)
    content = measure(run)
    found.write_text(json.dumps(content))
    return content


def main(folder: Path, seeds: int, names: list[str]) -> None:
    """Train and measure; print a row for each recipe as soon as it is done."""
    data, nlls = digits(), {}
    print("| recipe | cNLL | less that of the first [95 %] | NLL | one network | ensemble | functions |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        rows = [[trained(folder, name, seed, fold, data) for fold in range(FOLDS)] for seed in range(seeds)]
        flat = [row for of_seed in rows for row in of_seed]
        answers = torch.tensor([[one for row in of_seed for one in row["answers"]] for of_seed in rows]).double()
        labels = torch.tensor([one for row in rows[0] for one in row["labels"]])
        nlls[name] = torch.stack([-held_out_likelihoods(one, labels, folds=2, repeats=HALVINGS) for one in answers])
        difference = nlls[name] - nlls[names[0]]
        low, high = mean_interval(difference)
        paired = "–" if name == names[0] else f"{float(difference.mean()):+.4f} [{low:+.4f}, {high:+.4f}]"
        raw = -float(log_likelihoods(answers.exp(), labels).mean())
        right = float((answers.argmax(-1) == labels).double().mean())
        single, functions = (sum(row[key] for row in flat) / len(flat) for key in ("single", "functions"))
        print(
            f"| {name} | {float(nlls[name].mean()):.4f} | {paired} | {raw:.4f} | {100 * single:.2f} % "
            f"| {100 * right:.2f} % | {functions:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(RECIPES))
