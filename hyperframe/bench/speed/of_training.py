"""Pieces of a training step: all of it, its pass, and what a trunk that runs once for all networks is worth."""

from collections.abc import Callable

import attrs
import torch

from hyperframe.bench.speed.work import Work, apart, plain
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.experiment.build import Experiment
from hyperframe.experiment.outputs import run_in_training
from hyperframe.networks.sampled import draw_weights
from hyperframe.networks.target import Target
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.rng import stream
from hyperframe.targets.weights import slice_weights, unpack
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data


def step(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """Training steps; each way trains the same generator on."""
    target = plain(experiment)
    loop = _steps(experiment, train, target, 1)
    return Work(
        ways={
            "ours": _our_steps(experiment, train),
            "loop": loop,
            "vmap": _steps(experiment, train, target, experiment.config.trainer.networks),
        },
        counted=loop,
        sizes=_sizes(experiment),
    )


def trunk(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """Training steps whose trunk runs once for all networks, and such as run it for each.

    Raises:
        ConfigError: the target has no trunk, or no examples of a step are seen by all networks.
    """
    target = experiment.target
    if not target.trunk.whole:
        raise ConfigError(
            f"target '{target.spec.name}' has no trunk: nothing that stays as it is comes before what is generated. "
            "Generate a part of it, such as target.generate=[NAME OF THE LAST LAYER], or changes, target.adapter=lora"
        )
    if not (experiment.config.trainer.same_examples or experiment.loss.compares_outputs):
        raise ConfigError(
            "trainer.same_examples is false, and no diversity term compares outputs: every network of a step sees "
            "examples of its own, and the trunk runs for each of them in any case; set trainer.same_examples=true"
        )
    return Work(
        ways={
            "ours": _our_steps(experiment, train),
            "apart": _steps(experiment, train, apart(experiment), experiment.loss.chunks.size, recorded=True),
        },
        counted=_steps(experiment, train, plain(experiment), 1),
        sizes=_sizes(experiment),
    )


def forward(experiment: Experiment, train: Data, networks: int, examples: int) -> Work:
    """The pass of a training step's networks, each on examples of its own, without gradients."""
    options = experiment.config.trainer
    rng = stream(options.seed, "latent", experiment.device)
    weights = draw_weights(experiment.generator, options.networks, rng)
    chosen = torch.arange(options.networks * options.batch_size, device=train.device) % len(train)
    x = train[chosen].x.unflatten(0, (options.networks, options.batch_size))
    unpacked = unpack(experiment.target.spec, weights)

    def run(target: Target, chunk: int) -> Callable[[], object]:
        numbers, in_threads = target.numbers(options.batch_size), target.runs_in_threads(options.batch_size)

        def work(rows: slice) -> None:
            run_in_training(target, slice_weights(unpacked, rows), x[rows], options.precision)

        @torch.no_grad()
        def call() -> None:
            chunks = Chunks(chunk)
            for _ in chunks.over(options.networks, work, MemoryError, numbers=numbers, in_threads=in_threads):
                pass
            if chunks.halved:
                raise MemoryShortageError("not all networks fit at once")

        return call

    target = plain(experiment)
    loop = run(target, 1)
    return Work(
        ways={
            "ours": run(experiment.target, experiment.loss.chunks.size),
            "loop": loop,
            "vmap": run(target, options.networks),
        },
        counted=loop,
        sizes=_sizes(experiment),
    )


def _our_steps(experiment: Experiment, train: Data) -> Callable[[], object]:
    return _steps(experiment, train, experiment.target, experiment.loss.chunks.size, recorded=True)


def _steps(
    experiment: Experiment, train: Data, target: Target, chunk: int, *, recorded: bool = False
) -> Callable[[], object]:
    """Make a training's step with a target; `recorded`: a CUDA graph of it may be replayed, as the options say."""
    loss, config = experiment.loss.evolved(target, chunk), experiment.config
    options = attrs.evolve(config.trainer, cuda_graph=recorded and config.trainer.cuda_graph)
    experiment.generator.train()
    trainer = Trainer(attrs.evolve(experiment, loss=loss, config=attrs.evolve(config, trainer=options)), train)

    def call() -> None:
        trainer.step()
        if loss.chunks.halved:
            raise MemoryShortageError("not all networks fit at once")

    return call


def _sizes(experiment: Experiment) -> dict[str, int]:
    options = experiment.config.trainer
    return {"networks": options.networks, "batch_size": options.batch_size, "chunk": experiment.loss.chunks.size}
