"""The analysis `conformal`: sets of classes, or intervals of values, that hold the label as often as they promise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Networks, Run, hookimpl, option
from hyperframe.analysis import check_classifies, has_values
from hyperframe.analysis.ensembles import examples_of
from hyperframe.analysis.scoring import predict
from hyperframe.builtin.analyses.conformal.coverage import measure_intervals, measure_sets
from hyperframe.builtin.analyses.conformal.pictures import coverage_picture, told
from hyperframe.networks.sampled import select
from hyperframe.runtime.rng import stream
from hyperframe.tasks.conformal import aps_scores, deviation_of_coverage, fewest_examples, lac_scores

NAME = "conformal"

SPLITS = ("validation", "test")
Found = dict[str, dict[str, Any]]
"""Of the ensemble and of single networks, for each method, what is measured at each α."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    alphas: tuple[float, ...] = option(
        (0.01, 0.02, 0.05, 0.1, 0.2), "how often a label may be outside of a set or an interval", above=0, below=1
    )
    networks: int | None = option(None, "networks of the ensemble; null: evaluation.test_networks", minimum=1)
    singles: int = option(
        10, "networks of it that are also calibrated and measured alone; their results are averaged", minimum=1
    )
    examples: int = option(1000, "test examples, at most", minimum=1)
    validation_examples: int = option(1000, "validation examples for calibration, at most", minimum=1)

    def __attrs_post_init__(self) -> None:
        """Check that there is something to measure."""
        if not self.alphas:
            raise ValueError("alphas: at least one is needed, such as [0.1]")


class Conformal:
    """Calibrates sets or intervals on validation examples (`hyperframe.tasks.conformal`), measures them on test ones.

    Of classes: sets by the scores `lac` and `aps`. Of values: intervals of one width (`constant`), and of the ensemble
    also such as are wider where the networks are unsure (`scaled`). Each is calibrated for the ensemble's prediction,
    and for single networks one by one. Coverage is the share of test examples whose label is inside. It lies around
    1 − α with two deviations: that of the test examples (its standard error) and that of the calibration examples.

    The coverage is promised for any prediction, so that it says whether calibration and test examples are alike; what a
    better prediction gives is smaller sets.

    References: V. Vovk, A. Gammerman, G. Shafer (2005), Algorithmic Learning in a Random World; M. Sadinle, J. Lei,
    L. Wasserman (2019); Y. Romano, M. Sesia, E. J. Candès (2020); A. N. Angelopoulos, S. Bates (2023), Conformal
    Prediction: A Gentle Introduction.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Draw networks, calibrate and measure.

        Returns:
            `networks`, `singles`, `examples`, `calibration` (how many there were of each), `alphas`, `deviation` (of
            the coverage over draws of the calibration examples, for each α), and for `ensemble` and `single`, for each
            method and α, see `measure_sets` and `measure_intervals`.

        Raises:
            NotApplicableError: the task has neither classes nor values.
        """
        values = has_values(run)
        if not values:
            check_classifies(run, NAME)
        options, generator = self.options, run.experiment.generator
        count = run.default_count if options.networks is None else generator.at_most(options.networks)
        networks = run.sample(count, run.config.evaluation.seed)
        test, validation = examples_of(run, options.examples, options.validation_examples)
        found: dict[str, Any] = {
            "networks": len(networks),
            "singles": min(options.singles, len(networks)),
            "examples": len(test),
            "calibration": len(validation),
            "alphas": list(options.alphas),
            "deviation": [deviation_of_coverage(len(validation), alpha) for alpha in options.alphas],
            **(self._intervals(networks, validation, test) if values else self._sets(run, networks, validation, test)),
        }
        few = [alpha for alpha in options.alphas if len(validation) < fewest_examples(alpha)]
        return {
            **found,
            "highlights": _highlights(found),
            "pictures": [coverage_picture(folder, found)],
            "skipped": {
                f"α = {alpha:g}": f"{len(validation)} validation examples are too few, {fewest_examples(alpha)} are "
                "needed; sets hold all classes, and intervals have no ends"
                for alpha in few
            },
        }

    def _sets(self, run: Run, networks: Networks, validation: Data, test: Data) -> Found:
        """Sets of classes."""
        seed, singles = run.config.evaluation.seed, self.options.singles
        predicted = [predict(networks, data.x, singles) for data in (validation, test)]
        u = [
            torch.rand(len(data), generator=stream(seed, f"conformal {split}"), dtype=torch.float64)
            for split, data in zip(SPLITS, (validation, test), strict=True)
        ]
        labels = [data.y.cpu() for data in (validation, test)]
        found: Found = {}
        for who, parts in (
            ("ensemble", [part.mean[None] for part in predicted]),
            ("single", [part.singles for part in predicted]),
        ):
            scores: dict[str, list[Tensor]] = {
                "lac": [lac_scores(p) for p in parts],
                "aps": [aps_scores(p, own.expand(p.shape[:-1])) for p, own in zip(parts, u, strict=True)],
            }
            found[who] = {
                method: measure_sets(known, labels[0], asked, labels[1], self.options.alphas)
                for method, (known, asked) in scores.items()
            }
        return found

    def _intervals(self, networks: Networks, validation: Data, test: Data) -> Found:
        """Intervals of values."""
        data = (validation, test)
        few = select(networks, slice(0, self.options.singles))
        single = [few.gathered(part.x, networks.task.predictions).double().cpu() for part in data]
        together = [networks.summary(part.x) for part in data]
        mean = [part["mean"].double().cpu()[None] for part in together]
        deviation = [part.get("predictive_std", part["std"]).double().cpu()[None] for part in together]
        values = [part.y.double().cpu() for part in data]

        def measured(centres: list[Tensor], deviations: list[Tensor] | None) -> list[dict[str, Any]]:
            widths = [torch.ones_like(centre) for centre in centres] if deviations is None else deviations
            return measure_intervals(
                (centres[0], widths[0], values[0]), (centres[1], widths[1], values[1]), self.options.alphas
            )

        ensemble = {"constant": measured(mean, None)}
        if len(networks) > 1:
            ensemble["scaled"] = measured(mean, deviation)
        return {"ensemble": ensemble, "single": {"constant": measured(single, None)}}


def _highlights(found: Mapping[str, Any]) -> dict[str, str]:
    place = told(found)
    level = f"at 1 − α = {100 * (1 - found['alphas'][place]):g} %"
    deviation, texts = 100 * found["deviation"][place], {}
    for method, rows in found["ensemble"].items():
        one, all_ = found["single"].get(method, found["single"].get("constant", rows))[place], rows[place]
        texts[f"{method}, coverage {level}: one network, ensemble"] = (
            f"{100 * one['coverage']:.1f}, {100 * all_['coverage']:.1f} ± {100 * all_['standard_error']:.1f} % "
            f"(± {deviation:.1f} by the calibration examples)"
        )
        what = "size" if "size" in all_ else "width"
        texts[f"{method}, mean {what} {level}: one network, ensemble"] = f"{one[what]:.4g}, {all_[what]:.4g}"
    return texts


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=15,
            factory=Conformal,
            options=Options,
            summary="sets of classes, or intervals of values, with a promised coverage: whether it holds, how large",
            reference="A. N. Angelopoulos, S. Bates (2023), Conformal Prediction: A Gentle Introduction",
            title="Conformal prediction",
        )
    ]
