"""The analysis `paths`: how good networks are along paths between two drawn ones (Fig. 7)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Metric, Run, Weights, hookimpl, option
from hyperframe.analysis import COLOURS, check_count, in_parts, keep_picture, new_figure
from hyperframe.analysis.plots import axis_label
from hyperframe.analysis.requirements import has_latent
from hyperframe.analysis.scoring import mean_scores, some_examples
from hyperframe.builtin.analyses.paths.bezier import curve_points, train_middle
from hyperframe.builtin.analyses.paths.geometry import barrier, linear, relative_length, spherical, straight
from hyperframe.runtime.rng import stream
from hyperframe.targets import concatenate, flatten, slice_weights, unflatten

WORDS = {
    "direct": "direct",
    "direct_gauged": "direct in gauge",
    "interpolated": "through z",
    "spherical": "through z, spherical",
    "trained": "trained curve",
}
"""The paths and their labels, in the order in which they are drawn."""

STYLES = {"direct": "--", "direct_gauged": ":", "interpolated": "-", "spherical": "-.", "trained": "-"}

TRAINED_ON = 128
"""Examples in one step of the trained curve."""

RATE = 0.01


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    pairs: int = option(3, "pairs of networks", minimum=1)
    points: int = option(21, "places along a path", minimum=3, maximum=10_000)
    examples: int = option(1000, "test examples, at most", minimum=1)
    bezier_pairs: int = option(1, "pairs that a trained Bézier curve joins as well", minimum=0)
    bezier_steps: int = option(400, "steps of training such a curve", minimum=1)


class Paths:
    """Measures scores and losses along paths between drawn networks.

    For each pair (z₁, z₂), with t from 0 to 1, the paths are `direct`, G(z₁)(1 − t) + G(z₂)t of the weights as they are
    drawn; `direct_gauged`, the same of the weights in gauge; `interpolated`, G(z₁(1 − t) + z₂t); where z is normal also
    `spherical`, with z along a great circle; and for the first pairs `trained`, a quadratic Bézier curve between the
    weights as they are drawn, whose middle point is trained. Where the generator's z is no vector there are no paths
    through z.

    The barrier is the greatest excess of the loss over the straight line between the losses of the ends; `drop`, for
    tasks with accuracies, is the greatest shortfall of the accuracy below such a line. `relative_length` is the path's
    length, of weights in gauge, divided by the distance of its ends. BatchNorm's statistics are estimated anew for
    every network.

    Returns:
        `examples`, `t`, `metric` (the one that `score` holds); `pairs`, for each pair and path `loss` and `score` along
        t, `barrier`, `drop` and `relative_length`; `paths`, for each path the mean and the maximum of the last three
        over the pairs.

    Raises:
        NotApplicableError: the generator holds one network only.

    References: section 4.2.2, Fig. 7; T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov, A. Wilson (2018), Loss
        Surfaces, Mode Connectivity, and Fast Ensembling of DNNs.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Analyse a run; see the class."""
        options, experiment = self._options, run.experiment
        seed = run.config.evaluation.seed
        count = check_count(run, "paths", 2 * options.pairs, least=2) // 2
        z = experiment.generator.latent(2 * count, stream(seed, "paths", experiment.device)).unflatten(0, (count, 2))
        t = torch.linspace(0, 1, options.points, dtype=torch.float64)
        data = some_examples(run.data("test"), options.examples, seed)

        def pair(number: int) -> dict[str, Any]:
            return along(run, drawn_paths(run, z[number], t), t, data)

        def curve(number: int) -> dict[str, Any]:
            return along(run, {"trained": self._trained_curve(run, z[number], t, number)}, t, data)

        found = in_parts(folder, "pairs", count, pair)
        curves = in_parts(folder, "trained curves", min(options.bezier_pairs, count), curve)
        pairs = [{**own, **(curves[number] if number < len(curves) else {})} for number, own in enumerate(found)]
        results: dict[str, Any] = {
            "examples": len(data),
            "metric": experiment.task.score_metric.plain(),
            "t": [round(place, 9) for place in t.tolist()],
            "pairs": pairs,
        }
        results["paths"] = summary(pairs)
        if "interpolated" not in results["paths"]:
            reason = f"the generator '{run.config.generator.name}' has no vector z with a distribution"
            results["skipped"] = {"paths through z": reason}
        return {**results, **_illustrate(folder, results)}

    def _trained_curve(self, run: Run, z: Tensor, t: Tensor, number: int) -> Weights:
        """Return weights along the trained curve between two networks."""
        experiment = run.experiment
        with torch.no_grad():
            weights = experiment.generator(z)
        ends = slice_weights(weights, slice(0, 1)), slice_weights(weights, slice(1, 2))
        middle = train_middle(
            experiment.target,
            experiment.task,
            ends,
            run.data("train"),
            steps=self._options.bezier_steps,
            examples=TRAINED_ON,
            rate=RATE,
            seed=run.config.evaluation.seed + number,
        )
        one, other = (flatten(experiment.target.spec, end) for end in ends)
        return unflatten(experiment.target.spec, curve_points(one, middle, other, t.to(one)))


@torch.no_grad()
def drawn_paths(run: Run, z: Tensor, t: Tensor) -> dict[str, Weights]:
    """Return the weights along each path between the networks of two z [2, ...], per layer [points, filters, size]."""
    experiment = run.experiment
    generator = experiment.generator
    raw = generator(z)
    gauged = experiment.gauge(raw)
    places = t.to(experiment.device, next(iter(raw.values())).dtype)
    first, second = slice(0, 1), slice(1, 2)
    paths = {
        "direct": straight(slice_weights(raw, first), slice_weights(raw, second), places),
        "direct_gauged": straight(slice_weights(gauged, first), slice_weights(gauged, second), places),
    }
    if has_latent(run):
        paths["interpolated"] = generator(linear(z[0], z[1], places))
        if generator.latent_distribution == "normal":
            paths["spherical"] = generator(spherical(z[0], z[1], places))
    return paths


@torch.no_grad()
def along(run: Run, paths: Mapping[str, Weights], t: Tensor, data: Data) -> dict[str, Any]:
    """Measure paths between the same two networks; see `Paths`."""
    networks = run.networks_of(concatenate(list(paths.values())))
    spec, task = run.experiment.target.spec, run.experiment.task
    losses, scores = mean_scores(networks, data)
    rows = flatten(spec, run.experiment.gauge(networks.weights))
    results = {}
    for name, loss, score, points in zip(
        paths, losses.split(len(t)), scores.split(len(t)), rows.split(len(t)), strict=True
    ):
        results[name] = {
            "score": score.tolist(),
            "loss": loss.tolist(),
            "barrier": barrier(loss, t),
            "relative_length": relative_length(points),
        }
        if task.score_metric.percent:
            results[name]["drop"] = barrier(-score, t)
    return results


def summary(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each path, mean and maximum over the pairs of all results that are one number."""
    found: dict[str, Any] = {}
    for name in WORDS:
        own = [pair[name] for pair in pairs if name in pair]
        numbers = [key for key in ("barrier", "drop", "relative_length") if own and key in own[0]]
        values = {key: [each[key] for each in own] for key in numbers}
        if own:
            found[name] = {
                "pairs": len(own),
                **{key: {"mean": sum(of) / len(of), "max": max(of)} for key, of in values.items()},
            }
    return found


def _illustrate(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Write the pictures; return them with the highlights."""
    paths, metric = results["paths"], Metric(**results["metric"])
    drop = "drop" in paths["direct"]
    key, what = ("drop", "drop of accuracy") if drop else ("barrier", "barrier of the loss")
    worst = {WORDS[name]: _number(own[key]["max"], drop) for name, own in paths.items()}
    caption = f"The greatest {what} along a path is {_list_of_words(worst)}."
    trained, pairs = paths.get("trained", {"pairs": 0})["pairs"], len(results["pairs"])
    if 0 < trained < pairs:
        caption += f" The trained curve joins {trained} of the {pairs} pairs only."
    best = "interpolated" if "interpolated" in paths else "trained"
    names = [name for name in ("direct", "direct_gauged", best) if name in paths]
    title = f"{metric.label.capitalize()} between two networks"
    picture = keep_picture(folder, "paths.png", _figure(results, metric), title=title, caption=caption)
    return {
        "highlights": {f"greatest {what}, {WORDS[name]}": worst[WORDS[name]] for name in names},
        "pictures": [picture],
    }


def _in_order(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {name: pair[name] for name in WORDS if name in pair}


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} points" if percent else f"{value:.3g}"


def _list_of_words(worst: Mapping[str, str]) -> str:
    return ", ".join(f"{value} {name if 'curve' not in name else 'on the ' + name}" for name, value in worst.items())


def _figure(results: Mapping[str, Any], metric: Metric) -> Any:
    """Draw a panel for each pair, with a line for each path."""
    pairs, t, factor = results["pairs"], results["t"], 100 if metric.percent else 1
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    figure = new_figure(7.0, 0.9 + 2.6 * down)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Any] = {}
    for number, axes in enumerate(panels.flat):
        if number >= len(pairs):
            axes.set_axis_off()
            continue
        for name, own in _in_order(pairs[number]).items():
            colour = COLOURS[list(WORDS).index(name)]
            values = [factor * value for value in own["score"]]
            (handles[WORDS[name]],) = axes.plot(t, values, STYLES[name], color=colour, linewidth=1.6)
        axes.set_title(f"pair {number + 1}", fontsize="medium")
        axes.grid(alpha=0.25)
        axes.set(xlim=(0, 1), xticks=(0, 0.25, 0.5, 0.75), xticklabels=("0", "¼", "½", "¾"))
    figure.supxlabel("t, from one network (0) to the other (1)", fontsize="medium")
    figure.supylabel(axis_label(metric), fontsize="medium")
    columns = len(handles) if len(handles) < 5 else 3
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns, frameon=False)
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="paths",
            place=70,
            factory=Paths,
            options=Options,
            summary="scores along direct, interpolated and trained paths between two drawn networks",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2, Fig. 7; T. Garipov et "
            "al. (2018), Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs",
        )
    ]
