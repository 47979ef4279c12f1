"""Symmetries: what the labels say leaves outputs unchanged does so, and what is forgotten in a spec is caught."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import double_target
from torch import nn

from hyperframe.networks.target import Target
from hyperframe.targets.params import bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Slice, TargetSpec
from hyperframe.targets.symmetry.orbits import KINDS, Action, apply_action, orbits, random_action
from hyperframe.targets.units import UnitSpec
from hyperframe.targets.weights import batch_size
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, Affine, random_inputs, random_weights

# For the sizes that the examples have by default: free factors, units that can be permuted, directions of logit shifts.
COUNTS = {
    "digits_cnn": (12 + 16, 12 + 16, 16 * 2 * 2 + 1),
    "mnist_cnn": (32 + 16 + 8, 32 + 16 + 8, 8 + 1),
    "dense": (4, 4, 5),
    "dense_tanh": (0, 4, 5),
    "dense_gelu": (0, 4, 5),
    "unbiased": (4, 4, 4),
    "grouped": (4 + 6, 0, 6 * 4 + 1),
    "transposed": (4 + 6, 0, 6 * 16 + 1),
    "transposed_depthwise": (3 + 3, 3, 3 * 16 + 1),
    "depthwise": (3 + 3 + 2, 3 + 2, 2 * 4 + 1),
    "fused": (3 + 3, 3 + 2 + 3, 2 + 3 + 1),
    "scale_shift": (4 + 4, 4, 5),
    "layer_norm": (4, 4, 5),
    "layer_scale": (4 + 4, 4, 5),
    "group_norm": (4, 0, 4 * 4 + 1),
    "residual": (3 + 2, 3 + 2, 4),
    "concatenated": (2 + 3 + 2, 2 + 3 + 2, 2 * 4 + 1),
    "sliced": (4 + 4, 4 + 4, 5),
    "table": (3, 3, 4),
}
# Where there are any: signs, directions that a normalisation takes away, signs of kernels before one.
OTHER_COUNTS = {
    "dense_tanh": (4, 0, 0),
    "fused": (2, 0, 0),
    "layer_scale": (4, 0, 0),
    "residual": (0, 3 + 2 + 3, 3 + 2 + 3),
}
SCALED = [name for name, (factors, _, _) in COUNTS.items() if factors]
PERMUTED = [name for name, (_, units, _) in COUNTS.items() if units]


def double(module, spec):
    return Target(module, spec).to("cpu", torch.float64)


def draw_case(data, registry, name):
    """A target of drawn sizes, its symmetries, weights and inputs."""
    target = data.draw(strategies.targets(name)) if name in EXAMPLES else double_target(registry, name)
    weights = data.draw(strategies.weights(target.spec))
    return target, orbits(target.structure, shift_invariant=True), weights, data.draw(strategies.inputs(target.spec))


def outputs_of(target, of, action, weights, x, training):
    before = target.forward(weights, x, shared=True, training=training)
    after = target.forward(apply_action(of, action, weights), x, shared=True, training=training)
    assert before.isfinite().all()
    return before, after


def check_bit_equal(target, of, action, weights, x, training=False):
    """Factors that are powers of two leave outputs bit for bit as they are."""
    before, after = outputs_of(target, of, action, weights, x, training)
    assert torch.equal(before, after)


def check_close(target, of, action, weights, x, training=False, tolerance=1e-9):
    """The action leaves outputs as they are, but for rounding."""
    before, after = outputs_of(target, of, action, weights, x, training)
    assert (before - after).abs().max() <= tolerance * before.abs().max()


def check_shift(target, of, action, weights, x, canonical, training=False):
    """A logit shift changes the outputs, and not what the task makes of them."""
    before, after = outputs_of(target, of, action, weights, x, training)
    assert (before - after).abs().max() > 1e-6 * before.abs().max()
    assert (canonical(before) - canonical(after)).abs().max() <= 1e-9 * torch.maximum(before, after).abs().max()


def moving_action(of, batch, kind, seed=0):
    """An action in which no factor is one and no unit that can move stays where it is."""
    action = random_action(of, batch, torch.Generator().manual_seed(seed), kinds=[kind])
    if kind == "scaling":
        chosen = action.factors[:, of.scaling.labels]
        action.factors[:, of.scaling.labels] = chosen.where(chosen != 1, 2.0)
        return action
    for members in of.permutations:
        action.sources[:, members] = torch.tensor(members).roll(1)
    return action


@pytest.mark.parametrize("training", [False, True], ids=["stored", "batch"])
@pytest.mark.parametrize("name", COUNTS)
@settings(max_examples=5)
@given(data=st.data())
def test_powers_of_two_keep_outputs_bit_for_bit(registry, name, training, data):
    target, of, weights, x = draw_case(data, registry, name)
    action = data.draw(strategies.actions(of, batch_size(weights), kinds=["scaling"]))
    check_bit_equal(target, of, action, weights, x, training)


@pytest.mark.parametrize("name", SCALED)
@settings(max_examples=5)
@given(data=st.data())
def test_other_factors_keep_outputs_but_for_rounding(registry, name, data):
    target, of, weights, x = draw_case(data, registry, name)
    action = data.draw(strategies.actions(of, batch_size(weights), kinds=["scaling"], powers_of_two=False))
    check_close(target, of, action, weights, x)


@pytest.mark.parametrize("name", COUNTS)
@settings(max_examples=5)
@given(data=st.data(), training=st.booleans())
def test_permutations_keep_outputs(registry, name, data, training):
    target, of, weights, x = draw_case(data, registry, name)
    action = data.draw(strategies.actions(of, batch_size(weights), kinds=["permutation"]))
    check_close(target, of, action, weights, x, training)


@pytest.mark.parametrize("name", COUNTS)
@settings(max_examples=5)
@given(data=st.data())
def test_logit_shifts_keep_what_the_task_sees(registry, name, data):
    target, of, weights, x = draw_case(data, registry, name)
    action = data.draw(strategies.actions(of, batch_size(weights), kinds=["logit_shift"]))
    assert action.shift.shape == (batch_size(weights), of.counts["logit_shift"])
    check_shift(target, of, action, weights, x, ClassificationTask().canonical_outputs)


@pytest.mark.parametrize("name", COUNTS)
@settings(max_examples=5)
@given(data=st.data())
def test_all_kinds_at_once(registry, name, data):
    target, of, weights, x = draw_case(data, registry, name)
    # Stored statistics do not follow what a normalisation takes away.
    kinds = ["scaling", "sign", "permutation", "logit_shift"]
    action = data.draw(strategies.actions(of, batch_size(weights), kinds=kinds))
    check_close(target, of, attrs.evolve(action, shift=None), weights, x)
    check_shift(target, of, action, weights, x, ClassificationTask().canonical_outputs)


@pytest.mark.parametrize("name", COUNTS)
def test_orbits_are_the_known_ones(registry, name):
    structure = double_target(registry, name).structure
    scaling, permutation, logit_shift = COUNTS[name]
    sign, normalisation, norm_sign = OTHER_COUNTS.get(name, (0, 0, 0))
    expected = {
        "scaling": scaling,
        "permutation": permutation,
        "logit_shift": logit_shift,
        "sign": sign,
        "normalisation": normalisation,
        "norm_sign": norm_sign,
    }
    assert orbits(structure, shift_invariant=True).counts == expected
    assert orbits(structure, shift_invariant=False).counts == expected | {"logit_shift": 0}


def test_units_that_move_together_are_one_label():
    classes = {
        name: double(*EXAMPLES[name]()).structure.classes for name in ("depthwise", "sliced", "residual", "fused")
    }
    assert [len(members) for members in classes["depthwise"]] == [3, 2]
    assert [len(members) for members in classes["sliced"]] == [2, 2, 2, 2]
    assert [len(members) for members in classes["residual"]] == [3, 2]
    assert [len(members) for members in classes["fused"]] == [3, 2, 3]


def test_an_action_on_a_dense_network_is_the_textbooks():
    target = double(*EXAMPLES["dense"](inputs=2, hidden=3, outputs=2))
    of = orbits(target.structure, shift_invariant=True)
    weights = random_weights(target.spec, 1, 0)
    factors, order = torch.tensor([[2.0, 8.0, 0.5]], dtype=torch.float64), torch.tensor([[2, 0, 1]])
    shift_by = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    signs = torch.ones(1, 1, dtype=torch.float64)
    moved = apply_action(of, Action(factors=factors, signs=signs, sources=order, shift=shift_by), weights)
    first, out = weights["first"][0], weights["out"][0]
    assert torch.equal(moved["first"][0], (first * factors.T)[order[0]])
    scaled = torch.cat([(out[:, :3] / factors)[:, order[0]], out[:, 3:]], 1)
    assert torch.equal(moved["out"][0], scaled + shift_by)


def test_random_actions_are_what_was_asked_for():
    of = orbits(double(*EXAMPLES["residual"]()).structure, shift_invariant=True)

    def draw(seed=0, **options):
        return random_action(of, 50, torch.Generator().manual_seed(seed), **options)

    exact = draw(exponents=2).factors
    assert set(exact[:, of.scaling.labels].unique().tolist()) == {0.25, 0.5, 2.0, 4.0}
    between = draw(exponents=None).factors
    assert between.min() >= 1 / 8
    assert between.max() <= 8
    assert len(between.unique()) > 100
    for kind in KINDS:
        action = draw(kinds=[kind])
        assert (action.factors != 1).any() == (kind in ("scaling", "normalisation"))
        assert (action.signs != 1).any() == (kind == "norm_sign")
        assert bool(action.offsets) == (kind == "normalisation" and bool(of.shifts))
        assert (action.sources != torch.arange(action.sources.shape[1])).any() == (kind == "permutation")
        assert (action.shift is not None) == (kind == "logit_shift")
    assert torch.equal(draw(seed=3).sources, draw(seed=3).sources)
    assert not torch.equal(draw(seed=3).sources, draw(seed=4).sources)


def test_nothing_drawn_is_the_identity():
    target = double(*EXAMPLES["depthwise"]())
    of = orbits(target.structure, shift_invariant=True)
    weights = random_weights(target.spec, 2, 0)
    action = random_action(of, 2, torch.Generator(), kinds=[])
    assert all(torch.equal(value, weights[name]) for name, value in apply_action(of, action, weights).items())


# Not vacuous: an action that leaves out one reader or writer is caught by the same checks.


@pytest.mark.parametrize("name", SCALED)
def test_every_writer_and_reader_must_take_its_factor(registry, name):
    target = double_target(registry, name)
    of = orbits(target.structure, shift_invariant=True)
    weights, x = random_weights(target.spec, 2, 0), random_inputs(target.spec, 4, 1)
    action = moving_action(of, 2, "scaling")
    check_close(target, of, action, weights, x)
    taking_part = set(of.scaling.labels.tolist())
    carrying = [axis for axis in target.structure.axes if axis.exponent and taking_part & set(axis.scaling)]
    assert {axis.exponent for axis in carrying} == {1, -1}
    for left_out in carrying:
        axes = [axis for axis in target.structure.axes if axis is not left_out]
        broken = attrs.evolve(of, structure=attrs.evolve(of.structure, axes=axes))
        with pytest.raises(AssertionError):
            check_close(target, broken, action, weights, x, tolerance=1e-4)


@pytest.mark.parametrize("name", PERMUTED)
def test_every_writer_and_reader_must_move(registry, name):
    target = double_target(registry, name)
    of = orbits(target.structure, shift_invariant=True)
    weights, x = random_weights(target.spec, 2, 0), random_inputs(target.spec, 4, 1)
    action = moving_action(of, 2, "permutation")
    check_close(target, of, action, weights, x)
    movable = {label for members in of.permutations for label in members}
    # An axis whose labels depend on the group moves with the other axis of its kernel.
    movers = [axis for axis in target.structure.axes if axis.groups == 1 and movable & set(axis.permutation)]
    moving = {(axis.parameter, axis.dim) for axis in movers}
    assert len(moving) >= 2
    for left_out in moving:
        axes = [axis for axis in target.structure.axes if (axis.parameter, axis.dim) != left_out]
        broken = attrs.evolve(of, structure=attrs.evolve(of.structure, axes=axes))
        with pytest.raises(AssertionError):
            check_close(target, broken, action, weights, x, tolerance=1e-4)


def test_a_shift_of_other_outputs_is_caught():
    target = double(*EXAMPLES["dense"]())
    of = orbits(target.structure, shift_invariant=True)
    action = random_action(of, 2, torch.Generator().manual_seed(0), kinds=["logit_shift"])
    weights, x = random_weights(target.spec, 2, 0), random_inputs(target.spec, 4, 1)
    check_shift(target, of, action, weights, x, ClassificationTask().canonical_outputs)
    with pytest.raises(AssertionError):
        check_shift(target, of, action, weights, x, lambda outputs: outputs)
    with pytest.raises(AssertionError):
        check_shift(target, of, attrs.evolve(action, shift=None), weights, x, ClassificationTask().canonical_outputs)


# Wrong specs: the same checks must fail.


def change_layer(spec, name, **changes):
    layers = [attrs.evolve(layer, **changes) if layer.name == name else layer for layer in spec.layers]
    return attrs.evolve(spec, layers=layers)


def forgotten_tie():
    module, spec = EXAMPLES["residual"]()
    branch = UnitSpec(name="branch", size=spec.unit("trunk").size, ops=["add"])
    spec = attrs.evolve(spec, units=[*spec.units, branch])
    return module, change_layer(spec, "back", writes=["branch"])


def forgotten_tie_where_both_are_read():
    module, spec = EXAMPLES["residual"]()
    branch = UnitSpec(name="branch", size=spec.unit("trunk").size, ops=["relu", "add", "mean"])
    spec = attrs.evolve(spec, units=[*spec.units, branch])
    return module, change_layer(change_layer(spec, "back", writes=["branch"]), "out", reads=["branch"])


def forgotten_reader():
    module, spec = EXAMPLES["residual"]()
    return module, change_layer(spec, "out", reads=[])


def forgotten_inner_reader():
    module, spec = EXAMPLES["residual"]()
    return module, change_layer(spec, "inner", reads=[])


def gelu_as_relu():
    module, spec = EXAMPLES["dense_gelu"]()
    return module, attrs.evolve(spec, units=[attrs.evolve(spec.units[0], ops=["relu"])])


def tanh_as_relu():
    module, spec = EXAMPLES["dense_tanh"]()
    return module, attrs.evolve(spec, units=[attrs.evolve(spec.units[0], ops=["relu"])])


def concatenated_in_the_wrong_order():
    module, spec = EXAMPLES["concatenated"](left=2, right=3)
    return module, change_layer(spec, "both", reads=["right", "left"])


def forgotten_groups():
    module, spec = EXAMPLES["depthwise"]()
    return module, change_layer(spec, "depthwise", reads=[])


SCALES_WRONGLY = [
    forgotten_tie,
    forgotten_tie_where_both_are_read,
    forgotten_reader,
    forgotten_inner_reader,
    gelu_as_relu,
    tanh_as_relu,
    concatenated_in_the_wrong_order,
    forgotten_groups,
]
MOVES_WRONGLY = [
    forgotten_tie,
    forgotten_tie_where_both_are_read,
    forgotten_reader,
    forgotten_inner_reader,
    concatenated_in_the_wrong_order,
    forgotten_groups,
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wrong", SCALES_WRONGLY)
def test_wrong_specs_do_not_keep_outputs_when_scaled(wrong, seed):
    target = double(*wrong())
    of = orbits(target.structure, shift_invariant=True)
    weights, x = random_weights(target.spec, 2, seed), random_inputs(target.spec, 4, seed)
    action = random_action(of, 2, torch.Generator().manual_seed(seed), kinds=["scaling"])
    for check in (check_bit_equal, check_close):
        with pytest.raises(AssertionError):
            check(target, of, action, weights, x)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wrong", MOVES_WRONGLY)
def test_wrong_specs_do_not_keep_outputs_when_permuted(wrong, seed):
    target = double(*wrong())
    of = orbits(target.structure, shift_invariant=True)
    weights, x = random_weights(target.spec, 8, seed), random_inputs(target.spec, 4, seed)
    action = random_action(of, 8, torch.Generator().manual_seed(seed), kinds=["permutation"])
    with pytest.raises(AssertionError):
        check_close(target, of, action, weights, x)


# Structures that let fewer symmetries through than meets the eye.


def chain(module, *middle, units=()):
    """A dense layer of four units, what is given, and three outputs, all in an `nn.Sequential`."""
    layers = [
        LayerSpec(name="first", filters=4, writes=["hidden"], params=both("0")),
        *middle,
        LayerSpec(
            name="out", filters=3, reads=[units[-1].name if units else "hidden"], params=both(str(len(module) - 1))
        ),
    ]
    units = [UnitSpec(name="hidden", size=4, ops=["relu"]), *units]
    return module, TargetSpec(name="chain", input_shape=(3,), num_outputs=3, units=units, layers=layers, logits="out")


def both(module, axes="o i", rows=None):
    return [kernel(f"{module}.weight", axes, rows=rows), bias(f"{module}.bias", rows=rows)]


SECOND = UnitSpec(name="second", size=4, ops=["relu"])


def norm_without_scale():
    """Nothing behind the normalisation carries a factor."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.ReLU(), nn.Linear(4, 3))
    module, spec = chain(module)
    return module, change_layer(spec, "first", norm="batch")


def norm_alone():
    """A normalisation that follows no kernel swallows the factors of what it reads."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4, eps=1e-100), nn.ReLU(), nn.Linear(4, 3))
    norm = LayerSpec(
        name="norm",
        filters=4,
        reads=["hidden"],
        writes=["second"],
        norm="batch",
        params=[scale("2.weight"), shift("2.bias")],
    )
    return chain(module, norm, units=[SECOND])


def only_an_offset():
    """An offset without a factor of its own, added to a scaled space, forbids scaling on both of its sides."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Offset(4), nn.ReLU(), nn.Linear(4, 3))
    offset = LayerSpec(name="offset", filters=4, reads=["hidden"], writes=["second"], params=[shift("2.weight")])
    return chain(module, offset, units=[SECOND])


def offset_at_the_end():
    """Outputs that are units and an offset cannot be scaled or permuted."""
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Offset(3))
    hidden = UnitSpec(name="hidden", size=3, ops=["relu"])
    layers = [
        LayerSpec(name="first", filters=3, writes=["hidden"], params=both("0")),
        LayerSpec(name="offset", filters=3, reads=["hidden"], params=[shift("2.weight")]),
    ]
    return module, TargetSpec(
        name="end", input_shape=(3,), num_outputs=3, units=[hidden], layers=layers, logits="offset"
    )


def grouped_logits():
    """Rows of a grouped last layer read different units: no vector is common to them."""
    module = nn.Sequential(
        nn.Linear(3, 6), nn.ReLU(), nn.Unflatten(1, (6, 1)), nn.Conv1d(6, 3, 1, groups=3), nn.Flatten()
    )
    spec = TargetSpec(
        name="grouped",
        input_shape=(3,),
        num_outputs=3,
        units=[UnitSpec(name="hidden", size=6, ops=["relu"])],
        logits="out",
        layers=[
            LayerSpec(name="first", filters=6, writes=["hidden"], params=both("0")),
            LayerSpec(name="out", filters=3, groups=3, reads=["hidden"], params=both("3", "o i t")),
        ],
    )
    return module, spec


def scaled_logits():
    """A learnt factor behind the last layer makes different shifts of one."""
    module, spec = chain(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)))
    module.append(Affine(3, offset=False))
    return module, change_layer(spec, "out", params=[*spec.layer("out").params, scale("3.weight")])


class Offset(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return x + self.weight


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(3, 2)
        self.right = nn.Linear(3, 2)
        self.projection = nn.Linear(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        parts = [self.projection(layer(x).relu()).chunk(2, 1)[k] for k, layer in enumerate((self.left, self.right))]
        return self.out(torch.cat(parts, 1).relu())


def rows_that_read_different_units():
    """One axis of a parameter is read by two spaces: its entries cannot follow both."""
    spaces = ("left", "right", "low", "high")
    layers = [
        LayerSpec(name="left", filters=2, writes=["left"], params=both("left")),
        LayerSpec(name="right", filters=2, writes=["right"], params=both("right")),
        LayerSpec(name="low", filters=2, reads=["left"], writes=["low"], params=both("projection", rows=(0, 2))),
        LayerSpec(name="high", filters=2, reads=["right"], writes=["high"], params=both("projection", rows=(2, 4))),
        LayerSpec(name="out", filters=3, reads=["low", "high"], params=both("out")),
    ]
    units = [UnitSpec(name=space, size=2, ops=["relu"]) for space in spaces]
    return Mixed(), TargetSpec(name="mixed", input_shape=(3,), num_outputs=3, units=units, layers=layers, logits="out")


def one_unit():
    """Spaces of a single unit: a convolution of one filter is no depthwise one, but as good as."""
    return EXAMPLES["concatenated"](left=1, right=1, hidden=1)


def rows_of_one_filter():
    """A dense layer of one filter that reads one unit, in the rows of a parameter that another layer has as well."""
    return EXAMPLES["fused"](hidden=1, left=1, right=2)


def multiplied_channels():
    """Depthwise with two filters a channel: they can be scaled, but not permuted."""
    module = nn.Sequential(
        nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Conv1d(2, 4, 2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    spec = TargetSpec(
        name="multiplied",
        input_shape=(1, 4),
        num_outputs=3,
        units=[
            UnitSpec(name="first", size=2, ops=["relu"]),
            UnitSpec(name="second", size=4, ops=["relu", "flatten"]),
        ],
        logits="out",
        layers=[
            LayerSpec(name="first", filters=2, writes=["first"], params=both("0", "o i t")),
            LayerSpec(
                name="second", filters=4, groups=2, reads=["first"], writes=["second"], params=both("2", "o i t")
            ),
            LayerSpec(name="out", filters=3, reads=["second"], params=both("5")),
        ],
    )
    return module, spec


class Shuffled(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order
        self.first = nn.Linear(3, 4)
        self.straight = Affine(4, offset=False)
        self.crossed = Affine(4, offset=False)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        first = self.first(x).relu()
        second = (self.straight(first) + self.crossed(first[:, [1, 0, 3, 2]])).relu()
        return self.out(torch.cat([first[:, self.order], second], 1))


def shuffled(order):
    """Factors on units as they are and with neighbours exchanged: two units of one space move together."""
    units = [UnitSpec(name=space, size=4, ops=["relu", "add"]) for space in ("first", "second")]
    layers = [
        LayerSpec(name="first", filters=4, writes=["first"], params=both("first")),
        LayerSpec(name="straight", filters=4, reads=["first"], writes=["second"], params=[scale("straight.weight")]),
        LayerSpec(
            name="crossed",
            filters=4,
            reads=[Slice("first", [1, 0, 3, 2])],
            writes=["second"],
            params=[scale("crossed.weight")],
        ),
        LayerSpec(name="out", filters=3, reads=[Slice("first", order), "second"], params=both("out")),
    ]
    return Shuffled(order), TargetSpec(
        name="shuffled", input_shape=(3,), num_outputs=3, units=units, layers=layers, logits="out"
    )


def pairs_in_one_order():
    """Pairs of units that every layer reads in one order can be exchanged."""
    return shuffled([1, 0, 3, 2])


def pairs_in_different_orders():
    """A layer reads one pair forwards and the other backwards, so that they cannot be exchanged."""
    return shuffled([1, 0, 2, 3])


def written_in_parts():
    """Two layers that share a space out between them."""
    module, spec = EXAMPLES["concatenated"](left=2, right=3, hidden=2)
    whole = UnitSpec(name="whole", size=5, ops=["relu"])
    spec = attrs.evolve(
        spec,
        units=[whole, spec.unit("hidden")],
        layers=[
            attrs.evolve(spec.layer("left"), writes=[Slice("whole", [0, 1])]),
            attrs.evolve(spec.layer("right"), writes=[Slice("whole", [2, 3, 4])]),
            attrs.evolve(spec.layer("both"), reads=["whole"]),
            spec.layer("out"),
        ],
    )
    return module, spec


CORNERS = {
    norm_without_scale: (0, 4, 5),
    norm_alone: (4, 4, 5),
    only_an_offset: (0, 4, 5),
    offset_at_the_end: (0, 0, 0),
    grouped_logits: (6, 0, 0),
    scaled_logits: (4 + 3, 4, 0),
    rows_that_read_different_units: (4, 4, 5),
    one_unit: (3, 0, 5),
    rows_of_one_filter: (1 + 2, 2, 4),
    multiplied_channels: (2 + 4, 0, 9),
    pairs_in_one_order: (8, 2, 9),
    pairs_in_different_orders: (8, 0, 9),
    written_in_parts: (5 + 2, 5 + 2, 9),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_have_the_symmetries_that_hold(corner):
    target = double(*corner())
    of = orbits(target.structure, shift_invariant=True)
    assert tuple(of.counts[kind] for kind in ("scaling", "permutation", "logit_shift")) == CORNERS[corner]
    # Batch statistics: stored ones do not follow the factors that a normalisation swallows.
    weights, x = random_weights(target.spec, 3, 0), random_inputs(target.spec, 6, 1)
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        check_bit_equal(target, of, random_action(of, 3, rng, kinds=["scaling"]), weights, x, training=True)
        check_close(target, of, random_action(of, 3, rng, kinds=["permutation"]), weights, x, training=True)
        check_close(target, of, random_action(of, 3, rng, kinds=["scaling", "permutation"]), weights, x, training=True)
        if of.logit_shift is not None:
            shift_by = random_action(of, 3, rng, kinds=["logit_shift"])
            check_shift(target, of, shift_by, weights, x, ClassificationTask().canonical_outputs, training=True)
