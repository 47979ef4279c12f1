"""What looking up rows of a table does to labels: an embedding is a dense layer of inputs of which one is 1."""

import attrs
from torch import Tensor

from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import Activation
from hyperframe.targets.tracing.rules.registry import Operation, rule

EMBEDDING_BAG = {0: "sum", 1: "mean", 2: "max"}


@rule("embedding")
def looked_up(operation: Operation) -> View | Activation | None:
    """Rows of a table: its columns are filters, its rows what they read. All rows in order are the table itself."""
    table, index = operation.args[:2]
    if not isinstance(table, View) or not isinstance(index, Tensor | Activation):
        return None
    if isinstance(index, Tensor) and table.rows is None and _all_rows(index, table):
        return attrs.evolve(table, shape=tuple(operation.shape), dims=(*(None,) * (index.dim() - 1), *table.dims))
    return _rows(operation, table, index)


def _all_rows(index: Tensor, table: View) -> bool:
    along_one_axis = index.numel() == index.shape[-1:].numel()
    return along_one_axis and index.flatten().tolist() == list(range(table.shape[0]))


@rule("embedding_bag")
def bagged(operation: Operation) -> tuple[Activation, None, None, None] | None:
    """Sums, means or maxima of rows: as rows, but that a maximum lets no sign pass."""
    table, index, weights = operation.args[0], operation.args[1], operation.get(6, "per_sample_weights")
    others = [index, operation.args[2]]
    if not isinstance(table, View) or weights is not None or operation.used - {0}:
        return None
    if not all(isinstance(value, Tensor | Activation) for value in others):
        return None
    first = attrs.evolve(operation, shape=operation.shape[0])
    result = _rows(first, table, *others)
    if result is not None and EMBEDDING_BAG.get(operation.get(4, "mode", 0)) not in ("sum", "mean"):
        operation.found.signs.freeze(result.sign)
    return None if result is None else (result, None, None, None)


def _rows(operation: Operation, table: View, *chosen: Tensor | Activation) -> Activation | None:
    """Rows that are chosen by numbers: what these are computed from must not change, since the row is another then."""
    if table.rows is not None or len(table.shape) != 2 or table.dims != (0, 1):
        return None
    found, columns, last = operation.found, table.shape[1], len(operation.shape) - 1
    for value in chosen:
        if isinstance(value, Activation):
            found.lose(value, "rows are looked up by it")
    unit, scale, sign = found.units.new(columns), found.scales.new(columns), found.signs.new(columns)
    layer = FoundLayer(name=table.owner, filters=columns, ops=["embedding"])
    found.claim(layer, "kernel", table, "i o")
    found.label(table, 1, 1, unit, scale, sign)
    layer.writes, layer.channel = unit, last
    found.producers[operation.node] = layer
    return found.laid_out(operation.shape, last, unit, scale, sign)
