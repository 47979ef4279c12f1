"""Weight matching: classes assigned in turn by all weights that write and read their units, until none changes."""

from functools import lru_cache
from itertools import combinations, pairwise, permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperframe.networks.target import Target
from hyperframe.targets.symmetry import descent
from hyperframe.targets.symmetry.descent import Descent
from hyperframe.targets.symmetry.matching import FilterMatching, Matching
from hyperframe.targets.symmetry.orbits import apply_action, orbits, permute, random_action
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.weights import flatten, slice_weights
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, random_weights
from hyperframe.testing.laws import Draw
from hyperframe.testing.networks import TRACED, network

DEEP = {"channels": 6, "inner": 5}
NAMES = [*EXAMPLES, *(pytest.param(name, marks=pytest.mark.slow) for name in TRACED)]


class Recurrent(nn.Module):
    """Rows read by a recurrent layer, whose kernel writes and reads the same units."""

    def __init__(self, hidden):
        super().__init__()
        self.rows, self.out = nn.LSTM(2, hidden, batch_first=True), nn.Linear(hidden, 3)

    def forward(self, x):
        return self.out(self.rows(x)[0][:, -1])


def example(name, **sizes):
    target = Target(*EXAMPLES[name](**sizes)).to("cpu", torch.float64)
    return orbits(target.structure, shift_invariant=True)


@lru_cache
def recurrent(hidden):
    torch.manual_seed(0)
    return orbits(trace(Recurrent(hidden), (3, 2)).structure, shift_invariant=True)


def networks(of, seed, batch=3):
    """A reference and others."""
    return random_weights(of.structure.spec, 1, seed), random_weights(of.structure.spec, batch, seed + 1)


def squares(of, weights, reference):
    spec = of.structure.spec
    return (flatten(spec, weights) - flatten(spec, reference)).square().sum(1)


def same(one, other):
    return all(torch.equal(one[layer], other[layer]) for layer in other)


def exchanged(of, weights, blocks):
    """Weights in which two blocks have changed places."""
    sources = torch.arange(of.structure.highest("permutation") + 1).repeat(len(next(iter(weights.values()))), 1)
    places = torch.tensor(blocks)
    sources[:, places] = sources[:, places.flip(0)]
    return permute(of.structure, sources, weights, of.structure.spec.layer_names)


def test_readers_decide_where_filters_alone_are_wrong():
    of = example("unbiased", inputs=1, hidden=2, outputs=1)
    reference = {"first": torch.tensor([[[1.0], [1.1]]]), "out": torch.tensor([[[5.0, -5.0]]])}
    weights = {"first": torch.tensor([[[1.0], [1.1]]]), "out": torch.tensor([[[-5.0, 5.0]]])}
    assert same(FilterMatching(of, reference)(Sorting(of)(weights)), weights)
    found = Matching(of, reference)(weights)
    assert same(found, {"first": torch.tensor([[[1.1], [1.0]]]), "out": torch.tensor([[[5.0, -5.0]]])})


@settings(max_examples=10)
@given(seed=st.integers(0, 999), hidden=st.integers(2, 4), outputs=st.integers(1, 4))
def test_a_single_class_gets_the_best_of_all_orders(seed, hidden, outputs):
    of = example("dense", hidden=hidden, outputs=outputs)
    reference, weights = networks(of, seed)
    first, out = weights["first"], weights["out"]
    every = []
    for order in map(list, permutations(range(hidden))):
        columns = [*order, hidden]  # the bias stays
        every.append(squares(of, {"first": first[:, order], "out": out[:, :, columns]}, reference))
    found = squares(of, Matching(of, reference)(weights), reference)
    torch.testing.assert_close(found, torch.stack(every).amin(0))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5)
@given(seed=st.integers(0, 999), width=st.integers(2, 5))
def test_no_exchange_of_two_units_or_blocks_brings_the_result_nearer(name, seed, width):
    of = network(name, Draw(widths=(width,) * 5)).orbits
    reference, weights = networks(of, seed)
    found = Matching(of, reference)(weights)
    before = squares(of, found, reference)
    single = ([(label,) for label in members] for members in of.permutations)
    for blocks in (*of.structure.blocks, *single):
        for pair in combinations(blocks, 2):
            assert (squares(of, exchanged(of, found, pair), reference) >= before - 1e-9).all()


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 999))
def test_blocks_are_assigned_together_with_the_units_in_them(seed):
    of = network("attending", Draw()).orbits
    (blocks,) = of.structure.blocks
    inside = [members for members in of.permutations if set(members) <= {label for one in blocks for label in one}]
    assert len(blocks) == 2
    assert len(inside) == 4  # of each head the channels of values, and those of queries and keys
    reference, weights = networks(of, seed, batch=16)
    sources = Descent(of, reference).sources(weights)
    found = permute(of.structure, sources, weights, of.structure.spec.layer_names)
    before = squares(of, found, reference)
    for heads in (found, exchanged(of, found, blocks)):
        for turned in product([False, True], repeat=len(inside)):
            moved = heads
            for members, turn in zip(inside, turned, strict=True):
                moved = exchanged(of, moved, [(label,) for label in members]) if turn else moved
            assert (squares(of, moved, reference) >= before - 1e-9).all()


def check_against_one_pass(of, reference, weights):
    """The laws that hold whatever the optimum is."""
    matched, once = Matching(of, reference), FilterMatching(of, reference)(Sorting(of)(weights))
    found = matched(weights)
    assert (squares(of, found, reference) <= squares(of, once, reference) * (1 + 1e-12)).all()
    rng = torch.Generator().manual_seed(7)
    action = random_action(of, 3, rng, kinds=["permutation"])
    assert same(matched(apply_action(of, action, weights)), found)
    assert same(matched(found), found)
    copies = {layer: theta.expand(3, -1, -1) for layer, theta in reference.items()}
    assert same(matched(apply_action(of, action, copies)), copies)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5)
@given(seed=st.integers(0, 999), width=st.integers(1, 5))
def test_one_result_for_an_orbit_not_farther_than_after_one_pass(name, seed, width):
    of = network(name, Draw(widths=(width,) * 5)).orbits
    check_against_one_pass(of, *networks(of, seed))


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 999), hidden=st.sampled_from([2, 5]))
def test_units_that_are_written_and_read_by_one_kernel_are_brought_nearer(seed, hidden):
    of = recurrent(hidden)
    assert len(of.permutations) == 1
    check_against_one_pass(of, *networks(of, seed))


@settings(max_examples=10)
@given(target=strategies.targets("residual"), seed=st.integers(0, 999))
def test_a_permuted_reference_has_permuted_representatives(target, seed):
    of = orbits(target.structure, shift_invariant=True)
    reference, weights = networks(of, seed, batch=1)
    action = random_action(of, 1, torch.Generator().manual_seed(seed), kinds=["permutation"])
    found = Matching(of, apply_action(of, action, reference))(weights)
    assert same(found, apply_action(of, action, Matching(of, reference)(weights)))


def test_passes_go_on_until_nothing_changes(monkeypatch):
    of = example("residual", channels=12, inner=10)
    reference, weights = networks(of, 0, batch=8)
    reached = []
    for passes in (0, 1, 2, 3, 100):
        monkeypatch.setattr(descent, "PASSES", passes)
        reached.append(squares(of, Matching(of, reference)(weights), reference))
    assert all((after <= before + 1e-9).all() for before, after in pairwise(reached))
    assert (reached[1] < reached[0]).all()
    assert (reached[-1] < reached[1] - 1e-3).any()
    found = Matching(of, reference)(weights)
    still = torch.arange(of.structure.highest("permutation") + 1).repeat(8, 1)
    assert torch.equal(Descent(of, reference).sources(found), still)


def test_networks_are_matched_in_a_batch_as_each_alone():
    of = example("residual", **DEEP)
    reference, weights = networks(of, 1, batch=6)
    matched = Matching(of, reference)
    found = matched(weights)
    for number in range(6):
        row = slice(number, number + 1)
        assert same(matched(slice_weights(weights, row)), slice_weights(found, row))


def test_the_descent_leaves_the_weights_as_they_are():
    of = example("residual", **DEEP)
    reference, weights = networks(of, 2)
    kept = {layer: theta.clone() for layer, theta in weights.items()}
    Descent(of, reference).sources(weights)
    assert same(weights, kept)
    assert same(reference, random_weights(of.structure.spec, 1, 2))
