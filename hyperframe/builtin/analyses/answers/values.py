"""Answers that are values: measured, drawn, and what follows from them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperframe import Networks
from hyperframe.analysis import conclude
from hyperframe.builtin.analyses.answers.asked import Asked
from hyperframe.builtin.analyses.answers.value_conclusions import (
    LEVEL,
    advice,
    baseline,
    held,
    intervals,
    larger_errors,
)
from hyperframe.builtin.analyses.answers.value_pictures import Points, coverage_picture, error_picture, value_picture
from hyperframe.runtime.progress import MISSING

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""How many labels intervals should hold."""


def measure_values(networks: Networks, asked: Asked) -> tuple[dict[str, Any], Points]:
    """Compare the mean of the networks' predictions with the labels, and their deviation with the errors.

    Returns:
        `of_likelihood`, whether the deviation is the predictive one of the task, and not that between the networks
        alone; `values`, for each value of a label its `rmse`, `baseline` (the rmse of always answering the mean of the
        training labels), `deviation` (the mean one), `rank_correlation` of errors and deviations (Spearman's; None
        where one of them does not vary) and `coverage`, the share of labels within the interval of each of `levels`;
        `coverage` is the mean over the values; `least_certain` and `worst`, the examples of the largest deviation and
        error. And the points that are drawn.
    """
    summary = networks.summary(asked.data.x)
    labels = asked.data.y.double().cpu()
    mean = summary["mean"].double().cpu()
    deviation = summary.get("predictive_std", summary["std"]).double().cpu()
    errors = (labels - mean).abs()
    trained = asked.trained.double().cpu()
    baselines = (labels - trained.mean(0)).square().mean(0).sqrt()
    scale = trained.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1)
    reach = torch.special.ndtri((1 + torch.tensor(LEVELS, dtype=torch.float64)) / 2)
    inside = errors <= reach[:, None, None] * deviation  # [levels, examples, values]
    coverage = inside.double().mean(1)
    values = [
        {
            "rmse": float(errors[:, number].square().mean().sqrt()),
            "baseline": float(baselines[number]),
            "deviation": float(deviation[:, number].mean()),
            "rank_correlation": rank_correlation(errors[:, number], deviation[:, number]),
            "coverage": coverage[:, number].tolist(),
        }
        for number in range(labels.shape[1])
    ]

    def rows(sizes: Tensor) -> list[dict[str, Any]]:
        order = (sizes / scale).mean(1).argsort(descending=True, stable=True)[: asked.shown]
        return [
            {
                "place": place,
                "example": int(asked.numbers[place]),
                "label": labels[place].tolist(),
                "prediction": mean[place].tolist(),
                "deviation": deviation[place].tolist(),
            }
            for place in order.tolist()
        ]

    found = {
        "of_likelihood": "predictive_std" in summary,
        "values": values,
        "levels": list(LEVELS),
        "coverage": coverage.mean(1).tolist(),
        "least_certain": rows(deviation),
        "worst": rows(errors),
    }
    return found, Points(label=labels, prediction=mean, deviation=deviation)


def rank_correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Spearman's rank correlation of [examples] each; None where one of the two does not vary.

    Example:
        >>> rank_correlation(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.2, 0.3]))
        1.0
    """
    from scipy.stats import spearmanr  # noqa: PLC0415  (slow to import)

    if float(one.max()) == float(one.min()) or float(other.max()) == float(other.min()):
        return None
    found = float(spearmanr(one.numpy(), other.numpy()).statistic)
    return None if math.isnan(found) else found


def show_values(folder: Path, found: Mapping[str, Any], points: Points, asked: Asked) -> dict[str, Any]:
    """Draw the pictures and draw the conclusions."""
    pictures = [value_picture(folder, found, points), coverage_picture(folder, found), error_picture(folder, points)]
    tables: list[dict[str, Any]] = []
    for key, file, title, caption in (
        ("least_certain", "least-certain.png", "The least certain examples", "Examples of the largest deviation."),
        ("worst", "wrong.png", "The largest errors", "Examples whose prediction is farthest from the label."),
    ):
        rows = [{**row, **_told(row)} for row in found[key]]
        shown = asked.show(folder, file, rows, title=title, caption=f"{caption} {_legend(asked)}")
        pictures += shown.get("pictures", [])
        tables += shown.get("tables", [])
    first = found["values"][0]
    correlation = first["rank_correlation"]
    return {
        "conclusions": [
            conclude("quality", baseline(found), pictures[0]),
            conclude("uncertainty", intervals(found), pictures[1]),
            *(conclude("uncertainty", sentence) for sentence in [larger_errors(found)] if sentence),
            *(conclude("next", sentence) for sentence in [advice(found)] if sentence),
        ],
        "highlights": {
            "error of the ensemble, and of the mean of the training labels": (
                f"{first['rmse']:.4g}, {first['baseline']:.4g}"
            ),
            f"labels within intervals for {100 * LEVEL:g} %": f"{100 * held(found)[0]:.1f} %",
            "rank correlation of errors and deviations": MISSING if correlation is None else f"{correlation:.3f}",
        },
        "pictures": pictures,
        "tables": tables,
    }


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return texts of label, prediction and deviation, and words for an image."""
    texts = {key: ", ".join(f"{value:.4g}" for value in row[key]) for key in ("label", "prediction", "deviation")}
    return {**texts, "words": f"{texts['prediction']} ± {texts['deviation']}\n(is {texts['label']})"}


def _legend(asked: Asked) -> str:
    if not asked.images:
        return "Inputs are in their own units."
    return "Below each image stands the prediction with its deviation, and the label."
