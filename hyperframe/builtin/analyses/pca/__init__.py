"""The analysis `pca`: how the drawn weights scatter along their principal components (Fig. 6, 10 to 16)."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Run, hookimpl, option
from hyperframe.analysis import COLOURS, check_count, keep_picture, keep_scatter, new_figure
from hyperframe.builtin.analyses.pca.components import Components, Gram
from hyperframe.networks.generator import split_latent
from hyperframe.runtime.progress import tell
from hyperframe.runtime.rng import stream
from hyperframe.targets import LayerSpec, TargetSpec

NUMBERS_AT_ONCE = 40_000_000
"""How many weights of all samples together are held at a time."""

LAYERS_SHOWN = 5
FILTERS_SHOWN = 2
POINTS_KEPT = 1000
"""The most points of each series in the interactive scatter plot."""

NETWORK = "network"


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    samples: int = option(3000, "how many networks are drawn", minimum=3)
    components: int = option(6, "principal components", minimum=2, maximum=12)


class Scatter:
    """Finds principal components of the drawn weights in gauge: of single filters, each layer, and the whole network.

    Of each layer the filter with the greatest variance is taken. Normally distributed weights have an excess kurtosis
    of 0 along each component; a sample of n points deviates from it by about √(24/n).

    Weights are drawn again for every part of the network that fits into memory, so that memory grows with samples²
    but not with samples × weights.

    Returns:
        `samples`; `series`, for each filter, layer, and the network: `entries`, its number of weights; `ratios`, the
        components' parts of its variance; `excess_kurtosis` of each; `mean_kurtosis`, the mean of their absolute
        values, and `of_normal`, the value that normally distributed weights would have on average. Where weights do not
        vary the lists are empty.

    Raises:
        NotApplicableError: the generator holds fewer than three networks.

    References: section 4.2.2, Fig. 6; Appendix J, Fig. 10 to 16.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Analyse a run; see the class."""
        experiment, options = run.experiment, self._options
        samples = check_count(run, "pca", options.samples, least=3)
        z = experiment.generator.latent(samples, stream(run.config.evaluation.seed, "pca", experiment.device))
        found = dict(series(run, z, options.components))
        entries = {name: size for name, (size, _) in found.items()}
        components = {name: of for name, (_, of) in found.items()}
        results = {
            "samples": samples,
            "series": {name: _results(entries[name], of, samples) for name, of in components.items()},
        }
        varied = {name: of for name, of in components.items() if of.points.shape[1]}
        return {**results, **_illustrate(folder, results, varied)}


def series(run: Run, z: Tensor, count: int) -> Iterator[tuple[str, tuple[int, Components]]]:
    """Yield name, number of weights and components of each series: of each layer, its filter, and the network."""
    spec = run.experiment.target.spec
    whole = Gram(len(z))
    gram, best, kept = Gram(len(z)), -1.0, (0, torch.empty(0))
    for layer, first, columns in filters_of(run, z):
        gram.add(columns.flatten(1))
        spread = columns.var(0, correction=0).sum(1)
        if float(spread.max()) > best:
            best, place = float(spread.max()), int(spread.argmax())
            kept = (first + place, columns[:, place].clone())
        if first + columns.shape[1] == layer.filters:
            yield f"layer {layer.name}", (layer.num_weights, gram.components(count))
            if layer.filters > 1 and layer.filter_size > 1:
                own = Gram(len(z))
                own.add(kept[1])
                yield f"filter {kept[0]} of {layer.name}", (layer.filter_size, own.components(count))
            whole.merge(gram)
            gram, best = Gram(len(z)), -1.0
    yield NETWORK, (spec.num_weights, whole.components(count))


@torch.no_grad()
def filters_of(run: Run, z: Tensor) -> Iterator[tuple[LayerSpec, int, Tensor]]:
    """Yield all filters of all networks in gauge, as many at a time as memory allows.

    Yields:
        The layer, the number of the first filter, and the filters [networks, filters, filter_size].
    """
    experiment = run.experiment
    passes = group_filters(experiment.target.spec, max(1, NUMBERS_AT_ONCE // len(z)))
    parts = split_latent(experiment.generator, z)
    for number, claims in enumerate(passes):
        held: list[list[Tensor]] = [[] for _ in claims]
        for drawn, part in enumerate(parts):
            tell("weights", number * len(parts) + drawn, len(passes) * len(parts))
            weights = experiment.gauge(experiment.generator(part))
            for own, (layer, filters) in zip(held, claims, strict=True):
                own.append(weights[layer.name][:, filters].clone())
        for own, (layer, filters) in zip(held, claims, strict=True):
            columns = torch.cat(own)
            own.clear()
            yield layer, filters.start, columns


def group_filters(spec: TargetSpec, size: int) -> list[list[tuple[LayerSpec, slice]]]:
    """Group the filters of all layers, in order, into groups of at most `size` weights, or of one larger filter."""
    groups: list[list[tuple[LayerSpec, slice]]] = [[]]
    left = size
    for layer in spec.layers:
        first = 0
        while first < layer.filters:
            filters = min(layer.filters - first, left // layer.filter_size)
            if filters < 1 and groups[-1]:
                groups.append([])
                left = size
                continue
            filters = max(1, filters)
            groups[-1].append((layer, slice(first, first + filters)))
            left -= filters * layer.filter_size
            first += filters
    return groups


def _results(entries: int, components: Components, samples: int) -> dict[str, Any]:
    kurtosis = components.excess_kurtosis
    return {
        "entries": entries,
        "ratios": components.ratios.tolist(),
        "excess_kurtosis": kurtosis.tolist(),
        "mean_kurtosis": float(kurtosis.abs().mean()) if len(kurtosis) else None,
        # The mean of |x| for a normal x with the deviation √(24/n).
        "of_normal": math.sqrt(24 / samples) * math.sqrt(2 / math.pi),
    }


def _illustrate(folder: Path, results: Mapping[str, Any], components: Mapping[str, Components]) -> dict[str, Any]:
    """Write the pictures; return them with the highlights."""
    if not components:
        return {"skipped": {"scatter": "the drawn weights do not differ"}}
    layers = [name for name in components if name.startswith("layer ")][:LAYERS_SHOWN]
    filters = [name for name in components if name.startswith("filter ")][:FILTERS_SHOWN]
    shown = [*filters, *layers, *([NETWORK] if NETWORK in components else [])]
    pictures = []
    for number, name in enumerate(shown):
        caption = _sentence(name, results["series"][name])
        picture = keep_picture(
            folder,
            f"pca_{number + 1}.png",
            _figure(components[name]),
            title=f"Scatter of {_title(name)}",
            caption=caption,
        )
        pictures.append(picture)
    turned = {
        name: {
            "points": [[_short(value) for value in row] for row in of.points[:POINTS_KEPT].tolist()],
            "axes": [f"component {axis + 1} ({100 * ratio:.3g} %)" for axis, ratio in enumerate(of.ratios.tolist())],
        }
        for name, of in components.items()
        if name in shown
    }
    whole = results["series"][NETWORK]
    here = min(POINTS_KEPT, results["samples"])
    caption = (
        f"Each point is a drawn network, {here:,} of {results['samples']:,}; the first component of the whole network "
        f"has {100 * whole['ratios'][0]:.1f} % of the variance."
    )
    return {
        "highlights": {
            "variance along the first component, whole network": f"{100 * whole['ratios'][0]:.1f} %",
            "mean |excess kurtosis|, whole network": f"{whole['mean_kurtosis']:.2f} (normal: {whole['of_normal']:.2f})",
        },
        "pictures": pictures,
        "interactive": [keep_scatter(folder, "pca.json", turned, title="Scatter of weights", caption=caption)],
    }


def _title(name: str) -> str:
    return "the whole network" if name == NETWORK else name


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _sentence(name: str, results: Mapping[str, Any]) -> str:
    several = len(results["ratios"])
    return (
        f"The {results['entries']:,} weights of {_title(name)} in gauge, a point for each drawn network: the first of "
        f"{several} components has {100 * results['ratios'][0]:.1f} % of the variance, all of them "
        f"{100 * sum(results['ratios']):.1f} %, and their mean |excess kurtosis| is {results['mean_kurtosis']:.2f}, "
        f"where a normal cloud has {results['of_normal']:.2f}."
    )


def _figure(components: Components) -> Any:
    """Draw component i against component j for all j < i, and a histogram of each on the diagonal."""
    points, ratios = components.points.numpy(), components.ratios.tolist()
    count = len(ratios)
    figure = new_figure(7.0, 7.0)
    figure.set_layout_engine("none")  # the constrained one takes seconds for so many panels
    grid = figure.add_gridspec(count, count, left=0.09, right=0.99, top=0.99, bottom=0.1, wspace=0.08, hspace=0.08)
    limits = [_limits(points[:, axis]) for axis in range(count)]
    alpha = min(1.0, max(0.2, 600 / len(points)))
    for row in range(count):
        for column in range(row + 1):
            axes = figure.add_subplot(grid[row, column], xticks=[], yticks=[], xlim=limits[column])
            if column == row:
                axes.hist(points[:, row], bins=40, color="0.75")
            else:
                axes.set_ylim(limits[row])
                axes.scatter(points[:, column], points[:, row], s=3, linewidths=0, color=COLOURS[0], alpha=alpha)
            if row == count - 1:
                axes.set_xlabel(f"{column + 1}\n{100 * ratios[column]:.3g} %", fontsize="small")
            if column == 0:
                axes.set_ylabel(f"{row + 1}", fontsize="small", rotation=0, labelpad=9, va="center")
    figure.supxlabel("principal component, with its part of the variance", fontsize="medium", y=0.01)
    figure.supylabel("principal component", fontsize="medium", x=0.01)
    return figure


def _limits(values: Any) -> tuple[float, float]:
    """Return limits that span all values and a little more."""
    low, high = float(values.min()), float(values.max())
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="pca",
            title="PCA",
            place=90,
            factory=Scatter,
            options=Options,
            summary="how drawn weights scatter along their principal components: filters, layers, the network",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2, Fig. 6; Appendix J",
        )
    ]
