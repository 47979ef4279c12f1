"""What the analysis `ensembles` concludes: what an ensemble gains, how many networks suffice, and what to do next."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe import Metric

PART = 0.9
"""Of the largest ensemble's gain: a size that has it suffices."""

ALIKE = 0.25
"""Networks that differ on fewer examples than this part of those that one of them has wrong hardly differ."""


def enough(single: float, sizes: Sequence[int], values: Sequence[Mapping[str, float]], better: str) -> int | None:
    """Return the first size with nine tenths of the largest ensemble's gain, also in a draw that is a deviation worse.

    Args:
        single: the metric of one network.
        sizes: of the ensembles, in increasing order.
        values: the metric of each of them, `mean` and `std` over the draws.
        better: which values are, "greater" or "lower".

    Returns:
        The size, or None where the largest ensemble gains nothing over one network.

    Example:
        >>> means = [{"mean": mean, "std": 0.01} for mean in (0.5, 0.3, 0.21, 0.2)]
        >>> enough(0.5, [1, 2, 5, 10], means, "lower"), enough(0.1, [1, 2, 5, 10], means, "lower")
        (5, None)
    """
    sign = 1 if better == "greater" else -1
    whole = sign * (values[-1]["mean"] - single)
    if whole <= 0:
        return None
    gains = [sign * (value["mean"] - single) - value["std"] for value in values[:-1]]
    return next((size for size, gain in zip(sizes[:-1], gains, strict=True) if gain >= PART * whole), sizes[-1])


def gain_of_classes(found: Mapping[str, Any]) -> str:
    """Say what the largest ensemble of classifiers gains over one network, and how many networks suffice for it."""
    sizes, single, grown = found["sizes"], found["single"], found["ensembles"]["mean_probability"]
    nll = [at["nll"] for at in grown]
    accuracies = [100 * at["accuracy"]["mean"] for at in (single, grown[-1])]
    if sizes[-1] == 1:
        return "The generator holds one network, so that there is no ensemble."
    return (
        f"{sizes[-1]:,} networks together have {accuracies[1] - accuracies[0]:+.2f} points of accuracy beside one of "
        f"them ({accuracies[0]:.2f} → {accuracies[1]:.2f} %) and a negative log-likelihood of {nll[-1]['mean']:.4f} in "
        f"the place of {single['nll']['mean']:.4f} nats. "
        f"{_suffices(enough(single['nll']['mean'], sizes, nll, 'lower'))}"
    )


def gain_of_metric(found: Mapping[str, Any], metric: Metric) -> str:
    """Say the same by one of the metrics that a task declares of its ensembles."""
    sizes, values = found["sizes"], found["growth"][metric.name]
    if sizes[-1] == 1:
        return "The generator holds one network, so that there is no ensemble."
    unit = f" {metric.unit}" if metric.unit else ""
    one, all_ = one_network(found, metric), values[-1]["mean"]
    return (
        f"One network has {metric.shown(one)}{unit}, {sizes[-1]:,} together {metric.shown(all_)}{unit} "
        f"({metric.label}). {_suffices(enough(one, sizes, values, metric.better))}"
    )


def one_network(found: Mapping[str, Any], metric: Metric) -> float:
    """Return what one network has of the same metric: the mean of all; where there is none that of the first ones."""
    single = found["single"].get(metric.mean_of)
    value: float = (found["growth"][metric.name][0] if single is None else single)["mean"]
    return value


def _suffices(count: int | None) -> str:
    if count is None:
        return "An ensemble gains nothing over one network here."
    return f"{count:,} networks have nine tenths of the gain, also in a draw that is one deviation worse."


def more_networks(single: float, sizes: Sequence[int], values: Sequence[Mapping[str, float]], better: str) -> str:
    """Advise to draw more networks where only the largest ensemble has nine tenths of its gain; else say nothing."""
    if len(sizes) < 2 or enough(single, sizes, values, better) != sizes[-1]:
        return ""
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
