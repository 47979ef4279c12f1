"""Rules of looking up rows of a table: an embedding is a dense layer of inputs of which one is 1."""

import attrs
from torch import Tensor

from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import Activation
from hyperframe.targets.tracing.rules.registry import Operation, rule

EMBEDDING_BAG = {0: "sum", 1: "mean", 2: "max"}


@rule("embedding")
def embed(operation: Operation) -> View | Activation | None:
    """Rows of a table: its columns are filters, its rows what they read. All rows in order are the table itself."""
    table, index = operation.args[:2]
    if not isinstance(table, View) or not isinstance(index, Tensor | Activation):
        return None
    if isinstance(index, Tensor) and table.rows is None and _takes_all(index, table):
        return attrs.evolve(table, shape=tuple(operation.shape), dims=(*(None,) * (index.dim() - 1), *table.dims))
    return _look_up(operation, table, index)


def _takes_all(index: Tensor, table: View) -> bool:
    """Whether an index is all rows of a table in order, along one axis."""
    along_one_axis = index.numel() == index.shape[-1:].numel()
    return along_one_axis and index.flatten().tolist() == list(range(table.shape[0]))


@rule("embedding_bag")
def embed_bag(operation: Operation) -> tuple[Activation, None, None, None] | None:
    """Sums, means or maxima of rows: as rows, but that a maximum lets no sign pass."""
    table, index, weights = operation.args[0], operation.args[1], operation.get(6, "per_sample_weights")
    others = [index, operation.args[2]]
    if not isinstance(table, View) or weights is not None or operation.used - {0}:
        return None
    if not all(isinstance(value, Tensor | Activation) for value in others):
        return None
    result = _look_up(operation, table, *others)
    if result is not None and EMBEDDING_BAG.get(operation.get(4, "mode", 0)) not in ("sum", "mean"):
        operation.found.signs.freeze(result.sign)
    return None if result is None else (result, None, None, None)


def _look_up(operation: Operation, table: View, *chosen: Tensor | Activation) -> Activation | None:
    """Rows that are chosen by numbers: what these are computed from must not change, since the row is another then."""
    if table.rows is not None or len(table.shape) != 2 or table.dims != (0, 1):
        return None
    found, columns, shape = operation.found, table.shape[1], operation.first_shape
    for value in chosen:
        if isinstance(value, Activation):
            found.lose(value, "rows are looked up by it")
    written = found.new_labels(found.units.new(columns))
    layer = FoundLayer(name=table.owner, filters=columns, ops=["embedding"])
    found.parameters.claim(layer, "kernel", table, "i o")
    found.parameters.label(table, 1, 1, written)
    operation.note_layer(layer, written.unit, len(shape) - 1)
    return found.lay_out(shape, len(shape) - 1, written)
