"""The analysis `training_curves`: the measurements of the training, step by step, and whether it was long enough."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe import Component, Metric, Run, hookimpl
from hyperframe.analysis import conclude
from hyperframe.builtin.analyses.training_curves.advice import advise
from hyperframe.builtin.analyses.training_curves.curves import read_curves
from hyperframe.builtin.analyses.training_curves.pictures import curves_picture
from hyperframe.errors import NotApplicableError
from hyperframe.types import NoOptions

NAME = "training_curves"


def training_curves(run: Run, folder: Path) -> dict[str, Any]:
    """Draw losses, terms of diversity and validations up to the checkpoint that is analysed.

    Returns:
        `training`, its `steps` and for each measurement of `metrics.jsonl` its values there; `validation`, its `steps`
        and for each metric that the task declares and the `entropy` the values there, of single networks their mean;
        `declared`, the metrics of a validation.

    Raises:
        NotApplicableError: the run's folder has no measurements, as one that was shared.
    """
    found = read_curves(run.folder, run.step)
    if not found["training"]["steps"]:
        raise NotApplicableError(
            f"analysis '{NAME}' does not apply: run {run.folder.name} has no measurements of its training up to step "
            f"{run.step}"
        )
    metrics = [Metric(**plain) for plain in found["declared"]]
    sentence = advise(found, metrics)
    return {
        **found,
        "conclusions": [conclude("next", sentence)] if sentence else [],
        "highlights": _highlights(found),
        "pictures": [curves_picture(folder, found, metrics)],
    }


def _highlights(found: Mapping[str, Any]) -> dict[str, str]:
    training = found["training"]
    if len(training["steps"]) == 1:
        return {}
    ends = {name: (values[0], values[-1]) for name, values in training["values"].items() if name == "loss"}
    return {
        f"{name}, at step {training['steps'][0]:,} and {training['steps'][-1]:,}": f"{first:,.5g}, {last:,.5g}"
        for name, (first, last) in ends.items()
        if first is not None and last is not None
    }


def _build(options: NoOptions) -> Any:
    return training_curves


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=8,
            factory=_build,
            summary="losses, diversity and validations step by step, and whether the training was long enough",
        )
    ]
