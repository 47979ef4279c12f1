"""The analysis `deep_ensemble`: a run's ensemble against deep ensembles whose training took as much."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Metric, Run, hookimpl, option
from hyperframe.analysis import check_classifies, conclude, in_parts
from hyperframe.analysis.bootstrap import mean_interval
from hyperframe.analysis.ensemble_metrics import growing_sizes
from hyperframe.analysis.ensembles import draw_ensemble, examples_of, fill_meter
from hyperframe.builtin.analyses.deep_ensemble.baseline import Recipe, check_reference, deep_ensemble, of_budget
from hyperframe.builtin.analyses.deep_ensemble.conclusions import advice, comparison
from hyperframe.builtin.analyses.deep_ensemble.equivalent import deep_ensemble_equivalent, saturation
from hyperframe.builtin.analyses.deep_ensemble.pictures import draw_curves, draw_differences, weights_of
from hyperframe.errors import ConfigError, RunError
from hyperframe.runs.folder import CONFIG
from hyperframe.runtime.files import is_file, user_path
from hyperframe.runtime.progress import quantity
from hyperframe.tasks.calibration import held_out_likelihoods

NAME = "deep_ensemble"
KINDS = {"last": (False,), "averages": (True,), "both": (False, True)}


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    reference: str | None = option(
        None,
        "folder of the references, which runs of one target and task can share; null: in the analysis' folder",
        given="folder",
    )
    networks: tuple[int, ...] = option(
        (2, 4, 8, 16), "networks of each deep ensemble, each trained with its part of the budget", minimum=1
    )
    budget: int | None = option(
        None, "gradient evaluations of each deep ensemble; null: as many as the run's", minimum=1, given="budget"
    )
    weights: Literal["last", "averages", "both"] = option(
        "last",
        "weights of the references' networks: those of the last step, averages over the tail of the training, or both, "
        "which takes twice as long",
    )
    rate: float = option(1e-2, "highest learning rate of their training", above=0)
    draws: int = option(3, "how many ensembles are drawn from the run", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)
    validation_examples: int = option(1000, "validation examples for temperatures, at most", minimum=1)


class DeepEnsemble:
    """Compares a run's ensemble with deep ensembles of the same budget, and finds the deep-ensemble equivalent.

    The budget is the number of gradients of one network's output at one example that the run's training took. Deep
    ensembles of several sizes n are trained with a budget / n for each network, with as many examples a step, the
    task's augmentation, and one-cycle rates; the last weights are taken, or averages over a tail. Neither diversity
    terms nor prior functions take part. Each is trained once and kept: together they cost as many times the run's
    training as there are sizes.

    Log-likelihoods are those of mean probabilities, each example at a temperature that was fitted on validation
    examples and nine tenths of the test examples, without its own. The paired difference, run less reference, has a
    95 % interval by bootstrap over examples and draws of the run. The best reference is the best on the same test
    examples, so that its choice is to the run's disadvantage. The deep-ensemble equivalent is read off the references'
    curve over n, each n with the better of its weights; it is "saturated" where this curve is flat within its error,
    see `saturation`.

    References: A. Ashukha, A. Lyzhov, D. Molchanov, D. Vetrov (2020), Pitfalls of In-Domain Uncertainty Estimation and
    Ensembling in Deep Learning; B. Lakshminarayanan, A. Pritzel, C. Blundell (2017), Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Train the references unless they are there already, and measure them and the run.

        Raises:
            NotApplicableError: the task has no classes, or the budget is too small for one of the sizes.
            ConfigError: no size is given.
            RunError: a reference is of another target or task.
        """
        check_classifies(run, NAME)
        chosen = self.options
        budget = run.gradient_evaluations if chosen.budget is None else chosen.budget
        recipes = self._recipes(budget, run.config.trainer.batch_size)
        place = folder / "references" if chosen.reference is None else _shared(chosen.reference)
        for recipe in recipes:  # all of them, before hours of measuring and training
            check_reference(run, place / str(recipe), recipe)
        test, validation = examples_of(run, chosen.examples, chosen.validation_examples)
        sizes = growing_sizes(run.default_count)

        def of_run(draw: int) -> dict[str, Any]:
            return _measured(run, draw, sizes, test, validation)

        def of_reference(number: int) -> dict[str, Any]:
            """Train a reference where it is missing, and measure all of its networks together."""
            other = deep_ensemble(run, place / str(recipes[number]), recipes[number])
            return _measured(other, 0, [recipes[number].networks], test, validation)

        draws = in_parts(folder, "ensembles of the run", chosen.draws, of_run)
        parts = in_parts(folder, "references", len(recipes), of_reference)
        own, others = (torch.tensor([one["nlls"] for one in rows], dtype=torch.float64) for rows in (draws, parts))
        means = {
            name: [sum(values) / len(draws) for values in zip(*(one[name] for one in draws), strict=True)]
            for name in ("calibrated_nll", "accuracy")
        }
        references = [_row(recipe, part, own - nll) for recipe, part, nll in zip(recipes, parts, others, strict=True)]
        counts, curve = _curve(recipes, others)
        flat = saturation(curve)
        levels = [float(nll.mean()) for nll in curve]
        worth = [deep_ensemble_equivalent(nll, counts, levels, flat) for nll in means["calibrated_nll"]]
        found: dict[str, Any] = {
            "examples": len(test),
            "draws": chosen.draws,
            "budget": budget,
            "sizes": sizes,
            "ensembles": means,
            "equivalents": [attrs.asdict(one) for one in worth],
            "flat_from": counts[flat],
            "references": references,
            "best": int(others.mean(1).argmin()),
        }
        found["ensemble"] = {
            "equivalent": worth[-1].networks,
            "difference": references[found["best"]]["difference"],
        }
        pictures = [draw_curves(folder, found, str(worth[-1])), draw_differences(folder, found)]
        return {
            **found,
            "conclusions": [
                conclude("ensemble", comparison(found), pictures[0]),
                *(conclude("next", sentence) for sentence in [advice(found)] if sentence),
            ],
            "highlights": _highlights(found, str(worth[-1])),
            "pictures": pictures,
        }

    def _recipes(self, budget: int, examples: int) -> list[Recipe]:
        chosen = self.options
        if not chosen.networks:
            raise ConfigError("deep_ensemble.networks: at least one size is needed, such as [4]")
        return [
            of_budget(budget, networks, examples, chosen.rate, averaged=averaged)
            for averaged in KINDS[chosen.weights]
            for networks in sorted(set(chosen.networks))
        ]


def _measured(run: Run, draw: int, sizes: Sequence[int], test: Data, validation: Data) -> dict[str, Any]:
    """Measure an ensemble as it grows.

    Returns:
        `calibrated_nll` and `accuracy` for each size; `nlls` of the largest for each example; `network_accuracy`, the
        mean over the networks.
    """
    networks = draw_ensemble(run, draw, sizes[-1])
    tried, known = fill_meter(networks, sizes, test), fill_meter(networks, sizes, validation)
    labels, others = (data.y.to(run.experiment.device) for data in (test, validation))
    answers = list(zip(tried.log_probabilities(), known.log_probabilities(), strict=True))
    nlls = [-held_out_likelihoods(of_test, labels, (of_validation, others)) for of_test, of_validation in answers]
    return {
        "calibrated_nll": [float(nll.mean()) for nll in nlls],
        "accuracy": [float((of_test.argmax(-1) == labels).double().mean()) for of_test, _ in answers],
        "nlls": nlls[-1].tolist(),
        "network_accuracy": float(tried.singles()["accuracy"].mean()),
    }


def _shared(folder: str) -> Path:
    place = user_path(folder)
    if is_file(place / CONFIG):
        raise RunError(f"deep_ensemble.reference: {place} is a run; name the folder that holds the references' runs")
    if place.exists() and not place.is_dir():
        raise RunError(f"deep_ensemble.reference: {place} is a file; name a folder, which is made if it is missing")
    return place


def _row(recipe: Recipe, part: Mapping[str, Any], differences: Tensor) -> dict[str, Any]:
    """Return what is said of a reference; the differences to it are [draws, examples]."""
    return {
        "networks": recipe.networks,
        "averaged": recipe.averaged,
        "steps": recipe.steps,
        "calibrated_nll": part["calibrated_nll"][-1],
        "accuracy": part["accuracy"][-1],
        "network_accuracy": part["network_accuracy"],
        "difference": float(differences.mean()),
        "interval": list(mean_interval(differences)),
    }


def _curve(recipes: Sequence[Recipe], nlls: Tensor) -> tuple[list[int], Tensor]:
    """Return the sizes, and for each the row of the better of its references: [references, examples] → [sizes, …]."""
    order = sorted(range(len(recipes)), key=lambda place: (recipes[place].networks, float(nlls[place].mean())))
    best = {recipes[place].networks: place for place in reversed(order)}
    counts = sorted(best)
    return counts, nlls[[best[count] for count in counts]]


def _highlights(found: Mapping[str, Any], words: str) -> dict[str, str]:
    best, size = found["references"][found["best"]], found["sizes"][-1]
    low, high = best["interval"]
    words_of_best = f"{quantity(best['networks'], 'network')}, {weights_of(best)}"
    return {
        f"calibrated NLL of an ensemble of {size}": f"{found['ensembles']['calibrated_nll'][-1]:.4f} nats",
        "that of the best deep ensemble of the same budget": f"{best['calibrated_nll']:.4f} nats ({words_of_best})",
        "paired difference to it, 95 % interval": f"{best['difference']:+.4f} [{low:+.4f}, {high:+.4f}] nats",
        f"an ensemble of {size} is worth (deep-ensemble equivalent)": words,
        "accuracy of one of its independently trained networks": f"{100 * best['network_accuracy']:.2f} %",
    }


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=20,
            factory=DeepEnsemble,
            options=Options,
            metrics=(
                Metric(
                    name="difference",
                    label="calibrated NLL less that of the best deep ensemble of the same budget",
                    unit="nats",
                    better="lower",
                    of="ensemble",
                ),
                Metric(
                    name="equivalent",
                    label="deep-ensemble equivalent, within the sizes that were trained",
                    unit="networks",
                    better="greater",
                    of="ensemble",
                ),
            ),
            summary="a run's ensemble against independently trained networks of the same budget",
            reference="A. Ashukha et al. (2020), Pitfalls of In-Domain Uncertainty Estimation and Ensembling",
        )
    ]
