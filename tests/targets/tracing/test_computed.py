"""Values computed from parameters, products, powers and even functions: their symmetries are found, and hold."""

import random

import attrs
import pytest
import torch
import torch.nn.functional as F
from modules import Masked, Net, Standardised, chain, conv, counts, dense, learnt, parametrized
from torch import nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, apply_action, orbits, random_action
from hyperframe.targets.tracing import tracer
from hyperframe.targets.tracing.labels import FIXED
from hyperframe.targets.tracing.rules.computed import COMPUTED
from hyperframe.targets.tracing.rules.registry import RULES
from hyperframe.targets.tracing.tracer import trace
from hyperframe.testing import checks

GAUGES = ("logit_shift", "scale", "sign", "normalisation", "permutation_sort")


class StandardisedConvolution(nn.Conv2d):
    """With a BatchNorm over the kernel's filters, and a gain for each, as residual networks without norms have it."""

    def __init__(self, *sizes, gain=False):
        super().__init__(*sizes)
        self.gain = learnt(sizes[1], 1, 1, 1) if gain else None

    def forward(self, x):
        rows = self.weight.reshape(1, self.out_channels, -1)
        gain = None if self.gain is None else (0.5 * self.gain).view(-1)
        standardised = F.batch_norm(rows, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return self._conv_forward(x, standardised.reshape_as(self.weight), self.bias)


def two(make, activation=nn.ReLU):
    return chain(make(dense(4, 6)), activation(), make(dense(6, 5)), activation(), dense(5, 2))


def between(run, **parts):
    """Of two layers of six units something, for the last layer."""
    return Net(lambda m, x: m.out(run(m, m.a(x), m.b(x))), a=dense(4, 6), b=dense(4, 6), out=dense(6, 2), **parts)


def reading(kernel, **parts):
    """A layer with its own kernel between two others."""
    return Net(
        lambda m, x: m.out(F.linear(m.a(x).relu(), kernel(m)).relu()),
        a=dense(3, 4),
        out=dense(6, 2),
        w=learnt(6, 4),
        **parts,
    )


def half_a_mask():
    mask = torch.ones(6, 4)
    mask[:3, :2] = 0
    return mask


# Each: how it is made, the shape of one input, and the directions of each kind that are there.
CASES = {
    # A filter's length is taken away, its sign and its factor's go together; the factors of what it reads do not pass.
    "weight_norm": (
        lambda: two(weight_norm),
        (4,),
        counts(scaling=5, sign=11, normalisation=11, permutation=11, logit_shift=6),
    ),
    "weight_norm, tanh": (
        lambda: two(weight_norm, nn.Tanh),
        (4,),
        counts(sign=22, normalisation=11, permutation=11, logit_shift=6),
    ),
    "weight_norm of convolutions": (
        lambda: chain(
            *(weight_norm(conv(1, 4)), nn.ReLU(), weight_norm(conv(4, 4, groups=4)), nn.ReLU()),
            *(nn.Flatten(), dense(4, 2)),
        ),
        (1, 5, 5),
        counts(scaling=8, sign=8, normalisation=8, permutation=4, logit_shift=5),
    ),
    "standardised": (
        lambda: two(lambda layer: parametrized(layer, Standardised())),
        (4,),
        counts(normalisation=11, permutation=11, logit_shift=6),
    ),
    "standardised by a BatchNorm": (
        lambda: chain(
            *(StandardisedConvolution(1, 4, 3), nn.ReLU(), StandardisedConvolution(4, 5, 3, gain=True), nn.ReLU()),
            *(nn.Flatten(), dense(5, 2)),
        ),
        (1, 5, 5),
        counts(scaling=5, sign=5, normalisation=9, permutation=9, logit_shift=6),
    ),
    "masked": (
        lambda: chain(
            *(parametrized(dense(4, 6), Masked(half_a_mask())), nn.ReLU()),
            *(parametrized(dense(6, 5), Masked(torch.ones(5, 6))), nn.ReLU(), dense(5, 2)),
        ),
        (4,),
        counts(scaling=11, permutation=11, logit_shift=6),
    ),
    "masked, BatchNorm": (
        lambda: chain(
            *(parametrized(conv(1, 4), Masked(torch.ones(4, 1, 3, 3).triu())), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Flatten(), dense(36, 2)),
        ),
        (1, 5, 5),
        counts(scaling=4, normalisation=8, norm_sign=4, permutation=4, logit_shift=37),
    ),
    "masked in the forward pass": (
        lambda: Net(
            lambda m, x: m.out(F.linear(x, m.w * m.k, m.b).relu()),
            w=learnt(6, 4),
            k=half_a_mask(),
            b=learnt(6),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "rows of length one": (
        lambda: reading(lambda m: F.normalize(m.w, dim=1)),
        (3,),
        counts(normalisation=6, permutation=10, logit_shift=7),
    ),
    "one norm of all": (
        lambda: reading(lambda m: m.w / m.w.norm()),
        (3,),
        counts(normalisation=1, permutation=10, logit_shift=7),
    ),
    "equalised": (
        lambda: Net(
            lambda m, x: m.out(F.linear(x, m.w * 0.3, m.b * 0.1).relu()), w=learnt(6, 4), b=learnt(6), out=dense(6, 2)
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "one number for all": (
        lambda: reading(lambda m: m.w * m.g, g=learnt(1)),
        (3,),
        counts(scaling=11, sign=1, permutation=10, logit_shift=7),
    ),
    "a factor for each filter": (
        lambda: reading(lambda m: m.w * m.g, g=learnt(6, 1)),
        (3,),
        counts(scaling=16, sign=6, permutation=10, logit_shift=7),
    ),
    "a factor for each input": (
        lambda: reading(lambda m: m.w * m.g, g=learnt(4)),
        (3,),
        counts(scaling=14, sign=4, permutation=10, logit_shift=7),
    ),
    "of low rank": (
        lambda: Net(
            lambda m, x: m.out(F.linear(x, m.w + m.b @ m.c).relu()),
            w=learnt(6, 4),
            b=learnt(6, 2),
            c=learnt(2, 4),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=8, sign=2, permutation=8, logit_shift=7),
    ),
    "put together": (
        lambda: Net(
            lambda m, x: m.out(F.linear(x, torch.cat([m.v, m.w])).relu()),
            v=learnt(2, 4),
            w=learnt(3, 4),
            out=dense(5, 2),
        ),
        (4,),
        counts(scaling=5, permutation=5, logit_shift=6),
    ),
    "rows along another axis": (
        lambda: Net(
            lambda m, x: m.out((m.b((m.a(x) + m.t[:5]).relu()) + m.t[5:]).relu().flatten(1)),
            a=dense(3, 10),
            b=dense(10, 10),
            t=learnt(10, 10),
            out=dense(50, 2),
        ),
        (5, 3),
        counts(scaling=10, permutation=10, logit_shift=51),
    ),
    "a bias of two axes": (
        lambda: Net(
            lambda m, x: m.out(torch.addmm(m.b, x, m.w).relu()), b=learnt(1, 6), w=learnt(4, 6), out=dense(6, 2)
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "1 + γ": (
        lambda: Net(lambda m, x: m.out(m.a(x).relu() * (1 + m.g)), a=dense(4, 6), g=learnt(6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "ReGLU": (
        lambda: between(lambda m, a, b: a.relu() * b),
        (4,),
        counts(scaling=12, sign=6, permutation=6, logit_shift=7),
    ),
    "a product behind a GELU": (  # of the two factors only the ratio is free
        lambda: between(lambda m, a, b: F.gelu(a * b)),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "a product before a LayerNorm": (
        lambda: between(lambda m, a, b: F.layer_norm(a * b, (6,))),
        (4,),
        counts(scaling=6, sign=7, normalisation=1, permutation=6, logit_shift=7),
    ),
    "a product with a residual": (
        lambda: between(lambda m, a, b: a * b + b.relu()),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "a quotient": (
        lambda: between(lambda m, a, b: a / b.abs()),
        (4,),
        counts(scaling=12, sign=12, permutation=6, logit_shift=7),
    ),
    "a cube": (
        lambda: between(lambda m, a, b: a**3 + b),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "an exponent that is no fraction": (
        lambda: between(lambda m, a, b: a.relu() ** 1.41421356 + b),
        (4,),
        counts(permutation=6, logit_shift=7),
    ),
    "root of a square": (
        lambda: between(lambda m, a, b: (a * a).sqrt() + b.abs()),
        (4,),
        counts(scaling=6, sign=12, permutation=6, logit_shift=7),
    ),
    "absolute value": (
        lambda: between(lambda m, a, b: a.abs() + b.tanh()),
        (4,),
        counts(sign=6, permutation=6, logit_shift=7),
    ),
    "cosine": (
        lambda: between(lambda m, a, b: a.cos() * b.cosh()),
        (4,),
        counts(sign=12, permutation=6, logit_shift=7),
    ),
    "softsign, tanhshrink": (
        lambda: between(lambda m, a, b: F.softsign(a) + F.tanhshrink(b)),
        (4,),
        counts(sign=6, permutation=6, logit_shift=7),
    ),
    "x · |x|": (
        lambda: between(lambda m, a, b: a * a.abs() + b),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "the sign alone": (
        lambda: between(lambda m, a, b: a.sign() * b),
        (4,),
        counts(scaling=6, sign=12, normalisation=6, permutation=6, logit_shift=7),
    ),
    "root of the mean square": (
        lambda: between(lambda m, a, b: a / a.square().mean(1, keepdim=True).sqrt()),
        (4,),
        counts(sign=6, normalisation=1, permutation=6, logit_shift=7),
    ),
    "deviation": (
        lambda: between(lambda m, a, b: (a - a.mean(1, keepdim=True)) / a.std(1, keepdim=True)),
        (4,),
        counts(sign=1, normalisation=1, permutation=6, logit_shift=7),
    ),
    "addcmul with parameters": (
        lambda: between(lambda m, a, b: torch.addcmul(m.s, a.relu() + b, m.g), s=learnt(6), g=learnt(6)),
        (4,),
        counts(scaling=12, sign=6, permutation=6, logit_shift=7),
    ),
    "addcmul of activations": (
        lambda: between(lambda m, a, b: torch.addcmul(a, a, b.sigmoid())),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "addcdiv": (
        lambda: between(lambda m, a, b: torch.addcdiv(a, a, b.abs() + 1)),
        (4,),
        counts(scaling=6, sign=12, permutation=6, logit_shift=7),
    ),
    "lerp": (
        lambda: between(lambda m, a, b: torch.lerp(a, b, 0.3) + torch.lerp(a, b, m.g), g=learnt(6)),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
}


def drawn(traced, seed):
    rng = torch.Generator().manual_seed(seed)
    weights = redraw(traced.spec, 1, rng)
    return (
        exact_copy(traced.module),
        weights,
        torch.randn(12, *traced.spec.input_shape, generator=rng, dtype=torch.float64),
    )


def check_laws(registry, traced, seed, tolerance=1e-7):
    """All claims hold, and the gauges take all of it away and nothing else."""
    of = orbits(traced.structure, shift_invariant=True)
    parts = {name: registry.get("gauge", name).component for name in GAUGES}
    gauge = ComposedGauge({name: part.factory(part.options(), of) for name, part in parts.items()})
    copy, weights, inputs = drawn(traced, seed)

    def outputs(of_weights):
        found = run_exactly(copy, traced.spec, of_weights, inputs)
        return found - found.mean(-1, keepdim=True)

    before, once = outputs(weights), gauge(weights)
    if not before.isfinite().all() or before.abs().max() > 1e6:
        return
    size = before.abs().max()
    assert (outputs(once) - before).abs().max() <= tolerance * size, "gauge"
    for kind in KINDS:
        action = random_action(of, 1, torch.Generator().manual_seed(seed + 1), kinds=[kind], exponents=2)
        moved = apply_action(of, action, weights)
        assert (outputs(moved) - before).abs().max() <= tolerance * size, kind
        for layer, theta in gauge(moved).items():
            assert torch.allclose(theta, once[layer], rtol=0, atol=tolerance * float(theta.abs().max())), (kind, layer)


@pytest.mark.parametrize("name", CASES)
def test_known_symmetries_of_computed_kernels_are_found(name, registry, monkeypatch):
    """By the rules alone; what is claimed holds, so that the check after them has nothing to mend."""
    monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    make, shape, expected = CASES[name]
    torch.manual_seed(0)
    module = make()
    traced = trace(module, shape)
    assert orbits(traced.structure, shift_invariant=True).counts == expected
    assert traced.frozen == ()
    used = [parameter for key, parameter in module.named_parameters() if key not in traced.unused]
    assert traced.spec.num_weights == sum(parameter.numel() for parameter in used)
    for seed in range(2):
        check_laws(registry, traced, seed)


def test_filters_of_a_mask_change_places_with_their_like_only():
    make, shape, _ = CASES["masked in the forward pass"]
    structure = trace(make(), shape).structure
    assert sorted(map(len, structure.classes)) == [3, 3]


def test_layers_keep_their_names_and_all_of_a_filter():
    make, shape, _ = CASES["weight_norm"]
    layers = trace(make(), shape).spec.layers
    assert [(layer.name, layer.filters, layer.filter_size) for layer in layers] == [
        ("0", 6, 6),
        ("2", 5, 8),
        ("4", 2, 6),
    ]
    assert [param.role for param in layers[0].params] == ["kernel", "scale", "shift"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "op", "named"),
    [
        (lambda: two(spectral_norm), "vdot", "0.parametrizations.weight.original"),
        (lambda: two(orthogonal), "linalg_householder_product", "0.parametrizations.weight.original"),
        (lambda: chain(dense(4, 3), nn.ReLU(), weight_norm(dense(3, 2))), "logits", "2"),
        (lambda: between(lambda m, a, b: a.relu().sqrt()), "power", "a.weight"),
        (lambda: reading(lambda m: m.w.cumsum(1)), "cumsum", ""),
    ],
    ids=["spectral_norm", "orthogonal", "logits", "a root", "unknown"],
)
def test_lost_symmetries_of_computed_kernels_are_reported(make, op, named):
    traced = trace(make(), (3,) if op == "cumsum" else (4,))
    assert any(entry.op == op and named in f"{entry.place} {entry.why}" for entry in traced.frozen)
    assert not any(entry.op == "self-check" for entry in traced.frozen)


# A wrong rule is caught by the check.


def odd(operation):
    return RULES["tanh"](operation)


def careless(operation):
    """A kernel that takes no notice of the factors that it reads."""
    x, *rest = operation.args
    unscaled = attrs.evolve(x, scale=torch.full_like(x.scale, FIXED))
    return TRUE_DENSE(attrs.evolve(operation, args=(unscaled, *rest)))


TRUE_DENSE = COMPUTED["linear"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rules", "op", "wrong", "kind"),
    [
        ("absolute value", RULES, "abs", odd, "sign"),
        ("weight_norm", COMPUTED, "linear", careless, "scaling"),
    ],
)
def test_a_wrong_rule_is_frozen_by_the_check(name, rules, op, wrong, kind, monkeypatch):
    make, shape, expected = CASES[name]
    torch.manual_seed(0)
    module = make()
    monkeypatch.setitem(rules, op, wrong)
    traced = trace(module, shape)
    assert {entry.op for entry in traced.frozen} == {"self-check"}
    assert orbits(traced.structure, True).counts[kind] <= expected[kind]


@pytest.mark.parametrize("check", checks("modules:computed_kernels", kind="target"), ids=lambda check: check.law.name)
def test_a_network_of_computed_kernels_is_a_target(check):
    check()


def program(seed):
    """A random network of three units a layer: kernels of all kinds, sums, products, powers, norms."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    module = nn.Module()
    module.parts = nn.ParameterList()

    def part(*shape):
        module.parts.append(learnt(*shape))
        return len(module.parts) - 1

    mask = (torch.rand(3, 3) > 0.4).double()
    mask[0], mask[:, 0] = mask[1], mask[:, 1]
    kernels = {
        "plain": (lambda w: w, ()),
        "weight_norm": (lambda w, g: g * w / w.norm(dim=1, keepdim=True), ((3, 1),)),
        "standardised": (lambda w: (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True), ()),
        "masked": (lambda w: w * mask.to(w.dtype), ()),
        "product": (lambda w, v: w * v, ((3, 3),)),
        "normalised": (lambda w: w / w.norm(), ()),
        "low rank": (lambda w, b, c: w + b @ c, ((3, 2), (2, 3))),
        "cubed": (lambda w: w**3, ()),
        "factor": (lambda w, g: w * g, ((1,),)),
        "sum": (lambda w, v: w + v.t(), ((3, 3),)),
    }
    alone = {
        **{"relu": F.relu, "tanh": torch.tanh, "abs": torch.abs, "square": torch.square, "neg": torch.neg},
        **{"softsign": F.softsign, "gelu": F.gelu, "cos": torch.cos, "shrink": F.tanhshrink},
        **{"cube": lambda x: x**3, "odd": lambda x: x * x.abs(), "unit": lambda x: F.normalize(x, dim=1)},
        **{"deviation": lambda x: x / x.std(1, keepdim=True), "rolled": lambda x: x.roll(1, 1)},
        **{"batch": lambda x: F.batch_norm(x, None, None, training=True), "layer": lambda x: F.layer_norm(x, (3,))},
    }
    together = {"mul": torch.mul, "add": torch.add, "div": lambda x, y: x / y.abs()}
    of_parameters = {"exp": torch.exp, "square": torch.square, "itself": lambda p: p, "1 +": lambda p: 1 + p}
    steps = []

    def layer():
        function, sizes = kernels[choose.choice(list(kernels))]
        own = [part(3, 3), *(part(*size) for size in sizes)]
        bias = part(3) if choose.random() < 0.6 else None
        return lambda m, values, last: F.linear(
            values[last], function(*(m.parts[k] for k in own)), None if bias is None else m.parts[bias]
        )

    def other():
        kind, earlier = choose.choice(["alone", "alone", "together", "parameter", "addcmul"]), choose.random()
        if kind == "alone":
            function = alone[choose.choice(list(alone))]
            return lambda m, values, last: function(values[last])
        if kind == "together":
            function = together[choose.choice(list(together))]
            return lambda m, values, last: function(values[last], values[1 + int(earlier * last)])
        function, own = of_parameters[choose.choice(list(of_parameters))], part(3)
        if kind == "addcmul":
            return lambda m, values, last: torch.addcmul(m.parts[own], values[last], function(m.parts[own]))
        return lambda m, values, last: values[last] * function(m.parts[own])

    steps = [layer(), *(choose.choice([layer, other, other])() for _ in range(choose.randint(3, 7)))]

    def run(m, x):
        values = [x]
        for step in steps:
            values.append(step(m, values, len(values) - 1))
        return m.out(values[-1])

    return Net(run, parts=module.parts, out=dense(3, 2))


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 25))])
def test_random_programs(seed, registry, monkeypatch):
    """Claims of the rules hold, and gauges keep their laws, whether or not a check follows."""
    monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    check_laws(registry, trace(program(seed), (3,)), seed, tolerance=1e-5)
