"""The analysis `plane`: how good networks are over the plane through three drawn z."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Metric, Run, hookimpl, option
from hyperframe.analysis import check_latent, in_parts, keep_grid, keep_picture, new_figure
from hyperframe.analysis.plots import axis_label
from hyperframe.analysis.scoring import mean_scores, some_examples
from hyperframe.builtin.analyses.plane.geometry import Plane, inside_triangle
from hyperframe.runtime.rng import stream

NAMES = ("z₁", "z₂", "z₃")

TINY = 1e-6
"""Where all losses differ by less than this, no lines of equal loss are drawn."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    points: int = option(15, "places along each side of the square", minimum=2, maximum=1000)
    examples: int = option(500, "test examples, at most", minimum=1)
    margin: float = option(
        0.2, "how far the square reaches beyond the three z, in parts of their extent", minimum=0, maximum=1000
    )


class PlaneOfScores:
    """Measures score and loss of networks whose z lie on a square in the plane through three drawn z.

    The first two z are those of the first pair of the analysis `paths`, with its default options. Coordinates are
    distances in the space of z; z₁ is at (0, 0), z₂ on the first axis. Outside of the triangle of the three there may
    be z that are never drawn.

    Returns:
        `examples`, `metric` (the one that `score` holds); `x` and `y`, the places along the axes; `score` and `loss`,
        [y][x]; `places` of the three z; `inside` and `outside`, minimum, mean and maximum of the score inside their
        triangle, including the three z themselves, and outside of it.

    Raises:
        NotApplicableError: the generator's z is no vector with a distribution.

    References: section 4.2.2, which follows one dimension of the generated manifold at a time.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Analyse a run; see the class."""
        check_latent(run, "plane")
        options, seed = self._options, run.config.evaluation.seed
        generator = run.experiment.generator
        z = generator.latent(6, stream(seed, "paths", run.experiment.device))[:3]
        plane = Plane(z)
        x, y = (_axis(plane.places[:, axis], options) for axis in (0, 1))
        rows = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)  # [y, x, 2]
        data = some_examples(run.data("test"), options.examples, seed)

        @torch.no_grad()
        def row(number: int) -> dict[str, Any]:
            points = z if number == len(y) else plane.at(rows[number])
            losses, scores = mean_scores(run.networks_of(generator(points)), data)
            return {"loss": losses.tolist(), "score": scores.tolist()}

        *found, corners = in_parts(folder, "rows of the plane", len(y) + 1, row)
        score = torch.tensor([each["score"] for each in found], dtype=torch.float64)
        inside = inside_triangle(rows, plane.places).cpu()
        results = {
            "examples": len(data),
            "metric": run.experiment.task.score_metric.plain(),
            "x": [round(place, 6) for place in x.tolist()],
            "y": [round(place, 6) for place in y.tolist()],
            "score": [each["score"] for each in found],
            "loss": [each["loss"] for each in found],
            "places": [[round(value, 6) for value in place] for place in plane.places.tolist()],
            "inside": _range(torch.cat([score[inside], score.new_tensor(corners["score"])])),
            "outside": _range(score[~inside]) if not inside.all() else None,
        }
        return {**results, **_illustrate(folder, results)}


def _axis(places: Tensor, options: Options) -> Tensor:
    """Return places along one axis, which span the three z's coordinates and the margin on both sides."""
    low, high = float(places.min()), float(places.max())
    beyond = options.margin * (high - low)
    return torch.linspace(low - beyond, high + beyond, options.points, device=places.device, dtype=places.dtype)


def _range(values: Tensor) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


def _illustrate(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Write the pictures; return them with the highlights."""
    metric = Metric(**results["metric"])
    name = metric.label
    inside, outside = results["inside"], results["outside"]
    spans = {"inside": _span(inside, metric), "outside": _span(outside, metric) if outside else None}
    caption = f"Between the three drawn z, inside their triangle, the {name} is {spans['inside']}"
    caption += f"; outside of it, up to the picture's edge, {spans['outside']}." if outside else "."
    title = f"{name.capitalize()} over a plane of z"
    labels = (
        "distance in z",
        "distance in z",
        f"loss on {results['examples']:,} test examples",
    )
    marks = {mark: (x, y) for mark, (x, y) in zip(NAMES, results["places"], strict=True)}
    picture = keep_picture(folder, "plane.png", _figure(results, metric), title=title, caption=caption)
    grid = keep_grid(
        folder,
        "plane.json",
        results["x"],
        results["y"],
        results["loss"],
        labels=labels,
        marks=marks,
        title="Loss over the same plane",
        caption="The loss of the network at each place; point at one to read its value.",
    )
    return {
        "highlights": {f"{name} between three drawn z": spans["inside"]},
        "pictures": [picture],
        "interactive": [grid],
    }


def _span(values: Mapping[str, float], metric: Metric) -> str:
    if metric.percent:
        return f"{100 * values['min']:.1f} to {100 * values['max']:.1f} %"
    return f"{values['min']:.3g} to {values['max']:.3g} {metric.unit}".rstrip()


def _figure(results: Mapping[str, Any], metric: Metric) -> Any:
    """Draw the square in colours, the three z, and the lines of equal loss."""
    factor = 100 if metric.percent else 1
    score = [[factor * value for value in row] for row in results["score"]]
    x, y, places = results["x"], results["y"], results["places"]
    figure = new_figure(6.4, 5.2)
    axes = figure.subplots()
    shades = axes.pcolormesh(x, y, score, cmap="viridis", shading="nearest")
    losses = [value for row in results["loss"] for value in row]
    if len(x) > 2 and max(losses) - min(losses) > TINY:
        lines = axes.contour(x, y, results["loss"], levels=5, colors="white", linewidths=0.8)
        axes.clabel(lines, fmt="%.3g", fontsize="small")
        axes.set_title("white: lines of equal loss", fontsize="medium")
    axes.plot(*zip(*places, places[0], strict=True), color="black", linewidth=0.9, linestyle="--")
    axes.scatter(*zip(*places, strict=True), color="black", edgecolor="white", s=55, zorder=3)
    for mark, place in zip(NAMES, places, strict=True):
        axes.annotate(
            mark, place, xytext=(7, 6), textcoords="offset points", fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip
    axes.set(xlabel="distance in z, from z₁ towards z₂", ylabel="distance in z, across", aspect="equal")
    figure.colorbar(shades, ax=axes, label=axis_label(metric))
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="plane",
            place=80,
            factory=PlaneOfScores,
            options=Options,
            summary="the score over a plane of z through three drawn ones",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2",
        )
    ]
