"""The analysis `unit_diversity`: how much each filter varies between networks, and how strongly its unit is read."""

from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe import Component, hookimpl, option
from hyperframe.analysis import COLOURS, check_count, keep_picture, new_figure
from hyperframe.builtin.analyses.unit_diversity.units import LayerUnits, layer_units
from hyperframe.errors import NotApplicableError
from hyperframe.metrics import in_percent
from hyperframe.networks.sampled import draw_weights
from hyperframe.runtime.rng import stream
from hyperframe.targets import slice_weights
from hyperframe.targets.symmetry.matching import Matching

LEAST = 1e-3
"""The smallest strength in the picture, relative to the mean; weaker units are drawn at it."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(100, "networks that are drawn", minimum=2)
    weak: float = option(0.1, "units read with less than this part of the mean strength are weak", above=0, below=1)


class UnitDiversity:
    """Measures the spread of each filter over drawn networks, and how strongly its unit is read.

    Diversity is of no use in a filter whose output the next layer hardly reads, and a generator that is rewarded for
    diversity can put it there. The networks are representatives under the run's gauges, with their units matched to
    those of the first one. The spread of a filter is its standard deviation over the networks, relative to its norm;
    the strength is the norm of the weights that read its unit, relative to the mean of the layer's units.

    Returns:
        `layers`: for each layer the spread and the mean strength of every unit, the mean spread, `weak_units`, the
        share of units that are weak, counted in each network, and `weak_diversity`, the share of all squared deviations
        that lies in weak units; `weak_units` and `weak_diversity` also for all layers together.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Measure a run's filters; see the class."""
        experiment = run.experiment
        count = check_count(run, "unit_diversity", self._options.networks, least=2)
        with torch.no_grad():
            rng = stream(run.config.evaluation.seed, "sample", experiment.device)
            weights = experiment.gauge(draw_weights(experiment.generator, count, rng))
            matched = Matching(experiment.orbits, slice_weights(weights, slice(0, 1)))(weights)
            found = layer_units(experiment.orbits, matched)
        if not found:
            raise NotApplicableError(
                "analysis 'unit_diversity' does not apply: no layer of target "
                f"'{experiment.target.spec.name}' of run {run.folder.name} writes units that are known to be read by "
                "another one"
            )
        results = _results(found, self._options.weak)
        return {"networks": count, **results, **_illustrate(folder, found, results, self._options.weak)}


def _results(found: list[LayerUnits], weak: float) -> dict[str, Any]:
    layers = {}
    for units in found:
        whole, part = units.weak_part(weak)
        layers[units.layer] = {
            "filters": units.filters.tolist(),
            "spread": units.spread.tolist(),
            "strength": units.strength.mean(0).tolist(),
            "mean_spread": float(units.spread.mean()),
            "weak_units": float((units.strength < weak).double().mean()),
            "weak_diversity": _share(float(part), float(whole)),
        }
    sums = torch.stack([torch.stack(units.weak_part(weak)) for units in found]).sum(0)
    few = torch.cat([(units.strength < weak).flatten() for units in found])
    return {
        "layers": layers,
        "weak_units": float(few.double().mean()),
        "weak_diversity": _share(float(sums[1]), float(sums[0])),
    }


def _share(part: float, whole: float) -> float:
    """Return part / whole; 0 where the whole is 0."""
    return part / whole if whole else 0.0


def _illustrate(folder: Path, found: list[LayerUnits], results: dict[str, Any], weak: float) -> dict[str, Any]:
    """Write the picture; return it with the highlights."""
    diversity, share = (in_percent(results[key], 1) for key in ("weak_diversity", "weak_units"))
    below = f"read with less than {in_percent(weak, 0)}"
    caption = (
        f"{diversity} of the diversity is in units that are {below} of the mean strength, and {share} of all units are "
        "such; large points are filters, small ones those of single networks."
    )
    spreads = {units.layer: f"{float(units.spread.mean()):.2f}" for units in found}
    ends = [found[0].layer] if len(found) == 1 else [found[0].layer, found[-1].layer]
    title = "Spread of each filter over networks, and how strongly its unit is read"
    return {
        "highlights": {
            f"diversity in units {below}": diversity,
            f"units {below}": share,
            **{f"mean spread of a filter, {layer}": spreads[layer] for layer in ends},
        },
        "pictures": [keep_picture(folder, "units.png", _figure(found, weak), title=title, caption=caption)],
    }


def _figure(found: list[LayerUnits], weak: float) -> Any:
    """Draw large points for filters, small ones for single networks; many layers are coloured by their depth."""
    from matplotlib import colormaps  # noqa: PLC0415  (slow to import)

    figure = new_figure()
    axes, shades = figure.subplots(), colormaps["viridis"]
    few = len(found) <= len(COLOURS)
    named = {0, len(found) // 2, len(found) - 1}
    for number, units in enumerate(found):
        colour = COLOURS[number] if few else shades(number / (len(found) - 1))
        each = units.strength.clamp(min=LEAST).flatten(), units.deviation.sqrt().flatten()
        axes.scatter(*each, s=2, alpha=0.35, zorder=1, color=colour, linewidth=0)
        label = units.layer if few or number in named else None
        look = {"s": 30, "zorder": 2, "color": colour, "edgecolor": "white", "linewidth": 0.5, "label": label}
        axes.scatter(units.strength.mean(0).clamp(min=LEAST), units.spread, **look)
    axes.axvline(weak, color="#999999", linewidth=1, linestyle="--", label=f"{in_percent(weak, 0)} of the mean")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel="strength with which the unit is read (mean of the layer = 1)",
        ylabel="spread of the filter (relative to its norm)",
        ylim=(0, None),
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    return figure


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name="unit_diversity",
            place=120,
            factory=UnitDiversity,
            options=Options,
            summary="how much each filter varies over networks, beside how strongly its unit is read",
        )
    ]
