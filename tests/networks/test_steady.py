"""A target in evaluation mode is a function of its inputs; one that is none is refused, and its part is named."""

import random
import re

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import hyperframe as hf
from hyperframe.errors import SpecError
from hyperframe.experiment.preflight import check_steady
from hyperframe.experiment.targets import traced_target
from hyperframe.hookspecs import hookimpl
from hyperframe.networks.passes.probes import unsteady
from hyperframe.targets.tracing.tracer import trace
from hyperframe.testing import checks


class Act(nn.Module):
    """A part that does something to features [examples, 6]."""

    def __init__(self, act, **buffers):
        super().__init__()
        self.act, self.calls, self.own = act, 0, torch.Generator()
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.act(self, x)


def net(part, first=None):
    return nn.Sequential(nn.Flatten(), first or nn.Linear(64, 6), nn.Sequential(nn.ReLU(), part), nn.Linear(6, 10))


def count(part, x):
    part.calls += 1
    return x * part.calls


def own_norm(part, x):
    if part.training:
        part.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
    return x - part.mean


def held(part, x):
    if part.training:
        part.own.manual_seed(part.own.initial_seed() + 1)
    return x + part.own.initial_seed() % 7


def normed():
    """A dense layer whose singular vectors are those of other weights, so that a call in training mode moves them."""
    layer = parametrizations.spectral_norm(nn.Linear(64, 6))
    layer.parametrizations.weight.original.data.copy_(torch.eye(6, 64) * torch.arange(1.0, 7)[:, None])
    return layer


UNSTEADY = {
    "a dropout": (
        net(Act(lambda m, x: F.dropout(x))),
        r"'2\.1' \(Act\) draws random numbers, so that no two predictions",
    ),
    "noise": (net(Act(lambda m, x: x + 1e-4 * torch.randn_like(x))), r"'2\.1' \(Act\) draws random numbers"),
    "Python's numbers": (net(Act(lambda m, x: x + random.random())), r"'2\.1' \(Act\) draws random numbers"),
    "numpy's numbers": (net(Act(lambda m, x: x + np.random.rand())), r"'2\.1' \(Act\) draws random numbers"),
    "its own numbers": (
        net(Act(lambda m, x: x + torch.rand(6, generator=m.own))),
        r"'2\.1' \(Act\) changes what it holds",
    ),
    "a count": (net(Act(count)), r"'2\.1' \(Act\) changes what it holds"),
    "a growing buffer": (
        net(Act(lambda m, x: x * m.factor.mul_(1.1), factor=torch.ones(()))),
        r"'2\.1' \(Act\) changes its buffer 'factor'",
    ),
    "a norm of one's own": (
        net(Act(own_norm, mean=torch.zeros(6))),
        r"in training mode its part '2\.1' \(Act\) changes its buffer 'mean', .* BatchNorm and InstanceNorm are kept",
    ),
    "a spectral norm": (
        net(nn.Identity(), normed()),
        r"in training mode its part '1\.parametrizations\.weight\.0' \(_SpectralNorm\) changes its buffer '_[uv]'",
    ),
    "what training leaves": (net(Act(held)), r"in training mode its part '2\.1' \(Act\) changes what it holds"),
}
STEADY = {
    "dropouts": net(nn.Sequential(nn.Dropout(), nn.AlphaDropout(), nn.RReLU())),
    "a dropout in training": net(Act(lambda m, x: F.dropout(x, training=m.training))),
    "BatchNorm": net(nn.BatchNorm1d(6)),
    "BatchNorm without momentum": net(nn.BatchNorm1d(6, momentum=None)),
    "numbers that do nothing": net(Act(lambda m, x: x + 0 * torch.rand(()))),
    "a count that does nothing": net(Act(lambda m, x: (setattr(m, "calls", m.calls + 1), x)[1])),
}
X = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", UNSTEADY)
def test_the_part_that_is_to_blame_is_named(name):
    module, message = UNSTEADY[name]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    kept = {key: value.clone() for key, value in module.state_dict().items()}
    found = unsteady(module.eval(), X)
    assert found is not None
    assert re.search(message, found), found
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
    assert not module.training


@pytest.mark.parametrize("name", STEADY)
def test_what_draws_in_training_only_is_no_matter(name):
    assert unsteady(STEADY[name].eval(), X) is None
    check_steady(traced_target(trace(STEADY[name], (64,), "net")))


MINE = """
import torch.nn.functional as F
from torch import nn


class Drop(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3)


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), Drop(), nn.Linear(6, 10))
"""


@pytest.mark.slow
def test_a_dropout_that_is_always_on_is_refused_before_anything_is_written(tmp_path, hyperframe):
    (tmp_path / "mine.py").write_text(MINE)
    code, out, err = hyperframe("train", "target=mine:net", "--out", "run")
    assert (code, out) == (2, "")
    assert "target 'mine:net': in evaluation mode its part '3' (Drop) draws random numbers" in err
    assert "F.dropout(x, p, training=self.training)" in err
    assert not (tmp_path / "run").exists()
    code, out, _ = hyperframe("check", "mine:net")
    assert code == 1
    assert "evaluation_is_steady" in out
    assert "its part '3' (Drop) draws random numbers" in out


def test_a_module_that_is_handed_over_is_tried_too(tmp_path):
    with pytest.raises(SpecError, match="target 'module': in evaluation mode its own forward"):
        hf.train("digits", tiny.GENERATED, module=Noisy(), out=tmp_path / "run")


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        return self.out(x.flatten(1)) + torch.rand(())


class Own:
    """Registers a target that is unsteady in training, and one that is steady."""

    @hookimpl
    def hyperframe_targets(self):
        made = {"moving": UNSTEADY["a norm of one's own"][0], "still": STEADY["BatchNorm"]}
        return [hf.Component(name=name, factory=lambda options, of=of: of) for name, of in made.items()]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "state"), [("moving", "failed"), ("still", "passed")])
def test_the_law_of_the_kit(name, state):
    from hyperframe.api import make_registry

    found = {check.law.name: check for check in checks(name, kind="target", registry=make_registry([Own()]))}
    assert found["evaluation_is_steady"].verdict().state == state
