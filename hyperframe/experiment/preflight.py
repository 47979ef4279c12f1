"""Checks before a run writes anything: a small pass runs through all parts."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hyperframe.config.sections import Precision
from hyperframe.errors import ConfigError, DataError, DeviceError, Forgiven, SpecError, described, notice, others_code
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.outputs import run_in_training
from hyperframe.experiment.terms import WeightedTerm, check_inputs, restrict
from hyperframe.networks.generator import Generator
from hyperframe.networks.passes.probes import unsteady
from hyperframe.networks.target import Target
from hyperframe.runtime.memory import unless_out_of_memory
from hyperframe.runtime.precision import bfloat16_on, has_tf32
from hyperframe.runtime.rng import seeded, stream
from hyperframe.targets.remedies import of_failure
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.weights import unpack
from hyperframe.tasks.augmentation import moves_places
from hyperframe.types import Data, Task, Weights

NETWORKS, EXAMPLES = 2, 2
ROUNDING = 1e-4
"""How far from 1 probabilities may add up."""


def dry_run(target: Target, generator: Generator, task: Task) -> None:
    """Draw two networks and run them on two inputs of zeros, in training mode; leaves no trace.

    Raises:
        ConfigError: something in it fails, or gives another shape than it should.
    """
    device = next((value.device for value in generator.parameters()), torch.device("cpu"))
    training = generator.training
    generator.eval()  # running moments stay as they are
    # Generators and targets are other people's code: whatever it raises on two zeros, it would raise in the first step.
    drawing, failed = _refused("generator: it draws no weights"), partial(_does_not_run, target)
    try:
        with seeded(0, "dry run", device), torch.no_grad():
            with drawing:
                z = generator.latent(generator.at_most(NETWORKS), stream(0, "dry run", device))
                weights = generator(z)
                check_weights(target.spec, weights, len(z))
            with others_code(failed):
                x = target.tried_on.first(EXAMPLES, like=next(iter(weights.values())))
                x = x.repeat(len(z), *[1] * x.dim())
                outputs = target.forward(weights, x, training=True)
    finally:
        generator.train(training)
    wanted = (len(z), EXAMPLES, *task.output_shape)
    if tuple(outputs.shape) != wanted:
        raise ConfigError(
            f"target '{target.spec.name}': for {EXAMPLES} inputs its forward must give outputs of shape {wanted[1:]}, "
            f"but gives {tuple(outputs.shape[1:])}"
        )
    if task.shift_invariant and bool((outputs >= 0).all() and ((outputs.sum(2) - 1).abs() < ROUNDING).all()):
        notice(
            f"target '{target.spec.name}' ends with a softmax, it seems: its outputs are probabilities, but task "
            f"'{task.name}' takes logits and has a softmax of its own; leave that of the target out"
        )


def _does_not_run(target: Target, error: BaseException) -> ConfigError:
    return ConfigError(
        f"target '{target.spec.name}' does not run with generated weights on inputs of shape "
        f"{tuple(target.spec.input_shape)}: {of_failure(error) or described(error)}"
    )


def dry_run_precision(loss: BatchLoss, generator: Generator, z: Tensor, x: Tensor) -> None:
    """Try a pass of some networks, and its way back, in the loss's precision; nothing changes.

    Args:
        loss: whose target and precision it is.
        generator: in evaluation mode.
        z: latent vectors [networks, …].
        x: inputs [examples, *input_shape].

    Raises:
        ConfigError: the target, or the device, does not work in this precision.
    """
    with torch.no_grad():
        unpacked = unpack(loss.target.spec, generator(z))
    leaves = {name: value.detach().requires_grad_() for name, value in unpacked.items()}
    with _refused(
        f"target '{loss.target.spec.name}' does not run on {x.device} with trainer.precision={loss.precision}; "
        "float32 is the precision that every target has"
    ):
        outputs = run_in_training(loss.target, leaves, x, loss.precision, shared=True)
        torch.autograd.grad(outputs.sum(), list(leaves.values()), allow_unused=True)


def dry_run_task(loss: BatchLoss, generator: Generator, z: Tensor, examples: Data) -> None:
    """Try the task's augmentation out, and its loss and score on outputs of some networks; nothing changes.

    Args:
        loss: whose task it is.
        generator: in evaluation mode.
        z: latent vectors [networks, …].
        examples: inputs [examples, *input_shape] and labels [examples].

    Raises:
        ConfigError: one of them fails, or gives no number for every example, or inputs are moved along places whose
            labels stay.
    """
    task = loss.task
    _check_augmentation(task, examples)
    with torch.no_grad():
        unpacked = unpack(loss.target.spec, generator(z))
        outputs = run_in_training(loss.target, unpacked, examples.x, loss.precision, shared=True)
        labels = examples.y.expand(len(z), *examples.y.shape)
        for what, function in (("loss", task.loss), ("score", task.score)):
            given = f"outputs {list(outputs.shape)} and labels {list(labels.shape)}"
            with _refused(f"task '{task.name}': its {what} does not work on {given}"):
                value = function(outputs, labels)
            if not isinstance(value, Tensor) or value.shape != outputs.shape[:2]:
                raise ConfigError(
                    f"task '{task.name}': for {given} its {what} must be one number for every example, "
                    f"{list(outputs.shape[:2])}, but is {_form(value)}"
                )


def _check_augmentation(task: Task, examples: Data) -> None:
    """Refuse a task that moves inputs and not their labels of places, or gives other data than it takes."""
    x = examples.x
    if type(task).augment_data is not Task.augment_data:
        _check_varied(task, Data(x[None], examples.y[None]))
        return
    if not task.label_places:
        return
    with _refused(f"task '{task.name}': its augment does not work on inputs {list(x.shape)}"):
        moves = moves_places(task.augment, x, task.label_places)
    if moves:
        raise ConfigError(
            f"task '{task.name}': its augment moves inputs to other places, but not the labels of these places; move "
            "both in augment_data(data, rng), or let augment change values alone"
        )


def _check_varied(task: Task, given: Data) -> None:
    """Refuse a task whose own `augment_data` gives something else than such data [networks, examples, ...]."""
    before = f"task '{task.name}': its augment_data"
    with _refused(f"{before} does not work on inputs {list(given.x.shape)} and labels {list(given.y.shape)}"):
        found = task.augment_data(given, stream(0, "augmentation", given.device))
    if not isinstance(found, Data):
        raise ConfigError(f"{before} must give hyperframe.Data(inputs, labels), but gives {type(found).__name__}")
    for what, own, wanted in (("inputs", found.x, given.x), ("labels", found.y, given.y)):
        if own.shape != wanted.shape or own.dtype != wanted.dtype:
            raise ConfigError(
                f"{before} must give {what} as it takes them, {wanted.dtype} {list(wanted.shape)}, but gives "
                f"{own.dtype} {list(own.shape)}"
            )


def dry_run_objective(loss: BatchLoss, generator: Generator, z: Tensor, examples: int, seed: int) -> None:
    """Ask the objective what the last examples count for some networks, and what these cost; nothing changes.

    Args:
        loss: whose objective it is.
        generator: says what tells the networks apart.
        z: latent vectors [networks, …].
        examples: how many training examples there are.
        seed: of the training.

    Raises:
        ConfigError: it fails, or does not give a number for every network and example, or a scalar for the weights.
    """
    ids = torch.full((len(z), EXAMPLES), examples - 1, device=z.device)
    with _refused("objective: example_weights does not work with this generator"):
        found = loss.objective.example_weights(generator.code(z), ids, examples, seed)
    if found is not None and (not isinstance(found, Tensor) or found.shape != ids.shape):
        raise ConfigError(
            f"objective: example_weights must give a number for every network and "
            f"example, {list(ids.shape)}, but gives {_form(found)}"
        )
    with torch.no_grad():
        weights = generator(z)
    with _refused("objective: cost does not work with this generator and target"):
        cost = loss.objective.cost(weights)
    if cost is not None and (not isinstance(cost, Tensor) or cost.dim()):
        raise ConfigError(f"objective: cost must give a tensor without axes, or None, but gives {_form(cost)}")


def dry_run_terms(loss: BatchLoss, generator: Generator, z: Tensor, shared: Data | None, rng: torch.Generator) -> None:
    """Try the diversity terms out on a batch, as a step would call them; nothing changes.

    Args:
        loss: whose terms they are.
        generator: in evaluation mode.
        z: latent vectors [networks, …].
        shared: inputs and labels for terms that compare outputs.
        rng: for terms that draw numbers.

    Raises:
        ConfigError: a term does not work with this generator, target or task.
    """
    weights = {layer: value.detach().requires_grad_() for layer, value in generator(z).items()}
    outputs = {}
    if shared is not None:
        for item in loss.terms:
            _check_inputs_of(item, loss.target, shared, rng)
        size = f"trainer.shared_examples={len(shared)}"  # some targets take no single image
        with _refused(f"target '{loss.target.spec.name}' does not run on {size} in training mode"):
            outputs = loss.shared_outputs(weights, shared, rng)
    with _refused("gauges: one of them does not work on weights of this target"):
        inputs = loss.inputs(generator, z, weights, rng, shared)
    for item in loss.terms:
        with _refused(f"diversity '{item.name}' does not work with this generator, target and task"):
            value = item.term(restrict(inputs, item.term.needs, outputs.get(item.name)))
        if not isinstance(value, Tensor) or value.dim():
            raise ConfigError(f"diversity '{item.name}' must give a tensor without axes, but gives {_form(value)}")


def _check_inputs_of(item: WeightedTerm, target: Target, shared: Data, rng: torch.Generator) -> None:
    """Check that a term can make its inputs of the task's, and that the target takes them.

    Raises:
        ConfigError: it cannot, or they are no rows of a table that the target looks them up in.
    """
    if not item.compares_outputs:
        return
    where = f"diversity '{item.name}'"
    try:
        with _refused(f"{where} cannot make its inputs"):
            x = item.term.inputs(shared, rng)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{where}: {str(error).removeprefix(where + ' ')}") from error
    check_inputs(item.name, x, shared.x)
    if target.tried_on.examples is None:
        return
    taken = f"target '{target.spec.name}' does not take all numbers, or looks rows up by them"
    broken = (x != x.round()) & (shared.x == shared.x.round()).all(0)
    if broken.any():
        raise ConfigError(
            f"{where}: {taken}, and an input is {float(x[broken][0]):g} where all examples are whole numbers; take "
            "inputs that consist of the examples' own numbers, such as these as they are, or shuffled"
        )
    try:
        target.check_inputs(x)
    except DataError as error:
        raise ConfigError(f"{where}: {error}") from error


def _refused(what: str) -> AbstractContextManager[None]:
    """Refuse code of others that fails: it would in the first step too. Memory that runs out is another thing."""
    return others_code(unless_out_of_memory(lambda error: ConfigError(f"{what}: {described(error)}")))


def _form(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def check_steady(target: Target) -> None:
    """Check that a network in evaluation mode is a function of its inputs, on random weights and inputs.

    Raises:
        SpecError: it draws random numbers, or what it gives depends on passes before.
    """
    weights = redraw(target.spec, 1, stream(0, "steady"), target.dtype)
    inputs = target.tried_on.draw(EXAMPLES, stream(0, "steady inputs"), target.dtype)
    why = None
    # What other people's code raises here, it raises with a message in the dry run.
    with Forgiven():
        why = unsteady(target.network(weights, 0).cpu(), inputs)  # where the same operations give the same bits
    if why is not None:
        raise SpecError(f"target '{target.spec.name}': {why}")


def check_weights(spec: TargetSpec, weights: Weights, batch: int) -> None:
    """Check that a generator's weights are those of the target."""
    if not isinstance(weights, Mapping):
        raise ConfigError(f"generator: it must give a mapping of layers to weights, but gives {_form(weights)}")
    wanted = {layer.name: (batch, layer.filters, layer.filter_size) for layer in spec.layers}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != found:
        name = next(name for name in [*wanted, *found] if wanted.get(name) != found.get(name))
        raise ConfigError(
            f"generator: layer '{name}' of target '{spec.name}' needs weights of shape {wanted.get(name)}, "
            f"but gets {found.get(name)}"
        )


def check_precision(precision: Precision, device: torch.device) -> None:
    """Check that a device computes in a precision, and say where that gains nothing.

    Raises:
        DeviceError: the device does not compute in it.
    """
    if precision == "tf32" and not has_tf32(device):
        notice(
            f"trainer.precision=tf32 makes no difference on {device}, whose products are float32; NVIDIA's GPUs have "
            "TF32 from compute capability 8.0 (Ampere) on"
        )
    found = bfloat16_on(device) if precision == "bfloat16" else "native"
    if found == "none":
        raise DeviceError(
            f"trainer.precision: {device} does not compute in bfloat16, which NVIDIA's GPUs have from compute "
            "capability 8.0 (Ampere) on; take float32"
        )
    if found == "emulated":
        notice(
            f"trainer.precision=bfloat16 is emulated on {device} and may be slower than float32; NVIDIA's GPUs have "
            "bfloat16 from compute capability 8.0 (Ampere) on"
        )


def tell_left_out(target: Target) -> None:
    """Say which options of embeddings are left out that make a difference to what is trained."""
    for name, options in target.left_out.items():
        told = ", ".join(f"{key}={value}" for key, value in options.items() if key != "sparse")
        if told:
            notice(
                f"target '{target.spec.name}': {told} of embedding '{name}' does not count in training: all rows are "
                "generated alike, and their gradient is that of the loss"
            )
