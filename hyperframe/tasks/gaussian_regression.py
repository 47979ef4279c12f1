"""Regression with a Gaussian likelihood: a loss in nats, predictive deviations, and the ensemble as a mixture."""

import math
from typing import Any

import torch
from torch import Tensor

from hyperframe.metrics import Meter, Metric
from hyperframe.tasks.regression import OF_MEAN, RMSE, RegressionMeter, RegressionTask
from hyperframe.tasks.standardisation import Standardisation


class GaussianRegressionTask(RegressionTask):
    """Base class of regression tasks with a Gaussian likelihood of each value; a subclass gives the data.

    Outputs ŷ, float [..., values], are of standardised labels (see `RegressionTask`). The density is that of a label y
    in its own units, p(y) = N(y; ŷ · std + mean, (noise · std)²): it can be compared with that of a model that knows
    nothing of the standardisation, and changes with the units as densities do.

    Args:
        noise: the likelihood's standard deviation, in units of the standardised labels.
        label_mean: means of the training split's labels, own units, [values].
        label_std: their standard deviations, own units, [values].

    Example:
        >>> task = GaussianRegressionTask(noise=1.0, label_mean=torch.tensor([150.0]), label_std=torch.tensor([80.0]))
        >>> task.loss(torch.tensor([0.0]), torch.tensor([310.0]))      # ½ · 2² + ½ log 2π + log 80 nats
        tensor(7.3010)
        >>> task.predictions(torch.tensor([0.5]))
        tensor([190.])
    """

    likelihood = True
    metrics = (
        RMSE,
        *OF_MEAN,
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower", selects=True),
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower", of="ensemble", mean_of="nll"),
    )

    def __init__(self, noise: float, label_mean: Tensor, label_std: Tensor) -> None:
        self.noise = noise
        self.standardised_labels: Standardisation = Standardisation(label_mean, label_std)
        self.num_outputs = len(label_mean)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of every example in nats: [..., values] twice give [...].

        Σ_values ½ (((y − mean) / std − ŷ) / noise)² + log (noise · std) + ½ log 2π.
        """
        labels = self.standardise(labels).to(outputs.dtype)
        return negative_log_likelihood(outputs, labels, self.noise) + self.standardised_labels.log_scale

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The squared error in standardised units, the mean over the values."""
        return RegressionTask.loss(self, outputs, labels)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean, deviation between the networks, and deviation of a label, all in the label's own units.

        `mean` and `std` are over the networks; `predictive_std` = √(noise² + std²), noise in own units as well, is the
        standard deviation of the mixture of the networks' Gaussians. [networks, examples, values] give [examples,
        values].
        """
        found = super().summarise(predictions)
        noise = self.noise * self.standardised_labels.std.to(predictions)
        return {**found, "predictive_std": (noise.square() + found["std"].square()).sqrt()}

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return GaussianMeter(networks, examples, self.noise, self.standardised_labels, device)


class GaussianMeter(Meter):
    """Root mean squared errors in the label's own units, and negative log-likelihoods in nats.

    `rmse`, `spread` and `r2` are those of `RegressionMeter`. `nll` is the mean loss of a network, `ensemble.nll` that
    of the mixture of all: −log (1/N) Σ_n Π_values p_n(y), the mean over the examples; both are of densities of labels
    in their own units, as the loss is.

    Memory is (networks + examples × values), whatever the sizes of the chunks.

    Args:
        networks: the number of networks N.
        examples: the number of examples.
        noise: the likelihood's standard deviation, in units of the standardised labels.
        standardised: how labels [values] are standardised for the outputs.
        device: where outputs come from.

    Example:
        >>> ten = Standardisation(torch.tensor([50.0]), torch.tensor([10.0]))
        >>> meter = GaussianMeter(networks=2, examples=1, noise=1.0, standardised=ten, device=torch.device("cpu"))
        >>> outputs = torch.tensor([[[1.0]], [[-1.0]]])      # both networks are off by one standard deviation
        >>> meter.update(outputs, torch.tensor([[50.0]]), first_network=0, first_example=0)
        >>> results = meter.result()
        >>> results["rmse"]["mean"], results["ensemble"]["rmse"]
        (10.0, 0.0)
        >>> round(results["ensemble"]["nll"], 4)      # ½ + ½ log 2π + log 10
        3.7215
    """

    def __init__(
        self, networks: int, examples: int, noise: float, standardised: Standardisation, device: torch.device
    ) -> None:
        self._noise = noise
        self._standardised = standardised
        self._errors = RegressionMeter(networks, examples, len(standardised.mean), device, standardised)
        self._nll = torch.zeros(networks, dtype=torch.float64, device=device)
        self._log_likelihood = torch.full((examples,), -math.inf, dtype=torch.float64, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in outputs [networks, examples, values] and labels [examples, values], in their own units."""
        networks, examples, _ = outputs.shape
        self._errors.update(outputs, labels, first_network, first_example)
        compared = self._standardised.apply(labels.double())
        nll = negative_log_likelihood(outputs.double(), compared, self._noise) + self._standardised.log_scale
        self._nll[first_network : first_network + networks] += nll.sum(1)
        seen = self._log_likelihood[first_example : first_example + examples]
        seen.copy_(torch.logaddexp(seen, (-nll).logsumexp(0)))

    def result(self) -> dict[str, Any]:
        """Figures of the networks (`rmse`: mean, std, min, max; `nll`) and of the ensemble."""
        networks, examples = len(self._nll), len(self._log_likelihood)
        errors = self._errors.result()
        mixture = self._log_likelihood - math.log(networks)
        return {
            "rmse": errors["rmse"],
            "nll": float(self._nll.mean() / examples),
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
