"""A comparison of runs as labels and texts, for tables and pages."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from hyperframe.metrics import WORDS, Metric, metrics_of, with_deviation
from hyperframe.runs.comparison import repeats
from hyperframe.runtime.progress import MISSING, quantity


def difference_rows(content: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the keys in which the configurations of compared runs differ, with a cell for each run."""
    points = repeats(content["runs"])
    for key, values in content["different"].items():
        yield key, [_as_text(values[name]) if name in values else MISSING for name in points]


def comparison_title(content: Mapping[str, Any]) -> str:
    """Say how many networks of each run were measured, and what stands for repeats."""
    same = len(repeats(content["runs"])) == len(content["runs"])
    more = "" if same else "; of repeats the mean ± the standard deviation over them"
    return f"{quantity(content['networks'], 'network')} of each on the test set{more}"


def task_note(content: Mapping[str, Any]) -> str:
    """Say which runs are of which tasks, where these are not the same; else nothing."""
    rows = content["runs"]
    if len({row["task"] for row in rows}) == 1:
        return ""
    told = ", ".join(f"{row['run']} {row['task']}" for row in rows)
    return f"these are different tasks ({told}): results are not of the same data"


def comparison_rows(content: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a comparison: words, and a cell for each run, or for all repeats of one.

    Args:
        content: what `hyperframe.runs.comparison.compare` returned.
    """
    points = list(repeats(content["runs"]).values())
    yield "step", [", ".join(dict.fromkeys(str(row["step"]) for row in own)) for own in points]
    declared = dict.fromkeys(metric for own in points for row in own for metric in _shown_metrics(row["results"]))
    for metric in sorted(declared, key=lambda metric: metric.of == "ensemble"):
        yield (
            metric.words(WORDS[metric.of]),
            [_comparison_cell(metric, [row["results"] for row in own]) for own in points],
        )
    for name in points[0][0]["entropies"]:
        found = ([row["entropies"][name] for row in own] for own in points)
        yield f"entropy in gauge (nats): {name}", [_over(values, partial(with_deviation, ".1f")) for values in found]
    found = ([row["training_seconds"] for row in own] for own in points)
    yield "training time (s)", [_over(values, partial(with_deviation, ".4g")) for values in found]


def _shown_metrics(results: Mapping[str, Any]) -> list[Metric]:
    """The metrics of results, alike where they are shown alike, whatever else they are used for in their tasks."""
    return [attrs.evolve(metric, selects=False, mean_of="") for metric in metrics_of(results)]


def _comparison_cell(metric: Metric, found: Sequence[Mapping[str, Any]]) -> str:
    """A run's value of a metric, with the deviation over its networks; of repeats as `_over` shows them."""
    values = [metric.value(results) if metric in _shown_metrics(results) else None for results in found]
    spread = metric.spread(found[0]) if len(found) == 1 and values[0] is not None else None
    return _over(values, metric.shown, None if spread is None else spread["std"])


def _over(
    values: Sequence[float | None], shown: Callable[[float, float | None], str], deviation: float | None = None
) -> str:
    """A value ± its deviation, or of repeats their mean ± the one over them; what one does not have is missing."""
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return MISSING
    return shown(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else deviation)


def _as_text(value: Any) -> str:
    """A value of a configuration as it is written there."""
    return value if isinstance(value, str) else json.dumps(value)
