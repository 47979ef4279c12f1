"""Averages of generated weights: one network in place of many, by Polyak-Ruppert averaging over draws."""

import math
from collections.abc import Iterable, Iterator

import torch

from hyperframe.analysis.requirements import has_latent
from hyperframe.errors import RunError
from hyperframe.networks.generator import split_latent
from hyperframe.networks.sampled import Networks
from hyperframe.runs.run import Run
from hyperframe.runtime.rng import stream
from hyperframe.targets.weights import batch_size
from hyperframe.types import Weights


def running_mean(parts: Iterable[Weights]) -> Weights:
    """Return the mean of networks that come in parts, of which only one is held at a time.

    θ̄_n = θ̄_{n−1} + (θ_n − θ̄_{n−1}) / n, in float64, here for all networks of a part at once. The mean of equal networks
    is that network, bit for bit.

    Args:
        parts: one or more, each for each layer [networks, filters, filter_size].

    Returns:
        For each layer [1, filters, filter_size], in the parts' dtype.

    References: B. Polyak (1990); D. Ruppert (1988), Efficient Estimations from a Slowly Convergent Robbins-Monro
    Process.

    Example:
        >>> parts = [{"fc": torch.tensor([[[1.0]], [[2.0]]])}, {"fc": torch.tensor([[[6.0]]])}]
        >>> running_mean(parts)["fc"]
        tensor([[[3.]]])
    """
    mean: Weights = {}
    seen, kinds = 0, {}
    for part in parts:
        if not mean:
            mean = {layer: value[:1].double() for layer, value in part.items()}
            kinds = {layer: value.dtype for layer, value in part.items()}
        seen += batch_size(part)
        mean = {
            layer: value + (part[layer].double() - value).sum(0, keepdim=True) / seen for layer, value in mean.items()
        }
    if not mean:
        raise ValueError("there is no mean of no networks")
    return {layer: value.to(kinds[layer]) for layer, value in mean.items()}


def check_scale(run: Run, scale: float) -> None:
    """Check that z can be multiplied by a scale; raises `RunError`."""
    if not 0 <= scale < math.inf:
        raise RunError(f"the scale that z is multiplied by is a number, at least 0, and not {scale:g}")
    if scale != 1 and not has_latent(run):
        raise RunError(
            f"the generator '{run.config.generator.name}' of {run.folder} has no vector z that could be multiplied by "
            f"{scale:g}; take the scale 1"
        )


def average(run: Run, count: int, seed: int | None = None, *, scale: float = 1.0, gauge: bool = False) -> Networks:
    """Average generated weights into one network: (1/n) Σ_i G(σ z_i).

    With σ = 1 the averaged networks are those that `Run.sample` draws with the same seed; with σ = 0 all of them are
    G(0). A target's statistics are estimated anew for the mean. The mean of good networks need not be good: the set
    they are drawn from is curved, and symmetries give one function many weights.

    Args:
        run: the run.
        count: how many networks n are averaged.
        seed: of the draws; by default `evaluation.seed`.
        scale: σ.
        gauge: average the weights' representatives under the run's gauges.

    Returns:
        The one network.

    Raises:
        RunError: σ is not 1, and the generator's z is no vector.

    References: section 4.4, where z is drawn from N(0, σI); σ is read as the standard deviation, not the variance.
    """
    check_scale(run, scale)
    return run.networks_of(running_mean(_draw_parts(run, count, seed, scale, gauge)), seed)


@torch.no_grad()
def _draw_parts(run: Run, count: int, seed: int | None, scale: float, gauge: bool) -> Iterator[Weights]:
    """Draw the networks to average, some at a time."""
    experiment = run.experiment
    rng = stream(run.config.evaluation.seed if seed is None else seed, "sample", experiment.device)
    for z in split_latent(experiment.generator, experiment.generator.latent(count, rng)):
        weights = experiment.generator(z if scale == 1 else scale * z)
        yield experiment.gauge(weights) if gauge else weights
