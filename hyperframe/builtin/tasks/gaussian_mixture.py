"""The task `gaussian_mixture`: points of the plane where a mixture of ten Gaussians is high (section 4.1)."""

import math
from typing import Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe import Component, Data, Meter, Metric, RegressionTask, hookimpl, option, over_networks
from hyperframe.errors import DataError, unknown_name

COMPONENTS = 10
SPLITS = ("train", "validation", "test")
EXAMPLES = 8
"""Examples of a split; all have the same input, which the target does not use."""

VALUE = Metric(name="value", better="greater")


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    mixture_seed: int = option(0, "seed of the means, deviations and proportions of the mixture", minimum=0)
    form: Literal["authors", "density"] = option(
        "authors", "authors: as in the authors' program, loss −f; density: a probability density, loss −log f"
    )


class GaussianMixture(RegressionTask):
    """The two outputs are a point r of the plane; the loss is low where the mixture is high.

    Ten components k with means μ uniform in [−5, 5]², deviations σ uniform in [1, 1.1], and proportions p uniform in
    [1, 3] and then divided by their sum. With q = exp(−|r − μ_k|² / 2σ_k²):

    - `authors`: f(r) = Σ p_k · 2πσ_k² · q, and the loss is −f. The authors' program multiplies by 2πσ² where a density
      is divided by it; no logarithm is taken.
    - `density`: f(r) = Σ p_k / (2πσ_k²) · q, and the loss is −log f.

    There is no data: inputs are zeros [examples, 1], labels zeros int64 [examples].

    Attributes:
        means: μ, float64 [components, 2].
        deviations: σ, float64 [components].
        proportions: p, float64 [components], with sum 1.

    References: section 4.1, Fig. 1.

    Example:
        >>> task = GaussianMixture(Options(form="density"))
        >>> axis = torch.linspace(-15, 15, 301, dtype=torch.float64)
        >>> plane = torch.cartesian_prod(axis, axis)
        >>> round(float(task.mixture(plane).sum()) * 0.1**2, 6)     # squares of side 0.1
        1.0
    """

    name = "gaussian_mixture"
    input_shape = (1,)
    num_outputs = 2
    metrics = (
        VALUE,
        Metric(name="loss", better="lower", selects=True),
        Metric(name="spread", label="standard deviation between the networks", of="ensemble"),
    )
    score_metric = VALUE

    def __init__(self, options: Options) -> None:
        self.options = options
        rng = np.random.default_rng(options.mixture_seed)
        self.means = torch.from_numpy(rng.uniform(-5, 5, (COMPONENTS, 2)))
        self.deviations = torch.from_numpy(rng.uniform(1, 1.1, COMPONENTS))
        proportions = torch.from_numpy(rng.uniform(1, 3, COMPONENTS))
        self.proportions = proportions / proportions.sum()
        self._placed: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}

    def data(self, split: str) -> Data:
        """Return a split, which holds nothing but zeros."""
        if split not in SPLITS:
            raise ValueError(unknown_name("split", split, SPLITS))
        return Data(torch.zeros(EXAMPLES, 1), torch.zeros(EXAMPLES, dtype=torch.int64))

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are int64 [examples]; raises `DataError`."""
        if labels.dtype != torch.int64 or labels.dim() != 1:
            raise DataError(f"{where}: labels must be int64 [examples], but are {labels.dtype} {list(labels.shape)}")

    def log_mixture(self, points: Tensor) -> Tensor:
        """Return the logarithm of f at points [..., 2], [...]; it is finite even where f itself underflows."""
        means, deviations, proportions = self._beside(points)
        squares = (points[..., None, :] - means).square().sum(-1)
        sign = 1 if self.options.form == "authors" else -1
        factors = proportions * (2 * math.pi * deviations.square()) ** sign
        return torch.logsumexp(factors.log() - squares / (2 * deviations.square()), -1)

    def _beside(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, deviations and proportions on the points' device; they are copied once, since copying waits."""
        place = points.device, points.dtype
        if place not in self._placed:
            self._placed[place] = self.means.to(points), self.deviations.to(points), self.proportions.to(points)
        return self._placed[place]

    def mixture(self, points: Tensor) -> Tensor:
        """Return the mixture f at points [..., 2], [...]."""
        return self.log_mixture(points).exp()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return −f or −log f of every example, see the class: [..., 2] and [...] give [...]."""
        logarithms = self.log_mixture(outputs)
        return -logarithms.exp() if self.options.form == "authors" else -logarithms

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mixture f."""
        return self.mixture(outputs)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Return mean and deviation of the points, [examples, 2] each, and the mean of f, [examples]."""
        return {**super().summarise(predictions), "value": self.mixture(predictions).mean(0)}

    def meter(self, networks: int, examples: int, device: torch.device) -> "MixtureMeter":
        """Return an empty meter."""
        return MixtureMeter(self, networks, examples, device)


class MixtureMeter(Meter):
    """Accumulates values of the mixture at the networks' points, and how far these points lie apart.

    Memory grows with networks + examples, whatever the sizes of the chunks.

    Args:
        task: the mixture.
        networks: the number of networks N.
        examples: the number of examples.
        device: of the outputs.
    """

    def __init__(self, task: GaussianMixture, networks: int, examples: int, device: torch.device) -> None:
        self._task = task
        self._values = torch.zeros(networks, dtype=torch.float64, device=device)
        self._losses = torch.zeros(networks, dtype=torch.float64, device=device)
        self._sum = torch.zeros(examples, 2, dtype=torch.float64, device=device)
        self._sum_of_squares = torch.zeros(examples, 2, dtype=torch.float64, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in points [networks, examples, 2] and labels [examples] of a chunk."""
        networks, examples, _ = outputs.shape
        rows, places = slice(first_network, first_network + networks), slice(first_example, first_example + examples)
        points = outputs.double()
        self._values[rows] += self._task.mixture(points).sum(1)
        self._losses[rows] += self._task.loss(points, labels.expand(networks, examples)).sum(1)
        self._sum[places] += points.sum(0)
        self._sum_of_squares[places] += points.square().sum(0)

    def result(self) -> dict[str, Any]:
        """Return metrics of the networks (`value`, f: mean, std, min, max; `loss`) and of the ensemble.

        The ensemble's `spread` is the root mean square deviation of an entry of the points from its mean.
        """
        networks, examples = len(self._values), len(self._sum)
        values = self._values / examples
        variance = self._sum_of_squares / networks - (self._sum / networks).square()
        return {
            "value": over_networks(values),
            "loss": float(self._losses.mean() / examples),
            "ensemble": {"spread": float(variance.clamp(min=0).mean().sqrt())},
        }


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="gaussian_mixture",
            factory=GaussianMixture,
            options=Options,
            summary="points of the plane where a mixture of ten Gaussians is high",
            reference="section 4.1, Fig. 1",
        )
    ]
