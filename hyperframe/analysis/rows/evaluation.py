"""An evaluation's metrics as labels and texts, for tables and pages."""

from collections.abc import Iterator, Mapping
from typing import Any

from hyperframe.metrics import WORDS, metrics_of
from hyperframe.runtime.progress import quantity


def evaluation_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the metrics of an evaluation as pairs of label and text, in the order in which the task declares them.

    The entropy and the training's gradient evaluations follow where the results have them.
    """
    for metric in metrics_of(results):
        text, spread = metric.text(results), metric.spread(results)
        if text is not None:
            yield metric.words(WORDS[metric.of] + (", mean" if metric.of == "network" else "")), text
        if spread is not None and metric.better:
            low, high = (metric.shown(spread[key]) for key in ("min", "max"))
            yield "worst and best network", ", ".join((low, high) if metric.better == "greater" else (high, low))
    if results.get("entropy") is not None:
        yield "entropy of the weights, in gauge (nats)", f"{results['entropy']:.1f}"
    if results.get("gradient_evaluations") is not None:
        yield "gradient evaluations of the training", f"{results['gradient_evaluations']:,}"


def evaluation_title(results: Mapping[str, Any]) -> str:
    """Say how many networks an evaluation drew, and on how many examples of which split it ran them."""
    examples = quantity(results["examples"], f"{results['split']} example")
    return f"{quantity(results['networks'], 'generated network')} on {examples}"
