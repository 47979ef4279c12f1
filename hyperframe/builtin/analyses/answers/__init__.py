"""The analysis `answers`: the ensemble's answers to the test examples, which are wrong, and whether it knows."""

from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, Run, hookimpl, option
from hyperframe.analysis import has_classes, has_values
from hyperframe.analysis.scoring import some_numbers
from hyperframe.builtin.analyses.answers.asked import Asked
from hyperframe.builtin.analyses.answers.classes import measure_classes, show_classes
from hyperframe.builtin.analyses.answers.values import measure_values, show_values
from hyperframe.errors import NotApplicableError

NAME = "answers"


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int | None = option(None, "networks of the ensemble; null: evaluation.test_networks", minimum=1)
    examples: int = option(10_000, "test examples, at most", minimum=1)
    shown: int = option(12, "examples that are shown: the least certain, and the worst answers", minimum=1)


class Answers:
    """Compares the ensemble's mean prediction with the labels, and its uncertainty with its mistakes.

    Of classes: how often each is taken for another; whether it is as often right as it is confident; whether wrong
    answers have a higher entropy than right ones; the least certain examples, and the wrong answers it was surest of.
    Of values: predictions beside labels; how many labels lie within intervals of a normal distribution with the
    ensemble's mean and standard deviation (the predictive one where the task has a likelihood, else that between the
    networks); whether errors are larger where this deviation is.

    References: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks; D.
    Hendrycks, K. Gimpel (2017), A Baseline for Detecting Misclassified and Out-of-Distribution Examples.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Draw networks and ask them.

        Returns:
            `networks`, `examples`, and what `measure_classes` or `measure_values` find.

        Raises:
            NotApplicableError: the task has neither classes nor values.
        """
        classes = has_classes(run)
        if not classes and not has_values(run):
            raise NotApplicableError(
                f"analysis '{NAME}' does not apply: it compares classes or values with labels, and task "
                f"'{run.experiment.task.name}' of run {run.folder.name} has neither"
            )
        options, seed = self.options, run.config.evaluation.seed
        count = run.default_count if options.networks is None else run.experiment.generator.at_most(options.networks)
        networks, data = run.sample(count, seed), run.data("test")
        numbers = some_numbers(len(data), options.examples, seed)
        asked = Asked(
            data=data[numbers.to(data.device)],
            numbers=numbers,
            trained=run.data("train").y,
            task=run.experiment.task,
            shown=options.shown,
        )
        found = {"networks": count, "examples": len(asked.data)}
        if classes:
            found |= measure_classes(networks, asked)
            return {**found, **show_classes(folder, found, asked)}
        measured, points = measure_values(networks, asked)
        found |= measured
        return {**found, **show_values(folder, found, points, asked)}


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=5,
            factory=Answers,
            options=Options,
            summary="the ensemble's answers to the test examples: which are wrong, and whether it knows",
            reference="C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks",
        )
    ]
