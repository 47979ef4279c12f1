"""Benchmarks: a part of the work, timed beside a loop over the networks and one vmap over all of them."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hyperframe.config.schema import Config
from hyperframe.errors import MemoryShortageError
from hyperframe.experiment.build import Experiment, build_experiment, resolve_device
from hyperframe.experiment.evaluation import draw_networks, evaluate
from hyperframe.experiment.outputs import run_in_training
from hyperframe.experiment.preflight import check_precision, load_data
from hyperframe.networks.passes.running import Runner
from hyperframe.networks.sampled import EXAMPLES_AT_ONCE, draw_weights
from hyperframe.networks.target import Target
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.memory import PeakMemory, if_it_fits, keep_freed
from hyperframe.runtime.rng import seeded, stream
from hyperframe.targets.weights import slice_weights, unpack
from hyperframe.training.cuda_graph import WARM_UP
from hyperframe.training.loop import cpu_threads
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data, Statistics

NETWORKS, EXAMPLES = 200, 1000
"""Defaults of `sample` and `evaluate`."""

MATRIX = 2048
"""Rows and columns of the matrices whose product says what the device can do."""

UNCOUNTED = WARM_UP + 1
"""Calls before those that are timed; on a CUDA device a step's graph is recorded in the last of them."""

VMAP_EXAMPLES = 10
"""Examples that all networks run on at a time where one vmap evaluates them; more need too much memory."""


@attrs.frozen(kw_only=True)
class Ways:
    """One piece of work, done in three ways.

    Attributes:
        ours: as the library does it.
        loop: one network after the other, each as an ordinary module.
        vmap: all networks in one batch of operations.
        counted: a call whose operations are counted.
        times: how many such calls the work takes.
    """

    ours: Callable[[], object]
    loop: Callable[[], object]
    vmap: Callable[[], object]
    counted: Callable[[], object]
    times: int = 1


class _PlainRunner(Runner):
    def _run_one(self, module: nn.Module, unpacked: dict[str, Tensor], buffers: Statistics, examples: Tensor) -> Tensor:
        return self._call(module, unpacked, buffers, examples)


class _PlainTarget(Target):
    """A target that runs a single network just as torch would, and one after the other."""

    runner = _PlainRunner

    def runs_in_threads(self, examples: int) -> bool:
        """They do not."""
        return False


def benchmark(
    what: str,
    config: Config,
    *,
    networks: int = NETWORKS,
    examples: int = EXAMPLES,
    repeats: int = 5,
    alone: bool = False,
) -> dict[str, Any]:
    """Time one piece of work on the configuration's device.

    Args:
        what: a name in `BENCHMARKS`.
        config: of the generator, the target and the data; nothing is trained.
        networks: how many `sample` and `evaluate` take.
        examples: how many training examples `evaluate` takes.
        repeats: timed calls of each way; `UNCOUNTED` more come before them.
        alone: leave out the two other ways.

    Returns:
        The device and the sizes; `ways` with `wall_s` and `cpu_s` (medians, seconds) and `peak_bytes` (above the
        process after its imports, data included; on CUDA of the device) of each, None for a way that does
        not fit; `operations` of one call, `matrix_product` (operations a second) and `floor_s`, the seconds they would
        take at that rate.

    Raises:
        HyperframeError: the configuration cannot be built, or its data cannot be had.
    """
    memory = PeakMemory()
    device = resolve_device(config.trainer.device)
    keep_freed(device)
    with cpu_threads(config.trainer.threads), seeded(config.trainer.seed, "benchmark", device):
        experiment = build_experiment(config)
        check_precision(config.trainer.precision, experiment.device)
        count = experiment.generator.at_most(networks)
        train = load_data(experiment.task, "train").to(experiment.device)
        ways = BENCHMARKS[what](experiment, train, count, examples)
        rate = matrix_product_rate(experiment.device)
        names = ("ours",) if alone else ("ours", "loop", "vmap")
        timings = {name: _timed_if_it_fits(getattr(ways, name), experiment.device, memory, repeats) for name in names}
        ways.counted()  # what is found out once does not count
        with FlopCounterMode(display=False) as counter:
            ways.counted()
        threads = torch.get_num_threads()
    operations = counter.get_total_flops() * ways.times
    options = config.trainer
    return {
        "benchmark": what,
        "config": config.name,
        "device": _device_name(experiment.device),
        "threads": threads if experiment.device.type == "cpu" else None,
        "torch": torch.__version__,
        "sizes": {"networks": options.networks, "batch_size": options.batch_size, "chunk": experiment.loss.chunks.size}
        if what in ("step", "forward")
        else {"networks": count, **({"examples": min(examples, len(train))} if what == "evaluate" else {})},
        "repeats": repeats,
        "ways": timings,
        "operations": operations,
        "matrix_product": rate,
        "floor_s": operations / rate,
    }


def matrix_product_rate(device: torch.device) -> float:
    """Operations a second, two for each multiplication, of a product of two large float32 matrices."""
    matrix = torch.rand(MATRIX, MATRIX, device=device)
    seconds = _timed(lambda: matrix @ matrix, device, PeakMemory(), 7)["wall_s"]
    return float(2 * MATRIX**3 / seconds)


def _timed_if_it_fits(
    call: Callable[[], object], device: torch.device, memory: PeakMemory, repeats: int
) -> dict[str, Any] | None:
    try:
        found = if_it_fits(partial(_timed, call, device, memory, repeats))
    except MemoryShortageError:
        return None
    return found[0] if found else None


def _timed(call: Callable[[], object], device: torch.device, memory: PeakMemory, repeats: int) -> dict[str, Any]:
    """Medians of wall and CPU time, after calls that do not count, and the peak of memory."""
    memory.start(device)
    walls, cpus = [], []
    for number in range(repeats + UNCOUNTED):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= UNCOUNTED:
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return {
        "wall_s": statistics.median(walls),
        "cpu_s": statistics.median(cpus),
        "peak_bytes": memory.peak(device),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _plain(experiment: Experiment) -> Target:
    target = experiment.target
    return _PlainTarget(target.module, target.spec, tried_on=target.tried_on).to(experiment.device)


def _step(experiment: Experiment, train: Data, networks: int, examples: int) -> Ways:
    """Training steps; each way trains the same generator on."""
    experiment.generator.train()

    def step(target: Target, chunk: int, *, ours: bool = False) -> Callable[[], object]:
        loss, config = experiment.loss.evolved(target, chunk), experiment.config
        options = attrs.evolve(config.trainer, cuda_graph=ours and config.trainer.cuda_graph)
        trainer = Trainer(attrs.evolve(experiment, loss=loss, config=attrs.evolve(config, trainer=options)), train)

        def call() -> None:
            trainer.step()
            if loss.chunks.halved:
                raise MemoryShortageError("not all networks fit at once")

        return call

    plain = _plain(experiment)
    loop = step(plain, 1)
    return Ways(
        ours=step(experiment.target, experiment.loss.chunks.size, ours=True),
        loop=loop,
        vmap=step(plain, experiment.config.trainer.networks),
        counted=loop,
    )


def _forward(experiment: Experiment, train: Data, networks: int, examples: int) -> Ways:
    """The pass of a training step's networks, each on examples of its own, without gradients."""
    options = experiment.config.trainer
    rng = stream(options.seed, "latent", experiment.device)
    weights = draw_weights(experiment.generator, options.networks, rng)
    chosen = torch.arange(options.networks * options.batch_size, device=train.device) % len(train)
    x = train[chosen].x.unflatten(0, (options.networks, options.batch_size))
    unpacked = unpack(experiment.target.spec, weights)
    plain = _plain(experiment)

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

    loop = run(plain, 1)
    return Ways(
        ours=run(experiment.target, experiment.loss.chunks.size),
        loop=loop,
        vmap=run(plain, options.networks),
        counted=loop,
    )


def _sample(experiment: Experiment, train: Data, networks: int, examples: int) -> Ways:
    """Networks drawn from the generator."""
    generator = experiment.generator.eval()
    rng = stream(experiment.config.trainer.seed, "latent", experiment.device)

    @torch.no_grad()
    def draw(at_once: int) -> None:
        for part in generator.latent(networks, rng).split(at_once):
            generator(part)

    return Ways(
        ours=lambda: draw_weights(generator, networks, rng),
        loop=lambda: draw(1),
        vmap=lambda: draw(networks),
        counted=lambda: draw(networks),
    )


def _evaluate(experiment: Experiment, train: Data, networks: int, examples: int) -> Ways:
    """Drawn networks on the same examples; ours takes the ensemble's results as well."""
    data = train[: min(examples, len(train))]
    data = Data(data.x, data.y)  # bytes are divided once and not for each network
    drawn = draw_networks(experiment, networks, experiment.config.evaluation.seed, train)
    plain = _plain(experiment)

    @torch.no_grad()
    def loop(count: int) -> None:
        for number in range(count):
            module = drawn[number]
            for part in data.x.split(EXAMPLES_AT_ONCE[experiment.device.type]):
                module(part)

    @torch.no_grad()
    def vmap() -> None:
        for part in data.x.split(VMAP_EXAMPLES):
            plain.forward(drawn.weights, part, shared=True, statistics=drawn.statistics)

    return Ways(
        ours=lambda: evaluate(experiment, drawn, data),
        loop=lambda: loop(networks),
        vmap=vmap,
        counted=lambda: loop(1),
        times=networks,
    )


BENCHMARKS: dict[str, Callable[[Experiment, Data, int, int], Ways]] = {
    "step": _step,
    "forward": _forward,
    "sample": _sample,
    "evaluate": _evaluate,
}
"""The benchmarks by name; each gets the experiment, training data, a number of networks and a number of examples."""
