"""Sentences about answers that are classes: beside the most frequent class, about confidence and finding mistakes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe.metrics import in_percent

FEW = 10
"""Fewer wrong answers, or right ones, say little of how well they are told apart."""

WELL, SOMEWHAT = 0.9, 0.7
"""From these AUROCs on wrong answers are told from right ones well, or somewhat."""


def baseline(found: Mapping[str, Any], names: Sequence[str]) -> str:
    """Say what the most frequent class alone would give, and which classes are most often confused."""
    frequent = found["frequent"]
    share = in_percent(frequent["share"])
    text = f"Always answering “{names[frequent['class']]}”, the most frequent class, gives {share}."
    if not found["mistakes"]:
        return f"{text} No answer of the ensemble is wrong."
    first = found["mistakes"][0]
    times = "once" if first["count"] == 1 else f"{first['count']:,} times"
    wrong = f"{found['wrong']:,} of {found['examples']:,} answers of the ensemble"
    are = "are" if found["wrong"] > 1 else "is"
    most = "most often " if len(found["mistakes"]) > 1 and first["count"] > 1 else ""
    pair = f"“{names[first['label']]}” is {most}taken for “{names[first['answer']]}”"
    return f"{text} {wrong} {are} wrong; {pair} ({times})."


def detection(found: Mapping[str, Any]) -> str:
    """Say whether wrong answers have a higher entropy than right ones."""
    value, wrong, examples = found["auroc"]["entropy"], found["wrong"], found["examples"]
    if value is None:
        which = "wrong" if wrong else "right"
        return f"All {examples:,} answers are {which}, so that it cannot be seen whether uncertainty tells mistakes."
    verdict = "well" if value >= WELL else "somewhat" if value >= SOMEWHAT else "hardly"
    few = min(wrong, examples - wrong) < FEW
    doubt = f"; of {wrong:,} wrong and {examples - wrong:,} right answers only" if few else ""
    return f"The entropy tells wrong answers from right ones {verdict} (AUROC {value:.3f}, by chance 0.5{doubt})."


def confidence(found: Mapping[str, Any]) -> str:
    """Say whether the ensemble is as often right as it is confident."""
    numbers = f"{in_percent(found['confidence'])} sure on average and right on {in_percent(found['accuracy'])}"
    verdict = {
        0: "Its confidence fits",
        1: "It is too sure of itself",
        -1: "It is less sure than it could be",
    }[_excess(found)]
    return f"{verdict}: {numbers} (calibration error {in_percent(found['ece'])})."


def _excess(found: Mapping[str, Any]) -> int:
    """The sign of confidence − accuracy, 0 within two standard errors of the accuracy."""
    accuracy, examples = found["accuracy"], found["examples"]
    # At accuracies of 0 and 1 one answer more or less is the least that could be seen.
    error = max(math.sqrt(accuracy * (1 - accuracy) / examples), 1 / examples)
    gap = found["confidence"] - accuracy
    return 0 if abs(gap) <= 2 * error else int(math.copysign(1, gap))


def advice(found: Mapping[str, Any]) -> str:
    """Advise where the ensemble is too sure of itself; else say nothing."""
    if _excess(found) <= 0:
        return ""
    return (
        "The ensemble is too sure of itself: fewer steps, a prior (objective=vi) or inputs that are varied at random "
        "help; conformal sets (networks.conformal) hold the label as often as they promise."
    )
