"""Adversarial examples: inputs that are changed a little, so that a network, or an ensemble, takes them for a class."""

from collections.abc import Iterator

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe import Networks
from hyperframe.networks.sampled import EXAMPLES_AT_ONCE, select

Limits = tuple[float, float]
"""The least and the greatest number that an attack may make of an entry of the input."""

EVERYTHING: Limits = (-torch.inf, torch.inf)

OVERSHOOT = 2.5
"""A path of several steps is so many times as long as the perturbation may be; it can then turn and follow the edge."""


@attrs.frozen(kw_only=True, eq=False)
class Answers:
    """What networks answer to examples: int64 [examples] each.

    Attributes:
        vote: the class that most networks choose, the lower one of equals.
        mean: the class with the greatest mean probability.
    """

    vote: Tensor
    mean: Tensor


def answers(networks: Networks, x: Tensor) -> Answers:
    """Both answers of an ensemble to inputs [examples, *input_shape]; of one network alone the two are the same."""
    votes, mean = (torch.zeros(len(x), networks.target.spec.num_outputs, dtype=torch.float64) for _ in range(2))
    for _, first, outputs in networks.chunks(x):
        examples = slice(first, first + outputs.shape[1])
        votes[examples] += F.one_hot(outputs.argmax(-1), outputs.shape[-1]).sum(0).cpu()
        mean[examples] += outputs.softmax(-1).sum(0).double().cpu()
    return Answers(vote=votes.argmax(-1), mean=mean.argmax(-1))


def other_classes(labels: Tensor, classes: int, rng: torch.Generator) -> Tensor:
    """For each label [examples] another class, every other one with the same probability.

    Example:
        >>> other_classes(torch.tensor([0, 1, 1]), 2, torch.Generator()).tolist()
        [1, 0, 0]
    """
    shifts = torch.randint(1, classes, labels.shape, generator=rng, device=rng.device).to(labels.device)
    return (labels + shifts) % classes


def log_probability_gradient(networks: Networks, x: Tensor, targets: Tensor) -> Tensor:
    """∂ log p̄(target | x) / ∂x, where p̄ = (1/N) Σ p_n is the mean probability of N networks.

    It is Σ w_n ∂ log p_n / ∂x with the weights w_n = p_n / Σ p. All is kept as logarithms: a probability that is too
    small for a floating-point number has a gradient like any other.

    Args:
        networks: one or more; some run at a time, and what they give is added up.
        x: inputs [examples, *input_shape].
        targets: for each example a class, int64 [examples].

    Returns:
        Gradients, as `x`.
    """
    parts = zip(*(value.split(EXAMPLES_AT_ONCE[x.device.type]) for value in (x, targets)), strict=True)
    return torch.cat([_gradient(networks, *part) for part in parts])


def _gradient(networks: Networks, x: Tensor, targets: Tensor) -> Tensor:
    """The gradient for so many examples as run at a time."""
    at_once = networks.target.networks_at_once(len(x))
    total, gradient = x.new_full((len(x),), -torch.inf), torch.zeros_like(x)
    shape = (-1, *[1] * (x.dim() - 1))
    for first in range(0, len(networks), at_once):
        some = select(networks, slice(first, first + at_once))
        inputs = x.detach().requires_grad_()
        with torch.enable_grad():
            outputs = some.target.forward(some.weights, inputs, shared=True, statistics=some.statistics)
            index = targets.expand(len(some), -1)[..., None]
            logs = outputs.log_softmax(-1).gather(-1, index)[..., 0].logsumexp(0)
            (own,) = torch.autograd.grad(logs.sum(), inputs)
        joint = torch.logaddexp(total, logs.detach())
        shares = [(part - joint).exp().view(shape) for part in (total, logs.detach())]
        gradient = shares[0] * gradient + shares[1] * own
        total = joint
    return gradient


def moved(x: Tensor, direction: Tensor, size: float, limits: Limits = EVERYTHING) -> Tensor:
    """Inputs x + size · sign(direction), kept within the limits; an entry that lies beyond them goes no farther.

    Example:
        >>> moved(torch.tensor([0.0, 0.5, 2.0]), torch.tensor([-3.0, 0.2, 1.0]), 0.75, (0.0, 1.0)).tolist()
        [0.0, 1.0, 2.0]
    """
    return _within(x + size * direction.sign(), x, limits)


def _within(changed: Tensor, x: Tensor, limits: Limits) -> Tensor:
    return torch.minimum(torch.maximum(changed, x.clamp(max=limits[0])), x.clamp(min=limits[1]))


def fast_gradient_sign(
    networks: Networks, x: Tensor, targets: Tensor, sizes: tuple[float, ...], limits: Limits = EVERYTHING
) -> Iterator[Tensor]:
    """The fast gradient sign method towards a class: one step, x + ε · sign(∂ log p̄(target | x) / ∂x).

    Of one network the sign is that of the gradient of the probability itself, which, unlike that of its logarithm,
    vanishes where the probability is too small for a floating-point number.

    Args:
        networks: what is attacked: one network, or an ensemble by its mean probability.
        x: inputs [examples, *input_shape].
        targets: the class that each is to be taken for, int64 [examples].
        sizes: values of ε.
        limits: of the entries of what comes out.

    Yields:
        For each size the changed inputs; no entry has changed by more than ε.

    References: I. J. Goodfellow, J. Shlens, C. Szegedy (2014), Explaining and Harnessing Adversarial Examples.
    """
    direction = log_probability_gradient(networks, x, targets)
    for size in sizes:
        yield moved(x, direction, size, limits)


def projected_gradient(
    networks: Networks, x: Tensor, targets: Tensor, size: float, steps: int, limits: Limits = EVERYTHING
) -> Tensor:
    """Projected gradient ascent of log p̄(target | x): steps of 2.5 · ε / steps, each followed by a projection.

    Each step is one of the fast gradient sign method; the projection takes each entry to the nearest number within ε
    of where it was, and within the limits. It begins at x itself, so that nothing is drawn.

    Args:
        networks: what is attacked: one network, or an ensemble by its mean probability.
        x: inputs [examples, *input_shape].
        targets: the class that each is to be taken for, int64 [examples].
        size: ε, the greatest change of an entry.
        steps: how many.
        limits: of the entries of what comes out.

    Returns:
        The changed inputs.

    References: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu (2018), Towards Deep Learning Models Resistant to
        Adversarial Attacks.
    """
    changed = x
    length = size * min(1.0, OVERSHOOT / steps)  # a step that is longer than ε is cut to it anyway
    for _ in range(steps):
        direction = log_probability_gradient(networks, changed, targets).sign()
        changed = _within((changed + length * direction).clamp(x - size, x + size), x, limits)
    return changed
