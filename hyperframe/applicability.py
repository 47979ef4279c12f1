"""What an analysis asks of a run before it begins; where the run has no such thing, it does not apply."""

from typing import Any

import torch

from hyperframe.errors import NotApplicableError
from hyperframe.run import Run


def check_classifies(run: Run, analysis: str) -> None:
    """Check that the run's task has classes, whose probabilities are the softmax of the outputs.

    Raises:
        NotApplicableError: it has not.
    """
    task = run.experiment.task
    labels = run.data("test").y
    if not task.shift_invariant or not task.likelihood or labels.dtype != torch.int64 or labels.dim() != 1:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it is about probabilities of classes, which task '{task.name}' of "
            f"run {run.folder.name} has not"
        )


def check_images(run: Run, analysis: str) -> None:
    """Check that the run's task has classes, and inputs that are images [channels, height, width].

    Raises:
        NotApplicableError: it has not.
    """
    check_classifies(run, analysis)
    task = run.experiment.task
    if len(task.input_shape) != 3:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it is about images, but inputs of task '{task.name}' of run "
            f"{run.folder.name} have the shape {list(task.input_shape)}"
        )


def check_count(run: Run, analysis: str, count: int, least: int) -> int:
    """That many networks, or all that the run's generator holds where these are fewer.

    Raises:
        NotApplicableError: these are fewer than the analysis needs.
    """
    held = run.experiment.generator.at_most(count)
    if held < least:
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it needs {least} networks, but the generator of run "
            f"{run.folder.name} holds {held}"
        )
    return held


def check_latent(run: Run, analysis: str) -> Any:
    """Check that the run's z is a vector with a distribution, as that of a hypernetwork is.

    Returns:
        The generator's options, of the kind `hyperframe.generator.LatentOptions`.

    Raises:
        NotApplicableError: it is not, as with the generator `direct`, whose z is the number of a network.
    """
    chosen = run.config.generator
    if not hasattr(chosen.options, "draw_latent"):
        raise NotApplicableError(
            f"analysis '{analysis}' does not apply: it moves through z, but the generator '{chosen.name}' of run "
            f"{run.folder.name} has no vector z with a distribution"
        )
    return chosen.options
