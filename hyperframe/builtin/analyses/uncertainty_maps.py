"""The analysis `uncertainty_maps`: where networks with a class for each place are unsure, and whether rightly so."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Run, hookimpl, option
from hyperframe.analysis import COLOURS, keep_picture, new_figure
from hyperframe.analysis.scoring import some_examples
from hyperframe.errors import NotApplicableError
from hyperframe.metrics import in_percent
from hyperframe.runtime.progress import quantity
from hyperframe.tasks.calibration import auroc
from hyperframe.tasks.confusion import confusion_matrix, iou_of_classes, mean_iou
from hyperframe.tasks.structured import DenseClassificationTask
from hyperframe.types import UNLABELLED

NAME = "uncertainty_maps"
SCORES = {"entropy": "entropy", "mutual_information": "mutual information"}
COLUMNS = ("input", "labels", "mean prediction", *SCORES.values())


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(50, "networks of the ensemble, at most", minimum=2)
    examples: int = option(200, "test examples, at most", minimum=1)
    shown: int = option(4, "examples in the picture", minimum=1, maximum=12)


class UncertaintyMaps:
    """Maps of an ensemble's uncertainty at each place, and how well they tell wrong places from right ones.

    At each place p̄ is the mean of the networks' probabilities, the answer its most probable class, the entropy H[p̄] the
    whole uncertainty in nats, and the mutual information H[p̄] − mean H[p] the part of it that is disagreement.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Draw networks, and look at their maps of some test examples.

        Returns:
            `networks` and `examples`; `accuracy`, of labelled places, and `iou`, the mean over classes, of the mean
            prediction; `classes`, for each class its intersection over union, None where it is neither a label nor an
            answer; for `entropy` and `mutual_information` the mean at `right` and at `wrong` places, in nats, and
            `auroc`, the probability that a wrong place has more than a right one, with ties counted half: None where
            all places are right or all wrong.

        Raises:
            NotApplicableError: the run's task has no class for each place.
        """
        task = run.experiment.task
        if not isinstance(task, DenseClassificationTask):
            raise NotApplicableError(
                f"analysis '{NAME}' does not apply: it is about classes of places, such as pixels, which task "
                f"'{task.name}' of run {run.folder.name} does not have"
            )
        seed = run.config.evaluation.seed
        networks = run.sample(run.experiment.generator.at_most(self.options.networks), seed)
        data = some_examples(run.data("test"), self.options.examples, seed)
        maps = {name: value.cpu() for name, value in networks.summary(data.x).items()}
        labels = data.y.cpu()
        answers = maps["probabilities"].argmax(1)
        seen = labels != UNLABELLED
        wrong = (answers != labels)[seen]
        confusion = confusion_matrix(labels[seen], answers[seen], task.num_outputs)
        names = task.classes or tuple(map(str, range(task.num_outputs)))
        results: dict[str, Any] = {
            "networks": len(networks),
            "examples": len(data),
            "accuracy": 1 - float(wrong.double().mean()),
            "iou": float(mean_iou(confusion)),
            "classes": dict(zip(names, _overlaps(confusion), strict=True)),
            **{name: separation(maps[name][seen].double(), wrong) for name in SCORES},
        }
        few = slice(0, self.options.shown)
        shown = {name: maps[name][few] for name in SCORES}
        return {**results, **_show(folder, results, data.x[few].cpu(), labels[few], answers[few], shown)}


def _overlaps(confusion: Tensor) -> list[float | None]:
    """Each class's intersection over union; None for one that there is not."""
    return [None if math.isnan(value) else value for value in iou_of_classes(confusion).tolist()]


def separation(scores: Tensor, wrong: Tensor) -> dict[str, float | None]:
    """Compare scores of right and wrong places, [places] each.

    Example:
        >>> separation(torch.tensor([0.1, 0.2, 0.3, 0.2]), torch.tensor([False, False, True, True]))["auroc"]
        0.875
    """
    return {"right": _mean(scores[~wrong]), "wrong": _mean(scores[wrong]), "auroc": auroc(scores, wrong)}


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None


def _show(
    folder: Path, results: Mapping[str, Any], x: Tensor, labels: Tensor, answers: Tensor, maps: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Highlights and the picture: a row for each example."""
    from matplotlib.colors import ListedColormap  # noqa: PLC0415  (takes a second, and only pictures need it)

    figure = new_figure(8.0, 1.7 * len(x) + 0.4)
    grid = figure.subplots(len(x), len(COLUMNS), squeeze=False)
    classes = len(results["classes"])
    colours = ListedColormap([COLOURS[number % len(COLOURS)] for number in range(classes)])
    for row, axes in enumerate(grid):
        axes[0].imshow(_picture(x[row]), cmap="gray", aspect="auto" if x[row].dim() < 3 else "equal")
        for axis, values in zip(axes[1:3], (labels, answers), strict=True):
            drawn = values[row].double().masked_fill(values[row] == UNLABELLED, torch.nan)  # left white
            axis.imshow(_flat(drawn), cmap=colours, vmin=-0.5, vmax=classes - 0.5, interpolation="nearest")
        for axis, name in zip(axes[3:], SCORES, strict=True):
            shown = axis.imshow(_flat(maps[name][row]), cmap="viridis", vmin=0, vmax=float(maps[name].max()) or 1.0)
            if row == 0:
                figure.colorbar(shown, ax=grid[:, list(SCORES).index(name) + 3], location="bottom", label="nats")
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(grid[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize="medium")
    iou = in_percent(results["iou"], 1)
    shares = [(name, "none" if value is None else in_percent(value, 1)) for name, value in results["classes"].items()]
    each = ", ".join(map(" ".join, shares))
    caption = (
        f"{quantity(results['networks'], 'network')} on test examples: mean IoU {iou} ({each}). "
        f"Entropy tells wrong places from right ones with an AUROC of {_told(results['entropy']['auroc'])}, mutual "
        f"information with {_told(results['mutual_information']['auroc'])}. Places without a label are white."
    )
    return {
        "highlights": {
            "mean IoU of the mean prediction": iou,
            **{f"AUROC of wrong places, {words}": _told(results[name]["auroc"]) for name, words in SCORES.items()},
        },
        "pictures": [keep_picture(folder, "maps.png", figure, title="Maps of uncertainty", caption=caption)],
    }


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _flat(values: Tensor) -> Any:
    """Places as rows and columns, a numpy array: one axis is a row, and further ones stand below each other."""
    return values.reshape(-1, values.shape[-1]).numpy()


def _picture(x: Tensor) -> Any:
    """An input as an image: grey or coloured where it is one, else its numbers in rows."""
    if x.dim() == 3 and len(x) == 3:
        low, high = x.min(), x.max()
        return ((x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)).movedim(0, -1).numpy()
    return _flat(x)


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=12,
            factory=UncertaintyMaps,
            options=Options,
            summary="maps of uncertainty of networks that give each place a class, and whether they err there",
        )
    ]
