"""A curve of low loss between two networks: a Bézier curve whose middle point is trained."""

import torch
from torch import Tensor

from hyperframe import Data, Task, Weights
from hyperframe.networks import Target
from hyperframe.runtime.progress import tell
from hyperframe.runtime.rng import seeded, stream
from hyperframe.targets import flatten, unflatten


def curve_points(one: Tensor, middle: Tensor, other: Tensor, t: Tensor) -> Tensor:
    """Return points (1 − t)² θ₁ + 2t(1 − t) θ_m + t² θ₂ of a quadratic Bézier curve, [points, entries].

    Args:
        one: θ₁, [1, entries].
        middle: θ_m, [1, entries].
        other: θ₂, [1, entries].
        t: places from 0 to 1, [points].

    Example:
        >>> one, middle, other = torch.tensor([[0.0]]), torch.tensor([[2.0]]), torch.tensor([[0.0]])
        >>> curve_points(one, middle, other, torch.tensor([0.0, 0.5, 1.0])).tolist()
        [[0.0], [1.0], [0.0]]
    """
    t = t[:, None]
    return (1 - t) ** 2 * one + 2 * t * (1 - t) * middle + t**2 * other


def train_middle(
    target: Target,
    task: Task,
    ends: tuple[Weights, Weights],
    data: Data,
    *,
    steps: int,
    examples: int,
    rate: float,
    seed: int,
) -> Tensor:
    """Train the middle point of the curve between two networks, so that the mean loss along the curve is low.

    Each step draws one t, uniform in [0, 1], and some training examples, with the task's augmentation; the network at t
    runs in training mode, so that BatchNorm takes the moments of these examples. Adam starts at the middle of the
    straight line, and its rate falls to zero along a half cosine.

    Args:
        target: the networks' architecture.
        task: the task that gives the loss.
        ends: weights of one network each, for each layer [1, filters, filter_size].
        data: the training data.
        steps: the number of steps.
        examples: examples in one step.
        rate: Adam's rate in the first step.
        seed: of t, the examples, and all else that is random.

    Returns:
        The middle point, a row [1, num_weights].

    References: T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov, A. Wilson (2018), Loss Surfaces, Mode Connectivity,
        and Fast Ensembling of DNNs.
    """
    one, other = (flatten(target.spec, end).detach() for end in ends)
    rng = stream(seed, "bezier", one.device)
    middle = ((one + other) / 2).requires_grad_()
    optimizer = torch.optim.Adam([middle], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with seeded(seed, "bezier layers", one.device):  # dropout draws from the global random numbers
        for step in range(steps):
            tell("steps of the trained curve", step, steps)
            t = torch.rand(1, generator=rng, device=rng.device, dtype=one.dtype)
            chosen = torch.randint(len(data), (min(examples, len(data)),), generator=rng, device=rng.device)
            batch = data[chosen.to(data.device)].to(one.device)
            varied = task.augment_data(Data(batch.x.to(one.dtype)[None], batch.y[None]), rng)
            weights = unflatten(target.spec, curve_points(one, middle, other, t))
            outputs = target.forward(weights, varied.x, training=True)
            loss = task.loss(outputs, varied.y).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return middle.detach()
