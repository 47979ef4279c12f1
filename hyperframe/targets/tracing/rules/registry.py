"""Rules: how operations change labels.

A rule takes an operation with its arguments, in which activations are `Activation`, parameters `View` and known numbers
tensors. It returns the labels of the result, or None where it does not know this case. The modules that hold rules
register them here.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.state import Discovery

Rule = Callable[["Operation"], Any]
RULES: dict[str, Rule] = {}
"""Rules by the operation's name, such as "relu" for aten.relu.default, or "max.other" for one overload alone."""


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
        floating: whether the result is floating-point numbers.
        node: the operation's own name in the graph.
        place: the module it is in.
        sources: for each positional argument the node it comes from, where it is an activation.
        single: the nodes whose result nothing but this operation uses.
        used: where it has several results, the numbers of those that are used.
    """

    found: Discovery
    name: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Any
    floating: bool
    node: str
    place: str
    sources: tuple[str | None, ...]
    single: frozenset[str]
    used: frozenset[int]

    def get(self, number: int, name: str, default: Any = None) -> Any:
        """Return an argument by its position or its name."""
        return self.args[number] if len(self.args) > number else self.kwargs.get(name, default)

    @property
    def inputs(self) -> list[Any]:
        """All arguments, those within lists as well."""
        return list(flat([*self.args, *self.kwargs.values()]))

    @property
    def has_parameters(self) -> bool:
        """Whether a parameter is among the arguments."""
        return any(isinstance(value, View) for value in self.inputs)

    @property
    def several(self) -> bool:
        """Whether it has several results."""
        return isinstance(self.shape, tuple | list) and not isinstance(self.shape, torch.Size)

    @property
    def first_shape(self) -> torch.Size:
        """The shape of its result, or of the first of several."""
        return torch.Size(self.shape[0] if self.several else self.shape)

    def map(self, function: Callable[[Any], Any], kinds: Any) -> "Operation":
        """Replace all arguments of some types, those within lists as well, by a function of them."""
        args, kwargs = tree_map_only(kinds, function, (self.args, self.kwargs))
        return attrs.evolve(self, args=args, kwargs=kwargs)

    def layer_before(self, number: int) -> FoundLayer | None:
        """Return the layer whose outputs are this argument, where nothing else sees them."""
        name = self.sources[number]
        return self.found.producers.get(name) if name is not None and name in self.single else None

    def note_layer(self, layer: FoundLayer, unit: Tensor, channel: int) -> None:
        """Note that the result is a layer's outputs, whose units stand along an axis."""
        layer.writes, layer.channel = unit, channel
        self.found.producers[self.node] = layer


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def lift(found: Discovery, value: Any) -> Any:
    """Label what is no activation: known numbers, and parameters, of which nothing is known then."""
    if isinstance(value, list | tuple):
        return [lift(found, item) for item in value]
    if isinstance(value, Tensor):
        return found.constant(value)
    if isinstance(value, View):
        found.report("layout", value.name, "a parameter is put among activations")
        found.parameters.add_unlabelled(value)
        return found.opaque(value.shape)
    return value


def flat(values: Iterable[Any]) -> Iterator[Any]:
    """Iterate over arguments, those within lists as well.

    Example:
        >>> list(flat([1, [2, (3, "four")]]))
        [1, 2, 3, 'four']
    """
    for value in values:
        if isinstance(value, Iterable) and not isinstance(value, str | Tensor):
            yield from flat(value)
        else:
            yield value
