"""The trunk: what comes before any generated weight, its mode, and that it runs once for all networks."""

import copy

import pytest
import torch
from torch import nn

from hyperframe.experiment.targets import traced_target
from hyperframe.networks.passes import trunk as trunk_module
from hyperframe.networks.passes.trunk import Trunk, find_trunk
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.tracing.tracer import trace

RUNS = []


class Counted(nn.Module):
    """Does nothing, and notes that it is run."""

    def forward(self, x):
        RUNS.append(len(x))
        return x + 0.0


class Forked(nn.Module):
    """A trunk whose output is used twice, beside an input that no parameter has seen."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.relu = nn.ReLU()
        self.pool = nn.Identity()
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        y = self.relu(self.first(self.pool(x)))
        return self.last(self.relu(y + x))


def network(last=2):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
    return nn.Sequential(trunk, Counted(), nn.ReLU(inplace=True), nn.Linear(6, last))


def part_of(module, generated):
    for name, value in module.named_parameters():
        value.requires_grad_(name.startswith(generated))
    return traced_target(trace(module, (4,))).to("cpu", torch.float64)


@pytest.fixture(scope="module")
def of_the_last_layer():
    return part_of(network(), "3")


@pytest.fixture
def target(of_the_last_layer):
    RUNS.clear()
    return copy.deepcopy(of_the_last_layer)


def weights_of(target, count):
    return redraw(target.spec, count, torch.Generator().manual_seed(1), torch.float64)


def inputs(*sizes):
    return torch.randn(*sizes, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_trunk_is_what_stands_behind_constants_and_before_generated_weights():
    module, x = network(), torch.rand(3, 4)
    found = find_trunk(module, ["3.weight", "3.bias"], x)
    assert (found.parts, found.whole) == ({"0", "0.0", "0.1", "0.2"}, ("0", "1", "2"))
    assert find_trunk(module, ["0.1.weight", "3.weight"], x).whole == ("0.0",)
    assert find_trunk(module, ["0.0.bias"], x) == Trunk()
    assert find_trunk(module, [name for name, _ in module.named_parameters()], x) == Trunk()


def test_a_dropout_between_trunk_and_generated_weights_draws():
    """As in front of a new last layer; what is before it is remembered, it is not."""
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2))
    found = find_trunk(module, ["3.weight", "3.bias"], torch.rand(3, 4))
    assert (found.parts, found.whole) == ({"0"}, ("0", "1"))
    target = part_of(module, "3")
    weights, x = weights_of(target, 1), inputs(7)
    one, other = (target.forward(weights, x, shared=True, training=True) for _ in range(2))
    assert not torch.equal(one, other)
    assert not target.leaves_nothing(5)


def test_what_runs_twice_or_before_constants_is_not_remembered():
    """`relu` runs in the trunk and behind it; `pool` sees inputs alone."""
    found = find_trunk(Forked(), ["last.weight", "last.bias"], torch.rand(3, 4))
    assert (found.parts, found.whole) == ({"first"}, ("first",))


def test_parts_of_parts_belong_to_the_trunk():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4))), nn.Linear(4, 2))
    found = find_trunk(module, ["1.weight"], torch.rand(3, 4))
    assert (sorted(found.parts), found.whole) == (["0", "0.0", "0.1", "0.1.0"], ("0",))


def test_the_trunk_stays_in_evaluation_mode(target):
    """In training its normalisation has the moments that it has, and its dropout draws nothing."""
    weights, x = weights_of(target, 3), inputs(7)
    training, evaluated = (target.forward(weights, x, shared=True, training=mode) for mode in (True, False))
    assert torch.equal(training, evaluated)
    assert not target.has_statistics
    assert {"0.1.running_mean", "0.1.running_var"} <= set(target.constants())
    assert target.leaves_nothing(5)


def test_noise_of_ones_own_in_the_trunk_is_drawn_anew():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x) if self.training else x

    target = part_of(nn.Sequential(nn.Linear(4, 6), Noise(), nn.Linear(6, 2)), "2")
    assert target.trunk.whole == ("0",)
    weights, x = weights_of(target, 1), inputs(7)
    one, other = (target.forward(weights, x, shared=True, training=True) for _ in range(2))
    assert not torch.equal(one, other)


def test_a_normalisation_behind_generated_weights_has_statistics_of_each_network():
    target = part_of(network(), "0.0")
    assert target.has_statistics
    assert "0.1.running_mean" not in target.constants()
    weights, x = weights_of(target, 2), inputs(7)
    statistics = target.estimate_statistics(weights, [x])
    assert not torch.equal(statistics["0.1.running_mean"][0], statistics["0.1.running_mean"][1])


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_trunk_runs_once_for_inputs_that_all_networks_see(target, at_once):
    """In one batch, or one network after the other; on inputs of their own it runs for each."""
    weights, x = weights_of(target, 3), inputs(7)
    target.forward({name: value[:1] for name, value in weights.items()}, inputs(2), shared=True)  # tries its layout out
    RUNS.clear()
    parts = [{name: value[k : k + at_once] for name, value in weights.items()} for k in range(0, 3, at_once)]
    outputs = torch.cat([target.forward(part, x, shared=True) for part in parts])
    assert RUNS == [7]
    own = torch.cat([target.forward(part, x.expand(at_once, *x.shape)) for part in parts])
    assert len(RUNS) == 1 + len(parts)
    torch.testing.assert_close(own, outputs, rtol=1e-12, atol=1e-12)


def test_what_changes_is_computed_again(target):
    """Other inputs, inputs that were changed in place, and constants that were loaded."""
    weights, x = weights_of(target, 1), inputs(7)
    changed = {name: value + 1 for name, value in target.constants().items()}
    seen = [target.forward(weights, x, shared=True)]
    other = x + 1
    assert not torch.equal(target.forward(weights, other, shared=True), seen[0])
    assert torch.equal(target.forward(weights, x, shared=True), seen[0])
    for change in (lambda: x.add_(1), lambda: target.load_constants(changed)):
        count = len(RUNS)
        change()
        seen.append(target.forward(weights, x, shared=True))
        assert len(RUNS) == count + 1
        assert torch.equal(seen[-1], target.forward(weights, x.clone(), shared=True))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_nothing_is_remembered_of_inputs_that_are_gone(target):
    """New inputs may lie where the old ones lay."""
    weights = weights_of(target, 1)
    for seed in range(5):
        x = torch.randn(7, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        outputs = target.forward(weights, x, shared=True)
        del x
        again = torch.randn(7, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert torch.equal(target.forward(weights, again, shared=True), outputs)
    assert len(RUNS) >= 10


def test_gradients_at_inputs_pass_the_trunk(target):
    weights, x = weights_of(target, 2), inputs(7).requires_grad_()
    target.forward(weights, x.detach(), shared=True)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(target.forward(weights, x, shared=True).sum(), x)
        assert gradient.abs().sum() > 0


def test_what_is_remembered_without_gradients_serves_a_pass_with_them(target):
    weights, x = weights_of(target, 2), inputs(7)
    with torch.inference_mode():
        target.forward(weights, x, shared=True)
    with torch.no_grad():
        target.forward(weights, x, shared=True)
    leaves = {name: value.requires_grad_() for name, value in weights.items()}
    found = torch.autograd.grad(target.forward(leaves, x, shared=True).sum(), list(leaves.values()))
    plain = torch.autograd.grad(target.forward(leaves, x.clone(), shared=True).sum(), list(leaves.values()))
    assert all(map(torch.equal, found, plain))


def test_what_is_worked_on_in_place_behind_the_trunk_is_computed_again():
    """A ReLU in place on the trunk's last output, which later networks get as it was."""

    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.last(self.first(x).sub_(0.5))

    target = part_of(InPlace(), "last")
    weights, x = weights_of(target, 2), inputs(7)
    one_by_one = [target.forward({k: v[i : i + 1] for k, v in weights.items()}, x, shared=True) for i in (0, 1)]
    expected = [target.network(weights, i)(x)[None] for i in (0, 1)]
    assert all(map(torch.equal, one_by_one, expected))


def test_a_trunk_that_works_in_place_on_what_was_read_is_not_remembered():
    """The first pass reads what `first` gave before `relu` changes it; later ones would read it after that."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.last = nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)

        def forward(self, x):
            y = self.first(x)
            mean = y.mean()
            return self.last(self.relu(y) + mean)

    target = part_of(Twice(), "last")
    assert (target.trunk.parts, target.trunk.whole) == ({"first"}, ())
    weights, x = weights_of(target, 2), inputs(7)
    for number in (0, 1):
        one = {name: value[number : number + 1] for name, value in weights.items()}
        assert torch.equal(target.forward(one, x, shared=True), target.network(weights, number)(x)[None])


def test_large_outputs_are_not_remembered(target, monkeypatch):
    weights, x = weights_of(target, 1), inputs(7)
    monkeypatch.setattr(trunk_module, "NUMBERS_REMEMBERED", 10)
    first = target.forward(weights, x, shared=True)
    assert torch.equal(target.forward(weights, x, shared=True), first)
    assert len(RUNS) >= 2
