"""The analysis `novelty`: are drawn networks new, or near copies of each other with some noise?"""

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl, option
from hyperframe.analysis import COLOURS, check_classifies, check_count, in_parts, keep_picture, keep_scatter, new_figure
from hyperframe.builtin.analyses.novelty.neighbourhood import (
    LEVELS,
    Neighbourhood,
    correlation,
    nearest_other,
    overlaps,
    pairs_of,
    reach,
)
from hyperframe.metrics import in_percent
from hyperframe.targets import concatenate, slice_weights

AT_ONCE = 10
"""Networks in one part."""

WORDS = {"drawn": "drawn networks", "noised": "noised copies of drawn ones", "averaged": "averages of nearest pairs"}
"""Kinds of networks."""

AXES = ("distance to the nearest other network", "overlap of mistakes with the most similar one", "accuracy")


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(50, "networks that are drawn; as many noised copies and about as many averages", minimum=2)


@attrs.frozen(kw_only=True, eq=False)
class Group:
    """Accuracy of some networks, and how near they are to samples in weights and in mistakes.

    Attributes:
        accuracy: of each network, [networks].
        distance: to the nearest other sample, [networks].
        overlap: of its mistakes with those of the sample that shares most of them, [networks].
    """

    accuracy: Tensor
    distance: Tensor
    overlap: Tensor

    def results(self) -> dict[str, Any]:
        """Return means and medians, and the numbers of each network."""
        return {
            "networks": len(self.accuracy),
            "accuracy": {"mean": float(self.accuracy.mean()), "std": float(self.accuracy.std(correction=0))},
            "distance": {"median": float(self.distance.median()), "min": float(self.distance.min())},
            "overlap": {"median": float(self.overlap.median()), "max": float(self.overlap.max())},
            "each": {name: getattr(self, name).tolist() for name in ("accuracy", "distance", "overlap")},
        }

    def points(self) -> list[list[float]]:
        """Return the points [networks][distance, overlap, accuracy]."""
        return torch.stack([self.distance, self.overlap, self.accuracy], 1).tolist()


class Novelty:
    """Compares drawn networks with each other, and with noised copies and averages of them.

    All networks are representatives under the run's gauges; units are matched for every pair. The distance of two
    networks is that of their weights, in units of the drawn networks' mean norm. The noise on a copy has, in each
    layer, a norm of 3⁻⁵ to 1 times the median distance of a drawn network to its nearest other one. Averages are of
    each network with its nearest one. A drawn network is compared with all other drawn ones, a copy or an average with
    all drawn ones. The mistakes are those on test examples; the overlap is the intersection of two sets over their
    union.

    Returns:
        `drawn`, `noised` and `averaged`: accuracy, distance to the nearest sample, overlap with the most similar one;
        `levels` of the noise; `reach`, the distance at which noise costs more accuracy than one standard deviation of
        the drawn networks' accuracy (None if it never does), and `overlap_at_reach`; `ratio`, the drawn networks'
        distance divided by `reach`; `correlation` of distance and overlap over all pairs, and of distance and accuracy;
        `verdict` in words; `not_fixed`, the symmetries that no gauge of the run fixes, which therefore add to
        distances.

    References: arXiv:2506.07998, with the nearest other sample for the nearest checkpoint that a generator learnt from.
    """

    def __init__(self, options: Options) -> None:
        self._networks = options.networks

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Compare a run's networks; see the class."""
        check_classifies(run, "novelty")
        count = check_count(run, "novelty", self._networks, least=2)
        around = Neighbourhood(run.experiment.orbits, run.sample(count, gauge=True).weights)
        singles: list[tuple[int, ...]] = [(number,) for number in range(count)]
        wrong, distances = _measure(run, folder, "drawn networks", around, singles, None)
        nearest, which = nearest_other(distances)
        typical = float(nearest.median())
        alike = overlaps(wrong, wrong)
        groups = {"drawn": _group(wrong, nearest, alike.clone().fill_diagonal_(-1.0))}
        baselines: dict[str, list[tuple[int, ...]]] = {"noised": singles, "averaged": [*pairs_of(which.tolist())]}
        for name, members in baselines.items():
            found, apart = _measure(run, folder, f"{name} networks", around, members, typical)
            groups[name] = _group(found, apart.amin(1), overlaps(found, wrong))
        results = _results(groups, typical)
        above = torch.triu_indices(count, count, 1).unbind()
        results["correlation"] = {
            "distance_and_overlap": correlation(torch.minimum(distances, distances.T)[above], alike[above]),
            "distance_and_accuracy": correlation(groups["drawn"].distance, groups["drawn"].accuracy),
        }
        fixed, counts = run.experiment.gauge.fixed(run.experiment.orbits.counts), run.experiment.orbits.counts
        left = [kind for kind, number in counts.items() if number and not fixed[kind] and kind != "permutation"]
        return {**results, "not_fixed": left, **_illustrate(folder, groups, results)}


def _measure(
    run: Any,
    folder: Path,
    what: str,
    around: Neighbourhood,
    members: list[tuple[int, ...]],
    typical: float | None,
) -> tuple[Tensor, Tensor]:
    """Find the test examples that networks get wrong, bool [networks, examples], and distances [networks, samples].

    Args:
        run: the run of the samples.
        folder: for the parts.
        what: a name for the parts.
        around: the samples.
        members: for each network the samples it is made from; made from two it is their average.
        typical: the distance that the noise on copies of single samples is relative to; None for no noise.
    """
    data = run.data("test")

    def work(number: int) -> dict[str, Any]:
        first = AT_ONCE * number
        weights = _build_networks(run, around, members[first : first + AT_ONCE], typical)
        networks = run.networks_of(weights)
        wrong = networks.gathered(data.x, lambda outputs: outputs.argmax(-1)).cpu() != data.y.cpu()
        return {
            "wrong": [np.packbits(row).tobytes().hex() for row in wrong.numpy()],
            "distances": around.distances(weights).tolist(),
        }

    parts = in_parts(folder, what, -(-len(members) // AT_ONCE), work)
    rows = [np.frombuffer(bytes.fromhex(row), dtype=np.uint8) for part in parts for row in part["wrong"]]
    wrong = torch.from_numpy(np.unpackbits(np.stack(rows), axis=1, count=len(data)).astype(bool))
    return wrong, torch.tensor([row for part in parts for row in part["distances"]], dtype=torch.float64)


@torch.no_grad()
def _build_networks(run: Any, around: Neighbourhood, members: list[tuple[int, ...]], typical: float | None) -> Weights:
    """Make the networks for `_measure`, as representatives under the run's gauges."""
    if typical is None:
        return slice_weights(around.samples, torch.tensor([one for (one,) in members]))
    made = []
    for samples in members:
        if len(samples) == 1:
            level = LEVELS[samples[0] % len(LEVELS)]
            made.append(around.add_noise(samples[0], level * typical, run.config.evaluation.seed))
        else:
            made.append(around.average(*samples))
    gauged: Weights = run.experiment.gauge(concatenate(made))
    return gauged


def _group(wrong: Tensor, distance: Tensor, alike: Tensor) -> Group:
    return Group(accuracy=1 - wrong.double().mean(1), distance=distance, overlap=alike.amax(1))


def _results(groups: dict[str, Group], typical: float) -> dict[str, Any]:
    """Return the numbers, and the verdict in words."""
    drawn, noised = groups["drawn"], groups["noised"]
    allowed = float(drawn.accuracy.std(correction=0))
    levels = []
    for number, level in enumerate(LEVELS):
        rows = slice(number, None, len(LEVELS))
        if len(noised.distance[rows]):
            loss = (drawn.accuracy - noised.accuracy)[rows]
            levels.append(
                {
                    "amplitude": level * typical,
                    "distance": float(noised.distance[rows].median()),
                    "accuracy": float(noised.accuracy[rows].mean()),
                    "loss": float(loss.mean()),
                    "overlap": float(noised.overlap[rows].median()),
                }
            )
    far = reach([one["distance"] for one in levels], [one["loss"] for one in levels], allowed)
    at_reach = None
    if far is not None:
        places = [0.0, *(one["distance"] for one in levels)]
        at_reach = float(np.interp(far, places, [1.0, *(one["overlap"] for one in levels)]))
    ratio = typical / far if far else None
    return {
        **{name: group.results() for name, group in groups.items()},
        "levels": levels,
        "reach": far,
        "overlap_at_reach": at_reach,
        "ratio": ratio,
        "verdict": _verdict(typical, far, float(drawn.overlap.median()), at_reach),
    }


def _verdict(typical: float, far: float | None, overlap: float, at_reach: float | None) -> str:
    if far is None or at_reach is None:
        return (
            f"drawn networks are no farther from each other ({typical:.3g}) than noise that costs less than one "
            "standard deviation of their accuracy"
        )
    word = "farther from each other than" if typical > far else "no farther from each other than"
    common = "fewer" if overlap < at_reach else "no fewer"
    return (
        f"drawn networks are {word} noise that costs one standard deviation of their accuracy ({typical:.3g} against "
        f"{far:.3g}), and share {common} mistakes ({in_percent(overlap, 0)} against {in_percent(at_reach, 0)})"
    )


def _illustrate(folder: Path, groups: dict[str, Group], results: dict[str, Any]) -> dict[str, Any]:
    """Write the pictures and the interactive scatter plot; return them with the highlights."""
    drawn, verdict = results["drawn"], results["verdict"]
    sentence = verdict[0].upper() + verdict[1:] + "."
    highlights = {
        "distance to the nearest other network, relative to the norm": f"{drawn['distance']['median']:.3g}",
        "mistakes shared with the most similar network": in_percent(drawn["overlap"]["median"], 1),
        "accuracy, drawn": in_percent(drawn["accuracy"]["mean"]),
        "accuracy, averages of nearest pairs": in_percent(results["averaged"]["accuracy"]["mean"]),
        "novelty": verdict,
    }
    same = results["correlation"]["distance_and_overlap"]
    together = "" if same is None else f" Over pairs, distance and overlap correlate with {same:.2f}."
    overlaps = [in_percent(results[group]["overlap"]["median"], 0) for group in ("drawn", "noised", "averaged")]
    pictures = [
        keep_picture(
            folder,
            "distance.png",
            _scatter(groups, 0, results["reach"]),
            title="Accuracy against the distance to the nearest other network",
            caption=sentence,
        ),
        keep_picture(
            folder,
            "overlap.png",
            _scatter(groups, 1, None),
            title="Accuracy against the mistakes shared with the most similar network",
            caption=f"The median overlap of mistakes is {overlaps[0]} for drawn networks, {overlaps[1]} for noised "
            f"copies and {overlaps[2]} for averages.{together}",
        ),
    ]
    series = {name: {"axes": list(AXES), "points": group.points()} for name, group in groups.items()}
    points = keep_scatter(
        folder, "networks.json", series, title="Distance, overlap and accuracy of each network", caption=sentence
    )
    return {"highlights": highlights, "pictures": pictures, "interactive": [points]}


def _scatter(groups: dict[str, Group], axis: int, line: float | None) -> Any:
    """Draw the points of all groups: accuracy over distance (axis 0) or overlap (axis 1)."""
    figure = new_figure()
    axes = figure.subplots()
    for (name, group), colour in zip(groups.items(), COLOURS, strict=False):
        points = np.asarray(group.points())
        look = {"s": 16, "color": colour, "alpha": 0.75, "linewidth": 0, "label": WORDS[name]}
        axes.scatter(points[:, axis], 100 * points[:, 2], **look)
    if line is not None:
        axes.axvline(line, color="#999999", linewidth=1, linestyle="--", label="noise costs one standard deviation")
    units = (" (relative to the norm)", "")[axis]
    if axis == 0 and all(bool((group.distance > 0).all()) for group in groups.values()):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=AXES[axis] + units, ylabel="accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="novelty",
            place=110,
            factory=Novelty,
            options=Options,
            summary="distances between drawn networks and the mistakes they share, beside noised copies and averages",
            reference="arXiv:2506.07998",
        )
    ]
