"""The target `lstm_classifier`: an LSTM that reads a sequence, and a dense layer on its last state; traced."""

import attrs
from torch import Tensor, nn

from hyperframe import Component, hookimpl, option, trace
from hyperframe.targets import Traced


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (32, 1), "[steps, features] of a sequence; null: the task's", minimum=1, of_task="input_shape"
    )
    outputs: int = option(4, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")
    hidden: int = option(24, "units of each layer", minimum=1)
    layers: int = option(1, "number of layers, each of which reads the one before", minimum=1)

    def __attrs_post_init__(self) -> None:
        if len(self.input_shape) != 2:
            raise ValueError(f"input_shape: expected [steps, features], but got {list(self.input_shape)}")


class Classifier(nn.Module):
    """An LSTM and a dense layer.

    References: S. Hochreiter, J. Schmidhuber (1997), Long Short-Term Memory.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.lstm = nn.LSTM(options.input_shape[1], options.hidden, options.layers, batch_first=True)
        self.out = nn.Linear(options.hidden, options.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs [examples, outputs] of sequences [examples, steps, features]."""
        states, _ = self.lstm(x)
        result: Tensor = self.out(states[:, -1])
        return result


def build(options: Options) -> Traced:
    """Build the network; with the options as they are it has 2,692 weights."""
    return trace(Classifier(options), options.input_shape, "lstm_classifier")


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="lstm_classifier",
            factory=build,
            options=Options,
            summary="an LSTM that reads a sequence, and a dense layer; 2,692 weights for 32 steps of a number",
        )
    ]
