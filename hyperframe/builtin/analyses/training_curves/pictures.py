"""The picture of the analysis `training_curves`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperframe import Metric
from hyperframe.analysis import COLOURS, keep_picture, new_figure
from hyperframe.analysis.plots import axis_label
from hyperframe.builtin.analyses.training_curves.curves import ENTROPY, key_of
from hyperframe.runtime.progress import quantity

LOSS, TASK_LOSS, DIVERSITY = "loss", "accuracy_loss", "diversity."

DECADE = 10.0

Line = tuple[str, Sequence[int], Sequence[float | None]]


def curves_picture(folder: Path, found: Mapping[str, Any], metrics: Sequence[Metric]) -> dict[str, str]:
    """Draw a panel for each of: the loss, the task's part of it, the metrics of validations, the diversity."""
    panels = list(_panels(found, metrics))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.1 * rows)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (label, lines, logarithmic) in zip(places, panels, strict=False):
        for colour, (name, steps, values) in zip(COLOURS, lines, strict=False):
            known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
            marker = "o" if len(known) < 2 else ""
            axes.plot(*zip(*known, strict=True), marker=marker, color=colour, linewidth=1.4, label=name)
        if logarithmic:
            axes.set_yscale(logarithmic, **({"linthresh": 1.0} if logarithmic == "symlog" else {}))
        axes.set(xlabel="step")
        axes.set_ylabel(label, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
        if len(lines) > 1:
            for text in axes.legend(frameon=False, fontsize=8).get_texts():
                text.set_parse_math(False)
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    training, validation = found["training"]["steps"], found["validation"]["steps"]
    caption = (
        f"Means of {quantity(len(training), 'interval')} of the training's {quantity(training[-1], 'step')}, and "
        f"{quantity(len(validation), 'validation')} of networks that were drawn for them."
    )
    return keep_picture(folder, "curves.png", figure, title="The training, step by step", caption=caption)


def _panels(found: Mapping[str, Any], metrics: Sequence[Metric]) -> Iterator[tuple[str, list[Line], str]]:
    """Yield the label, the lines and the kind of scale ("" for a linear one) of each panel that has any values."""
    training, validation = found["training"], found["validation"]

    def line(name: str, source: Mapping[str, Any], key: str) -> list[Line]:
        values = source["values"].get(key, [])
        return [(name, source["steps"], values)] if any(value is not None for value in values) else []

    whole = line("loss", training, LOSS)
    panels: list[tuple[str, list[Line], str]] = [("loss", whole, "log" if _spans(whole) else _crossing(whole))]
    task = line("task loss", training, TASK_LOSS)
    panels.append(("loss of the task", task, "log" if _spans(task) else ""))
    selecting = next((metric for metric in metrics if metric.selects), None)
    if selecting is not None:
        same = [selecting, *(metric for metric in metrics if metric.mean_of == selecting.name)]
        lines = [
            one
            for metric in same
            for one in line(
                "one network" if metric.of == "network" else "ensemble", validation, key_of(metric.of, metric.name)
            )
        ]
        factor = 100 if selecting.percent else 1
        scaled: list[Line] = [
            (name, steps, [None if v is None else factor * v for v in values]) for name, steps, values in lines
        ]
        panels.append((axis_label(selecting, "validation: {}"), scaled, ""))
    terms = [key for key in training["values"] if key.startswith(DIVERSITY)]
    diverse = [one for key in terms for one in line(key.removeprefix(DIVERSITY), training, key)]
    panels.append((f"diversity: {diverse[0][0]}" if len(diverse) == 1 else "terms of diversity", diverse, ""))
    panels.append(("validation: entropy, nats", line("entropy", validation, ENTROPY), ""))
    return (panel for panel in panels if panel[1])


def _spans(lines: Sequence[Line]) -> bool:
    """Whether values are positive and so far apart that only a logarithmic axis shows the small ones."""
    values = [value for _, _, of in lines for value in of if value is not None]
    return bool(values) and min(values) > 0 and max(values) > DECADE * min(values)


def _crossing(lines: Sequence[Line]) -> str:
    """Return the scale of values that go from large ones through zero; of all others it is linear."""
    values = [value for _, _, of in lines for value in of if value is not None]
    return "symlog" if values and min(values) <= 0 < max(values) else ""
