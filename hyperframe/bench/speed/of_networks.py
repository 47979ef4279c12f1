"""Pieces of work on networks that are drawn: drawing, gauges, distances between them, and evaluation."""

import torch
from torch import Tensor

from hyperframe.bench.speed.work import Work, plain
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.experiment.build import Experiment
from hyperframe.experiment.evaluation import draw_networks, evaluate, gauged_rows, networks_of
from hyperframe.networks.sampled import EXAMPLES_AT_ONCE, draw_weights
from hyperframe.runtime.memory import missing_memory
from hyperframe.runtime.rng import stream
from hyperframe.targets.weights import slice_weights
from hyperframe.types import Data

VMAP_EXAMPLES = 10
"""Examples that all networks run on at a time where one vmap evaluates them; more need too much memory."""


def sample(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """Networks drawn from the generator."""
    generator = experiment.generator.eval()
    rng = stream(experiment.config.trainer.seed, "latent", experiment.device)

    @torch.no_grad()
    def draw(at_once: int) -> None:
        for part in generator.latent(networks, rng).split(at_once):
            generator(part)

    return Work(
        ways={
            "ours": lambda: draw_weights(generator, networks, rng),
            "loop": lambda: draw(1),
            "vmap": lambda: draw(networks),
        },
        counted=lambda: draw(networks),
        sizes={"networks": networks},
    )


def gauge(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """The gauges of the configuration, applied to drawn networks: to all at once, and to one after the other.

    Raises:
        ConfigError: there are none.
    """
    if not experiment.gauge.names:
        raise ConfigError("gauges is empty, and there is nothing to time; name some, such as gauges=[scale,logit_bias]")
    weights = _drawn(experiment, networks)

    @torch.no_grad()
    def ours() -> None:
        experiment.gauge(weights)

    @torch.no_grad()
    def loop() -> None:
        for number in range(networks):
            experiment.gauge(slice_weights(weights, slice(number, number + 1)))

    return Work(ways={"ours": ours, "loop": loop}, counted=ours, sizes={"networks": networks})


def distances(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """The entropy estimate of drawn networks in gauge, which takes the distances between them.

    Beside it stand these distances alone, in the estimator's metric: those of one network to all others, one network
    after the other, and all of them from one tensor of differences.

    Raises:
        ConfigError: the estimator takes no distances, or needs more networks.
    """
    estimator, name = experiment.estimator, experiment.config.entropy.name
    if estimator.distance is None:
        raise ConfigError(f"entropy '{name}' takes no distances between networks, and there is nothing to time")
    if networks < estimator.minimum_samples:
        raise ConfigError(f"entropy '{name}' needs {estimator.minimum_samples} networks, and there are {networks}")
    with torch.no_grad():
        rows, dimension = gauged_rows(experiment, networks_of(experiment, _drawn(experiment, networks), 0, None))
    rng = stream(experiment.config.trainer.seed, "terms", experiment.device)
    order = {"l1": 1, "l2": 2}[estimator.distance]

    @torch.no_grad()
    def ours() -> object:
        return estimator(rows, dimension, rng)

    @torch.no_grad()
    def loop() -> object:
        return torch.stack([torch.linalg.vector_norm(rows - row, ord=order, dim=1) for row in rows])

    @torch.no_grad()
    def broadcast() -> object:
        missing = missing_memory(len(rows) * rows.nbytes) if rows.device.type == "cpu" else None
        if missing:  # a CPU's memory that is taken and not there would end the process
            raise MemoryShortageError(f"all differences do not fit: {missing}")
        return torch.linalg.vector_norm(rows[:, None] - rows, ord=order, dim=2)

    return Work(
        ways={"ours": ours, "loop": loop, "broadcast": broadcast},
        counted=ours,
        sizes={"networks": networks, "entries": rows.shape[1]},
    )


def evaluation(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """Drawn networks on the same examples; ours takes the ensemble's results as well."""
    data = train[: min(examples, len(train))]
    data = Data(data.x, data.y)  # bytes are divided once and not for each network
    drawn = draw_networks(experiment, networks, experiment.config.evaluation.seed, train)
    target = plain(experiment)

    @torch.no_grad()
    def loop(count: int) -> None:
        for number in range(count):
            module = drawn[number]
            for part in data.x.split(EXAMPLES_AT_ONCE[experiment.device.type]):
                module(part)

    @torch.no_grad()
    def vmap() -> None:
        for part in data.x.split(VMAP_EXAMPLES):
            target.forward(drawn.weights, part, shared=True, statistics=drawn.statistics)

    return Work(
        ways={"ours": lambda: evaluate(experiment, drawn, data), "loop": lambda: loop(networks), "vmap": vmap},
        counted=lambda: loop(1),
        times=networks,
        sizes={"networks": networks, "examples": len(data)},
    )


def _drawn(experiment: Experiment, networks: int) -> dict[str, Tensor]:
    """Weights of so many networks."""
    rng = stream(experiment.config.evaluation.seed, "sample", experiment.device)
    return draw_weights(experiment.generator, networks, rng)
