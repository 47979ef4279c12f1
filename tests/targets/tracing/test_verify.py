"""Claims that do not hold: rules do not make them, and the trial after them finds those that are planted."""

import random

import attrs
import pytest
import torch
import torch.nn.functional as F
from modules import KNOWN, Net, chain, dense, learnt
from planted import is_wrong, plant_all
from torch import nn
from tracing_trials import case, check_symmetries

from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.exact import other_modes, redraw, run_exactly
from hyperframe.targets.symmetry.orbits import KINDS, orbits, random_action
from hyperframe.targets.tracing import tracer
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.testing.laws import try_law
from hyperframe.testing.of_targets import LAWS, TargetCase

ZEROS = torch.tensor([1.0, 0, 1, 1, 0, 1])


def by_rules(module, shape):
    """Return the claims of the rules by themselves, which must hold, and how much of each kind there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
        traced, of, copy, weights, inputs = case(module, shape)
    for seed in range(4):
        check_symmetries(traced, of, copy, weights, inputs, seed)
    return of


# A parameter that is used twice, first where a channel is zero.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "free"),
    [
        (lambda m, x: m.c(m.w((m.w((m.a(x) * ZEROS).relu())).relu())), 6),
        (lambda m, x: m.c(m.w((m.w(m.a(x).relu() * ZEROS)).relu())), 6),
        (lambda m, x: m.c(m.w(m.w(F.pad(m.a(x)[:, :4].relu(), [0, 2])).relu())), 6),
        (lambda m, x: m.c(m.a(x) * m.k + m.a(x) * ZEROS * m.k), 12),
    ],
    ids=["masked before", "masked behind", "padded", "a learnt factor"],
)
def test_a_second_use_counts_where_the_first_is_of_zeros(form, free):
    module = Net(form, a=dense(4, 6), w=dense(6, 6), c=dense(6, 3), k=learnt(6))
    of = by_rules(module, (4,))
    assert of.counts["scaling"] <= free
    assert trace(module, (4,)).frozen == ()


# Reductions over a part.


@pytest.mark.slow
@pytest.mark.parametrize(
    "reduce",
    [
        lambda part: part.sum(1),
        lambda part: part.mean(1),
        lambda part: part.amax(1),
        lambda part: part.norm(dim=1),
        lambda part: part.max(1).values,
        lambda part: part.logsumexp(1),
        lambda part: part.var(1),
        lambda part: part.prod(1),
        lambda part: part.softmax(1).square().sum(1),
        lambda part: F.avg_pool1d(part[:, None], part.shape[1])[:, 0, 0],
    ],
    ids="sum mean amax norm max logsumexp var prod softmax pooling".split(),
)
def test_units_of_two_reductions_do_not_change_places(reduce):
    module = Net(lambda m, x: torch.stack([reduce(m.a(x)[:, :3]), reduce(m.a(x)[:, 3:])], 1), a=dense(4, 5))
    of = by_rules(module, (4,))
    assert sorted(len(members) for members in of.permutations) in ([], [2, 3])
    whole = Net(lambda m, x: torch.stack([reduce(m.a(x)), reduce(m.b(x))], 1), a=dense(4, 5), b=dense(4, 3))
    by_rules(whole, (4,))


# What does not hold in one of the modes.


class Kept(nn.BatchNorm1d):
    """A BatchNorm that stays in evaluation mode."""

    def train(self, mode=True):
        return super().train(False)


def kept(size):
    norm = Kept(size)
    norm.running_mean.copy_(torch.linspace(-1, 1, size))
    norm.running_var.copy_(torch.linspace(1, 2, size))
    return norm.eval()


def noisy(m, x):
    hidden = m.a(x).relu()
    return m.c(hidden + torch.randn_like(hidden) if m.training else hidden)


def with_given_moments(m, x):
    return m.c(F.batch_norm(m.a(x), torch.linspace(-1, 1, 6), torch.linspace(1, 2, 6), training=False).relu())


IN_ONE_MODE = {
    "BatchNorm kept in evaluation": (lambda: chain(dense(4, 6), kept(6), nn.ReLU(), dense(6, 3)), "normalisation"),
    "given moments": (lambda: Net(with_given_moments, a=dense(4, 6), c=dense(6, 3)), "normalisation"),
    "AlphaDropout": (lambda: chain(dense(4, 6), nn.ReLU(), nn.AlphaDropout(0.4), dense(6, 3)), "scaling"),
    "noise in training": (lambda: Net(noisy, a=dense(4, 6), c=dense(6, 3)), "scaling"),
    "another function in training": (
        lambda: Net(
            lambda m, x: m.c(F.softplus(m.a(x)) if m.training else m.a(x).relu()), a=dense(4, 6), c=dense(6, 3)
        ),
        "scaling",
    ),
    "dropout behind the logits": (lambda: chain(dense(4, 6), nn.ReLU(), dense(6, 3), nn.Dropout(0.4)), "logit_shift"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_ONE_MODE)
def test_claims_hold_in_both_modes(name):
    make, kind = IN_ONE_MODE[name]
    torch.manual_seed(0)
    traced = trace(make(), (4,))
    assert orbits(traced.structure, True).counts[kind] == 0
    if "BatchNorm" not in name and "moments" not in name:
        assert "in training mode" in " ".join(entry.why for entry in traced.frozen)


def test_dropout_keeps_what_units_have():
    torch.manual_seed(0)
    module = chain(dense(4, 6), nn.ReLU(), nn.Dropout(0.4), dense(6, 3))
    traced = trace(module, (4,))
    counts = orbits(traced.structure, True).counts
    assert (counts["scaling"], counts["permutation"], counts["logit_shift"]) == (6, 6, 7)
    assert traced.frozen == ()
    rng = torch.Generator().manual_seed(0)
    weights, inputs = redraw(traced.spec, 1, rng), torch.randn(5, 4, generator=rng, dtype=torch.float64)
    evaluated = run_exactly(module.double(), traced.spec, weights, inputs)
    assert other_modes(module, traced.spec, weights, inputs, evaluated) == ("training", "alike")


def test_a_shift_before_a_norm_is_not_refuted_by_units_that_are_dead():
    torch.manual_seed(0)
    module = chain(dense(2, 3), nn.ReLU(), dense(3, 24), nn.ReLU(), dense(24, 8), nn.BatchNorm1d(8), dense(8, 2))
    traced = trace(module, (2,))
    assert traced.structure.shifts == ("4",)
    assert traced.frozen == ()


# Draws in which nothing stays as it is.


@pytest.mark.slow
def test_random_actions_move_all_that_they_can():
    module = chain(dense(3, 4), nn.ReLU(), dense(4, 5), nn.BatchNorm1d(5), nn.Tanh(), dense(5, 2))
    of = orbits(trace(module, (3,)).structure, True)
    for seed in range(20):
        action = random_action(of, 4, torch.Generator().manual_seed(seed))
        assert not (action.factors[:, of.scaling.labels] == 1).any()
        assert torch.equal(action.signs[::2, of.sign.labels], -action.signs[1::2, of.sign.labels])
        for members in of.permutations:
            places = torch.tensor(members)
            assert not (action.sources[0, places] == places).any()
            assert (action.sources[1, places] != places).sum() == 2


# Claims that are planted.


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KNOWN)[::6])
def test_planted_claims_are_found(name):
    torch.manual_seed(0)
    make, shape, _ = KNOWN[name]
    module = make()
    structure = trace(module, shape).structure
    found = list(plant_all(module, structure, 4, random.Random(name)))
    assert all(result != "missed" for _, result in found), found


@pytest.mark.slow
def test_a_planted_claim_is_wrong():
    module = chain(dense(3, 4), nn.GELU(), dense(4, 2))
    structure = trace(module, (3,)).structure
    assert not is_wrong(module, structure)
    results = {result for _, result in plant_all(module, structure, 24, random.Random(0))}
    assert results == {"found"}


def with_signs(structure):
    """A sign claimed wherever there is a factor."""
    axes = tuple(
        attrs.evolve(axis, sign=tuple(label + 100 if label >= 0 else -1 for label in axis.scaling))
        for axis in structure.axes
    )
    return attrs.evolve(structure, axes=axes)


@pytest.mark.parametrize(("width", "outputs"), [*((width, 2) for width in range(1, 13)), (1, 1), (3, 1), (12, 1)])
def test_a_wrong_sign_is_found_at_every_width(width, outputs):
    """ReLU taken for odd; a common shift of a single output would be any change."""
    module = chain(dense(3, width), nn.ReLU(), dense(width, outputs))
    structure = trace(module, (3,)).structure
    mended, failed = tracer.verify(module, with_signs(structure), TrialInputs((3,)))
    assert orbits(mended, True).counts == {**dict.fromkeys(KINDS, 0), **orbits(structure, True).counts}
    assert [entry.op for entry in failed] == ["self-check"]


def test_the_laws_together_see_what_shifts_all_outputs():
    """One output, or a claim that changes every output by the same: what a task with a softmax does not see."""
    module = chain(dense(3, 4), nn.ReLU(), dense(4, 1))
    traced = trace(module, (3,))
    (law,) = [law for law in LAWS if law.name == "all_together"]
    for structure, state in ((traced.structure, "passed"), (with_signs(traced.structure), "failed")):
        assert try_law(law, [TargetCase(Target(module, traced.spec, structure))]).state == state


def test_a_label_that_is_read_and_never_written_is_frozen():
    module = chain(dense(3, 4), nn.ReLU(), dense(4, 2))
    structure = trace(module, (3,)).structure
    readers = tuple(axis for axis in structure.axes if axis.exponent == -1)
    mended, failed = tracer.verify(module, attrs.evolve(structure, axes=readers, classes=()), TrialInputs((3,)))
    assert orbits(mended, True).counts["scaling"] == 0
    assert [entry.op for entry in failed] == ["self-check"]
