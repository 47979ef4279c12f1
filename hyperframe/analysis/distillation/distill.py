"""Make one network in place of an ensemble, measure it beside the ensemble, and write it to a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis.distillation.averaging import average, check_scale
from hyperframe.analysis.distillation.student import DistillationOptions, taught_network
from hyperframe.errors import RunError, unknown_name
from hyperframe.experiment.evaluation import measure
from hyperframe.metrics import Metric
from hyperframe.networks.sampled import Networks
from hyperframe.networks.storage import write_network
from hyperframe.runs.run import Run
from hyperframe.runtime.modes import with_gradients

METHODS = ("predictions", "average", "average-gauged")
"""Training on the ensemble's predictions; the mean of the weights as they are generated; the mean of them in gauge."""


def condense(
    run: Run, method: str, options: DistillationOptions, seed: int | None = None, *, scale: float = 1.0
) -> Networks:
    """Make one network in place of an ensemble of `options.networks` generated ones.

    Args:
        run: the run.
        method: one of `METHODS`.
        options: `networks` is used by all methods, the others by "predictions" only.
        seed: of the draws; by default `evaluation.seed`.
        scale: what z is multiplied by, for averages.

    Raises:
        RunError: there is no such method; or the scale is not 1, and z is no vector or nothing is averaged.
        TrainingError: the student's loss is not finite.
    """
    check_method(run, method, scale)
    if method == "predictions":
        return taught_network(run, options, seed)
    count = run.experiment.generator.at_most(options.networks)
    return average(run, count, seed, scale=scale, gauge=method == "average-gauged")


def check_method(run: Run, method: str, scale: float) -> None:
    """Check that a method can be used on a run; raises `RunError`."""
    if method not in METHODS:
        raise RunError(unknown_name("method", method, METHODS))
    if scale != 1 and method == "predictions":
        raise RunError(f"the scale {scale:g} is for averages; the method 'predictions' takes z as it is drawn")
    check_scale(run, scale)


def results_of_networks(run: Run, networks: int, seed: int | None = None) -> dict[str, dict[str, Any]]:
    """Measure generated networks one by one, and their ensemble, on the test set.

    Returns:
        `mean member` and `ensemble`, each with `score` (see `score_metric`; for the ensemble the score of its mean
        prediction); `metrics`, the values of all metrics that the task declares of single networks, by name, None
        where the task has no such metric; `deviations`, those over the members in the metrics' own units, by name, of
        all metrics whose values the task's meter gives one by one (none for the ensemble).
    """
    drawn = run.sample(run.experiment.generator.at_most(networks), seed)
    results = measure(run.experiment, drawn, run.data("test"))
    of_mean = {metric.mean_of: metric.value(results) for metric in run.experiment.task.metrics if metric.mean_of}
    together = {metric.name: of_mean.get(metric.name) for metric in network_metrics(run)}
    return {
        "mean member": _of_members(run, results),
        "ensemble": {"score": together[score_metric(run).name], "metrics": together, "deviations": {}},
    }


def results_of_one(run: Run, network: Networks) -> dict[str, Any]:
    """Measure one network on the test set: returns `score`, `metrics`, and `deviations` that are empty."""
    return {**_of_members(run, measure(run.experiment, network, run.data("test"))), "deviations": {}}


def score_metric(run: Run) -> Metric:
    """Return the metric that `score` holds: the first that the task declares for single networks, such as accuracy."""
    return network_metrics(run)[0]


def network_metrics(run: Run) -> list[Metric]:
    """The metrics that the task declares of single networks, in their order."""
    return [metric for metric in run.experiment.task.metrics if metric.of == "network"]


def _of_members(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    spreads = {metric.name: metric.spread(results) for metric in network_metrics(run)}
    return {
        "score": score_metric(run).value(results),
        "metrics": {metric.name: metric.value(results) for metric in network_metrics(run)},
        "deviations": {name: spread["std"] for name, spread in spreads.items() if spread is not None},
    }


@with_gradients
def distill(
    run: Run,
    out: str | Path,
    method: str = METHODS[0],
    options: DistillationOptions | None = None,
    seed: int | None = None,
    *,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Make one network in place of an ensemble, write it as a state_dict, and measure it beside the ensemble.

    Args:
        run: the run.
        out: a new safetensors file, which the target's module can load.
        method: one of `METHODS`.
        options: of the ensemble and the student.
        seed: of the draws; by default `evaluation.seed`.
        scale: what z is multiplied by, for averages.

    Returns:
        `run`, `step`, `file`, `method`, `networks` (of the ensemble), `scale`, `examples` (of the test set), `metrics`
        (what the task declares of single networks; the first is what `score` holds), and `results`: for `mean member`,
        `ensemble` and `written network` what `results_of_networks` returns for one.

    Raises:
        RunError: the file exists, has another ending or cannot be written; the method cannot be used, see `condense`.
        TrainingError: the student's loss is not finite.
    """
    options = options or DistillationOptions()
    count = run.experiment.generator.at_most(options.networks)
    origin = {
        "run": run.folder.name,
        "step": run.step,
        "method": method,
        "networks": count,
        "scale": scale,
        "seed": run.config.evaluation.seed if seed is None else seed,
    }
    header = {key: str(value) for key, value in origin.items()}
    file, network = write_network(out, lambda: condense(run, method, options, seed, scale=scale), header)
    return {
        **origin,
        "file": str(file),
        "examples": len(run.data("test")),
        "metrics": [metric.plain() for metric in network_metrics(run)],
        "results": {**results_of_networks(run, count, seed), "written network": results_of_one(run, network)},
    }
