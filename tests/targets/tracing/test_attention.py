"""Attention traced: heads, and channels in them of values, of queries and keys, in every way in which it is written."""

import json
import math

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Net, chain, counts, dense, learnt
from torch import nn
from torchvision.models.swin_transformer import SwinTransformerBlock, SwinTransformerBlockV2
from tracing_trials import case, check_symmetries

from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.matching import Matching, random_reference
from hyperframe.targets.symmetry.mixing import mix
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.targets.tracing import tracer, walk
from hyperframe.targets.tracing.rules.registry import RULES
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.trial_inputs import TrialInputs

pytestmark = pytest.mark.slow  # each traces a network of its own; the kit's laws of vit_tiny are quick


def plain(query, key, value):
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value


def by_bmm(query, key, value):
    batch, heads = query.shape[:2]
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    added = torch.zeros(1, 1, 1).expand(len(query), query.shape[1], key.shape[1])
    return torch.bmm(torch.baddbmm(added, query, key.mT).softmax(-1), value).unflatten(0, (batch, heads))


def by_einsum(query, key, value):
    weights = torch.einsum("bhld,bhmd->bhlm", query, key).softmax(-1)
    return torch.einsum("b h l m, b h m d -> b h l d", weights, value)


def masked(query, key, value):
    mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def causal(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3)


def dropped(query, key, value):
    return F.dropout((query @ key.mT).softmax(-1), 0.0) @ value


FORMS = {
    "sdpa": F.scaled_dot_product_attention,
    "causal": causal,
    "masked": masked,
    "matmul": plain,
    "bmm": by_bmm,
    "einsum": by_einsum,
    "dropout": dropped,
}
"""Attention of queries, keys and values [batch, heads, tokens, channels]."""


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Attending(nn.Module):
    """One attention between dense layers: of `heads` heads with `channels` each."""

    def __init__(self, form, heads=2, channels=4, width=8, groups=None):
        super().__init__()
        self.form, self.heads, self.groups = form, heads, groups or heads
        self.q, self.o = dense(width, heads * channels), dense(heads * channels, width)
        self.k, self.v = (dense(width, self.groups * channels) for _ in range(2))
        self.out = dense(width, 3)

    def attend(self, q, k, v):
        return self.form(q, k, v)

    def forward(self, x):
        y = self.attend(split(self.q(x), self.heads), split(self.k(x), self.groups), split(self.v(x), self.groups))
        return self.out(self.o(y.transpose(1, 2).flatten(2)).tanh().mean(1))


class Packed(nn.Module):
    """torch's own attention."""

    def __init__(self, need_weights=False, **options):
        super().__init__()
        self.need_weights = need_weights
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True, **options), dense(8, 3)

    def forward(self, x):
        return self.out(self.attention(x, x, x, need_weights=self.need_weights)[0].tanh().mean(1))


def windowed(block):
    return Net(
        lambda m, x: m.out(m.block(m.stem(x.unflatten(1, (4, 4)))).mean((1, 2))),
        stem=dense(3, 8),
        block=block(8, 2, window_size=[2, 2], shift_size=[1, 1], mlp_ratio=1.5),
        out=dense(8, 3),
    )


def by_cosine(query, key, value):
    return plain(F.normalize(query, dim=-1), F.normalize(key, dim=-1), value)


def across_channels(query, key, value):
    return (plain(query.mT, key.mT, value.mT)).mT


def learnt_queries(m, x):
    return m.out((plain(m.queries, m.k(x), m.v(x))).tanh().mean(1))


# Each: how it is made, the shape of one input, and what is found. Outputs have 8 channels, of which tanh leaves signs;
# attention has two heads of 4 channels.
KNOWN = {
    "packed": (Packed, (5, 8), counts(scaling=16, sign=24, permutation=24, logit_shift=9)),
    "packed, with weights": (
        lambda: Packed(need_weights=True),
        (5, 8),
        counts(scaling=16, sign=24, permutation=24, logit_shift=9),
    ),
    "packed, without biases": (
        lambda: Packed(bias=False),
        (5, 8),
        counts(scaling=16, sign=24, permutation=24, logit_shift=9),
    ),
    "packed, with a learnt key and value": (
        lambda: Packed(add_bias_kv=True),
        (5, 8),
        counts(scaling=16, sign=24, permutation=24, logit_shift=9),
    ),
    "packed, with a key of zeros": (
        lambda: Packed(add_zero_attn=True),
        (5, 8),
        counts(scaling=16, sign=24, permutation=24, logit_shift=9),
    ),
    # A head of queries and keys has one factor less than channels, and one that normalising takes away of each.
    "by cosine": (
        lambda: Attending(by_cosine),
        (5, 8),
        counts(scaling=8, sign=24, normalisation=4, permutation=24, logit_shift=9),
    ),
    # Their product has a free factor for each head.
    "without softmax": (
        lambda: Attending(lambda q, k, v: (q @ k.mT) @ v),
        (5, 8),
        counts(scaling=18, sign=26, permutation=24, logit_shift=9),
    ),
    # Keys and values are the same channels, those of queries stay in the output.
    "across channels": (
        lambda: Attending(across_channels),
        (5, 8),
        counts(scaling=2, sign=10, permutation=24, logit_shift=9),
    ),
    "two heads that share keys and values": (
        lambda: Attending(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), heads=4, groups=2),
        (5, 8),
        counts(scaling=16, sign=24, permutation=24, logit_shift=9),
    ),
    "learnt queries": (
        lambda: Net(learnt_queries, queries=learnt(3, 6), k=dense(8, 6), v=dense(8, 8), out=dense(8, 3)),
        (5, 8),
        counts(scaling=6, sign=14, permutation=17, logit_shift=9),
    ),
    "an encoder's layer": (
        lambda: Net(
            lambda m, x: m.out(m.layer(m.stem(x)).mean(1)),
            stem=dense(8, 8),
            layer=nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu"),
            out=dense(8, 3),
        ),
        (5, 8),
        counts(scaling=26, sign=26, permutation=36, logit_shift=9),
    ),
}


HEADS = {**dict.fromkeys(KNOWN, 2), "across channels": 0, "learnt queries": 0}
"""How many heads are found that may change places as wholes."""


@pytest.fixture
def rules_alone(monkeypatch):
    """Claims are those of the rules, and no rule may raise."""
    monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    monkeypatch.setattr(walk, "TOLERATED", ())


def check(module, shape, expected, seeds=2):
    traced, of, copy, weights, inputs = case(module, shape)
    assert of.counts == expected
    for seed in range(seeds):
        check_symmetries(traced, of, copy, weights, inputs, seed)
    return traced


@pytest.mark.parametrize("name", KNOWN)
def test_known_symmetries_of_attention_are_found_by_rules_alone(name, rules_alone):
    make, shape, expected = KNOWN[name]
    torch.manual_seed(0)
    traced = check(make(), shape, expected)
    assert traced.frozen == ()
    assert [len(blocks) for blocks in traced.structure.blocks] == [HEADS[name]] * bool(HEADS[name])


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=3)
@given(heads=st.integers(1, 3), channels=st.integers(2, 4), tokens=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_form_of_attention_has_the_same_symmetries(form, heads, channels, tokens, seed):
    """Of v a factor, a sign and a place for each channel, of q and k together likewise."""
    torch.manual_seed(seed)
    inner = heads * channels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
        patch.setattr(walk, "TOLERATED", ())
        traced = check(
            Attending(FORMS[form], heads, channels),
            (tokens, 8),
            counts(scaling=2 * inner, sign=2 * inner + 8, permutation=2 * inner + 8, logit_shift=9),
            seeds=1,
        )
    assert traced.frozen == ()
    assert [len(blocks) for blocks in traced.structure.blocks] == [heads] * (heads > 1)
    assert all(len(set(block)) == 2 * channels for blocks in traced.structure.blocks for block in blocks)


# Windows: with a table of biases for each head, and masks.


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (SwinTransformerBlock, counts(scaling=33, sign=33, permutation=38, logit_shift=9)),
        (
            SwinTransformerBlockV2,
            counts(scaling=512 + 8 + 16, sign=32, normalisation=6, norm_sign=2, permutation=558, logit_shift=9),
        ),
    ],
)
def test_windows_have_the_symmetries_of_attention_and_a_bias_for_each_head(block, expected, rules_alone):
    torch.manual_seed(0)
    traced = check(windowed(block), (16, 3), expected)
    assert traced.frozen == ()
    (heads,) = traced.structure.blocks
    assert [len(head) for head in heads] == [9, 9]  # 4 channels of queries and keys, 4 of values, a bias


def test_heads_of_their_own_modules_stay_in_their_places(rules_alone):
    """Each is another layer: units of different layers have no places in common."""
    torch.manual_seed(0)
    module = Net(
        lambda m, x: m.out(torch.cat([head(x) for head in m.parts], 2).tanh().mean(1)),
        parts=nn.ModuleList(
            Net(lambda m, x: plain(m.q(x), m.k(x), m.v(x)), q=dense(8, 4), k=dense(8, 4), v=dense(8, 4))
            for _ in range(2)
        ),
        out=dense(8, 3),
    )
    traced = check(module, (5, 8), counts(scaling=8, sign=16, permutation=16, logit_shift=9))
    assert traced.structure.blocks == ()


# Heads that are mixed, weighted, or normalised with numbers of their own.


def talking(m, q, k, v):
    weights = (q @ k.mT).softmax(-1)
    return m.talk(weights.movedim(1, -1)).movedim(-1, 1) @ v


class Heads(Attending):
    """An attention with parts of its own."""

    def __init__(self, form, **parts):
        super().__init__(form)
        for name, part in parts.items():
            setattr(self, name, part)

    def attend(self, q, k, v):
        return self.form(self, q, k, v)


MIXED = {
    # Heads of values are those that the mixing writes, heads of queries and keys those that it reads.
    "talking heads": (lambda: Heads(talking, talk=dense(2, 2)), [2, 2]),
    "a learnt temperature of each head": (
        lambda: Heads(lambda m, q, k, v: (q @ k.mT * m.t).softmax(-1) @ v, t=learnt(2, 1, 1)),
        [2],
    ),
    "temperatures that are given": (
        lambda: Heads(lambda m, q, k, v: (q @ k.mT * torch.tensor([[[1.0]], [[2.0]]])).softmax(-1) @ v),
        [],
    ),
    "a gate of each head": (
        lambda: Heads(lambda m, q, k, v: plain(q, k, v) * m.g(q.mean((2, 3)))[..., None, None], g=dense(2, 2)),
        [2],
    ),
    "the mean over heads": (lambda: Heads(lambda m, q, k, v: plain(q, k, v).mean(1, True).repeat(1, 2, 1, 1)), []),
    "keys that all heads share": (lambda: Heads(lambda m, q, k, v: plain(q, k[:, :1], v)), []),
    "norms of queries and keys": (
        lambda: Heads(lambda m, q, k, v: plain(m.a(q), m.b(k), v), a=nn.LayerNorm(4), b=nn.LayerNorm(4)),
        [],
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_heads_move_where_all_that_meets_them_can(name, rules_alone):
    make, sizes = MIXED[name]
    torch.manual_seed(0)
    traced, of, copy, weights, inputs = case(make(), (5, 8))
    assert [len(blocks) for blocks in traced.structure.blocks] == sizes
    for seed in range(2):
        check_symmetries(traced, of, copy, weights, inputs, seed)


# Gauges: heads in order, and matched.


def far(one, other):
    return max(float((one[layer] - other[layer]).abs().max()) for layer in one)


@pytest.mark.parametrize("gauge", [Sorting, lambda of: Matching(of, random_reference(of))], ids=["sorted", "matched"])
@settings(max_examples=3)
@given(seed=st.integers(0, 999), heads=st.integers(2, 3), channels=st.integers(1, 3))
def test_heads_in_any_order_have_one_representative(gauge, seed, heads, channels):
    torch.manual_seed(seed)
    structure = trace(Attending(plain, heads, channels, width=4), (3, 4)).structure
    assert len(structure.blocks) == 1
    of, rng = orbits(structure, True), torch.Generator().manual_seed(seed)
    weights = redraw(structure.spec, 3, rng)
    moved = apply_action(of, random_action(of, 3, rng, kinds=["permutation"]), weights)
    placed = gauge(of)
    assert far(weights, moved) > 0
    assert far(placed(weights), placed(moved)) == 0
    assert far(placed(placed(weights)), placed(weights)) == 0


def test_heads_come_back_to_the_reference_and_equal_ones_are_told_apart_by_what_reads_them():
    torch.manual_seed(0)
    structure = trace(Attending(plain, heads=3, channels=2), (5, 8)).structure
    of, rng = orbits(structure, True), torch.Generator().manual_seed(0)
    reference = redraw(structure.spec, 1, rng)
    moved = apply_action(of, random_action(of, 1, rng, kinds=["permutation"]), reference)
    assert far(moved, reference) > 0
    assert far(Matching(of, reference)(moved), reference) == 0
    equal = {layer: theta.clone() for layer, theta in reference.items()}
    for name in ("q", "k", "v"):
        equal[name][:] = equal[name][:, :1]
    moved = apply_action(of, random_action(of, 1, rng, kinds=["permutation"]), equal)
    assert far(moved, equal) > 0
    assert far(Sorting(of)(moved), Sorting(of)(equal)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_known_symmetries_of_attention_pass_the_check(name):
    make, shape, expected = KNOWN[name]
    torch.manual_seed(0)
    traced = trace(make(), shape)
    assert traced.frozen == ()
    assert orbits(traced.structure, True).counts == expected


def test_a_wrong_rule_of_attention_is_frozen_by_the_check(monkeypatch):
    """Without a softmax the product of the factors of queries and keys would be free."""
    torch.manual_seed(0)
    module = Attending(plain)
    honest = orbits(trace(module, (5, 8)).structure, True).counts
    monkeypatch.setitem(RULES, "softmax", RULES["dropout"])
    traced = trace(module, (5, 8))
    assert {entry.op for entry in traced.frozen} == {"self-check"}
    assert orbits(traced.structure, True).counts["scaling"] <= honest["scaling"]


def test_blocks_that_cannot_change_places_are_frozen_by_the_check():
    """Heads beside numbers of their own; their channels keep their symmetries."""
    torch.manual_seed(0)
    module = MIXED["temperatures that are given"][0]()
    honest = trace(module, (5, 8))
    channels = [label for members in honest.structure.classes for label in members][:16]
    blocks = (tuple(tuple(channels[k] for k in places) for places in (range(4), range(4, 8))),)
    wrong = attrs.evolve(honest.structure, blocks=blocks)
    mended, failed = tracer.verify(module, wrong, TrialInputs(wrong.spec.input_shape))
    assert [entry.why for entry in failed] == ["an action of the kind 'permutation' changes the outputs"]
    assert failed[0].place.startswith("blocks")
    assert mended == honest.structure


# Channels that any invertible matrix may mix.


def dropped_values(m, q, k, v):
    return m.drop(plain(q, k, v))


MIXABLE = {
    "plain": (lambda: Attending(plain), [4, 4, 4, 4]),
    "packed": (Packed, [4, 4, 4, 4]),
    "queries and keys of unit length": (lambda: Attending(by_cosine), [4, 4]),
    "a number for each channel of the queries": (
        lambda: Attending(lambda q, k, v: plain(q * torch.arange(1.0, 5.0), k, v)),
        [4, 4],
    ),
    "values that are dropped one by one": (lambda: Heads(dropped_values, drop=nn.Dropout(0.3)), [4, 4]),
    "keys and queries that are added to each other": (lambda: Attending(lambda q, k, v: plain(q, q + k, v)), [4, 4]),
    "two dense layers": (lambda: chain(dense(8, 6), dense(6, 4), nn.ReLU(), nn.Flatten(), dense(20, 2)), [6]),
    "two dense layers with a cube between them": (
        lambda: chain(dense(8, 6), Net(lambda m, x: x**3), dense(6, 4), nn.ReLU(), nn.Flatten(), dense(20, 2)),
        [],
    ),
    "a bias of which some entries are not read": (
        lambda: Net(
            lambda m, x: m.out(torch.cat([m.w(x)[..., :3], m.w(x)[..., :3]], -1).relu().flatten(1)),
            w=dense(8, 7),
            out=dense(30, 2),
        ),
        [],
    ),
}


@pytest.mark.parametrize("name", MIXABLE)
def test_units_that_any_matrix_may_mix_are_found_where_they_are_linear(name):
    make, sizes = MIXABLE[name]
    torch.manual_seed(0)
    structure = trace(make(), (5, 8)).structure
    assert [len(labels) for labels in structure.linear] == sizes


@settings(max_examples=5)
@given(seed=st.integers(0, 999), channels=st.integers(2, 4))
def test_mixing_keeps_the_function_and_nothing_less_does(seed, channels):
    torch.manual_seed(seed)
    module = Attending(plain, 2, channels, width=5)
    structure = trace(module, (4, 5)).structure
    rng = torch.Generator().manual_seed(seed)
    weights, inputs = redraw(structure.spec, 2, rng), torch.randn(6, 4, 5, generator=rng, dtype=torch.float64)
    before, copied = run_exactly(exact_copy(module), structure.spec, weights, inputs), exact_copy(module)
    after = run_exactly(copied, structure.spec, mix(structure, structure.linear, weights, rng), inputs)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-7 * float(before.abs().max()))
    writers = [axis for axis in structure.axes if axis.exponent != -1]
    alone = mix(attrs.evolve(structure, axes=writers), structure.linear, weights, rng)
    assert (run_exactly(copied, structure.spec, alone, inputs) - before).abs().max() > 1e-3 * before.abs().max()


def test_describe_shows_heads_and_what_any_matrix_may_mix(hyperframe, tmp_path, monkeypatch):
    (tmp_path / "own_attention.py").write_text(
        "from torch import nn\n"
        "class Rows(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.inner, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 10)\n"
        "    def forward(self, x):\n"
        "        x = x[:, 0]\n"
        "        return self.out(self.inner(x, x, x)[0].relu().mean(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = hyperframe("describe", "own_attention:Rows", "generator=mlp", "--json")
    target = json.loads(out)["target"]
    assert code == 0
    assert target["blocks"] == [{"count": 2, "units": 8, "writers": ["inner.in_proj_weight"]}]
    packed = {"writers": ["inner.in_proj_weight"], "units": 4, "sets": 2, "directions": 24}
    assert target["linear"] == [packed | {"readers": [name]} for name in ("inner.in_proj_weight", "inner.out_proj")]
    assert target["frozen"] == []
    code, out, _ = hyperframe("describe", "own_attention:Rows", "generator=mlp")
    assert "2 blocks of 8 units change places as wholes, in: inner.in_proj_weight" in out
    assert "units that any invertible matrix may mix" in out
