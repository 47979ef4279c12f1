"""Conclusions of the analysis `ensembles`: what an ensemble gains, how many networks suffice, and what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe import Metric

PART = 0.9
"""Of the largest ensemble's gain: a size that has it suffices."""

ALONE = "The generator holds one network, so that there is no ensemble."

ALIKE = 0.25
"""Networks that differ on fewer examples than this part of those that one of them has wrong hardly differ."""


def enough(single: float, sizes: Sequence[int], values: Sequence[float], better: str) -> int | None:
    """Return the first size with nine tenths of what the largest ensemble gains over one network.

    Args:
        single: the metric of one network.
        sizes: of the ensembles, in increasing order.
        values: the metric of each of them, the mean over the draws.
        better: which values are, "greater" or "lower".

    Returns:
        The size, or None where the largest ensemble gains nothing.

    Example:
        >>> enough(0.5, [1, 2, 5, 10], [0.5, 0.3, 0.21, 0.2], "lower"), enough(0.5, [1, 2], [0.5, 0.6], "lower")
        (5, None)
    """
    sign = 1 if better == "greater" else -1
    gains = [sign * (value - single) for value in values]
    if gains[-1] <= 0:
        return None
    return next(size for size, gain in zip(sizes, gains, strict=True) if gain >= PART * gains[-1])


def gain_of_classes(found: Mapping[str, Any]) -> list[str]:
    """Say what the largest ensemble of classifiers gains over one network, and how many networks suffice for it."""
    sizes, single, grown = found["sizes"], found["single"], found["ensembles"]["mean_probability"]
    if sizes[-1] == 1:
        return [ALONE]
    one, all_ = (100 * at["accuracy"]["mean"] for at in (single, grown[-1]))
    nll = [at["nll"]["mean"] for at in grown]
    verb = "gain" if all_ > one else "lose" if all_ < one else "change nothing in"
    points = f"{abs(all_ - one):.2f} points of " if all_ != one else ""
    return [
        f"{sizes[-1]:,} networks together {verb} {points}accuracy beside one of them ({one:.2f} → {all_:.2f} %).",
        f"Their negative log-likelihood is {nll[-1]:.4f} in the place of {single['nll']['mean']:.4f} nats. "
        + _suffices(enough(single["nll"]["mean"], sizes, nll, "lower")),
    ]


def gain_of_metric(found: Mapping[str, Any], metric: Metric) -> list[str]:
    """Say the same by one of the metrics that a task declares of its ensembles."""
    sizes, values = found["sizes"], means_of(found, metric)
    if sizes[-1] == 1:
        return [ALONE]
    unit = f" {metric.unit}" if metric.unit else ""
    one, all_ = (metric.shown(value) + unit for value in (one_network(found, metric), values[-1]))
    return [
        f"One network has {one}, {sizes[-1]:,} together have {all_} ({metric.label}).",
        _suffices(enough(one_network(found, metric), sizes, values, metric.better)),
    ]


def means_of(found: Mapping[str, Any], metric: Metric) -> list[float]:
    """Return a metric of the ensembles as they grow, the mean over the draws."""
    return [at["mean"] for at in found["growth"][metric.name]]


def one_network(found: Mapping[str, Any], metric: Metric) -> float:
    """Return what one network has of the same metric: the mean of all; where there is none that of the first ones."""
    single = found["single"].get(metric.mean_of)
    return means_of(found, metric)[0] if single is None else float(single["mean"])


def _suffices(count: int | None) -> str:
    if count is None:
        return "An ensemble gains nothing over one network by it."
    if count == 1:
        return "One network has nine tenths of that already."
    return f"{count:,} networks have nine tenths of the gain."


def more_networks(
    single: float, sizes: Sequence[int], values: Sequence[float], better: str, held: int | None = None
) -> str:
    """Advise to draw more networks where only the largest ensemble has nine tenths of its gain; else say nothing.

    Args:
        single: the metric of one network.
        sizes: of the ensembles.
        values: the metric of each ensemble.
        better: which values are better.
        held: how many networks the generator holds; None where its draws have no end.
    """
    if len(sizes) < 2 or enough(single, sizes, values, better) != sizes[-1]:
        return ""
    if held is not None and held <= sizes[-1]:
        return (
            f"The ensemble still gains with its last networks, and the generator holds no more than {held:,}: train "
            "one that holds more, or one whose draws have no end (generator=modes)."
        )
    return (
        f"The ensemble still gains with its last networks: draw more than {sizes[-1]:,} of them "
        "(evaluation.test_networks, or -n of a command)."
    )


def other_diversity(disagreement: float, error: float, generator: str) -> str:
    """Advise on diversity where two networks differ on far fewer examples than one of them has wrong.

    Args:
        disagreement: the probability that two networks give different answers to an example.
        error: the probability that one network's answer is wrong.
        generator: the name of the run's generator.
    """
    if disagreement >= ALIKE * error:
        return ""
    told = (
        f"The networks hardly differ: two of them disagree on {100 * disagreement:.2f} % of the examples, while one is "
        f"wrong on {100 * error:.2f} %."
    )
    ways = "a lower objective.lambda, or a diversity term that compares outputs, lets them differ more"
    if generator == "modes":
        return f"{told} {ways[:1].upper() + ways[1:]}."
    return f"{told} Base points of their own help most (generator=modes); {ways}."
