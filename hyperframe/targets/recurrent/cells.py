"""One step of recurrent networks: from what inputs and the state before give the gates, to the state after it.

A state is a tuple of tensors [..., hidden], the first of which is what the step gives out; None stands for zeros.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]

Step = Callable[[Tensor, Tensor, State | None], State]
"""Of what inputs and what the state give the gates, [..., gates · hidden] each, and the state: the next state."""


def lstm_step(given: Tensor, recalled: Tensor, state: State | None) -> State:
    """Step of an LSTM: c ← σ(f) c + σ(i) tanh(g), h ← σ(o) tanh(c), with gates in the order i, f, g, o.

    References: S. Hochreiter, J. Schmidhuber (1997), Long Short-Term Memory.

    Example:
        >>> hidden, cell = lstm_step(torch.zeros(2, 12), torch.zeros(12), None)
        >>> hidden.shape, float(cell.abs().max())
        (torch.Size([2, 3]), 0.0)
    """
    i, f, g, o = (given + recalled).chunk(4, -1)
    cell = i.sigmoid() * g.tanh()
    if state is not None:
        cell = f.sigmoid() * state[1] + cell
    return o.sigmoid() * cell.tanh(), cell


def gru_step(given: Tensor, recalled: Tensor, state: State | None) -> State:
    """Step of a GRU: h ← (1 − σ(z)) tanh(n + σ(r) n_h) + σ(z) h, with gates in the order r, z, n.

    n_h is what the state gives n, its bias included.

    References: K. Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder.
    """
    r, z, n = given.chunk(3, -1)
    r_h, z_h, n_h = recalled.chunk(3, -1)
    keep = (z + z_h).sigmoid()
    new = (1 - keep) * (n + (r + r_h).sigmoid() * n_h).tanh()
    return (new if state is None else new + keep * state[0],)


def tanh_step(given: Tensor, recalled: Tensor, state: State | None) -> State:
    """Step of a plain recurrent network: the tanh of what inputs and state give."""
    return (torch.tanh(given + recalled),)


def relu_step(given: Tensor, recalled: Tensor, state: State | None) -> State:
    """Step of a plain recurrent network with ReLU in place of tanh."""
    return (F.relu(given + recalled),)
