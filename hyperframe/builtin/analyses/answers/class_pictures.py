"""Pictures of answers that are classes: the confusion matrix and the reliability diagram."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hyperframe.analysis import COLOURS, keep_picture, new_figure

NAMED = 25
"""The most classes whose names stand at the axes."""

COUNTED = 12
"""The most classes of which each count stands in its cell."""

LONGEST = 12
"""Characters of a class's name at an axis."""


def confusion_picture(folder: Path, found: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Draw how often each label got each answer; colours are shares of the label's examples."""
    counts = torch.tensor(found["confusion"], dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    classes = len(counts)
    figure = new_figure(4.4, 3.8)
    axes = figure.add_subplot()
    # The root lets a class that is taken for another once in a hundred be seen.
    axes.imshow(shares.sqrt().numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= COUNTED:
        size = 9 if classes <= 10 else 7
        for label, answer in counts.nonzero().tolist():
            dark = float(shares[label, answer]) > 0.3
            text = f"{int(counts[label, answer]):,}"
            axes.text(answer, label, text, ha="center", va="center", size=size, color="white" if dark else "black")
    if classes <= NAMED:
        short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
        steep = max(map(len, short)) > 3
        axes.set_xticks(range(classes), short, rotation=60 if steep else 0, ha="right" if steep else "center")
        axes.set_yticks(range(classes), short)
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_parse_math(False)
            label.set_fontsize(9 if classes <= 12 else 7)
    axes.set(xlabel="answer", ylabel="label")
    caption = (
        f"How often each label (row) got each answer (column), {found['examples']:,} test examples, "
        f"{found['wrong']:,} of them off the diagonal; the colour is the root of the share of the row."
    )
    return keep_picture(folder, "confusion.png", figure, title="Confusion matrix", caption=caption)


def reliability_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw the accuracy of answers of each confidence, and below how many there are."""
    bins = found["bins"]
    places = [100 * one["confidence"] for one in bins]
    counts = [one["examples"] for one in bins]
    shares = [one["accuracy"] for one in bins]
    errors = [100 * math.sqrt(share * (1 - share) / count) for share, count in zip(shares, counts, strict=True)]
    figure = new_figure(4.4, 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 100], [0, 100], color="0.5", linestyle=":", label="as often right as confident")
    style = {"color": COLOURS[0], "markersize": 5, "capsize": 2, "label": "answers of a bin"}
    upper.errorbar(places, [100 * share for share in shares], errors, fmt="o", **style)
    upper.set(ylabel="right answers, %", ylim=(-4, 104))
    upper.legend(frameon=False, loc="upper left", fontsize=9)
    lower.bar(places, counts, width=4, color=COLOURS[0])
    lower.set(xlabel="confidence (mean probability), %", ylabel="examples", yscale="log", xlim=(0, 102))
    lower.set_ylim(bottom=0.7)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    caption = (
        f"Answers in bins of their confidence: how many of each are right, with the standard error, and how many there "
        f"are. The expected calibration error is {100 * found['ece']:.2f} %."
    )
    return keep_picture(folder, "reliability.png", figure, title="Reliability diagram", caption=caption)
