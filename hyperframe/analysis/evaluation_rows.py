"""An evaluation's metrics as labels and texts, for tables and pages."""

from collections.abc import Iterator, Mapping
from typing import Any

from hyperframe.metrics import metrics_of

WORDS = {"network": "{} of one network", "ensemble": "ensemble: {}"}
"""How a metric's label is completed: for single networks, and for all of them as an ensemble."""


def evaluation_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the metrics of an evaluation as pairs of label and text, in the order in which the task declares them.

    The entropy and the training's gradient evaluations follow where the results have them.
    """
    for metric in metrics_of(results):
        value, spread = metric.value(results), metric.spread(results)
        words = WORDS[metric.of] + (", mean" if metric.of == "network" else "")
        if spread is not None:
            mean, std, low, high = (metric.shown(spread[key]) for key in ("mean", "std", "min", "max"))
            yield metric.words(words), f"{mean} ± {std}"
            if metric.better:
                yield "worst and best network", ", ".join((low, high) if metric.better == "greater" else (high, low))
        elif value is not None:
            yield metric.words(words), metric.shown(value)
    if results.get("entropy") is not None:
        yield "entropy of the weights, in gauge (nats)", f"{results['entropy']:.1f}"
    if results.get("gradient_evaluations") is not None:
        yield "gradient evaluations of the training", f"{results['gradient_evaluations']:,}"


def evaluation_title(results: Mapping[str, Any]) -> str:
    """Say how many networks an evaluation drew, and on how many examples of which split it ran them."""
    return f"{quantity(results['networks'], 'generated network')} on {results['examples']} {results['split']} examples"


def quantity(count: int, what: str) -> str:
    """Return a count with the word for what is counted, in the plural where it must be.

    Example:
        >>> quantity(1, "network"), quantity(3, "network")
        ('1 network', '3 networks')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
