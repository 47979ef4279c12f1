"""Build the target that a configuration chose: its module made, or a part of it, traced, and ready to run."""

import copy
from collections.abc import Callable, Mapping

import attrs
import torch
from torch import Tensor, nn

from hyperframe.config.choices import Choice
from hyperframe.config.import_path import TYPED
from hyperframe.config.in_memory import HANDED_OVER
from hyperframe.config.schema import Config
from hyperframe.errors import PluginError, notice
from hyperframe.networks.prior import with_prior, without_prior
from hyperframe.networks.target import Target
from hyperframe.runtime.rng import seeded, stream
from hyperframe.targets.adapters import with_adapters
from hyperframe.targets.aliases import check_memory
from hyperframe.targets.part import take_part
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.tracing.export import alone, choose_inputs, prepare
from hyperframe.targets.tracing.tracer import Traced, trace_for
from hyperframe.targets.trial_inputs import are_whole
from hyperframe.tasks.checked import load_data
from hyperframe.tasks.structured.named_outputs import PackOutputs
from hyperframe.types import Layout, Task


def build_target(
    config: Config, task: Task, example: Tensor | None = None, constants: Mapping[str, Tensor] | None = None
) -> Target:
    """Build the target that a configuration chose; what its module draws for itself follows `trainer.seed`.

    Where it runs on examples of the data and not on normal numbers, inputs are not standardised. With `prior.functions`
    it has prior functions.

    Args:
        config: the configuration.
        task: its task.
        example: some of the task's inputs, where a run has kept any; by default they are asked of the task.
        constants: what a run has kept of what is not generated.
    """
    data = inputs_of(task) if example is None else lambda: example
    if config.prior.adds and constants is not None:  # those of the network itself
        constants = without_prior(constants)
    target = make_target(config.target.fit(task), task.input_shape, config.trainer.seed, data, constants, task.layout)
    target.inputs = task.standardised_inputs
    if target.inputs is not None and target.tried_on.examples is not None:
        target.inputs = None
        if not are_whole(target.tried_on.examples):
            notice(
                f"target '{target.spec.name}' does not run on all numbers, or looks rows up by its inputs: these are "
                "not standardised"
            )
    prior = config.prior
    if not prior.adds:
        return target
    rng = stream(config.trainer.seed, "prior functions")
    return with_prior(target, functions=prior.functions, hidden=prior.hidden, scale=prior.scale, rng=rng)


def inputs_of(task: Task) -> Callable[[], Tensor]:
    """Make a function that gives a task's training inputs, for modules that do not take normal numbers."""
    return lambda: load_data(task, "train").x


def make_target(
    choice: Choice,
    input_shape: tuple[int, ...],
    seed: int,
    data: Callable[[], Tensor] | None = None,
    constants: Mapping[str, Tensor] | None = None,
    layout: Layout | None = None,
) -> Target:
    """Build a target in single precision; a module without a spec is traced with inputs of a shape.

    So is one of which only a part is generated: its symmetries are those that the part has beside the rest.

    Args:
        choice: of the target.
        input_shape: of the task's inputs.
        seed: of what its module draws for itself.
        data: gives inputs, for a module that does not take normal numbers; called only where they are needed.
        constants: what a run has kept of what is not generated; by default it is as the choice says.
        layout: of the heads that the task has; a module may give them by name.

    Raises:
        ConfigError: the part that is to be generated, or the weights that are given, are not the network's.
        PluginError: its factory fails, or makes something else.
        SpecError: a spec that is not its module's.
        DataError: an input is no row of the table that it is looked up in.
    """
    with seeded(seed, "target"):
        made = choice.make()
    given, spec = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    module = given.module if isinstance(given, Traced) else given
    known = given.spec if isinstance(given, Traced) else spec
    name = known.name if isinstance(known, TargetSpec) else choice.name
    if isinstance(module, nn.Module):
        check_memory(module, f"target '{choice.name}'")
        if layout is not None:
            module = copy.deepcopy(module)
            module.register_forward_hook(PackOutputs(layout, f"target '{name}'"))
            given = attrs.evolve(given, module=module) if isinstance(given, Traced) else module
        if not choice.common.is_all:
            layers = (
                {layer.name: [param.parameter for param in layer.params] for layer in known.layers} if known else {}
            )
            part = take_part(module, choice.common, constants, f"target '{name}'", layers)
            if constants is None and not choice.common.weights and not _is_of_user(choice):
                notice(
                    f"target '{name}': what is not generated has the random weights that the network is made with; "
                    "target.weights=FILE.safetensors gives it trained ones, target.weights=true says that these are "
                    "meant"
                )
            given, spec = trace_for(part, tuple(input_shape), data, name), None
            structure = attrs.evolve(given.structure, spec=with_adapters(given.spec))
            given = attrs.evolve(given, spec=structure.spec, structure=structure)
    if isinstance(given, nn.Module) and isinstance(spec, TargetSpec):
        where, shape = f"target '{spec.name}'", spec.input_shape
        data = data if tuple(input_shape) == shape else None  # they do not fit, which is told later
        spec.bind(given)
        with alone():
            tried_on, _ = choose_inputs(prepare(given, where), shape, data, where)
        return Target(given, spec, tried_on=tried_on).to("cpu", torch.float32)
    if isinstance(given, nn.Module) and spec is None:
        given = trace_for(given, tuple(input_shape), data, choice.name)
    if not isinstance(given, Traced) or spec is not None:
        kind = type(made).__name__
        raise PluginError(
            f"{choice.described}: its factory must return a module, (module, TargetSpec) or what "
            f"hyperframe.trace gives, but gives {kind}"
        )
    return traced_target(given).to("cpu", torch.float32)


def _is_of_user(choice: Choice) -> bool:
    """Whether a user made the network, perhaps with trained weights."""
    return choice.registered.source.distribution in (HANDED_OVER, TYPED)


def traced_target(traced: Traced) -> Target:
    """The target of a traced module; what no output depends on stays as it is, with a notice."""
    module = copy.deepcopy(traced.module)
    if traced.unused:
        names = ", ".join(traced.unused[:3]) + (", …" if len(traced.unused) > 3 else "")
        notice(
            f"target '{traced.spec.name}': no output depends on {len(traced.unused)} of its parameters, which keep the "
            f"values they have: {names}"
        )
        for name, parameter in module.named_parameters():
            if name in traced.unused:
                parameter.requires_grad_(False)
    return Target(module, traced.spec, traced.structure, traced.frozen, traced.tried_on)
