"""Rules of products of several activations: batches of matrix products, sums of products by letters, attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import Activation
from hyperframe.targets.tracing.rules.computed import TAKEN_APART, step
from hyperframe.targets.tracing.rules.crossed import Crossed, map_sets, merge_sets
from hyperframe.targets.tracing.rules.products.contractions import contract
from hyperframe.targets.tracing.rules.registry import Operation, lift, rule
from hyperframe.targets.tracing.state import Discovery

PAIR = re.compile(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]*)")


def attend(operation: Operation) -> Any:
    """Scaled dot-product attention: softmax(q · kᵀ + mask) · v."""
    found, shape = operation.found, operation.shape
    mask = operation.get(3, "attn_mask")
    if bool(operation.get(5, "is_causal", False)):
        mask = torch.ones(shape[-2], operation.args[1].shape[-2], dtype=torch.bool).tril()
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    values = [value for value in (_as_activation(found, given) for given in operation.args[:3]) if value is not None]
    if len(values) < 3 or any(len(value.shape) != len(shape) or len(shape) < 2 for value in values):
        return None
    query, key, value = values
    if operation.get(7, "enable_gqa", False):
        key, value = (_repeat_heads(labels, shape[-3] // labels.shape[-3]) for labels in (key, value))
    key, value = (labels.map(lambda own: own.expand(*shape[:-2], *own.shape[-2:])) for labels in (key, value))
    logits = contract(found, query, key)
    logits = merge_sets(found, logits.layers) if isinstance(logits, Crossed) else logits
    if mask is not None:
        logits = step(operation, "add", logits, mask, shape=logits.shape)
    weights = None if logits is None else step(operation, "softmax", logits, -1, shape=logits.shape)
    return None if weights is None else contract(found, weights, value.map(lambda labels: labels.mT))


def _as_activation(found: Discovery, value: Any) -> Activation | None:
    """Label what attention takes: of a parameter, such as queries that are learnt, units stand along the last axis."""
    if isinstance(value, View):
        last = len(value.shape) - 1
        return found.add_table(value, last) if last in value.wide else None
    labelled = lift(found, value)
    return labelled if isinstance(labelled, Activation) else None


def _repeat_heads(value: Activation, times: int) -> Activation:
    """Let several heads of queries, next to each other, share a head of keys or values."""
    return value.map(lambda labels: labels.repeat_interleave(times, -3))


def add_product(operation: Operation) -> Any:
    """A sum with a batch of matrix products; numbers that multiply both let everything pass."""
    added, one, other = operation.args[:3]
    product = step(operation, "bmm", one, other)
    return product if operation.kwargs.get("beta", 1) == 0 else step(operation, "add", added, product)


TAKEN_APART.update({"scaled_dot_product_attention": attend, "baddbmm": add_product})


@rule("einsum")
def sum_by_letters(operation: Operation) -> Any:
    """A sum of products of two, by letters: each stands once in a value, and in the result or in both."""
    pair = PAIR.fullmatch(str(operation.args[0]).replace(" ", ""))
    values = operation.args[1]
    if pair is None or len(values) != 2:
        return None
    letters, out = pair.groups()[:2], pair.group(3)
    sizes = dict(zip("".join(letters), (size for value in values for size in value.shape), strict=True))
    fit = all(tuple(sizes[x] for x in own) == tuple(value.shape) for own, value in zip(letters, values, strict=True))
    once = all(len(set(own)) == len(own) for own in (*letters, out))
    if not fit or not once or not set(letters[0]) ^ set(letters[1]) <= set(out):
        return None
    if any(isinstance(value, View) for value in values):
        return _dense_by_letters(operation, letters, out)
    if not all(isinstance(value, Activation | Tensor) for value in values):
        return None
    batch = [x for x in out if x in letters[0] and x in letters[1]]
    summed = [x for x in letters[0] if x in letters[1] and x not in out]
    outer = [[x for x in own if x not in (*batch, *summed)] for own in letters]
    laid = [
        _lay_out(lift(operation.found, value), [own.index(x) for x in (*batch, *rest, *summed)], len(batch), len(rest))
        for own, value, rest in zip(letters, values, outer, strict=True)
    ]
    result = contract(operation.found, *laid)
    order = [*batch, *outer[0], *outer[1]]
    shape, places = [sizes[x] for x in order], [order.index(x) for x in out]
    return map_sets(result, lambda labels: labels.reshape(shape).permute(*places))


def _lay_out(value: Activation, places: Sequence[int], batch: int, outer: int) -> Activation:
    """Lay axes out as [batch axes, outer, summed]: axes of one kind become one."""
    shape = [value.shape[place] for place in places]
    sizes = [torch.Size(part).numel() for part in (shape[batch : batch + outer], shape[batch + outer :])]
    return value.map(lambda labels: labels.permute(*places).reshape(*shape[:batch], *sizes))


def _dense_by_letters(operation: Operation, letters: Sequence[str], out: str) -> Any:
    """A dense layer along one axis: the parameter has that axis, and the one that takes its place."""
    number = next(number for number, value in enumerate(operation.args[1]) if isinstance(value, View))
    view, x = operation.args[1][number], operation.args[1][1 - number]
    own, others = letters[number], letters[1 - number]
    read, written = [x for x in own if x in others and x not in out], [x for x in own if x in out and x not in others]
    if not isinstance(x, Activation) or len(own) != 2 or len(read) != 1 or len(written) != 1:
        return None
    places = [others.index(letter) for letter in others if letter != read[0]]
    moved = x.map(lambda labels: labels.permute(*places, others.index(read[0])))
    name = "linear" if own == written[0] + read[0] else "matmul"
    order = [*(others[place] for place in places), written[0]]
    sizes = dict(zip(own, view.shape, strict=True))
    result = step(operation, name, moved, view, shape=(*moved.shape[:-1], sizes[written[0]]))
    if result is None:
        return None
    if operation.node in operation.found.producers:
        operation.found.producers[operation.node].channel = out.index(written[0])
    return map_sets(result, lambda labels: labels.permute(*(order.index(letter) for letter in out)))
