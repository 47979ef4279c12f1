"""What a configuration describes, built: target, task, generator, gauge, estimator, objective, on one device."""

import attrs
import torch

from hyperframe.config import Choice, Config
from hyperframe.errors import ConfigError, DeviceError
from hyperframe.gauge import ComposedGauge
from hyperframe.generator import Generator
from hyperframe.objective import Objective, WeightedTerm
from hyperframe.symmetry import Orbits, orbits
from hyperframe.target import Target
from hyperframe.types import EntropyEstimator, Task


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
    objective: Objective


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:INDEX` into a device.

    Raises:
        DeviceError: there is no such device here.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind != "cuda" or (index and not index.isdigit()) or name.endswith(":"):
        raise DeviceError(f"trainer.device: expected auto, cpu, cuda or cuda:INDEX, but got '{name}'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        there = f"there are {count} CUDA devices" if count else "torch finds no CUDA device"
        raise DeviceError(f"trainer.device: '{name}' was asked for, but {there} here; use auto or cpu")
    return torch.device(kind, int(index or 0))


def build_target(choice: Choice) -> Target:
    """Build the target that a configuration chose."""
    with torch.random.fork_rng(devices=[]):  # modules draw weights of their own when they are built
        module, spec = choice.make()
    return Target(module, spec)


def build_experiment(config: Config) -> Experiment:
    """Build all parts of a configuration; the generator's parameters are drawn with `trainer.seed`.

    No data is loaded.

    Raises:
        ConfigError: parts that do not fit together.
        DeviceError: the device is not there.
    """
    device = resolve_device(config.trainer.device)
    task: Task = config.task.make()
    target = build_target(config.target).to(device)
    _check_fit(target, task)
    symmetries = orbits(target.structure, task.shift_invariant).to(device)
    gauge = ComposedGauge({choice.name: choice.make(symmetries) for choice in _different(config.gauges, "gauges")})
    estimator: EntropyEstimator = config.entropy.make()
    terms = [
        WeightedTerm(name=choice.name, term=choice.make(estimator), weight=choice.weight)
        for choice in _different(config.diversity, "diversity")
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.trainer.seed)
        generator: Generator = config.generator.make(target.spec, task)
    generator.to(device)
    _check_batch(config, generator, estimator, terms)
    objective = Objective(
        config.objective, target=target, task=task, gauge=gauge, terms=terms, chunk=config.trainer.chunk
    )
    return Experiment(
        config=config,
        device=device,
        task=task,
        target=target,
        orbits=symmetries,
        gauge=gauge,
        generator=generator,
        estimator=estimator,
        objective=objective,
    )


def _different(choices: tuple[Choice, ...], key: str) -> tuple[Choice, ...]:
    names = [choice.name for choice in choices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{key}: '{twice}' is listed twice")
    return choices


def _check_fit(target: Target, task: Task) -> None:
    spec = target.spec
    for what, of_target, of_task in (
        ("inputs of shape", spec.input_shape, tuple(task.input_shape)),
        ("outputs, in number", spec.num_outputs, task.num_outputs),
    ):
        if of_target != of_task:
            raise ConfigError(
                f"target '{spec.name}' does not fit task '{task.name}': {what} {of_target} against {of_task}"
            )


def _check_batch(config: Config, generator: Generator, estimator: EntropyEstimator, terms: list[WeightedTerm]) -> None:
    held = generator.networks
    if held is not None and config.trainer.z > held:
        raise ConfigError(
            f"trainer.z: {config.trainer.z} networks a step, but generator '{config.generator.name}' holds {held}; "
            f"set trainer.z={held} or less, or give it more"
        )
    drawn = min(config.trainer.z, config.evaluation.networks, held or config.trainer.z)
    if terms and any("flat" in item.term.needs for item in terms) and drawn < estimator.minimum_samples:
        raise ConfigError(
            f"trainer.z and evaluation.networks: estimator '{config.entropy.name}' needs at least "
            f"{estimator.minimum_samples} networks, there are {drawn}"
        )
