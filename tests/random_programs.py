"""Random networks, for the tracer: any sequence of operations that goes together, each with its text.

A `Program` draws its steps from a seed while it runs them on an example, so that shapes always fit. `print(program)`
shows it as a forward function would be written.
"""

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

EXAMPLES = 3
LIMIT = 4000  # entries of one example's activation


class Program(nn.Module):
    """A network of random steps; its outputs are the last value, mostly through a last layer."""

    def __init__(self, seed, steps):
        super().__init__()
        self._random = random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self.held = nn.ModuleList()
        self.learnt = nn.ParameterList()
        self._buffers_made = 0
        self.steps, self.lines, self.shapes = [], [], []
        self.input_shape = self._random.choice([(5,), (6,), (2, 5, 4), (3, 4, 4), (4, 6)])
        with torch.no_grad():
            values = [torch.randn(EXAMPLES, *self.input_shape, generator=self._generator)]
            self._add(values, *self._layer(values, 0))
            while len(self.steps) < steps + 1:
                self._grow(values)
            self._finish(values)
        self.eval()

    def __str__(self):
        own = "\n".join(f"    {text}" for text in self.lines)
        return f"v0 = inputs {list(self.input_shape)}\n{own}"

    __repr__ = __str__

    def forward(self, x):
        values = [x]
        for step in self.steps:
            values.append(step(self, values))
        return values[-1]

    # Growing

    def _grow(self, values):
        newest = len(values) - 1
        at = newest if self._random.random() < 0.8 else self._random.randint(1, newest)
        draw = self._random.choices([draw for draw, _ in DRAWS], [weight for _, weight in DRAWS])[0]
        made = draw(self, values, at)
        if made is not None:
            self._add(values, *made)

    def _add(self, values, text, step):
        result = step(self, values)
        if result.dtype != torch.float32 or not result.isfinite().all() or result[0].numel() > LIMIT:
            return
        if result.dim() < 2 or len(result) != EXAMPLES or result.abs().max() > 1e4 or not result[0].numel():
            return
        self.steps.append(step)
        self.lines.append(f"v{len(values)} = {text}{'':4}# {list(result.shape[1:])}")
        values.append(result)

    def _finish(self, values):
        at = len(values) - 1
        shape = values[at].shape
        ending = self._random.random()
        if len(shape) > 2:
            if ending < 0.5:
                self._add(values, f"v{at}.flatten(1)", lambda m, v: v[at].flatten(1))
            else:
                dims = tuple(range(2, len(shape)))
                self._add(values, f"v{at}.mean({dims})", lambda m, v: v[at].mean(dims))
        if ending < 0.85 or values[-1].shape[1] < 2:
            self._add(values, *self._layer(values, len(values) - 1, kind="linear", width=3))
        if self._random.random() < 0.1:
            last = len(values) - 1
            self._add(values, f"log_softmax(v{last}, 1)", lambda m, v: v[last].log_softmax(1))

    def _module(self, module):
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=self._generator))
        self.held.append(module)
        return f"held[{len(self.held) - 1}]"

    def _constant(self, value):
        name = f"constant{self._buffers_made}"
        self._buffers_made += 1
        self.register_buffer(name, value)
        return name

    def _layer(self, values, at, kind=None, width=None):
        """A new dense or convolutional layer, or an earlier one once more where it fits."""
        shape = values[at].shape
        width = width or self._random.choice([2, 3, 4, 5, 6])
        kind = kind or ("conv" if len(shape) == 4 else "linear")
        fitting = [
            number
            for number, module in enumerate(self.held)
            if (isinstance(module, nn.Linear) and kind == "linear" and module.in_features == shape[-1])
            or (isinstance(module, nn.Conv2d) and kind == "conv" and module.in_channels == shape[1])
        ]
        if fitting and self._random.random() < 0.3 and len(self.steps) > 0 and width != 3:
            number = self._random.choice(fitting)
            return f"held[{number}](v{at})  ({self.held[number]}, again)", lambda m, v: m.held[number](v[at])
        bias = self._random.random() < 0.7
        if kind == "linear":
            module = nn.Linear(shape[-1], width, bias=bias)
        else:
            groups = self._random.choice([1, 1, 1, shape[1], *([2] if shape[1] % 2 == 0 else [])])
            width = groups * self._random.choice([1, 2]) if groups > 1 else width
            size = self._random.choice([1, 3])
            module = nn.Conv2d(shape[1], width, size, padding=size // 2, groups=groups, bias=bias)
        name, number = self._module(module), len(self.held) - 1
        if self._random.random() < 0.1:
            parametrize, what = self._random.choice(PARAMETRIZATIONS)
            parametrize(module)
            name = f"{what} {name}"
        return f"{name}(v{at})  ({module})", lambda m, v: m.held[number](v[at])

    def _like(self, values, at):
        """Another value of the same shape, if there is one."""
        fitting = [k for k in range(1, len(values)) if values[k].shape == values[at].shape]
        return self._random.choice(fitting)

    # Kinds of steps: each returns its text and a function of all values, or None where it does not fit.

    def layer(self, values, at):
        return self._layer(values, at)

    def pointwise(self, values, at):
        name, function = self._random.choice(POINTWISE)
        return f"{name}(v{at})", lambda m, v: function(v[at])

    def binary(self, values, at):
        other = self._like(values, at)
        name, function = self._random.choice(BINARY)
        return f"{name}(v{at}, v{other})", lambda m, v: function(v[at], v[other])

    def constant(self, values, at):
        shape = [1] * values[at].dim()
        dim = self._random.choice(range(1, len(shape)))
        shape[dim] = values[at].shape[dim]
        pool = self._random.choice([[0.0, 1.0], [0.0, 1.0, 1.0, 1.0], [1.0, -1.0], [0.5, 2.0, 2.0], [-1.0, 0.0, 3.0]])
        numbers = torch.tensor([self._random.choice(pool) for _ in range(shape[dim])]).view(shape)
        name = self._constant(numbers)
        listed = numbers.flatten().tolist()
        if self._random.random() < 0.8:
            return f"v{at} * {listed} along {dim}", lambda m, v: v[at] * getattr(m, name)
        return f"v{at} + {listed} along {dim}", lambda m, v: v[at] + getattr(m, name)

    def parameter(self, values, at):
        shape = [1] * values[at].dim()
        if self._random.random() < 0.8:
            dim = self._random.choice(range(1, len(shape)))
            shape[dim] = values[at].shape[dim]
        index = len(self.learnt)
        self.learnt.append(nn.Parameter(torch.randn(shape, generator=self._generator)))
        operator, text = self._random.choice([(torch.mul, "*"), (torch.add, "+"), (torch.mul, "*")])
        return f"v{at} {text} learnt[{index}] {shape}", lambda m, v: operator(v[at], m.learnt[index])

    def layout(self, values, at):
        shape = values[at].shape
        dim = self._random.choice(range(1, len(shape)))
        size = shape[dim]
        cut = self._random.randint(1, size - 1) if size > 1 else 1
        order = self._random.sample(range(size), size)
        options = [
            (f"v{at}.narrow({dim}, 0, {cut})", lambda m, v: v[at].narrow(dim, 0, cut)),
            (f"v{at}.narrow({dim}, {size - cut}, {cut})", lambda m, v: v[at].narrow(dim, size - cut, cut)),
            (f"v{at}.flip({dim})", lambda m, v: v[at].flip(dim)),
            (f"v{at}.roll({cut}, {dim})", lambda m, v: v[at].roll(cut, dim)),
            (f"v{at}.index_select({dim}, {order})", lambda m, v: v[at].index_select(dim, torch.tensor(order))),
            (f"cat([v{at}, v{at}], {dim})", lambda m, v: torch.cat([v[at], v[at]], dim)),
            (f"pad(v{at}, {dim})", lambda m, v: F.pad(v[at], [0, 0] * (v[at].dim() - 1 - dim) + [0, 1])),
        ]
        if len(shape) > 2:
            options += [
                (f"v{at}.transpose(1, {dim})", lambda m, v: v[at].transpose(1, dim)),
                (f"v{at}.flatten(1)", lambda m, v: v[at].flatten(1)),
                (f"v{at}.flatten(2)", lambda m, v: v[at].flatten(2)),
            ]
        if size % 2 == 0:
            options.append(
                (f"swap halves of v{at} along {dim}", lambda m, v: torch.cat(v[at].chunk(2, dim)[::-1], dim)),
            )
        return self._random.choice(options)

    def joined(self, values, at):
        other = self._like(values, at)
        dim = self._random.choice(range(1, values[at].dim()))
        return f"cat([v{at}, v{other}], {dim})", lambda m, v: torch.cat([v[at], v[other]], dim)

    def reduction(self, values, at):
        shape = values[at].shape
        dim = self._random.choice(range(1, len(shape)))
        name, function = self._random.choice(REDUCTIONS)
        cut = self._random.randint(1, max(shape[dim] - 1, 1))
        way = self._random.randrange(4)
        if way == 0:
            return f"v{at}.{name}({dim}, True)", lambda m, v: function(v[at], dim)
        if way == 1:
            return f"v{at}[:{cut} along {dim}].{name}({dim}, True)", lambda m, v: function(
                v[at].narrow(dim, 0, cut), dim
            )
        if way == 2:
            text = f"v{at} * v{at}.{name}({dim}, True).sigmoid()"
            return text, lambda m, v: v[at] * function(v[at], dim).sigmoid()
        text = f"cat of {name} of v{at}[:{cut}] and v{at}[{cut}:] along {dim}"
        return text, lambda m, v: torch.cat([function(part, dim) for part in _parts(v[at], cut, dim)], dim)

    def softmax(self, values, at):
        dim = self._random.choice(range(1, values[at].dim()))
        return f"v{at}.softmax({dim})", lambda m, v: v[at].softmax(dim)

    def pooling(self, values, at):
        if values[at].dim() != 4 or min(values[at].shape[2:]) < 2:
            return None
        name, function = self._random.choice(POOLS)
        return f"{name}(v{at})", lambda m, v: function(v[at])

    def norm(self, values, at):
        shape = values[at].shape
        channels, affine = shape[1], self._random.random() < 0.7
        options = [nn.LayerNorm(shape[-1], elementwise_affine=affine)]
        if channels % 2 == 0:
            options.append(nn.GroupNorm(2, channels, affine=affine))
        if len(shape) == 2:
            options += 2 * [nn.BatchNorm1d(channels, affine=affine)]
        if len(shape) == 4:
            options += 2 * [nn.BatchNorm2d(channels, affine=affine)]
            if shape[2] * shape[3] > 1:
                options.append(nn.InstanceNorm2d(channels, affine=affine))
        module = self._random.choice(options)
        name, number = self._module(module), len(self.held) - 1
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(channels, generator=self._generator))
            if self._random.random() < 0.25:  # it never uses the statistics of a batch
                module.train = lambda mode=True: nn.Module.train(module, False)
                name += " kept in evaluation"
        return f"{name}(v{at})  ({module})", lambda m, v: m.held[number](v[at])

    def mixed_along(self, values, at):
        """A dense layer along another axis."""
        if values[at].dim() < 3:
            return None
        module = nn.Linear(values[at].shape[1], self._random.choice([2, 3, 4]))
        name, number = self._module(module), len(self.held) - 1
        return f"{name} along axis 1 of v{at}", lambda m, v: m.held[number](v[at].transpose(1, -1)).transpose(1, -1)

    def product(self, values, at):
        if values[at].dim() != 3:
            return None
        other = self._like(values, at)
        return f"v{at} @ v{other}.mT", lambda m, v: v[at] @ v[other].mT

    def dropped(self, values, at):
        module = self._random.choice([nn.Dropout(0.3), nn.AlphaDropout(0.3), nn.Dropout1d(0.3)])
        if isinstance(module, nn.Dropout1d) and values[at].dim() != 3:
            return None
        name, number = self._module(module), len(self.held) - 1
        return f"{name}(v{at})  ({module})", lambda m, v: m.held[number](v[at])


def _parts(value, cut, dim):
    return [
        part for part in (value.narrow(dim, 0, cut), value.narrow(dim, cut, value.shape[dim] - cut)) if part.numel()
    ]


class Masked(nn.Module):
    """A kernel of which every third entry is zero."""

    def forward(self, kernel):
        return kernel * (torch.arange(kernel.numel()) % 3 != 0).view_as(kernel)


class Standardised(nn.Module):
    """A kernel each of whose filters has mean 0 and variance 1."""

    def forward(self, kernel):
        dims = list(range(1, kernel.dim()))
        return (kernel - kernel.mean(dims, keepdim=True)) / (
            kernel.var(dims, keepdim=True, unbiased=False) + 0.1
        ).sqrt()


PARAMETRIZATIONS = [
    (weight_norm, "weight-normed"),
    (lambda module: register_parametrization(module, "weight", Masked()), "masked"),
    (lambda module: register_parametrization(module, "weight", Standardised()), "standardised"),
]
POINTWISE = [
    *4 * [("relu", torch.relu)],
    ("leaky_relu", F.leaky_relu),
    *2 * [("tanh", torch.tanh)],
    ("gelu", F.gelu),
    ("sigmoid", torch.sigmoid),
    ("abs", torch.abs),
    ("square", torch.square),
    ("cos", torch.cos),
    ("softsign", F.softsign),
    ("softplus", F.softplus),
    ("elu", F.elu),
    ("hardtanh", F.hardtanh),
    ("clamp from 0", lambda x: x.clamp(min=0)),
    ("neg", torch.neg),
    ("2 *", lambda x: 2 * x),
    ("1 +", lambda x: 1 + x),
    ("float", lambda x: x.float()),
    ("sign", torch.sign),
    ("where positive", lambda x: torch.where(x > 0, x, 0.0)),
    ("masked by x > 0", lambda x: x * (x > 0)),
    ("masked by x > 1", lambda x: x * (x > 1)),
    ("log1p of abs", lambda x: torch.log1p(x.abs())),
    ("maximum with 0", lambda x: torch.maximum(x, torch.zeros_like(x))),
    ("expand and mean", lambda x: x.unsqueeze(-1).expand(*x.shape, 3).mean(-1)),
]
BINARY = [
    *3 * [("add", torch.add)],
    ("sub", torch.sub),
    *2 * [("mul", torch.mul)],
    ("maximum", torch.maximum),
    ("minimum", torch.minimum),
    ("max", torch.max),
    ("gate", lambda a, b: a * b.sigmoid()),
    ("reglu", lambda a, b: a * b.relu()),
    ("quotient", lambda a, b: a / (1 + b.abs())),
    ("ratio", lambda a, b: a / (a.abs() + b.abs() + 0.001)),
    ("addcmul", lambda a, b: torch.addcmul(a, a, b, value=0.5)),
    ("lerp", lambda a, b: torch.lerp(a, b, 0.3)),
    ("where larger", lambda a, b: torch.where(a > b, a, b)),
]
REDUCTIONS = [
    ("sum", lambda x, dim: x.sum(dim, True)),
    ("mean", lambda x, dim: x.mean(dim, True)),
    ("amax", lambda x, dim: x.amax(dim, True)),
    ("max", lambda x, dim: x.max(dim, True).values),
    ("norm", lambda x, dim: torch.linalg.vector_norm(x, dim=dim, keepdim=True)),
    ("var", lambda x, dim: x.var(dim, unbiased=False, keepdim=True)),
    ("logsumexp", lambda x, dim: x.logsumexp(dim, True)),
    ("prod", lambda x, dim: x.prod(dim, True)),
    ("cumsum", lambda x, dim: x.cumsum(dim)),
]
POOLS = [
    ("max_pool2d", lambda x: F.max_pool2d(x, 2)),
    ("avg_pool2d", lambda x: F.avg_pool2d(x, 2)),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 2)),
    ("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, 1)),
]
DRAWS = [
    (Program.layer, 7),
    (Program.pointwise, 7),
    (Program.binary, 4),
    (Program.constant, 2),
    (Program.parameter, 2),
    (Program.layout, 3),
    (Program.joined, 2),
    (Program.reduction, 3),
    (Program.softmax, 0.5),
    (Program.pooling, 1),
    (Program.norm, 3),
    (Program.mixed_along, 0.7),
    (Program.product, 0.5),
    (Program.dropped, 0.7),
]
