"""Tracing: it finds the symmetries that are there and no others, in any convolutional or dense module."""

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import KNOWN, Net, Residual, chain, conv, dense, learnt
from tiny import CHECKED
from torch import nn
from tracing_trials import case, change_of, check_symmetries

import hyperframe as hf
from hyperframe.errors import SpecError
from hyperframe.targets.symmetry.exact import exact_copy, redraw
from hyperframe.targets.symmetry.from_spec import compile_structure
from hyperframe.targets.symmetry.orbits import KINDS, orbits, random_action
from hyperframe.targets.symmetry.structure import FROZEN
from hyperframe.targets.tracing import tracer
from hyperframe.targets.tracing.rules.elementwise import homogeneous
from hyperframe.targets.tracing.rules.registry import RULES
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.testing.examples import EXAMPLES

CHECK = [pytest.param(True, marks=pytest.mark.slow, id="checked"), pytest.param(False, id="by rules alone")]


@pytest.mark.parametrize("checked", CHECK)
@pytest.mark.parametrize("name", KNOWN)
def test_known_symmetries_of_modules_are_found(name, checked, monkeypatch):
    """Claims of the rules hold, whether or not the check after them would find out."""
    if not checked:
        monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    make, shape, expected = KNOWN[name]
    torch.manual_seed(0)
    module = make()
    traced, of, copy, weights, inputs = case(module, shape)
    assert expected is None or of.counts == expected
    assert traced.frozen == ()
    assert traced.unused == ()
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert traced.spec.num_weights == sum(parameter.numel() for parameter in trainable)
    for seed in range(3):
        check_symmetries(traced, of, copy, weights, inputs, seed)


# Where tracing finds more than a spec says: units within groups may change places, norms take common factors away.
MORE = {"grouped", "transposed", "layer_norm", "group_norm"}


def canonical_outputs(structure, kind):
    """Labels numbered as they turn up, on each axis of each parameter; labels on rows of one axis put together."""
    merged = {}
    for axis in structure.axes:
        labels = torch.tensor(getattr(axis, kind))
        key = (axis.parameter, axis.dim, axis.exponent, axis.groups)
        earlier = merged.get(key, torch.full_like(labels, FROZEN))
        merged[key] = torch.where(labels == FROZEN, earlier, labels)
    numbers = {FROZEN: FROZEN}
    result = {}
    for key in sorted(merged):
        found = tuple(numbers.setdefault(label, len(numbers)) for label in merged[key].tolist())
        if set(found) != {FROZEN}:
            result[key] = found
    classes = {frozenset(numbers.get(label) for label in members) for members in structure.classes}
    return result, classes if kind == "permutation" else None


def check_written(module, spec):
    written = compile_structure(spec.bind(module))
    traced = trace(module, spec.input_shape, spec.name)
    for kind in ("scaling", "sign", "permutation"):
        assert canonical_outputs(traced.structure, kind) == canonical_outputs(written, kind)
    assert orbits(traced.structure, True).counts == orbits(written, True).counts
    return written.spec, traced.spec


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - MORE))
def test_written_specs_and_tracing_agree(name):
    check_written(*EXAMPLES[name]())


@pytest.mark.parametrize("name", sorted(MORE))
def test_tracing_finds_all_that_is_written(name):
    module, spec = EXAMPLES[name]()
    written = orbits(compile_structure(spec.bind(module)), True).counts
    traced = orbits(trace(module, spec.input_shape).structure, True).counts
    assert all(traced[kind] >= count for kind, count in written.items())
    assert traced != written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits_cnn", {}),
        ("mnist_cnn", {}),
        ("lenet", {}),
        ("mlp", {}),
        ("mlp", {"activation": "tanh"}),
        ("mlp", {"activation": "gelu", "hidden": (5, 4)}),
        ("mlp", {"hidden": ()}),
    ],
)
def test_targets_that_ship_are_traced_as_they_are_written(registry, name, options):
    component = registry.get("target", name).component
    written, traced = check_written(*component.factory(component.options(**options)))
    sizes = [[(layer.filters, layer.filter_size, layer.params) for layer in spec.layers] for spec in (written, traced)]
    assert sizes[0] == sizes[1]
    assert [layer.name for layer in written.layers].index(written.logits) == len(written.layers) - 1
    assert traced.logits == traced.layers[-1].name


# Networks of other people.


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", ["projection", "zero_padded"])
@pytest.mark.parametrize(("name", "blocks", "weights"), [("resnet20", 3, 272_474), ("resnet32", 5, 466_906)])
def test_residual_networks(registry, name, blocks, weights, shortcut):
    component = registry.get("target", name).component
    traced = component.factory(component.options(shortcut=shortcut))
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert traced.spec.num_weights == weights - (projections if shortcut == "zero_padded" else 0)
    kernels = [layer for layer in traced.spec.layers if layer.fan_in]
    assert all(layer.norm == "batch" and len(layer.params) == 3 for layer in kernels[:-1])
    of = orbits(traced.structure, True)
    inner = blocks * (16 + 32 + 64)
    # Zeros take any factor, so that a zero-padded shortcut ties only what it passes on.
    trunks = 16 + 32 + 64 if shortcut == "projection" else 64
    assert of.counts["scaling"] == of.counts["permutation"] == inner + trunks
    copy, rng = exact_copy(traced.module), torch.Generator().manual_seed(0)
    drawn, inputs = redraw(traced.spec, 1, rng), torch.randn(8, 3, 32, 32, generator=rng, dtype=torch.float64)
    check_symmetries(traced, of, copy, drawn, inputs, 0)


ZOO = {
    "squeezenet1_1": {"scaling": 2944, "permutation": 2944},
    "shufflenet_v2_x0_5": {"scaling": 3976, "permutation": 2938},
    "mobilenet_v3_small": {"scaling": 1152, "permutation": 4872},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_networks_of_torchvision(registry, name):
    component = registry.get("target", "torchvision").component
    traced = component.factory(component.options(model=name))
    of = orbits(traced.structure, True)
    assert {kind: of.counts[kind] for kind in ZOO[name]} == ZOO[name]
    assert traced.frozen == ()
    copy, rng = exact_copy(traced.module), torch.Generator().manual_seed(0)
    drawn, inputs = redraw(traced.spec, 1, rng), torch.randn(12, 3, 32, 32, generator=rng, dtype=torch.float64)
    check_symmetries(traced, of, copy, drawn, inputs, 0)


# Not vacuous: an action that forgets one reader or writer is caught.


FORGETTING = [
    (name, kind)
    for name in ("residual", "dense connections", "depthwise block", "layer scale", "tanh before a mean")
    for kind in ("scaling", "sign", "permutation")
    if KNOWN[name][2][kind]
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), FORGETTING)
def test_every_reader_and_writer_counts(name, kind):
    make, shape, _ = KNOWN[name]
    torch.manual_seed(0)
    traced, of, copy, weights, inputs = case(make(), shape)
    chosen = (
        set(getattr(of, kind).labels.tolist()) if kind != "permutation" else {x for c in of.permutations for x in c}
    )
    carrying = [axis for axis in traced.structure.axes if axis.exponent and chosen & set(getattr(axis, kind))]
    caught = tried = 0
    for left_out in carrying:
        moving = {(axis.parameter, axis.dim) for axis in (left_out,)}
        keep = [
            axis
            for axis in traced.structure.axes
            if (axis is not left_out if kind != "permutation" else (axis.parameter, axis.dim) not in moving)
        ]
        broken = attrs.evolve(of, structure=attrs.evolve(of.structure, axes=tuple(keep)))
        for seed in range(5):
            action = random_action(of, 1, torch.Generator().manual_seed(seed), kinds=[kind])
            change, _ = change_of(broken, copy, traced.spec, weights, inputs, action)
            caught += change > 1e-6
            tried += 1
    assert len(carrying) >= 2
    assert caught >= 0.99 * tried


@pytest.mark.slow
def test_a_wrong_rule_is_frozen_by_the_check(monkeypatch):
    """GELU taken for a ReLU claims factors that are not there."""
    module = chain(dense(4, 6), nn.GELU(), dense(6, 5), nn.ReLU(), dense(5, 2))
    honest = orbits(trace(module, (4,)).structure, True).counts
    monkeypatch.setitem(RULES, "gelu", homogeneous)
    traced = trace(module, (4,))
    assert [(entry.op, entry.place) for entry in traced.frozen] == [("self-check", "0")]
    assert orbits(traced.structure, True).counts == honest


@pytest.mark.slow
def test_a_wrong_permutation_is_frozen_by_the_check(monkeypatch):
    """A function that treats its entries differently, taken for one that does not."""
    module = chain(dense(4, 6), nn.ReLU(), Net(lambda m, x: x.cumsum(1)), dense(6, 5), nn.ReLU(), dense(5, 2))
    assert [entry.op for entry in trace(module, (4,)).frozen] == ["cumsum"]
    monkeypatch.setitem(RULES, "cumsum", lambda operation: operation.args[0])
    traced = trace(module, (4,))
    assert {entry.op for entry in traced.frozen} == {"self-check"}
    assert orbits(traced.structure, True).counts == {
        **dict.fromkeys(KINDS, 0),
        "scaling": 5,
        "permutation": 5,
        "logit_shift": 6,
    }


# What cannot be traced, or only in part.


def counting(m, x):
    m.count.add_(1)
    return m.out(m.first(x).relu())


def averaging(m, x):
    y = m.out(m.first(x).relu())
    m.mean.mul_(0.9).add_(0.1 * y.detach().mean(0))
    return y - m.mean


def above_zero(x):
    return torch.maximum(x, torch.zeros_like(x))


FROZEN_PARTS = {
    "units along two axes at once": (
        lambda: Net(
            lambda m, x: m.out(m.t(m.a(x).transpose(1, 2)).relu().flatten(1)),
            a=dense(3, 6),
            t=nn.Linear(5, 4, bias=False),
            out=dense(24, 2),
        ),
        (5, 3),
        [("linear", "out")],
    ),
    "units along two axes at once, beside zeros of their shape": (
        lambda: Net(
            lambda m, x: m.out(above_zero(m.t(m.a(x).transpose(1, 2))).flatten(1)),
            a=dense(3, 6),
            t=nn.Linear(5, 4, bias=False),
            out=dense(24, 2),
        ),
        (5, 3),
        [("linear", "out")],
    ),
    "BatchNorm over another axis than the units'": (
        lambda: chain(dense(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Flatten(), dense(25, 2)),
        (5, 3),
        [("_native_batch_norm_legit", "1")],
    ),
    "a convolution along the units": (
        lambda: chain(dense(3, 8), nn.ReLU(), nn.Conv1d(5, 4, 3), nn.Flatten(), dense(24, 2)),
        (5, 3),
        [("conv1d", "2")],
    ),
    "a function that no rule knows": (
        lambda: chain(dense(4, 6), Net(lambda m, x: torch.special.i0e(x)), dense(6, 2)),
        (4,),
        [("special_i0e", "1")],
    ),
    "complex numbers": (
        lambda: Net(lambda m, x: m.out((m.a(x) * 1j).imag), a=dense(4, 6), out=dense(6, 2)),
        (4,),
        [("view_as_real", "")],
    ),
    "indices that are computed": (
        lambda: Net(
            lambda m, x: m.out(m.a(x)[torch.arange(len(x)), x.mean(2).argmax(1)].relu()),
            a=dense(4, 6),
            out=dense(6, 2),
        ),
        (3, 4),
        [("index", "")],
    ),
    "a bias from which a factor is computed": (
        lambda: Net(
            lambda m, x: m.out(m.norm(m.a(x)).relu() * m.a.bias.exp()),
            a=dense(4, 6),
            norm=nn.BatchNorm1d(6),
            out=dense(6, 2),
        ),
        (4,),
        [("shared parameter", "a.bias")],
    ),
    "a bias that is used again": (
        lambda: Net(
            lambda m, x: m.out(m.norm(m.a(x)).relu() + m.a.bias), a=dense(4, 6), norm=nn.BatchNorm1d(6), out=dense(6, 2)
        ),
        (4,),
        [("shared parameter", "a.bias")],
    ),
    "a sum of products of three": (
        lambda: Net(
            lambda m, x: m.out(torch.einsum("bnd,hde,bne->bnh", x, m.w, x).mean(1)), w=learnt(6, 8, 8), out=dense(6, 2)
        ),
        (5, 8),
        [("einsum", "")],
    ),
    "weights tied to their transpose": (
        lambda: Net(lambda m, x: F.linear(F.linear(x, m.w).relu(), m.w.t()), w=learnt(6, 4)),
        (4,),
        [("shared parameter", "w")],
    ),
    "a convolution with computed kernels": (
        lambda: Net(
            lambda m, x: m.out(F.conv2d(x, m.kernels(x.mean((2, 3))).mean(0).view(4, 1, 3, 3)).flatten(1)),
            kernels=dense(1, 36),
            out=dense(36, 2),
        ),
        (1, 5, 5),
        [("conv2d", "")],
    ),
    "some rows that nothing uses": (
        lambda: Net(lambda m, x: m.out(F.linear(x, m.w[:4]).relu()), w=learnt(6, 4), out=dense(4, 2)),
        (4,),
        [("shared parameter", "w")],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FROZEN_PARTS)
def test_unknown_operations_freeze_and_are_named(name):
    make, shape, expected = FROZEN_PARTS[name]
    traced, of, copy, weights, inputs = case(make(), shape)
    assert [(entry.op, entry.place) for entry in traced.frozen] == expected
    assert traced.spec.num_weights == sum(parameter.numel() for parameter in copy.parameters())
    check_symmetries(traced, of, copy, weights, inputs, 0)


def test_of_outputs_that_are_random_only_the_shift_of_the_logits_is_claimed():
    module = Net(lambda m, x: m.out(F.dropout(m.a(x).relu(), 0.5, True)), a=dense(4, 6), out=dense(6, 2))
    traced = trace(module, (4,))
    assert traced.frozen
    assert orbits(traced.structure, True).counts == {**dict.fromkeys(KINDS, 0), "logit_shift": 7}


@pytest.mark.slow
def test_a_wrong_shift_of_biases_is_frozen_by_the_check():
    """Only the shift: factors beside it stay."""
    module = chain(dense(3, 4), nn.ReLU(), dense(4, 5), nn.BatchNorm1d(5), nn.ReLU(), dense(5, 2))
    honest = trace(module, (3,))
    wrong = attrs.evolve(honest.structure, shifts=("0", "2"))
    mended, failed = tracer.verify(module, wrong, TrialInputs(wrong.spec.input_shape))
    assert [(entry.op, entry.place) for entry in failed] == [("self-check", "0")]
    assert mended.shifts == ("2",)
    assert orbits(mended, True).counts == orbits(honest.structure, True).counts


def test_a_counter_is_no_obstacle():
    module = Net(counting, first=dense(4, 6), out=dense(6, 2), count=torch.zeros(()))
    assert orbits(trace(module, (4,)).structure, True).counts["scaling"] == 6
    assert float(module.count) == 0


@pytest.mark.slow
def test_state_that_changes_the_outputs_is_frozen():
    module = Net(averaging, first=dense(4, 6), out=dense(6, 2), mean=torch.zeros(2))
    traced = trace(module, (4,))
    assert {entry.op for entry in traced.frozen} == {"self-check"}
    assert sum(orbits(traced.structure, False).counts.values()) == 0


def test_unused_parameters_are_left_out():
    module = Net(lambda m, x: m.out(x), out=dense(4, 2), idle=dense(4, 2))
    traced = trace(module, (4,))
    assert traced.unused == ("idle.weight", "idle.bias")
    assert traced.spec.layer_names == ["out"]


def deciding(m, x):
    return m.out(x) if x.sum() > 0 else m.other(x)


CANNOT = {
    "data-dependent control flow": (
        lambda: Net(deciding, out=dense(4, 2), other=dense(4, 2)),
        (4,),
        "decides by values",
    ),
    "a shape that does not fit": (lambda: dense(4, 2), (5,), r"does not run on inputs of shape \(5,\)"),
    "complex parameters": (
        lambda: Net(
            lambda m, x: m.out(x) + m.p.real, out=dense(4, 2), p=nn.Parameter(torch.zeros(2, dtype=torch.cfloat))
        ),
        (4,),
        "parameter 'p' is torch.complex64",
    ),
    "whole-number parameters": (
        lambda: Net(
            lambda m, x: m.out(x) + m.p,
            out=dense(4, 2),
            p=nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False),
        ),
        (4,),
        "parameter 'p' is torch.int64",
    ),
    "a number without an axis": (
        lambda: Net(lambda m, x: m.out(x) * m.p, out=dense(4, 2), p=learnt()),
        (4,),
        "parameter 'p' is a number",
    ),
    "a number without an axis of outputs": (
        lambda: Net(lambda m, x: m.out(x)[:, 0], out=dense(4, 2)),
        (4,),
        r"outputs for 2 inputs are torch.float32 \[2\]",
    ),
    "two outputs": (lambda: Net(lambda m, x: (m.out(x), x), out=dense(4, 2)), (4,), "one tensor, not tuple"),
    "two outputs while training": (
        lambda: Net(lambda m, x: (m.out(x), x) if m.training else m.out(x), out=dense(4, 2)),
        (4,),
        r"not tuple \(training mode\)",
    ),
    "no parameters": (lambda: Net(lambda m, x: x.relu()), (4,), "depend on no trainable parameter"),
    "outputs of its own": (
        lambda: Net(lambda m, x: torch.ones(len(x), 2) * m.out.bias, out=dense(4, 2)),
        (4,),
        "do not depend on its inputs",
    ),
    "lazy parameters": (lambda: nn.LazyLinear(2), (4,), "has no shape yet"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_module_that_cannot_be_traced_is_one_message(name, capfd):
    make, shape, message = CANNOT[name]
    with pytest.raises(SpecError, match=message) as caught:
        trace(make(), shape, "mine")
    assert str(caught.value).startswith("target 'mine'")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@settings(max_examples=15)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    activations=st.lists(st.sampled_from(["ReLU", "Tanh", "GELU", "LeakyReLU", "Identity"]), min_size=4, max_size=4),
    normalised=st.lists(st.booleans(), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_claims_about_chains_of_any_layers_hold(widths, activations, normalised, seed):
    """The counts follow from the activations alone."""
    torch.manual_seed(seed)
    modules, scaling, sign, last = [], 0, 0, 3
    for width, activation, norm in zip(widths, activations, normalised, strict=False):
        modules += [nn.Linear(last, width)] + [nn.BatchNorm1d(width)] * norm + [getattr(nn, activation)()]
        scaling += width * (activation in ("ReLU", "LeakyReLU", "Identity"))
        sign += width * (activation in ("Tanh", "Identity"))
        last = width
    traced, of, copy, weights, inputs = case(chain(*modules, nn.Linear(last, 2)), (3,), seed)
    assert (of.counts["scaling"], of.counts["sign"]) == (scaling, sign)
    assert of.counts["permutation"] == sum(width for width in widths if width > 1)
    assert of.counts["logit_shift"] == last + 1
    check_symmetries(traced, of, copy, weights, inputs, seed)


# Trained from a plain module.


@pytest.mark.slow
def test_a_module_is_trained_without_a_spec(tmp_path):
    settings = {**CHECKED, "task": "digits"}
    run = hf.train(overrides=settings, module=Residual(width=4), out=tmp_path / "run")
    nets = run.sample(2)
    assert type(nets[0]) is Residual
    again = hf.load(tmp_path / "run", module=Residual(width=4))
    assert again.experiment.target.identity() == run.experiment.target.identity()
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(again.sample(2).predict(x), nets.predict(x))


# One unit that many meet, such as a gate that all have in common.


class Gated(nn.Module):
    """Hidden units, all times one of a few gates."""

    def __init__(self, gates, units=5):
        super().__init__()
        self.hidden, self.gate, self.out = dense(6, units), dense(6, gates), dense(units, 3)

    def forward(self, x):
        return self.out(self.hidden(x).relu() * self.gate(x).softmax(1)[:, :1].sigmoid())


class SpatialAttention(nn.Module):
    """Places of an image weighted by what the mean and the largest of all channels say there."""

    def __init__(self):
        super().__init__()
        self.conv, self.weight, self.out = conv(3, 6), conv(2, 1, padding=1), dense(6, 3)

    def forward(self, x):
        h = self.conv(x).relu()
        seen = torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], 1)
        return self.out((h * self.weight(seen).sigmoid()).mean((2, 3)))


class AttentionPool(nn.Module):
    """A mean over tokens, by weights that one filter gives."""

    def __init__(self):
        super().__init__()
        self.hidden, self.weight, self.out = dense(6, 5), dense(5, 1), dense(5, 3)

    def forward(self, x):
        h = self.hidden(x).tanh()
        return self.out((h * self.weight(h).softmax(1)).sum(1))


@pytest.mark.parametrize(
    ("module", "shape", "units", "frozen"),
    [
        (lambda: Gated(1), (6,), 5, []),
        (lambda: Gated(2), (6,), 5, []),
        (SpatialAttention, (3, 6, 6), 6, []),
        (AttentionPool, (4, 6), 5, []),
    ],
    ids=["one gate", "one of two gates", "spatial attention", "attention pool"],
)
def test_units_that_all_meet_one_other_may_change_places(module, shape, units, frozen):
    traced, of, copy, weights, inputs = case(module(), shape, networks=4)
    assert of.counts["permutation"] == units
    assert [entry.op for entry in traced.frozen] == frozen
    action = random_action(of, 4, torch.Generator().manual_seed(1))
    change, _ = change_of(of, copy, traced.spec, weights, inputs, action)
    assert change < 1e-9


# Values that a forward reads on the host, branches and loops in the graph, and sizes that depend on values.


def by_example(m, x):
    h = m.first(x)
    return m.last((h / h.abs().max().item()).relu())


def by_list(m, x):
    h = m.first(x)
    return m.last((h * h.sum(0).tolist()[0]).relu())


def by_branch(m, x):
    h = m.first(x)
    return m.last(torch.cond(h.sum() > 0, torch.relu, torch.tanh, (h,)))


@pytest.mark.parametrize(("forward", "op"), [(by_example, "item"), (by_list, "item"), (by_branch, "cond")])
def test_values_read_on_the_host_and_branches_freeze_what_they_see(forward, op):
    traced, of, copy, weights, inputs = case(Net(forward, first=dense(6, 5), last=dense(5, 3)), (6,))
    assert [entry.op for entry in traced.frozen] == [op]
    change, _ = change_of(
        of, copy, traced.spec, weights, inputs, random_action(of, 1, torch.Generator().manual_seed(1))
    )
    assert change < 1e-9


def test_sizes_that_depend_on_values_are_refused():
    def forward(m, x):
        h = m.first(x)
        chosen = h[0].nonzero()[:, 0]
        return m.last(h.index_add(1, chosen, h[:, chosen]))

    with pytest.raises(SpecError, match="how large what 'nonzero' gives is depends on values"):
        trace(Net(forward, first=dense(6, 5), last=dense(5, 3)), (6,))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_parameters_without_entries_are_refused():
    with pytest.raises(SpecError, match=r"parameter '0.weight' has the shape \(0, 6\)"):
        trace(chain(nn.Linear(6, 0), nn.Linear(0, 3)), (6,))


@pytest.mark.parametrize("module", [None, nn.Linear, "net"])
def test_only_a_module_is_traced(module):
    with pytest.raises(SpecError, match=r"expected an nn\.Module, but got"):
        trace(module, [3])


@pytest.mark.parametrize("shape", [5, "ab", [-5], [2.5], ["3"]])
def test_what_is_no_shape_is_told(shape):
    with pytest.raises(SpecError, match=r"expected the shape of one input, such as \[3, 32, 32\], but got"):
        trace(nn.Linear(5, 2), shape)
