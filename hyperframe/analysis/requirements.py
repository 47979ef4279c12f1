"""Checks that an analysis makes of a run before it begins; where one fails, the analysis does not apply to the run."""

import torch

from hyperframe.errors import NotApplicableError
from hyperframe.runs.run import Run
from hyperframe.tasks.regression import RegressionTask


def has_classes(run: Run) -> bool:
    """Whether the run's task has classes, whose probabilities are the softmax of the outputs."""
    task, labels = run.experiment.task, run.data("test").y
    return task.shift_invariant and task.likelihood and labels.dtype == torch.int64 and labels.dim() == 1


def has_values(run: Run) -> bool:
    """Whether the run's task is a regression of values, which are floating-point numbers."""
    return isinstance(run.experiment.task, RegressionTask) and run.data("test").y.is_floating_point()


def check_classifies(run: Run, analysis: str) -> None:
    """Check that the run's task has one class for each example, whose probabilities are the softmax of the outputs.

    Raises:
        NotApplicableError: it has none, or one for each of several places, labels or heads.
    """
    if not has_classes(run):
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it is about probabilities of one class for each example, which "
            f"task '{run.experiment.task.name}' of run {run.folder.name} does not have"
        )


def check_likelihood(run: Run, analysis: str) -> None:
    """Check that the loss of the run's task is −log p(label | input).

    Raises:
        NotApplicableError: it is another one.
    """
    task = run.experiment.task
    if not task.likelihood:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it is about likelihoods of labels, but the loss of task "
            f"'{task.name}' of run {run.folder.name} is not −log p(label | input)"
        )


def check_takes_all_numbers(run: Run, analysis: str) -> None:
    """Check that the target's inputs can be changed a little; the indices that an embedding takes cannot.

    Raises:
        NotApplicableError: the run's target takes no other numbers than those in the data.
    """
    target = run.experiment.target
    if target.tried_on.examples is not None:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it changes inputs a little, but target '{target.spec.name}' of run "
            f"{run.folder.name} does not take all numbers, such as one with an embedding"
        )


def check_images(run: Run, analysis: str) -> None:
    """Check that the run's task has classes, and inputs that are images [channels, height, width].

    Raises:
        NotApplicableError: it has no classes, or other inputs.
    """
    check_classifies(run, analysis)
    task = run.experiment.task
    if len(task.input_shape) != 3:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it is about images, but inputs of task '{task.name}' of run "
            f"{run.folder.name} have the shape {list(task.input_shape)}"
        )


def check_count(run: Run, analysis: str, count: int, least: int) -> int:
    """Return how many networks to draw: `count`, or all that the run's generator holds if these are fewer.

    Raises:
        NotApplicableError: that is fewer than `least`.
    """
    held = run.experiment.generator.at_most(count)
    if held < least:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it needs {least} networks, but the generator of run "
            f"{run.folder.name} holds {held}"
        )
    return held


def has_latent(run: Run) -> bool:
    """Whether the run's z is a vector with a distribution, as that of a hypernetwork is.

    Such a generator says so by its `latent_distribution`. The z of a generator that holds a number of networks, in
    contrast, is the number of one of them.
    """
    return run.experiment.generator.latent_distribution is not None


def check_latent(run: Run, analysis: str) -> None:
    """Check that the run's z is a vector with a distribution, see `has_latent`.

    Raises:
        NotApplicableError: it has none.
    """
    if not has_latent(run):
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it moves through z, but the generator "
            f"'{run.config.generator.name}' of run {run.folder.name} has no vector z with a distribution"
        )
