"""Conclusions: sentences that analyses draw from their results, each the answer to a question about the run.

An analysis lists them under `conclusions` of its results. The first screen of a report asks the questions below in
their order, and answers each with what all analyses conclude, in the order of the analyses.
"""

from collections.abc import Mapping
from typing import Any

from hyperframe.errors import unknown_name
from hyperframe.metrics import first_metric, metrics_of

QUESTIONS = {
    "quality": "Is it accurate?",
    "uncertainty": "Does it know what it does not know?",
    "ensemble": "What is an ensemble worth here?",
    "next": "What next?",
}
"""Questions that a report asks of a run, by the names under which analyses answer."""


def conclude(question: str, sentence: str, picture: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Answer one of the questions that a report asks of a run.

    Args:
        question: "quality", "uncertainty", "ensemble" or "next"; the last one is for what a reader should do.
        sentence: the answer with the numbers that it rests on, one or two whole sentences.
        picture: one of the analysis' `pictures` that shows it. A report has the first one of each question beside
            the answers, at a third of the page's width: a figure of about 4.4 × 3.5 inches is legible there.

    Returns:
        An entry for the analysis' `conclusions`.

    Raises:
        ValueError: there is no such question.

    Example:
        >>> conclude("next", "The loss still falls: train longer.")
        {'question': 'next', 'sentence': 'The loss still falls: train longer.'}
    """
    if question not in QUESTIONS:
        raise ValueError(unknown_name("question", question, QUESTIONS))
    return {"question": question, "sentence": sentence} | ({} if picture is None else {"picture": dict(picture)})


def evaluation_sentence(results: Mapping[str, Any]) -> str:
    """Say in a sentence what one network and the ensemble are worth, by the first metrics that the task declares.

    The metric of the ensemble is the one of the mean prediction that belongs to that of single networks, if there is
    one. Empty where the task declares no metric with a better direction.

    Example:
        >>> from hyperframe.metrics import Metric
        >>> error = Metric(name="mae", label="mean absolute error", unit="°", better="lower")
        >>> results = {"networks": 9, "examples": 50, "split": "test", "mae": 2.5, "metrics": [error.plain()]}
        >>> evaluation_sentence(results)
        'Mean absolute error: 2.5 ° for one network, on 50 test examples.'
    """
    metrics = metrics_of(results)
    single = first_metric(metrics, "network")
    pairs = (metric for metric in metrics if single is not None and metric.mean_of == single.name)
    ensemble = next(pairs, first_metric(metrics, "ensemble"))
    shown = [metric for metric in (single, ensemble) if metric is not None and metric.text(results) is not None]
    if not shown:
        return ""
    whose = {
        "network": "for one network" if results["networks"] > 1 else "for the network",
        "ensemble": f"for {results['networks']:,} together",
    }
    texts = [f"{metric.text(results)} {metric.unit}".rstrip() + f" {whose[metric.of]}" for metric in shown]
    if ensemble in shown and (single not in shown or ensemble.label != single.label):
        texts[-1] += f" ({ensemble.label})"
    return f"{shown[0].title}: {', '.join(texts)}, on {results['examples']:,} {results['split']} examples."
