"""The analysis `corruptions`: one network and the ensemble on images that are corrupted more and more."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, hookimpl, option
from hyperframe.analysis import COLOURS, check_images, in_parts, keep_picture, new_figure
from hyperframe.analysis.scoring import predict, some_examples
from hyperframe.builtin.analyses.corruptions.transforms import CORRUPTIONS, corrupt
from hyperframe.runtime.rng import stream
from hyperframe.tasks.calibration import results_of

NAME = "corruptions"
STRENGTHS = (0, 1, 2, 3, 4, 5)
MEASURES = ("accuracy", "nll", "brier", "ece")
WHO = {"single": "single network", "ensemble": "ensemble"}
LABELS = {
    "rotation": "rotation (10° a step)",
    "noise": "noise (σ 0.08 of range a step)",
    "blur": "blur (σ 0.02 of side a step)",
    "contrast": "contrast (−18 % a step)",
}


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(50, "networks in the ensemble", minimum=1, maximum=10**6)
    singles: int = option(5, "networks of it that are also measured alone; their results are averaged", minimum=1)
    images: int = option(1000, "test images at most", minimum=1)


class Corruptions:
    """Measures single networks and the ensemble on test images under corruptions of strengths 0 to 5.

    The ensemble's probabilities are the mean of its networks'. The corruptions are those of
    `hyperframe.builtin.analyses.corruptions.transforms`.

    Args:
        options: how many networks and images.

    References: D. Hendrycks, T. Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions;
        Y. Ovadia et al. (2019), Can You Trust Your Model's Uncertainty?
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Measure a run's networks under all corruptions.

        Returns:
            `networks`, `singles`, `examples`, `strengths`; `corruptions`: for each corruption, for `single` (the mean
            over the single networks) and `ensemble`, lists of `accuracy`, `nll` (nats), `brier` and `ece`, a number for
            each strength; `mean`, the same averaged over the corruptions.

        Raises:
            NotApplicableError: the task has no classes, or its inputs are no images.
        """
        check_images(run, NAME)
        seed, inputs, data = run.config.evaluation.seed, run.data("train").x, run.data("test")
        data = some_examples(data, self.options.images, seed)
        labels, limits = data.y.cpu(), (float(inputs.min()), float(inputs.max()))
        networks = run.sample(run.experiment.generator.at_most(self.options.networks))
        # At strength 0 all corruptions leave the images as they are, so it is measured once.
        kinds = [(None, 0), *((name, strength) for name in CORRUPTIONS for strength in STRENGTHS[1:])]

        def work(number: int) -> dict[str, Any]:
            name, strength = kinds[number]
            rng = stream(seed, f"corruption {name} {strength}", data.device)
            x = data.x if name is None else corrupt(data.x, name, strength, limits, rng)
            found = predict(networks, x, self.options.singles)
            singles = [results_of(one, labels) for one in found.singles]
            mean = {key: sum(one[key] for one in singles) / len(singles) for key in MEASURES}
            return {"single": mean, "ensemble": results_of(found.mean, labels)}

        parts = dict(zip(kinds, in_parts(folder, "corruptions", len(kinds), work), strict=True))
        results = {
            name: _along([parts[name if strength else None, strength] for strength in STRENGTHS])
            for name in CORRUPTIONS
        }
        mean = {who: {key: _mean([of[who][key] for of in results.values()]) for key in MEASURES} for who in WHO}
        found = {
            "networks": len(networks),
            "singles": min(self.options.singles, len(networks)),
            "examples": len(labels),
            "range": list(limits),
            "strengths": list(STRENGTHS),
            "corruptions": results,
            "mean": mean,
        }
        return {**found, "highlights": _highlights(mean), **_pictures(folder, found)}


def _along(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Turn the results at every strength into one list for each metric."""
    return {who: {key: [part[who][key] for part in parts] for key in MEASURES} for who in WHO}


def _mean(lists: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of several lists, place by place."""
    return [sum(values) / len(values) for values in zip(*lists, strict=True)]


def _highlights(mean: Mapping[str, Any]) -> dict[str, str]:
    """Return accuracy and calibration error at the middle strength as texts."""
    at = len(STRENGTHS) // 2
    words = f"corruptions of strength {STRENGTHS[at]}"
    return {
        **{f"accuracy, {words}, {who}": f"{100 * mean[key]['accuracy'][at]:.1f} %" for key, who in WHO.items()},
        **{f"ECE, {words}, {who}": f"{mean[key]['ece'][at]:.3f}" for key, who in WHO.items()},
    }


def _pictures(folder: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """Draw accuracy and calibration error against the strength."""
    at = len(STRENGTHS) // 2
    single, ensemble = found["mean"]["single"], found["mean"]["ensemble"]
    caption = (
        f"At strength {STRENGTHS[at]}, as the mean of {len(CORRUPTIONS)} corruptions, the ensemble of "
        f"{found['networks']} answers {100 * ensemble['accuracy'][at]:.1f} % of {found['examples']} images rightly "
        f"and a single network {100 * single['accuracy'][at]:.1f} %; their calibration errors are "
        f"{ensemble['ece'][at]:.3f} and {single['ece'][at]:.3f}."
    )
    title = "Images made worse"
    picture = keep_picture(folder, "corruptions.png", _panels(found), title=title, caption=caption)
    return {"pictures": [picture]}


def _panels(found: Mapping[str, Any]) -> Any:
    """Draw a column for each corruption: accuracies above, calibration errors below."""
    figure = new_figure(10.0, 5.2)
    panels = figure.subplots(2, len(CORRUPTIONS), sharex=True, sharey="row")
    for row, (key, label) in zip(panels, (("accuracy", "accuracy"), ("ece", "calibration error")), strict=True):
        for axes, name in zip(row, CORRUPTIONS, strict=True):
            for who, style, colour in (("single", "--", COLOURS[1]), ("ensemble", "-", COLOURS[0])):
                values = found["corruptions"][name][who][key]
                axes.plot(STRENGTHS, values, style, color=colour, marker="o", markersize=3.5, label=WHO[who])
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(label)
    panels[0, 0].set_ylim(0, 1.03)
    for name, top, bottom in zip(CORRUPTIONS, *panels, strict=True):
        top.set_title(LABELS[name], fontsize="small")
        bottom.set(xlabel="strength", xticks=STRENGTHS)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=50,
            factory=Corruptions,
            options=Options,
            summary="accuracy and calibration of one network and the ensemble on turned, noisy, blurred, pale images",
        )
    ]
