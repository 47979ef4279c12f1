"""Adversarial examples: inputs that are changed a little, so that networks give them a chosen class."""

from collections.abc import Iterator

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe import Networks
from hyperframe.networks.sampled import EXAMPLES_AT_ONCE, select

Limits = tuple[float, float]
"""The smallest and the greatest value that an attack may give to an entry of the input."""

EVERYTHING: Limits = (-torch.inf, torch.inf)

OVERSHOOT = 2.5
"""The length of all steps together, in units of ε; at more than 1 the path can turn and follow the edge."""


@attrs.frozen(kw_only=True, eq=False)
class Answers:
    """The classes that an ensemble gives to examples, int64 [examples] each.

    Attributes:
        vote: the class that most networks choose; where several have equally many votes, the lowest of them.
        mean: the class with the greatest mean probability.
    """

    vote: Tensor
    mean: Tensor


def answers(networks: Networks, x: Tensor) -> Answers:
    """Classify inputs [examples, *input_shape] by vote and by mean probability; for one network they are the same."""
    votes, mean = (torch.zeros(len(x), networks.target.spec.num_outputs, dtype=torch.float64) for _ in range(2))
    for _, first, outputs in networks.chunks(x):
        examples = slice(first, first + outputs.shape[1])
        votes[examples] += F.one_hot(outputs.argmax(-1), outputs.shape[-1]).sum(0).cpu()
        mean[examples] += outputs.softmax(-1).sum(0).double().cpu()
    return Answers(vote=votes.argmax(-1), mean=mean.argmax(-1))


def other_classes(labels: Tensor, classes: int, rng: torch.Generator) -> Tensor:
    """Draw another class for each label [examples], every other one with the same probability.

    Example:
        >>> other_classes(torch.tensor([0, 1, 1]), 2, torch.Generator()).tolist()
        [1, 0, 0]
    """
    shifts = torch.randint(1, classes, labels.shape, generator=rng, device=rng.device).to(labels.device)
    return (labels + shifts) % classes


def log_probability_gradient(networks: Networks, x: Tensor, targets: Tensor) -> Tensor:
    """Compute ∂ log p̄(target | x) / ∂x, where p̄ = (1/N) Σ p_n is the mean probability of N networks.

    It is Σ w_n ∂ log p_n / ∂x with the weights w_n = p_n / Σ p. All is computed with logarithms, so that a probability
    that underflows has a gradient like any other.

    Args:
        networks: one or more; some run at a time, and their gradients are added up.
        x: inputs [examples, *input_shape].
        targets: for each example a class, int64 [examples].

    Returns:
        Gradients, of the shape of `x`.
    """
    parts = zip(*(value.split(EXAMPLES_AT_ONCE[x.device.type]) for value in (x, targets)), strict=True)
    return torch.cat([_gradient(networks, *part) for part in parts])


def _gradient(networks: Networks, x: Tensor, targets: Tensor) -> Tensor:
    """Compute the gradient for a number of examples that can run at once."""
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


def perturb(x: Tensor, direction: Tensor, size: float, limits: Limits = EVERYTHING) -> Tensor:
    """Return x + size · sign(direction) within the limits; an entry of x that lies beyond them goes no farther.

    Example:
        >>> perturb(torch.tensor([0.0, 0.5, 2.0]), torch.tensor([-3.0, 0.2, 1.0]), 0.75, (0.0, 1.0)).tolist()
        [0.0, 1.0, 2.0]
    """
    return _within(x + size * direction.sign(), x, limits)


def _within(changed: Tensor, x: Tensor, limits: Limits) -> Tensor:
    return torch.minimum(torch.maximum(changed, x.clamp(max=limits[0])), x.clamp(min=limits[1]))


def fast_gradient_sign(
    networks: Networks, x: Tensor, targets: Tensor, sizes: tuple[float, ...], limits: Limits = EVERYTHING
) -> Iterator[Tensor]:
    """Take one step of the fast gradient sign method towards a class: x + ε · sign(∂ log p̄(target | x) / ∂x).

    For one network the sign is that of the probability's own gradient; the gradient of the logarithm is used because it
    does not vanish where the probability underflows.

    Args:
        networks: the networks under attack: one, or an ensemble by its mean probability.
        x: inputs [examples, *input_shape].
        targets: the class that each example should get, int64 [examples].
        sizes: values of ε.
        limits: of the entries of the changed inputs.

    Yields:
        For each size the changed inputs; no entry changes by more than ε.

    References: I. J. Goodfellow, J. Shlens, C. Szegedy (2014), Explaining and Harnessing Adversarial Examples.
    """
    direction = log_probability_gradient(networks, x, targets)
    for size in sizes:
        yield perturb(x, direction, size, limits)


def projected_gradient(
    networks: Networks, x: Tensor, targets: Tensor, size: float, steps: int, limits: Limits = EVERYTHING
) -> Tensor:
    """Ascend log p̄(target | x) by projected gradients: steps of 2.5 · ε / steps, each followed by a projection.

    Each step is one of the fast gradient sign method. The projection moves each entry to the nearest value within ε of
    its original one and within the limits. The path begins at x itself, not at a random point near it.

    Args:
        networks: the networks under attack: one, or an ensemble by its mean probability.
        x: inputs [examples, *input_shape].
        targets: the class that each example should get, int64 [examples].
        size: ε, the greatest change of an entry.
        steps: the number of steps.
        limits: of the entries of the changed inputs.

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
