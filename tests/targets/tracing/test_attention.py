"""Attention traced: channels of values, of queries and keys, in every way in which it is written."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Net, counts, dense, learnt
from torch import nn
from tracing_trials import case, check_symmetries

from hyperframe.targets.symmetry.orbits import orbits
from hyperframe.targets.tracing import tracer, walk
from hyperframe.targets.tracing.rules.registry import RULES
from hyperframe.targets.tracing.tracer import trace


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

    def forward(self, x):
        y = self.form(split(self.q(x), self.heads), split(self.k(x), self.groups), split(self.v(x), self.groups))
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
    assert check(make(), shape, expected).frozen == ()


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
