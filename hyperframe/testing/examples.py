"""Small networks with hand-written specs, one for each way in which filters, layers and unit spaces are connected.

Each example is a function of sizes, which are all at least 1, and returns a module and its spec. `EXAMPLES` lists them
by name. Where an example has BatchNorm, its symmetries hold with stored and with batch statistics.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hyperframe.targets.params import kernel, scale, shift
from hyperframe.targets.spec import Norm, Slice, TargetSpec
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.testing.spec_parts import layer, normalised, out, plain, spec_of
from hyperframe.types import Weights

Made = tuple[nn.Module, TargetSpec]


def random_weights(spec: TargetSpec, batch: int, seed: int, dtype: torch.dtype = torch.float64) -> Weights:
    """Draw weights, for each layer [batch, filters, size], that keep the size of signals about constant over layers.

    All entries are normal with mean 0, those of kernels with variance 2 / fan_in, all others with variance 1.
    """
    return redraw(spec, batch, torch.Generator().manual_seed(seed), dtype)


def random_inputs(spec: TargetSpec, examples: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw normal inputs [examples, *input_shape]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(examples, *spec.input_shape, generator=rng, dtype=dtype)


def dense(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """Two dense layers and a ReLU."""
    return _dense("relu", nn.ReLU(), inputs, hidden, outputs)


def dense_tanh(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """Two dense layers and a tanh: hidden units can be permuted, but not scaled."""
    return _dense("tanh", nn.Tanh(), inputs, hidden, outputs)


def dense_gelu(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """Two dense layers and a GELU: hidden units can be permuted, but not scaled."""
    return _dense("gelu", nn.GELU(), inputs, hidden, outputs)


def _dense(op: str, activation: nn.Module, inputs: int, hidden: int, outputs: int) -> Made:
    module = nn.Sequential(nn.Linear(inputs, hidden), activation, nn.Linear(hidden, outputs))
    layers = [layer("first", hidden, plain("0", "o i"), writes=["hidden"]), out(outputs, "2", ["hidden"])]
    return module, spec_of(f"dense_{op}", (inputs,), {"hidden": (hidden, op)}, layers)


def unbiased(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """Two dense layers without biases and a leaky ReLU."""
    first, out = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    layers = [
        layer("first", hidden, [kernel("0.weight", "o i")], writes=["hidden"]),
        layer("out", outputs, [kernel("2.weight", "o i")], ["hidden"]),
    ]
    spec = spec_of("unbiased", (inputs,), {"hidden": (hidden, "leaky_relu")}, layers)
    return nn.Sequential(first, nn.LeakyReLU(0.25), out), spec


def grouped(groups: int = 2, width: int = 2, outputs: int = 3) -> Made:
    """A grouped convolution between a convolution and a dense layer: its units can be scaled, but not permuted."""
    first, second = groups * width, groups * (width + 1)
    convolution = nn.Conv2d(first, second, 2, groups=groups)
    return _convolutions("grouped", convolution, "o i h w", groups, outputs)


def transposed(groups: int = 2, width: int = 2, outputs: int = 3) -> Made:
    """A transposed convolution with groups, whose kernel holds its inputs before its outputs."""
    convolution = nn.ConvTranspose2d(groups * width, groups * (width + 1), 2, groups=groups)
    return _convolutions("transposed", convolution, "i o h w", groups, outputs)


def transposed_depthwise(channels: int = 3, outputs: int = 3) -> Made:
    """A transposed convolution with as many groups as channels."""
    convolution = nn.ConvTranspose2d(channels, channels, 2, groups=channels)
    return _convolutions("transposed_depthwise", convolution, "i o h w", channels, outputs)


def _convolutions(name: str, second: nn.Conv2d | nn.ConvTranspose2d, axes: str, groups: int, outputs: int) -> Made:
    """Build a convolution, the one that is given, and a dense layer."""
    read, written = second.in_channels, second.out_channels
    body = nn.Sequential(nn.Conv2d(1, read, 2), nn.ReLU(), second, nn.ReLU(), nn.Flatten())
    features = body(torch.zeros(1, 1, 4, 4)).shape[1]
    layers = [
        layer("first", read, plain("0", "o i h w"), writes=["first"]),
        layer("second", written, plain("2", axes), ["first"], ["second"], groups=groups),
        out(outputs, "5", ["second"]),
    ]
    spec = spec_of(name, (1, 4, 4), {"first": (read, "relu"), "second": (written, "relu flatten")}, layers)
    return body.append(nn.Linear(features, outputs)), spec


def depthwise(channels: int = 3, width: int = 2, outputs: int = 3) -> Made:
    """A depthwise convolution: the units it reads and writes move together, but each has a factor of its own."""
    module = nn.Sequential(
        nn.Conv2d(1, channels, 2),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 2, groups=channels),
        nn.ReLU(),
        nn.Conv2d(channels, width, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * 4, outputs),
    )
    units = {"first": (channels, "relu"), "depthwise": (channels, "relu"), "pointwise": (width, "relu flatten")}
    layers = [
        layer("first", channels, plain("0", "o i h w"), writes=["first"]),
        layer("depthwise", channels, plain("2", "o i h w"), ["first"], ["depthwise"], groups=channels),
        layer("pointwise", width, plain("4", "o i h w"), ["depthwise"], ["pointwise"]),
        out(outputs, "7", ["pointwise"]),
    ]
    return module, spec_of("depthwise", (1, 4, 4), units, layers)


class _Fused(nn.Module):
    def __init__(self, inputs: int, hidden: int, left: int, right: int, outputs: int) -> None:
        super().__init__()
        self.sizes = [left, right]
        self.first = nn.Linear(inputs, hidden)
        self.projection = nn.Linear(hidden, left + right)
        self.out = nn.Linear(left + right, outputs)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.split(self.projection(self.first(x).relu()), self.sizes, 1)
        outputs: Tensor = self.out(torch.cat([right.relu(), left.tanh()], 1))
        return outputs


def fused(inputs: int = 3, hidden: int = 3, left: int = 2, right: int = 3, outputs: int = 3) -> Made:
    """Two layers that are rows of one parameter; they read the same units and write different ones."""
    units = {"hidden": (hidden, "relu"), "left": (left, "tanh"), "right": (right, "relu")}
    layers = [
        layer("first", hidden, plain("first", "o i"), writes=["hidden"]),
        layer("right", right, plain("projection", "o i", (left, left + right)), ["hidden"], ["right"]),
        layer("left", left, plain("projection", "o i", (0, left)), ["hidden"], ["left"]),
        out(outputs, "out", ["right", "left"]),
    ]
    return _Fused(inputs, hidden, left, right, outputs), spec_of("fused", (inputs,), units, layers)


class Affine(nn.Module):
    """A learnt factor for every channel and, if `offset` is true, a learnt offset."""

    def __init__(self, channels: int, offset: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if offset else None

    def forward(self, x: Tensor) -> Tensor:
        """Return weight · x + bias."""
        scaled = self.weight * x
        return scaled if self.bias is None else scaled + self.bias


def scale_shift(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """A layer without a kernel: a learnt factor and offset for every hidden unit, behind a ReLU."""
    return _behind("scale_shift", Affine(hidden), "none", (inputs, hidden, outputs))


def layer_norm(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """A LayerNorm that follows no kernel: the units it reads can be permuted, but not scaled."""
    return _behind("layer_norm", nn.LayerNorm(hidden), "layer", (inputs, hidden, outputs))


def _behind(name: str, second: nn.Module, norm: Norm, sizes: tuple[int, int, int]) -> Made:
    """Build a layer without a kernel between two dense layers and ReLUs."""
    inputs, hidden, outputs = sizes
    module = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), second, nn.ReLU(), nn.Linear(hidden, outputs))
    layers = [
        layer("first", hidden, plain("0", "o i"), writes=["hidden"]),
        layer("second", hidden, [scale("2.weight"), shift("2.bias")], ["hidden"], ["second"], norm=norm),
        out(outputs, "4", ["second"]),
    ]
    return module, spec_of(name, (inputs,), {"hidden": (hidden, "relu"), "second": (hidden, "relu")}, layers)


def layer_scale(inputs: int = 3, hidden: int = 4, outputs: int = 3) -> Made:
    """A learnt factor for every filter directly behind its kernel and bias."""
    first, factor = nn.Linear(inputs, hidden), Affine(hidden, offset=False)
    layers = [
        layer("first", hidden, [*plain("0", "o i"), scale("1.weight")], writes=["hidden"]),
        out(outputs, "3", ["hidden"]),
    ]
    spec = spec_of("layer_scale", (inputs,), {"hidden": (hidden, "relu")}, layers)
    return nn.Sequential(first, factor, nn.ReLU(), nn.Linear(hidden, outputs)), spec


def group_norm(groups: int = 2, width: int = 2, outputs: int = 3) -> Made:
    """A GroupNorm behind a convolution: its channels can be scaled, but not permuted."""
    channels = groups * width
    module = nn.Sequential(
        nn.Conv2d(2, channels, 2, bias=False),
        nn.GroupNorm(groups, channels),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * 4, outputs),
    )
    layers = [
        layer("first", channels, normalised("0", "1"), writes=["channels"], norm="group"),
        out(outputs, "4", ["channels"]),
    ]
    return module, spec_of("group_norm", (2, 3, 3), {"channels": (channels, "relu flatten")}, layers)


class _Residual(nn.Module):
    def __init__(self, channels: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.inner = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(inner)
        self.back = nn.Conv2d(inner, channels, 1, bias=False)
        self.back_norm = nn.BatchNorm2d(channels)
        self.out = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        trunk = self.stem_norm(self.stem(x)).relu()
        block = self.inner_norm(self.inner(trunk)).relu()
        trunk = (trunk + self.back_norm(self.back(block))).relu()
        outputs: Tensor = self.out(trunk.mean((2, 3)))
        return outputs


def residual(channels: int = 3, inner: int = 2, outputs: int = 3) -> Made:
    """A residual block with BatchNorm: two layers write the same units, which ties them."""
    layers = [
        layer("stem", channels, normalised("stem", "stem_norm"), [], ["trunk"], norm="batch"),
        layer("inner", inner, normalised("inner", "inner_norm"), ["trunk"], ["inner"], norm="batch"),
        layer("back", channels, normalised("back", "back_norm"), ["inner"], ["trunk"], norm="batch"),
        out(outputs, "out", ["trunk"]),
    ]
    units = {"trunk": (channels, "relu add mean"), "inner": (inner, "relu")}
    return _Residual(channels, inner, outputs), spec_of("residual", (1, 4, 4), units, layers)


class _Concatenated(nn.Module):
    def __init__(self, left: int, right: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, left, 2)
        self.right = nn.Conv2d(1, right, 2)
        self.both = nn.Conv2d(left + right, hidden, 2)
        self.out = nn.Linear(hidden * 4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], 1).relu()
        outputs: Tensor = self.out(self.both(both).relu().flatten(1))
        return outputs


def concatenated(left: int = 2, right: int = 3, hidden: int = 2, outputs: int = 3) -> Made:
    """Two unit spaces that one layer reads."""
    units = {"left": (left, "relu"), "right": (right, "relu"), "hidden": (hidden, "relu flatten")}
    layers = [
        layer("left", left, plain("left", "o i h w"), writes=["left"]),
        layer("right", right, plain("right", "o i h w"), writes=["right"]),
        layer("both", hidden, plain("both", "o i h w"), ["left", "right"], ["hidden"]),
        out(outputs, "out", ["hidden"]),
    ]
    return _Concatenated(left, right, hidden, outputs), spec_of("concatenated", (1, 4, 4), units, layers)


class _Sliced(nn.Module):
    def __init__(self, inputs: int, half: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 2 * half)
        self.low = nn.Linear(half, half)
        self.high = nn.Linear(half, half)
        self.out = nn.Linear(2 * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.first(x).relu().chunk(2, 1)
        outputs: Tensor = self.out(torch.cat([self.low(low), self.high(high.flip(1))], 1).relu())
        return outputs


def sliced(inputs: int = 3, half: int = 2, outputs: int = 3) -> Made:
    """Layers that read and write parts of unit spaces, one of them in reverse order."""
    low, high = tuple(range(half)), tuple(range(half, 2 * half))
    layers = [
        layer("first", 2 * half, plain("first", "o i"), writes=["first"]),
        layer("low", half, plain("low", "o i"), [Slice("first", low)], [Slice("second", low)]),
        layer("high", half, plain("high", "o i"), [Slice("first", high[::-1])], [Slice("second", high)]),
        out(outputs, "out", ["second"]),
    ]
    units = {"first": (2 * half, "relu"), "second": (2 * half, "relu")}
    return _Sliced(inputs, half, outputs), spec_of("sliced", (inputs,), units, layers)


class _Table(nn.Module):
    def __init__(self, tokens: int, width: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(2, width)
        self.table = nn.Parameter(torch.zeros(1, tokens, width))
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.out((self.embedding(x) + self.table).relu().mean(1))
        return outputs


def table(tokens: int = 2, width: int = 3, outputs: int = 3) -> Made:
    """A table of positions, which is added to a dense layer's outputs."""
    layers = [
        layer("embedding", width, plain("embedding", "o i"), writes=["width"]),
        layer("table", width, [shift("table", "a t o")], writes=["width"]),
        out(outputs, "out", ["width"]),
    ]
    spec = spec_of("table", (tokens, 2), {"width": (width, "add relu mean")}, layers)
    return _Table(tokens, width, outputs), spec


EXAMPLES: dict[str, Callable[..., Made]] = {
    example.__name__: example
    for example in (
        dense,
        dense_tanh,
        dense_gelu,
        unbiased,
        grouped,
        transposed,
        transposed_depthwise,
        depthwise,
        fused,
        scale_shift,
        layer_norm,
        layer_scale,
        group_norm,
        residual,
        concatenated,
        sliced,
        table,
    )
}
"""The examples by name."""
