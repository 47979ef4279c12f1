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
    rank: int | None = option(
        None, "rank of every last layer, a product of two matrices, where that has fewer entries; null: full", minimum=1
    )
    residual: bool = option(False, "skip connections around hidden layers as wide as the hidden layer before them")


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


class Skip(nn.Sequential):
    """Modules with a connection around all of them: x + f(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x [rows, features] to x + f(x)."""
        made: Tensor = super().forward(x)
        return x + made


class Dense(nn.Module):
    """A stack linear → activation → batch normalisation, …, linear.

    Inputs [..., sizes[0]] give outputs [..., sizes[-1]]; batch normalisation takes its moments over all leading axes.

    With `residual` a hidden layer as wide as the hidden layer before it adds to what it reads, x + BN(act(W x)). The
    first hidden layer reads the input, and has no connection around it.

    With `rank` r the last layer of m inputs and n outputs is the product of two linear layers, m → r → n, where
    r·(m + n) < m·n. Elsewhere the product would have as many entries as the full matrix or more, and reach no more: the
    stack keeps its full last layer.

    Attributes:
        sizes: the layers' sizes, input and output included.
        rank: that of its last layer where this is a product; None where it is one matrix.

    Example:
        >>> Dense([8, 64, 64, 290], DenseOptions(rank=16)).num_matrix_entries, 8 * 64 + 64 * 64 + 16 * (64 + 290)
        (10272, 10272)
        >>> Dense([8, 64, 64, 10], DenseOptions(rank=16)).rank is None
        True
    """

    def __init__(self, sizes: Sequence[int], options: DenseOptions) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.options = options
        *_, last, outputs = sizes
        saves = options.rank is not None and options.rank * (last + outputs) < last * outputs
        self.rank = options.rank if saves else None
        hidden = list(pairwise(sizes[:-1]))
        equal = [number > 0 and size_in == size_out for number, (size_in, size_out) in enumerate(hidden)]
        self._skipped = [options.residual and wide for wide in equal]
        modules: list[nn.Module] = []
        for (size_in, size_out), skipped in zip(hidden, self._skipped, strict=True):
            layer = [nn.Linear(size_in, size_out, bias=options.bias), self._activation()]
            if options.batch_norm:
                layer.append(BatchNorm(size_out, eps=options.batch_norm_eps, momentum=options.batch_norm_momentum))
            modules += [Skip(*layer)] if skipped else layer
        if self.rank is not None:
            modules.append(nn.Linear(last, self.rank, bias=False))
        modules.append(nn.Linear(self.rank or last, outputs, bias=options.bias))
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
        return [module for module in self.stack.modules() if isinstance(module, nn.Linear)]

    @property
    def widths(self) -> list[int]:
        """The widths of all places from input to output: `sizes`, and the rank of the last layer before the outputs."""
        return [*self.sizes[:-1], *([self.rank] if self.rank else []), self.sizes[-1]]

    @property
    def skips(self) -> int:
        """The number of hidden layers with a connection around them."""
        return sum(self._skipped)

    @property
    def num_matrix_entries(self) -> int:
        """The number of entries of the matrices."""
        return sum(linear.weight.numel() for linear in self.linears)

    @property
    def is_injective(self) -> bool:
        """Whether different inputs give different outputs for almost all parameters.

        No place is narrower than the one before it, the rank of the last layer being a width too, and no two inputs of
        the activation have one output. Around a layer with a skip connection it is not known, and the answer is no.
        """
        wider = all(size_in <= size_out for size_in, size_out in pairwise(self.widths))
        kind = self.options.activation
        return (
            wider
            and not self.skips
            and (kind == "tanh" or (kind == "leaky_relu" and self.options.slope > 0) or len(self.sizes) == 2)
        )

    def describe(self) -> dict[str, object]:
        """Its sizes and how many parameters it has, as plain data; `rank` is null where the last layer is full."""
        everything = sum(parameter.numel() for parameter in self.parameters())
        biases = sum(linear.bias.numel() for linear in self.linears if linear.bias is not None)
        return {
            "sizes": self.sizes,
            "rank": self.rank,
            "skips": self.skips,
            "parameters": self.num_matrix_entries,
            "biases": biases,
            "batch_norm": everything - self.num_matrix_entries - biases,
        }

    @torch.no_grad()
    def initialise_authors(self) -> None:
        """Matrices and biases from truncated normal distributions, as the authors' program does it.

        A matrix has the variance `authors_variance` / fan_in, a layer's n biases `authors_bias_variance` / n; 0 makes
        them zero. Of a product of two the first has the variance 1 / fan_in, so that outputs are as large as behind a
        full matrix.
        """
        matrix, biases = self.options.authors_variance, self.options.authors_bias_variance
        for linear in self.linears:
            variance = 1.0 if linear is self._first_factor else matrix
            _truncated_normal(linear.weight, math.sqrt(variance / linear.in_features))
            if linear.bias is not None and biases:
                _truncated_normal(linear.bias, math.sqrt(biases / linear.out_features))
            elif linear.bias is not None:
                linear.bias.zero_()

    @torch.no_grad()
    def initialise_hyperfan(self, input_variance: float, std: Tensor) -> None:
        """Let every hidden layer have outputs of second moment 1, and output j the standard deviation `std[j]`.

        Hidden layers follow He et al. (2015); the last layer's rows are scaled so that what is generated has the
        variance that its place in the target asks for. With batch normalisation in front the last layer's inputs have
        second moment 1 as well. Behind skip connections what a layer reads is a sum, the second moment of which its
        matrix is divided by. The first matrix of a product keeps the second moment.

        Args:
            input_variance: second moment of the inputs.
            std: wanted standard deviation of each output, shape [sizes[-1]].

        References: O. Chang, L. Flokas, H. Lipson (2020), Principled Weight Initialization for Hypernetworks, ICLR.
        """
        moment, terms = input_variance, 0
        for linear, skipped in zip(self.linears, self._skipped, strict=False):
            nn.init.normal_(linear.weight, std=self._gain / math.sqrt(linear.in_features * moment))
            terms = terms + 1 if skipped else 1
            moment = self._second_moment(terms)
        if self._first_factor is not None:
            nn.init.normal_(self._first_factor.weight, std=1 / math.sqrt(self._first_factor.in_features * moment))
            moment = 1.0
        last = self.linears[-1]
        nn.init.normal_(last.weight, std=1 / math.sqrt(last.in_features * moment))
        last.weight.mul_(rearrange(std.to(last.weight), "outputs -> outputs ()"))
        for linear in self.linears:
            if linear.bias is not None:
                linear.bias.zero_()

    @property
    def _first_factor(self) -> nn.Linear | None:
        """The first matrix of the last layer, where this is a product of two."""
        return None if self.rank is None else self.linears[-2]

    @property
    def _slope(self) -> float:
        return self.options.slope if self.options.activation == "leaky_relu" else 0.0

    @property
    def _gain(self) -> float:
        if self.options.activation == "tanh":
            return nn.init.calculate_gain("tanh")
        return nn.init.calculate_gain("leaky_relu", self._slope)

    def _second_moment(self, terms: int) -> float:
        """Return the second moment of a sum of so many hidden layers' outputs, of which each has second moment 1.

        Their deviations are uncorrelated, but without batch normalisation a rectifier's outputs have a mean. Its square
        is (1 − s)² / (π (1 + s²)) for a slope s below zero, and is that of a product of any two different terms.
        """
        centred = self.options.batch_norm or self.options.activation == "tanh"
        squared_mean = 0.0 if centred else (1 - self._slope) ** 2 / (math.pi * (1 + self._slope**2))
        return terms + terms * (terms - 1) * squared_mean


def _truncated_normal(weight: Tensor, std: float) -> None:
    """Normal, cut at two standard deviations and stretched so that `std` is what remains."""
    remaining = 0.8796256610342398  # standard deviation of a unit normal cut at ±2
    nn.init.trunc_normal_(weight, std=std / remaining, a=-2 * std / remaining, b=2 * std / remaining)
