"""The analysis `pruning`: accuracy of drawn networks whose smallest weights are set to zero."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe import Component, Data, Networks, Run, Weights, hookimpl, option
from hyperframe.analysis import COLOURS, check_classifies, in_parts, keep_picture, new_figure
from hyperframe.analysis.scoring import some_examples
from hyperframe.errors import NotApplicableError
from hyperframe.experiment.evaluation import measure
from hyperframe.runtime.progress import quantity
from hyperframe.targets import TargetSpec

NAME = "pruning"
FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
POINT = 0.01
"""The loss of accuracy that is accepted where it is said how many weights can be zero."""

WHO = {"single": "one network, mean", "ensemble": "ensemble"}


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(50, "networks that are drawn; all that the generator holds where these are fewer", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)


class Pruning:
    """Sets the smallest weights of each drawn network to zero, and measures single networks and the ensemble.

    The networks are representatives under the run's gauges, since a weight can be made as small as one likes by a
    symmetry that changes no output. Compared are the absolute values of all kernels of a network together; biases,
    scales and shifts stay, and so do weights that are never trained. Nothing is trained again, but the statistics of a
    target's normalisations are estimated anew for the weights that are left. The ensemble answers by mean probability.

    References: S. Han, J. Pool, J. Tran, W. J. Dally (2015), Learning both Weights and Connections for Efficient Neural
        Networks.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Measure a run's networks at each fraction of zeros.

        Returns:
            `networks`, `examples`; `kernel_weights` of one network; `fractions` of them that are set to zero, and
            `zeros`, their numbers; `single`, for each fraction mean, std, min and max of the networks' accuracies;
            `ensemble`, for each fraction the accuracy; `within_a_point`, for both the greatest of the fractions that
            costs at most one point of accuracy.

        Raises:
            NotApplicableError: the task has no classes, or the target no kernel that is trained.
        """
        check_classifies(run, NAME)
        spec, seed = run.experiment.target.spec, run.config.evaluation.seed
        size = sum(layer.filters * layer.fan_in for layer in spec.trained.layers)
        if not size:
            raise NotApplicableError(
                f"analysis '{NAME}' does not apply: target '{spec.name}' of run {run.folder.name} trains no kernel"
            )
        data = some_examples(run.data("test"), self.options.examples, seed)
        count = run.experiment.generator.at_most(self.options.networks)
        weights = run.sample(count, gauge=True).weights

        def part(number: int) -> dict[str, Any]:
            return accuracies_of(run, run.networks_of(prune(spec, weights, FRACTIONS[number])), data)

        parts = in_parts(folder, "fractions of zeros", len(FRACTIONS), part)
        accuracies = {
            "single": [one["single"]["mean"] for one in parts],
            "ensemble": [one["ensemble"] for one in parts],
        }
        results = {
            "networks": count,
            "examples": len(data),
            "kernel_weights": size,
            "fractions": list(FRACTIONS),
            "zeros": [zeros_of(fraction, size) for fraction in FRACTIONS],
            "single": [one["single"] for one in parts],
            "ensemble": accuracies["ensemble"],
            "within_a_point": {who: greatest_within(values, POINT) for who, values in accuracies.items()},
        }
        return {**results, **_show(folder, results, accuracies)}


def zeros_of(fraction: float, size: int) -> int:
    """How many of `size` weights a fraction is, rounded."""
    return round(fraction * size)


def prune(spec: TargetSpec, weights: Weights, fraction: float) -> Weights:
    """Set the smallest kernel weights of each network to zero, by absolute value; of equal ones the first.

    Args:
        spec: the target's.
        weights: for each layer [networks, filters, filter_size]; they are left as they are.
        fraction: of the kernel weights of the layers that are trained, all together.

    Example:
        >>> from hyperframe.targets import LayerSpec, bias, kernel
        >>> params = [kernel("weight", "o i", shape=(2, 2)), bias("bias", shape=(2,))]
        >>> layer = LayerSpec(name="fc", filters=2, params=params)
        >>> spec = TargetSpec(name="one", input_shape=(2,), num_outputs=2, layers=[layer])
        >>> prune(spec, {"fc": torch.tensor([[[3.0, -1.0, 0.1], [-4.0, 2.0, 0.2]]])}, 0.5)["fc"]
        tensor([[[ 3.0000,  0.0000,  0.1000],
                 [-4.0000,  0.0000,  0.2000]]])
    """
    kernels = {layer.name: layer.columns["kernel"] for layer in spec.trained.layers if layer.fan_in}
    own = {name: weights[name][..., columns] for name, columns in kernels.items()}
    sizes = torch.cat([kernel.abs().flatten(1) for kernel in own.values()], 1)
    smallest = sizes.argsort(dim=1, stable=True)[:, : zeros_of(fraction, sizes.shape[1])]
    zero = torch.zeros_like(sizes, dtype=torch.bool).scatter_(1, smallest, value=True)
    pruned = {name: values.clone() for name, values in weights.items()}
    for (name, kernel), marks in zip(own.items(), zero.split([one[0].numel() for one in own.values()], 1), strict=True):
        pruned[name][..., kernels[name]] = kernel.masked_fill(marks.view(kernel.shape), 0.0)
    return pruned


def accuracies_of(run: Run, networks: Networks, data: Data) -> dict[str, Any]:
    """Measure the accuracies of networks, mean, std, min and max under `single`, and of their mean probability."""
    results = measure(run.experiment, networks, data)
    return {"single": results["accuracy"], "ensemble": results["ensemble"]["mean_probability"]}


def greatest_within(accuracies: Sequence[float], cost: float) -> float:
    """Return the greatest fraction whose accuracy is at most `cost` below that of the first, which is 0.

    Example:
        >>> greatest_within([0.98, 0.98, 0.975, 0.96, 0.9, 0.5, 0.3, 0.1, 0.1, 0.1, 0.1], 0.01)
        0.2
    """
    within = zip(FRACTIONS, accuracies, strict=True)
    return max(fraction for fraction, accuracy in within if accuracy >= accuracies[0] - cost - 1e-9)


def _show(folder: Path, results: Mapping[str, Any], accuracies: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Highlights and the picture."""
    figure = new_figure()
    axes = figure.add_subplot()
    at = [100 * fraction for fraction in FRACTIONS]
    for (who, words), colour in zip(WHO.items(), COLOURS, strict=False):
        axes.plot(at, [100 * one for one in accuracies[who]], "o-", color=colour, markersize=4, label=words)
    mean, std = (torch.tensor([100 * one[key] for one in results["single"]]) for key in ("mean", "std"))
    axes.fill_between(at, mean - std, mean + std, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.set(xlabel="kernel weights that are zero, %", ylabel="test accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    fractions = {who: f"{100 * fraction:g} %" for who, fraction in results["within_a_point"].items()}
    before = {who: f"{100 * values[0]:.2f} %" for who, values in accuracies.items()}
    caption = (
        f"Accuracy of {quantity(results['networks'], 'network')}, mean ± deviation, and of their ensemble on "
        f"{results['examples']} test examples, with the smallest of {results['kernel_weights']:,} kernel weights in "
        f"gauge set to zero. With {fractions['single']} zeros single networks lose at most one point of "
        f"{before['single']}, and with {fractions['ensemble']} the ensemble of {before['ensemble']}."
    )
    title = "The smallest weights set to zero"
    return {
        "highlights": {
            "zeros that cost at most one point: one network, ensemble": ", ".join(fractions.values()),
            "accuracy without zeros: one network, ensemble": ", ".join(before.values()),
        },
        "pictures": [keep_picture(folder, "pruning.png", figure, title=title, caption=caption)],
    }


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=125,
            factory=Pruning,
            options=Options,
            summary="accuracy of one network and the ensemble with the smallest weights set to zero",
            reference="S. Han, J. Pool, J. Tran, W. J. Dally (2015), Learning both Weights and Connections",
        )
    ]
