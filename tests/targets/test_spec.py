"""Specs: their sizes, and the message for everything that contradicts itself or the module."""

import re

import attrs
import pytest
from torch import nn

from hyperframe.errors import SpecError
from hyperframe.targets.params import Param, bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Slice, TargetSpec
from hyperframe.targets.units import UnitSpec

FIRST = LayerSpec(name="first", filters=3, writes=["hidden"], params=[kernel("0.weight", "o i"), bias("0.bias")])
LAST = LayerSpec(name="last", filters=2, reads=["hidden"], params=[kernel("2.weight", "o i"), bias("2.bias")])
HIDDEN = UnitSpec(name="hidden", size=3, ops=["relu"])


def spec(layers=(FIRST, LAST), units=(HIDDEN,), logits=None):
    return TargetSpec(name="net", input_shape=(4,), num_outputs=2, layers=layers, units=units, logits=logits)


def module():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def first(**changes):
    return attrs.evolve(FIRST, **changes)


def last(**changes):
    return attrs.evolve(LAST, **changes)


def table(shape, rows):
    """Layers that share a parameter's rows."""
    return [
        LayerSpec(name=f"part{k}", filters=end - start, params=[kernel("w", "o i", rows=(start, end), shape=shape)])
        for k, (start, end) in enumerate(rows)
    ]


WRONG = {
    "role": (lambda: Param(role="weight", parameter="w", axes="o"), "parameter 'w'", "'weight'", "kernel, bias"),
    "axes without spaces": (lambda: kernel("w", "oi"), "parameter 'w'", "'oi'", "single letters"),
    "axes that are no letters": (lambda: kernel("w", "o 1"), "parameter 'w'", "'o 1'", "single letters"),
    "axes twice": (lambda: kernel("w", "o i i"), "parameter 'w'", "'o i i'", "different"),
    "axes without filters": (lambda: kernel("w", "i h"), "parameter 'w'", "'i h'", "'o' once"),
    "bias that reads": (lambda: bias("b", "o i"), "parameter 'b'", "'o i'", "only a kernel"),
    "scale that reads": (lambda: scale("g", "i o"), "parameter 'g'", "'i o'", "only a kernel"),
    "shape with other axes": (lambda: kernel("w", "o i", shape=(3, 4, 5)), "parameter 'w'", "'o i'", "2", "(3, 4, 5)"),
    "size of a unit space": (lambda: UnitSpec(name="h", size=0, ops=[]), "unit space 'h'", "size is 0", "at least 1"),
    "operation": (
        lambda: UnitSpec(name="h", size=1, ops=["relu", "max_pol"]),
        "unit space 'h'",
        "operation 'max_pol'",
        "did you mean 'max_pool'",
    ),
    "empty slice": (lambda: Slice("h", []), "unit space 'h'", "at least one"),
    "no filters": (lambda: first(filters=0), "layer 'first'", "0 filters"),
    "no groups": (lambda: first(groups=0), "layer 'first'", "0 groups"),
    "unknown norm": (lambda: first(norm="LayerNorm"), "layer 'first'", "unknown norm 'LayerNorm'", "layer"),
    "groups that do not divide": (lambda: first(groups=2), "layer 'first'", "3 filters", "2 groups"),
    "no parameters": (lambda: first(params=[]), "layer 'first'", "at least one parameter", "[]"),
    "role twice": (lambda: first(params=[bias("a"), bias("b")]), "layer 'first'", "at most once", "['bias', 'bias']"),
    "other number of filters": (
        lambda: first(params=[kernel("w", "o i", shape=(5, 4))]),
        "layer 'first'",
        "'w' of shape (5, 4)",
        "'o i'",
        "holds 5 filters",
        "has 3",
    ),
    "other number of transposed filters": (
        lambda: first(filters=6, groups=2, params=[kernel("w", "i o", shape=(4, 2))]),
        "'w' of shape (4, 2)",
        "holds 4 filters",
        "has 6",
    ),
    "other number of rows": (
        lambda: first(params=[kernel("w", "o i", rows=(3, 5), shape=(5, 4))]),
        "'w' of shape (5, 4)",
        "holds 2 filters",
        "has 3",
    ),
    "layer twice": (lambda: spec([FIRST, LAST, LAST]), "target 'net'", "two layers", "'last'"),
    "unit space twice": (lambda: spec(units=[HIDDEN, HIDDEN]), "target 'net'", "two unit spaces", "'hidden'"),
    "no layers": (lambda: spec([]), "target 'net'", "no layers"),
    "unknown space read": (
        lambda: spec([FIRST, last(reads=["hiden"])]),
        "target 'net', layer 'last'",
        "unit space 'hiden'",
        "did you mean 'hidden'",
    ),
    "unknown space written": (
        lambda: spec([first(writes=["other"]), LAST]),
        "target 'net', layer 'first'",
        "unit space 'other'",
        "Known: hidden",
    ),
    "unknown space sliced": (
        lambda: spec([FIRST, last(reads=[Slice("other", [0])])]),
        "layer 'last'",
        "unit space 'other'",
    ),
    "slice too far": (
        lambda: spec([FIRST, last(reads=[Slice("hidden", [0, 3])])]),
        "target 'net', layer 'last'",
        "'hidden' of size 3",
    ),
    "slice below zero": (
        lambda: spec([first(writes=[Slice("hidden", [-1, 0, 1])]), LAST]),
        "target 'net', layer 'first'",
        "'hidden' of size 3",
    ),
    "read before written": (
        lambda: spec([LAST, FIRST]),
        "target 'net', layer 'last'",
        "reads unit space 'hidden' before",
    ),
    "read by its first writer": (lambda: spec([first(reads=["hidden"])]), "layer 'first'", "'hidden' before"),
    "other number written": (
        lambda: spec(units=[UnitSpec(name="hidden", size=5, ops=[])]),
        "target 'net', layer 'first'",
        "3 filters",
        "5 units",
    ),
    "other number written in parts": (
        lambda: spec([first(writes=["hidden", Slice("hidden", [0])])]),
        "layer 'first'",
        "3 filters",
        "4 units",
    ),
    "other number read without a kernel": (
        lambda: spec([FIRST, LayerSpec(name="norm", filters=2, reads=["hidden"], params=[scale("g")])]),
        "target 'net', layer 'norm'",
        "2 filters",
        "reads 3 units",
    ),
    "inputs that are no multiple": (
        lambda: spec([FIRST, last(params=[kernel("w", "o i", shape=(2, 4))])]),
        "target 'net', layer 'last'",
        "'w' of shape (2, 4)",
        "4 inputs",
        "3 units",
    ),
    "grouped inputs that are no multiple": (
        lambda: spec([FIRST, last(groups=2, params=[kernel("w", "o i", shape=(2, 2))])]),
        "'w' of shape (2, 2)",
        "4 inputs",
        "3 units",
    ),
    "transposed inputs that are no multiple": (
        lambda: spec([FIRST, last(groups=2, params=[kernel("w", "i o", shape=(4, 1))])]),
        "'w' of shape (4, 1)",
        "4 inputs",
        "3 units",
    ),
    "parameter twice": (
        lambda: spec([FIRST, last(params=[kernel("0.weight", "o i")])]),
        "target 'net'",
        "parameter '0.weight'",
        "layers 'first' and 'last'",
    ),
    "rows and the whole": (
        lambda: spec([FIRST, last(params=[kernel("0.weight", "o i", rows=(0, 2))])]),
        "parameter '0.weight'",
        "claimed twice",
    ),
    "rows with a gap": (
        lambda: spec(table((6, 4), [(0, 2), (3, 6)])),
        "target 'net'",
        "[(0, 2), (3, 6)] of parameter 'w'",
        "0 to 6",
    ),
    "rows that overlap": (lambda: spec(table((6, 4), [(0, 3), (2, 6)])), "[(0, 3), (2, 6)] of parameter 'w'", "0 to 6"),
    "rows that start late": (lambda: spec(table((6, 4), [(1, 6)])), "[(1, 6)] of parameter 'w'", "0 to 6"),
    "rows that end early": (lambda: spec(table((6, 4), [(0, 5)])), "[(0, 5)] of parameter 'w'", "0 to 6"),
    "unknown logits": (lambda: spec(logits="lost"), "target 'net'", "logits is 'lost'"),
    "logits that write": (lambda: spec(logits="first"), "target 'net'", "logits is 'first'", "writes no units"),
    "logits of another size": (
        lambda: attrs.evolve(spec(logits="last"), num_outputs=7),
        "the logits' layer 'last' has 2 filters",
        "and the target 7 outputs",
    ),
    "layer by a wrong name": (lambda: spec().layer("fist"), "target 'net'", "layer 'fist'", "did you mean 'first'"),
    "unit space by a wrong name": (lambda: spec().unit("h"), "net", "unit space 'h'", "Known: hidden"),
    "shape before bind": (lambda: FIRST.num_weights, "parameter '0.weight'", "bind the spec"),
    "forgotten parameter": (
        lambda: spec([FIRST, last(params=[kernel("2.weight", "o i")])]).bind(module()),
        "target 'net'",
        "no layer claims parameter '2.bias'",
        "requires_grad=False",
    ),
    "unknown parameter": (
        lambda: spec([FIRST, last(params=[*LAST.params, scale("2.wait")])]).bind(module()),
        "target 'net', layer 'last'",
        "parameter '2.wait'",
        "did you mean '2.weight'",
    ),
    "other shape": (
        lambda: spec().bind(module()).bind(nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))),
        "target 'net', layer 'first'",
        "parameter '0.weight' has shape (3, 5)",
        "says (3, 4)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_contradictions_are_named(case):
    build, *parts = WRONG[case]
    with pytest.raises(SpecError) as raised:
        build()
    for part in parts:
        assert re.search(re.escape(part), str(raised.value)), f"'{part}' is not in: {raised.value}"


def test_consistent_specs_are_accepted():
    bound = spec(logits="last").bind(module())
    assert bound.num_weights == 3 * 5 + 2 * 4
    assert bound.bind(module()) == bound
    assert spec(table((6, 4), [(2, 6), (0, 2)])).num_weights == 24


def test_constants_need_no_layer():
    net = module()
    net[2].bias.requires_grad_(False)
    assert spec([FIRST, last(params=[kernel("2.weight", "o i")])]).bind(net).num_weights == 3 * 5 + 2 * 3


def test_binding_leaves_the_spec_as_it_was():
    unbound = spec()
    unbound.bind(module())
    assert unbound.layer("first").param("kernel").shape is None


def test_mnist_cnn_has_the_papers_sizes(registry):
    component = registry.get("target", "mnist_cnn").component
    net, written = component.factory(component.options())
    bound = written.bind(net)
    sizes = [layer.num_weights for layer in bound.layers]
    assert sizes == [832, 12_816, 6_280, 90]
    assert bound.num_weights == 20_018
    assert [(layer.filters, layer.filter_size) for layer in bound.layers] == [(32, 26), (16, 801), (8, 785), (10, 9)]
    assert bound.num_weights == sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("channels", [(12, 16), (1, 1), (3, 5)])
def test_digits_cnn_follows_its_options(registry, channels):
    component = registry.get("target", "digits_cnn").component
    net, written = component.factory(component.options(channels=channels))
    one, two = channels
    bound = written.bind(net)
    assert [layer.num_weights for layer in bound.layers] == [one * 10, two * (one * 9 + 1), 10 * (two * 4 + 1)]
    assert bound.num_weights == sum(parameter.numel() for parameter in net.parameters())


def test_a_layer_knows_its_columns():
    layer = LayerSpec(
        name="conv",
        filters=6,
        groups=2,
        norm="batch",
        params=[
            kernel("conv.weight", "o i h w", shape=(6, 2, 3, 5)),
            bias("conv.bias", shape=(6,)),
            scale("norm.weight", shape=(6,)),
            shift("table", "a t o", shape=(1, 4, 6)),
        ],
    )
    assert layer.columns == {
        "kernel": slice(0, 30),
        "bias": slice(30, 31),
        "scale": slice(31, 32),
        "shift": slice(32, 36),
    }
    assert (layer.fan_in, layer.filter_size, layer.num_weights) == (30, 36, 216)
    assert layer.param("bias").parameter == "conv.bias"
    assert attrs.evolve(layer, params=layer.params[:1], norm="none").param("bias") is None


@pytest.mark.parametrize(
    ("axes", "shape", "groups", "filters", "size"),
    [
        ("o i h w", (6, 2, 3, 3), 1, 6, 18),
        ("o i h w", (6, 2, 3, 3), 3, 6, 18),
        ("i o h w", (6, 2, 3, 3), 1, 2, 54),
        ("i o h w", (6, 2, 3, 3), 3, 6, 18),
        ("h w i o", (3, 3, 2, 6), 1, 6, 18),
        ("o i", (6, 4), 1, 6, 4),
    ],
)
def test_filters_are_counted_by_axes_and_groups(axes, shape, groups, filters, size):
    layer = LayerSpec(name="conv", filters=filters, groups=groups, params=[kernel("w", axes, shape=shape)])
    assert (layer.filters, layer.filter_size, layer.fan_in) == (filters, size, size)


def test_a_layer_without_a_kernel_has_no_fan_in():
    assert LayerSpec(name="norm", filters=3, params=[scale("g", shape=(3,))]).fan_in == 0


def test_only_positively_homogeneous_spaces_can_be_scaled():
    homogeneous = ["relu", "leaky_relu", "max_pool", "avg_pool", "mean", "flatten", "dropout", "upsample", "add"]
    assert UnitSpec(name="h", size=1, ops=homogeneous).homogeneous
    assert UnitSpec(name="h", size=1, ops=[]).homogeneous
    for op in ("tanh", "gelu", "silu", "sigmoid", "relu6", "softplus", "other"):
        assert not UnitSpec(name="h", size=1, ops=["relu", op]).homogeneous


def test_places_have_sizes():
    assert spec().size_of("hidden") == 3
    assert spec().size_of(Slice("hidden", [2, 0])) == 2


def test_specs_are_values():
    assert hash(spec()) == hash(spec())
    assert spec() == spec()
    assert spec() != spec(logits="last")


def test_layers_that_are_drawn_are_left_out_of_what_is_trained():
    own = LayerSpec(name="own", filters=2, params=[shift("c", shape=(2,))])
    whole = attrs.evolve(spec(), layers=[*spec().layers, own], drawn=["own"])
    assert whole.trained == spec()
    assert spec().trained == spec()
    assert whole.part(["own"]).drawn == ("own",)
    assert whole.part(spec().layer_names).drawn == ()
    with pytest.raises(SpecError, match="unknown layer 'onw'; did you mean 'own'"):
        attrs.evolve(whole, drawn=["onw"])
