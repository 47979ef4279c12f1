"""The analysis `ensembles`: accuracy and calibration of ensembles as they grow, over many draws (section 4.2.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe import Component, Metric, Run, hookimpl, option
from hyperframe.analysis import COLOURS, check_classifies, in_parts, keep_lines, keep_picture, new_figure
from hyperframe.analysis.ensemble_metrics import RULES, growing_sizes, spread
from hyperframe.analysis.ensembles import ensemble_results, examples_of
from hyperframe.analysis.plots import size_axis

NAME = "ensembles"
METRICS = (
    Metric(
        name="calibrated_nll",
        label="negative log-likelihood at the best temperature",
        unit="nats",
        better="lower",
        of="ensemble",
    ),
    Metric(name="brier", label="Brier score", better="lower", of="ensemble"),
)
"""Of the largest ensemble's mean probability, in the mean over the draws."""

WORDS = {"majority": "majority vote", "mean_probability": "mean probability", "most_confident": "most confident member"}


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    draws: int = option(20, "how many independent ensembles are drawn", minimum=1)
    networks: int | None = option(None, "networks of the largest ensemble; null: evaluation.test_networks", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)
    validation_examples: int = option(1000, "validation examples for the temperature, at most", minimum=1)


class Ensembles:
    """Measures accuracy, NLL, Brier score and calibration error of ensembles of 1, 2, 5, 10, … networks.

    An ensemble answers by majority vote, by mean probability, or as its most confident member does. Temperatures are
    fitted on validation examples: one for the ensemble's mean probabilities, and one for each of some single networks.
    A generator that holds a fixed number of networks gives the same ones in each draw, in another order.

    References: section 4.2.2, 20 ensembles of 200; C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration
    of Modern Neural Networks.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Measure the draws one after the other; each is a part that is kept.

        Raises:
            NotApplicableError: the task has no classes.
        """
        check_classifies(run, NAME)
        chosen = self.options.networks
        count = run.default_count if chosen is None else run.experiment.generator.at_most(chosen)
        test, validation = examples_of(run, self.options.examples, self.options.validation_examples)
        sizes = growing_sizes(count)
        parts = in_parts(
            folder, "ensembles", self.options.draws, lambda draw: ensemble_results(run, draw, sizes, test, validation)
        )
        found: dict[str, Any] = {
            "draws": len(parts),
            "examples": len(test),
            "sizes": sizes,
            "single": spread([part["single"] for part in parts]),
            "ensembles": {
                rule: [spread(at) for at in zip(*(part["ensembles"][rule] for part in parts), strict=True)]
                for rule in (*RULES, "uncertainty")
            },
        }
        largest = found["ensembles"]["mean_probability"][-1]
        found["ensemble"] = {metric.name: largest[metric.name]["mean"] for metric in METRICS}
        return {
            **found,
            "highlights": _highlights(found),
            "pictures": [_accuracy_picture(folder, found), _calibration_picture(folder, found)],
            "interactive": [_lines(folder, found)],
        }


def _highlights(found: Mapping[str, Any]) -> dict[str, str]:
    largest, draws = found["sizes"][-1], found["draws"]
    last = {rule: values[-1] for rule, values in found["ensembles"].items()}
    of = f"of {largest}, mean ± deviation over {draws} draws"
    single, mean = found["single"], last["mean_probability"]
    scaled = [results["calibrated_nll"]["mean"] for results in (single, mean)]
    return {
        f"majority vote {of}": _percent(last["majority"]["accuracy"]),
        f"mean probability {of}": _percent(mean["accuracy"]),
        "NLL: one network, ensemble": f"{single['nll']['mean']:.4f}, {mean['nll']['mean']:.4f}",
        "NLL after temperature scaling: one of the first networks, ensemble": f"{scaled[0]:.4f}, {scaled[1]:.4f}",
        "ECE of the ensemble, before and after": (
            f"{100 * mean['ece']['mean']:.2f}, {100 * mean['calibrated_ece']['mean']:.2f} %"
        ),
        "disagreement of two networks": _percent(last["uncertainty"]["disagreement"]),
    }


def _percent(spread_of: Mapping[str, float]) -> str:
    return f"{100 * spread_of['mean']:.2f} ± {100 * spread_of['std']:.2f} %"


def _column(values: Sequence[Mapping[str, Any]], name: str, part: str = "mean", factor: float = 1.0) -> list[float]:
    return [factor * one[name][part] for one in values]


def _accuracy_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw the accuracy against the size, for each rule."""
    sizes, single = found["sizes"], found["single"]
    figure = new_figure()
    axes = figure.add_subplot()
    for colour, rule in zip(COLOURS, RULES, strict=False):
        values = found["ensembles"][rule]
        mean, std = (torch.tensor(_column(values, "accuracy", part, 100)) for part in ("mean", "std"))
        axes.plot(sizes, mean, "o-", color=colour, markersize=4, label=WORDS[rule])
        axes.fill_between(sizes, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(100 * single["accuracy"]["mean"], color="0.4", linestyle=":", label="one network, mean")
    size_axis(axes, sizes)
    axes.set_ylabel("test accuracy, %")
    axes.legend(frameon=False)
    gain = 100 * (found["ensembles"]["majority"][-1]["accuracy"]["mean"] - single["accuracy"]["mean"])
    caption = (
        f"Accuracy of ensembles as they grow, mean ± deviation over {found['draws']} draws: the majority vote of "
        f"{sizes[-1]} is {gain:.2f} points above a single network."
    )
    return keep_picture(folder, "accuracy.png", figure, title="Accuracy as the ensemble grows", caption=caption)


def _calibration_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw NLL and calibration error against the size, before and after temperature scaling."""
    sizes, values = found["sizes"], found["ensembles"]["mean_probability"]
    figure = new_figure(width=9.0, height=4.0)
    for place, (name, words, factor) in enumerate(
        (("nll", "NLL, nats", 1.0), ("ece", "calibration error, %", 100.0)), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(sizes, _column(values, name, factor=factor), "o-", color=COLOURS[0], markersize=4, label="as it is")
        scaled = _column(values, f"calibrated_{name}", factor=factor)
        axes.plot(sizes, scaled, "s--", color=COLOURS[1], markersize=4, label="at the best temperature")
        size_axis(axes, sizes)
        axes.set_ylabel(words)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    before, after = (values[-1][name]["mean"] for name in ("nll", "calibrated_nll"))
    caption = (
        f"Log-likelihood and calibration error of the mean probabilities: with {sizes[-1]} networks the NLL is "
        f"{before:.4f}, and {after:.4f} at the temperature that is best on validation data."
    )
    return keep_picture(folder, "calibration.png", figure, title="Calibration as the ensemble grows", caption=caption)


def _lines(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    lines = {WORDS[rule]: _column(found["ensembles"][rule], "accuracy", factor=100) for rule in RULES}
    return keep_lines(
        folder,
        "accuracy.json",
        found["sizes"],
        lines,
        labels=("networks in the ensemble", "test accuracy, %"),
        title="The same as numbers",
        caption="Accuracy at each size; move the slider along the number of networks.",
    )


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=10,
            factory=Ensembles,
            options=Options,
            metrics=METRICS,
            summary="accuracy, likelihood and calibration of ensembles as they grow, over many draws",
            reference="section 4.2.2",
        )
    ]
