"""Metrics of drawn ensembles and of their single networks, before and after temperature scaling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hyperframe.analysis.ensemble_metrics import GrowthMeter, spread, temperatures
from hyperframe.analysis.scoring import some_examples
from hyperframe.networks.sampled import Networks, select
from hyperframe.runs.run import Run
from hyperframe.runtime.rng import stream, stream_seed
from hyperframe.tasks.calibration import at_temperature, fit_temperature, results_of
from hyperframe.types import Data

SINGLES = 10
"""Networks for which a temperature of their own is fitted; doing it for all would need all their outputs in memory."""


def examples_of(run: Run, test: int, validation: int) -> tuple[Data, Data]:
    """Draw examples of the run's test set and of its validation set, at most as many as given; see `some_examples`."""
    of, seed = run.data, run.config.evaluation.seed
    return some_examples(of("test"), test, seed), some_examples(of("validation"), validation, seed)


def draw_ensemble(run: Run, draw: int, count: int) -> Networks:
    """Draw an ensemble of so many networks.

    A generator that holds a fixed number of networks gives the same ones in each draw, in another order.

    Args:
        run: the run to draw from.
        draw: the number of the draw. Draw 0 has the networks that `Run.evaluate` draws; the others have seeds that no
            other `evaluation.seed` shares.
        count: how many networks.
    """
    seed = run.config.evaluation.seed
    networks = run.sample(count, stream_seed(seed, f"ensemble {draw}") if draw else seed)
    if run.experiment.generator.networks is not None:
        return select(networks, order_of(count, draw, seed))
    return networks


def ensemble_results(run: Run, draw: int, sizes: Sequence[int], test: Data, validation: Data) -> dict[str, Any]:
    """Draw one ensemble, and measure it as it grows and its networks one by one.

    Args:
        run: the run to draw from.
        draw: the number of the draw; see `draw_ensemble`.
        sizes: of the ensembles, in increasing order; as many networks are drawn as the last size says.
        test: the examples that are measured on.
        validation: the examples that temperatures are fitted on.

    Returns:
        `single`: `accuracy`, `nll`, `brier` and `ece` as means over the networks, the same with `_deviation`, and
        `calibrated_nll`, `calibrated_brier` and `calibrated_ece` of the first networks, each at a temperature of its
        own; `ensembles`: see `GrowthMeter.ensembles`.
    """
    networks = draw_ensemble(run, draw, sizes[-1])
    tried, fitted = fill_meter(networks, sizes, test), fill_meter(networks, sizes, validation)
    heat = temperatures(fitted, validation.y.to(run.experiment.device))
    single = {name: float(values.mean()) for name, values in tried.singles().items()}
    single |= {f"{name}_deviation": float(values.std(correction=0)) for name, values in tried.singles().items()}
    ensembles = tried.ensembles(heat)
    for results, temperature in zip(ensembles["mean_probability"], heat, strict=True):
        results["temperature"] = temperature
    return {"single": single | _calibrated_means(networks, test, validation), "ensembles": ensembles}


def order_of(count: int, draw: int, seed: int) -> Tensor:
    """Return an order of networks, int64 [count]; over draws 0 to count − 1 each network has each place once.

    Example:
        >>> orders = torch.stack([order_of(3, draw, seed=0) for draw in range(3)])
        >>> orders.sort(0).values.tolist()
        [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    """
    rng = stream(seed, f"order of networks {draw // count}")
    return torch.randperm(count, generator=rng).roll(draw % count)


def fill_meter(networks: Networks, sizes: Sequence[int], data: Data) -> GrowthMeter:
    """Return a meter that has seen all networks on all examples."""
    device = next(iter(networks.weights.values())).device
    meter = GrowthMeter(len(networks), sizes, data.y.to(device), networks.target.spec.num_outputs)
    for first, first_example, outputs in networks.chunks(data.x):
        meter.update(outputs, first, first_example)
    return meter


def _calibrated_means(networks: Networks, test: Data, validation: Data) -> dict[str, float]:
    """Return mean metrics of the first networks, each at a temperature of its own."""
    few = select(networks, slice(0, SINGLES))
    # Logarithms: in float64 none of them underflows.
    outputs = [few.gathered(data.x, lambda each: each.double().log_softmax(-1)) for data in (validation, test)]
    labels = [data.y.to(outputs[0].device) for data in (validation, test)]
    rows = []
    for known, asked in zip(*outputs, strict=True):
        temperature = fit_temperature(known, labels[0])
        rows.append({"temperature": temperature, **results_of(at_temperature(asked, temperature), labels[1])})
    means = {name: one["mean"] for name, one in spread(rows).items()}
    calibrated = {f"calibrated_{name}": means[name] for name in ("nll", "brier", "ece")}
    return {**calibrated, "temperature": means["temperature"]}
