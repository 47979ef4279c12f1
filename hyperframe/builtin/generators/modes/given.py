"""Base points that are given: state_dicts of trained networks."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from hyperframe import Weights
from hyperframe.errors import ConfigError
from hyperframe.runtime.files import read_tensors, user_path
from hyperframe.targets import TargetSpec, concatenate
from hyperframe.targets.weights import pack


def read_points(files: Sequence[str], spec: TargetSpec) -> Weights:
    """Read the weights of networks from a safetensors file each: for each layer [files, filters, filter_size].

    A file holds a state_dict, as 'hyperframe sample --split' and 'hyperframe distill' write it. Buffers, such as a
    normalisation's running moments, are not looked at. Where the target is a module around the network, as with prior
    functions, the network's own state_dict does too. Of a part of a network the file's other weights are not looked at
    here; `hyperframe.training.beginning` compares them. At adapters (`target.adapter`) no file can begin.

    Raises:
        ConfigError: a file holds no network of this target.
        RunError: there is no such file, or it is damaged.
    """
    return concatenate([_read(file, spec) for file in files])


def _read(file: str, spec: TargetSpec) -> Weights:
    tensors = read_tensors(user_path(file))
    wanted = {param.parameter: param.known_shape for layer in spec.layers for param in layer.params}
    tensors = {**_below(tensors, wanted), **tensors}
    for name, shape in wanted.items():
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != torch.float32:
            what = "missing" if found is None else f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
            raise ConfigError(
                f"generator.from: {file} holds no network of target '{spec.name}': '{name}' is {what}, should be "
                f"float32 {list(shape)}"
            )
        if not bool(found.isfinite().all()):
            raise ConfigError(f"generator.from: {file}: '{name}' is not finite")
    return pack(spec, {name: tensors[name][None] for name in wanted})


def _below(tensors: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Put the tensors below the module that all wanted names begin with, such as 'network'; none if these differ."""
    modules = {name.rpartition(".")[0].partition(".")[0] for name in wanted}
    if len(modules) != 1:
        return {}
    return {f"{next(iter(modules))}.{name}": value for name, value in tensors.items()}
