"""Drawn networks: weights and statistics, run together or taken out as ordinary modules."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from hyperframe.errors import DivergedError, MemoryShortageError, notice
from hyperframe.networks.conformal import Conformal, calibrate
from hyperframe.networks.generator import Generator, generate_in_parts, too_many
from hyperframe.networks.target import Target
from hyperframe.runtime.memory import if_it_fits, missing_memory, shortage_as
from hyperframe.runtime.progress import quantity, tell
from hyperframe.runtime.threads import in_order
from hyperframe.targets.notebook import html_table, outputs_in_words
from hyperframe.targets.weights import batch_size, slice_weights
from hyperframe.tasks.input_statistics import TrainedInputs
from hyperframe.tasks.own_data.channels import laid_out
from hyperframe.tasks.own_data.tensors import as_inputs, check_finite
from hyperframe.tasks.structured.named_outputs import NameOutputs
from hyperframe.types import Statistics, Task, Weights

EXAMPLES_AT_ONCE = {"cpu": 250, "cuda": 1000}
"""Examples that drawn networks run on at a time."""

PROBED = 2
"""Inputs on which networks are tried out before they are given away."""

SUMMARISED_AT_ONCE = 1 << 24
"""Numbers, of all networks' predictions, that are held at a time."""


class Networks:
    """A batch of networks of one target.

    Attributes:
        target: the architecture.
        task: what the outputs mean.
        weights: for each layer [networks, filters, filter_size].
        statistics: for each buffer [networks, *shape]; empty for a target without buffers.
        origin: where they come from, for messages.
        trained_inputs: what the inputs were like that they were trained on, where that is known.
    """

    trained_inputs: TrainedInputs | None = None

    def __init__(
        self,
        target: Target,
        task: Task,
        weights: Weights,
        statistics: Statistics | None = None,
        origin: str = "drawn networks",
    ) -> None:
        self.target = target
        self.task = task
        self.weights = weights
        self.statistics: Statistics = statistics or {}
        self.origin = origin
        examples = EXAMPLES_AT_ONCE[next(iter(weights.values())).device.type]
        self._at_once = target.networks_at_once(examples), examples

    def __repr__(self) -> str:
        spec = self.target.spec
        return f"<Networks: {len(self)} of target {spec.name}, {spec.num_weights:,} weights each; {self.origin}>"

    def _repr_html_(self) -> str:
        spec, first = self.target.spec, next(iter(self.weights.values()))
        rows = [
            ("target", f"{spec.name}: inputs {list(spec.input_shape)}, {outputs_in_words(*spec.output_shape)}"),
            ("task", self.task.name),
            ("weights", f"{spec.num_weights:,} in each network, {first.dtype} on {first.device}"),
            ("statistics", ", ".join(self.statistics) or "none"),
            ("origin", self.origin),
        ]
        return html_table(quantity(len(self), "network"), rows)

    def __len__(self) -> int:
        return batch_size(self.weights)

    @overload
    def __getitem__(self, index: slice) -> "Networks": ...

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...

    def __getitem__(self, index: int | slice) -> "nn.Module | Networks":
        """Network number `index` as an ordinary module of its own, in evaluation mode; of a slice, these networks.

        Of a task with several heads the module gives a mapping of outputs by the heads' names.

        Raises:
            IndexError: there is no such network.
        """
        if isinstance(index, slice):
            return self._some(index)
        module = self.target.network(self.weights, self._checked(index), self.statistics)
        if self.task.layout is not None:
            module.register_forward_hook(NameOutputs(self.task.layout))
        return module

    def _some(self, numbers: slice) -> "Networks":
        chosen = torch.tensor(range(len(self))[numbers], dtype=torch.long)
        if not len(chosen):
            raise IndexError(f"networks {numbers.start}:{numbers.stop}:{numbers.step} of {len(self)} are none")
        chosen = chosen.to(next(iter(self.weights.values())).device)
        some = copy.copy(self)
        some.weights, some.statistics = slice_weights(self.weights, chosen), slice_weights(self.statistics, chosen)
        return some

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[index] for index in range(len(self)))

    def state_dict(self, index: int) -> dict[str, Tensor]:
        """The parameters and statistics of one network, as a state_dict of the target's module."""
        return self.target.state_dict(self.weights, self._checked(index), self.statistics)

    def _checked(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"network {index} of {len(self)}")
        return index % len(self)

    def check_weights(self) -> None:
        """Check that weights and statistics are finite numbers; waits for the device.

        Raises:
            DivergedError: those of a network are not.
        """
        odd = self._none()
        for value in (*self.weights.values(), *self.statistics.values()):
            odd |= ~value.isfinite().reshape(len(value), -1).all(1)
        self._refuse(odd, "weights")

    def check_finite(self) -> None:
        """Check that weights, statistics, and outputs on two random inputs are finite numbers.

        Raises:
            DivergedError: those of a network are not.
        """
        self.check_weights()
        rng = torch.Generator().manual_seed(0)
        for _ in self.chunks(self.target.tried_on.draw(PROBED, rng)):
            pass

    def _none(self) -> Tensor:
        """A mark for each network, not set."""
        return torch.zeros(len(self), dtype=torch.bool, device=next(iter(self.weights.values())).device)

    def _refuse(self, odd: Tensor, what: str) -> None:
        """Raise where networks are marked."""
        numbers: list[int] = odd.nonzero().flatten().tolist()
        if numbers:
            listed = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
            raise DivergedError(
                f"{self.origin}: {what} of {len(numbers):,} of {quantity(len(self), 'network')} (number {listed}) are "
                "not finite numbers; the training has diverged, or the file is damaged. Take another checkpoint or "
                "file, or train anew with a lower trainer.rate"
            )

    @torch.no_grad()
    def chunks(self, x: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Run all networks on the same inputs [examples, *input_shape], some networks and some examples at a time.

        Where memory does not suffice for a chunk it is halved, and a warning says so.

        Yields:
            The first network, the first example and the outputs [networks, examples, *outputs] of each chunk.

        Raises:
            DivergedError: in the end, where outputs are not finite numbers.
        """
        first_layer = next(iter(self.weights.values()))
        device, dtype = first_layer.device, first_layer.dtype
        first_example, odd = 0, self._none()
        while first_example < len(x):
            networks, examples = self._at_once
            inputs = x[first_example : first_example + examples].to(device, dtype)
            rows = [slice(first, min(first + networks, len(self))) for first in range(0, len(self), networks)]
            run = partial(self._outputs, inputs=inputs, first_example=first_example)
            with closing(in_order(run, rows, self._workers(len(rows), len(inputs)))) as found:
                for place, item, outputs in chain.from_iterable(found):
                    odd[place : place + len(outputs)] |= ~outputs.isfinite().flatten(1).all(1)
                    yield place, item, outputs
            first_example += examples
        self._refuse(odd, "outputs")

    def _workers(self, chunks: int, examples: int) -> int:
        """How many chunks run at a time: on a CPU in several threads, unless a trunk would run in each of them."""
        alone = chunks == 1 or self.target.trunk.whole or not self.target.runs_in_threads(examples)
        return 1 if alone else min(chunks, torch.get_num_threads())

    def _outputs(self, rows: slice, inputs: Tensor, first_example: int) -> list[tuple[int, int, Tensor]]:
        """Run some networks on some examples, in halves where memory does not suffice."""
        statistics = {name: value[rows] for name, value in self.statistics.items()}
        weights = slice_weights(self.weights, rows)
        run = partial(self.target.forward, weights, inputs, shared=True, statistics=statistics)
        if outputs := if_it_fits(run):
            return [(rows.start, first_example, outputs[0])]
        networks, examples = rows.stop - rows.start, len(inputs)
        if networks == examples == 1:
            name = self.target.spec.name
            raise MemoryShortageError(f"out of memory: one network of target '{name}' on one example does not fit")
        halves = (networks // 2, examples) if networks > 1 else (1, examples // 2)
        if halves < self._at_once:
            most = f"{quantity(halves[0], 'network')} on {quantity(halves[1], 'example')}"
            notice(f"out of memory: at most {most} at a time from here on")
            self._at_once = halves
        parts = []
        for first in range(rows.start, rows.stop, halves[0]):
            own = slice(first, min(first + halves[0], rows.stop))
            for offset in range(0, examples, halves[1]):
                parts += self._outputs(own, inputs[offset : offset + halves[1]], first_example + offset)
        return parts

    def predict(self, x: Any) -> Any:
        """Every network's prediction, for classification its probabilities: [networks, examples, *outputs].

        Of a task with several heads it is a mapping of such tensors, by the heads' names; so is that of `mean`.

        Args:
            x: inputs [examples, *input_shape], as training takes them: a tensor or a numpy array, where bytes are
                pixels and are divided by 255. Channels of images can stand last, and a single one needs no axis. So
                it is for `mean`, `vote` and `summary`. Where inputs are unlike those of the training, a notice says so.

        Raises:
            DataError: they are no numbers, or on another scale than the pixels that were trained on.
            ValueError: they have another shape.
        """
        return self.task.named(self.gathered(self._inputs(x), self.task.predictions))

    def gathered(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `of` to every network's outputs and hold all results at once: [networks, examples, ...].

        Args:
            x: inputs [examples, *input_shape].
            of: takes outputs [some networks, some examples, *outputs], and gives [some networks, some examples, ...].
        """
        self._check_inputs(x)
        result = None
        for first, first_example, outputs in self.chunks(x):
            own = of(outputs)
            if result is None:
                result = own.new_zeros(len(self), len(x), *own.shape[2:])
            result[first : first + own.shape[0], first_example : first_example + own.shape[1]] = own
        assert result is not None  # there is an example, and a network
        return result

    def mean(self, x: Any) -> Any:
        """The ensemble's mean prediction: [examples, *outputs]."""
        x = self._inputs(x)
        total = next(iter(self.weights.values())).new_zeros(len(x), *self.target.spec.output_shape)
        for _, first_example, outputs in self.chunks(x):
            total[first_example : first_example + outputs.shape[1]] += self.task.predictions(outputs).sum(0)
        return self.task.named(total / len(self))

    def vote(self, x: Any) -> Tensor:
        """The class that most networks choose, the lower one of equals: int64 [examples, *places].

        Raises:
            ValueError: the task has no classes, or the networks' answers are no votes.
        """
        found = self.summary(x)
        if "vote" not in found:
            raise ValueError(f"networks of task '{self.task.name}' do not vote; summary(x) has {', '.join(found)}")
        return found["vote"]

    def summary(self, x: Any) -> dict[str, Tensor]:
        """Summarise the ensemble's answer to each example and how sure it is: named tensors [examples, ...].

        For classification: `probabilities` (their mean), `vote`, `entropy` and `mutual_information` in nats, of outputs
        for each place a map of each. For regression: `mean` and `std` of the predictions.
        """
        x = self._inputs(x)
        examples = max(1, SUMMARISED_AT_ONCE // (len(self) * math.prod(self.target.spec.output_shape)))
        parts: list[dict[str, Tensor]] = []
        for first in range(0, len(x), examples):
            tell("examples predicted", first, len(x))
            parts.append(self.task.summarise(self.gathered(x[first : first + examples], self.task.predictions)))
        tell("examples predicted", len(x), len(x))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def conformal(self, x: Any, y: Any, alpha: float = 0.1, *, method: str | None = None, seed: int = 0) -> Conformal:
        """Calibrate the ensemble on labelled examples that it was not trained on; `hyperframe.networks.conformal`.

        The `predict(x)` of what is returned gives the classes that may be the label's, bool [examples, classes], or the
        ends of intervals [examples, values, 2], which hold a new example's label with a probability of 1 − alpha.
        """
        return calibrate(self.summary, self.task, x, y, alpha, method=method, seed=seed, networks=len(self))

    def _inputs(self, x: Any) -> Tensor:
        """Convert what a user hands over to inputs of the target, and compare them with those of the training."""
        pixels = getattr(x, "dtype", None) in (torch.uint8, np.dtype("uint8"))
        inputs = x if isinstance(x, Tensor) and x.is_floating_point() else as_inputs(x, "x")
        inputs = laid_out(inputs, self.target.spec.input_shape)
        self._check_inputs(inputs)
        check_finite(inputs, "x")  # else the networks would be blamed
        self.target.check_inputs(inputs)
        if self.trained_inputs is not None:
            if pixels:
                self.trained_inputs.check_pixels(inputs)
            self.trained_inputs.check_values(inputs)
        return inputs

    def _check_inputs(self, x: Tensor) -> None:
        shape = tuple(self.target.spec.input_shape)
        if tuple(x.shape[1:]) != shape or not len(x):
            raise ValueError(f"expected inputs {['examples', *shape]}, one or more, but got {list(x.shape)}")


def select(networks: Networks, rows: slice | Tensor) -> Networks:
    """Some of the networks, as a batch of their own: a slice of them, which shares the weights, or numbers, int64."""
    weights, statistics = (
        {key: value[rows] for key, value in of.items()} for of in (networks.weights, networks.statistics)
    )
    chosen = Networks(networks.target, networks.task, weights, statistics, networks.origin)
    chosen.trained_inputs = networks.trained_inputs
    return chosen


@torch.no_grad()
def draw_weights(generator: Generator, count: int, rng: torch.Generator) -> Weights:
    """Draw weights with the generator in evaluation mode, some networks at a time; its mode is left as it was.

    Raises:
        MemoryShortageError: so many networks do not fit into memory.
    """
    # float32: z and the weights.
    needed = 4 * count * (generator.dimension + generator.spec.num_weights)
    missing = missing_memory(needed) if rng.device.type == "cpu" else None
    if missing:
        raise MemoryShortageError(too_many(count, missing))
    training = generator.training
    generator.eval()
    try:
        with shortage_as(too_many(count, "out of memory")):
            return generate_in_parts(generator, generator.latent(count, rng))
    finally:
        generator.train(training)
