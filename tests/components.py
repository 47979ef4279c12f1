"""Every registered component, with options by which it can be made, and with others that go other ways through it."""

from functools import cache

import pytest
import torch

from hyperframe.api import make_registry
from hyperframe.config.choices import choose
from hyperframe.experiment.build import make_target

REGISTRY = make_registry()
NETWORKS = 4
OPTIONS = {
    ("generator", "direct"): {"networks": NETWORKS},
    ("target", "torchvision"): {"model": "squeezenet1_1"},
    ("target", "mlp"): {"activation": "tanh"},
}
"""Where the defaults do not do: so many networks, a small model, signs."""
VARIANTS = {
    ("entropy", "kozachenko_leonenko"): [{"subset": 3, "coordinates": 2, "constants": True}, {"distance": "l1"}],
    ("generator", "hypernetwork"): [{"initialisation": "hyperfan", "bias": True, "batch_norm": False}],
    ("diversity", "kernel_repulsion"): [{"bandwidth": 1.0}],
    ("diversity", "pairwise_distance"): [{"distance": "l1"}],
    ("diversity", "manifold_entropy"): [{"networks": None}],
}
"""Options with other ways through a component."""


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
    """A registered target in float64, on the CPU; made once."""
    choice = choose(REGISTRY, "target", {"name": name, **OPTIONS.get(("target", name), {})}, "target")
    return make_target(choice, (), 0).to("cpu", torch.float64)
