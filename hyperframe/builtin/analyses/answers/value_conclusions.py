"""Sentences about answers that are values: beside the labels' mean, about intervals, about where errors are large."""

import math
from collections.abc import Mapping
from typing import Any

MINUS = "−"

LEVEL = 0.9
"""Sentences are about intervals that should hold so many labels."""


def baseline(found: Mapping[str, Any]) -> str:
    """Say what always answering the mean of the training labels would give."""
    values = found["values"]
    explained = [1 - (one["rmse"] / one["baseline"]) ** 2 if one["baseline"] else math.nan for one in values]
    mean = sum(explained) / len(explained)
    if len(values) == 1:
        return (
            f"Always answering the mean of the training labels has a root mean squared error of "
            f"{values[0]['baseline']:.4g}, the ensemble {values[0]['rmse']:.4g}: it explains {100 * mean:.0f} % of the "
            "variance."
        )
    return (
        f"Beside always answering the mean of the training labels it explains {100 * mean:.0f} % of the variance, in "
        f"the mean over {len(values)} values ({100 * min(explained):.0f} to {100 * max(explained):.0f} %)."
    )


def held(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return which share of the labels lies within the intervals that sentences are about, and its standard error."""
    share = found["coverage"][found["levels"].index(LEVEL)]
    return share, math.sqrt(LEVEL * (1 - LEVEL) / found["examples"])


def intervals(found: Mapping[str, Any]) -> str:
    """Say whether intervals hold as many labels as they should."""
    share, error = held(found)
    verdict = "fit" if abs(share - LEVEL) <= 2 * error else "are too narrow" if share < LEVEL else "are too wide"
    whose = "" if found["of_likelihood"] else ", which are those between the networks alone,"
    return (
        f"Its deviations{whose} {verdict}: intervals that should hold {100 * LEVEL:g} % of the labels hold "
        f"{100 * share:.1f} % of {found['examples']:,}."
    )


def larger_errors(found: Mapping[str, Any]) -> str:
    """Say whether errors are larger where the deviation is; nothing where that cannot be said."""
    known = [one["rank_correlation"] for one in found["values"] if one["rank_correlation"] is not None]
    if not known:
        return ""
    mean = sum(known) / len(known)
    # Two standard errors, about, of the correlation of ranks without any connection.
    chance = 2 / math.sqrt(max(found["examples"] - 1, 1))
    verdict = "larger" if mean > chance else "smaller" if mean < -chance else "neither larger nor smaller"
    correlation = f"{mean:.2f}".replace("-", MINUS)
    return (
        f"Where its deviation is larger its errors are {verdict} (rank correlation {correlation}, by chance up to "
        f"{chance:.2f})."
    )


def advice(found: Mapping[str, Any]) -> str:
    """Advise where intervals are too narrow; else say nothing."""
    share, error = held(found)
    if share >= LEVEL - 2 * error:
        return ""
    why = "a task with a likelihood knows the noise of the labels as well" if not found["of_likelihood"] else ""
    way = "conformal intervals (networks.conformal) hold as many labels as they promise"
    return f"Its intervals are too narrow: {'; '.join(filter(None, (way, why)))}."
