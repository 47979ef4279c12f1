"""The loss of the generator and its gradient, computed in memory that chunks of networks bound.

L(φ) = a · E_z E_data v(z, x) loss(T(x; G(z))) + cost of the weights + Σ_j w_j L_diversity,j + penalty of G

What accuracy counts (a), what an example counts for a network (v), and what the weights cost is said by the objective,
see `hyperframe.types.Objective`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.config.sections import Precision
from hyperframe.errors import MemoryShortageError
from hyperframe.experiment.outputs import SharedOutputs, run_in_training
from hyperframe.experiment.terms import WeightedTerm, check_inputs, restrict
from hyperframe.networks.generator import Generator
from hyperframe.networks.passes.probes import draws_in_training
from hyperframe.networks.target import Target
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.memory import if_it_fits
from hyperframe.targets.weights import batch_size, flatten, pack, slice_weights, unpack
from hyperframe.types import Data, DiversityInputs, Objective, Task, Weights


@attrs.frozen(kw_only=True)
class _Part:
    """A part of the loss.

    Attributes:
        value: a scalar, without a graph.
        gradients: at the weights, added up in this order; one may lack layers that the value does not depend on.
        metrics: scalars, without a graph.
    """

    value: Tensor
    gradients: list[Weights]
    metrics: dict[str, Tensor]


class BatchLoss:
    """Computes the loss of one batch and leaves its gradient in the generator's parameters.

    The generator runs on the whole batch of z; its graph is cut at the weights θ. The target runs on chunks of
    networks, each chunk's gradient at θ is kept and its graph freed; the diversity terms add theirs; one backward pass
    goes through the generator. Only networks are chunked, never a network's examples, so that a normalisation over
    examples sees all of them. Nothing waits for the device.

    Several processes have the same z and parameters, and each computes a part: values and gradients of all processes
    add up to those of one process alone. A part is what the process's own networks lose on their examples, and one
    K-th, for K processes, of all that each of them computes alike: terms, cost and penalty, which look at all networks
    at once. So no component has to know of processes, batch normalisations in the generator have the moments of all
    networks, and the gradients can be added where they are smallest, at the parameters (`Processes.add_up`). What is
    not divided is the generator's pass, whose cost is small beside that of the target's passes. DistributedDataParallel
    would not do: it counts on one pass forward and one backward, and terms may run the generator themselves.

    Args:
        objective: what the parts count.
        target: the target.
        task: its loss and score.
        gauge: applied to the weights for the diversity terms.
        directions: in how many directions gauged weights differ.
        terms: the diversity terms.
        chunk: how many networks one pass of the target runs, until memory runs out.
        precision: of the products in passes of the target; all else is in single precision.
        processes: those that share the target's passes.

    Attributes:
        chunks: divides the networks.
        evaluations: how many gradients of an output of one network at one example were taken so far: the cost of a
            training that does not depend on the machine. Those at inputs of diversity terms count as well.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        target: Target,
        task: Task,
        gauge: Callable[[Weights], Weights],
        directions: int,
        terms: Sequence[WeightedTerm],
        chunk: int,
        precision: Precision = "float32",
        processes: Processes = ALONE,
    ) -> None:
        self.objective = objective
        self.target = target
        self.task = task
        self.gauge = gauge
        self.directions = directions
        self.terms = list(terms)
        self.chunks = Chunks(chunk)
        self.precision: Precision = precision
        self.processes = processes
        self.evaluations = 0
        self._drawing: dict[int, bool] = {}

    def evolved(self, target: Target, chunk: int) -> "BatchLoss":
        """The same loss for another way of running the target."""
        loss = copy.copy(self)
        loss.target, loss.chunks, loss.evaluations, loss._drawing = target, Chunks(chunk), 0, {}
        return loss

    @property
    def compares_outputs(self) -> bool:
        """Whether a term looks at outputs, and hence needs examples that all networks see."""
        return any(item.compares_outputs for item in self.terms)

    def draws_twice(self, examples: int) -> bool:
        """Whether the target draws random numbers, as for dropout, on so many inputs of a term that it sees twice."""
        if not self.compares_outputs:
            return False
        if examples not in self._drawing:
            like = next(self.target.module.parameters())
            tried = self.target.tried_on.first(examples, like)
            self._drawing[examples] = draws_in_training(self.target.module, tried, self.target.trunk)
        return self._drawing[examples]

    def gradients(
        self,
        generator: Generator,
        z: Tensor,
        batch: Data,
        rng: torch.Generator,
        *,
        accuracy_weight: float | Tensor,
        shared: Data | None = None,
        example_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Add the loss's gradient to the generator's parameters, of several processes this one's part of it.

        Args:
            generator: in training mode.
            z: latent vectors [networks, …].
            batch: inputs [networks, examples, *input_shape] and labels [networks, examples]; of several processes each
                has those of its own networks, `processes.rows`. One row stands for all networks.
            rng: for terms that draw numbers.
            accuracy_weight: what the mean loss counts, such as λ; a number, or a scalar on the device.
            shared: inputs [examples, *input_shape] and labels [examples] for terms that compare outputs.
            example_weights: what each example of the batch counts [networks, examples]; None: 1.

        Returns:
            Scalars on the device, without a graph: `loss`, `accuracy_loss`, `score`, and each term's `diversity.NAME`;
            of several processes this one's part.
        """
        weights = generator(z)
        accuracy = self._accuracy(weights, batch, accuracy_weight, example_weights)
        regularisers = self._regularisers(generator, z, weights, shared, rng)
        gradient = _add_up(accuracy, regularisers)
        total, metrics = accuracy.value + regularisers.value, accuracy.metrics | regularisers.metrics
        penalty = generator.penalty(z, weights)
        trained = [layer for layer, value in weights.items() if value.requires_grad]
        outputs, seeds = [weights[layer] for layer in trained], [gradient[layer] for layer in trained]
        if penalty is not None:
            penalty = self._part_of(penalty)
            metrics["penalty"] = penalty.detach()
            total = total + penalty.detach()
            if penalty.requires_grad:
                outputs, seeds = [*outputs, penalty], [*seeds, torch.ones_like(penalty)]
        torch.autograd.backward(outputs, seeds)
        return {"loss": total, **metrics}

    def _accuracy(
        self, weights: Weights, batch: Data, accuracy_weight: float | Tensor, example_weights: Tensor | None
    ) -> "_Part":
        """Compute the weighted mean loss, chunk by chunk; its metrics are the mean loss and score."""
        everything = self._unpack(weights)
        gradient = {name: torch.zeros_like(value) for name, value in everything.items()}
        count = batch_size(everything) * batch.y.shape[1]
        unpacked, found_for = self.processes.own(everything), self.processes.own(gradient)
        losses, scores = [], []
        networks, same = batch_size(unpacked), len(batch) == 1
        x = batch.x[0] if same else batch.x  # one tensor, by which the target knows them again
        y = batch.y.expand(networks, *batch.y.shape[1:])

        def work(rows: slice) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
            counts = None if example_weights is None else example_weights[rows]
            own = Data(x if same else x[rows], y[rows])
            return self._pass(slice_weights(unpacked, rows), own, count, accuracy_weight, counts, shared=same)

        too_large = partial(self._too_large, unpacked, batch, "batch_size")
        examples = batch.y.shape[1]
        numbers, in_threads = self.target.numbers(examples), self.target.runs_in_threads(examples)
        with self.processes.own_numbers(batch.x.device):
            for rows, (loss, score, found) in self.chunks.over(
                networks, work, too_large, numbers=numbers, in_threads=in_threads
            ):
                for name, part in zip(unpacked, found, strict=True):
                    if part is not None:  # the loss need not depend on every parameter
                        found_for[name][rows] = part
                losses.append(loss)
                scores.append(score)
        self.evaluations += count
        mean, score = torch.stack(losses).sum(), torch.stack(scores).sum()
        return _Part(
            value=accuracy_weight * mean,
            gradients=[pack(self.target.spec, gradient)],
            metrics={"accuracy_loss": mean, "score": score},
        )

    def _pass(
        self,
        unpacked: Mapping[str, Tensor],
        batch: Data,
        count: int,
        accuracy_weight: float | Tensor,
        example_weights: Tensor | None = None,
        *,
        shared: bool = False,
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        """Some networks' part of the mean loss and score, and the gradient of the weighted loss at what they run on."""
        leaves = {name: value.detach().requires_grad_() for name, value in unpacked.items()}
        outputs = run_in_training(self.target, leaves, batch.x, self.precision, shared=shared)
        losses = self.task.loss(outputs, batch.y)
        loss = (losses if example_weights is None else losses * example_weights).sum() / count
        found = torch.autograd.grad(accuracy_weight * loss, list(leaves.values()), allow_unused=True)
        return loss.detach(), self.task.score(outputs.detach(), batch.y).sum() / count, found

    def _too_large(self, unpacked: Mapping[str, Tensor], batch: Data, key: str) -> MemoryShortageError:
        """One network alone does not fit on its examples: find out what would."""
        one, examples = slice_weights(unpacked, slice(1)), batch.y.shape[1]
        fitting = examples // 2
        while fitting and not if_it_fits(
            partial(self._pass, one, Data(batch.x[:1, :fitting], batch.y[:1, :fitting]), 1, 1.0)
        ):
            fitting //= 2
        would = f"with trainer.{key}={fitting} it does" if fitting else "not even one example does"
        return MemoryShortageError(
            f"out of memory: a pass of one network of target '{self.target.spec.name}' on trainer.{key}={examples} "
            f"does not fit; {would}. A smaller target, or a device with more memory, helps as well"
        )

    def _regularisers(
        self, generator: Generator, z: Tensor, weights: Weights, shared: Data | None, rng: torch.Generator
    ) -> "_Part":
        """Compute the weights' cost and the diversity terms; each is a metric of its own."""
        leaves = {layer: value.detach().requires_grad_() for layer, value in weights.items()}
        total, metrics = z.new_zeros((), dtype=next(iter(leaves.values())).dtype), {}
        cost = self.objective.cost(leaves)
        if cost is not None:
            cost = self._part_of(cost)
            metrics["weight_cost"] = cost.detach()
            total = total + cost
        outputs = self.shared_outputs(weights, shared, rng) if shared is not None else {}
        inputs = self.inputs(generator, z, leaves, rng, shared)
        for item in self.terms:
            value = self._part_of(item.term(restrict(inputs, item.term.needs, outputs.get(item.name))))
            metrics[f"diversity.{item.name}"] = value.detach()
            total = total + item.weight * value
        if total.requires_grad:
            total.backward()  # a term that looks at the generator itself reaches its parameters here, directly
        gradients = [{layer: leaf.grad for layer, leaf in leaves.items() if leaf.grad is not None}]
        for passed in dict.fromkeys(outputs.values()):  # terms may share a pass
            gradients.append(pack(self.target.spec, passed.gradient()))
            self.evaluations += len(z) * len(passed)
        return _Part(value=total.detach(), gradients=gradients, metrics=metrics)

    def _part_of(self, value: Tensor) -> Tensor:
        """This process's part of what all of them compute alike."""
        return value if self.processes.alone else value / self.processes.count

    def _unpack(self, weights: Weights) -> dict[str, Tensor]:
        """Give the weights as the module's parameters, without a graph."""
        return {name: value.detach() for name, value in unpack(self.target.spec, weights).items()}

    def shared_outputs(self, weights: Weights, shared: Data, rng: torch.Generator) -> dict[str, SharedOutputs]:
        """Run all networks on the inputs of each term that compares outputs; terms with the same inputs share a pass.

        Raises:
            ConfigError: inputs of a term have another shape or type than those of the task.
        """
        unpacked, shared = self._unpack(weights), Data(shared.x, shared.y)  # terms see one tensor, and share its pass
        passes: dict[str, SharedOutputs] = {}
        as_they_are: SharedOutputs | None = None
        for item in self.terms:
            if not item.compares_outputs:
                continue
            x = item.term.inputs(shared, rng)
            if x is shared.x and as_they_are is not None:
                passes[item.name] = as_they_are
                continue
            check_inputs(item.name, x, shared.x)
            too_large = partial(self._too_large, unpacked, Data(x[None], shared.y[None]), "shared_examples")
            repeats = x.device.type == "cpu" or self.draws_twice(len(x))
            passes[item.name] = SharedOutputs(
                self.target,
                unpacked,
                x,
                self.chunks,
                too_large,
                repeats=repeats,
                precision=self.precision,
                processes=self.processes,
            )
            if x is shared.x:
                as_they_are = passes[item.name]
        return passes

    def inputs(
        self,
        generator: Generator,
        z: Tensor,
        weights: Weights,
        rng: torch.Generator,
        shared: Data | None = None,
    ) -> DiversityInputs:
        """Gather what the terms need, and only that; all but the outputs, which are on inputs of each term's own.

        Args:
            generator: the generator.
            z: latent vectors [networks, …].
            weights: what it made of them.
            rng: for terms that draw numbers.
            shared: examples that all networks see, and their labels [examples, …].
        """

        def gauged(theta: Weights) -> Tensor:
            return flatten(self.target.spec.trained, self.gauge(dict(theta)))

        makers: dict[str, Callable[[], Any]] = {
            "z": lambda: z,
            "generator": lambda: generator,
            "weights": lambda: dict(weights),
            "flat": lambda: gauged(weights),
            "gauged": lambda: gauged,
            "labels": lambda: shared.y if shared is not None else None,
            "task": lambda: self.task,
            "rng": lambda: rng,
        }
        needs = frozenset().union(*(item.term.needs for item in self.terms))
        given = {name: make() for name, make in makers.items() if name in needs}
        return DiversityInputs(**given, dimension=generator.dimension, directions=self.directions)


def _add_up(*parts: _Part) -> Weights:
    """Add the parts' gradients up, in the memory of the first, which has all layers."""
    total, *others = [gradient for part in parts for gradient in part.gradients]
    for gradient in others:
        for layer, value in gradient.items():
            total[layer] += value
    return total
