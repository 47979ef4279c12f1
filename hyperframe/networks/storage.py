"""Drawn networks as files: all in one safetensors file, or a state_dict in a file for each.

The one file holds, under the names of the target's state_dict, `{parameter: [networks, *shape]}` and the statistics
likewise. safetensors and torch alone read it:

    from safetensors.torch import load_file
    networks = load_file("networks.safetensors")
    module.load_state_dict({name: value[3] for name, value in networks.items()})    # the fourth one

Constants of the target, and further names of a tensor (of a parameter that modules share, or of a module that has two
names), are in the files for each network only; load the one file's networks with strict=False where there are any.

Its header says, as JSON under the key `hyperframe`, where the networks come from: run, step, seed, gauges, number; and
what of their target the tensors do not show: its name, the operations between its layers, a digest of its constants.

A file holds no standardisation among its tensors, since the target's module would not load them. Where the run has one,
the header has the numbers: a network takes (x − mean) / std with those of `inputs`, each a flat list over one input,
and its outputs, times std plus mean of `outputs`, are in the labels' own units.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hyperframe.errors import RunError, notice
from hyperframe.networks.sampled import Networks
from hyperframe.networks.target import Target
from hyperframe.options import shown
from hyperframe.runtime.files import (
    check_new_file,
    contents,
    exists,
    fingerprint,
    from_json,
    opened_tensors,
    user_path,
    whole_folder,
    write_tensors,
)
from hyperframe.runtime.memory import missing_memory
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.weights import pack, unpack
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Task, Weights

FORMAT = "hyperframe networks 1"
ONE = "hyperframe network 1"
"""The format of the files that hold one network each."""
HEADER = "hyperframe"
"""All of the header is one entry: the library writes several in an order that changes."""
STATE_DICT = "network_{:05d}.safetensors"


def write_samples(path: str | Path, draw: Callable[[], Networks], origin: Mapping[str, str]) -> Path:
    """Write drawn networks into one file; see the module's description.

    Args:
        path: the file, which must not exist; its ending is .safetensors, or it has none.
        draw: draws the networks; called when the file is known to be free.
        origin: what the header says of them.

    Raises:
        RunError: the file exists, ends otherwise, or cannot be written.
    """
    file = _named(path)
    if file.suffix not in ("", ".safetensors"):  # such as .pt, as which nothing would read it
        raise RunError(f"{file}: networks are written as safetensors; name a file that ends in .safetensors")
    if exists(file):
        raise RunError(f"{file} exists already; name another file, or remove it")
    networks = draw()
    store_networks(file, networks, origin)
    _tell_standardised(networks)
    return file


def store_networks(file: Path, networks: Networks, origin: Mapping[str, str]) -> None:
    """Write networks into one file for those who read it with the library, which knows how inputs are standardised."""
    tensors = {**unpack(networks.target.spec, networks.weights), **networks.statistics}
    write_tensors(file, tensors, {HEADER: json.dumps(_header(FORMAT, origin, networks))})


def write_network(path: str | Path, make: Callable[[], Networks], origin: Mapping[str, str]) -> tuple[Path, Networks]:
    """Write the complete state_dict of one network, constants included, into a file that its module loads.

    Args:
        path: the file, which must not exist and ends in .safetensors.
        make: makes the network; called when the file is known to be free.
        origin: what the header says of it.

    Returns:
        The file, and the network.

    Raises:
        RunError: the file exists, ends otherwise, or cannot be written.
        DivergedError: the network's weights or outputs are not finite numbers.
    """
    file = _named(path)
    check_new_file(file, (".safetensors",), "the network is")
    network = make()
    network.check_finite()
    write_tensors(file, network.state_dict(0), {HEADER: json.dumps(_header(ONE, origin, network))})
    _tell_standardised(network)
    return file, network


def _header(kind: str, origin: Mapping[str, str], networks: Networks) -> dict[str, Any]:
    """Return the header of a file of these networks."""
    target, task = networks.target, networks.task
    numbers = {name: known.plain() for name, known in _standardisations(target, task).items()}
    return {"format": kind, **origin, **_identity(target, task), **numbers}


def _tell_standardised(networks: Networks) -> None:
    """Say where networks that are written do not work on values in their own units."""
    known = _standardisations(networks.target, networks.task)
    if known:
        notice(
            f"networks that are written work on standardised {' and '.join(known)}, (value - mean) / std; the "
            f"numbers stand in the header, as JSON under '{HEADER}'"
        )


def _standardisations(target: Target, task: Task) -> dict[str, Standardisation]:
    """Return how inputs and outputs are standardised, where they are."""
    known = {"inputs": target.inputs, "outputs": task.standardised_labels}
    return {name: value for name, value in known.items() if value is not None}


def _identity(target: Target, task: Task) -> dict[str, str]:
    """The target's identity, and digests of its constants and of standardisations."""
    constants = target.constants()
    moments = {
        f"{name}.{key}": value
        for name, known in _standardisations(target, task).items()
        for key, value in (("mean", known.mean), ("std", known.std))
    }
    return {
        **target.identity(),
        "constants": fingerprint(constants) if constants else "",
        "standardisation": fingerprint(moments) if moments else "",
    }


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
    final = absent_or_empty(folder)
    networks = draw()
    header = _header(ONE, origin, networks)
    with whole_folder(final) as partial:
        for number in range(len(networks)):
            own = {HEADER: json.dumps({**header, "network": str(number)})}
            write_tensors(partial / STATE_DICT.format(number), networks.state_dict(number), own)
    _tell_standardised(networks)
    return final


def absent_or_empty(path: str | Path) -> Path:
    """Return the path of a folder that is absent or empty.

    Raises:
        RunError: it holds something, is a file, or has no name of its own.
    """
    folder = _named(path)
    if folder.name in ("", ".."):
        raise RunError(f"the folder {folder} must have a name of its own; name one that does not exist yet")
    if exists(folder) and (not folder.is_dir() or contents(folder)):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise RunError(f"the folder {folder} {what}; name one that is empty, or that does not exist yet")
    return folder


def _named(path: str | Path) -> Path:
    if not str(path):
        raise RunError("the output has no name")
    if "\0" in str(path):
        raise RunError(f"{str(path)!r} cannot be written: no file can have a name with a null character")
    return user_path(path)


def read_samples(path: str | Path, target: Target, task: Task, device: torch.device) -> Networks:
    """Read networks that `write_samples` wrote.

    The header, names, shapes and types are compared with the target's before anything is read.

    Raises:
        RunError: the file is damaged, or holds networks of another target.
        DivergedError: weights or outputs of networks are not finite numbers.
    """
    file = user_path(path)
    parameters = _parameters(target.spec)
    statistics = {name: value[0] for name, value in target.new_statistics(1).items()}
    wanted = {name: (shape, _TYPES[target.dtype]) for name, shape in parameters.items()}
    wanted |= {name: (tuple(value.shape), _TYPES[value.dtype]) for name, value in statistics.items()}
    with opened_tensors(file) as opened:
        names = list(opened.keys())
        _check_header(file, opened.metadata() or {}, _identity(target, task))
        if set(names) != set(wanted):
            name = min(set(names) ^ set(wanted))
            what = "lacks" if name in wanted else "holds"
            raise RunError(f"{file} does not fit target '{target.spec.name}' of the run: it {what} '{name}'")
        _, needed = _count(file, opened, wanted, target.spec)
        missing = missing_memory(2 * needed)
        if missing:
            raise RunError(f"{file} is too large: {missing}")
        tensors = {name: opened.get_tensor(name).to(device) for name in names}
    weights = pack(target.spec, {name: tensors[name] for name in parameters})
    networks = Networks(target, task, weights, {name: tensors[name] for name in statistics}, str(file))
    networks.check_finite()
    return networks


def read_first_weights(path: str | Path, spec: TargetSpec) -> Weights:
    """Read the weights of the first network of a file that `write_samples` wrote: for each layer [1, filters, size].

    Statistics, and constants of the target, are not looked at.

    Raises:
        RunError: the file is damaged, or holds networks of another target.
    """
    file = user_path(path)
    parameters = _parameters(spec)
    with opened_tensors(file) as opened:
        names = set(opened.keys())
        _check_header(file, opened.metadata() or {}, {"target": spec.name})
        for name in parameters:
            if name not in names:
                raise RunError(f"{file} does not fit target '{spec.name}' of the run: it lacks '{name}'")
        _count(file, opened, {name: (shape, "F32") for name, shape in parameters.items()}, spec)
        tensors = {name: opened.get_slice(name)[:1].clone() for name in parameters}
    return pack(spec, tensors)


def _parameters(spec: TargetSpec) -> dict[str, tuple[int, ...]]:
    return {param.parameter: param.known_shape for layer in spec.layers for param in layer.params}


def _count(
    file: Path, opened: Any, wanted: Mapping[str, tuple[tuple[int, ...], str]], spec: TargetSpec
) -> tuple[int, int]:
    """Check shapes and types of tensors; how many networks they are of, and their size in bytes."""
    count, needed = 0, 0
    for name, (shape, kind) in wanted.items():
        part = opened.get_slice(name)
        found = tuple(part.get_shape())
        count = found[0] if not count and found else count
        if found != (count, *shape) or not count or part.get_dtype() != kind:
            should = ", ".join(map(str, [count or "networks", *shape]))
            raise RunError(
                f"{file} does not fit target '{spec.name}' of the run: '{name}' is {part.get_dtype()} "
                f"{list(found)}, should be {kind} [{should}]"
            )
        needed += torch.Size(found).numel() * (4 if kind == "F32" else 8)
    return count, needed


_TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}


def _check_header(file: Path, metadata: Mapping[str, str], identity: Mapping[str, str]) -> None:
    try:
        header: dict[str, Any] = from_json(metadata.get(HEADER, "{}"))
    except ValueError as error:
        raise RunError(f"{file} is damaged: its header is no JSON: {error}") from error
    if header.get("format") == ONE:
        raise RunError(f"{file} holds one network; networks are read from a file that 'sample --out' wrote")
    if header.get("format") != FORMAT:
        raise RunError(f"{file} is no file of networks that 'sample --out' wrote, or is of another version")
    for key, value in identity.items():
        if header.get(key) != value:
            found = shown(header.get(key))
            raise RunError(
                f"{file} holds networks of another target than the run's: its {key}: {found}, the run's '{value}'"
            )
