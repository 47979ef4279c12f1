"""The analysis `toy_curve`: the path of the generated points through the Gaussian mixture (Fig. 1)."""

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.analysis import conclude, keep_picture, new_figure
from hyperframe.errors import NotApplicableError
from hyperframe.networks import LatentOptions
from hyperframe.types import NoOptions

TASK = "gaussian_mixture"
POINTS = 400
PICTURE = "toy_curve.png"
COLOURS = "turbo"
EDGE = 8.0
"""Half the side of the square that is drawn at least; means lie within 5."""

TINY = 1e-9
"""The smallest height of an axis."""


@attrs.frozen(kw_only=True, eq=False)
class Curve:
    """Generated points for uniformly spaced z.

    Attributes:
        z: latent vectors of one entry, uniformly spaced, [points].
        points: the target's outputs for them, [points, 2].
        values: the mixture's density at the points, [points].
        distances: from each point to its nearest neighbour among all others, [points].
    """

    z: Tensor
    points: Tensor
    values: Tensor
    distances: Tensor


def toy_curve(run: Any, folder: Path) -> dict[str, Any]:
    """Draw the points of 400 uniformly spaced z, and measure how well they follow the mixture.

    z goes through its whole range, [−1, 1] by default. The nearest neighbour is sought among all other 399 points, as
    the paper says; its authors' program takes the nearer of the two points with adjacent z. The two differ where the
    path comes near itself. The density of points is taken to be the inverse of the distance.

    Returns:
        `components`, the number of Gaussians; `peaks`, how many of their means have a point within one standard
        deviation; `rank_correlation`, Spearman's, of the density of points and the mixture; `value`, mean, least and
        greatest of the mixture along the path; `length` of the path; `highlights` and `pictures`.

    Raises:
        NotApplicableError: the run has another task, or its z is not one uniform number.
        RunError: the picture cannot be written.

    References: section 4.1, Fig. 1.
    """
    task = run.experiment.task
    curve = curve_of(run)
    results = results_of(task, curve)
    peaks = f"{results['peaks']} of {results['components']}"
    caption = (
        f"Points of {POINTS} evenly spaced z, in the colours of z: their path passes {peaks} peaks of the mixture."
    )
    picture = keep_picture(folder, PICTURE, _figure(task, curve), title="The path of generated points", caption=caption)
    highlights = {"peaks that the path passes": peaks}
    correlation = results["rank_correlation"]
    if correlation is not None:
        highlights["rank correlation of the density of points and the mixture"] = f"{correlation:.3f}"
    told = conclude("quality", f"The path of its points passes {peaks} peaks of the mixture.", picture)
    return {**results, "conclusions": [told], "highlights": highlights, "pictures": [picture]}


def curve_of(run: Any) -> Curve:
    """Generate the points of a run; raises `NotApplicableError` where they are no path in the plane."""
    experiment, chosen = run.experiment, run.config.generator
    where = f"analysis 'toy_curve' does not apply: run {run.folder.name}"
    if experiment.task.name != TASK:
        raise NotApplicableError(f"{where} is of task '{experiment.task.name}'; it must be of '{TASK}', as 'toy' is")
    latent = chosen.options
    if not isinstance(latent, LatentOptions) or (latent.latent, latent.latent_distribution) != (1, "uniform"):
        raise NotApplicableError(
            f"{where} has a generator '{chosen.name}' whose z is not one uniform number; it must have one, with "
            "generator.latent=1 and generator.latent_distribution=uniform, as that of 'toy' has"
        )
    z = torch.linspace(-latent.latent_scale, latent.latent_scale, POINTS, device=experiment.device)
    x = torch.zeros(1, *experiment.task.input_shape, device=experiment.device)
    with torch.no_grad():
        outputs = experiment.target.forward(experiment.generator(z[:, None]), x, shared=True)
    points = outputs[:, 0].double().cpu()
    apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    return Curve(z=z.double().cpu(), points=points, values=experiment.task.mixture(points), distances=apart.amin(1))


def results_of(task: Any, curve: Curve) -> dict[str, Any]:
    """Compute the numbers that `toy_curve` returns."""
    nearest = torch.cdist(task.means, curve.points).amin(1)
    values = curve.values
    return {
        "components": len(task.means),
        "peaks": int((nearest <= task.deviations).sum()),
        "rank_correlation": _rank_correlation(-curve.distances, values),
        "value": {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())},
        "length": float(curve.points.diff(dim=0).norm(dim=1).sum()),
    }


def _rank_correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Spearman's rank correlation; None where all values of one side are equal, as for points that coincide."""
    from scipy.stats import spearmanr  # noqa: PLC0415  (slow to import)

    if float(one.max()) == float(one.min()) or float(other.max()) == float(other.min()):
        return None
    return float(spearmanr(one.numpy(), other.numpy()).statistic)


def _figure(task: Any, curve: Curve) -> Any:
    """Draw both panels of Fig. 1."""
    figure = new_figure(10.5, 4.4)
    plane, along = figure.subplots(1, 2, width_ratios=(1, 1.3))
    _draw_plane(plane, task, curve)
    _draw_along(along, curve)
    return figure


def _draw_plane(axes: Any, task: Any, curve: Curve) -> None:
    """Draw panel (a): the points, in the colours of their z, over the mixture in grey."""
    edge = max(EDGE, 1.05 * float(curve.points.abs().max()))
    side = torch.linspace(-edge, edge, 241, dtype=torch.float64)
    shades = task.mixture(torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)).numpy()
    axes.imshow(shades, extent=(-edge, edge, -edge, edge), origin="lower", cmap="Greys", interpolation="bilinear")
    axes.scatter(*curve.points.T.numpy(), c=curve.z.numpy(), cmap=COLOURS, s=9)
    means = task.means.T.numpy()
    axes.scatter(*means, marker="X", s=60, color="black", edgecolor="white", label="means of the Gaussians")
    axes.set(title="(a) generated points, over the mixture", xlabel="first weight", ylabel="second weight")
    axes.legend(loc="upper right", fontsize="small")


def _draw_along(axes: Any, curve: Curve) -> None:
    """Draw panel (b): the mixture and the distance to the nearest neighbour along the path."""
    z, values, distances = curve.z.numpy(), curve.values.numpy(), curve.distances.numpy()
    (left,) = axes.plot(z, values, color="black", label="mixture (left axis)")
    top = max(1.25 * values.max(), TINY)  # room for the legend
    axes.scatter(z, 0 * z - 0.04 * top, c=z, cmap=COLOURS, marker="|", s=40)
    axes.set(title="(b) along the path", xlabel="z", ylabel="value of the mixture", ylim=(-0.08 * top, top))
    axes.margins(x=0.01)
    other, label = axes.twinx(), "distance to nearest neighbour"
    (right,) = other.plot(z, distances, "--", color="#cc3311", linewidth=1, label=f"{label} (right axis)")
    high = max(1.25 * distances.max(), TINY)
    other.set(ylabel=label, ylim=(-0.08 * high, high))
    axes.legend(handles=[left, right], loc="upper right", fontsize="small")


def _build(options: NoOptions) -> Any:
    return toy_curve


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="toy_curve",
            place=140,
            factory=_build,
            summary="the path of generated points through a Gaussian mixture: a picture, and the peaks it passes",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.1, Fig. 1",
        )
    ]
