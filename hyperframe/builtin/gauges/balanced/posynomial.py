"""The squared norm of scaled weights as a function of the factors: a sum of products of their powers."""

import math

import torch
from torch import Tensor

from hyperframe import Weights
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.stages import Stage


class Posynomial:
    """The function f(u) = Σ_t c_t exp(2 Σ_l a_tl u_l) of the logarithms u of all labels' factors.

    Weights that the same labels multiply and divide make one term t: a convolution's kernel between two channels, for
    example. Its coefficient c is the sum of their squares; a is 1 for labels that multiply, −1 for those that divide.

    Args:
        orbits: a target's symmetries, on the device where weights are; with one scaling label or more.

    Attributes:
        count: the number of labels.
        width: the most labels of a term.
    """

    def __init__(self, orbits: Orbits) -> None:
        self.count = orbits.scaling.count
        self._stages = [stage for stage in orbits.scaling.stages if stage.reads or stage.writes]
        codes = [_codes(orbits, stage) for stage in self._stages]
        self.width, none = max(code.shape[-1] for code in codes), 2 * self.count
        terms, numbers = torch.unique(
            torch.cat([_pad(code, self.width, none) for code in codes]), dim=0, return_inverse=True
        )
        some = (terms != none).any(1)  # without labels, weights stay as they are
        numbers = torch.where(some, some.cumsum(0) - 1, some.sum())[numbers]
        terms = terms[some]
        self._labels = torch.where(terms == none, self.count, terms % self.count)
        self._powers = torch.where(terms == none, 0.0, torch.where(terms < self.count, 1.0, -1.0)).double()
        sizes = [code.shape[:2] for code in codes]
        parts = numbers.split([filters * columns for filters, columns in sizes])
        self._numbers = [part.view(size) for part, size in zip(parts, sizes, strict=True)]

    def coefficients(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """Return log c, [batch, terms], of weights [batch, filters, filter_size], and 1 where c is not zero, else 0.

        The logarithm of a coefficient that is zero is returned as 0.
        """
        first = next(iter(weights.values()))
        parts = [
            (numbers.flatten(), stage.take(weights[stage.layer]).flatten(1))
            for stage, numbers in zip(self._stages, self._numbers, strict=True)
        ]
        # The largest entry of a term is taken out first: squares neither overflow nor vanish.
        largest = first.new_zeros(len(first), len(self._labels) + 1)
        for numbers, theta in parts:
            largest = largest.scatter_reduce(1, numbers.expand_as(theta), theta.detach().abs(), "amax")
        some = largest > 0
        largest = torch.where(some, largest, 1.0)
        squares = torch.zeros_like(largest)
        for numbers, theta in parts:
            squares = squares.index_add(1, numbers, (theta / largest[:, numbers]).square())
        logarithms = torch.where(some, squares, 1.0).log() + 2 * largest.log()
        return logarithms[:, :-1], some[:, :-1].to(first.dtype)

    def multiply(self, weights: Weights, factors: Tensor) -> Weights:
        """Multiply the weights of each term by a factor, [batch, terms]."""
        result = dict(weights)
        padded = torch.cat([factors, torch.ones_like(factors[:, :1])], 1)
        for stage, numbers in zip(self._stages, self._numbers, strict=True):
            theta = result[stage.layer]
            result[stage.layer] = stage.put(theta, stage.take(theta) * padded[:, numbers])
        return result

    def values(self, coefficients: Tensor, alive: Tensor, logarithms: Tensor) -> Tensor:
        """Return the values of all terms, [batch, terms], beside the largest one of each network.

        Args:
            coefficients: log c, [batch, terms].
            alive: 1 for terms that count, 0 for others, [batch, terms].
            logarithms: u, [batch, labels].
        """
        exponents = coefficients + 2 * self.exponents(logarithms)
        largest = torch.where(alive > 0, exponents.detach(), -math.inf).amax(1, keepdim=True)
        return alive * torch.where(alive > 0, exponents - largest, 0.0).exp()

    def exponents(self, logarithms: Tensor) -> Tensor:
        """Return Σ_l a_tl u_l of each term, [batch, terms], of u [batch, labels]."""
        padded = torch.cat([logarithms, torch.zeros_like(logarithms[:, :1])], 1)
        total = torch.zeros_like(padded[:, self._labels[:, 0]])
        for labels, powers in zip(self._labels.T, self._powers.T, strict=True):
            total = total + powers * padded[:, labels]
        return total

    def gather(self, values: Tensor) -> Tensor:
        """Return Σ_t a_tl v_t of each label, [batch, labels], of v [batch, terms]: the transpose of `exponents`."""
        return self._add_up(values, self._powers)

    def sides(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each label the sums of v [batch, terms] over terms that it multiplies, and that it divides."""
        return self._add_up(values, self._powers.clamp(min=0)), self._add_up(values, -self._powers.clamp(max=0))

    def weigh(self, values: Tensor) -> Tensor:
        """Return Σ_t a_tl² v_t of each label, [batch, labels]."""
        return self._add_up(values, self._powers.abs())

    def _add_up(self, values: Tensor, powers: Tensor) -> Tensor:
        total = values.new_zeros(len(values), self.count + 1)
        for labels, each in zip(self._labels.T, powers.T, strict=True):
            total = total.index_add(1, labels, values * each)
        return total[:, :-1]

    def alive(self, some: Tensor) -> Tensor:
        """Return 1 for terms that have a part in the function, 0 for those of units which nothing writes or reads.

        Terms, 1 where the coefficient is not zero, [batch, terms], give [batch, terms]. A term that vanishes may leave
        others without a reader, or a writer: it is gone on with until nothing changes, which takes no more rounds than
        there are layers.
        """
        kept = torch.ones_like(some)
        for _ in self._stages:
            written, read = self.sides(some * kept)
            idle = ((written == 0) | (read == 0)).to(kept.dtype)
            kept = (self._add_none(idle) == 0).to(kept.dtype)
        return kept

    def _add_none(self, values: Tensor) -> Tensor:
        """Add up values of labels, [batch, labels], for each term, whichever way a label stands in it."""
        padded = torch.cat([values, torch.zeros_like(values[:, :1])], 1)
        return torch.stack([padded[:, labels] for labels in self._labels.T]).sum(0)


def _codes(orbits: Orbits, stage: Stage) -> Tensor:
    """Code what is done to each weight of a stage, [filters, columns, labels], sorted.

    A label l that multiplies has the code l, one that divides count + l, and none 2 count.
    """
    count, layer = orbits.scaling.count, orbits.structure.spec.layer(stage.layer)
    shape = layer.filters, layer.filter_size if stage.columns is None else len(stage.columns)
    written = [grid.expand(shape) for grid in stage.writes]
    read = [grid.expand(shape) for grid in stage.reads]
    for i, one in enumerate(written):
        for j, other in enumerate(read):  # a recurrent layer's own units: both ways is neither
            same = (written[i] == read[j]) & (one < count)
            written[i], read[j] = (torch.where(same, count, grid) for grid in (written[i], other))
    codes = [torch.where(grid == count, 2 * count, grid) for grid in written]
    codes += [torch.where(grid == count, 2 * count, grid + count) for grid in read]
    return torch.stack(codes, -1).sort(-1).values


def _pad(codes: Tensor, width: int, value: int) -> Tensor:
    """Lay out codes [filters, columns, labels] in rows of one width, [weights, width]."""
    rows = codes.flatten(0, 1)
    return torch.cat([rows, rows.new_full((len(rows), width - rows.shape[1]), value)], 1)
