"""The analysis `deep_ensemble`: how many independently trained networks an ensemble of generated ones is worth."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Component, Run, hookimpl, option
from hyperframe.analysis import COLOURS, check_classifies, in_parts, keep_picture, new_figure
from hyperframe.analysis.ensemble_metrics import growing_sizes, spread
from hyperframe.analysis.ensembles import ensemble_results, examples_of
from hyperframe.analysis.plots import size_axis
from hyperframe.builtin.analyses.deep_ensemble.baseline import IMAGES, deep_ensemble
from hyperframe.builtin.analyses.deep_ensemble.equivalent import deep_ensemble_equivalent
from hyperframe.runtime.files import user_path

NAME = "deep_ensemble"
PASSES, FEWEST_STEPS = 3, 1000
"""How long the reference is trained by default: passes over the training data, and the fewest steps."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    reference: str | None = option(
        None, "run folder of the independently trained networks, made if it is missing; null: in the analysis' folder"
    )
    networks: int = option(10, "how many of them are trained", minimum=2)
    steps: int | None = option(None, "of their training; null: three passes over the data, at least 1000", minimum=1)
    rate: float = option(1e-2, "highest learning rate of their training, one cycle", above=0)
    draws: int = option(3, "how many ensembles are drawn from the run", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)
    validation_examples: int = option(1000, "validation examples for the temperature, at most", minimum=1)


class DeepEnsemble:
    """Finds the deep-ensemble equivalent: the size of the deep ensemble with the same calibrated log-likelihood.

    The reference, a number of independently trained networks, is trained once and kept, so that other runs of the same
    target and task can share it. Log-likelihoods are those of mean probabilities at the temperature that is best on
    validation examples.

    References: A. Ashukha, A. Lyzhov, D. Molchanov, D. Vetrov (2020), Pitfalls of In-Domain Uncertainty Estimation and
    Ensembling in Deep Learning; B. Lakshminarayanan, A. Pritzel, C. Blundell (2017), Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Train the reference unless it is there already, and measure it and the run.

        Raises:
            NotApplicableError: the task has no classes.
            RunError: the reference is of another target or task.
        """
        check_classifies(run, NAME)
        chosen = self.options
        passes = math.ceil(PASSES * len(run.data("train")) / IMAGES)
        steps = max(passes, FEWEST_STEPS) if chosen.steps is None else chosen.steps
        place = folder / "reference" if chosen.reference is None else user_path(chosen.reference)
        other = deep_ensemble(run, place, chosen.networks, steps, chosen.rate, shared=chosen.reference is not None)
        test, validation = examples_of(run, chosen.examples, chosen.validation_examples)

        def curve(of: Run, what: str, draws: int, sizes: Sequence[int]) -> dict[str, list[float]]:
            """Return mean accuracy and calibrated NLL over draws, for each size."""
            parts = in_parts(folder, what, draws, lambda draw: ensemble_results(of, draw, sizes, test, validation))
            along = [spread(at) for at in zip(*(part["ensembles"]["mean_probability"] for part in parts), strict=True)]
            return {name: [one[name]["mean"] for one in along] for name in ("calibrated_nll", "accuracy")}

        sizes = growing_sizes(run.default_count)
        held = list(range(1, (other.experiment.generator.networks or chosen.networks) + 1))
        own = curve(run, "ensembles of the run", chosen.draws, sizes)
        # With as many draws as networks each network comes first once, and the curve is the mean over all of these.
        reference = curve(other, "ensembles of the reference", held[-1], held)
        worth = [deep_ensemble_equivalent(nll, reference["calibrated_nll"]) for nll in own["calibrated_nll"]]
        found = {
            "examples": len(test),
            "draws": chosen.draws,
            "sizes": sizes,
            "ensembles": own,
            "equivalents": [attrs.asdict(one) for one in worth],
            "reference": {"networks": held[-1], "steps": other.step, "sizes": held, **reference},
        }
        words = f"{worth[-1]} network{'' if worth[-1].networks == 1 else 's'}"
        return {
            **found,
            "highlights": {
                f"an ensemble of {sizes[-1]} is worth (deep-ensemble equivalent)": words,
                "accuracy of one independently trained network": f"{100 * reference['accuracy'][0]:.2f} %",
            },
            "pictures": [_picture(folder, found, words)],
        }


def _picture(folder: Path, found: Mapping[str, Any], words: str) -> dict[str, str]:
    """Draw the calibrated NLL against the size, for the run and for the reference."""
    figure = new_figure()
    axes = figure.add_subplot()
    own, reference = found["ensembles"]["calibrated_nll"], found["reference"]
    axes.plot(found["sizes"], own, "o-", color=COLOURS[0], markersize=4, label="generated networks")
    nlls = reference["calibrated_nll"]
    axes.plot(reference["sizes"], nlls, "s--", color=COLOURS[1], markersize=4, label="independently trained networks")
    axes.axhline(own[-1], color="0.6", linestyle=":", linewidth=1)
    size_axis(axes, found["sizes"])
    axes.set_ylabel("NLL at the best temperature, nats")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    caption = (
        "Log-likelihood of ensembles of generated and of independently trained networks: "
        f"{found['sizes'][-1]} generated ones are worth {words} that were trained independently, for "
        f"{reference['steps']:,} steps each."
    )
    return keep_picture(folder, "equivalent.png", figure, title="Deep-ensemble equivalent", caption=caption)


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=20,
            factory=DeepEnsemble,
            options=Options,
            summary="how many independently trained networks an ensemble of generated ones is worth",
            reference="A. Ashukha et al. (2020), Pitfalls of In-Domain Uncertainty Estimation and Ensembling",
        )
    ]
