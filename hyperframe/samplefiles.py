"""Drawn networks as files: all in one safetensors file, or a state_dict in a file for each.

The one file holds, under the names of the target's state_dict, `{parameter: [networks, *shape]}` and the statistics
likewise. safetensors and torch alone read it:

    from safetensors.torch import load_file
    networks = load_file("networks.safetensors")
    module.load_state_dict({name: value[3] for name, value in networks.items()})    # the fourth one

Its header says where the networks come from: target, number, run, step, seed, gauges.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from hyperframe.errors import RunError
from hyperframe.files import exists, flush, opened_tensors, partial_of, write_tensors, writing
from hyperframe.memory import missing_memory
from hyperframe.samples import Networks
from hyperframe.target import Target
from hyperframe.types import Task
from hyperframe.weights import pack, unpack

FORMAT = "hyperframe networks 1"
STATE_DICT = "network_{:05d}.safetensors"


def write_samples(path: str | Path, draw: Callable[[], Networks], origin: Mapping[str, str]) -> Path:
    """Write drawn networks into one file; see the module's description.

    Args:
        path: the file, which must not exist.
        draw: draws the networks; called when the file is known to be free.
        origin: what the header says of them.

    Raises:
        RunError: the file exists, or cannot be written.
    """
    file = _named(path)
    if exists(file):
        raise RunError(f"{file} exists already; name another file, or remove it")
    networks = draw()
    tensors = {**unpack(networks.target.spec, networks.weights), **networks.statistics}
    write_tensors(file, tensors, {"format": FORMAT, **origin})
    return file


def write_state_dicts(folder: str | Path, draw: Callable[[], Networks], origin: Mapping[str, str]) -> Path:
    """Write each drawn network's complete state_dict, constants included, into a file of its own.

    The folder appears when all of them are written.

    Args:
        folder: absent or empty.
        draw: draws the networks; called when the folder is known to be free.
        origin: what the headers say of them.

    Raises:
        RunError: the folder holds something, is a file, or cannot be written.
    """
    final = _named(folder)
    if exists(final) and (not final.is_dir() or any(final.iterdir())):
        what = "is not empty" if final.is_dir() else "is a file"
        raise RunError(f"the folder {final} {what}; name one that is empty, or that does not exist yet")
    networks = draw()
    partial = partial_of(final)
    try:
        with writing(final):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for number in range(len(networks)):
                header = {"format": FORMAT, **origin, "network": str(number)}
                write_tensors(partial / STATE_DICT.format(number), networks.state_dict(number), header)
            flush(partial)
            if final.exists():
                final.rmdir()
            partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def _named(path: str | Path) -> Path:
    if not str(path):
        raise RunError("the output has no name")
    return Path(path)


def read_samples(path: str | Path, target: Target, task: Task, device: torch.device) -> Networks:
    """Read networks that `write_samples` wrote.

    Names, shapes and types are compared with the target's before anything is read.

    Raises:
        RunError: the file is damaged, or holds networks of another target.
    """
    file = Path(path)
    parameters = {param.parameter: param.known_shape for layer in target.spec.layers for param in layer.params}
    statistics = {name: value[0] for name, value in target.new_statistics(1).items()}
    wanted = {name: (shape, "F32") for name, shape in parameters.items()}
    wanted |= {name: (tuple(value.shape), _TYPES[value.dtype]) for name, value in statistics.items()}
    with opened_tensors(file) as opened:
        header = opened.metadata() or {}
        names = list(opened.keys())
        if header.get("format") != FORMAT:
            raise RunError(f"{file} is no file of networks: its format is {header.get('format')!r}, not {FORMAT!r}")
        if set(names) != set(wanted):
            name = min(set(names) ^ set(wanted))
            what = "lacks" if name in wanted else "holds"
            raise RunError(
                f"{file} holds networks of target '{header.get('target')}': it {what} '{name}'; {_of(target)}"
            )
        count, needed = None, 0
        for name, (shape, kind) in wanted.items():
            part = opened.get_slice(name)
            found = tuple(part.get_shape())
            count = found[0] if count is None and found else count
            if found != (count, *shape) or not count or part.get_dtype() != kind:
                raise RunError(
                    f"{file} holds networks of target '{header.get('target')}': '{name}' is {part.get_dtype()} "
                    f"{list(found)}, should be {kind} {[count or 'networks', *shape]}; {_of(target)}"
                )
            needed += torch.Size(found).numel() * (8 if kind == "I64" else 4)
        missing = missing_memory(2 * needed)
        if missing:
            raise RunError(f"{file} is too large: {missing}")
        tensors = {name: opened.get_tensor(name).to(device) for name in names}
    weights = pack(target.spec, {name: tensors[name] for name in parameters})
    return Networks(target, task, weights, {name: tensors[name] for name in statistics})


_TYPES = {torch.float32: "F32", torch.int64: "I64"}


def _of(target: Target) -> str:
    return f"the run's target is '{target.spec.name}'"
