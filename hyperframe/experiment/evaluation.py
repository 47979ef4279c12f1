"""Evaluation: networks are drawn, run on one data set, and measured alone and together."""

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.experiment.build import Experiment
from hyperframe.metrics import declare_results
from hyperframe.networks.sampled import Networks, draw_weights
from hyperframe.runtime.progress import tell
from hyperframe.runtime.rng import stream
from hyperframe.targets.weights import flatten
from hyperframe.types import Data, Weights

STATISTICS_BATCH = 250
"""Training examples of one part, at most, from whose moments a network's statistics are made."""

ENTROPY = "entropy"
"""The key of what `evaluate` finds beside what `measure` does."""


@attrs.frozen(kw_only=True)
class Origin:
    """Which networks an evaluation is of, and which data: what it tells beside its results.

    Attributes:
        run: the name of the run folder.
        samples: the file that the networks were read from; None where they were drawn, as all that follow are where
            they were not.
        step: of the checkpoint whose generator drew them.
        seed: of the draws.
        gradient_evaluations: what the training had cost by then.
        split: of the task's data.
        settings: of the run, which a resumption may change without another step, and on which results depend.

    Example:
        >>> Origin(run="one", samples="some.safetensors", split="test").plain()
        {'run': 'one', 'samples': 'some.safetensors', 'split': 'test'}
    """

    run: str
    samples: str | None = None
    step: int | None = None
    seed: int | None = None
    gradient_evaluations: int | None = None
    split: str
    settings: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """Its fields by their names, without those that are None."""
        return {key: value for key, value in attrs.asdict(self).items() if value is not None}


def measured_part(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an evaluation that `measure` found, without its origin and entropy."""
    beside = (ENTROPY, *attrs.fields_dict(Origin))
    return {key: value for key, value in evaluation.items() if key not in beside}


def draw_networks(
    experiment: Experiment, count: int, seed: int, train: Data | None, *, gauge: bool = False
) -> Networks:
    """Draw networks from an experiment's generator.

    Args:
        experiment: what to draw from.
        count: how many.
        seed: of the draws.
        train: training data, from which each network's statistics are estimated where the target has any.
        gauge: take the representatives of the weights under the experiment's gauge.
    """
    weights = draw_weights(experiment.generator, count, stream(seed, "sample", experiment.device))
    if gauge:
        with torch.no_grad():
            weights = experiment.gauge(weights)
    return networks_of(experiment, weights, seed, train)


def networks_of(experiment: Experiment, weights: Weights, seed: int, train: Data | None) -> Networks:
    """Networks with these weights.

    Args:
        experiment: whose target and task they are of.
        weights: for each layer [networks, filters, filter_size].
        seed: of the choice of training examples for the statistics.
        train: training data, from which each network's statistics are estimated where the target has any.
    """
    statistics = {}
    if experiment.target.has_statistics and train is not None:
        chosen = torch.randperm(len(train), generator=stream(seed, "statistics"))[
            : experiment.config.evaluation.statistics
        ]
        # Parts of one size, or nearly: each weighs the same, and BatchNorm has no moments of a single example.
        parts = -(-len(chosen) // STATISTICS_BATCH)
        inputs = (train[part].to(experiment.device).x for part in chosen.to(train.device).tensor_split(parts))
        statistics = experiment.target.estimate_statistics(weights, inputs)
    return Networks(experiment.target, experiment.task, weights, statistics)


@torch.no_grad()
def evaluate(experiment: Experiment, networks: Networks, data: Data) -> dict[str, Any]:
    """Measure networks on data.

    Returns:
        `networks` and `examples`, the number of each; the results of the task's meter, such as `accuracy` (mean, std,
        min, max over networks) and `ensemble` (majority, mean_probability, nll, ece, disagreement); `metrics`, what the
        task says of each of these results, see `hyperframe.Metric`; `entropy`, the estimate of the weights'
        differential entropy in nats after the gauge, None for fewer networks than the estimator needs.

    Raises:
        PluginError: the meter does not find a metric that the task declares.
    """
    return {**measure(experiment, networks, data), ENTROPY: weight_entropy(experiment, networks)}


@torch.no_grad()
def measure(experiment: Experiment, networks: Networks, data: Data) -> dict[str, Any]:
    """Measure drawn networks as `evaluate` does, but for the entropy, which needs no data."""
    task = experiment.task
    meter = task.meter(len(networks), len(data), experiment.device)
    tell("examples evaluated", 0, len(data))
    for first, first_example, outputs in networks.chunks(data.x):
        labels = data.y[first_example : first_example + outputs.shape[1]].to(outputs.device)
        meter.update(outputs, labels, first, first_example)
        if first + len(outputs) == len(networks):
            tell("examples evaluated", first_example + outputs.shape[1], len(data))
    results = declare_results(task.metrics, meter.result(), f"task '{task.name}'")
    return {"networks": len(networks), "examples": len(data), **results}


@torch.no_grad()
def gauged_rows(experiment: Experiment, networks: Networks) -> tuple[Tensor, int]:
    """The networks' trained weights after the gauge, one row each, and the dimension of the set they are from."""
    flat = flatten(experiment.target.spec.trained, experiment.gauge(networks.weights))
    return flat, min(experiment.generator.dimension, experiment.loss.directions)


def weight_entropy(experiment: Experiment, networks: Networks) -> float | None:
    """Entropy of the networks' weights after the gauge, by the configured estimator with fixed random numbers."""
    if len(networks) < experiment.estimator.minimum_samples:
        return None
    flat, dimension = gauged_rows(experiment, networks)
    return float(experiment.estimator(flat, dimension, stream(0, "entropy", flat.device)))
