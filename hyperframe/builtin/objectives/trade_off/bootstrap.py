"""Bootstrap weights of the training examples for each network, as a function of its z."""

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.errors import MemoryShortageError
from hyperframe.runtime.memory import missing_memory
from hyperframe.runtime.rng import stream


@attrs.frozen
class _Key:
    examples: int
    entries: int
    seed: int
    device: torch.device
    dtype: torch.dtype


class Bootstrap:
    """Weighs each example for each network: v(z, i) = g(c_i · code / ‖code‖), with fixed normal rows c_i.

    For every network u = c_i · code / ‖code‖ is standard normal over the examples, and the u of two networks correlate
    by the cosine of their codes: networks with orthogonal codes, such as those of `direct`, get independent bootstraps,
    and similar z get similar data. With "bernoulli" v = 2 · 1[u > 0]: each network sees half of the examples. With
    "exponential" v = −log(1 − Φ(u)): the Bayesian bootstrap. Both are 1 on average.

    The rows are drawn on the CPU, the same for every device, at the first call, and stay on the codes' device: they
    take examples × entries numbers of memory.

    References:
        V. Dwaracherla et al. (2020), Hypermodels for Exploration; D. B. Rubin (1981), The Bayesian Bootstrap.

    Example:
        >>> codes = torch.eye(2)
        >>> ids = torch.arange(1000).expand(2, 1000)
        >>> counts = Bootstrap("bernoulli")(codes, ids, examples=1000, seed=0)
        >>> counts.unique().tolist(), round(float(counts.mean()), 1)
        ([0.0, 2.0], 1.0)
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[_Key, Tensor] = {}

    @torch.no_grad()
    def __call__(self, code: Tensor, ids: Tensor, examples: int, seed: int) -> Tensor:
        """Return the examples' weights, [networks, batch].

        Args:
            code: rows that tell the networks apart, [networks, entries].
            ids: numbers of the examples, [networks, batch].
            examples: how many there are.
            seed: of the examples' rows.
        """
        rows = self._rows_of(_Key(examples, code.shape[1], seed, code.device, code.dtype))
        u = torch.einsum("nbe,ne->nb", rows[ids], F.normalize(code, dim=1))
        if self.kind == "bernoulli":
            return 2 * (u > 0).to(code)
        logs: Tensor = torch.special.log_ndtr(-u)  # 1 − Φ(u) = Φ(−u), without cancellation
        return -logs

    def _rows_of(self, key: _Key) -> Tensor:
        """The examples' rows, [examples, entries], which are drawn once and stay, since a CUDA graph may read them."""
        if key not in self._rows:
            size = (key.examples, key.entries)
            missing = missing_memory(4 * key.examples * key.entries)
            if missing:
                raise MemoryShortageError(
                    f"objective.bootstrap={self.kind} keeps {key.entries:,} numbers for each of {key.examples:,} "
                    f"examples: {missing}; a generator with a smaller latent needs less"
                )
            drawn = torch.randn(size, generator=stream(key.seed, "bootstrap weights"))
            self._rows[key] = drawn.to(key.device, key.dtype)
        return self._rows[key]
