"""Recurrent modules that call a cell for one step after the other.

torch runs `nn.LSTM` and its kin by one operation for all steps, which has no form for several networks and whose inside
tracing does not see. Parameters keep their names, so state_dicts stay as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe.targets.recurrent.cells import State, Step, gru_step, lstm_step, relu_step, tanh_step

STEPS: dict[str, Step] = {"LSTM": lstm_step, "GRU": gru_step, "RNN_TANH": tanh_step, "RNN_RELU": relu_step}
"""The step of each `nn.RNNBase.mode`."""


def unroll(module: nn.Module) -> None:
    """Have the recurrent parts of a module call their cell for one step after the other, in place.

    A class of the user's own, also one that is made from torch's, is left as it is.

    Example:
        >>> module = nn.LSTM(3, 4, batch_first=True)
        >>> x = torch.rand(2, 5, 3)
        >>> before, _ = module(x)
        >>> unroll(module)
        >>> torch.allclose(module(x)[0], before, atol=1e-6)
        True
    """
    for part in module.modules():
        part.__class__ = UNROLLED.get(type(part), type(part))


def roll_up(module: nn.Module) -> None:
    """Make the recurrent parts of a module torch's own again, in place: undoes `unroll`.

    Example:
        >>> module = nn.GRU(3, 4)
        >>> unroll(module)
        >>> roll_up(module)
        >>> type(module).__name__
        'GRU'
    """
    torchs = {ours: kind for kind, ours in UNROLLED.items()}
    for part in module.modules():
        part.__class__ = torchs.get(type(part), type(part))


class _Unrolled(nn.RNNBase):
    """The forward of `nn.LSTM`, `nn.GRU` and `nn.RNN`: several layers, each in one or two directions."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if not isinstance(input, Tensor):
            raise TypeError(f"{self._get_name()} takes a tensor here; pad sequences, instead of packing them")
        time = 1 if self.batch_first and input.dim() == 3 else 0
        given = (hx,) if isinstance(hx, Tensor) else hx
        last: list[State] = []
        x = input
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 2 if self.bidirectional else 1]:
                first = None if given is None else tuple(part[len(last)] for part in given)
                states = self._states(x, time, suffix, first)
                last.append(states[-1])
                ordered = states[::-1] if suffix.endswith("_reverse") else states
                outputs.append(torch.stack([state[0] for state in ordered], time))
            x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        return x, ends if self.mode == "LSTM" else ends[0]

    def _states(self, x: Tensor, time: int, suffix: str, state: State | None) -> Sequence[State]:
        """Return the states after each step of one layer in one direction, in the order in which they are gone."""
        projection = getattr(self, f"weight_hr{suffix}", None)
        given = F.linear(x, getattr(self, f"weight_ih{suffix}"), getattr(self, f"bias_ih{suffix}", None)).unbind(time)
        states: list[State] = []
        for one in reversed(given) if suffix.endswith("_reverse") else given:
            state = STEPS[self.mode](one, _recur(self, suffix, state), state)
            if projection is not None:
                state = (F.linear(state[0], projection), *state[1:])
            states.append(state)
        return states


class _LSTM(_Unrolled, nn.LSTM):
    """An `nn.LSTM`."""


class _GRU(_Unrolled, nn.GRU):
    """An `nn.GRU`."""


class _RNN(_Unrolled, nn.RNN):
    """An `nn.RNN`."""


class _LSTMCell(nn.LSTMCell):
    """An `nn.LSTMCell`; torch runs the other cells for several networks as they are."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return lstm_step(F.linear(input, self.weight_ih, self.bias_ih), _recur(self, "", hx), hx)


UNROLLED: dict[type[nn.Module], type[nn.Module]] = {
    nn.LSTM: _LSTM,
    nn.GRU: _GRU,
    nn.RNN: _RNN,
    nn.LSTMCell: _LSTMCell,
}
"""torch's modules, and those that call a cell for one step after the other."""


def _recur(module: nn.Module, suffix: str, state: State | None) -> Tensor:
    """Return what the weights of a layer make of what the step before gave out; the first step has zeros instead.

    They are multiplied too, so that all steps use weights in one way, which tracing asks for.
    """
    weight: Tensor = getattr(module, f"weight_hh{suffix}")
    bias: Tensor | None = getattr(module, f"bias_hh{suffix}", None)
    hidden = weight.new_zeros(weight.shape[1]) if state is None else state[0]
    return F.linear(hidden, weight, bias)
