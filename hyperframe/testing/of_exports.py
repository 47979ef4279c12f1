"""Laws of exported networks: as a module, a state_dict or a file, a network computes what it does in the batch."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hyperframe.errors import SpecError
from hyperframe.experiment.preflight import check_steady
from hyperframe.networks.sampled import Networks, select
from hyperframe.networks.storage import read_samples, write_network, write_samples, write_state_dicts
from hyperframe.networks.target import Target
from hyperframe.targets.aliases import every_tensor, own_names
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.testing.laws import Broken, Draw, Law, relative
from hyperframe.testing.networks import Classes
from hyperframe.testing.of_targets import TOLERANCE, TargetCase

BATCHES = 2
"""The number of batches from which statistics are estimated."""


def _agrees(case: TargetCase, draw: Draw) -> str:
    """Every export has the outputs of the batched forward pass."""
    rng = draw.rng()
    weights = redraw(case.spec, case.several, rng)
    batches = case.inputs(BATCHES * draw.examples, rng).unflatten(0, (BATCHES, draw.examples))
    statistics = case.target.estimate_statistics(weights, batches)
    networks = Networks(case.target, Classes(case.spec), weights, statistics)
    inputs = batches[0]
    expected = networks.gathered(inputs, lambda outputs: outputs)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        ways = _in_memory(networks) if case.large else (*_in_memory(networks), *_in_files(networks, Path(folder)))
        for way, number, module in ways:
            found: Tensor = module.eval()(inputs)
            difference = relative(expected[number], found)
            if not difference <= TOLERANCE:
                raise Broken(f"outputs differ from those of the batch by {difference:.1e} of the largest", way)
            worst = max(worst, difference)
    return f"within {worst:.0e}"


Way = tuple[str, int, nn.Module]
"""The way in which a network was exported, its number, and the module that was made of it."""


def _in_memory(networks: Networks) -> Iterator[Way]:
    for number in range(len(networks)):
        yield "nets[i]", number, networks[number]
        yield "nets.state_dict(i)", number, _load(networks.target, networks.state_dict(number))


def _in_files(networks: Networks, folder: Path) -> Iterator[Way]:
    target, header = networks.target, {"run": "law"}
    split = write_state_dicts(folder / "split", lambda: networks, header)
    together = write_samples(folder / "together.safetensors", lambda: networks, header)
    again = read_samples(together, target, networks.task, torch.device("cpu"))
    tensors = load_file(together)
    for number, path in enumerate(sorted(split.iterdir())):
        yield "a file for each network", number, _load(target, load_file(path))
        one = slice(number, number + 1)
        file, _ = write_network(folder / f"{number}.safetensors", lambda: select(networks, one), header)  # noqa: B023
        yield "a file of one network", number, _load(target, load_file(file))
        state = {name: value[number] for name, value in tensors.items()}
        yield "one file of all networks", number, _load(target, state, strict=False)
        yield "one file of all networks, read again", number, again[number]


def _load(target: Target, state: dict[str, Tensor], *, strict: bool = True) -> nn.Module:
    """Load a network's state into a copy of the user's module, in which all that the state must hold is noise before.

    Args:
        target: the target with the module.
        state: the state to load.
        strict: the state has constants, and each tensor under all its names; else it may leave out constants, and all
            names but the first.

    Raises:
        Broken: the state does not fit.
    """
    module, constants = copy.deepcopy(target.module), target.constants()
    names = own_names(module)
    for name, tensor in every_tensor(module):
        if names[name] not in constants:
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else torch.full_like(tensor, 7))
    try:
        missing = module.load_state_dict(state, strict=strict).missing_keys
    except RuntimeError as error:
        raise Broken(f"the target's module does not load it: {error}", "state_dict") from error
    lost = [name for name in missing if name not in constants and names[name] not in state]
    if lost:
        raise Broken(f"the file has no '{lost[0]}'", "one file of all networks")
    return module


def _is_steady(case: TargetCase, draw: Draw) -> None:
    """A network in evaluation mode is a function of its inputs."""
    try:
        check_steady(case.target)
    except SpecError as error:
        raise Broken(str(error)) from error


LAWS = (
    Law(
        name="every_way_out_agrees",
        text="as a module, a state_dict, and from each kind of file a network has the outputs that it has in the batch",
        cause="state that is not held in parameters and buffers, or a module whose state_dict leaves out or changes "
        "something that its outputs depend on",
        holds=_agrees,
        examples=1,
    ),
    Law(
        name="evaluation_is_steady",
        text="in evaluation mode outputs depend on weights, statistics and inputs alone, not on earlier passes",
        cause="a dropout without training=self.training, noise, or a buffer or count that a pass changes",
        holds=_is_steady,
        examples=1,
    ),
)
