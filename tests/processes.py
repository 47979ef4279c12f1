"""Functions that tests start in other processes, which must be able to import them."""

import os

import torch
import torch.distributed as dist

from hyperframe.runtime.distributed import gather


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
