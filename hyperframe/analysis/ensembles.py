"""Ensembles of drawn networks: what they and their networks achieve, before and after temperature scaling."""

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
"""Single networks whose temperature is fitted; that of all of them would have to hold all of their outputs."""


def examples_of(run: Run, test: int, validation: int) -> tuple[Data, Data]:
    """At most so many examples of the run's test set, and of its validation set; see `some_examples`."""
    of, seed = run.data, run.config.evaluation.seed
    return some_examples(of("test"), test, seed), some_examples(of("validation"), validation, seed)


def ensemble_results(run: Run, draw: int, sizes: Sequence[int], test: Data, validation: Data) -> dict[str, Any]:
    """Figures of one drawn ensemble as it grows, and of its networks, with temperatures from validation examples.

    A generator that holds a number of networks gives the same ones in each draw, in another order.

    Args:
        run: what to draw from.
        draw: its number; the first is of the networks that `Run.evaluate` draws, the others have seeds that no other
            `evaluation.seed` shares.
        sizes: of the ensembles, growing; as many networks are drawn as the last one has.
        test: what is measured on.
        validation: what temperatures are fitted on.

    Returns:
        `single`: the means over the networks of `accuracy`, `nll`, `brier` and `ece`, their deviations, and what is
        left at a temperature of its own for each of the first networks; `ensembles`: see `GrowthMeter.ensembles`.
    """
    seed = run.config.evaluation.seed
    seed = stream_seed(seed, f"ensemble {draw}") if draw else seed
    networks = run.sample(sizes[-1], seed)
    if run.experiment.generator.networks is not None:
        networks = select(networks, order_of(len(networks), draw, run.config.evaluation.seed))
    tried, fitted = measured(networks, sizes, test), measured(networks, sizes, validation)
    heat = temperatures(fitted, validation.y.to(run.experiment.device))
    single = {name: float(values.mean()) for name, values in tried.singles().items()}
    single |= {f"{name}_deviation": float(values.std(correction=0)) for name, values in tried.singles().items()}
    ensembles = tried.ensembles(heat)
    for results, temperature in zip(ensembles["mean_probability"], heat, strict=True):
        results["temperature"] = temperature
    return {"single": single | _calibrated(networks, test, validation), "ensembles": ensembles}


def order_of(count: int, draw: int, seed: int) -> Tensor:
    """An order of networks, int64 [count]; in `count` draws that follow each other each network has each place once.

    Example:
        >>> orders = torch.stack([order_of(3, draw, seed=0) for draw in range(3)])
        >>> orders.sort(0).values.tolist()
        [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    """
    rng = stream(seed, f"order of networks {draw // count}")
    return torch.randperm(count, generator=rng).roll(draw % count)


def measured(networks: Networks, sizes: Sequence[int], data: Data) -> GrowthMeter:
    """A meter that has seen all networks on all examples."""
    device = next(iter(networks.weights.values())).device
    meter = GrowthMeter(len(networks), sizes, data.y.to(device), networks.target.spec.num_outputs)
    for first, first_example, outputs in networks.chunks(data.x):
        meter.update(outputs, first, first_example)
    return meter


def _calibrated(networks: Networks, test: Data, validation: Data) -> dict[str, float]:
    """Mean figures of the first networks, each at a temperature of its own."""
    few = select(networks, slice(0, SINGLES))
    # Logarithms in float64, where no probability is too small for a number.
    outputs = [few.gathered(data.x, lambda each: each.double().log_softmax(-1)) for data in (validation, test)]
    labels = [data.y.to(outputs[0].device) for data in (validation, test)]
    rows = []
    for known, asked in zip(*outputs, strict=True):
        temperature = fit_temperature(known, labels[0])
        rows.append({"temperature": temperature, **results_of(at_temperature(asked, temperature), labels[1])})
    means = {name: figure["mean"] for name, figure in spread(rows).items()}
    calibrated = {f"calibrated_{name}": means[name] for name in ("nll", "brier", "ece")}
    return {**calibrated, "temperature": means["temperature"]}
