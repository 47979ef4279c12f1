"""Benchmarks: a part of the work, timed beside plainer ways of doing it."""

import statistics
from collections.abc import Sequence
from typing import Any

import attrs
import torch

from hyperframe.bench.speed import of_networks, of_training
from hyperframe.bench.speed.clock import Clock, Timing, joined
from hyperframe.bench.speed.floor import count, matrix_product_rate, memory_rate
from hyperframe.bench.speed.work import OURS, Making
from hyperframe.config.schema import Config
from hyperframe.experiment.build import build_experiment, resolve_device
from hyperframe.experiment.preflight import check_precision
from hyperframe.runtime.memory import PeakMemory, keep_freed
from hyperframe.runtime.rng import seeded
from hyperframe.runtime.threads import cpu_threads
from hyperframe.tasks.checked import load_data

NETWORKS, EXAMPLES = 200, 1000
"""Defaults of the pieces that take a number of networks, and of examples."""

BENCHMARKS: dict[str, Making] = {
    "step": of_training.step,
    "forward": of_training.forward,
    "trunk": of_training.trunk,
    "sample": of_networks.sample,
    "gauge": of_networks.gauge,
    "distances": of_networks.distances,
    "evaluate": of_networks.evaluation,
}
"""The pieces of work by name."""

TAKES = {
    "sample": ("networks",),
    "gauge": ("networks",),
    "distances": ("networks",),
    "evaluate": ("networks", "examples"),
}
"""Numbers that pieces take beside a configuration; all others take none."""


@attrs.frozen(kw_only=True)
class Measured:
    """One piece of work, measured once.

    Attributes:
        where: the piece, the device and the sizes.
        timings: of each way; None where it does not fit.
        operations: see `count`.
        bytes: see `count`.
        matrix_product: operations a second.
        memory_rate: bytes a second.
    """

    where: dict[str, Any]
    timings: dict[str, Timing | None]
    operations: int
    bytes: int
    matrix_product: float
    memory_rate: float


def benchmark(
    what: str,
    config: Config,
    *,
    networks: int = NETWORKS,
    examples: int = EXAMPLES,
    repeats: int = 5,
    alone: bool = False,
) -> dict[str, Any]:
    """Time one piece of work on the configuration's device; nothing is trained.

    Args:
        what: a name in `BENCHMARKS`.
        config: of the generator, the target and the data.
        networks: how many networks are drawn, for pieces that draw some.
        examples: how many training examples `evaluate` takes.
        repeats: timed calls of each way; `UNCOUNTED` more come before them.
        alone: leave out the other ways.

    Returns:
        See `summarise`.

    Raises:
        HyperframeError: the configuration cannot be built, it has no such piece of work, or its data cannot be had.
    """
    measured = measure(what, config, PeakMemory(), networks=networks, examples=examples, repeats=repeats, alone=alone)
    return summarise([measured])


def measure(
    what: str, config: Config, memory: PeakMemory, *, networks: int, examples: int, repeats: int, alone: bool
) -> Measured:
    """Measure one piece of work, as `benchmark` does; peaks are above what the process held when `memory` was made."""
    device = resolve_device(config.trainer.device)
    keep_freed(device)
    with cpu_threads(config.trainer.threads), seeded(config.trainer.seed, "benchmark", device):
        experiment = build_experiment(config)
        check_precision(config.trainer.precision, experiment.device)
        train = load_data(experiment.task, "train").to(experiment.device)
        work = BENCHMARKS[what](experiment, train, experiment.generator.at_most(networks), examples)
        clock = Clock(experiment.device, memory)
        product = matrix_product_rate(clock)
        ways = {name: call for name, call in work.ways.items() if name == OURS or not alone}
        timings = {name: clock.time_if_it_fits(call, repeats) for name, call in ways.items()}
        work.counted()  # what is found out once does not count
        operations, moved = count(work.counted)
        rate = memory_rate(clock)
        threads = torch.get_num_threads()
    return Measured(
        where={
            "benchmark": what,
            "config": config.name,
            "device": _device_name(experiment.device),
            "threads": threads if experiment.device.type == "cpu" else None,
            "torch": torch.__version__,
            "sizes": dict(work.sizes),
        },
        timings=timings,
        operations=operations * work.times,
        bytes=moved * work.times,
        matrix_product=product,
        memory_rate=rate,
    )


def summarise(parts: Sequence[Measured]) -> dict[str, Any]:
    """Sum up what was measured of one piece of work, once or several times.

    Returns:
        The device and the sizes; `ways` with `wall_s`, `cpu_s` and `peak_bytes` of each, see `Timing`, None for a way
        that does not fit; `repeats`, how many calls were timed of each.

        `operations`, `matrix_product` (operations a second of a large product of float32 matrices) and `floor_s`, the
        seconds that the operations take at that rate: what is done in float32 takes no less.

        `bytes`, what the operations read and write if each of them does so in memory; `memory_rate` (bytes a second of
        a large copy) and `unfused_s`, the seconds that this takes at that rate. That is no floor, since caches and
        operations that are fused spare some of it: where `wall_s` comes near it, memory is the limit.
    """
    first = parts[0]
    ways = {name: [part.timings[name] for part in parts] for name in first.timings}
    fitting = {name: [timing for timing in found if timing is not None] for name, found in ways.items()}
    product, rate = (
        statistics.fmean(getattr(part, name) for part in parts) for name in ("matrix_product", "memory_rate")
    )
    calls = [len(timing.walls) for timing in map(joined, filter(None, fitting.values()))]
    return {
        **first.where,
        "repeats": max(calls, default=0),
        "ways": {name: joined(found).row() if len(found) == len(parts) else None for name, found in fitting.items()},
        "operations": first.operations,
        "matrix_product": product,
        "floor_s": first.operations / product,
        "bytes": first.bytes,
        "memory_rate": rate,
        "unfused_s": first.bytes / rate,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
