"""The analysis `out_of_distribution`: whether the ensemble's uncertainty tells strange images from the task's own."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Metric, hookimpl, option
from hyperframe.analysis import COLOURS, check_images, conclude, in_parts, keep_lines, keep_picture, new_figure
from hyperframe.analysis.scoring import predict, some_examples
from hyperframe.builtin.analyses.out_of_distribution.detection import (
    detection_rates,
    make_strange,
    separation,
)
from hyperframe.config.choices import choose
from hyperframe.errors import DataError
from hyperframe.options import locations
from hyperframe.runtime.rng import stream
from hyperframe.tasks.calibration import entropy_of

NAME = "out_of_distribution"
PARTNERS = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}
"""For some tasks, another one whose images have the same shape but other contents."""

SCORES = {
    "entropy": "ensemble's entropy",
    "mutual_information": "its mutual information",
    "single_entropy": "one network's entropy",
}
BINS = 30
RATES = [number / 100 for number in range(101)]
COLUMNS = 3


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(100, "networks in the ensemble", minimum=1, maximum=10**6)
    singles: int = option(5, "networks of it that are also measured alone; their results are averaged", minimum=1)
    images: int = option(1000, "images of each kind at most", minimum=2)
    against: tuple[str, ...] | None = option(
        None, "names of tasks whose test images count as strange; null: the known partner of the run's task, if any"
    )


class OutOfDistribution:
    """Separates the task's test images from strange ones by how uncertain networks are of them.

    Strange images are the test images of other tasks, and changed versions of the task's own
    (`hyperframe.builtin.analyses.out_of_distribution.detection.make_strange`). Scores are the entropy of the ensemble's
    mean probabilities and its mutual information, and for comparison the entropy of single networks, whose results are
    averaged.

    Args:
        options: how many networks and images, and which other tasks.

    References: D. Hendrycks, K. Gimpel (2017), A Baseline for Detecting Misclassified and Out-of-Distribution Examples;
        B. Lakshminarayanan, A. Pritzel, C. Blundell (2017), Simple and Scalable Predictive Uncertainty Estimation.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Measure how well a run's networks separate the images.

        Returns:
            `networks`, `examples` of the task, and `kinds`: for each kind of strange images `examples`, `mean_entropy`
            (nats), and for each score `auroc`, `aupr` and `fpr95`, see
            `hyperframe.builtin.analyses.out_of_distribution.detection.separation`; `histograms` of the ensemble's
            entropy, and `roc`, the part of strange images that it detects at each rate of false alarms.

        Raises:
            NotApplicableError: the task has no classes, or its inputs are no images.
            PluginError: a name in `against` is no task.
        """
        check_images(run, NAME)
        networks = run.sample(run.experiment.generator.at_most(self.options.networks))
        sets, skipped = self._sets(run)
        names = list(sets)

        def work(number: int) -> dict[str, Any]:
            found = predict(networks, sets[names[number]], self.options.singles)
            return {
                "entropy": found.total.tolist(),
                "mutual_information": found.mutual_information.tolist(),
                "single_entropy": entropy_of(found.singles).tolist(),
            }

        parts = dict(zip(names, in_parts(folder, "kinds of images", len(names), work), strict=True))
        scores = {name: {key: torch.tensor(part[key]).double() for key in SCORES} for name, part in parts.items()}
        inside = scores.pop("own")
        kinds = {name: _results(inside, outside) for name, outside in scores.items()}
        edges = [math.log(run.experiment.task.num_outputs) * number / BINS for number in range(BINS + 1)]
        shares = {name: _histogram(own["entropy"], edges[-1]) for name, own in {"own": inside, **scores}.items()}
        roc = {name: detection_rates(inside["entropy"], own["entropy"], RATES) for name, own in scores.items()}
        found = {
            "networks": len(networks),
            "examples": len(sets["own"]),
            "mean_entropy": float(inside["entropy"].mean()),
            "kinds": kinds,
            "histograms": {"edges": edges, "shares": shares},
            "roc": {"false_alarms": RATES, "found": roc},
            "skipped": skipped,
            "ensemble": {"auroc": sum(kind["entropy"]["auroc"] for kind in kinds.values()) / len(kinds)},
        }
        shown = _pictures(folder, run.experiment.task.name, found)
        answer = conclude("uncertainty", told_apart(kinds), shown["pictures"][0])
        return {**found, "conclusions": [answer], "highlights": _highlights(kinds), **shown}

    def _sets(self, run: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the task's own images under `own` and the strange ones, and for those that are missing why."""
        seed, task = run.config.evaluation.seed, run.experiment.task
        own = some_examples(run.data("test"), self.options.images, seed).x
        sets, skipped = {"own": own}, {}
        known = PARTNERS.get(task.name)
        chosen = self.options.against if self.options.against is not None else ((known,) if known else ())
        for name in chosen:
            try:
                sets[name] = some_examples(_strange(run, name), self.options.images, seed).x
            except DataError as error:
                skipped[name] = str(error)
        train = run.data("train").x
        rng = stream(seed, "strange images", own.device)
        sets.update(make_strange(own, float(train.min()), float(train.max()), rng))
        if "turned" not in sets:
            skipped["turned"] = "images that are not square have another shape when they are turned by 90°"
        return sets, skipped


def _strange(run: Any, name: str) -> Data:
    """Return test examples of another task, read from the place of the run's data if both tasks have such an option.

    Raises:
        DataError: the data is missing, or has inputs of another shape.
    """
    registry = run.registry
    section: dict[str, Any] = {"name": name}
    own = locations(run.config.task.options)
    known = locations(choose(registry, "task", section, NAME).options)
    section |= {key: own[key] for key in known if isinstance(own.get(key), str)}
    task = choose(registry, "task", section, NAME).make()
    wanted, given = tuple(run.experiment.task.input_shape), tuple(task.input_shape)
    if given != wanted:
        raise DataError(f"its inputs have the shape {list(given)}, those of the run {list(wanted)}")
    data: Data = task.data("test")
    return data


def _results(inside: Mapping[str, Tensor], outside: Mapping[str, Tensor]) -> dict[str, Any]:
    """Measure how well each score separates."""
    singles = [separation(*pair) for pair in zip(inside["single_entropy"], outside["single_entropy"], strict=True)]
    return {
        "examples": len(outside["entropy"]),
        "mean_entropy": float(outside["entropy"].mean()),
        **{key: separation(inside[key], outside[key]) for key in ("entropy", "mutual_information")},
        "single_entropy": {key: sum(one[key] for one in singles) / len(singles) for key in singles[0]},
    }


def _histogram(entropy: Tensor, greatest: float) -> list[float]:
    """Return the part of the examples in each bin."""
    counts = torch.histc(entropy.clamp(0, greatest), BINS, 0, greatest)
    return [float(value) for value in counts / len(entropy)]


def _highlights(kinds: Mapping[str, Any]) -> dict[str, str]:
    """Return the AUROC of the first kind by each score, and the lowest AUROC of the other kinds."""
    first, *others = kinds
    found = {f"AUROC against '{first}', {SCORES[key]}": f"{kinds[first][key]['auroc']:.3f}" for key in SCORES}
    if others:
        worst = min(others, key=lambda name: kinds[name]["entropy"]["auroc"])
        found[f"lowest other AUROC ('{worst}'), {SCORES['entropy']}"] = f"{kinds[worst]['entropy']['auroc']:.3f}"
    return found


def told_apart(kinds: Mapping[str, Any]) -> str:
    """Say which kinds of strange images the ensemble's entropy tells best and least from the task's own.

    Example:
        >>> told_apart({"noise": {"entropy": {"auroc": 0.987}}})
        "Its entropy tells images of 'noise' from its own with an AUROC of 0.987."
    """
    auroc = {name: own["entropy"]["auroc"] for name, own in kinds.items()}
    best, least = max(auroc, key=lambda name: auroc[name]), min(auroc, key=lambda name: auroc[name])
    also = "" if best == least else f", and least those of '{least}' ({auroc[least]:.3f})"
    return f"Its entropy tells images of '{best}' from its own with an AUROC of {auroc[best]:.3f}{also}."


def _pictures(folder: Path, task: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Draw histograms of the entropy, and write ROC curves."""
    kinds = found["kinds"]
    first = next(iter(kinds))
    results = kinds[first]
    auroc = {key: f"{results[key]['auroc']:.3f}" for key in SCORES}
    said = (
        f"the entropy of {found['networks']} networks tells '{first}' from test images of '{task}' with an AUROC of "
        f"{auroc['entropy']}, their mutual information with {auroc['mutual_information']}, a single network's entropy "
        f"with {auroc['single_entropy']}."
    )
    picture = keep_picture(
        folder,
        "entropy.png",
        _histograms(task, found),
        title="How uncertain the ensemble is of its own images and of strange ones",
        caption=f"Histograms of the entropy of the mean probabilities: {said}",
    )
    lines = keep_lines(
        folder,
        "roc.json",
        RATES,
        found["roc"]["found"],
        labels=("false alarms, part of the task's own images", "found, part of the strange images"),
        title="Strange images that are found",
        caption=f"What a threshold of the ensemble's entropy finds at each rate of false alarms: {said}",
    )
    return {"pictures": [picture], "interactive": [lines]}


def _histograms(task: str, found: Mapping[str, Any]) -> Any:
    """Draw a panel for each kind of strange images."""
    kinds, shares, edges = found["kinds"], found["histograms"]["shares"], found["histograms"]["edges"]
    columns = 2 if len(kinds) == 4 else min(COLUMNS, len(kinds))  # no row with one panel
    rows = -(-len(kinds) // columns)
    figure = new_figure(max(5.0, 3.0 * columns), 2.5 * rows + 0.6)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, results) in zip(panels.flat, kinds.items(), strict=False):
        axes.stairs(shares["own"], edges, fill=True, color=COLOURS[-1], alpha=0.55, label=f"test images of {task}")
        axes.stairs(shares[name], edges, color=COLOURS[1], linewidth=1.6, label="strange images")
        axes.set_title(f"{name}: AUROC {results['entropy']['auroc']:.3f}", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(kinds) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("part of the images")
    for column in range(columns):
        lowest = panels[(len(kinds) - 1 - column) // columns, column]
        lowest.set_xlabel("entropy (nats)")
        lowest.tick_params(labelbottom=True)  # which shared axes hide where the panel below is empty
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=40,
            factory=OutOfDistribution,
            options=Options,
            metrics=(
                Metric(name="auroc", label="AUROC of strange images, mean over kinds", better="greater", of="ensemble"),
            ),
            summary="whether the ensemble's uncertainty tells strange images from the task's own: AUROC, AUPR, FPR95",
        )
    ]
