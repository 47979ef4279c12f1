"""Answers that are classes: measured, drawn, and what follows from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperframe import Networks, Task
from hyperframe.analysis import conclude
from hyperframe.analysis.scoring import predict
from hyperframe.builtin.analyses.answers.asked import Asked
from hyperframe.builtin.analyses.answers.class_conclusions import advice, baseline, confidence, detection
from hyperframe.builtin.analyses.answers.class_pictures import confusion_picture, reliability_picture
from hyperframe.runtime.progress import MISSING, quantity
from hyperframe.tasks.calibration import auroc, calibration_error, reliability
from hyperframe.tasks.confusion import confusion_matrix

DRAWN_CLASSES = 100
"""The most classes of a confusion matrix that is drawn."""

MISTAKES = 20
"""The most pairs of classes that are listed."""


def measure_classes(networks: Networks, asked: Asked) -> dict[str, Any]:
    """Compare the answers of the mean probabilities with the labels.

    Returns:
        `accuracy`; `frequent`, the training split's most frequent `class` and its `share` of the test labels;
        `confidence`, the mean probability of the answers, `ece` and `bins` (see `reliability`); `wrong`, how many
        answers are; `auroc` of wrong answers by `entropy` and `mutual_information` (None where all are right or all
        wrong); `confusion` [label][answer], None for more than 100 classes; `mistakes`, the most frequent pairs of
        `label` and `answer` with their `count`; `least_certain` and `worst`, the examples of highest entropy and the
        wrong answers of highest confidence.
    """
    predicted = predict(networks, asked.data.x, 0)
    labels, classes = asked.data.y.cpu(), predicted.mean.shape[-1]
    confidences, answers = predicted.mean.max(-1)
    right = answers == labels
    frequent = int(asked.trained.bincount(minlength=classes).argmax())
    pairs = (labels * classes + answers)[~right].unique(return_counts=True)
    mistakes = [
        {"label": int(pair) // classes, "answer": int(pair) % classes, "count": int(count)}
        for pair, count in zip(*pairs, strict=True)
    ]
    entropy = predicted.total

    def rows(places: Tensor) -> list[dict[str, Any]]:
        return [
            {
                "place": place,
                "example": int(asked.numbers[place]),
                "label": int(labels[place]),
                "answer": int(answers[place]),
                "confidence": float(confidences[place]),
                "entropy": float(entropy[place]),
            }
            for place in places.tolist()
        ]

    worst = (~right).nonzero().flatten()
    return {
        "accuracy": float(right.double().mean()),
        "frequent": {"class": frequent, "share": float((labels == frequent).double().mean())},
        "confidence": float(confidences.mean()),
        "ece": float(calibration_error(confidences, right.double())),
        "bins": reliability(confidences, right),
        "wrong": int((~right).sum()),
        "auroc": {
            name: auroc(scores, ~right)
            for name, scores in (("entropy", entropy), ("mutual_information", predicted.mutual_information))
        },
        "confusion": confusion_matrix(labels, answers, classes).tolist() if classes <= DRAWN_CLASSES else None,
        "mistakes": sorted(mistakes, key=lambda one: -one["count"])[:MISTAKES],
        "least_certain": rows(entropy.argsort(descending=True, stable=True)[: asked.shown]),
        "worst": rows(worst[confidences[worst].argsort(descending=True, stable=True)][: asked.shown]),
    }


def names_of(task: Task, count: int) -> list[str]:
    """Return the names of a task's classes, or their numbers."""
    return [str(name) for name in task.classes] or [str(number) for number in range(count)]


def show_classes(folder: Path, found: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """Draw the pictures and draw the conclusions."""
    names = names_of(asked.task, asked.task.num_outputs)
    reliable = reliability_picture(folder, found)
    pictures = [reliable] if found["confusion"] is None else [confusion_picture(folder, found, names), reliable]
    matrix = pictures[0] if found["confusion"] is not None else None
    tables: list[dict[str, Any]] = []
    for key, file, title, caption in (
        ("least_certain", "least-certain.png", "The least certain examples", "Examples of the highest entropy."),
        (
            "worst",
            "wrong.png",
            "Wrong answers",
            f"Of {quantity(found['wrong'], 'wrong answer')} those of highest confidence.",
        ),
    ):
        rows = [{**row, **_told(row, names)} for row in found[key]]
        shown = asked.show(folder, file, rows, title=title, caption=f"{caption} {_legend(asked)}")
        pictures += shown.get("pictures", [])
        tables += shown.get("tables", [])
    return {
        "conclusions": [
            conclude("quality", baseline(found, names), matrix),
            conclude("uncertainty", detection(found), reliable),
            conclude("uncertainty", confidence(found)),
            *(conclude("next", sentence) for sentence in [advice(found)] if sentence),
        ],
        "highlights": {
            "wrong answers": f"{found['wrong']:,} of {found['examples']:,}",
            "AUROC of wrong answers by entropy": _number(found["auroc"]["entropy"]),
            "AUROC of wrong answers by mutual information": _number(found["auroc"]["mutual_information"]),
            "mean confidence, calibration error": f"{100 * found['confidence']:.2f} %, {100 * found['ece']:.2f} %",
        },
        "pictures": pictures,
        "tables": tables,
        "skipped": {} if matrix else {"confusion matrix": f"it is drawn for at most {DRAWN_CLASSES} classes"},
    }


def _told(row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return label and answer by their names, and words for an image."""
    label, answer = names[row["label"]], names[row["answer"]]
    right = label == answer
    words = f"{answer}, {100 * row['confidence']:.0f} %" + ("" if right else f"\n(is {label})")
    return {"label": label, "answer": answer, "words": words}


def _legend(asked: Asked) -> str:
    if not asked.images:
        return "Confidence is the mean probability of the answer."
    return "Below each image stands the answer with its mean probability, and the label where it is another."


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
