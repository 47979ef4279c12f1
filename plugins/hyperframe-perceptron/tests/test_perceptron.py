"""What a target's author can check with a few lines: it is found, its symmetries hold, and it trains."""

import pytest
import torch
from hyperframe_perceptron import Options, build

import hyperframe as hf
from hyperframe.plugins import Registry, make_plugin_manager
from hyperframe.symmetry import apply_action, orbits, random_action
from hyperframe.weights import from_state_dicts, unflatten


@pytest.fixture
def registry():
    return Registry(make_plugin_manager())


@pytest.fixture(params=[(1, 8, 8), (5,)], ids=str)
def target(request):
    module, spec = build(Options(input_shape=request.param, hidden=6, classes=4))
    return hf.Target(module.double(), spec)


def draw(target, networks=3, images=7):
    """Random weights of some networks, and inputs that all of them share."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.randn(networks, target.spec.num_weights, generator=rng, dtype=torch.float64)
    x = torch.randn(images, *target.spec.input_shape, generator=rng, dtype=torch.float64)
    return unflatten(target.spec, flat), x


def test_the_registry_finds_it_with_its_distribution(registry):
    entry = registry.get("target", "perceptron")
    assert entry.source.distribution == "hyperframe-perceptron"
    assert entry.component.factory is build


def test_the_batched_forward_equals_the_module(target):
    weights, x = draw(target)
    outputs = target.forward(weights, x, shared=True)
    assert outputs.shape == (3, 7, 4)
    for number in range(3):
        torch.testing.assert_close(outputs[number], target.network(weights, number)(x), rtol=1e-12, atol=1e-12)


def test_weights_come_back_from_state_dicts_bit_for_bit(target):
    weights, _ = draw(target)
    back = from_state_dicts(target.spec, [target.network(weights, number).state_dict() for number in range(3)])
    assert all(torch.equal(back[layer], weights[layer]) for layer in weights)


def test_scaling_by_powers_of_two_keeps_the_outputs_bit_for_bit(target):
    weights, x = draw(target)
    of = orbits(target.structure, shift_invariant=True)
    counts = {kind: count for kind, count in of.counts.items() if count}
    assert counts == {"scaling": 6, "permutation": 6, "logit_shift": 7}
    action = random_action(of, 3, torch.Generator().manual_seed(1), kinds=["scaling"])
    moved = apply_action(of, action, weights)
    assert not torch.equal(moved["hidden"], weights["hidden"])
    assert torch.equal(target.forward(moved, x, shared=True), target.forward(weights, x, shared=True))


def test_permutations_keep_the_outputs(target):
    weights, x = draw(target)
    of = orbits(target.structure, shift_invariant=True)
    action = random_action(of, 3, torch.Generator().manual_seed(1), kinds=["permutation"])
    moved = apply_action(of, action, weights)
    assert not torch.equal(moved["hidden"], weights["hidden"])
    torch.testing.assert_close(target.forward(moved, x, shared=True), target.forward(weights, x, shared=True))


def test_it_trains(tmp_path, registry):
    settings = {"target": "perceptron", "target.hidden": 8, "trainer.steps": 2, "trainer.z": 4, "trainer.device": "cpu"}
    run = hf.train("digits", {**settings, "evaluation.networks": 2}, out=tmp_path / "run", registry=registry)
    nets = hf.load(run.folder, device="cpu", registry=registry).sample(3)
    assert nets.predict(torch.zeros(5, 1, 8, 8)).shape == (3, 5, 10)
    assert nets[0](torch.zeros(5, 1, 8, 8)).shape == (5, 10)
