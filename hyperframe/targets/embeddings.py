"""Embeddings: which of their options go with generated weights, and whether numbers are rows of their tables.

Torch compares an index with a table's size, but not where many networks run as one batch: there a number that is too
large reads a row of the next network.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hyperframe.errors import DataError, SpecError

EXAMPLES_AT_ONCE = 1024
"""Examples whose numbers are compared with the tables' sizes in one pass."""

OF_GRADIENTS: dict[type[nn.Module], dict[str, Any]] = {
    nn.Embedding: {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False},
    nn.EmbeddingBag: {"scale_grad_by_freq": False, "sparse": False},
}
"""Options that change how a table is trained and not what is looked up, with the values that leave gradients alone."""

LOOKUPS = (nn.functional.embedding, nn.functional.embedding_bag)


def with_plain_gradients(module: nn.Module) -> dict[str, dict[str, Any]]:
    """Turn off, in place, options that change an embedding's gradient; return those that were on, by the part's name.

    A gradient is passed on to the generator, and has to be that of the loss.

    Example:
        >>> module = nn.Sequential(nn.Embedding(5, 2, padding_idx=0), nn.Flatten())
        >>> with_plain_gradients(module), module[0].padding_idx
        ({'0': {'padding_idx': 0}}, None)
    """
    changed: dict[str, dict[str, Any]] = {}
    for name, part in module.named_modules():
        for kind, plain in OF_GRADIENTS.items():
            given = {key: getattr(part, key) for key in plain} if isinstance(part, kind) else {}
            other = {key: value for key, value in given.items() if value != plain[key]}
            if other:
                changed[name] = other
                vars(part).update({key: plain[key] for key in other})
    return changed


def set_options(module: nn.Module, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Put back options that `with_plain_gradients` turned off."""
    for name, values in options.items():
        vars(module.get_submodule(name)).update(values)


class Lookups(TorchFunctionMode):
    """Within it, looking up a number that is no row of its table raises an error that names the number.

    Args:
        module: whose tables they are, for messages.
        where: how messages begin.
        last: stop with `AllSeen` after so many lookups.

    Attributes:
        indices: what was looked up by so far.
    """

    class AllSeen(Exception):  # noqa: N818  (no error)
        """There is nothing more to look up."""

    def __init__(self, module: nn.Module, where: str, last: int | None = None) -> None:
        super().__init__()
        self._names = {id(value): name for name, value in module.named_parameters()}
        self._where, self._last = where, last
        self.indices: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function, once the numbers that it looks up are known to be rows."""
        kwargs = kwargs or {}
        if func in LOOKUPS:
            given = inspect.signature(func).bind(*args, **kwargs).arguments
            self._check_options(func, given)
            self._see(given["input"], given["weight"], 0)
        elif func is Tensor.__getitem__ and id(args[0]) in self._names:
            first = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
            if isinstance(first, Tensor) and first.dtype in (torch.int64, torch.int32):
                self._see(first, args[0], -len(args[0]))
        return func(*args, **kwargs)

    def _check_options(self, func: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Refuse what a batch of generated tables cannot have; the options of modules have been turned off."""
        refused = ["max_norm", "scale_grad_by_freq", "sparse"] + ["padding_idx"] * (func is nn.functional.embedding)
        for option in refused:
            value = given.get(option)
            if value is not None and value is not False:
                why = "changes the weights in forward" if option == "max_norm" else "changes their gradients"
                raise SpecError(
                    f"{self._where}: {self._table(given['weight'])} is looked up with {option}={value}, which "
                    f"{why}; generated weights do without: leave {option} out"
                )

    def _see(self, index: Tensor, table: Tensor, lowest: int) -> None:
        self.indices.append(index)
        if index.is_floating_point():  # which torch refuses
            return
        for value in index.aminmax() if index.numel() else ():
            if not lowest <= int(value) < len(table):
                raise DataError(
                    f"{self._where}: an input is looked up as row {int(value)} of {self._table(table)}, which has "
                    f"{len(table)} rows, {lowest} to {len(table) - 1}"
                )
        if len(self.indices) == self._last:
            raise self.AllSeen

    def _table(self, table: Tensor) -> str:
        name = self._names.get(id(table))
        return "a table" if name is None else f"'{name}'"


@torch.no_grad()
def check_rows(module: nn.Module, inputs: Tensor, where: str) -> None:
    """Check that all rows that inputs [examples, ...] look up are there, up to the last lookup of a pass.

    Args:
        module: in evaluation mode; is copied, and stays as it is.
        inputs: as the module takes them; on any device.
        where: how messages begin.

    Raises:
        DataError: a number is no row of its table.

    Example:
        >>> check_rows(nn.Embedding(5, 2), torch.tensor([[1, 7]]), "mine")
        Traceback (most recent call last):
        ...
        hyperframe.errors.DataError: mine: an input is looked up as row 7 of 'weight', which has 5 rows, 0 to 4
    """
    module = copy.deepcopy(module).cpu().float()
    last: int | None = None
    for part in inputs.split(EXAMPLES_AT_ONCE):
        lookups = Lookups(module, where, last)
        try:
            with lookups:
                module(part.cpu())
        except Lookups.AllSeen:
            continue
        last = len(lookups.indices)
        if not last:
            return
