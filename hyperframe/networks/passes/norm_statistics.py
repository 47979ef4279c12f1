"""Statistics of normalisations as plain means over all that they see."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any


class PlainMeans:
    """Within it normalisations run in training, and their statistics become plain means over all that they see.

    The k-th update of a moment counts 1/k, also where several normalisations share it or one is used several times.

    Args:
        norms: by their names.
        own_names: of their statistics, see `hyperframe.targets.aliases`.
    """

    def __init__(self, norms: Mapping[str, Any], own_names: Mapping[str, str]) -> None:
        self._norms, self._names = norms, own_names
        self._momenta = {name: norm.momentum for name, norm in norms.items()}
        self._seen: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._handles: list[Any] = []

    def __enter__(self) -> "PlainMeans":
        for name, norm in self._norms.items():
            self._handles.append(norm.register_forward_pre_hook(partial(self._set_momentum, name)))
        return self

    def begin(self, new: bool) -> None:
        """Some networks see a batch: a new one, or the one that others have just seen."""
        self._before = self._seen if new else self._before
        self._seen = self._before.copy()
        for norm in self._norms.values():
            norm.train()

    def _set_momentum(self, name: str, norm: Any, inputs: Any) -> None:
        moment = self._names[f"{name}.running_mean" if name else "running_mean"]
        self._seen[moment] += 1
        norm.momentum = 1 / self._seen[moment]

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        for name, momentum in self._momenta.items():
            self._norms[name].momentum = momentum
