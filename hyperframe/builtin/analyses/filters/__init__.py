"""The analysis `filters`: drawn filters as images, those that differ most and those that differ least (Fig. 3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Run, hookimpl, option
from hyperframe.analysis import check_count, keep_picture, new_figure
from hyperframe.builtin.analyses.filters.slices import slice_shape, slices_of, spreads
from hyperframe.errors import NotApplicableError
from hyperframe.networks.sampled import draw_weights
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import stream

SIDE = 5
"""Samples are shown in a square of SIDE × SIDE."""

SHADED = 0.98
"""The part of the weights that the colours resolve; larger ones all get the darkest, or few would hide the rest."""

LAYERS_SHOWN = 6


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(100, "how many networks are drawn, of which the first 25 are shown", minimum=2)


class Filters:
    """Shows slices of filters in gauge, one channel of one filter each, in many networks.

    For each convolution these are the slice with the greatest spread and the one with the smallest; for a dense layer
    that reads images, or flattened channels, its rows take the place of slices. The spread, see
    `hyperframe.builtin.analyses.filters.slices.spreads`, is 0 where a slice is the same in all networks, and 1 where
    its mean is zero. Slices that are zero in all networks are left out.

    Returns:
        `networks`; `layers`, for each layer `slices`, their number, `spread`, its mean over them, and `most` and
        `least`: `filter`, `channel` and `spread` of each.

    Raises:
        NotApplicableError: the target has no filters that are images; the generator holds one network.

    References: section 4.2.2, Fig. 3.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    @torch.no_grad()
    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Analyse a run; see the class."""
        experiment = run.experiment
        spec = experiment.target.spec
        if not any(slice_shape(spec, layer) for layer in spec.layers):
            raise NotApplicableError(
                f"analysis 'filters' does not apply: it shows filters as images, but target '{spec.name}' of run "
                f"{run.folder.name} has none of these"
            )
        count = check_count(run, "filters", self._options.networks, least=2)
        rng = stream(run.config.evaluation.seed, "filters", experiment.device)
        slices = slices_of(spec, experiment.gauge(draw_weights(experiment.generator, count, rng)))
        layers = {name: _results(own) for name, own in slices.items()}
        shown = [name for name, own in layers.items() if own["most"]][:LAYERS_SHOWN]
        pictures = [
            keep_picture(
                folder,
                f"filters_{number + 1}.png",
                _figure(slices[name], layers[name]),
                title=f"Filters of layer {name}",
                caption=_sentence(layers[name], min(SIDE**2, count)),
            )
            for number, name in enumerate(shown)
        ]
        return {
            "networks": count,
            "layers": layers,
            "highlights": {
                f"spread of slices, layer {name}": f"{layers[name]['least']['spread']:.2f} to "
                f"{layers[name]['most']['spread']:.2f}"
                for name in shown[:4]
            },
            "pictures": pictures,
        }


def _results(slices: Tensor) -> dict[str, Any]:
    """Find the spread of slices [networks, filters, channels, height, width], and those with most and least of it."""
    found = spreads(slices)
    there = (slices != 0).any(0).flatten(2).any(-1)
    ends: dict[str, Any] = {"most": None, "least": None}
    if there.any():
        most = int(found.masked_fill(~there, -1).argmax())
        least = int(found.masked_fill(~there, 2).argmin())
        for name, place in (("most", most), ("least", least)):
            row, channel = divmod(place, found.shape[1])
            ends[name] = {"filter": row, "channel": channel, "spread": float(found[row, channel])}
    return {"slices": found.numel(), "spread": float(found.mean()), **ends}


def _sentence(layer: Mapping[str, Any], shown: int) -> str:
    most, least = layer["most"], layer["least"]
    return (
        f"The same slice in {quantity(shown, 'drawn network')}, in gauge: left the one of {layer['slices']:,} that "
        f"differs most between networks, spread {most['spread']:.2f}, right the one that differs least, "
        f"{least['spread']:.2f} (0: always the same, 1: no common part)."
    )


def _figure(slices: Tensor, layer: Mapping[str, Any]) -> Any:
    """Draw two squares of samples; all samples of a square share its colours."""
    from matplotlib import colormaps  # noqa: PLC0415  (takes a second, and only pictures need it)

    colours = colormaps["RdBu_r"].with_extremes(bad="0.82")
    figure = new_figure(7.0, 3.6)
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("most", "least"), strict=True):
        of = layer[name]
        samples = slices[: SIDE**2, of["filter"], of["channel"]].cpu()
        sizes = samples.abs()
        largest = float(sizes.max())
        edge = float(sizes.quantile(SHADED)) or largest
        shades = axes.imshow(_tile(samples), cmap=colours, vmin=-edge, vmax=edge, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(
            f"{name} diverse: filter {of['filter']}, channel {of['channel']}\nspread {of['spread']:.2f}",
            fontsize="medium",
        )
        label, beyond = "weight in gauge" if name == "least" else None, "both" if edge < largest else "neither"
        figure.colorbar(shades, ax=axes, shrink=0.75, label=label, extend=beyond)
    return figure


def _tile(samples: Tensor) -> Any:
    """Lay out samples [25 or fewer, height, width] in rows of five, with gaps of NaN between them."""
    height, width = samples.shape[1:]
    gap = max(1, height // 5)
    rows = -(-len(samples) // SIDE)
    tiles = torch.full((rows * (height + gap) - gap, SIDE * (width + gap) - gap), torch.nan)
    for number, sample in enumerate(samples):
        top, left = (number // SIDE) * (height + gap), (number % SIDE) * (width + gap)
        tiles[top : top + height, left : left + width] = sample
    return tiles.numpy()


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="filters",
            place=100,
            factory=Filters,
            options=Options,
            summary="drawn filters as images: the slices that differ most and least between networks",
            reference="L. Deutsch, E. Nijkamp, Y. Yang (2019), arXiv:1905.02898, section 4.2.2, Fig. 3",
        )
    ]
