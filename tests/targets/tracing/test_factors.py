"""Factors and signs that are products of others: what is free is what linear algebra says."""

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.targets.tracing.factors import Factors
from hyperframe.targets.tracing.labels import FIXED, ZERO

PLAIN = 6
steps = st.lists(
    st.tuples(
        st.sampled_from(["product", "unite", "inverse", "freeze"]),
        st.integers(0, 30),
        st.integers(0, 30),
        st.sampled_from([1, 1, 2, -1]),
    ),
    max_size=8,
)


def one(label):
    return torch.tensor([label])


def built(moves, *, signs):
    """Labels after some moves, and the same moves as equations: for each the coefficients of a sum that is 0."""
    factors, equations = Factors(signs=signs), []
    factors.new(PLAIN)
    for move, first, second, power in moves:
        a, b = first % len(factors), second % len(factors)
        if move == "product":
            made = int(factors.product([(one(a), 1), (one(b), power)]))
            if made == FIXED:
                continue
            equations.append([(a, 1), (b, power), (made, -1)])
        elif move == "unite":
            factors.unite(one(a), one(b))
            equations.append([(a, 1), (b, -1)])
        elif move == "inverse":
            factors.inverse(one(a), one(b))
            equations.append([(a, 1), (b, 1)])
        else:
            factors.freeze(one(a))
            equations.append([(a, 1)])
    rows = []
    for equation in equations:
        row = [0] * len(factors)
        for label, coefficient in equation:
            row[label] += coefficient
        rows.append(row)
    return factors, rows


def rank(rows, modulus):
    """By elimination, over the rationals or modulo a prime."""
    rows = [[Fraction(value) if modulus is None else value % modulus for value in row] for row in rows]
    found = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows[found:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(found, pivot)
        for place in range(found + 1, len(rows)):
            ratio = rows[place][column] / pivot[column] if modulus is None else rows[place][column]
            rows[place] = [a - ratio * b for a, b in zip(rows[place], pivot, strict=True)]
            if modulus is not None:
                rows[place] = [value % modulus for value in rows[place]]
        found += 1
    return found


@given(moves=steps, values=st.lists(st.integers(-3, 3), min_size=40, max_size=40), signs=st.booleans())
def test_free_labels_solve_all_equations(moves, values, signs):
    factors, rows = built(moves, signs=signs)
    solved = factors.solve([torch.arange(PLAIN)], [torch.arange(len(factors))])
    logarithms = [sum(power * values[label] for label, power in product.items()) for product in solved]
    for row in rows:
        total = sum(coefficient * value for coefficient, value in zip(row, logarithms, strict=True))
        assert (total % 2 if signs else total) == 0
    # Nothing is lost but what needs a root, or what nothing that is anchored is a part of.
    free = {label for product in solved for label in product}
    bound = rank(rows, 2 if signs else None)
    assert len(free) <= len(factors) - bound
    assert len(free) == len(factors) - bound or factors.rooted
    assert all(int(power) == power for product in solved for power in product.values())


def test_zeros_and_fixed_labels_end_products():
    factors = Factors()
    labels = factors.new(2)
    a, b = labels
    both = factors.product([(torch.tensor([int(a), ZERO, FIXED, int(a)]), 1), (torch.stack([a, b, b, b]), -1)])
    assert both.tolist()[:2] == [FIXED, ZERO]
    assert factors.solve([labels], [labels])[int(both[2])] == {1: -1}
    assert factors.solve([labels], [labels])[int(both[3])] == {0: 1, 1: -1}
    assert factors.product([(torch.tensor([ZERO]), -1), (labels[:1], 1)]).tolist() == [0]
    factors.inverse(torch.tensor([ZERO]), labels[:1])
    factors.inverse(torch.tensor([FIXED]), labels[1:])
    assert factors.solve([labels], [labels])[:2] == [{0: 1}, {}]


def test_a_used_label_that_needs_a_root_is_frozen():
    factors = Factors()
    labels = factors.new(2)
    root = factors.product([(labels[:1], Fraction(1, 2))])
    square = factors.product([(root, 2)])
    solved = factors.solve([labels], [square])
    assert (solved[0], solved[int(square)], factors.rooted) == ({0: 1}, {0: 1}, set())
    solved = factors.solve([labels], [root])
    assert (solved[0], solved[int(root)], factors.rooted) == ({}, {}, {0})


def test_products_that_are_equal_keep_their_parts_alike():
    """The joint factor of three products is free beside one part of each: none of the three is a special case."""
    factors = Factors()
    a, b = factors.new(3), factors.new(3)
    both = factors.product([(a, 1), (b, 1)])
    factors.unite(both, both[:1])
    solved = factors.solve([a, b], [a, b])
    joint = int(both[0])
    assert [solved[int(label)] for label in b] == [{joint: 1, int(label): -1} for label in a]
