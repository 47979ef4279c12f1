"""The analysis `distillation`: single networks in place of an ensemble (section 4.4)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, DistillationOptions, Metric, Run, hookimpl, option
from hyperframe.analysis import COLOURS, in_parts, keep_picture, new_figure
from hyperframe.analysis.distillation.averaging import average
from hyperframe.analysis.distillation.distill import results_of_networks, results_of_one, score_metric
from hyperframe.analysis.distillation.student import taught_network
from hyperframe.analysis.requirements import has_latent
from hyperframe.runtime.progress import quantity

PICTURE = "distillation.png"
STUDENT = "distilled network"


@attrs.frozen(kw_only=True)
class Options(DistillationOptions):
    """Options of the analysis."""

    scales: tuple[float, ...] = option((1.0, 0.5, 0.0), "averages: what z is multiplied by", minimum=0)


class Distillation:
    """Measures single networks in place of an ensemble of generated ones.

    Measured on the test set are the mean member and its deviation; the ensemble, by its mean prediction; a student that
    is trained on the ensemble's predictions (`hyperframe.analysis.distillation.student`); and averages of the weights,
    as they are generated and in the run's gauges, for each scale of z (`hyperframe.analysis.distillation.averaging`).
    All are made from the same draws.

    Args:
        options: of the ensemble, the student and the averages.

    References: section 4.4.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Measure a run.

        Returns:
            `networks` of the ensemble; `examples` of the test set; `metric`, the one that `score` holds; `results`, for
            each way what `hyperframe.analysis.distillation.distill.results_of_networks` returns for one.
        """
        count = run.experiment.generator.at_most(self.options.networks)
        ways = {"mean member": lambda: results_of_networks(run, count), **self._single_networks(run, count)}
        makers = list(ways.values())
        parts = in_parts(folder, "networks in the place of an ensemble", len(ways), lambda number: makers[number]())
        members, *singles = parts
        found = {
            "networks": count,
            "examples": len(run.data("test")),
            "metric": score_metric(run).plain(),
            "results": {**members, **dict(zip(list(ways)[1:], singles, strict=True))},
        }
        result = {**found, "highlights": highlights(found), "pictures": [_picture(folder, found)]}
        if not has_latent(run) and any(scale != 1 for scale in self.options.scales):
            result["skipped"] = {"averages for other scales of z": "the generator's z is the number of a network"}
        return result

    def _single_networks(self, run: Run, count: int) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return, for each single network, a function that makes and measures it."""
        ways = {STUDENT: lambda: results_of_one(run, taught_network(run, self.options))}
        scales = [scale for scale in self.options.scales if scale == 1 or has_latent(run)]
        for gauge, words in ((False, "average"), (True, "average in gauge")):
            for scale in scales if not gauge or run.config.gauges else ():
                ways[f"{words}, z × {scale:g}"] = _average_of(run, count, scale, gauge)
        return ways


def _average_of(run: Run, count: int, scale: float, gauge: bool) -> Callable[[], dict[str, Any]]:
    return lambda: results_of_one(run, average(run, count, scale=scale, gauge=gauge))


def highlights(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the scores of a member (± deviation), the ensemble, the student and the best average as texts."""
    metric, results = Metric(**found["metric"]), found["results"]
    name, best = metric.label, max if metric.better == "greater" else min
    averages = {way: row["score"] for way, row in results.items() if way.startswith("average")}
    chosen = {f"{name}, {way}": way for way in ("mean member", "ensemble", STUDENT)}
    if averages:
        first = best(averages, key=lambda way: averages[way])
        # It is chosen by the test score that is shown, which is therefore a little too good; the label says so.
        chosen[f"{name}, best on the test set of {quantity(len(averages), 'average')}: {first}"] = first
    return {
        words: score_text(metric, results[way]["score"], _deviation(metric, results[way]))
        for words, way in chosen.items()
        if results[way]["score"] is not None
    }


def score_text(metric: Metric, score: float, deviation: float | None = None) -> str:
    """Write a score with its unit as text, and its deviation over the members where there is one.

    Example:
        >>> score_text(Metric(name="accuracy", percent=True), 0.9861)
        '98.61 %'
        >>> score_text(Metric(name="angle", unit="°"), 53.217, 1.5)
        '53.22 ± 1.5 °'
    """
    return f"{metric.shown(score, deviation)} {metric.unit}".rstrip()


def _deviation(metric: Metric, row: Mapping[str, Any]) -> float | None:
    found: float | None = row["deviations"].get(metric.name)
    return found


def _picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw a row for each way; accuracies are drawn as errors on a logarithmic axis, which shows small ones too."""
    metric, rows = (
        Metric(**found["metric"]),
        {w: row for w, row in found["results"].items() if row["score"] is not None},
    )
    least = 0.5 / found["examples"]
    figure = new_figure(7.0, 1.3 + 0.34 * len(rows))
    axes = figure.add_subplot()
    for place, (way, row) in enumerate(rows.items()):
        colour = COLOURS[0] if way in ("mean member", "ensemble") else COLOURS[1] if way == STUDENT else COLOURS[2]
        low, middle, high = _span(metric, row, least)
        axes.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.4)
        axes.plot(middle, place, "o", color=colour, markersize=8)
        axes.annotate(
            score_text(metric, row["score"]),
            (high, place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            size=9,
        )
    axes.set_yticks(
        range(len(rows)), [f"{way} ± deviation" if _deviation(metric, row) else way for way, row in rows.items()]
    )
    axes.invert_yaxis()
    axes.margins(x=0.14, y=0.08)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if _as_error(metric):
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value <= 100 else "")
        axes.set_xlabel(f"test error, % (logarithmic); the numbers are of the {metric.label}", parse_math=False)
    else:
        axes.set_xlabel(metric.words("{} on the test set"), parse_math=False)
    return keep_picture(
        folder, PICTURE, figure, title="One network in the place of an ensemble", caption=_sentence(found)
    )


def _as_error(metric: Metric) -> bool:
    """Whether the metric is drawn as an error, 100 % minus its value."""
    return metric.percent and metric.better == "greater"


def _span(metric: Metric, row: Mapping[str, Any], least: float) -> tuple[float, float, float]:
    """Return the start of a row's line, its point, and the line's end: the score and a deviation to both sides."""
    deviation = _deviation(metric, row) or 0.0
    if not _as_error(metric):
        return row["score"] - deviation, row["score"], row["score"] + deviation
    error = 1 - row["score"]
    low, middle, high = (100 * max(value, least) for value in (error - deviation, error, error + deviation))
    return low, middle, high


def _sentence(found: Mapping[str, Any]) -> str:
    metric, results = Metric(**found["metric"]), found["results"]
    member = results["mean member"]
    others = [f"{score_text(metric, member['score'], _deviation(metric, member))} of the mean member"]
    if results["ensemble"]["score"] is not None:
        others.insert(0, f"{score_text(metric, results['ensemble']['score'])} of the ensemble of {found['networks']}")
    student = score_text(metric, results[STUDENT]["score"])
    return (
        f"One network that was taught the ensemble's predictions has a test {metric.label} of {student}, against "
        + (f"{' and '.join(others)}.")
    )


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="distillation",
            place=130,
            factory=Distillation,
            options=Options,
            summary="one network in the place of an ensemble: taught by its predictions, or the mean of its weights",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.4",
        )
    ]
