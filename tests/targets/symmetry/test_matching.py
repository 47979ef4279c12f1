"""Units matched to those of a reference: the gauge `permutation_match`, and its file of networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import hyperframe as hf
from hyperframe.errors import RunError
from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.matching import FilterMatching, Matching, random_reference
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.targets.weights import flatten, slice_weights
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, random_weights


def case(name, **sizes):
    target = Target(*EXAMPLES[name](**sizes)).to("cpu", torch.float64)
    return target, orbits(target.structure, shift_invariant=True)


def moved(of, weights, seed=3):
    batch = len(next(iter(weights.values())))
    rng = torch.Generator().manual_seed(seed)
    return apply_action(of, random_action(of, batch, rng, kinds=["permutation"]), weights)


def same(one, other):
    return all(torch.equal(one[layer], other[layer]) for layer in other)


@pytest.mark.parametrize("name", ["dense", "residual", "depthwise"])
@settings(max_examples=5)
@given(seed=strategies.seeds(), data=st.data())
def test_permuted_copies_come_back_to_the_reference(name, seed, data):
    target = data.draw(strategies.targets(name))
    of = orbits(target.structure, shift_invariant=True)
    reference = random_weights(target.spec, 1, seed % 1000)
    matched = Matching(of, reference)
    assert same(matched(moved(of, reference, seed % 1000)), reference)
    other = random_weights(target.spec, 2, seed % 1000 + 1)
    once = matched(other)
    assert same(matched(moved(of, other)), once)
    assert same(matched(once), once)


@pytest.mark.parametrize("name", ["dense", "residual"])
def test_near_weights_stay_where_they_are(name):
    target, of = case(name)
    weights = random_weights(target.spec, 4, 0)
    matched = Matching(of, slice_weights(weights, slice(0, 1)))
    rng = torch.Generator().manual_seed(0)
    first = {layer: theta[:1].expand(4, -1, -1) for layer, theta in weights.items()}
    near = {
        layer: theta + 1e-3 * torch.randn(theta.shape, generator=rng, dtype=theta.dtype)
        for layer, theta in first.items()
    }
    assert same(matched(moved(of, near)), near)


def test_one_pass_assigns_the_first_layer_as_scipy_does():
    target, of = case("dense")
    one, other = (random_weights(target.spec, 1, seed) for seed in (0, 1))
    first = target.spec.layers[0].name
    cost = torch.cdist(one[first], other[first])[0].square()
    rows, columns = linear_sum_assignment(cost.numpy())
    found = (FilterMatching(of, one)(other)[first] - one[first]).square().sum()
    assert float(found) == pytest.approx(float(cost[rows, columns].sum()))


def test_equal_filters_stand_in_the_order_of_their_readers():
    target, of = case("dense")
    weights = random_weights(target.spec, 1, 0)
    first = target.spec.layers[0].name
    weights[first][:] = weights[first][:, :1]  # all units are written alike, so every assignment agrees as well
    matched = Matching(of, random_reference(of))
    copy = moved(of, weights)
    assert not same(copy, weights)
    assert same(matched(copy), matched(weights))
    assert same(matched(matched(weights)), matched(weights))


def test_sorted_weights_are_matched_as_others_are():
    target, of = case("dense")
    weights = random_weights(target.spec, 3, 0)
    matched = Matching(of, random_reference(of))
    assert same(matched.of_sorted(Sorting(of)(weights)), matched(weights))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {"trainer.steps": 2, "trainer.networks": 4, "trainer.device": "cpu", "evaluation.networks": 2}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


def gauge_of(run, path, registry):
    component = registry.get("gauge", "permutation_match").component
    return component.factory(component.options(reference=str(path)), run.experiment.orbits)


def test_a_file_of_networks_is_the_reference(run, tmp_path, registry):
    path = run.write_samples(tmp_path / "networks.safetensors", 3, gauge=True)
    gauge = gauge_of(run, path, registry)
    weights = run.sample(3, gauge=True).weights
    first = slice_weights(weights, slice(0, 1))
    assert same(gauge(moved(run.experiment.orbits, first)), first)
    spec = run.experiment.target.spec
    assert flatten(spec, gauge(weights)).shape == (3, spec.num_weights)


def test_wrong_files_are_named(run, small, tmp_path, registry):
    missing = tmp_path / "missing.safetensors"
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nothing")
    other = small(tmp_path / "other", target="mlp", trainer__steps=2, evaluation__every=2)
    networks = other.write_samples(tmp_path / "other.safetensors", 2)
    narrow = small(tmp_path / "narrow", target__channels=[3, 5], trainer__steps=2, evaluation__every=2)
    sizes = narrow.write_samples(tmp_path / "narrow.safetensors", 2)
    for path, message in [
        (missing, "there is no file"),
        (damaged, "cannot be read"),
        (networks, "of another target"),
        (sizes, "does not fit target 'digits_cnn'"),
    ]:
        with pytest.raises(RunError, match=message):
            gauge_of(run, path, registry)
