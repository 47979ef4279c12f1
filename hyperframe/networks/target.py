"""A target network that runs with many weight sets at once."""

import copy
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hyperframe.errors import RunError
from hyperframe.networks.passes.norm_statistics import PlainMeans
from hyperframe.networks.passes.probes import PROBED, count_activations, keeps_nothing
from hyperframe.networks.passes.running import Runner
from hyperframe.networks.passes.trunk import find_trunk
from hyperframe.targets.adapters import has_adapters, merge_adapters, merge_state
from hyperframe.targets.aliases import own_names, tie_buffers, tied_names
from hyperframe.targets.embeddings import set_options, with_plain_gradients
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.exact import batch_norms, running_moments
from hyperframe.targets.symmetry.from_spec import compile_structure
from hyperframe.targets.symmetry.structure import Structure
from hyperframe.targets.tracing.findings import Frozen
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.targets.weights import batch_size, slice_weights, to_state_dict, unpack
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Data, Statistics, Weights

NUMBERS_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Activations and weights that a batch of networks may hold: 4 MiB on a CPU, 1 GiB on a CUDA device."""

_COPYING = threading.Lock()


class Target:
    """A module, its spec, and the forward pass of a whole batch of weight sets.

    Attributes:
        module: the template, which never runs itself; its own parameters are not used, its constants and dtype are.
        spec: the spec, bound to the module.
        structure: the labels of its symmetries; compiled from the spec unless tracing found them.
        frozen: what tracing left without symmetries, and why.
        tried_on: inputs that the module is tried out on; they say whether it takes whole numbers.
        trunk: what stands behind constants and before any generated weight; it is run in evaluation mode.
        left_out: options of embeddings that would change the gradient of generated weights, by the part's name.
        inputs: standardises what `forward`, `estimate_statistics` and single networks are given, before the module
            sees it; None leaves inputs as they are.

    Raises:
        SpecError: the spec does not describe the module.

    Example:
        >>> from hyperframe.targets.params import bias, kernel
        >>> from hyperframe.targets.spec import LayerSpec
        >>> layer = LayerSpec(name="fc", filters=2, params=[kernel("weight", "o i"), bias("bias")])
        >>> target = Target(
        ...     nn.Linear(3, 2), TargetSpec(name="one", input_shape=(3,), num_outputs=2, layers=[layer], logits="fc"))
        >>> weights = {"fc": torch.zeros(5, 2, 4)}
        >>> target.forward(weights, torch.ones(7, 3), shared=True).shape     # 5 networks, the same 7 inputs
        torch.Size([5, 7, 2])
        >>> target.forward(weights, torch.ones(5, 7, 3)).shape               # 7 inputs of its own for each
        torch.Size([5, 7, 2])
    """

    runner = Runner
    """The class that runs it."""

    def __init__(
        self,
        module: nn.Module,
        spec: TargetSpec,
        structure: Structure | None = None,
        frozen: tuple[Frozen, ...] = (),
        tried_on: TrialInputs | None = None,
    ) -> None:
        self.inputs: Standardisation | None = None
        self.spec = spec.bind(module)
        self.tried_on = TrialInputs(self.spec.input_shape) if tried_on is None else tried_on
        self._trainable = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.frozen = frozen
        self.structure = compile_structure(self.spec) if structure is None else structure
        self.left_out = with_plain_gradients(self.module)
        self._keeping: dict[int, bool] = {}
        generated = {param.parameter for layer in self.spec.layers for param in layer.params}
        inputs = self.tried_on.draw(PROBED, torch.Generator().manual_seed(0))
        inputs = inputs.to(self.device, self.dtype if inputs.is_floating_point() else None)
        self.trunk = find_trunk(self.module, generated, inputs)
        self._norms = {name: norm for name, norm in batch_norms(self.module).items() if name not in self.trunk.parts}
        self._momenta = {name: norm.momentum for name, norm in self._norms.items()}
        for norm in self._norms.values():
            if norm.momentum is None:  # a count would be read on the host; what training collects is thrown away
                norm.momentum = 0.1
        self._names = own_names(self.module)
        own = generated | set(self._statistics())
        self._aliases = {name: first for name, first in self._names.items() if first in own}
        tied = tied_names(self.module, self._aliases)
        where = f"target '{self.spec.name}'"
        self._runner = self.runner(self.module, where, tied=tied, trunk=self.trunk, tried_on=self.tried_on)

    @property
    def has_statistics(self) -> bool:
        """True where the module has normalisations that collect running moments in training."""
        return bool(self._norms)

    def _statistics(self) -> dict[str, Tensor]:
        """The template's running moments, by the first of their names in the module."""
        return {self._names[name]: value for name, value in running_moments(self._norms).items()}

    def identity(self) -> dict[str, str]:
        """Identify the target among those whose parameters have the same names and shapes."""
        parts = [unit.ops for unit in self.spec.units] or [layer.ops for layer in self.spec.layers]
        operations = " ".join("+".join(ops) for ops in parts)
        return {"target": self.spec.name, "operations": operations}

    def constants(self) -> dict[str, Tensor]:
        """Tensors of the module besides generated weights and statistics; also buffers that state_dicts leave out."""
        held = {**self.module.state_dict(), **dict(self.module.named_buffers())}
        return {name: value for name, value in held.items() if name not in self._aliases}

    def load_constants(self, constants: Mapping[str, Tensor]) -> None:
        """Set what `constants` gave.

        Raises:
            RunError: other names or shapes than this target has.
        """
        wanted = {name: tuple(value.shape) for name, value in self.constants().items()}
        found = {name: tuple(value.shape) for name, value in constants.items()}
        if wanted != found:
            wrong = min(set(wanted.items()) ^ set(found.items()))
            raise RunError(f"target '{self.spec.name}': the constants kept with the run do not fit: {wrong}")
        self.module.load_state_dict(dict(constants), strict=False)
        for name, buffer in self.module.named_buffers():
            if name in constants:
                buffer.copy_(constants[name])
        self._runner.forget_copies()  # and what they remember

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Target":
        """Move the module's constants and buffers, in place; return the target."""
        self.module.to(device, dtype)
        tie_buffers(self.module, self._names)
        self._runner.forget_copies()
        return self

    def forward(
        self,
        weights: Weights,
        x: Tensor,
        *,
        shared: bool = False,
        statistics: Statistics | None = None,
        training: bool = False,
    ) -> Tensor:
        """Run every network of a batch.

        Args:
            weights: for each layer [batch, filters, filter_size].
            x: inputs [batch, examples, *input_shape], or [examples, *input_shape] where they are shared.
            shared: all networks see the same inputs.
            statistics: each network's own buffers [batch, *shape]; in training mode they are updated in place.
                Left out, training uses throw-away copies and evaluation the module's own buffers.
            training: the module's mode: dropout on, batch statistics in BatchNorm.

        Returns:
            Outputs [batch, examples, num_outputs, *output_places].
        """
        return self.run(unpack(self.spec, weights), x, shared=shared, statistics=statistics, training=training)

    def run(
        self,
        unpacked: Mapping[str, Tensor],
        x: Tensor,
        *,
        shared: bool = False,
        statistics: Statistics | None = None,
        training: bool = False,
    ) -> Tensor:
        """Run every network, as `forward` does, of weights that `unpack` made the module's own parameters."""
        buffers = dict(statistics or {})
        if not buffers and training and self.has_statistics:
            buffers = self.new_statistics(batch_size(unpacked))
        self._runner.module_here(training)
        return self._run(dict(unpacked), x, buffers, shared)

    def _run(self, unpacked: dict[str, Tensor], x: Tensor, buffers: Statistics, shared: bool) -> Tensor:
        given = self.tried_on.convert(x if self.inputs is None else self.inputs.apply(x))
        return self._runner.run(unpacked, given, buffers, shared=shared, source=x)

    def check_inputs(self, x: Tensor) -> None:
        """Check that inputs [examples, *input_shape] are such as the module takes, where it does not take all numbers.

        Raises:
            DataError: one is no row of the table that it is looked up in, or is broken where whole numbers are taken.
        """
        self.tried_on.check(self.module, x, f"target '{self.spec.name}'")

    def check_data(self, data: Data) -> None:
        """Check the inputs of data likewise; of a module that takes all numbers no byte becomes another number."""
        if self.tried_on.examples is not None:
            self.check_inputs(data.x)

    @cached_property
    def activations(self) -> int:
        """The numbers in one input and in what the module's parts make of it, as far as they are modules themselves."""
        return count_activations(self.module, self.tried_on.first(PROBED, self._first))

    @property
    def has_adapters(self) -> bool:
        """Whether kernels are given and changes of them are generated; single networks have both in one."""
        return has_adapters(self.module)

    @property
    def _first(self) -> Tensor:
        """A parameter that shows on which device and in which precision the module works."""
        return next(value for value in self.module.parameters() if value.is_floating_point())

    @property
    def device(self) -> torch.device:
        """The device on which the module works."""
        return self._first.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which the module works."""
        return self._first.dtype

    def numbers(self, examples: int) -> int:
        """The weights of one network and, about, its activations for so many examples."""
        return examples * self.activations + self.spec.num_weights

    def networks_at_once(self, examples: int) -> int:
        """Return how many networks, with their activations for so many examples, fill the memory that is fast to use.

        On a CPU this is its cache.
        """
        return max(1, NUMBERS_AT_ONCE[self._first.device.type] // self.numbers(examples))

    def runs_in_threads(self, examples: int) -> bool:
        """Whether training passes on so many examples may run in several threads, where torch has several, on a CPU.

        They may if they leave nothing behind: else threads would leave to chance which pass draws which random numbers.
        """
        if self._first.device.type != "cpu" or torch.get_num_threads() == 1:
            return False
        self.try_out(examples)  # here and not in the threads, since it seeds the random numbers of them all
        return self.leaves_nothing(examples)

    def try_out(self, examples: int) -> None:
        """Find out now, on copies of the module, what passes on so many examples will ask about it."""
        self._runner.module_here(training=True)
        _ = self._runner.any_layout, self.numbers(examples), self.leaves_nothing(examples)

    def leaves_nothing(self, examples: int) -> bool:
        """Whether training passes on so many examples leave nothing behind on the host, see `probes.keeps_nothing`."""
        if examples not in self._keeping:
            tried = self.tried_on.first(examples, self._first)
            self._keeping[examples] = keeps_nothing(self.module, tried, self._statistics(), self.trunk)
        return self._keeping[examples]

    def new_statistics(self, batch: int) -> Statistics:
        """Fresh statistics for a batch of networks: the module's own, one copy each."""
        return {name: value.expand(batch, *value.shape).clone() for name, value in self._statistics().items()}

    @torch.no_grad()
    def estimate_statistics(self, weights: Weights, inputs: Iterable[Tensor]) -> Statistics:
        """Estimate each network's statistics from one pass over batches of inputs, all weighing the same.

        Args:
            weights: the networks.
            inputs: batches [examples, *input_shape], shared by all networks.

        Returns:
            For each buffer [batch, *shape]; empty for a target without buffers.
        """
        statistics = self.new_statistics(batch_size(weights))
        if not statistics:
            return {}
        # But for the norms: dropout is off, as it is when the statistics are used.
        module = self._runner.module_here(training=False)
        with PlainMeans({name: module.get_submodule(name) for name in self._norms}, self._names) as averaging:
            for batch in inputs:
                at_once = self.networks_at_once(len(batch))
                for first in range(0, batch_size(weights), at_once):
                    averaging.begin(first == 0)
                    rows = slice(first, first + at_once)
                    own = {name: value[rows] for name, value in statistics.items()}  # views, updated in place
                    self._run(unpack(self.spec, slice_weights(weights, rows)), batch, own, shared=True)
        return statistics

    def state_dict(self, weights: Weights, index: int, statistics: Statistics | None = None) -> dict[str, Tensor]:
        """One network of a batch as a state_dict that the network's own module loads strictly, adapters merged.

        Each tensor stands under all its names.
        """
        state = {name: value.clone() for name, value in self.module.state_dict().items()}
        generated = to_state_dict(self.spec, weights, index, statistics)
        given = {name: generated[own] for name, own in self._aliases.items() if name in state and own in generated}
        return merge_state(self.module, state | given)

    def network(self, weights: Weights, index: int, statistics: Statistics | None = None) -> nn.Module:
        """One network of a batch as an ordinary module of its own, in evaluation mode.

        Where the target standardises inputs, so does this module, in a hook that its state_dict does not show.
        """
        module = self.bare_network(weights, index, statistics)
        if self.inputs is not None:
            module.register_forward_pre_hook(self.inputs.before)
        return module

    def bare_network(self, weights: Weights, index: int = 0, statistics: Statistics | None = None) -> nn.Module:
        """One network as `network` gives it, on inputs that are standardised already."""
        module = self.template()
        merge_adapters(module)
        module.load_state_dict(self.state_dict(weights, index, statistics))
        return module

    def template(self) -> nn.Module:
        """A copy of the module as it was handed over, with its own weights, in evaluation mode."""
        module = copy.deepcopy(self.module)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self._trainable)
        for name, momentum in self._momenta.items():
            norm: Any = module.get_submodule(name)
            norm.momentum = momentum
        set_options(module, self.left_out)
        if self.tried_on.whole:
            module.register_forward_pre_hook(self.tried_on.before)
        return module.eval()
