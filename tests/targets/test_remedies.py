"""Modules that are refused: the way that the message proposes is taken, and trains."""

import pytest
import tiny
import torch
from torch import nn

import hyperframe as hf
from hyperframe.errors import ConfigError, SpecError

X, Y = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3


class Net(nn.Module):
    """Two layers; what its forward makes of them is given."""

    def __init__(self, run):
        super().__init__()
        self.a, self.b, self.run = nn.Linear(8, 6), nn.Linear(6, 3), run

    def forward(self, x):
        return self.run(self, x)


class Around(nn.Module):
    """The module around another that the messages propose."""

    def __init__(self, net, run):
        super().__init__()
        self.net, self.run = net, run

    def forward(self, x):
        return self.run(self, x)


class TwoInputs(Net):
    """A forward with a mask."""

    def __init__(self):
        super().__init__(None)
        self.a = nn.Linear(4, 6)

    def forward(self, x, mask):
        return self.b(self.a(x * mask).relu())


def doubled(net, x):
    hidden = net.a(x).relu()
    if hidden.sum() > 3:
        hidden = hidden * 2
    return net.b(hidden)


def chosen(net, x):
    hidden = net.a(x).relu()
    return net.b(torch.where(hidden.sum() > 3, hidden * 2, hidden))


def plain(net, x):
    return net.b(net.a(x).relu())


def spec():
    layers = [
        hf.targets.LayerSpec(
            name=name,
            filters=filters,
            params=[hf.targets.kernel(f"{name}.weight", "o i"), hf.targets.bias(f"{name}.bias")],
        )
        for name, filters in (("a", 6), ("b", 3))
    ]
    return hf.targets.TargetSpec(name="net", input_shape=(8,), num_outputs=3, layers=layers)


def pair(net, x):
    return net.a(x), plain(net, x)


DICT = Net(lambda net, x: {"loss": None, "logits": plain(net, x)})
NAMED = Net(lambda net, x: (torch.zeros(()), plain(net, x)))
OF_BRANCHES = r"compute both and take torch.where\(condition, a, b\)$"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "message", "ways"),
    [
        (
            NAMED,
            r"must return one tensor, not tuple .* forward\(self, x\) returns self.net\(x\)\[1\]",
            [Around(NAMED, lambda me, x: me.net(x)[1])],
        ),
        (
            DICT,
            r"must return one tensor, not dict .* forward\(self, x\) returns self.net\(x\)\['logits'\]",
            [Around(DICT, lambda me, x: me.net(x)["logits"])],
        ),
        (
            TwoInputs(),
            r"takes 2 inputs \(x, mask\) .* forward\(self, x\) returns self.net\(x\[:, :K\], x\[:, K:\]\)$",
            [Around(TwoInputs(), lambda me, x: me.net(x[:, :4], x[:, 4:]))],
        ),
        (Net(doubled), OF_BRANCHES, [Net(chosen)]),
    ],
    ids=["tuple", "dict", "two inputs", "if"],
)
def test_the_way_that_a_message_proposes_trains(tmp_path, module, message, ways):
    def train(net, name):
        settings = {**tiny.GENERATED, "trainer.steps": 1}
        return hf.train(overrides=settings, module=net, data=(X, Y), out=tmp_path / name)

    with pytest.raises((SpecError, ConfigError), match=message):
        train(module, "refused")
    assert not (tmp_path / "refused").exists()
    for number, way in enumerate(ways):
        assert train(way, str(number)).sample(2).predict(X).shape == (2, 40, 3)


def test_no_spec_helps_a_module_that_decides_by_values(tmp_path):
    with pytest.raises(ConfigError, match=OF_BRANCHES):
        hf.train(overrides=tiny.GENERATED, module=Net(doubled), spec=spec(), data=(X, Y), out=tmp_path / "run")


@pytest.mark.slow
def test_networks_that_run_together_choose_each_by_itself(tmp_path):
    settings = {**tiny.GENERATED, "trainer.steps": 1, "task.standardise": False}
    nets = hf.train(overrides=settings, module=Net(chosen), data=(X, Y), out=tmp_path / "run").sample(20)
    together, doubles = nets.predict(X[:1]), []
    for number in range(20):
        net = nets[number]
        torch.testing.assert_close(together[number], doubled(net, X[:1]).softmax(-1))
        doubles.append(bool(net.a(X[:1]).relu().sum() > 3))
    assert len(set(doubles)) == 2
