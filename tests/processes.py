"""Functions that tests start in other processes, which must be able to import them."""

import os

import pytest
import torch
import torch.distributed as dist
from scripted import scripted

from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.runtime.distributed import ALONE, Processes, gather, joined
from hyperframe.training.loop import train_run
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data


def batch(dtype=torch.float64):
    """Draw latent vectors [8, 3] and a matrix [3, 5] that maps them to samples."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=rng, dtype=dtype), torch.randn(3, 5, generator=rng, dtype=dtype)


def estimates(estimators, z, matrix):
    """Return each estimator's estimate and its gradient at the matrix."""
    found = []
    for estimator in estimators:
        leaf = matrix.clone().requires_grad_()
        value = estimator(z @ leaf, 2)
        value.backward()
        found.append((value.detach(), leaf.grad))
    return found


def share(rank, world, folder, estimators):
    """Run one process of a group on its part of the batch; the first one writes all values and the mean gradient."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    try:
        z, matrix = batch()
        rows = z.chunk(world)[rank]
        found = {"rows": gather(rows)}
        for number, (value, gradient) in enumerate(estimates(estimators, rows, matrix)):
            values = [torch.empty_like(value) for _ in range(world)]
            dist.all_gather(values, value)
            dist.all_reduce(gradient)
            found[f"values {number}"], found[f"gradient {number}"] = torch.stack(values), gradient / world
        if rank == 0:
            torch.save(found, f"{folder}/found.pt")
    finally:
        dist.destroy_process_group()


SHARED = (
    "[{name: weight_entropy, weight: 0.5}, {name: disagreement, weight: 30, inputs: noise}, {name: function_repulsion}]"
)
STEPS = {
    "a hypernetwork with batch normalisation": (
        "digits_hypernetwork",
        ["generator.initialisation=hyperfan", "trainer.average_tail=0.5"],
    ),
    "weights of their own, compared on shared examples": (
        "digits",
        ["generator={name: direct, networks: 5}", f"diversity={SHARED}", "objective.bootstrap=exponential"],
    ),
    "modes, with bootstrapped examples": ("digits", ["generator.modes=3", "objective.bootstrap=bernoulli"]),
    "terms at the generator itself, and a cost": (
        "digits",
        [
            "generator={name: mlp, latent: 3, hidden: [4]}",
            "diversity=[{name: manifold_entropy, networks: 3}, {name: pairwise_distance, weight: 0.3}]",
            "objective={name: trade_off, lambda: 100, weight_l2: 0.1}",
        ],
    ),
}
"""Trainings in float64, of five networks, which two processes do not share evenly."""


def trained_in_steps(name, processes=ALONE, device="cpu"):
    """Take a few steps, plain ones along the gradient; return the generator's state, metrics and evaluations."""
    config, overrides = STEPS[name]
    settings = [f"trainer.device={device}", "target.channels=[2,3]", "trainer.networks=5", "trainer.batch_size=4"]
    small = [*settings, "trainer.steps=3", "trainer.rate=1e-4", "trainer.schedule=constant", "trainer.gradient_clip=50"]
    built = build_experiment(load_config(config, [*small, *overrides], make_registry()), processes=processes)
    built.generator.double().train()
    built.target.to(built.device, torch.float64)
    built.generator.make_optimizer = lambda groups, options: torch.optim.SGD(groups, lr=1.0, fused=True)
    train = built.task.data("train")
    trainer = Trainer(built, Data(train.x.double(), train.y))
    for _ in range(3):
        trainer.step()
    metrics = {key: torch.tensor(value, dtype=torch.float64) for key, value in trainer.read_metrics().items()}
    state = {**built.generator.state_dict(), **metrics, "evaluations": torch.tensor(built.loss.evaluations)}
    streams = {f"stream.{key}": stream.get_state() for key, stream in trainer.streams.items()}
    return {**state, **streams, "stream.global": torch.get_rng_state()}


def one_of(rank, world, folder, work, *arguments):
    """Run one process of a group that trains together; it writes what the work returns."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with joined(Processes(rank=rank, count=world, local_rank=rank), f"file://{folder}/store") as processes:
        torch.save(work(processes, *arguments), f"{folder}/{rank}.pt")


def steps_of_all(processes):
    """Take the steps of all trainings, and draw numbers of the process's own, and those behind them."""
    found = {name: trained_in_steps(name, processes) for name in STEPS}
    with processes.own_numbers(torch.device("cpu")):
        own = torch.rand(3)
    common = torch.Generator()
    stream = processes.own_stream(common)
    found["drawn"] = {"own": own, "stream": torch.rand(3, generator=stream), "after": torch.rand(3)}
    return found


def steps_on_devices(processes):
    """Take the steps of all trainings, each process on a CUDA device of its own."""
    return {name: trained_in_steps(name, processes, "cuda") for name in STEPS}


def trained_until_no_better(processes, settings, accuracies, folder):
    """Train with accuracies by a script; return how far a process came and why it ended."""
    config = load_config("digits_hypernetwork", settings, make_registry())
    with pytest.MonkeyPatch.context() as patch:
        scripted(patch, accuracies)
        run = train_run(config, make_registry(), folder, processes=processes)
    return {"step": run.step, "ended": run.ended}
