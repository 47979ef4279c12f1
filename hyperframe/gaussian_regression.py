"""Regression with a Gaussian likelihood: a loss in nats, predictive deviations, and the ensemble as a mixture."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hyperframe.regression import RegressionMeter, RegressionTask
from hyperframe.types import Meter


class GaussianRegressionTask(RegressionTask):
    """Base class of regression tasks with the likelihood N(y; ŷ, noise²) of each value; a subclass gives the data.

    Labels y and outputs ŷ, float [..., values], are *standardised*: a label is (own − mean) / std, with own the label
    in its own units, such as years, and the moments those of the training split. `predictions`, and what `summarise`
    and the meter's `rmse` say, are in the label's own units; losses and likelihoods are of standardised labels.

    Args:
        noise: the likelihood's standard deviation, in units of the standardised labels.
        label_mean: means of the training split's labels, own units, [values].
        label_std: their standard deviations, own units, [values].

    Example:
        >>> task = GaussianRegressionTask(noise=1.0, label_mean=torch.tensor([150.0]), label_std=torch.tensor([80.0]))
        >>> task.loss(torch.tensor([0.0]), torch.tensor([2.0]))      # ½ · 2² + ½ log 2π nats
        tensor(2.9189)
        >>> task.predictions(torch.tensor([0.5]))
        tensor([190.])
    """

    likelihood = True

    def __init__(self, noise: float, label_mean: Tensor, label_std: Tensor) -> None:
        self.noise = noise
        self.label_mean = label_mean
        self.label_std = label_std
        self.num_outputs = len(label_mean)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of every item in nats: [..., values] twice give [...].

        Σ_values ½ ((y − ŷ) / noise)² + log noise + ½ log 2π, the density being that of standardised labels.
        """
        return negative_log_likelihood(outputs, labels, self.noise)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The squared error in standardised units, the mean over the values."""
        return (outputs - labels).square().mean(-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """The outputs in the label's own units: ŷ · std + mean."""
        return outputs * self.label_std.to(outputs) + self.label_mean.to(outputs)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean, deviation between the networks, and deviation of a label, all in the label's own units.

        `mean` and `std` are over the networks; `predictive_std` = √(noise² + std²), noise in own units as well, is the
        standard deviation of the mixture of the networks' Gaussians. [networks, items, values] give [items, values].
        """
        found = super().summarise(predictions)
        noise = self.noise * self.label_std.to(predictions)
        return {**found, "predictive_std": (noise.square() + found["std"].square()).sqrt()}

    def meter(self, networks: int, items: int, device: torch.device) -> Meter:
        """An empty meter."""
        return GaussianMeter(networks, items, self.noise, self.label_std.to(device))

    def merit(self, figures: Mapping[str, Any]) -> float:
        """Less the mean negative log-likelihood of a network."""
        return -float(figures["nll"])


class GaussianMeter:
    """Root mean squared errors in the label's own units, and negative log-likelihoods in nats.

    `rmse`, `spread` and `r2` are those of `RegressionMeter`, of labels and outputs in own units. `nll` is the mean
    loss of a network, `ensemble.nll` that of the mixture of all: −log (1/N) Σ_n Π_values N(y; ŷ_n, noise²), the mean
    over the items; both are of standardised labels, as the loss is.

    Memory is (networks + items × values), whatever the sizes of the chunks.

    Args:
        networks: the number of networks N.
        items: the number of items.
        noise: the likelihood's standard deviation, in units of the standardised labels.
        label_std: standard deviations of the training split's labels, own units, [values], on the outputs' device.

    Example:
        >>> meter = GaussianMeter(networks=2, items=1, noise=1.0, label_std=torch.tensor([10.0]))
        >>> outputs = torch.tensor([[[1.0]], [[-1.0]]])      # both networks are off by one standard deviation
        >>> meter.update(outputs, torch.tensor([[0.0]]), first_network=0, first_item=0)
        >>> figures = meter.result()
        >>> figures["rmse"]["mean"], figures["ensemble"]["rmse"], round(figures["ensemble"]["nll"], 4)
        (10.0, 0.0, 1.4189)
    """

    def __init__(self, networks: int, items: int, noise: float, label_std: Tensor) -> None:
        self._noise = noise
        self._label_std = label_std.double()
        self._errors = RegressionMeter(networks, items, len(label_std), label_std.device)
        self._nll = torch.zeros(networks, dtype=torch.float64, device=label_std.device)
        self._log_likelihood = torch.full((items,), -math.inf, dtype=torch.float64, device=label_std.device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_item: int) -> None:
        """Take in outputs [networks, items, values] and labels [items, values] of a chunk, both standardised."""
        networks, items, _ = outputs.shape
        outputs, labels = outputs.double(), labels.double()
        # A shift of both changes none of the figures, so the labels' mean is not needed.
        self._errors.update(outputs * self._label_std, labels * self._label_std, first_network, first_item)
        nll = negative_log_likelihood(outputs, labels, self._noise)
        self._nll[first_network : first_network + networks] += nll.sum(1)
        seen = self._log_likelihood[first_item : first_item + items]
        seen.copy_(torch.logaddexp(seen, (-nll).logsumexp(0)))

    def result(self) -> dict[str, Any]:
        """Figures of the networks (`rmse`: mean, std, min, max; `nll`) and of the ensemble."""
        networks, items = len(self._nll), len(self._log_likelihood)
        errors = self._errors.result()
        mixture = self._log_likelihood - math.log(networks)
        return {
            "rmse": errors["rmse"],
            "nll": float(self._nll.mean() / items),
            "ensemble": {**errors["ensemble"], "nll": float(-mixture.mean())},
        }


def negative_log_likelihood(outputs: Tensor, labels: Tensor, noise: float) -> Tensor:
    """−log Π_values N(y; ŷ, noise²) in nats: outputs ŷ and labels y, [..., values] each, give [...].

    Example:
        >>> negative_log_likelihood(torch.zeros(1), torch.zeros(1), noise=1.0)      # ½ log 2π
        tensor(0.9189)
    """
    constant = math.log(noise) + math.log(2 * math.pi) / 2
    return (((labels - outputs) / noise).square() / 2 + constant).sum(-1)
