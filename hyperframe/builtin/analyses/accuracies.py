"""The analysis `accuracies`: how the accuracies of drawn networks are distributed (Fig. 2)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe import Component, Data, Metric, Networks, Run, hookimpl, option
from hyperframe.analysis import COLOURS, conclude, in_parts, keep_picture, new_figure
from hyperframe.analysis.distillation.distill import score_metric
from hyperframe.analysis.scoring import some_examples
from hyperframe.errors import RunError
from hyperframe.experiment.evaluation import measure
from hyperframe.networks.sampled import select
from hyperframe.runs.loading import load_run
from hyperframe.runtime.progress import quantity

MEASURED_AT_ONCE = 10
"""Networks measured in one part of the work."""

BINS = 30


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int | None = option(None, "how many networks are drawn; by default evaluation.test_networks", minimum=1)
    examples: int | None = option(None, "test examples, at most; by default all", minimum=1)
    other: str | None = option(None, "the folder of another run of the same task, shown beside this one", run=True)


class Accuracies:
    """Measures every drawn network by itself: accuracies, or root mean squared errors of a regression.

    Returns:
        `metric`, the one that is measured; `examples`; `runs`, for each run its `name`, `label` (the first option of
        its objective, such as λ, or its name), `networks`, the `values`, and their `mean`, `std`, `min`, `max` and
        `median`.

    Raises:
        RunError: the other run is of another task, or is no run.

    References: section 4.2.1, Fig. 2.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Analyse a run; see the class."""
        options = self._options
        runs = [run]
        if options.other is not None:
            runs.append(load_run(options.other, run.registry, str(run.experiment.device)))
            tasks = [each.config.task for each in runs]
            if tasks[0].name != tasks[1].name:
                raise RunError(
                    f"analysis 'accuracies': run {runs[1].folder} is of task '{tasks[1].name}'; it must be of "
                    f"'{tasks[0].name}', as run {run.folder.name} is"
                )
        data = run.data("test")
        if options.examples is not None:
            data = some_examples(data, options.examples, run.config.evaluation.seed)
        names = _labels(runs)
        found = []
        for number, each in enumerate(runs):
            what = "networks" if number == 0 else "networks of the other run"
            values = self._values(each, data, folder, what)
            found.append({"name": each.folder.name, "label": names[number], **_results(values)})
        results = {"metric": score_metric(run).plain(), "examples": len(data), "runs": found}
        return {**results, **_illustrate(folder, results)}

    def _values(self, run: Run, data: Data, folder: Path, what: str) -> list[float]:
        """Return the metric of each network."""
        chosen = self._options.networks
        count = run.default_count if chosen is None else run.experiment.generator.at_most(chosen)
        networks = run.sample(count)

        def part(number: int) -> dict[str, Any]:
            first = number * MEASURED_AT_ONCE
            return own_results(run, networks, range(first, min(first + MEASURED_AT_ONCE, count)), data)

        parts = in_parts(folder, what, -(-count // MEASURED_AT_ONCE), part)
        return [value for each in parts for value in each["values"]]


def own_results(run: Run, networks: Networks, numbers: range, data: Data) -> dict[str, Any]:
    """Measure some of the networks one by one."""
    metric, values = score_metric(run), []
    for number in numbers:
        results = measure(run.experiment, select(networks, slice(number, number + 1)), data)
        values.append(metric.value(results))
    return {"values": values}


def _results(values: list[float]) -> dict[str, Any]:
    own = torch.tensor(values, dtype=torch.float64)
    return {
        "networks": len(values),
        "mean": float(own.mean()),
        "std": float(own.std(correction=0)),
        "min": float(own.min()),
        "median": float(own.quantile(0.5)),
        "max": float(own.max()),
        "values": values,
    }


def _labels(runs: list[Run]) -> list[str]:
    """Label runs by the first option of their objective, such as λ, where it tells them apart; else by their names."""
    objectives = [run.config.plain()["objective"] for run in runs]
    labels = [_first_option(objective) for objective in objectives]
    same = {objective["name"] for objective in objectives}
    if "" not in labels and len(same) == 1 and len(set(labels)) == len(runs):
        return labels
    names = [run.folder.name for run in runs]
    return names if len(set(names)) == len(names) else [names[0], f"{names[1]}, the other one"]


def _first_option(objective: Mapping[str, Any]) -> str:
    """Return name and value of an objective's first option; empty where it has none."""
    for key, value in objective.items():
        if key != "name":
            return f"{key} = {value:,g}" if isinstance(value, int | float) else f"{key} = {value}"
    return ""


def _illustrate(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Write the picture; return it with the highlights."""
    metric, runs = Metric(**results["metric"]), results["runs"]
    words = {each["label"]: _words(each, metric) for each in runs}
    several = len(runs) > 1
    said = "; ".join(f"{label}: {text}" if several else text for label, text in words.items())
    drawn = quantity(runs[0]["networks"], "drawn network")
    caption = f"{metric.title} of {drawn} on {results['examples']:,} test examples: {said}."
    title = f"{metric.title} of drawn networks"
    picture = keep_picture(folder, "accuracies.png", _figure(results, metric), title=title, caption=caption)
    return {
        "conclusions": [conclude("quality", between(runs[0], metric), picture)],
        "highlights": {
            f"{metric.label} of drawn networks{', ' + label if several else ''}": text for label, text in words.items()
        },
        "pictures": [picture],
    }


def between(own: Mapping[str, Any], metric: Metric) -> str:
    """Say between which values the networks of a run lie.

    Example:
        >>> between({"networks": 9, "min": 0.97, "max": 0.99}, Metric(name="accuracy", percent=True))
        'Its 9 networks have between 97.00 and 99.00 % (accuracy).'
    """
    if metric.percent:
        values = f"{100 * own['min']:.2f} and {100 * own['max']:.2f} %"
    else:
        values = f"{own['min']:.4g} and {own['max']:.4g} {metric.unit}".rstrip()
    return f"Its {own['networks']:,} networks have between {values} ({metric.label})."


def _words(own: Mapping[str, Any], metric: Metric) -> str:
    if metric.percent:
        numbers = [f"{100 * own[key]:.2f}" for key in ("mean", "std", "min", "max")]
        return f"{numbers[0]} ± {numbers[1]} % ({numbers[2]} to {numbers[3]} %)"
    numbers = [f"{own[key]:.4g}" for key in ("mean", "std", "min", "max")]
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{numbers[0]} ± {numbers[1]}{unit} ({numbers[2]} to {numbers[3]}{unit})"


def _figure(results: Mapping[str, Any], metric: Metric) -> Any:
    """Draw a histogram for each run, one above the other, over the same axis."""
    percent = metric.percent
    runs, factor = results["runs"], 100 if percent else 1
    values = [factor * value for each in runs for value in each["values"]]
    edges = _edges(values, factor / results["examples"] if percent else 0.0)
    figure = new_figure(7.0, 1.0 + 2.4 * len(runs))
    panels = figure.subplots(len(runs), 1, squeeze=False, sharex=True)[:, 0]
    for number, (axes, each) in enumerate(zip(panels, runs, strict=True)):
        axes.hist([factor * value for value in each["values"]], bins=edges, color=COLOURS[number])
        mean = factor * each["mean"]
        axes.axvline(mean, color="black", linewidth=1, linestyle="--")
        said = f"{each['label']}, {quantity(each['networks'], 'network')}, mean (dashed) {mean:.4g}"
        said += " %" if percent else ""
        axes.set_title(said, fontsize="medium")
        axes.set_ylabel("networks")
        axes.yaxis.get_major_locator().set_params(integer=True)
    unit = ", %" if percent else f", {metric.unit}" if metric.unit else ""
    panels[-1].set_xlabel(f"{metric.label if percent else metric.title} on {results['examples']:,} test examples{unit}")
    return figure


def _edges(values: list[float], step: float) -> list[float]:
    """Return the edges of equal bins, at most 31, the same for all runs.

    Args:
        values: the values to count.
        step: the number of which all values are multiples, as accuracies are of 1/examples; each bin then covers the
            same number of multiples. 0 where there is none.
    """
    low, high = min(values), max(values)
    if not step:
        step = max((high - low) / BINS, 1e-9 * max(1.0, abs(high)))
    width = step * max(1, math.ceil((high - low) / step / BINS - 1e-6))
    count = 1 + math.floor((high - low + step / 2) / width)
    return [low - step / 2 + width * number for number in range(count + 1)]


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="accuracies",
            place=30,
            factory=Accuracies,
            options=Options,
            summary="how the accuracies, or errors, of drawn networks are distributed; another run beside it",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.1, Fig. 2",
        )
    ]
