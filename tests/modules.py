"""Modules as users write them, one for each way in which symmetries come about or end, with what is known of them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization


class Net(nn.Module):
    """A module whose forward is a function of itself and its input."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def dense(inputs, outputs):
    return nn.Linear(inputs, outputs)


def conv(inputs, outputs, size=3, **options):
    return nn.Conv2d(inputs, outputs, size, **options)


def learnt(*shape):
    return nn.Parameter(torch.randn(shape))


def given(value, function):
    """Apply a function to a value that it uses more than once."""
    return function(value)


def chain(*modules):
    return nn.Sequential(*modules)


def three_times():
    layer = dense(4, 4)
    return Net(
        lambda m, x: m.out(m.again(m.again(m.again(m.first(x).relu()).relu()).relu()).relu()),
        first=dense(3, 4),
        again=layer,
        out=dense(4, 2),
    )


def two_uses_of_a_norm():
    return Net(
        lambda m, x: m.out(m.norm(m.b(m.norm(m.a(x)).relu())).relu()),
        a=dense(3, 4),
        b=dense(4, 4),
        norm=nn.BatchNorm1d(4),
        out=dense(4, 2),
    )


def in_place(hidden):
    part = hidden[:, :3]
    part.mul_(2)
    return hidden.relu_()


def squeeze_and_excite(gate):
    return Net(
        lambda m, x: m.out((m.a(x).relu() * m.gate(m.a(x).relu().mean((2, 3), keepdim=True))).flatten(1)),
        a=conv(1, 5, padding=1),
        gate=chain(conv(5, 5, 1), gate),
        out=dense(5 * 16, 2),
    )


def written_in_place(m, x):
    h = m.a(x).relu()
    h[:, 0] = 0
    h[:, 3:] = m.b(x).relu()
    return m.out(h)


class Residual(nn.Module):
    """A residual network of the size of digits, with BatchNorm: projection and identity shortcuts."""

    def __init__(self, width=12, outputs=10):
        super().__init__()
        self.stem = conv(1, width, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.a = conv(width, width, padding=1, bias=False)
        self.a_norm = nn.BatchNorm2d(width)
        self.b = conv(width, 2 * width, padding=1, stride=2, bias=False)
        self.b_norm = nn.BatchNorm2d(2 * width)
        self.skip = conv(width, 2 * width, 1, stride=2, bias=False)
        self.skip_norm = nn.BatchNorm2d(2 * width)
        self.out = dense(2 * width, outputs)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem(x)))
        x = F.relu(x + self.a_norm(self.a(x)))
        x = F.relu(self.b_norm(self.b(x)) + self.skip_norm(self.skip(x)))
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Dense(nn.Module):
    """Two dense connections, as in DenseNet: BatchNorm before each convolution, outputs concatenated."""

    def __init__(self):
        super().__init__()
        self.stem = conv(1, 4, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (4, 7, 10))
        self.grow = nn.ModuleList(conv(size, 3, padding=1, bias=False) for size in (4, 7))
        self.out = dense(10, 3)

    def forward(self, x):
        x = self.stem(x)
        for norm, convolution in zip(self.norms, self.grow, strict=False):
            x = torch.cat([x, convolution(F.relu(norm(x)))], 1)
        return self.out(F.relu(self.norms[2](x)).mean((2, 3)))


class Depthwise(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection, each with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.stem = chain(conv(1, 4, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.block = chain(
            *(conv(4, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(conv(8, 8, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(conv(8, 4, 1, bias=False), nn.BatchNorm2d(4)),
        )
        self.out = dense(4, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.out((x + self.block(x)).mean((2, 3)))


class Mixer(nn.Module):
    """A block of an MLP-mixer: a dense net along the tokens, then one along the channels."""

    def __init__(self, act, bias=True):
        super().__init__()
        self.embed, self.act = dense(3, 6), act
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(3))
        self.tokens = nn.ModuleList([nn.Linear(5, 7, bias=bias), dense(7, 5)])
        self.channels = nn.ModuleList([dense(6, 8), dense(8, 6)])
        self.out = dense(6, 2)

    def forward(self, x):
        x = self.embed(x)
        x = x + self.tokens[1](self.act(self.tokens[0](self.norms[0](x).transpose(1, 2)))).transpose(1, 2)
        x = x + self.channels[1](self.act(self.channels[0](self.norms[1](x))))
        return self.out(self.norms[2](x).mean(1))


def by_condition(choose):
    return lambda: Net(lambda m, x: m.out(choose(m.a(x))), a=dense(4, 6), out=dense(6, 2))


class Masked(nn.Module):
    """A parametrization: entries that are kept, as after pruning."""

    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


class Standardised(nn.Module):
    """A parametrization: less the mean of each filter, by its deviation."""

    def forward(self, weight):
        rest = tuple(range(1, weight.dim()))
        return (weight - weight.mean(rest, keepdim=True)) / weight.std(rest, keepdim=True)


def parametrized(layer, parametrization):
    register_parametrization(layer, "weight", parametrization)
    return layer


def computed_kernels():
    """For digits: kernels that are standardised, masked and of unit length, and a product of two layers."""
    return Net(
        lambda m, x: given(m.features(x), lambda h: m.out(m.value(h) * m.gate(h).relu())),
        features=chain(
            *(parametrized(conv(1, 4, stride=2), Standardised()), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            *(parametrized(dense(36, 5), Masked((torch.arange(36) % 3 > 0).float())), nn.ReLU()),
        ),
        value=weight_norm(dense(5, 6)),
        gate=dense(5, 6),
        out=dense(6, 10),
    )


def counts(scaling=0, permutation=0, sign=0, normalisation=0, norm_sign=0, logit_shift=0):
    return {
        "logit_shift": logit_shift,
        "scaling": scaling,
        "sign": sign,
        "normalisation": normalisation,
        "norm_sign": norm_sign,
        "permutation": permutation,
    }


# Each: how it is made, the shape of one input, and the directions of each kind that are there.
KNOWN = {
    "cast to float32": (
        lambda: Net(
            lambda m, x: m.out(m.a(x.float() @ torch.eye(4)).relu().to(torch.float32)), a=dense(4, 6), out=dense(6, 2)
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "tensors of float32": (
        lambda: Net(
            lambda m, x: m.out(
                torch.cat([m.a(F.one_hot((x[:, 0] > 0).long(), 2).float()).relu(), torch.zeros(len(x), 2)], 1)
            ),
            a=dense(2, 6),
            out=dense(8, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=9),
    ),
    "where with a number": (
        by_condition(lambda h: torch.where(h > 0, h, 0.0)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "where with zeros": (
        by_condition(lambda h: torch.where(h <= 0, torch.zeros_like(h), h)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "times a mask": (by_condition(lambda h: h * (h > 0)), (4,), counts(scaling=6, permutation=6, logit_shift=7)),
    "filled by a mask": (
        by_condition(lambda h: h.masked_fill(h.lt(0), 0.0) + h.masked_fill((h < 0).logical_not(), 0)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "times its own sign": (
        by_condition(lambda h: h * h.sign()),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "where a number is passed": (
        by_condition(lambda h: torch.where(h > 1, h, 0.0)),
        (4,),
        counts(permutation=6, logit_shift=7),
    ),
    "by which of two is larger": (
        lambda: Net(
            lambda m, x: given((m.a(x), m.b(x)), lambda h: m.out(torch.where(h[0] > h[1], h[0], -h[1]))),
            a=dense(4, 6),
            b=dense(4, 6),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "the larger of two": (
        lambda: Net(
            lambda m, x: m.out(torch.max(torch.max(m.a(x), m.b(x)), torch.zeros(()))),
            a=dense(4, 6),
            b=dense(4, 6),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "clipped by tensors": (
        by_condition(lambda h: h.clamp(torch.zeros(6)).clamp_min(torch.zeros(()))),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "mixer": (
        lambda: Mixer(nn.GELU()),
        (5, 3),
        counts(scaling=12, sign=12, permutation=21, normalisation=1, norm_sign=1, logit_shift=7),
    ),
    "mixer with ReLU": (
        lambda: Mixer(nn.ReLU()),
        (5, 3),
        counts(scaling=27, sign=12, permutation=21, normalisation=1, norm_sign=1, logit_shift=7),
    ),
    "mixer with ReLU, without a bias along the tokens": (
        lambda: Mixer(nn.ReLU(), bias=False),
        (5, 3),
        counts(scaling=27, sign=12, permutation=21, normalisation=1, norm_sign=1, logit_shift=7),
    ),
    "a class token": (
        lambda: Net(
            lambda m, x: m.out((torch.cat([m.token.expand(len(x), -1, -1), m.a(x)], 1) + m.table).relu().flatten(1)),
            a=dense(3, 6),
            token=learnt(1, 1, 6),
            table=learnt(1, 6, 6),
            out=dense(36, 2),
        ),
        (5, 3),
        counts(scaling=6, permutation=6, logit_shift=37),
    ),
    "a class token without positions": (
        lambda: Net(
            lambda m, x: m.out(m.b(torch.cat([m.token.repeat(len(x), 1, 1), m.a(x)], 1)).tanh().mean(1)),
            a=dense(3, 6),
            token=learnt(1, 1, 6),
            b=dense(6, 4),
            out=dense(4, 2),
        ),
        (5, 3),
        counts(scaling=6, sign=10, permutation=10, logit_shift=5),
    ),
    "positions looked up": (
        lambda: Net(
            lambda m, x: m.out((m.a(x) + m.table(torch.arange(5))).relu().flatten(1)),
            a=dense(3, 6),
            table=nn.Embedding(5, 6),
            out=dense(30, 2),
        ),
        (5, 3),
        counts(scaling=6, permutation=6, logit_shift=31),
    ),
    "log-softmax at the end": (
        lambda: chain(dense(4, 6), nn.ReLU(), dense(6, 3), nn.LogSoftmax(1)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "a softmax and more at the end": (
        lambda: Net(lambda m, x: (2 * m.out(m.a(x).relu())).softmax(-1).clamp(0.1) * 3, a=dense(4, 6), out=dense(6, 3)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "a softmax over part of the logits": (
        lambda: Net(
            lambda m, x: m.out(m.a(x).relu()).view(-1, 2, 2).softmax(2).flatten(1), a=dense(4, 6), out=dense(6, 4)
        ),
        (4,),
        counts(scaling=6, permutation=6),
    ),
    "shared at the input": (
        lambda: given(dense(4, 4), lambda layer: chain(layer, nn.ReLU(), layer, nn.ReLU(), dense(4, 2))),
        (4,),
        counts(logit_shift=5),
    ),
    "called three times": (three_times, (3,), counts(scaling=4, permutation=4, logit_shift=5)),
    "a norm that is used twice": (
        two_uses_of_a_norm,
        (3,),
        counts(scaling=4, permutation=4, normalisation=16, norm_sign=4, logit_shift=5),
    ),
    "in-place operations that alias": (
        lambda: Net(lambda m, x: m.out(in_place(m.a(x))), a=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "tanh before max-pooling": (
        lambda: chain(conv(1, 5, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), dense(20, 2)),
        (1, 4, 4),
        counts(permutation=5, logit_shift=21),
    ),
    "tanh before a mean": (
        lambda: chain(conv(1, 5, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), dense(20, 2)),
        (1, 4, 4),
        counts(permutation=5, sign=5, logit_shift=21),
    ),
    "gate behind a sigmoid": (
        lambda: squeeze_and_excite(nn.Sigmoid()),
        (1, 4, 4),
        counts(scaling=5, permutation=5, logit_shift=81),
    ),
    "gate of its own": (
        lambda: Net(
            lambda m, x: m.out(m.a(x).relu() * m.gate(x).sigmoid()), a=dense(4, 6), gate=dense(4, 6), out=dense(6, 2)
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "square": (
        lambda: Net(lambda m, x: m.out(m.a(x) ** 2), a=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, sign=6, permutation=6, logit_shift=7),
    ),
    "product of two": (
        lambda: Net(lambda m, x: m.out(m.a(x) * m.b(x)), a=dense(4, 6), b=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(scaling=12, sign=12, permutation=6, logit_shift=7),
    ),
    "product with itself": (
        lambda: Net(lambda m, x: given(m.a(x), lambda h: m.out(h * h)), a=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, sign=6, logit_shift=7),
    ),
    "both halves of a sign": (
        lambda: Net(
            lambda m, x: given(m.a(x), lambda h: m.out(torch.cat([h.relu(), (-h).relu()], 1))),
            a=dense(4, 6),
            out=dense(12, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=13),
    ),
    "halves of different kind": (
        lambda: Net(
            lambda m, x: given(m.a(x), lambda h: m.out(torch.cat([h[:, :3].relu(), h[:, 3:].sigmoid()], 1))),
            a=dense(4, 6),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=3, permutation=6, logit_shift=7),
    ),
    "product with a matrix of parameters": (
        lambda: Net(lambda m, x: m.out((x @ m.w + m.b).relu()), w=learnt(4, 6), b=learnt(6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "layer scale": (
        lambda: Net(
            lambda m, x: given(m.a(x).relu(), lambda h: m.out(h + m.scale * m.b(h))),
            a=dense(4, 6),
            b=dense(6, 6),
            scale=learnt(6),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=12, permutation=6, sign=6, logit_shift=7),
    ),
    "one learnt factor for all": (
        lambda: Net(
            lambda m, x: given(m.a(x).relu(), lambda h: m.out(h + m.scale * m.b(h))),
            a=dense(4, 6),
            b=dense(6, 6),
            scale=learnt(1),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "the input added": (
        lambda: Net(lambda m, x: m.out((x + m.a(x)).relu()), a=dense(4, 4), out=dense(4, 2)),
        (4,),
        counts(logit_shift=5),
    ),
    "constants added to some": (
        lambda: Net(
            lambda m, x: m.out((m.a(x) + m.c).relu()),
            a=dense(4, 4),
            c=torch.tensor([0.0, 0.0, 1.0, 1.0]),
            out=dense(4, 2),
        ),
        (4,),
        counts(scaling=2, permutation=4, logit_shift=5),
    ),
    "one dimension": (
        lambda: chain(nn.Conv1d(2, 5, 3), nn.BatchNorm1d(5), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), dense(15, 2)),
        (2, 8),
        counts(scaling=5, permutation=5, normalisation=10, norm_sign=5, logit_shift=16),
    ),
    "transposed, grouped": (
        lambda: chain(
            nn.ConvTranspose2d(2, 4, 2, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 6, 2, groups=2),
            nn.LeakyReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            dense(6, 2),
        ),
        (2, 3, 3),
        counts(scaling=10, permutation=10, logit_shift=7),
    ),
    "depthwise with a multiplier": (
        lambda: chain(
            conv(1, 4, padding=1),
            nn.ReLU(),
            conv(4, 8, padding=1, groups=4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            dense(8, 2),
        ),
        (1, 5, 5),
        counts(scaling=12, permutation=4, logit_shift=9),
    ),
    "dilated, circular, upsampled": (
        lambda: chain(
            conv(1, 4, dilation=2, padding=2, padding_mode="circular"),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            conv(4, 3),
            nn.PReLU(3),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            dense(3, 2),
        ),
        (1, 6, 6),
        counts(scaling=7, permutation=7, logit_shift=4),
    ),
    "BatchNorm of the input": (
        lambda: chain(nn.BatchNorm2d(2), conv(2, 4), nn.ReLU(), nn.Flatten(), dense(36, 2)),
        (2, 5, 5),
        counts(scaling=6, permutation=4, sign=2, logit_shift=37),
    ),
    "BatchNorm without affine part": (
        lambda: chain(conv(2, 4), nn.BatchNorm2d(4, affine=False), nn.Tanh(), nn.Flatten(), dense(36, 2)),
        (2, 5, 5),
        counts(permutation=4, sign=4, normalisation=8, logit_shift=37),
    ),
    "InstanceNorm": (
        lambda: chain(conv(2, 4), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Flatten(), dense(36, 2)),
        (2, 5, 5),
        counts(scaling=4, permutation=4, normalisation=8, norm_sign=4, logit_shift=37),
    ),
    "GroupNorm": (
        lambda: chain(conv(1, 6), nn.GroupNorm(3, 6), nn.ReLU(), nn.Flatten(), dense(54, 2)),
        (1, 5, 5),
        counts(scaling=6, permutation=6, normalisation=3, norm_sign=3, logit_shift=55),
    ),
    "LayerNorm over all": (
        lambda: chain(conv(1, 6), nn.LayerNorm([6, 3, 3]), nn.ReLU(), nn.Flatten(), dense(54, 2)),
        (1, 5, 5),
        counts(scaling=6, permutation=6, normalisation=1, norm_sign=1, logit_shift=55),
    ),
    "RMSNorm": (
        lambda: chain(dense(4, 6), nn.RMSNorm(6), nn.ReLU(), dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, normalisation=1, norm_sign=1, logit_shift=7),
    ),
    "a mean over channels": (
        lambda: Net(
            lambda m, x: given(m.a(x).relu(), lambda h: m.out((h * h.mean(1, keepdim=True).sigmoid()).flatten(1))),
            a=conv(1, 5, padding=1),
            out=dense(80, 2),
        ),
        (1, 4, 4),
        counts(permutation=5, logit_shift=81),
    ),
    "a position table": (
        lambda: Net(
            lambda m, x: m.out((m.a(x) + m.table).relu().flatten(1)),
            a=dense(8, 6),
            table=learnt(5, 6),
            out=dense(30, 2),
        ),
        (5, 8),
        counts(scaling=6, permutation=6, logit_shift=31),
    ),
    "pixel shuffle": (
        lambda: chain(
            conv(1, 8, padding=1),
            nn.ReLU(),
            nn.PixelShuffle(2),
            conv(2, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            dense(3, 2),
        ),
        (1, 4, 4),
        counts(scaling=5, permutation=5, logit_shift=4),
    ),
    "channel shuffle": (
        lambda: Net(lambda m, x: m.out(F.channel_shuffle(m.a(x).relu(), 2).flatten(1)), a=conv(1, 6), out=dense(54, 2)),
        (1, 5, 5),
        counts(scaling=6, permutation=6, logit_shift=55),
    ),
    "softmax at the end": (
        lambda: chain(dense(4, 6), nn.ReLU(), dense(6, 3), nn.Softmax(1)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "maxout": (
        lambda: Net(lambda m, x: m.out(m.a(x).view(-1, 3, 2).amax(2)), a=dense(4, 6), out=dense(3, 2)),
        (4,),
        counts(scaling=3, permutation=9, logit_shift=4),  # in a pair, and pairs with the largest of each
    ),
    "dropout": (
        lambda: chain(dense(4, 6), nn.ReLU(), nn.Dropout(0.5), dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "rows of one parameter": (
        lambda: Net(
            lambda m, x: m.out(torch.cat([F.linear(x, m.w[:2]).relu(), F.linear(x, m.w[2:]).tanh()], 1)),
            w=learnt(6, 4),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=2, permutation=6, sign=4, logit_shift=7),
    ),
    "a channel the other way round": (
        lambda: Net(
            lambda m, x: given(m.a(x).relu(), lambda h: m.out(torch.cat([h[:, :1].flip(2), h[:, 1:]], 1)).flatten(1)),
            a=conv(1, 4, padding=1),
            out=conv(4, 2, 4),
        ),
        (1, 4, 4),
        counts(scaling=4, permutation=3, logit_shift=65),
    ),
    "residual": (
        Residual,
        (1, 8, 8),
        counts(scaling=36, permutation=36, normalisation=72, norm_sign=72, logit_shift=25),
    ),
    "dense connections": (
        Dense,
        (1, 4, 4),
        counts(scaling=21, permutation=10, normalisation=10, norm_sign=10, logit_shift=11),
    ),
    "depthwise block": (
        Depthwise,
        (1, 4, 4),
        counts(scaling=20, permutation=12, normalisation=24, norm_sign=24, logit_shift=5),
    ),
    "an offset for each pixel before BatchNorm": (
        lambda: Net(
            lambda m, x: m.out(m.norm(m.a(x) + m.table).relu().flatten(1)),
            a=conv(1, 4, bias=False),
            table=learnt(4, 3, 3),
            norm=nn.BatchNorm2d(4),
            out=dense(36, 2),
        ),
        (1, 5, 5),
        counts(scaling=4, permutation=4, normalisation=4, norm_sign=4, logit_shift=37),
    ),
    "zeros of its own shape": (
        lambda: Net(
            lambda m, x: given(m.a(x).relu(), lambda h: m.out(torch.cat([h, torch.zeros_like(h)], 1))),
            a=dense(4, 3),
            out=dense(6, 2),
        ),
        (4,),
        counts(scaling=3, permutation=3, logit_shift=7),
    ),
    "written in place": (
        lambda: Net(written_in_place, a=dense(4, 6), b=dense(4, 3), out=dense(6, 2)),
        (4,),
        None,
    ),
    "gated linear unit": (
        lambda: chain(dense(4, 6), nn.GLU(), dense(3, 2)),
        (4,),
        counts(scaling=3, sign=3, permutation=3, logit_shift=4),
    ),
    "one slope for all": (
        lambda: chain(dense(4, 6), nn.PReLU(), nn.Flatten(), dense(18, 2)),
        (3, 4),
        counts(scaling=6, permutation=6, logit_shift=19),
    ),
    "constant scale and shift": (
        lambda: chain(conv(1, 4), nn.BatchNorm2d(4).requires_grad_(False), nn.ReLU(), nn.Flatten(), dense(36, 2)),
        (1, 5, 5),
        counts(permutation=4, normalisation=8, logit_shift=37),
    ),
    "logits divided by a number": (
        lambda: Net(lambda m, x: m.out(m.a(x).relu()) / 3.0, a=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(scaling=6, permutation=6, logit_shift=7),
    ),
    "clipped to whole numbers": (
        lambda: Net(lambda m, x: m.out((3 * m.a(x)).to(torch.int32).to(x.dtype)), a=dense(4, 6), out=dense(6, 2)),
        (4,),
        counts(permutation=6, logit_shift=7),
    ),
    "rows of a convolution": (
        lambda: Net(
            lambda m, x: m.out(torch.cat([F.conv2d(x, m.w[:2]).relu(), F.conv2d(x, m.w[2:]).tanh()], 1).mean((2, 3))),
            w=learnt(5, 1, 3, 3),
            out=dense(5, 2),
        ),
        (1, 5, 5),
        counts(scaling=2, sign=3, permutation=5, logit_shift=6),
    ),
}


def small(outputs: int, width: int = 4, input_shape: tuple[int, ...] = (1, 8, 8)):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.ReLU(), nn.Linear(width, outputs))
