"""A module's graph of operations, walked through from the inputs to the output, with labels carried along.

The rules say what an operation does to labels (`hyperframe.targets.tracing.rules.registry`,
`hyperframe.targets.tracing.rules.linear`). One that has no rule freezes what it touches: fewer symmetries, never wrong
ones.
"""

import operator
from typing import Any

import torch
from torch import Tensor, nn

from hyperframe.errors import SpecError, brief
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import Activation
from hyperframe.targets.tracing.rules import (  # noqa: F401  (for their rules)
    comparisons,
    computed_kernels,
    layouts,
    linear,
    lookups,
    normalisation,
    scale_shift,
)
from hyperframe.targets.tracing.rules.computed import TAKEN_APART, Computed, apply, apply_rule, rule_of
from hyperframe.targets.tracing.rules.crossed import Crossed, apply_to_each, merge_arguments
from hyperframe.targets.tracing.rules.products import attention  # noqa: F401  (for its rules)
from hyperframe.targets.tracing.rules.registry import Operation, flat
from hyperframe.targets.tracing.state import Discovery


class Walk:
    """Carries labels through a graph, from the inputs to the output."""

    def __init__(self, found: Discovery, module: nn.Module, program: Any, where: str) -> None:
        self.found, self.where = found, where
        self.graph, self._module = program.graph, program.graph_module
        self.views: dict[str, View] = {}
        self._values: dict[str, Any] = {}
        self._tail: dict[str, FoundLayer] = {}
        self._logits: dict[str, FoundLayer] = {}
        self._blind: dict[str, FoundLayer] = {}
        names = {id(value): key for key, value in module.named_parameters()}
        own = {key: names[id(value)] for key, value in module.named_parameters(remove_duplicate=False)}
        frozen = {key for key, value in module.named_parameters() if not value.requires_grad}
        self._inputs(program, own, frozen)
        self._live = self._reachable(program)
        self._single = frozenset(node.name for node in self.graph.nodes if len(node.users) == 1)

    def _inputs(self, program: Any, own: dict[str, str], constant: set[str]) -> None:
        for entry in program.graph_signature.input_specs:
            name, target = entry.arg.name, entry.target
            if entry.kind.name == "PARAMETER" and own[target] not in constant:
                shape = tuple(program.state_dict[target].shape)
                self.views[name] = View(name=own[target], rank=len(shape), shape=shape, dims=tuple(range(len(shape))))
            elif entry.kind.name == "USER_INPUT":
                self._user_input = name
            else:
                held = program.state_dict if target in program.state_dict else program.constants
                self._values[name] = held[target].detach() if isinstance(held[target], Tensor) else held[target]

    def _reachable(self, program: Any) -> set[str]:
        outputs = [entry for entry in program.graph_signature.output_specs if entry.kind.name == "USER_OUTPUT"]
        self._output = outputs[0].arg.name
        nodes = {node.name: node for node in self.graph.nodes}
        live, waiting = set(), [nodes[self._output]]
        while waiting:
            node = waiting.pop()
            if node.name not in live:
                live.add(node.name)
                waiting += node.all_input_nodes
        self.views = {name: view for name, view in self.views.items() if name in live}
        return live

    @property
    def depends_on_input(self) -> bool:
        """Whether the input is needed for the output."""
        return self._user_input in self._live

    def go(self) -> Activation:
        """Walk from the inputs to the output, and return the labels of the output."""
        for node in self.graph.nodes:
            if node.name not in self._live:
                continue
            if node.op == "placeholder":
                if node.name in self.views:
                    self._values[node.name] = self.views[node.name]
                elif node.name == self._user_input:
                    self._values[node.name] = self.found.opaque(node.meta["val"].shape)
            elif node.op == "get_attr":  # the graph of a branch or a loop
                self._values[node.name] = operator.attrgetter(node.target)(self._module)
            elif node.op == "call_function":
                self._values[node.name] = self._result(node)
        result: Activation | Crossed = self._values[self._output]
        for layer in result.layers[1:] if isinstance(result, Crossed) else ():
            self.found.freeze(layer)
        return result.layers[0] if isinstance(result, Crossed) else result

    def _result(self, node: Any) -> Any:
        args = torch.fx.node.map_arg(node.args, lambda source: self._values[source.name])
        kwargs = dict(torch.fx.node.map_arg(node.kwargs, lambda source: self._values[source.name]))
        if node.target is operator.getitem:
            self._follow(node, node.args[0])
            return args[0][args[1]]
        if not any(isinstance(value, CARRIED) for value in flat([args, kwargs.values()])):
            return node.target(*args, **kwargs)
        operation = self._operation(node, args, kwargs)
        result = self._apply(operation)
        self._follow(node, node.all_input_nodes[0] if node.all_input_nodes else None, operation.name)
        return result

    def _operation(self, node: Any, args: Any, kwargs: dict[str, Any]) -> Operation:
        value = node.meta["val"]
        shape = [_shape(part) for part in value] if isinstance(value, tuple | list) else _shape(value)
        name = getattr(getattr(node.target, "overloadpacket", node.target), "__name__", str(node.target))
        if not all(isinstance(size, int) for size in flat([shape])):
            why = f"how large what '{name}' gives is depends on values that it computes"
            raise SpecError(f"{self.where}: it cannot be traced: {why}; see docs/target.md for a written spec")
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return Operation(
            found=self.found,
            name=name,
            function=node.target,
            args=tuple(args),
            kwargs=kwargs,
            shape=shape,
            floating=value.is_floating_point() if isinstance(value, Tensor) else not isinstance(value, WHOLE),
            node=node.name,
            place=stack[-1][0] if stack else "",
            sources=tuple(source.name if isinstance(source, torch.fx.Node) else None for source in node.args),
            single=self._single,
            used=frozenset(user.args[1] for user in node.users if user.target is operator.getitem),
        )

    def _apply(self, operation: Operation) -> Any:
        self.found.at = operation.name, operation.place
        try:
            crossed = any(isinstance(value, Crossed) for value in operation.inputs)
            result = self._apply_to_crossed(operation) if crossed else None
            result = apply(operation) if result is None else result
            why = "it has no rule" if rule_of(operation) is None else "its rule does not know such arguments"
        except TOLERATED as error:
            result, why = None, f"its rule fails ({type(error).__name__}: {brief(error)})"
        return self._give_up(operation, why) if result is None else result

    def _apply_to_crossed(self, operation: Operation) -> Any:
        """Apply an operation to units along several axes: kernels know how, others take them in turn."""
        if any(isinstance(value, Computed) for value in operation.inputs) or operation.name in TAKEN_APART:
            return apply(merge_arguments(operation))
        if rule_of(operation) in KERNELS:
            return apply_rule(operation)
        if operation.has_parameters or "norm" in operation.name:
            return apply(merge_arguments(operation))
        return apply_to_each(operation, apply_rule)

    def _give_up(self, operation: Operation, why: str) -> Any:
        """Freeze all that goes into an operation that no rule knows; of what comes out nothing is known."""
        found, parameters = self.found, self.found.parameters
        layers = [value.layers if isinstance(value, Crossed) else [value] for value in operation.inputs]
        values = [layer for some in layers for layer in some]
        sources = [view for value in values if isinstance(value, Computed) for view in value.sources]
        if sources:
            names = ", ".join(f"'{name}'" for name in dict.fromkeys(view.name for view in sources))
            found.report_here(f"it has no rule for what is computed from {names}")
        elif any(isinstance(value, View) or (isinstance(value, Activation) and value.labelled) for value in values):
            found.report_here(why)
        computed = not any(isinstance(value, Activation) for value in values)
        for value in values:
            if isinstance(value, Activation):
                found.freeze(value)
            elif isinstance(value, View) and computed:
                sources.append(value)
            elif isinstance(value, View):
                parameters.add_unlabelled(value)
        for view in sources:
            parameters.freeze(view.name)
        shapes = operation.shape if operation.several else [operation.shape]
        results: list[Any] = [found.opaque(shape) for shape in shapes]
        if computed:
            results = [Computed((), result, tuple(sources)) for result in results]
        return tuple(results) if operation.several else results[0]

    def _follow(self, node: Any, source: Any, name: str = "") -> None:
        """Note which layer a result comes from, and what has acted on it since."""
        found = self.found
        if node.name in found.producers:
            self._tail[node.name] = found.producers[node.name]
            self._logits[node.name] = found.producers[node.name]
        elif source is not None and source.name in self._tail:
            self._tail[node.name] = self._tail[source.name]
            if name:
                self._tail[source.name].ops.append(name)
            elif source.name in found.producers:  # one of several results
                found.producers[node.name] = found.producers[source.name]
            by_number = name in ("mul", "div", "add", "sub") and isinstance(node.args[1], int | float)
            if (not name or name in PASSING or by_number) and source.name in self._logits:
                self._logits[node.name] = self._logits[source.name]
        if name in BLIND and source.name in self._logits and self._over_all(node, source):
            self._blind[node.name] = self._logits[source.name]
        moving = [one.name for one in node.all_input_nodes if not isinstance(self._values[one.name], Tensor)]
        makers = [self._blind[one] for one in moving if one in self._blind]
        if makers and len(makers) == len(moving) and all(maker is makers[0] for maker in makers):
            self._blind[node.name] = makers[0]

    def _over_all(self, node: Any, source: Any) -> bool:
        """Whether a softmax is over the filters of the logits' layer, in their order."""
        value, writes = self._values[source.name], self._logits[source.name].writes
        if not isinstance(value, Activation):
            return False
        rows = value.unit.movedim(node.args[1] if len(node.args) > 1 else node.kwargs["dim"], -1)
        return writes is not None and rows.shape[-1] == len(writes) and bool((rows == writes).all())

    def logits(self, result: Activation) -> FoundLayer | None:
        """Return the last layer, if a common shift of its outputs is one of the network's or changes nothing at all."""
        layer = self._blind.get(self._output, self._logits.get(self._output))
        if layer is not None and layer.computed:
            why = "a common shift of its filters is none of the parameters that they are computed from"
            self.found.report("logits", layer.name, why)
            return None
        if (
            layer is None
            or layer not in self.found.parameters.layers
            or layer.writes is None
            or layer.roles - {"kernel", "bias"}
            or layer.norm != "none"
        ):
            return None
        if layer.groups > 1 or any(
            param.parameter in self.found.parameters.reused or param.rows for param in layer.params
        ):
            return None
        if self._output in self._blind:
            return layer if layer.filters == result.shape[1] else None
        filters = result.unit[0].movedim(0, -1)  # the same at each place
        same = filters.shape[-1] == len(layer.writes) and bool((filters == layer.writes).all())
        return layer if same else None


def _shape(value: Any) -> torch.Size:
    """Return the shape of one of an operation's results, which may be a number, as of `item()`."""
    return value.shape if isinstance(value, Tensor) else torch.Size()


CARRIED = Activation | Computed | Crossed | View
"""Arguments of operations that are traced; all others are known numbers."""

WHOLE = torch.SymInt | torch.SymBool
"""Results of operations that are numbers, but no floating-point ones."""

PASSING = frozenset(
    {
        *("view", "_unsafe_view", "reshape", "squeeze", "flatten", "clone", "contiguous", "alias", "detach"),
        *("neg", "dropout"),
        *("mean", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    }
)
"""Operations that let a common shift of the logits pass."""

BLIND = frozenset({"softmax", "_softmax", "log_softmax", "_log_softmax"})
"""Operations that do not see a common shift of the logits, nor does anything behind them."""

TOLERATED: tuple[type[Exception], ...] = (Exception,)
"""Exceptions that a rule may raise: they cost symmetries, with a report, and not the training. Tests tolerate none."""

KERNELS = frozenset({linear.convolution, linear.dense, linear.product})
"""Rules that take activations with units along several axes."""
