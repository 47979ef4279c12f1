"""Fully connected stacks: last layers of low rank, skip connections, and what both start with."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperframe.builtin.diversities.manifold_entropy.held_moments import HeldMoments
from hyperframe.networks.dense import BatchNorm, Dense, DenseOptions

narrow = st.integers(1, 12)
stacks = st.lists(narrow, min_size=2, max_size=5)


def dense(sizes, **options):
    return Dense(sizes, DenseOptions(**options)).double()


def inputs(rows, entries, seed=0):
    return torch.randn(rows, entries, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(stacks, st.integers(1, 14), st.booleans())
def test_a_last_layer_is_a_product_only_where_that_has_fewer_entries(sizes, rank, bias):
    full, low = dense(sizes, bias=bias), dense(sizes, bias=bias, rank=rank)
    *_, last, outputs = sizes
    product = rank * (last + outputs)
    assert (low.rank == rank) == (product < last * outputs)
    assert (low.rank is None) == (product >= last * outputs)
    assert low.num_matrix_entries == full.num_matrix_entries - max(0, last * outputs - product)
    assert min(low.widths) == min(*sizes, low.rank or min(sizes))
    assert low.describe()["biases"] == full.describe()["biases"]


@settings(max_examples=20)
@given(st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 99))
def test_outputs_of_a_low_rank_deviate_from_their_mean_in_as_many_directions(rank, bias, batch_norm, seed):
    torch.manual_seed(seed)
    stack = dense([6, 12, 30], rank=rank, bias=bias, batch_norm=batch_norm)
    stack.initialise_hyperfan(1.0, torch.ones(30))
    made = stack(inputs(200, 6, seed)).detach()
    assert int(torch.linalg.matrix_rank(made - made.mean(0), rtol=1e-9)) == rank


@settings(max_examples=20)
@given(st.lists(st.integers(2, 4), min_size=1, max_size=4), st.booleans(), st.integers(0, 99))
def test_a_hidden_layer_as_wide_as_the_one_before_adds_to_what_it_reads(hidden, batch_norm, seed):
    torch.manual_seed(seed)
    stack = dense([3, *hidden, 5], residual=True, batch_norm=batch_norm, activation="tanh")
    linears, norms = stack.linears, [module for module in stack.modules() if isinstance(module, BatchNorm)]
    x = z = inputs(7, 3, seed)
    for number, linear in enumerate(linears[:-1]):
        made = torch.tanh(x @ linear.weight.T)
        if batch_norm:
            made = (made - made.mean(0)) / (made.var(0, correction=0) + norms[number].eps).sqrt()
        x = x + made if number and hidden[number] == hidden[number - 1] else made
    assert torch.allclose(stack(z), x @ linears[-1].weight.T)
    assert stack.skips == sum(one == other for one, other in pairwise(hidden))


def test_the_first_hidden_layer_has_no_skip_connection_though_it_is_as_wide_as_the_input():
    stack = dense([4, 4, 4, 2], residual=True)
    assert stack.skips == 1
    with torch.no_grad():
        stack.linears[0].weight.zero_()
    assert float(stack(inputs(5, 4)).detach().abs().max()) == 0


@pytest.mark.parametrize(
    ("options", "injective"),
    [
        ({}, True),
        ({"rank": 3}, False),
        ({"residual": True}, False),
        ({"rank": 5}, True),
        ({"activation": "relu"}, False),
    ],
)
def test_a_low_rank_and_skip_connections_are_not_known_to_be_injective(options, injective):
    assert dense([3, 5, 5, 20], **options).is_injective is injective


def test_skip_connections_with_no_layer_to_go_around_leave_a_stack_injective():
    assert dense([3, 4, 5, 20], residual=True).is_injective


def test_a_tanh_with_a_skip_connection_can_map_two_inputs_to_one_output():
    stack = dense([1, 1, 1, 1], residual=True, activation="tanh", batch_norm=False)
    with torch.no_grad():
        for linear, weight in zip(stack.linears, (1.0, -3.0, 1.0), strict=True):
            linear.weight.fill_(weight)
    made = stack(torch.linspace(-2, 2, 400, dtype=torch.float64)[:, None])[:, 0]
    slopes = made.diff().sign()
    assert set(slopes.tolist()) == {-1.0, 1.0}


FORMS = [{}, {"rank": 12}, {"residual": True}, {"rank": 12, "residual": True}]


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("activation", ["leaky_relu", "relu"])
def test_hyperfan_gives_outputs_the_deviations_that_are_wished(options, batch_norm, activation):
    wished = torch.tensor([0.02, 0.5, 3.0], dtype=torch.float64).repeat(100)
    squares = []
    for seed in range(12):
        torch.manual_seed(seed)
        stack = dense([64, *[96] * 5, 300], activation=activation, batch_norm=batch_norm, **options)
        stack.initialise_hyperfan(2.5, wished)
        squares.append(stack(2.5**0.5 * inputs(64, 64, seed)).detach().square().mean(0).view(-1, 3).mean(0))
    assert torch.stack(squares).mean(0).sqrt().tolist() == pytest.approx([0.02, 0.5, 3.0], rel=0.12)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_hyperfan_counts_what_skip_connections_add(options):
    """The second moments of what hidden layers read, and that of what a product's first matrix makes."""
    torch.manual_seed(1)
    stack = dense([64, *[400] * 4, 300], batch_norm=False, **options)
    stack.initialise_hyperfan(1.0, torch.ones(300))
    outputs = {}
    for linear in stack.linears:
        linear.register_forward_hook(lambda module, given, made: outputs.setdefault(module, made))
    stack(inputs(200, 64))
    moments = [float(outputs[linear].detach().square().mean()) for linear in stack.linears]
    gained = 2 / (1 + 0.05**2)
    assert moments == pytest.approx([*[gained] * 4, *[1.0] * (len(moments) - 4)], rel=0.25)


def test_the_authors_outputs_are_as_large_with_a_low_rank():
    def root(**options):
        squares = []
        for seed in range(12):
            torch.manual_seed(seed)
            stack = dense([20, 64, 64, 300], **options)
            stack.initialise_authors()
            squares.append(float(stack(inputs(64, 20, seed)).detach().square().mean()))
        return (sum(squares) / len(squares)) ** 0.5

    assert root() == pytest.approx(0.1, rel=0.1)
    assert root(rank=12) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"rank": 500}, {"residual": True}], ids=str)
def test_stacks_without_either_keep_the_names_of_their_parameters(options):
    names = ["stack.0.weight", "stack.2.weight", "stack.2.bias", "stack.3.weight"]
    assert [name for name, _ in dense([3, 5, 4], **options).named_parameters()] == names


def test_held_moments_reach_batch_normalisations_within_skip_connections():
    stack, z = dense([3, 6, 6, 6, 4], residual=True, rank=1), inputs(9, 3)
    held = HeldMoments(stack, z)
    assert torch.allclose(held(z), stack(z))
    assert torch.allclose(held(z[:1]), stack(z)[:1])
