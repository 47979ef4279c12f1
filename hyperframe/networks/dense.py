"""Fully connected stacks, which the generators are made of, and their initialisation."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hyperframe.options import option

ActivationName = Literal["leaky_relu", "relu", "tanh", "silu"]
InitialisationName = Literal["hyperfan", "authors"]


@attrs.frozen(kw_only=True)
class DenseOptions:
    """Options that all stacks of a generator share."""

    activation: ActivationName = option("leaky_relu", "activation of the hidden layers")
    slope: float = option(0.05, "slope below zero of leaky_relu", minimum=0)
    batch_norm: bool = option(True, "batch normalisation behind the activation of every hidden layer")
    batch_norm_momentum: float = option(0.02, "weight of the newest batch in its running moments", above=0, maximum=1)
    batch_norm_eps: float = option(1e-7, "what batch normalisation adds to the variance", above=0)
    bias: bool = option(False, "biases in the linear layers")
    authors_variance: float = option(0.01, "authors: variance of a matrix's entries, times fan-in", above=0)
    authors_bias_variance: float = option(0.0, "authors: variance of a layer's biases, times their number", minimum=0)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation whose running moments are the plain mean of the first 1 / momentum batches.

    Torch's start at mean 0 and variance 1. Where activations are small, as with the authors' initialisation, what is
    left of that 1 falsifies the moments for hundreds of steps. Here the first batch replaces it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows [rows, features]."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        normalised = F.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        self.num_batches_tracked += 1
        part = self.num_batches_tracked.to(mean.dtype).reciprocal().clamp(min=self.momentum)
        self.running_mean.lerp_(mean, part)
        self.running_var.lerp_(variance, part)
        return normalised


class Dense(nn.Module):
    """A stack linear → activation → batch normalisation, …, linear.

    Inputs [..., sizes[0]] give outputs [..., sizes[-1]]; batch normalisation takes its moments over all leading axes.

    Attributes:
        sizes: the layers' sizes, input and output included.
    """

    def __init__(self, sizes: Sequence[int], options: DenseOptions) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.options = options
        modules: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes[:-1]):
            modules += [nn.Linear(size_in, size_out, bias=options.bias), self._activation()]
            if options.batch_norm:
                modules.append(BatchNorm(size_out, eps=options.batch_norm_eps, momentum=options.batch_norm_momentum))
        modules.append(nn.Linear(sizes[-2], sizes[-1], bias=options.bias))
        self.stack = nn.Sequential(*modules)

    def _activation(self) -> nn.Module:
        if self.options.activation == "leaky_relu":
            return nn.LeakyReLU(self.options.slope)
        others: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}
        return others[self.options.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., sizes[0]] to [..., sizes[-1]]."""
        rows: Tensor = self.stack(x.reshape(-1, x.shape[-1]))
        return rows.view(*x.shape[:-1], -1)

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, in order."""
        return [module for module in self.stack if isinstance(module, nn.Linear)]

    @property
    def num_matrix_entries(self) -> int:
        """The number of entries of the matrices."""
        return sum(linear.weight.numel() for linear in self.linears)

    @property
    def is_injective(self) -> bool:
        """Whether different inputs give different outputs for almost all parameters.

        No layer is narrower than the one before it, and no two inputs of the activation have one output.
        """
        wider = all(size_in <= size_out for size_in, size_out in pairwise(self.sizes))
        kind = self.options.activation
        return wider and (kind == "tanh" or (kind == "leaky_relu" and self.options.slope > 0) or len(self.sizes) == 2)

    def describe(self) -> dict[str, object]:
        """Its sizes and how many parameters it has, as plain data."""
        everything = sum(parameter.numel() for parameter in self.parameters())
        biases = sum(linear.bias.numel() for linear in self.linears if linear.bias is not None)
        return {
            "sizes": self.sizes,
            "parameters": self.num_matrix_entries,
            "biases": biases,
            "batch_norm": everything - self.num_matrix_entries - biases,
        }

    @torch.no_grad()
    def initialise_authors(self) -> None:
        """Matrices and biases from truncated normal distributions, as the authors' program does it.

        A matrix has the variance `authors_variance` / fan_in, a layer's n biases `authors_bias_variance` / n; 0 makes
        them zero.
        """
        matrix, biases = self.options.authors_variance, self.options.authors_bias_variance
        for linear in self.linears:
            _truncated_normal(linear.weight, math.sqrt(matrix / linear.in_features))
            if linear.bias is not None and biases:
                _truncated_normal(linear.bias, math.sqrt(biases / linear.out_features))
            elif linear.bias is not None:
                linear.bias.zero_()

    @torch.no_grad()
    def initialise_hyperfan(self, input_variance: float, std: Tensor) -> None:
        """Let hidden units have second moment 1, and output j the standard deviation `std[j]`.

        Hidden layers follow He et al. (2015); the last layer's rows are scaled so that what is generated has the
        variance that its place in the target asks for. With batch normalisation in front the last layer's inputs have
        second moment 1 as well.

        Args:
            input_variance: second moment of the inputs.
            std: wanted standard deviation of each output, shape [sizes[-1]].

        References: O. Chang, L. Flokas, H. Lipson (2020), Principled Weight Initialization for Hypernetworks, ICLR.
        """
        *hidden, last = self.linears
        moment = input_variance
        for linear in hidden:
            nn.init.normal_(linear.weight, std=self._gain / math.sqrt(linear.in_features * moment))
            moment = 1.0
        nn.init.normal_(last.weight, std=1 / math.sqrt(last.in_features * moment))
        last.weight.mul_(rearrange(std.to(last.weight), "outputs -> outputs ()"))
        for linear in self.linears:
            if linear.bias is not None:
                linear.bias.zero_()

    @property
    def _gain(self) -> float:
        if self.options.activation == "tanh":
            return nn.init.calculate_gain("tanh")
        slope = self.options.slope if self.options.activation == "leaky_relu" else 0.0
        return nn.init.calculate_gain("leaky_relu", slope)


def _truncated_normal(weight: Tensor, std: float) -> None:
    """Normal, cut at two standard deviations and stretched so that `std` is what remains."""
    remaining = 0.8796256610342398  # standard deviation of a unit normal cut at ±2
    nn.init.trunc_normal_(weight, std=std / remaining, a=-2 * std / remaining, b=2 * std / remaining)
