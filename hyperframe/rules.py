"""What operations without parameters do to labels: layouts, pointwise functions, pooling, reductions, sums, products.

A rule takes the discovery, the operation and its arguments, in which activations are `Activation`, parameters `View`
and known numbers tensors. It returns the labels of the result, or None where it does not know this case.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.discovery import Discovery, FoundLayer, View
from hyperframe.labels import FIXED, ZERO, Activation, compact, varies

Rule = Callable[["Operation"], Any]
RULES: dict[str, Rule] = {}
"""Rules by the operation's name, such as "relu" for aten.relu.default."""


@attrs.frozen(eq=False)
class Operation:
    """One operation of a traced network.

    Attributes:
        found: what has been found so far.
        name: such as "conv2d".
        function: the operation itself.
        args: its positional arguments.
        kwargs: its other arguments.
        shape: of its result, or of each of its results.
        node: the operation's own name in the graph.
        place: the module it is in.
        sources: for each positional argument the node it comes from, where it is an activation.
        single: the nodes whose result nothing but this operation uses.
    """

    found: Discovery
    name: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Any
    node: str
    place: str
    sources: tuple[str | None, ...]
    single: frozenset[str]

    def get(self, number: int, name: str, default: Any = None) -> Any:
        """An argument by its position or its name."""
        return self.args[number] if len(self.args) > number else self.kwargs.get(name, default)

    def layer_before(self, number: int) -> FoundLayer | None:
        """The layer whose outputs are this argument, where nothing else sees them."""
        name = self.sources[number]
        return self.found.producers.get(name) if name is not None and name in self.single else None


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


LAYOUTS = (  # fmt: skip
    "view",
    "_unsafe_view",
    "reshape",
    "permute",
    "transpose",
    "t",
    "unsqueeze",
    "squeeze",
    "expand",
    "clone",
    "contiguous",
    "alias",
    "detach",
    "select",
    "slice",
    "index_select",
    "index",
    "roll",
    "flip",
    "flatten",
    "unflatten",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "repeat",
    "narrow",
    "movedim",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "cat",
    "stack",
    "pad",
    "constant_pad_nd",
    "swapaxes",
    "numpy_T",
    "mT",
    "diagonal",
    "unfold",
    "lift_fresh_copy",
    "expand_as",
    "view_as",
    "reshape_as",
    "tile",
    "repeat_interleave",
    "rot90",
    "slice_scatter",
    "select_scatter",
)
SEVERAL = {"slice_scatter": 2, "select_scatter": 2}  # how many arguments are laid out; one, or a list, for all others


@rule(*LAYOUTS)
def layout(operation: Operation) -> Any:
    """An operation that only moves entries does to their labels what it does to them."""
    first = operation.args[0]
    if isinstance(first, View):
        return _view_of(operation, first)
    taken = SEVERAL.get(operation.name, 1)
    lifted = [_lifted(operation.found, value) for value in operation.args[:taken]]
    if operation.name == "cat" and all(isinstance(value, Activation) for value in lifted[0]):
        return _cat(operation, lifted[0])
    fields = []
    for name, padding in (("unit", FIXED), ("scale", ZERO), ("sign", ZERO), ("code", None)):
        chosen = [_pick(value, name) for value in lifted]
        fields.append(_moved(operation, chosen, operation.args[taken:], padding))
    if isinstance(fields[0], Tensor):
        return Activation(*(compact(field) for field in fields))
    return tuple(Activation(*(compact(field) for field in part)) for part in zip(*fields, strict=True))


def _lifted(found: Discovery, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_lifted(found, item) for item in value]
    if isinstance(value, Tensor):
        return found.constant(value)
    if isinstance(value, View):
        return found.opaque(value.shape)
    return value


def _pick(value: Any, name: str) -> Any:
    return [_pick(item, name) for item in value] if isinstance(value, list) else getattr(value, name)


def _moved(operation: Operation, data: list[Any], rest: Sequence[Any], padding: int | None) -> Any:
    name, kwargs = operation.name, operation.kwargs
    if name in ("view", "_unsafe_view", "reshape"):
        return data[0].reshape(operation.shape)
    if name in ("view_as", "reshape_as"):
        return data[0].reshape(operation.shape)
    if name == "expand_as":
        return data[0].expand(operation.shape)
    if name in ("pad", "constant_pad_nd"):
        return _padded(operation, data[0], padding)
    return operation.function(*data, *rest, **{key: value for key, value in kwargs.items() if key != "memory_format"})


def _padded(operation: Operation, labels: Tensor, padding: int | None) -> Tensor:
    widths = operation.get(1, "pad")
    mode = operation.get(2, "mode", "constant") if operation.name == "pad" else "constant"
    if mode != "constant":  # torch pads whole numbers only with constants
        padded: Tensor = torch.nn.functional.pad(labels.double(), widths, mode=mode).long()
        return padded
    value = operation.get(3 if operation.name == "pad" else 2, "value") or 0
    if padding is None:
        padding = int(operation.found.constant(torch.tensor([float(value)])).code)
    elif padding == ZERO and value != 0:
        padding = FIXED
    return torch.nn.functional.pad(labels, widths, value=padding)


def _cat(operation: Operation, parts: list[Activation]) -> Activation:
    dim = operation.get(1, "dim", 0)
    fields = []
    for name in ("unit", "scale", "sign", "code"):
        labels = [getattr(part, name) for part in parts]
        for axis in range(len(operation.shape)):
            if axis != dim % len(operation.shape) and not any(varies(part, axis) for part in labels):
                labels = [part.narrow(axis, 0, 1) for part in labels]
        fields.append(compact(torch.cat(labels, dim).expand(operation.shape)))
    return Activation(*fields)


def _view_of(operation: Operation, view: View) -> View | None:
    """A parameter with its axes in another order, with axes of size 1 more or less, or some of its rows."""
    name, args = operation.name, operation.args
    marks = list(range(len(view.dims)))
    if name in ("clone", "contiguous", "alias", "detach"):
        return view
    if name in ("permute", "transpose", "t", "unsqueeze", "squeeze", "movedim", "swapaxes", "numpy_T", "mT"):
        # Found out on a tensor whose sizes tell its axes apart.
        sizes = [1 if size == 1 else mark + 2 for mark, size in zip(marks, view.shape, strict=True)]
        moved = operation.function(torch.empty(sizes), *args[1:], **operation.kwargs)
        ones = iter([view.dims[mark] for mark in marks if view.shape[mark] == 1])
        dims = [view.dims[size - 2] if size > 1 else next(ones, None) for size in moved.shape]
        if sorted(dim for dim in dims if dim is not None) != sorted(dim for dim in view.dims if dim is not None):
            dims = [view.dims[size - 2] if size > 1 else None for size in moved.shape]
        return attrs.evolve(view, shape=tuple(operation.shape), dims=tuple(dims))
    if name in ("view", "reshape", "_unsafe_view"):
        kept = [(size, dim) for size, dim in zip(view.shape, view.dims, strict=True) if size > 1]
        shape = tuple(operation.shape)
        if [size for size, _ in kept] != [size for size in shape if size > 1]:
            return None
        left = iter(dim for _, dim in kept)
        return attrs.evolve(view, shape=shape, dims=tuple(next(left) if size > 1 else None for size in shape))
    if name == "slice" and view.rows is None:
        dim = operation.get(1, "dim", 0)
        size = view.shape[dim]
        first, end, step = slice(operation.get(2, "start"), operation.get(3, "end"), operation.get(4, "step")).indices(
            size
        )
        if step == 1 and (first, end) == (0, size):
            return view
        if step == 1 and view.dims[dim] is not None:
            return attrs.evolve(view, shape=tuple(operation.shape), rows=(first, end), rows_dim=view.dims[dim])
    return None


@rule("relu", "leaky_relu", "rrelu_eval", "abs")
def homogeneous(operation: Operation) -> Activation | None:
    """f(a·x) = a·f(x) for a > 0: factors pass, signs do not."""
    return _through(operation, scale=True, sign=False)


@rule("clamp", "clamp_min", "clamp_max", "threshold", "hardtanh")
def clipped(operation: Operation) -> Activation | None:
    """Clipping at zero is a ReLU; between −a and a it is odd; else nothing passes."""
    bounds = operation.args[1:] if operation.name != "clamp_max" else (None, operation.args[1])
    if operation.name == "hardtanh" and not bounds:
        bounds = (-1.0, 1.0)
    low = bounds[0] if bounds else operation.kwargs.get("min")
    high = bounds[1] if len(bounds) > 1 else operation.kwargs.get("max")
    if any(isinstance(bound, Tensor | Activation | View) for bound in (low, high)):
        return None
    if operation.name == "threshold":
        return _through(operation, scale=low == 0 and high == 0, sign=False)
    if (low, high) in ((0, None), (None, 0)):
        return _through(operation, scale=True, sign=False)
    return _through(operation, scale=False, sign=low is not None and high is not None and low == -high)


@rule("tanh", "sin", "asin", "atan", "sinh", "asinh", "atanh", "erf", "softsign", "hardshrink", "softshrink", "tan")
def odd(operation: Operation) -> Activation | None:
    """f(−x) = −f(x): signs pass, factors do not."""
    return _through(operation, scale=False, sign=True)


@rule("neg", "dropout", "feature_dropout", "alpha_dropout", "identity", "_to_copy", "to", "positive", "type_as")
def linear(operation: Operation) -> Activation | None:
    """A factor that is the same for all: everything passes."""
    return _through(operation, scale=True, sign=True)


@rule(  # fmt: skip
    "gelu",
    "silu",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "elu",
    "celu",
    "selu",
    "softplus",
    "mish",
    "log_sigmoid",
    "logsigmoid",
    "relu6",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "square",
    "pow",
    "reciprocal",
    "cos",
)
def pointwise(operation: Operation) -> Activation | None:
    """Any other function of each entry alone: units pass, factors and signs do not."""
    return together(operation, keep=False)


def _through(operation: Operation, *, scale: bool, sign: bool) -> Activation | None:
    """A function of each entry; `scale` and `sign` tell whether factors and signs pass."""
    value = operation.args[0]
    if not isinstance(value, Activation) or any(isinstance(other, Activation | View) for other in operation.args[1:]):
        return None
    found = operation.found
    if not scale:
        found.scales.freeze(value.scale)
    if not sign:
        found.signs.freeze(value.sign)
    both = scale or sign  # then zero stays zero
    result = Activation(
        value.unit,
        value.scale if scale else _without(value.scale, keep_zero=both),
        value.sign if sign else _without(value.sign, keep_zero=both),
        _new_fixed_codes(found, value),
    )
    found.note(result)
    return result


def _without(labels: Tensor, *, keep_zero: bool) -> Tensor:
    """No factors; where zero stays zero it is still free of them."""
    if keep_zero:
        return compact(torch.where(labels == ZERO, ZERO, FIXED))
    return labels.new_full((1,) * labels.dim(), FIXED).expand(labels.shape)


def _new_fixed_codes(found: Discovery, value: Activation) -> Tensor:
    """Codes after a function of each entry: units keep theirs, other entries get one for each value they had."""
    loose = value.unit == FIXED
    if not bool(loose.any()):
        return value.code
    distinct, places = torch.unique(value.code[loose], return_inverse=True)
    code = value.code.clone()
    code[loose] = found.new_codes(distinct.shape)[places]
    return compact(code)


def together(operation: Operation, *, keep: bool) -> Activation | None:
    """A function of several activations, entry by entry: units unite; with `keep`, so do factors and signs."""
    found = operation.found
    values = [value for value in operation.args if isinstance(value, Activation | Tensor)]
    if any(isinstance(value, View) for value in operation.args):
        return None
    parts = [_broadcast(_lifted(found, value), operation.shape) for value in values]
    result = parts[0]
    for part in parts[1:]:
        result = _united(found, result, part, keep=keep)
    if not keep:
        for part in parts:
            found.scales.freeze(part.scale)
            found.signs.freeze(part.sign)
        none = torch.full((1,) * len(operation.shape), FIXED).expand(operation.shape)
        result = attrs.evolve(result, scale=none, sign=none)
    found.note(result)
    return result


def _broadcast(value: Activation, shape: Any) -> Activation:
    return Activation(*(field.expand(shape) for field in (value.unit, value.scale, value.sign, value.code)))


def _united(found: Discovery, one: Activation, other: Activation, *, keep: bool) -> Activation:
    """Two activations entry by entry: where both are of a unit it is the same one; factors unite where wanted."""
    inside_one, inside_other = one.unit != FIXED, other.unit != FIXED
    both = inside_one & inside_other
    first = torch.where(both, one.unit, FIXED)
    found.units.unite(compact(first), compact(torch.where(both, other.unit, FIXED)))
    # What is of no unit must be equal where units change places.
    if bool((inside_one & ~inside_other).any()):
        found.note_with(one.unit, torch.where(inside_other, FIXED, other.code))
    if bool((inside_other & ~inside_one).any()):
        found.note_with(other.unit, torch.where(inside_one, FIXED, one.code))
    if bool((both & (one.code != other.code)).any()):
        found.note_with(one.unit, torch.where(both, other.code, FIXED))
    unit = compact(torch.where(inside_one, one.unit, other.unit))
    code = torch.where(inside_one, one.code, other.code)
    loose = ~inside_one & ~inside_other
    if bool(loose.any()):
        code = torch.where(loose, _pair_codes(found, one.code, other.code), code)
    scale, sign = one.scale, one.sign
    if keep:
        found.scales.unite(one.scale, other.scale)
        found.signs.unite(one.sign, other.sign)
        scale = compact(torch.where(one.scale == ZERO, other.scale, one.scale))
        sign = compact(torch.where(one.sign == ZERO, other.sign, one.sign))
    return Activation(unit, scale, sign, compact(code))


def _pair_codes(found: Discovery, one: Tensor, other: Tensor) -> Tensor:
    """A new code for each pair of codes that occurs."""
    pairs = torch.stack([one.expand(other.shape), other.expand(one.shape)], -1).reshape(-1, 2)
    distinct, places = torch.unique(pairs, dim=0, return_inverse=True)
    return found.new_codes([len(distinct)])[places].view(torch.broadcast_shapes(one.shape, other.shape))


def added(operation: Operation) -> Activation | None:
    """A sum: units, factors and signs of both are the same; a number that is added lets neither pass."""
    other = operation.args[1]
    if isinstance(other, int | float):
        return _through(operation, scale=other == 0, sign=other == 0)
    return together(operation, keep=True)


@rule("maximum", "minimum")
def extreme(operation: Operation) -> Activation | None:
    """The larger or smaller of two: as a sum, but signs do not pass."""
    result = together(operation, keep=True)
    if result is None:
        return None
    operation.found.signs.freeze(result.sign)
    return attrs.evolve(result, sign=_without(result.sign, keep_zero=True))


@rule("div")
def multiplied(operation: Operation) -> Activation | None:
    """A product or quotient: a factor passes where the other side has none; where both have one, both are frozen."""
    one, other = operation.args[:2]
    if operation.kwargs.get("rounding_mode") is not None:
        return None
    if isinstance(other, int | float):
        return _through(operation, scale=True, sign=True)
    if isinstance(one, View) or isinstance(other, View) or isinstance(one, int | float):
        return None
    found = operation.found
    parts = [_broadcast(_lifted(found, value), operation.shape) for value in (one, other)]
    result = _united(found, *parts, keep=False)
    fields = []
    for name, partition in (("scale", found.scales), ("sign", found.signs)):
        a, b = getattr(parts[0], name), getattr(parts[1], name)
        if operation.name == "div":
            partition.freeze(b)
            b = _without(b, keep_zero=False)
        zero = (a == ZERO) | (b == ZERO)
        both = (a >= 0) & (b >= 0) & ~zero
        square = both & (a == b) & torch.tensor(name == "sign")  # one sign twice is none
        partition.freeze(torch.where(both & ~square, a, FIXED))
        partition.freeze(torch.where(both & ~square, b, FIXED))
        product = torch.where(both, FIXED, torch.where(a >= 0, a, b))
        fields.append(compact(torch.where(zero, ZERO, product)))
    result = attrs.evolve(result, scale=fields[0], sign=fields[1])
    found.note(result)
    return result


POOLS = {
    "max": "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "max_pool2d_with_indices max_pool3d_with_indices",
    "mean": "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "_adaptive_avg_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d "
    "upsample_linear1d upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact2d _upsample_bilinear2d_aa",
}


@rule(*POOLS["max"].split(), *POOLS["mean"].split())
def pooled(operation: Operation) -> Any:
    """Each channel by itself, over space: means let signs pass, maxima do not."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation):
        return None
    several = isinstance(operation.shape, tuple | list) and not isinstance(operation.shape, torch.Size)
    shape = operation.shape[0] if several else operation.shape
    spatial = int(next(letter for letter in operation.name if letter.isdigit()))
    if len(value.shape) < spatial + 2:
        return None
    unit, scale, sign = found.along(value, 1)
    if operation.name in POOLS["max"].split():
        found.signs.freeze(sign)
        sign = torch.where(sign == ZERO, ZERO, FIXED)
    result = found.laid_out(shape, 1, unit, scale, sign)
    return (result, found.opaque(shape)) if several else result


REDUCTIONS = {
    "mean": (True, True),
    "sum": (True, True),
    "amax": (True, False),
    "amin": (True, False),
    "max": (True, False),
    "min": (True, False),
    "softmax": (False, False),
    "_softmax": (False, False),
    "log_softmax": (False, False),
    "_log_softmax": (False, False),
    "var": (False, False),
    "std": (False, False),
    "logsumexp": (False, False),
    "prod": (False, False),
    "linalg_vector_norm": (True, False),
}


@rule(*REDUCTIONS)
def reduced(operation: Operation) -> Any:
    """A symmetric function of the entries along some axes: units that vary along them may change places in it."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation):
        return None
    rank = len(value.shape)
    where = 2 if operation.name == "linalg_vector_norm" else 1
    dims = operation.get(where, "dim")
    dims = list(range(rank)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else list(dims)
    dims = sorted(dim % rank for dim in dims)
    several = isinstance(operation.shape, tuple | list) and not isinstance(operation.shape, torch.Size)
    shape = operation.shape[0] if several else operation.shape
    scale_passes, sign_passes = REDUCTIONS[operation.name]
    note_groups(found, value, dims)
    fields: dict[str, Tensor] = {}
    for name, partition, passes in (("scale", found.scales, scale_passes), ("sign", found.signs, sign_passes)):
        labels = getattr(value, name)
        first = common(labels, dims, partition)
        if not passes:
            partition.freeze(labels)
            first = torch.where(first == ZERO, FIXED, first).clamp(max=FIXED)
        fields[name] = first
    unit = value.unit
    mixed = any(varies(unit, dim) for dim in dims)
    for dim in dims:
        unit = unit.narrow(dim, 0, 1)
    if mixed:  # what remains belongs to no unit
        unit = torch.full_like(unit, FIXED)
    keeps_shape = tuple(shape) == tuple(value.shape)
    if keeps_shape and len(dims) < rank and "softmax" in operation.name:
        result = attrs.evolve(
            value,
            scale=fields["scale"].expand(shape),
            sign=fields["sign"].expand(shape),
            code=_new_fixed_codes(found, value),
        )
        found.note(result)
        return result
    kept = [size for axis, size in enumerate(value.shape) if axis not in dims]
    unit, scale, sign = (
        field.expand(unit.shape).reshape(kept).reshape(shape) for field in (unit, fields["scale"], fields["sign"])
    )
    code = found.new_codes(shape)
    if bool((unit != FIXED).any()):
        code = torch.where(unit == FIXED, code, _reduced_codes(value.code, dims).reshape(shape))
    result = Activation(compact(unit), compact(scale), compact(sign), compact(code))
    found.note(result)
    return (result, found.opaque(shape)) if several else result


def _reduced_codes(code: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        code = code.narrow(dim, 0, 1)
    return code


def common(labels: Tensor, dims: Sequence[int], partition: Any) -> Tensor:
    """One factor or sign for all entries along some axes, united; keeps the axes with size 1."""
    columns = labels
    for dim in dims:
        columns = columns if varies(columns, dim) else columns.narrow(dim, 0, 1)
    moved = columns.movedim(list(dims), list(range(len(dims)))).flatten(0, len(dims) - 1)
    chosen = moved.gather(0, (moved != ZERO).int().argmax(0, keepdim=True))
    partition.unite(moved, chosen)
    first = chosen[0]
    for dim in sorted(dims):
        first = first.unsqueeze(dim)
    return first


def note_groups(found: Discovery, value: Activation, dims: Sequence[int]) -> None:
    """Units that stand in different groups of a reduction cannot change places."""
    if not any(varies(value.unit, dim) for dim in dims):
        return  # each unit by itself
    groups = [1 if axis in dims else size for axis, size in enumerate(value.shape)]
    number = torch.arange(torch.Size(groups).numel()).view(groups).expand(value.shape)
    if any(varies(value.unit, axis) for axis, size in enumerate(groups) if size > 1):
        found.note_with(value.unit, number)
