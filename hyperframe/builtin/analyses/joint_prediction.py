"""The analysis `joint_prediction`: how likely several labels at once are to an ensemble, as it grows."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, Networks, Run, hookimpl, option
from hyperframe.analysis import COLOURS, check_likelihood, keep_picture, new_figure
from hyperframe.analysis.ensemble_metrics import growing_sizes
from hyperframe.analysis.plots import size_axis
from hyperframe.analysis.scoring import some_examples
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import stream

NAME = "joint_prediction"
KINDS = ("joint", "marginal")
AT_ONCE = 1 << 22
"""Numbers, networks · inputs of the batches, that are held at once."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    networks: int = option(100, "networks of the largest ensemble", minimum=1, maximum=1_000_000)
    batches: int = option(1000, "batches of inputs whose labels are predicted together", minimum=2)
    inputs: int = option(10, "τ, inputs of a batch", minimum=1)
    anchors: int = option(2, "κ, test examples that the inputs of a batch are drawn from", minimum=1)
    examples: int = option(1000, "test examples, at most", minimum=1)


class JointPrediction:
    """The joint log-loss of τ inputs around κ anchors, beside the marginal one, of ensembles of 1, 2, 5, … networks.

    For a batch, κ anchors are drawn among the test examples and τ inputs among the anchors, both with replacement, with
    the anchors' labels. With the likelihoods p_i(y_t | x_t) of N networks,

        joint = −log (1/N) Σ_i Π_t p_i(y_t | x_t),    marginal = −Σ_t log (1/N) Σ_i p_i(y_t | x_t),

    in nats a batch; the mean over the batches. Both are the same for one network. The marginal loss cannot tell an
    ensemble whose networks all doubt a label from one of sure networks that disagree. The joint loss can: after one
    label of an input, only the latter knows the next label of the same input, as is needed where one explores or
    chooses what to label. If one of N networks is sure of all labels of a batch, and right, the ensemble's joint loss
    is at most log N, however many inputs the batch has.

    The loss of n networks is the mean over as many disjoint ensembles of n as the drawn networks give.

    References: I. Osband et al. (2022), The Neural Testbed: Evaluating Joint Predictions; the same (2022), Evaluating
    High-Order Predictive Distributions in Deep Learning, for dyadic sampling, which is κ = 2.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, run: Run, folder: Path) -> dict[str, Any]:
        """Draw networks and batches, and measure them.

        Returns:
            `networks`, `examples`, `batches`, `inputs`, `anchors`; the `sizes` of ensembles; `joint` and `marginal`,
            for each size `loss` in nats a batch, the `standard_error` of this mean over the batches, of these networks
            and test examples, and `per_input`, the loss divided by τ.

        Raises:
            NotApplicableError: the task's loss is no negative log-likelihood.
        """
        check_likelihood(run, NAME)
        seed = run.config.evaluation.seed
        networks = run.sample(run.experiment.generator.at_most(self.options.networks), seed)
        data = some_examples(run.data("test"), self.options.examples, seed)
        sizes = growing_sizes(len(networks))
        inputs = draw_batches(len(data), self.options, stream(seed, "joint prediction"))
        losses = joint_losses(log_likelihoods_of(networks, data), inputs, sizes)
        results = {
            "networks": len(networks),
            "examples": len(data),
            "batches": self.options.batches,
            "inputs": self.options.inputs,
            "anchors": self.options.anchors,
            "sizes": sizes,
            **{kind: [_summary(row, self.options.inputs) for row in losses[kind]] for kind in KINDS},
        }
        return {**results, **_show(folder, results)}


def draw_batches(examples: int, options: Options, rng: torch.Generator) -> Tensor:
    """The numbers of the examples in each batch, int64 [batches, inputs]: drawn among anchors that are drawn before."""
    anchors = torch.randint(examples, (options.batches, options.anchors), generator=rng)
    return anchors.gather(1, torch.randint(options.anchors, (options.batches, options.inputs), generator=rng))


@torch.no_grad()
def log_likelihoods_of(networks: Networks, data: Data) -> Tensor:
    """Each network's log p(label | input) of each example, float64 [networks, examples], on the CPU."""
    found = torch.zeros(len(networks), len(data), dtype=torch.float64)
    for first, first_example, outputs in networks.chunks(data.x):
        own = slice(first_example, first_example + outputs.shape[1])
        labels = data.y[own].to(outputs.device)
        losses = networks.task.loss(outputs.double(), labels.expand(len(outputs), *labels.shape))
        found[first : first + len(outputs), own] = -losses.cpu()
    return found


def joint_losses(log_likelihoods: Tensor, inputs: Tensor, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Joint and marginal log-losses of batches, for ensembles of several sizes.

    Args:
        log_likelihoods: of networks on examples, [networks, examples].
        inputs: numbers of the examples in each batch, [batches, inputs].
        sizes: of the ensembles, each at most the number of networks.

    Returns:
        `joint` and `marginal`, in nats, [sizes, batches] each: the mean over the disjoint ensembles of that size.

    Example:
        >>> half_right = torch.tensor([[1.0, 0.5], [0.5, 1.0]]).log()     # two networks, two examples
        >>> found = joint_losses(half_right, torch.tensor([[0, 0, 0], [0, 1, 1]]), sizes=[2])
        >>> found["joint"][0].exp().reciprocal()      # (1 + ⅛) / 2 and (¼ + ½) / 2
        tensor([0.5625, 0.3750])
        >>> found["marginal"][0].exp().reciprocal()      # ¾ · ¾ · ¾
        tensor([0.4219, 0.4219])
    """
    marginal = torch.stack([_of_ensembles(log_likelihoods, size).mean(0)[inputs].sum(-1) for size in sizes])
    at_once = max(1, AT_ONCE // (len(log_likelihoods) * inputs.shape[1]))
    parts = [log_likelihoods[:, part].sum(-1) for part in inputs.split(at_once)]
    together = torch.cat(parts, 1)
    joint = torch.stack([_of_ensembles(together, size).mean(0) for size in sizes])
    return {"joint": -joint, "marginal": -marginal}


def _of_ensembles(logarithms: Tensor, size: int) -> Tensor:
    """Logarithms of the mean of exp, over each disjoint ensemble: [networks, items] give [ensembles, items]."""
    ensembles = len(logarithms) // size
    parts: Tensor = logarithms[: ensembles * size].unflatten(0, (ensembles, size))
    return parts.logsumexp(1) - math.log(size)


def _summary(losses: Tensor, inputs: int) -> dict[str, float]:
    """The mean of losses [batches], and its standard error."""
    loss = float(losses.mean())
    return {"loss": loss, "standard_error": float(losses.std()) / len(losses) ** 0.5, "per_input": loss / inputs}


def _show(folder: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Highlights and the picture."""
    sizes, inputs = results["sizes"], results["inputs"]
    figure = new_figure()
    axes = figure.add_subplot()
    for kind, colour in zip(KINDS, COLOURS, strict=False):
        means, errors = (torch.tensor([one[key] for one in results[kind]]) for key in ("loss", "standard_error"))
        axes.plot(sizes, means, "o-", color=colour, markersize=4, label=kind)
        axes.fill_between(sizes, means - errors, means + errors, color=colour, alpha=0.15, linewidth=0)
    size_axis(axes, sizes)
    axes.set_ylabel(f"log-loss of {quantity(inputs, 'input')}, nats")
    axes.set_ylim(bottom=0 if results["joint"][-1]["loss"] > 0 else None)  # densities can be greater than 1
    axes.legend(frameon=False)
    one, (joint, marginal) = results["joint"][0], (results[kind][-1] for kind in KINDS)
    caption = (
        f"Log-loss of {quantity(inputs, 'input')} around {quantity(results['anchors'], 'test example')}, mean ± "
        f"standard error over {quantity(results['batches'], 'batch', 'batches')}: of one network {one['loss']:.3f} "
        f"nats; of {sizes[-1]} together {joint['loss']:.3f}, where {marginal['loss']:.3f} is the sum of their losses "
        "of single inputs."
    )
    return {
        "highlights": {
            f"joint log-loss of {quantity(inputs, 'input')}: one network, {sizes[-1]}": (
                f"{one['loss']:.3f}, {joint['loss']:.3f} ± {joint['standard_error']:.3f} nats"
            ),
            f"sum of the log-losses of single inputs, {quantity(sizes[-1], 'network')}": f"{marginal['loss']:.3f} nats",
        },
        "pictures": [keep_picture(folder, "joint.png", figure, title="Joint predictions", caption=caption)],
    }


@hookimpl
def hyperframe_analyses() -> list[Component]:
    """Register the analysis."""
    return [
        Component(
            name=NAME,
            place=27,
            factory=JointPrediction,
            options=Options,
            summary="how likely several labels at once are to an ensemble, beside one at a time",
            reference="I. Osband et al. (2022), The Neural Testbed: Evaluating Joint Predictions",
        )
    ]
