"""Every registered component, with options that it needs, and with variants of them that take other code paths."""

from functools import cache

import pytest
import torch

from hyperframe.api import make_registry
from hyperframe.config.choices import choose
from hyperframe.experiment.targets import make_target

REGISTRY = make_registry()
NETWORKS = 4
OPTIONS = {
    ("generator", "direct"): {"networks": NETWORKS},
    ("target", "torchvision"): {"model": "squeezenet1_1"},
    ("target", "mlp"): {"activation": "tanh"},
}
"""Options of components whose defaults do not do: a number of networks, a small model, an activation with signs."""
VARIANTS = {
    ("entropy", "kozachenko_leonenko"): [{"subset": 3, "coordinates": 2, "constants": True}, {"distance": "l1"}],
    ("generator", "hypernetwork"): [{"initialisation": "hyperfan", "bias": True, "batch_norm": False}],
    ("diversity", "kernel_repulsion"): [{"bandwidth": 1.0}],
    ("diversity", "pairwise_distance"): [{"distance": "l1"}],
    ("diversity", "function_repulsion"): [{"form": "determinant"}],
    ("diversity", "output_information"): [{"inputs": "noise"}, {"inputs": "augmented"}],
    ("diversity", "disagreement"): [{"inputs": "mixtures"}],
    ("diversity", "manifold_entropy"): [{"networks": None}],
    ("generator", "sgld"): [{"temperature": 0.0}],  # the step without its random numbers
}
"""Options that take other code paths through a component."""


def of_kind(kind):
    names = [entry.component.name for entry in REGISTRY.all() if entry.kind == kind]
    return [
        pytest.param(name, options, id="-".join([name, *options]))
        for name in names
        for options in [{}, *VARIANTS.get((kind, name), [])]
    ]


def make(kind, name, options, *arguments):
    settings = {"name": name, **OPTIONS.get((kind, name), {}), **options}
    return choose(REGISTRY, kind, settings, kind).make(*arguments)


@cache
def target_of(name):
    """Return a registered target in float64, on the CPU; each is made once."""
    choice = choose(REGISTRY, "target", {"name": name, **OPTIONS.get(("target", name), {})}, "target")
    return make_target(choice, (), 0).to("cpu", torch.float64)
