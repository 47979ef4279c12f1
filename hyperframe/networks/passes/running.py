"""A module run with the weights of many networks: one as it is, several as one batch of operations."""

import copy
import itertools
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hyperframe.errors import SpecError
from hyperframe.networks.passes.batching import has_batched_forms, many_at_once, times_changed
from hyperframe.networks.passes.convolution import GreyConvolutions, channels_last
from hyperframe.networks.passes.probes import PROBED, allows_any_layout
from hyperframe.networks.passes.trunk import Memory, Trunk
from hyperframe.targets.adapters import run_apart
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.targets.weights import batch_size
from hyperframe.types import Statistics

_COPYING = threading.Lock()


class Runner:
    """Runs a module with many weight sets, in every thread on a copy of its own.

    Args:
        module: the template, which never runs itself; the copies have its constants.
        where: how messages begin.
        tied: parameters and buffers with several names, see `hyperframe.targets.aliases.tied_names`.
        trunk: what comes before any generated weight; of inputs that all networks see it is run once.
        tried_on: inputs on which the module's layout is tried out.
    """

    def __init__(
        self, module: nn.Module, where: str, *, tied: Mapping[str, str], trunk: Trunk, tried_on: TrialInputs
    ) -> None:
        self._module, self._where, self._tied = module, where, tied
        self._trunk, self._tried_on = trunk, tried_on
        self._copies: dict[int, tuple[nn.Module, Memory]] = {}
        self._has_batched_forms = has_batched_forms(module)

    def forget_copies(self) -> None:
        """Copy the module anew for the next pass, since its tensors have changed or moved."""
        self._copies.clear()

    def module_here(self, training: bool) -> nn.Module:
        """Return this thread's copy of the module, with the same tensors, in training or evaluation mode.

        While a module runs, generated weights stand in the place of its parameters, which no other thread may see.
        """
        return self._trunk.set_mode(self._here()[0], training)

    def _here(self) -> tuple[nn.Module, Memory]:
        with _COPYING:
            own = self._copies.get(threading.get_ident())
            if own is None:
                tensors = itertools.chain(self._module.parameters(), self._module.buffers())
                copied = copy.deepcopy(self._module, {id(value): value for value in tensors})
                run_apart(copied)
                own = self._copies[threading.get_ident()] = copied, Memory(copied, self._trunk)
        return own

    def run(
        self, unpacked: dict[str, Tensor], x: Tensor, buffers: Statistics, *, shared: bool, source: Tensor
    ) -> Tensor:
        """Run every network in the mode that this thread's copy is in.

        Args:
            unpacked: the module's parameters [networks, *shape].
            x: inputs [networks, examples, …], or [examples, …] where they are shared.
            buffers: each network's own, [networks, *shape]; changed in place in training.
            shared: all networks see the same inputs.
            source: the tensor that `x` was made of, by which shared inputs are known again.

        Returns:
            Outputs [networks, examples, outputs, *places].

        Raises:
            SpecError: the module gives no tensor, or changes its inputs.
        """
        module, memory = self._here()
        memory.begin(source if shared else None)
        version = times_changed(x)
        if batch_size(unpacked) == 1:
            alone = {name: value.squeeze(0) for name, value in unpacked.items()}
            own = {name: value[0] for name, value in buffers.items()}
            outputs = self._run_one(module, alone, own, x if shared else x[0])[None]
        else:
            batched = vmap(partial(self._call, module), in_dims=(0, 0, None if shared else 0), randomness="different")
            with many_at_once(x.device, self._has_batched_forms):
                outputs = batched(unpacked, buffers, x)
        if times_changed(x) != version:
            raise SpecError(f"{self._where}: its forward changes its input in place; let it work on a copy")
        return outputs

    def _call(self, module: nn.Module, unpacked: dict[str, Tensor], buffers: Statistics, examples: Tensor) -> Tensor:
        """Run one network."""
        given = {**unpacked, **buffers}
        shared_ones = {name: given[first] for name, first in self._tied.items() if first in given}
        # torch's own way of tying leaves batched tensors behind where a whole module is shared.
        outputs = functional_call(module, (unpacked, shared_ones, buffers), (examples,), tie_weights=False)
        if not isinstance(outputs, Tensor):
            raise SpecError(f"{self._where}: its forward must return one tensor, not {type(outputs).__name__}")
        return outputs

    def _run_one(self, module: nn.Module, unpacked: dict[str, Tensor], buffers: Statistics, examples: Tensor) -> Tensor:
        """Run one network as it is, on a CPU with the layout and the products that are fast there."""
        if examples.device.type != "cpu" or not self.any_layout:
            return self._call(module, unpacked, buffers, examples)
        # Forward alone, torch's own convolution is the faster one.
        with GreyConvolutions() if torch.is_grad_enabled() else nullcontext():
            return self._call(module, channels_last(unpacked), buffers, examples)

    @cached_property
    def any_layout(self) -> bool:
        """Whether the module gives the same for activations that lie channels last."""
        like = next(value for value in self._module.parameters() if value.is_floating_point())
        inputs = self._tried_on.draw(PROBED, torch.Generator().manual_seed(0))
        dtype = like.dtype if inputs.is_floating_point() else None
        return allows_any_layout(self._module, inputs.to(like.device, dtype))
