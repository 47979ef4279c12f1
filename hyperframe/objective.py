"""The loss of the generator (Eq. 1) and its gradient, computed in memory that one chunk of networks bounds.

L(φ) = λ · E_z E_data loss(T(x; G(z))) + weight_l2 · E_z ‖G(z)‖² + Σ_j w_j L_diversity,j + penalty of G
"""

from collections.abc import Callable, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from hyperframe.errors import MemoryShortageError, notice
from hyperframe.generator import Generator
from hyperframe.memory import free_cached, is_out_of_memory
from hyperframe.options import option
from hyperframe.target import Target
from hyperframe.types import Data, DiversityInputs, DiversityTerm, Task, Weights
from hyperframe.weights import flatten, pack, slice_weights, unpack


@attrs.frozen(kw_only=True)
class ObjectiveOptions:
    """The weights of the loss's parts."""

    lambda_: float = option(1000.0, "λ of Eq. 1: what accuracy counts against diversity", minimum=0)
    weight_l2: float = option(0.0, "factor of the mean squared norm of the weights", minimum=0)


@attrs.frozen(kw_only=True)
class WeightedTerm:
    """A diversity term and what it counts."""

    name: str
    term: DiversityTerm
    weight: float


class Objective:
    """Computes the loss of one batch and leaves its gradient in the generator's parameters.

    The generator runs on the whole batch of z; its graph is cut at the weights θ. The target runs on chunks of
    networks, each chunk's gradient at θ is kept and its graph freed; the diversity terms add theirs; one backward pass
    goes through the generator. Only networks are chunked, never a network's images, so that a normalisation over images
    sees all of them. Nothing waits for the device.

    Args:
        options: λ and the other factors.
        target: the target.
        task: its loss and score.
        gauge: applied to the weights for the diversity terms.
        terms: the diversity terms.
        chunk: how many networks the target runs at a time.

    Attributes:
        chunk: the same, until memory runs out.
        halved: what it became where memory ran out; else None.
    """

    def __init__(
        self,
        options: ObjectiveOptions,
        *,
        target: Target,
        task: Task,
        gauge: Callable[[Weights], Weights],
        terms: Sequence[WeightedTerm],
        chunk: int,
    ) -> None:
        self.options = options
        self.target = target
        self.task = task
        self.gauge = gauge
        self.terms = list(terms)
        self.chunk = chunk
        self.halved: int | None = None

    def gradients(self, generator: Generator, z: Tensor, batch: Data, rng: torch.Generator) -> dict[str, Tensor]:
        """Add the loss's gradient to the generator's parameters.

        Args:
            generator: in training mode.
            z: latent vectors [networks, …].
            batch: inputs [networks, images, *input_shape] and labels [networks, images].
            rng: for terms that draw numbers.

        Returns:
            Scalars on the device, without a graph: `loss`, `accuracy_loss`, `score`, and each term's `diversity.NAME`.
        """
        weights = generator(z)
        metrics, gradient = self._accuracy(weights, batch)
        total = self.options.lambda_ * metrics["accuracy_loss"]
        total = total + self._regularisers(generator, z, weights, gradient, rng, metrics)
        penalty = generator.penalty(z, weights)
        trained = [layer for layer, value in weights.items() if value.requires_grad]
        outputs, seeds = [weights[layer] for layer in trained], [gradient[layer] for layer in trained]
        if penalty is not None:
            metrics["penalty"] = penalty.detach()
            total = total + penalty.detach()
            if penalty.requires_grad:
                outputs, seeds = [*outputs, penalty], [*seeds, torch.ones_like(penalty)]
        torch.autograd.backward(outputs, seeds)
        return {"loss": total, **metrics}

    def _accuracy(self, weights: Weights, batch: Data) -> tuple[dict[str, Tensor], Weights]:
        """Mean loss and score, and the gradient of λ times this loss at the weights."""
        count = batch.y.shape[0] * batch.y.shape[1]
        unpacked = {name: value.detach() for name, value in unpack(self.target.spec, weights).items()}
        gradient = {name: torch.zeros_like(value) for name, value in unpacked.items()}
        losses, scores, first = [], [], 0
        while first < len(batch):
            rows = slice(first, first + self.chunk)
            try:
                loss, score, found = self._pass(slice_weights(unpacked, rows), batch[rows], count)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                found = None
            if found is None:  # outside of the handler, which holds on to the memory of the failed pass
                self._shrink(unpacked, batch, count)
                continue
            for name, part in zip(unpacked, found, strict=True):
                if part is not None:  # the loss need not depend on every parameter
                    gradient[name][rows] = part
            losses.append(loss)
            scores.append(score)
            first += self.chunk
        metrics = {"accuracy_loss": torch.stack(losses).sum(), "score": torch.stack(scores).sum()}
        return metrics, pack(self.target.spec, gradient)

    def _pass(
        self, unpacked: Mapping[str, Tensor], batch: Data, count: int
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        """Some networks' part of the mean loss and score, and the gradient of λ times this loss at what they run on."""
        leaves = {name: value.detach().requires_grad_() for name, value in unpacked.items()}
        outputs = self.target.run(leaves, batch.x, training=True)
        loss = self.task.loss(outputs, batch.y).sum() / count
        found = torch.autograd.grad(self.options.lambda_ * loss, list(leaves.values()), allow_unused=True)
        return loss.detach(), self.task.score(outputs.detach(), batch.y).sum() / count, found

    def _shrink(self, unpacked: Mapping[str, Tensor], batch: Data, count: int) -> None:
        """Halve the chunk; where one network alone does not fit, find out what would, and raise."""
        free_cached()
        chunk = min(self.chunk, len(batch))
        if chunk > 1:
            self.chunk = self.halved = chunk // 2
            notice(f"out of memory: trainer.chunk goes from {chunk} to {self.chunk}; results change by rounding only")
            return
        one, images = slice_weights(unpacked, slice(1)), batch.y.shape[1]
        fitting = images // 2
        while fitting and not self._fits(one, Data(batch.x[:1, :fitting], batch.y[:1, :fitting]), count):
            fitting //= 2
        would = f"with trainer.images={fitting} it does" if fitting else "not even one image does"
        raise MemoryShortageError(
            f"out of memory: a pass of one network of target '{self.target.spec.name}' on trainer.images={images} does "
            f"not fit; {would}. A smaller target, or a device with more memory, helps as well"
        )

    def _fits(self, unpacked: Mapping[str, Tensor], batch: Data, count: int) -> bool:
        try:
            self._pass(unpacked, batch, count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            free_cached()
        return True

    def _regularisers(
        self,
        generator: Generator,
        z: Tensor,
        weights: Weights,
        gradient: Weights,
        rng: torch.Generator,
        metrics: dict[str, Tensor],
    ) -> Tensor:
        """The l2 term and the diversity terms; their gradient at the weights is added to `gradient`."""
        leaves = {layer: value.detach().requires_grad_() for layer, value in weights.items()}
        total = z.new_zeros((), dtype=next(iter(leaves.values())).dtype)
        if self.options.weight_l2:
            squares = torch.stack([value.square().sum() for value in leaves.values()])
            total = total + self.options.weight_l2 * squares.sum() / len(z)
        inputs = diversity_inputs(
            self.terms, generator=generator, target=self.target, gauge=self.gauge, z=z, weights=leaves, rng=rng
        )
        for item in self.terms:
            value = item.term(inputs)
            metrics[f"diversity.{item.name}"] = value.detach()
            total = total + item.weight * value
        if total.requires_grad:
            total.backward()  # a term that looks at the generator itself reaches its parameters here, directly
            for layer, leaf in leaves.items():
                if leaf.grad is not None:
                    gradient[layer] += leaf.grad
        return total.detach()


def diversity_inputs(
    terms: Sequence[WeightedTerm],
    *,
    generator: Generator,
    target: Target,
    gauge: Callable[[Weights], Weights],
    z: Tensor,
    weights: Mapping[str, Tensor],
    rng: torch.Generator,
) -> DiversityInputs:
    """Gather what the terms need, and only that."""
    needs = frozenset().union(*(item.term.needs for item in terms))
    flat = flatten(target.spec, gauge(dict(weights))) if "flat" in needs else None
    return DiversityInputs(
        z=z if "z" in needs else None,
        generator=generator if "generator" in needs else None,
        weights=dict(weights) if "weights" in needs else None,
        flat=flat,
        dimension=generator.dimension,
        rng=rng if "rng" in needs else None,
    )
