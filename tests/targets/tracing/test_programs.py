"""Random networks through the tracer: it never fails on them, and nothing that it claims is wrong.

`pytest tests/targets/tracing/test_programs.py --programs 2500` tries as many; by default there are few. The trial is
written apart from the self-check of tracing: it works on the networks' own modules, in both modes, with tries of its
own.
"""

import copy

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import Program
from torch import nn
from torch.func import functional_call

from hyperframe.errors import SpecError
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.symmetry.orbits import KINDS, Action, apply_action, orbits
from hyperframe.targets.symmetry.precision import DoublePrecision
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.weights import unpack

TRIES = 3
EXAMPLES = 24
NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d
SEEDS = st.integers(0, 2**31)


def exactly(program, training, moving):
    """A copy in float64 without epsilons, its normalisations with the statistics of the batch where they ever use them.

    Dropout commutes with whatever acts on units but for the places of its zeros, hence drops nothing here; what it puts
    in the place of the zeros counts where nothing changes places.
    """
    module = copy.deepcopy(program).double().train(training)
    for part in module.modules():
        kept = isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and not copy.deepcopy(part).train().training
        if isinstance(part, NORMS):
            part.eps = 1e-100
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and not kept:
            part.training = True
        if isinstance(part, nn.Dropout | nn.Dropout1d) or (isinstance(part, nn.AlphaDropout) and moving):
            part.training = False
    return module


def outputs_of(module, spec, weights, inputs):
    torch.manual_seed(1)
    own = {name: value[0] for name, value in unpack(spec, weights).items()}
    with torch.no_grad(), DoublePrecision():
        return functional_call(copy.deepcopy(module), own, (inputs,))


def drawn(of, rng, kinds):
    """An action of some kinds that leaves as little as possible where it is."""
    sizes = {kind: 1 + of.structure.highest(kind) for kind in ("scaling", "sign", "permutation")}
    factors, signs = torch.ones(1, sizes["scaling"]).double(), torch.ones(1, sizes["sign"]).double()
    for kind in {"scaling", "normalisation"} & set(kinds):
        labels = getattr(of, kind).labels
        powers = torch.randint(1, 4, (len(labels),), generator=rng) * (
            1 - 2 * torch.randint(2, (len(labels),), generator=rng)
        )
        factors[0, labels] = 2.0 ** powers.double()
    for kind in {"sign", "norm_sign"} & set(kinds):
        labels = getattr(of, kind).labels
        signs[0, labels] = 1 - 2 * torch.randint(2, (len(labels),), generator=rng).double()
    sources = torch.arange(sizes["permutation"])[None].clone()
    for members in of.permutations if "permutation" in kinds else ():
        places = torch.tensor(members)[torch.randperm(len(members), generator=rng)]
        sources[0, places] = places.roll(1)
    offsets, shift = {}, None
    if "normalisation" in kinds:
        offsets = {
            name: torch.randn(1, of.structure.spec.layer(name).filters, generator=rng).double() for name in of.shifts
        }
    if "logit_shift" in kinds and of.logit_shift is not None:
        shift = torch.randn(1, of.logit_shift.directions, generator=rng).double()
    return Action(factors=factors, signs=signs, sources=sources, offsets=offsets, shift=shift)


def wrong_kinds(program, structure, seed=0):
    """The kinds of symmetry whose actions change the outputs, and how many trials told anything."""
    of = orbits(structure, shift_invariant=True)
    wrong, told = set(), 0
    rng = torch.Generator().manual_seed(seed)
    for kind in (kind for kind in KINDS if of.counts[kind]):
        for training in (False, True):
            module = exactly(program, training, moving=kind == "permutation")
            for _ in range(TRIES):
                weights = redraw(structure.spec, 1, rng)
                inputs = torch.randn(EXAMPLES, *program.input_shape, generator=rng, dtype=torch.float64)
                before = outputs_of(module, structure.spec, weights, inputs)
                nearby = {
                    name: theta * (1 + 1e-13 * torch.randn(theta.shape, generator=rng, dtype=torch.float64))
                    for name, theta in weights.items()
                }
                moved = apply_action(of, drawn(of, rng, [kind]), weights)
                after, rounded = (outputs_of(module, structure.spec, w, inputs) for w in (moved, nearby))
                if kind == "logit_shift":
                    before, after, rounded = (o - o.mean(-1, keepdim=True) for o in (before, after, rounded))
                size, noise = before.abs().max(), (rounded - before).abs().max()
                if not (before.isfinite().all() and noise <= 1e-9 * size):
                    continue  # rounding alone moves these outputs
                told += 1
                if not (after - before).abs().max() <= 1e-6 * size:
                    wrong.add(kind)
    return wrong, told


@pytest.mark.slow
def test_claims_about_random_networks_hold(request):
    @settings(max_examples=request.config.getoption("--programs"), database=None)
    @given(seed=SEEDS, steps=st.integers(1, 13))
    def every(seed, steps):
        program = Program(seed, steps)
        try:
            traced = trace(program, program.input_shape)
        except SpecError as error:
            assert "depend on no" in str(error) or "do not depend" in str(error), f"{error}\n{program}"  # noqa: PT017
            return
        wrong, _ = wrong_kinds(program, traced.structure)
        assert not wrong, f"{wrong} do not hold for\n{program}"

    every()


@pytest.mark.slow
def test_the_trial_sees_a_reader_that_is_forgotten():
    planted = 0
    for seed in range(8):
        program = Program(seed, steps=4)
        structure = trace(program, program.input_shape).structure
        free = set(orbits(structure, shift_invariant=True).scaling.labels.tolist())
        for number, axis in enumerate(structure.axes):
            if axis.exponent == -1 and free & set(axis.scaling):
                forgotten = (*structure.axes[:number], *structure.axes[number + 1 :])
                wrong, _ = wrong_kinds(program, attrs.evolve(structure, axes=forgotten))
                assert "scaling" in wrong, program
                planted += 1
    assert planted >= 4


class Weighted(nn.Module):
    """Its three units are weighted, so that none can take another's place."""

    input_shape = (4,)

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.first(x).relu() * torch.tensor([1, 2, 3]))


def test_the_trial_sees_units_that_cannot_change_places():
    module = Weighted().eval()
    structure = trace(module, module.input_shape).structure
    assert structure.classes == ()
    units = tuple(label for axis in structure.axes if axis.parameter == "first.bias" for label in axis.permutation)
    assert len(units) == 3
    wrong, _ = wrong_kinds(module, attrs.evolve(structure, classes=(units,)))
    assert wrong == {"permutation"}
