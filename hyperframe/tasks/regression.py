"""The base class of regression tasks: the squared error, and the meter of networks and their mean."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.metrics import Meter, Metric, over_networks
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Task

RMSE = Metric(name="rmse", better="lower")
SQUARED_ERROR = Metric(name="loss", label="squared error", better="lower", selects=True)
OF_MEAN = (
    Metric(name="rmse", label="rmse of the mean prediction", better="lower", of="ensemble", mean_of="rmse"),
    Metric(name="r2", label="R² of the mean prediction", better="greater", of="ensemble"),
    Metric(name="spread", label="standard deviation between the networks", of="ensemble"),
)


class RegressionTask(Task):
    """Base class of tasks with a vector of values an example; a subclass gives the data.

    Labels y are float [..., values] in their own units, such as years. Where the task has a standardisation, outputs ŷ
    [..., values] are of (y − mean) / std, with the moments of the training split's labels: networks then learn values
    of any size. Losses and scores are of standardised values, so that they are of the same size whatever the units;
    `predictions`, and what `summarise` and the meter's `rmse` and `spread` say, are in the labels' own units. No shift
    of outputs leaves a prediction unchanged.

    Attributes:
        standardised_labels: that standardisation, of [values]; None where outputs are the predictions themselves.
    """

    shift_invariant = False
    likelihood = False
    metrics: Sequence[Metric] = (RMSE, SQUARED_ERROR, *OF_MEAN)
    score_metric = SQUARED_ERROR
    standardised_labels: Standardisation | None = None

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Training inputs [..., *input_shape] as they are."""
        return inputs

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are finite float32 or float64 [examples, values]; raises `DataError`."""
        if (
            labels.dtype not in (torch.float32, torch.float64)
            or labels.dim() != 2
            or labels.shape[1] != self.num_outputs
        ):
            raise DataError(
                f"{where}: labels must be float32 or float64 [examples, {self.num_outputs}], but are {labels.dtype} "
                f"{list(labels.shape)}"
            )
        if not labels.isfinite().all():
            raise DataError(f"{where}: a label is not a finite number")

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Squared error of every example, the mean over its values: [..., values] twice give [...]."""
        return (outputs - self.standardise(labels).to(outputs.dtype)).square().mean(-1)

    def standardise(self, labels: Tensor) -> Tensor:
        """Standardise labels [..., values], which outputs are compared with, where the task has a standardisation."""
        return labels if self.standardised_labels is None else self.standardised_labels.apply(labels)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The squared error."""
        return self.loss(outputs, labels)

    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """The outputs: different ones mean different things."""
        return outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """The outputs in the labels' own units: ŷ · std + mean."""
        return outputs if self.standardised_labels is None else self.standardised_labels.undo(outputs)

    def averaged(self, outputs: Tensor) -> Tensor:
        """The mean of the outputs: [networks, ..., values] give [...]."""
        return outputs.mean(0)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean and standard deviation over the networks: [networks, examples, values] give [examples, values] each."""
        return {"mean": predictions.mean(0), "std": predictions.std(0, correction=0)}

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return RegressionMeter(networks, examples, self.num_outputs, device, self.standardised_labels)


class RegressionMeter(Meter):
    """Root mean squared errors of networks, and of the mean of their predictions.

    Memory is (networks + examples × values), whatever the sizes of the chunks.

    Args:
        networks: the number of networks N.
        examples: the number of examples.
        values: the number of values an example.
        device: where outputs come from.
        standardised: how labels [values] are standardised for the outputs; None: not at all.

    Example:
        >>> meter = RegressionMeter(networks=2, examples=2, values=1, device=torch.device("cpu"))
        >>> outputs = torch.tensor([[[0.0], [2.0]], [[2.0], [4.0]]])      # each network is off by one, both ways
        >>> meter.update(outputs, torch.tensor([[1.0], [3.0]]), first_network=0, first_example=0)
        >>> meter.result()["rmse"]["mean"], meter.result()["ensemble"]
        (1.0, {'rmse': 0.0, 'r2': 1.0, 'spread': 1.0})
    """

    def __init__(
        self,
        networks: int,
        examples: int,
        values: int,
        device: torch.device,
        standardised: Standardisation | None = None,
    ) -> None:
        plain = Standardisation(torch.zeros(values), torch.ones(values))
        self._standardised = plain if standardised is None else standardised
        self._scale = self._standardised.std.to(device, torch.float64)
        self._squares = torch.zeros(networks, dtype=torch.float64, device=device)
        self._losses = torch.zeros(networks, dtype=torch.float64, device=device)
        self._sum = torch.zeros(examples, values, dtype=torch.float64, device=device)
        self._sum_of_squares = torch.zeros(examples, values, dtype=torch.float64, device=device)
        self._labels = torch.zeros(examples, values, dtype=torch.float64, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in outputs [networks, examples, values] and labels [examples, values], in their own units."""
        networks, examples, _ = outputs.shape
        labels = self._standardised.apply(labels.double())
        places = slice(first_example, first_example + examples)
        # What is summed are errors: the sum of squares then loses nothing where values are large and errors small.
        errors = outputs.double() - labels
        rows = slice(first_network, first_network + networks)
        self._losses[rows] += errors.square().mean(-1).sum(1)
        self._squares[rows] += (errors * self._scale).square().mean(-1).sum(1)
        self._sum[places] += errors.sum(0)
        self._sum_of_squares[places] += errors.square().sum(0)
        self._labels[places] = labels

    def result(self) -> dict[str, Any]:
        """Figures of the networks (`rmse`: mean, std, min, max; `loss`) and of the ensemble.

        The ensemble's `r2` is 1 − (its squared error) / (the variance of the labels), NaN where no label varies, and
        `spread` the root mean square deviation of the networks' predictions from their mean. `rmse` and `spread` are in
        the labels' own units; `loss` and `r2` are of standardised values, which weigh all the same.
        """
        networks, examples = len(self._squares), len(self._labels)
        rmse = (self._squares / examples).sqrt()
        mean = self._sum / networks
        variance = (self._sum_of_squares / networks - mean.square()).clamp(min=0)
        explained = 1 - mean.square().mean() / self._labels.var(0, correction=0).mean()
        varies = bool((self._labels != self._labels[:1]).any())
        return {
            "rmse": over_networks(rmse),
            "loss": float(self._losses.mean() / examples),
            "ensemble": {
                "rmse": float((mean * self._scale).square().mean().sqrt()),
                "r2": float(explained) if varies else math.nan,
                "spread": float((variance * self._scale.square()).mean().sqrt()),
            },
        }
