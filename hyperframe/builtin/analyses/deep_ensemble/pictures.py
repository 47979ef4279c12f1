"""Pictures of the comparison with deep ensembles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis import COLOURS, keep_picture, new_figure
from hyperframe.analysis.plots import size_axis
from hyperframe.runtime.progress import quantity

STYLES = {False: (COLOURS[1], "s"), True: (COLOURS[2], "^")}
"""Colours and markers of references with last and with averaged weights."""


def weights_of(reference: Mapping[str, Any]) -> str:
    """Say which weights a reference's networks have."""
    return "averaged weights" if reference["averaged"] else "last weights"


def draw_curves(folder: Path, found: Mapping[str, Any], words: str) -> dict[str, str]:
    """Draw the calibrated NLL against the number of networks, for the run and for the references."""
    figure = new_figure()
    axes = figure.add_subplot()
    own, references = found["ensembles"]["calibrated_nll"], found["references"]
    axes.plot(found["sizes"], own, "o-", color=COLOURS[0], markersize=4, label="generated networks of one training")
    for averaged, (colour, marker) in STYLES.items():
        rows = [one for one in references if one["averaged"] is averaged]
        if rows:
            counts, values = ([one[key] for one in rows] for key in ("networks", "calibrated_nll"))
            label = f"independently trained networks, {weights_of(rows[0])}"
            axes.plot(counts, values, f"{marker}--", color=colour, markersize=5, label=label)
    axes.axhline(own[-1], color="0.6", linestyle=":", linewidth=1)
    size_axis(axes, sorted({*found["sizes"], *(one["networks"] for one in references)}))
    axes.set_ylabel("NLL at the best temperature, nats")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    caption = (
        "Log-likelihood of ensembles of generated networks, and of deep ensembles that each took "
        f"{found['budget']:,} gradient evaluations: an ensemble of {found['sizes'][-1]} is worth {words}."
    )
    return keep_picture(folder, "equivalent.png", figure, title="Ensembles of one budget", caption=caption)


def draw_differences(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw the paired difference to each reference with its interval."""
    references = found["references"]
    figure = new_figure(height=1.2 + 0.35 * len(references))
    axes = figure.add_subplot()
    for row, one in enumerate(references):
        colour, marker = STYLES[one["averaged"]]
        axes.plot(one["interval"], [row, row], color=colour, linewidth=2)
        axes.plot(one["difference"], row, marker, color=colour, markersize=6)
    axes.axvline(0, color="0.6", linestyle=":", linewidth=1)
    words = [f"{one['networks']} × {quantity(one['steps'], 'step')}, {weights_of(one)}" for one in references]
    axes.set_yticks(range(len(references)), words)
    axes.invert_yaxis()
    axes.set_xlabel("NLL, generated less deep ensemble, nats (left: generated is better)")
    axes.spines[["top", "right"]].set_visible(False)
    best = references[found["best"]]
    low, high = best["interval"]
    caption = (
        f"Paired differences over {found['examples']:,} test examples, with 95 % intervals by bootstrap over examples "
        f"and draws; to the best deep ensemble, {quantity(best['networks'], 'network')} with {weights_of(best)}, it is "
        f"{best['difference']:+.4f} [{low:+.4f}, {high:+.4f}] nats."
    )
    return keep_picture(folder, "differences.png", figure, title="Against deep ensembles", caption=caption)
