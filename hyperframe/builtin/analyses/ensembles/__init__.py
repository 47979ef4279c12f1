"""The analysis `ensembles`: what ensembles are worth as they grow, over many draws (section 4.2.2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, Metric, Run, hookimpl, option
from hyperframe.analysis import conclude, has_classes, in_parts
from hyperframe.analysis.ensemble_metrics import RULES, growing_sizes, spread
from hyperframe.analysis.ensembles import draw_ensemble, ensemble_results, examples_of
from hyperframe.analysis.scoring import some_examples
from hyperframe.builtin.analyses.ensembles.conclusions import (
    gain_of_classes,
    gain_of_metric,
    means_of,
    more_networks,
    one_network,
    other_diversity,
)
from hyperframe.builtin.analyses.ensembles.own_metrics import grown_metrics, over_draws, own_results
from hyperframe.builtin.analyses.ensembles.pictures import (
    accuracy_picture,
    calibration_picture,
    growth_pictures,
)
from hyperframe.errors import NotApplicableError
from hyperframe.runtime.progress import quantity

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


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    draws: int = option(20, "how many independent ensembles are drawn", minimum=1)
    networks: int | None = option(None, "networks of the largest ensemble; null: evaluation.test_networks", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)
    validation_examples: int = option(1000, "validation examples for the temperature, at most", minimum=1)


class Ensembles:
    """Measures accuracy, NLL, Brier score and calibration error of ensembles of 1, 2, 5, 10, … networks.

    Of a task without classes it measures the metrics that the task declares of its ensembles, such as the root mean
    squared error of the mean prediction; `growth` and `single` have mean and deviation of each over the draws.

    With classes an ensemble answers by majority vote, by mean probability, or as its most confident member does.
    Temperatures are fitted on validation examples: one for the ensemble's mean probabilities, and one for each of some
    single networks. A generator that holds a fixed number of networks gives the same ones in each draw, in another
    order.

    References: section 4.2.2, 20 ensembles of 200; C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration
    of Modern Neural Networks.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Measure the draws one after the other; each is a part that is kept.

        Raises:
            NotApplicableError: the task has no classes, and no metric of an ensemble with a better direction.
        """
        chosen, task = self.options.networks, run.experiment.task
        count = run.default_count if chosen is None else run.experiment.generator.at_most(chosen)
        if not has_classes(run):
            metrics = grown_metrics(task.metrics)
            if not metrics:
                raise NotApplicableError(
                    f"analysis '{NAME}' does not apply: task '{task.name}' of run {run.folder.name} declares no metric "
                    "of an ensemble that says which way is better"
                )
            return self._by_own_metrics(run, folder, growing_sizes(count), metrics)
        return self._of_classes(run, folder, growing_sizes(count))

    def _of_classes(self, run: Run, folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
        """Measure ensembles of classifiers, also at the best temperature."""
        test, validation = examples_of(run, self.options.examples, self.options.validation_examples)
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
        grown = found["ensembles"]["mean_probability"]
        found["ensemble"] = {metric.name: grown[-1][metric.name]["mean"] for metric in METRICS}
        pictures = [accuracy_picture(folder, found), calibration_picture(folder, found)]
        held = run.experiment.generator.networks
        advice = (
            more_networks(found["single"]["nll"]["mean"], sizes, [at["nll"]["mean"] for at in grown], "lower", held),
            other_diversity(
                found["ensembles"]["uncertainty"][-1]["disagreement"]["mean"],
                1 - found["single"]["accuracy"]["mean"],
                run.config.generator.name,
            ),
        )
        return {
            **found,
            "conclusions": [
                *(conclude("ensemble", sentence, pictures[0]) for sentence in gain_of_classes(found)),
                *(conclude("next", sentence) for sentence in advice if sentence),
            ],
            "highlights": _highlights(found),
            "pictures": pictures,
        }

    def _by_own_metrics(
        self, run: Run, folder: Path, sizes: Sequence[int], metrics: Sequence[Metric]
    ) -> dict[str, Any]:
        """Measure ensembles by the metrics that the task declares of them."""
        test = some_examples(run.data("test"), self.options.examples, run.config.evaluation.seed)

        def part(draw: int) -> dict[str, Any]:
            return own_results(draw_ensemble(run, draw, sizes[-1]), sizes, test)

        parts = in_parts(folder, "ensembles", self.options.draws, part)
        found = {"draws": len(parts), "examples": len(test), "sizes": sizes, **over_draws(parts)}
        shown = [metric for metric in metrics if metric.name in found["growth"]]
        pictures = growth_pictures(folder, found, shown)
        held = run.experiment.generator.networks
        advice = [
            more_networks(one_network(found, metric), sizes, means_of(found, metric), metric.better, held)
            for metric in shown[:1]
        ]
        return {
            **found,
            "metrics": [],  # those of the evaluation already are what generators are compared by
            "conclusions": [
                *(
                    conclude("ensemble", sentence, pictures[0])
                    for metric in shown[:1]
                    for sentence in gain_of_metric(found, metric)
                ),
                *(conclude("next", sentence) for sentence in advice if sentence),
            ],
            "highlights": {
                f"{metric.label} of {sizes[-1]}, mean ± deviation over {quantity(len(parts), 'draw')}": _own_text(
                    metric, found["growth"][metric.name][-1]
                )
                for metric in shown
            },
            "pictures": pictures,
        }


def _own_text(metric: Metric, value: Mapping[str, float]) -> str:
    return f"{metric.shown(value['mean'], value['std'])} {metric.unit}".rstrip()


def _highlights(found: Mapping[str, Any]) -> dict[str, str]:
    largest, draws = found["sizes"][-1], found["draws"]
    last = {rule: values[-1] for rule, values in found["ensembles"].items()}
    of = f"of {largest}, mean ± deviation over {quantity(draws, 'draw')}"
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
            summary="accuracy, likelihood and calibration, or the task's own metrics, of ensembles as they grow",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2",
        )
    ]
