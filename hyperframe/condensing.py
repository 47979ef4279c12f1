"""One network in the place of an ensemble: made in one of several ways, measured beside it, and written to a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.averaging import average, check_scale
from hyperframe.distillation import DistillationOptions, taught_network
from hyperframe.errors import RunError, unknown_name
from hyperframe.evaluation import measure
from hyperframe.figures import of_networks
from hyperframe.modes import with_gradients
from hyperframe.run import Run
from hyperframe.samplefiles import write_network
from hyperframe.samples import Networks

METHODS = ("predictions", "average", "average-gauged")
"""Taught by the ensemble's predictions; the mean of the weights as they are generated, or in the run's gauges."""

ENSEMBLE_SCORES = ("mean_probability", "rmse")
"""What an ensemble's mean prediction is scored by, of those that a task's meter has."""


def condensed(
    run: Run, method: str, options: DistillationOptions, seed: int | None = None, *, scale: float = 1.0
) -> Networks:
    """The one network that stands for an ensemble of `options.networks` generated ones.

    Args:
        run: the run.
        method: one of `METHODS`.
        options: `networks` is for all methods, the others are those of "predictions".
        seed: of the draws; by default `evaluation.seed`.
        scale: what z is multiplied by, for averages.

    Raises:
        RunError: there is no such method; or a scale other than 1 where z is no vector, or where nothing is averaged.
        TrainingError: the student's loss is not finite.
    """
    check_method(run, method, scale)
    if method == "predictions":
        return taught_network(run, options, seed)
    count = run.experiment.generator.at_most(options.networks)
    return average(run, count, seed, scale=scale, gauge=method == "average-gauged")


def check_method(run: Run, method: str, scale: float) -> None:
    """Check that a method can be used on a run; raises `RunError`."""
    if method not in METHODS:
        raise RunError(unknown_name("method", method, METHODS))
    if scale != 1 and method == "predictions":
        raise RunError(f"the scale {scale:g} is for averages; the method 'predictions' takes z as it is drawn")
    check_scale(run, scale)


def figures_of_members(run: Run, networks: int, seed: int | None = None) -> dict[str, dict[str, Any]]:
    """What single members and their ensemble reach on the test set.

    Returns:
        `mean member` and `ensemble`, each with `score` (accuracy or rmse, of the ensemble that of its mean prediction),
        `std` (over the members; None for the ensemble) and `nll`; None where the task has no such figure.
    """
    drawn = run.sample(run.experiment.generator.at_most(networks), seed)
    figures = measure(run.experiment, drawn, run.data("test"))
    together = figures.get("ensemble", {})
    score = next((together[name] for name in ENSEMBLE_SCORES if name in together), None)
    return {
        "mean member": _of_members(figures),
        "ensemble": {"score": score, "std": None, "nll": together.get("nll")},
    }


def figures_of_one(run: Run, network: Networks) -> dict[str, Any]:
    """What one network reaches on the test set: `score`, `std`, which is None, and `nll`."""
    return {**_of_members(measure(run.experiment, network, run.data("test"))), "std": None}


def score_name(run: Run) -> str:
    """What `score` is: the figure that the task's meter has of single networks, such as "accuracy" or "rmse"."""
    return _single(measure(run.experiment, run.sample(1), run.data("test")[:1]))[0]


def _of_members(figures: Mapping[str, Any]) -> dict[str, Any]:
    _, single = _single(figures)
    return {"score": single["mean"], "std": single["std"], "nll": figures.get("nll")}


def _single(figures: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """Name and moments of the figure of single networks."""
    return next(iter(of_networks(figures).items()))


@with_gradients
def distill(
    run: Run,
    out: str | Path,
    method: str = METHODS[0],
    options: DistillationOptions | None = None,
    seed: int | None = None,
    *,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Make one network in the place of an ensemble, write it as a state_dict, and measure it beside the ensemble.

    Args:
        run: the run.
        out: a safetensors file, which must not exist; the target's module loads what it holds.
        method: one of `METHODS`.
        options: of the ensemble and the student.
        seed: of the draws; by default `evaluation.seed`.
        scale: what z is multiplied by, for averages.

    Returns:
        `run`, `step`, `file`, `method`, `networks` (of the ensemble), `scale`, `items` (of the test set), `score_name`,
        and `figures`, for `mean member`, `ensemble` and `written network` the mapping that `figures_of_members` gives.

    Raises:
        RunError: the file exists, ends otherwise or cannot be written; the method cannot be used, see `condensed`.
        TrainingError: the student's loss is not finite.
    """
    options = options or DistillationOptions()
    count = run.experiment.generator.at_most(options.networks)
    origin = {
        "run": run.folder.name,
        "step": run.step,
        "method": method,
        "networks": count,
        "scale": scale,
        "seed": run.config.evaluation.seed if seed is None else seed,
    }
    header = {key: str(value) for key, value in origin.items()}
    file, network = write_network(out, lambda: condensed(run, method, options, seed, scale=scale), header)
    return {
        **origin,
        "file": str(file),
        "items": len(run.data("test")),
        "score_name": score_name(run),
        "figures": {**figures_of_members(run, count, seed), "written network": figures_of_one(run, network)},
    }
