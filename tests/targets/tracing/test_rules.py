"""Rules by themselves: each takes every overload of its operations, with whatever arguments these accept."""

import random
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from hyperframe.targets.tracing import tracer  # noqa: F401  (it loads the rules)
from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import Activation
from hyperframe.targets.tracing.rules.crossed import Crossed
from hyperframe.targets.tracing.rules.registry import RULES, Operation
from hyperframe.targets.tracing.state import Discovery

TRIES = 150
KEPT = 12

SHAPES = ([2, 3, 4], [2, 4, 4], [2, 4], [4], [4, 4], [], [2, 4, 4, 4], [1], [4, 1, 1], [2, 4, 4, 4, 4], [4, 4, 1])
INTS = (0, 1, -1, 2, 4, 3)
LISTS = ([1], [2], [0, 1], [-1], [1, 1], [2, 2], [4], [4, 4], [1, 1, 1], [0, 0], [0, 0, 0], [2, 4, 4], [2, 2, 4], [])
SCALARS = (0, 1, 0.5, -1.0, 2, True, 1j, float("inf"))
STRINGS = ("none", "tanh", "floor", "trunc", "constant", "reflect", "mean", "sum", "ij", "nearest")
TYPES = (torch.float32, torch.float64, torch.int64, torch.bool)


def tensor(rng: random.Random, shape: list[int]) -> Tensor:
    kind = rng.choice(["float"] * 5 + ["zeros", "whole", "truth", "complex"])
    value = torch.randn(shape)
    if kind == "zeros":
        return torch.zeros(shape)
    if kind == "whole":
        return torch.randint(0, 3, shape)
    return value > 0 if kind == "truth" else value * 1j if kind == "complex" else value


def argument(rng: random.Random, kind: str, shape: list[int]):
    """A value of a type, as a schema names it."""
    if kind.startswith("Optional["):
        return None if rng.random() < 0.5 else argument(rng, kind[9:-1], shape)
    if kind == "Tensor":
        return tensor(rng, shape if rng.random() < 0.6 else rng.choice(SHAPES))
    if kind.startswith("List[") and "Tensor" in kind:
        inner = kind[5:-1]
        return [argument(rng, inner, shape) for _ in range(rng.choice([1, 2]))]
    simple = {"int": INTS, "bool": (True, False), "float": (0.0, 0.5, 1.0), "str": STRINGS, "number": SCALARS}
    simple |= {"List[int]": LISTS, "List[float]": ([1.0], [2.0, 2.0]), "ScalarType": TYPES, "List[bool]": ([True],)}
    if "SymInt" in kind or kind == "Scalar":
        kind = kind.replace("SymInt", "int").replace("Scalar", "number")
    return rng.choice(simple[kind]) if kind in simple else None


def drawn(rng: random.Random, function) -> tuple[list, dict] | None:
    """Arguments that an overload accepts; some by position, some by name."""
    shape = rng.choice(SHAPES)
    args, kwargs = [], {}
    for part in function._schema.arguments:
        if part.name in ("layout", "device", "pin_memory", "memory_format"):
            continue
        if part.has_default_value() and rng.random() < 0.5:
            if part.kwarg_only or kwargs:
                continue
            args.append(part.default_value)
            continue
        value = rng.choice(TYPES) if part.name == "dtype" else argument(rng, str(part.type), shape)
        if part.kwarg_only or kwargs or (part.has_default_value() and rng.random() < 0.3):
            kwargs[part.name] = value
        else:
            args.append(value)
    return args, kwargs


def labelled(rng: random.Random, found: Discovery, value, depth: int = 0):
    """An activation or a parameter in the place of a tensor, or the tensor itself."""
    if isinstance(value, list):
        return [labelled(rng, found, item, 1) for item in value]
    if not isinstance(value, Tensor):
        return value
    choice = rng.random()
    shape = tuple(value.shape)
    if choice < 0.6 and shape:
        dim = rng.randrange(len(shape))
        size = shape[dim]
        return found.lay_out(shape, dim, found.new_labels(found.units.new(size)))
    if choice < 0.7:
        return found.opaque(shape)
    if choice < 0.85 and shape:
        return View(
            name=f"p{len(found.parameters.layers)}", rank=len(shape), shape=shape, dims=tuple(range(len(shape)))
        )
    return value


def meta(value: Tensor) -> Tensor:
    """Without numbers: arguments that an operation should have refused can crash it where there are any."""
    return value.to("meta")


def results(value) -> list[Tensor]:
    return list(value) if isinstance(value, tuple | list) else [value]


def overloads(name: str) -> Iterable:
    packet = getattr(torch.ops.aten, name.partition(".")[0], None)
    for overload in () if packet is None else packet.overloads():
        if "." not in name or overload == name.partition(".")[2]:
            function = getattr(packet, overload)
            if not overload.startswith("prim") and not any(part.is_out for part in function._schema.arguments):
                yield function


@pytest.mark.parametrize("name", sorted(RULES))
def test_no_rule_raises(name):
    rng = random.Random(name)
    torch.manual_seed(0)
    for function in overloads(name):
        overload = f"{function._schema.name.removeprefix('aten::')}.{function._overloadname}"
        if RULES.get(overload, RULES[name]) is not RULES[name]:
            continue
        kept = 0
        for _ in range(TRIES):
            args, kwargs = drawn(rng, function)
            try:
                function(*tree_map_only(Tensor, meta, args), **tree_map_only(Tensor, meta, kwargs))
                done = results(function(*args, **kwargs))
            except Exception:  # noqa: BLE001 (whatever torch says of arguments that it does not take)
                continue
            if not all(isinstance(value, Tensor) for value in done):
                continue
            kept += 1
            found = Discovery()
            values = labelled(rng, found, args)
            names = {key: labelled(rng, found, value) for key, value in kwargs.items()}
            several = len(function._schema.returns) > 1 or "List" in str(function._schema.returns[0].type)
            operation = Operation(
                found=found,
                name=name.partition(".")[0],
                function=function,
                args=tuple(values),
                kwargs=names,
                shape=[value.shape for value in done] if several else done[0].shape,
                floating=done[0].is_floating_point(),
                node="node",
                place="here",
                sources=(None,) * len(values),
                single=frozenset(),
                used=frozenset(range(len(done))),
            )
            result = RULES[name](operation)
            assert (
                result is None
                or result is NotImplemented
                or isinstance(result, Activation | Crossed | View | Tensor | tuple)
            )
            for one, other in zip(results(result), done, strict=True) if result is not None else ():
                assert tuple(one.shape) == tuple(other.shape), (function, values, names)
            if kept == KEPT:
                break
