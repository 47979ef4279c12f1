"""Ensembles of a task without classes as they grow: each size is measured by the task's own meter."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe import Data, Metric, Networks
from hyperframe.analysis.ensemble_metrics import spread


def grown_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics of the ensemble that say which way is better."""
    return [metric for metric in metrics if metric.of == "ensemble" and metric.better]


def own_results(networks: Networks, sizes: Sequence[int], data: Data) -> dict[str, Any]:
    """Measure the ensembles of the first networks, for each size by a meter of its own, in one pass.

    Returns:
        `growth`, for each metric of `grown_metrics` its values at the sizes; `single`, for each metric of single
        networks its mean over all of them. Metrics that a meter does not find are left out.
    """
    task, labels = networks.task, data.y.to(next(iter(networks.weights.values())).device)
    meters = {size: task.meter(size, len(data), labels.device) for size in sizes}
    for first, first_example, outputs in networks.chunks(data.x):
        own = labels[first_example : first_example + outputs.shape[1]]
        for size, meter in meters.items():
            if first < size:
                meter.update(outputs[: size - first], own, first, first_example)
    results = [meter.result() for meter in meters.values()]
    growth = {metric.name: [metric.value(each) for each in results] for metric in grown_metrics(task.metrics)}
    single = {metric.name: metric.value(results[-1]) for metric in task.metrics if metric.of == "network"}
    return {
        "growth": {name: values for name, values in growth.items() if None not in values},
        "single": {name: value for name, value in single.items() if value is not None},
    }


def over_draws(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and deviation over the draws of all that `own_results` found.

    Example:
        >>> over_draws([{"growth": {"r2": [0.5, value]}, "single": {}} for value in (0.25, 0.75)])["growth"]["r2"]
        [{'mean': 0.5, 'std': 0.0}, {'mean': 0.5, 'std': 0.25}]
    """
    growth: dict[str, list[dict[str, float]]] = {}
    for name in parts[0]["growth"]:
        columns = zip(*(part["growth"][name] for part in parts), strict=True)
        growth[name] = [spread([{name: value} for value in at])[name] for at in columns]
    return {
        "growth": growth,
        "single": spread([part["single"] for part in parts]),
    }
