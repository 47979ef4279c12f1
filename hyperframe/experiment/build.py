"""Build what a configuration describes: target, task, generator, gauge, estimator, objective, on one device."""

import os
from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from hyperframe.config.choices import Choice
from hyperframe.config.kinds import check_component
from hyperframe.config.schema import Config, refuse_twice
from hyperframe.errors import ConfigError, DataError, DeviceError, unknown_name
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.preflight import check_steady, dry_run
from hyperframe.experiment.targets import build_target
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.generator import Generator
from hyperframe.networks.prior import GeneratorWithPrior
from hyperframe.networks.target import Target
from hyperframe.options import keys_of_task
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import seeded, stream
from hyperframe.targets.notebook import outputs_in_words
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import Orbits, orbits
from hyperframe.tasks.checked import check_declarations
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, Task


@attrs.frozen(kw_only=True, eq=False)
class Experiment:
    """The parts that one configuration describes."""

    config: Config
    device: torch.device
    task: Task
    target: Target
    orbits: Orbits
    gauge: ComposedGauge
    generator: Generator
    estimator: EntropyEstimator
    loss: BatchLoss
    processes: Processes = ALONE


def resolve_device(name: str, processes: Processes = ALONE) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:INDEX` into a device; of several processes each takes a CUDA device.

    Raises:
        DeviceError: there is no such device here.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return resolve_device("cuda" if torch.cuda.is_available() else "cpu", processes)
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind != "cuda" or (index and not index.isdecimal()) or name.endswith(":"):
        raise DeviceError(f"trainer.device: expected auto, cpu, cuda or cuda:INDEX, but got '{name}'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not processes.alone:
        if index:
            raise DeviceError(
                f"trainer.device: each of {processes.count} processes takes a CUDA device of its own, and '{name}' is "
                "one device; use cuda or auto"
            )
        if processes.local_rank >= count:
            raise DeviceError(
                f"trainer.device: process {processes.local_rank + 1} on this machine finds no CUDA device of its own, "
                f"torch finds {count}; start no more processes than there are devices, or use trainer.device=cpu"
            )
        return torch.device(kind, processes.local_rank)
    if int(index or 0) >= count:
        there = f"torch finds {quantity(count, 'CUDA device') if count else 'no CUDA device'}"
        raise DeviceError(f"trainer.device: '{name}' was asked for, but {there} here; use auto or cpu")
    return torch.device(kind, int(index or 0))


def build_generator(config: Config, spec: TargetSpec, task: Task) -> Generator:
    """Build the generator that a configuration chose, on the CPU; its parameters follow `trainer.seed`."""
    with seeded(config.trainer.seed, "parameters"):
        generator: Generator = config.generator.make(spec.trained, task)
    check_component(generator, Generator, config.generator.described)
    if not spec.drawn:
        return generator
    return GeneratorWithPrior(generator, spec, stream(config.trainer.seed, "prior coefficients"))


def build_loss(
    config: Config, target: Target, task: Task, symmetries: Orbits, processes: Processes = ALONE
) -> tuple[ComposedGauge, EntropyEstimator, BatchLoss]:
    """Build the loss that a configuration chose, and the gauge and the estimator in it."""
    gauge = ComposedGauge({choice.name: choice.make(symmetries) for choice in _different(config.gauges, "gauges")})
    estimator: EntropyEstimator = config.entropy.make()
    loss = BatchLoss(
        config.objective.make(),
        target=target,
        task=task,
        gauge=gauge,
        directions=gauge.directions(target.spec.trained.num_weights, symmetries.counts),
        terms=_build_terms(config, estimator),
        chunk=config.trainer.chunk or target.networks_at_once(config.trainer.batch_size),
        precision=config.trainer.precision,
        processes=processes,
    )
    return gauge, estimator, loss


def build_experiment(
    config: Config,
    task: Task | None = None,
    example: Tensor | None = None,
    constants: Mapping[str, Tensor] | None = None,
    processes: Processes = ALONE,
) -> Experiment:
    """Build all parts of a configuration; the generator's parameters are drawn with `trainer.seed`.

    No data is loaded, but what a task reads of its files to say what it is, and where the target takes no numbers but
    such as they hold.

    Args:
        config: the configuration.
        task: its task, where that is made already, perhaps without its data.
        example: some of its inputs, where a run has kept any; by default they are asked of the task.
        constants: what a run has kept of what is not generated.
        processes: those that train it together.

    Raises:
        ConfigError: parts that do not fit together.
        SpecError: a target that is no function of its inputs, or a spec that is not its module's.
        DeviceError: the device is not there.
    """
    device = resolve_device(config.trainer.device, processes)
    _check_threads(config.trainer.threads)
    if config.trainer.networks < processes.count:
        raise ConfigError(
            f"trainer.networks is {config.trainer.networks}, and {processes.count} processes are to share them; start "
            "no more processes than networks"
        )
    if task is None:
        task = config.task.make()
    else:
        check_component(task, Task, config.task.described)
    check_declarations(task)
    target = build_target(config, task, example, constants).to(device)
    _check_fit(config, target, task)
    symmetries = orbits(target.structure, task.shift_invariant).to(device)
    gauge, estimator, loss = build_loss(config, target, task, symmetries, processes)
    generator = build_generator(config, target.spec, task).to(device)
    _check_batch(config, generator, loss.terms)
    check_steady(target)
    dry_run(target, generator, task)
    return Experiment(
        config=config,
        device=device,
        task=task,
        target=target,
        orbits=symmetries,
        gauge=gauge,
        generator=generator,
        estimator=estimator,
        loss=loss,
        processes=processes,
    )


def _check_threads(threads: int | None) -> None:
    cores = os.cpu_count() or 1
    if threads is not None and threads > cores:
        raise ConfigError(
            f"trainer.threads: {quantity(threads, 'thread')} asked for, and the machine has {quantity(cores, 'core')}"
        )


def _build_terms(config: Config, estimator: EntropyEstimator) -> list[WeightedTerm]:
    found = []
    for choice in _different(config.diversity, "diversity"):
        term: DiversityTerm = choice.make(estimator)
        if choice.other_task is not None:
            term.other_task = _other_task(choice.name, choice.other_task)
        found.append(WeightedTerm(name=choice.name, term=term, weight=choice.common.weight))
    return found


def _other_task(term: str, choice: Choice) -> Task:
    """Make the task that a term's option names; one that needs options of its own is of no use there."""
    try:
        task: Task = choice.make()
    except (ConfigError, DataError) as error:
        raise ConfigError(
            f"diversity '{term}': a term takes a task with its default options, and '{choice.name}' cannot be made "
            f"with them; name another one ({error})"
        ) from error
    return task


def _different(choices: tuple[Choice, ...], key: str) -> tuple[Choice, ...]:
    refuse_twice([choice.name for choice in choices], key)
    return choices


def _check_fit(config: Config, target: Target, task: Task) -> None:
    spec, keys = target.spec, {name: key for key, name in keys_of_task(type(config.target.options)).items()}
    shape, outputs, classes = list(task.input_shape), task.output_shape, task.classes
    has, words = (outputs_in_words(*of) for of in (spec.output_shape, outputs))
    of_each = f", one for each of its classes {', '.join(classes[:8])}{', …' * (len(classes) > 8)}" if classes else ""
    for name, takes, wanted, said, way in (
        (
            "input_shape",
            list(spec.input_shape),
            shape,
            f"it takes inputs of shape {list(spec.input_shape)}, and the task's are {shape}",
            f"take a target for inputs of shape {shape}, or data of shape {list(spec.input_shape)}",
        ),
        (
            "num_outputs",
            spec.output_shape,
            outputs,
            f"it has {has}, and the task needs {words.replace(' outputs', '', 1)}{of_each}",
            f"take a target with {words}, or other data",
        ),
    ):
        if takes != wanted:
            key = keys.get(name)
            free = key is not None and key not in config.target.open
            mends = f"leave target.{key} out, which is then the task's" if free else way
            raise ConfigError(f"target '{spec.name}' does not fit task '{task.name}': {said}; {mends}")


def _check_batch(config: Config, generator: Generator, terms: list[WeightedTerm]) -> None:
    drawn, name, fixed = config.trainer.networks, config.generator.name, generator.networks_per_step
    if fixed is not None and drawn != fixed:
        raise ConfigError(
            f"trainer.networks is {drawn}, but generator '{name}' trains {quantity(fixed, 'network')} in every step; "
            f"set trainer.networks={fixed}, or give it {drawn}"
        )
    if drawn < generator.minimum_batch:
        raise ConfigError(
            f"trainer.networks is {drawn}, but generator '{name}' needs at least {generator.minimum_batch} networks a "
            f"step; set trainer.networks={generator.minimum_batch} or more"
        )
    fields = {field.name for field in attrs.fields(DiversityInputs)}
    for item in terms:
        if not isinstance(item.term.needs, frozenset):
            raise ConfigError(f"diversity '{item.name}': needs must be a frozenset of {', '.join(sorted(fields))}")
        for need in sorted(item.term.needs - fields):
            raise ConfigError(f"diversity '{item.name}' needs an " + unknown_name("input", need, fields))
        if drawn < item.term.minimum_networks:
            raise ConfigError(
                f"trainer.networks is {drawn}, but diversity '{item.name}' needs at least {item.term.minimum_networks} "
                "networks"
            )
