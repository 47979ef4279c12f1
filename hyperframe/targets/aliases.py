"""A module's tensors under all their names: modules with two names, tied parameters, buffers that modules share."""

from collections.abc import Iterator, Mapping
from itertools import chain, pairwise

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hyperframe.errors import SpecError


def every_tensor(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Iterate over all parameters and buffers, under each of their names; also buffers that state_dicts leave out."""
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def own_names(module: nn.Module) -> dict[str, str]:
    """Return for each name of a parameter or buffer the first name of the same tensor, parameters before buffers.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> own_names(nn.Sequential(norm, nn.Sequential(norm)))["1.0.running_mean"]
        '0.running_mean'
    """
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in every_tensor(module)}


def tied_names(module: nn.Module, aliases: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases that are places of their own: not first names, and not another path to the same module."""
    taken: set[tuple[int, str]] = set()
    tied = {}
    for name, own in sorted(aliases.items(), key=lambda item: item[0] != item[1]):
        path, _, local = name.rpartition(".")
        place = id(module.get_submodule(path)), local
        if place not in taken and name != own:
            tied[name] = own
        taken.add(place)
    return tied


def tie_buffers(module: nn.Module, own: Mapping[str, str]) -> None:
    """Let buffers with several names be one tensor again; moving a module to a device or precision makes them two.

    Args:
        module: the module.
        own: what `own_names` said of it before.
    """
    for name, buffer in list(module.named_buffers(remove_duplicate=False)):
        path, _, local = name.rpartition(".")
        first = module.get_buffer(own[name]) if own[name] != name else buffer
        if first is not buffer:
            module.get_submodule(path)._buffers[local] = first


def check_memory(module: nn.Module, where: str) -> None:
    """Check that no two tensors of a module lie in the same memory, as views of one tensor do.

    What one of them is given, the other would have too, but no copy of the module is made so: the same weights would
    be another function in the copy. A tensor with several names is one tensor.

    Args:
        module: as its author made it, not a copy.
        where: how messages begin.

    Raises:
        SpecError: two of them do.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> net[1].weight = nn.Parameter(net[0].weight.data)
        >>> check_memory(net, "net")
        Traceback (most recent call last):
        ...
        hyperframe.errors.SpecError: net: '0.weight' and '1.weight' lie in the same memory and are not one tensor; ...
    """
    known: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in every_tensor(module):
        if not is_lazy(tensor) and tensor.numel() and tensor.untyped_storage().data_ptr():
            known.setdefault(id(tensor), (name, tensor))
    for (name, one), (other, two) in pairwise(sorted(known.values(), key=lambda entry: _place(entry[1]))):
        if one.device == two.device and two.data_ptr() < _end(one):
            raise SpecError(
                f"{where}: '{min(name, other)}' and '{max(name, other)}' lie in the same memory and are not one "
                "tensor; let both names be the same Parameter or buffer, or give one of them memory of its own "
                "(.clone())"
            )


def _place(tensor: Tensor) -> tuple[str, int]:
    return str(tensor.device), tensor.data_ptr()


def _end(tensor: Tensor) -> int:
    """Return the address behind a tensor's last entry."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr() + (last + 1) * tensor.element_size()
