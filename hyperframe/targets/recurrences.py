"""Recurrent layers by their equations, cell by cell: torch's own run no batch of networks, and show no operations."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

State = tuple[Tensor, ...]
"""A cell's state: the hidden units h, and the memory c where it has one."""

Cell = Callable[[Tensor, State, Sequence[Tensor | None]], State]
"""Of an input [examples, channels], a state and weights (w_ih, w_hh, b_ih, b_hh) it makes the next state."""


class AsEquations(TorchFunctionMode):
    """Within it nn.LSTM, nn.GRU, nn.RNN and their cells are made of products and functions of each entry.

    Packed sequences are refused: how many steps there are would depend on the data.

    Example:
        >>> net, x = nn.GRU(3, 2, bidirectional=True), torch.randn(5, 4, 3)
        >>> with AsEquations():
        ...     outputs, last = net(x)
        >>> torch.allclose(outputs, net(x)[0], atol=1e-6), torch.allclose(last, net(x)[1], atol=1e-6)
        (True, True)
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what was called, or its equations in its place."""
        return EQUATIONS.get(func, func)(*args, **(kwargs or {}))


def has_recurrences(module: nn.Module) -> bool:
    """Whether a module has parts that `AsEquations` is for."""
    return any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in module.modules())


def lstm_cell(x: Tensor, state: State, weights: Sequence[Tensor | None]) -> State:
    """Return h' and c': c' = σ(f)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c'), of i, f, g, o = W x + U h + b."""
    read, forget, memory, output = _affine(x, weights[0::2], 4, state[0], weights[1::2])
    cell = forget.sigmoid() * state[1] + read.sigmoid() * memory.tanh()
    return output.sigmoid() * cell.tanh(), cell


def gru_cell(x: Tensor, state: State, weights: Sequence[Tensor | None]) -> State:
    """Return h' = (1 − z)·n + z·h with z = σ(…), r = σ(…), n = tanh(W x + b + r·(U h + b'))."""
    hidden = state[0]
    own = nn.functional.linear(x, _given(weights[0]), weights[2]).chunk(3, -1)
    back = nn.functional.linear(hidden, _given(weights[1]), weights[3]).chunk(3, -1)
    reset, update = (own[0] + back[0]).sigmoid(), (own[1] + back[1]).sigmoid()
    new = (own[2] + reset * back[2]).tanh()
    return (new + update * (hidden - new),)


def _plain_cell(function: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, state: State, weights: Sequence[Tensor | None]) -> State:
        """Return h' = f(W x + U h + b)."""
        return (function(*_affine(x, weights[0::2], 1, state[0], weights[1::2])),)

    return cell


def _given(weight: Tensor | None) -> Tensor:
    assert weight is not None
    return weight


def _affine(
    x: Tensor, own: Sequence[Tensor | None], parts: int, hidden: Tensor, back: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    """W x + b + U h + b', in parts."""
    linear = nn.functional.linear
    return (linear(x, _given(own[0]), own[1]) + linear(hidden, _given(back[0]), back[1])).chunk(parts, -1)


def _layers(cell: Cell, states: int) -> Callable[..., Any]:
    """Make the function of a module of layers: of inputs, states, weights and options as torch's own has them."""

    def run(
        x: Tensor,
        first: Any,
        weights: Any,
        biases: bool,
        layers: int,
        dropout: float,
        training: bool,
        both_ways: bool,
        batch_first: bool,
    ) -> Any:
        steps = list(x.unbind(1 if batch_first else 0))
        first = first if isinstance(first, tuple | list) else (first,)
        ways = 2 if both_ways else 1
        size = len(weights) // (layers * ways)
        last: list[State] = []
        for layer in range(layers):
            outputs = []
            for way in range(ways):
                number = layer * ways + way
                given = weights[number * size : (number + 1) * size]
                start = tuple(state[number] for state in first)
                seen, state = _over_time(cell, steps[::-1] if way else steps, start, given, biases)
                outputs.append(seen[::-1] if way else seen)
                last.append(state)
            steps = [torch.cat(parts, -1) if ways > 1 else parts[0] for parts in zip(*outputs, strict=True)]
            if dropout and training and layer < layers - 1:
                steps = list(nn.functional.dropout(torch.stack(steps), dropout, True).unbind(0))
        ends = tuple(torch.stack([state[number] for state in last]) for number in range(states))
        return (torch.stack(steps, 1 if batch_first else 0), *ends)

    return run


def _over_time(
    cell: Cell, steps: Sequence[Tensor], state: State, given: Sequence[Tensor], biases: bool
) -> tuple[list[Tensor], State]:
    """Run a cell over steps: of each its hidden units, and the last state; with a projection these are its products."""
    weights = (*given[:4],) if biases else (*given[:2], None, None)
    projection = given[-1] if len(given) in (3, 5) else None
    seen = []
    for step in steps:
        state = cell(step, state, weights)
        if projection is not None:
            state = (nn.functional.linear(state[0], projection), *state[1:])
        seen.append(state[0])
    return seen, state


def _single(cell: Cell) -> Callable[..., Any]:
    """Make the function of a cell's module, as torch's own has its arguments."""

    def run(x: Tensor, state: Any, *weights: Tensor | None) -> Any:
        given = tuple(state) if isinstance(state, tuple | list) else (state,)
        result = cell(x, given, (*weights, None, None)[:4])
        return result if len(result) > 1 else result[0]

    return run


def _refuse_packed(*_: Any, **__: Any) -> Any:
    raise TypeError(
        "sequences that are packed cannot be followed: pad them, and read the states at their ends by gather"
    )


EQUATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.lstm: _layers(lstm_cell, 2),
    torch.gru: _layers(gru_cell, 1),
    torch.rnn_tanh: _layers(_plain_cell(torch.tanh), 1),
    torch.rnn_relu: _layers(_plain_cell(torch.relu), 1),
    torch.lstm_cell: _single(lstm_cell),
    torch.gru_cell: _single(gru_cell),
    torch.rnn_tanh_cell: _single(_plain_cell(torch.tanh)),
    torch.rnn_relu_cell: _single(_plain_cell(torch.relu)),
    torch._pack_padded_sequence: _refuse_packed,
}
