"""Principal components of samples with many entries, of which only some columns are held at a time."""

import attrs
import torch
from torch import Tensor

DENSE = 400
"""The most samples for which all eigenvectors are computed; for more, only the greatest are."""

SMALLEST = 1e-7
"""Components with a smaller part of the variance are rounding errors of single precision, and are dropped."""


@attrs.frozen(kw_only=True, eq=False)
class Components:
    """Principal components.

    Attributes:
        points: each sample's coordinates along the components, of zero mean, float64 [samples, components].
        ratios: the components' parts of the whole variance, falling, float64 [components].
    """

    points: Tensor
    ratios: Tensor

    @property
    def excess_kurtosis(self) -> Tensor:
        """E x⁴ / (E x²)² − 3 along each component, [components]; 0 if normal, −1.2 if uniform."""
        squares = self.points.square()
        return squares.square().mean(0) / squares.mean(0).square() - 3


class Gram:
    """Accumulates the inner products of centred samples X from some columns at a time.

    (X − x̄)(X − x̄)ᵀ, [samples, samples], is the sum of the same products of groups of columns, so that only one group
    must be held at a time. It has the same nonzero eigenvalues as n times the covariance, which for the weights of
    whole networks is a far larger matrix.

    Args:
        samples: the number of samples n.

    Attributes:
        products: the matrix, float64, on the device of the columns.

    Example:
        >>> gram = Gram(3)
        >>> gram.add(torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]))
        >>> gram.components(6).ratios.tolist()      # on one line
        [1.0]
    """

    def __init__(self, samples: int) -> None:
        self.products = torch.zeros(samples, samples, dtype=torch.float64)
        self._entries = 0

    def add(self, columns: Tensor) -> None:
        """Take in some entries of all samples, [samples, columns]; products are computed in the columns' precision."""
        centred = columns - columns.mean(0)
        self.products = self.products.to(columns.device)
        self.products += centred @ centred.T
        self._entries += columns.shape[1]

    def merge(self, other: "Gram") -> None:
        """Take in all entries of another Gram matrix."""
        self.products = self.products.to(other.products.device)
        self.products += other.products
        self._entries += other._entries

    def components(self, count: int) -> Components:
        """Return the components with the greatest variance, at most `count`; none without variance.

        The sign of each is chosen so that the coordinate farthest from zero is positive.
        """
        samples = len(self.products)
        total = float(self.products.trace())
        wanted = min(count, self._entries, samples - 1)
        if total <= 0 or wanted < 1:
            empty = self.products.new_zeros(samples, 0).cpu()
            return Components(points=empty, ratios=empty[0])
        values, vectors = _greatest(self.products.cpu(), wanted)
        kept = values > SMALLEST * total
        values, vectors = values[kept], vectors[:, kept]
        farthest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        return Components(points=vectors * farthest.sign() * values.sqrt(), ratios=values / total)


def _greatest(products: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the greatest eigenvalues of a symmetric matrix, decreasing, and their vectors: [count], [size, count]."""
    if len(products) <= DENSE:
        values, vectors = torch.linalg.eigh(products)
        return values.flip(0)[:count], vectors.flip(1)[:, :count]
    from scipy.sparse.linalg import eigsh  # noqa: PLC0415  (slow to import)

    start = torch.randn(len(products), generator=torch.Generator().manual_seed(0), dtype=products.dtype)
    found, directions = eigsh(products.numpy(), k=count, v0=start.numpy(), tol=1e-9)
    values, order = torch.from_numpy(found).sort(descending=True)
    return values, torch.from_numpy(directions)[:, order]
