"""The contracts between the engine and its components: a base class for each kind, and the data that they share.

What a base class declares without a default, a component must have: attributes that are only annotated, and abstract
methods. Whether a component has it is checked as soon as it is made (`hyperframe.config.kinds.check_component`).
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs
import torch
from torch import Tensor, nn

from hyperframe.metrics import Meter, Metric

Weights = dict[str, Tensor]
"""A batch of weight sets: for each layer's name its filters, shape [batch, filters, filter_size]."""

Statistics = dict[str, Tensor]
"""Numbers beside the weights that are not learnt, such as BatchNorm's moments: for each buffer [batch, *shape]."""


@attrs.frozen
class Data:
    """Inputs and what is known of them, resident on one device.

    Bytes (uint8) are pixels: they stay bytes in memory, a quarter of the size, and are divided by 255 where inputs are
    looked at. Take examples first, `data[rows].x`, where a few are wanted.

    Attributes:
        kept: inputs as they are kept, shape [examples, *input_shape]; the argument `x`.
        y: labels or values, shape [examples, ...].

    Example:
        >>> data = Data(torch.tensor([[0, 255], [51, 0]], dtype=torch.uint8), torch.tensor([0, 1]))
        >>> data[1:].x
        tensor([[0.2000, 0.0000]])
    """

    kept: Tensor = attrs.field(alias="x")
    y: Tensor

    @property
    def x(self) -> Tensor:
        """Inputs, floating point [examples, *input_shape]; of bytes a new tensor each time."""
        return self.kept.float().div_(255) if self.kept.dtype == torch.uint8 else self.kept

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.kept.device

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, examples: slice | Tensor) -> "Data":
        return Data(self.kept[examples], self.y[examples])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Data":
        """The same data on a device; `dtype` applies to the inputs, which bytes then are no more."""
        return Data((self.kept if dtype is None else self.x).to(device, dtype), self.y.to(device))


class Task:
    """Data, loss and metrics; it also says which symmetry the outputs have. The base class of tasks.

    `ClassificationTask`, `RegressionTask` and those of `hyperframe.tasks.structured` have all but the data. Labels are
    whatever the data's `y` holds for an example, such as a number of a class or a vector. Outputs of an example are one
    tensor [num_outputs, *output_places], below [*outputs].

    Attributes:
        name: the task's name.
        input_shape: shape of one input.
        num_outputs: the number of outputs that the loss takes, at each place.
        output_places: the axes behind them, such as (height, width) where each pixel has its own outputs.
        shift_invariant: True where adding one number to all outputs of a place changes nothing (softmax).
        likelihood: True where the loss of an example is −log p(label | input) in nats, all constants included.
        metrics: what its meter finds, in the order in which tables show it; exactly one of them `selects`.
        score_metric: what `score` measures, such as the accuracy.
        classes: names of the classes, in the order of the outputs; empty where there are none.
        standardised_inputs: the `hyperframe.tasks.standardisation.Standardisation` of inputs, which `data` gives in
            their own units; or None.
        standardised_labels: that of labels, where outputs are of standardised ones; or None.
        pixels: whether inputs were bytes, divided by 255; None where that is not known.
        example_weights: what each training example counts in the loss, [examples]; None: 1.
        facts: plain data that say what the task is, where its data do, see `Component.restore`; or None.
    """

    name: str
    input_shape: tuple[int, ...]
    num_outputs: int
    output_places: tuple[int, ...] = ()
    shift_invariant: bool
    likelihood: bool
    metrics: Sequence[Metric]
    score_metric: Metric
    classes: Sequence[str] = ()
    standardised_inputs: Any = None
    standardised_labels: Any = None
    pixels: bool | None = None
    example_weights: Tensor | None = None
    facts: Mapping[str, Any] | None = None

    def aspects(self) -> Sequence[float] | None:
        """Least and greatest width over height of its images before scaling, or none; None: that of `input_shape`."""
        return None

    @abstractmethod
    def data(self, split: str) -> Data:
        """The split "train", "validation" or "test", on the CPU; raises `DataError` where it cannot be had."""

    @abstractmethod
    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Vary training inputs [..., *input_shape] at random, by numbers from `rng`; or return them as they are."""

    @abstractmethod
    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that all labels are such as the loss takes; raises `DataError` that begins with `where`."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of every example: outputs [..., *outputs] and labels [..., *label] give [...]."""

    @abstractmethod
    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Score each example for the progress line, such as 1.0 for a right answer; without gradient."""

    @abstractmethod
    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """One representative of all outputs that mean the same, such as centred logits."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into what a user wants, such as probabilities, in the same shape."""

    @abstractmethod
    def averaged(self, outputs: Tensor) -> Tensor:
        """The outputs that stand for the networks' mean prediction: [networks, ..., *outputs] give [..., *outputs]."""

    def class_logits(self, outputs: Tensor) -> Tensor | None:
        """Logits of each answer's classes: [..., examples, *outputs] give [..., answers, classes]; None without any."""
        return None

    @abstractmethod
    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Summarise an ensemble's answer to each example, and how sure it is.

        Predictions [networks, examples, *outputs] give named results [examples, ...].
        """

    @abstractmethod
    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter for so many networks and examples, which finds all of `metrics`."""


class Gauge:
    """A map of weights to one representative of each class under some symmetry. The base class of gauges.

    It keeps the target's function, gives the same result for θ and Sθ, changes nothing when applied twice, and is
    differentiable. Statistics that were estimated for the weights before are not those of the weights after it.

    Attributes:
        fixes: the kinds of orbits that it fixes, of `hyperframe.targets.symmetry.orbits.KINDS`.
        directions: how many directions of its kind it fixes; None for all.
    """

    fixes: frozenset[str]
    directions: int | None = None

    @abstractmethod
    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""


class EntropyEstimator:
    """Estimates the differential entropy of the distribution that samples come from. The base class of estimators.

    Where several processes train together, it gathers the samples of all (`hyperframe.runtime.distributed.gather`).

    Attributes:
        minimum_samples: the fewest samples it works on.
        distance: the metric in which it takes distances between samples; None where it takes none. `hyperframe bench
            distances` times it beside plainer ways of taking them.
    """

    minimum_samples: int
    distance: Literal["l1", "l2"] | None = None

    @abstractmethod
    def __call__(self, samples: Tensor, dimension: int, rng: torch.Generator | None = None) -> Tensor:
        """Entropy in nats, a scalar: samples [n, entries] on a manifold of the given dimension.

        Estimators that draw random numbers take them from `rng`, which lies on the samples' device; where it is None,
        from a generator of their own with a fixed seed, so that the result repeats.
        """

    def scale_degree(self, count: int, entries: int, dimension: int) -> int:
        """The g of the estimator's scale law H(aX) = H(X) + g · log a, for samples X [count, entries]."""
        return dimension

    def departures(self, entries: int, dimension: int) -> list[str]:
        """List what keeps the values from being Shannon's entropy of a density on so many entries.

        See `hyperframe.experiment.bound`. Nothing is taken for granted of an estimator that does not say.
        """
        return [f"the estimator {type(self).__name__} does not say that it estimates Shannon's entropy of any q"]


@attrs.frozen(kw_only=True, eq=False)
class DiversityInputs:
    """Everything that a diversity term may look at; what it does not list in `needs` is None.

    Attributes:
        z: latent vectors, shape [batch, ...].
        generator: the generator itself, a `hyperframe.Generator`; what a term does with it reaches its parameters
            directly.
        weights: raw weights, differentiable.
        flat: the weights after the gauge, one row a network, shape [batch, num_weights], differentiable; without layers
            that are drawn and not trained (`TargetSpec.drawn`).
        gauged: makes such rows of any weights, for terms that look at how the generator moves them.
        outputs: of all networks on the term's inputs, shape [batch, examples, num_outputs, *output_places],
            differentiable; the target runs in training mode.
        labels: of the examples that `DiversityTerm.inputs` was given, shape [examples, ...].
        task: what outputs mean.
        dimension: the dimension of the manifold the generator draws from; always there.
        directions: in how many directions gauged weights can differ; always there.
        rng: a random generator on the weights' device.
    """

    z: Tensor | None = None
    generator: nn.Module | None = None
    weights: Weights | None = None
    flat: Tensor | None = None
    gauged: Callable[[Weights], Tensor] | None = None
    outputs: Tensor | None = None
    labels: Tensor | None = None
    task: Task | None = None
    dimension: int = 0
    directions: int = 0
    rng: torch.Generator | None = None


class DiversityTerm:
    """A term of the loss that is small where the networks of a batch are diverse. The base class of such terms.

    Attributes:
        needs: names of `DiversityInputs`' fields that must be filled.
        minimum_networks: the fewest networks in a batch it works on.
        own_gradient: True where its gradient is meant not to be that of its value, as with a bandwidth that is held.
        other_task: the task that an option names which was declared with `names_task`; set once the term is made.
    """

    needs: frozenset[str]
    minimum_networks: int = 1
    own_gradient: bool = False
    other_task: Task | None = None

    def inputs(self, shared: Data, rng: torch.Generator) -> Tensor:
        """Return the inputs [examples, *input_shape] on which a term that needs `outputs` compares the networks.

        By default the shared examples as they are, where networks should agree with the labels; terms that leave them
        so share one pass of the target. Elsewhere, such as on images with shuffled pixels, networks can differ at no
        cost in accuracy: `hyperframe.tasks.term_inputs` makes such inputs.

        Args:
            shared: `trainer.shared_examples` training examples, varied as the task does it; other ones in each step.
            rng: of all that is drawn, on their device.

        Raises:
            ConfigError: it cannot make them of such examples; all terms are tried before a run writes anything.
        """
        return shared.x

    @abstractmethod
    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """The term's value, a scalar; on a CUDA device it is replayed, and not called again (`trainer.cuda_graph`)."""

    def departures(self, generator: Any) -> list[str] | None:
        """List what keeps it from being the negative entropy of the weights; None: it does not mean to be that.

        Args:
            generator: a `hyperframe.Generator`.
        """
        return None


class Objective:
    """The parts of a generator's loss beside its diversity terms; the base class of such components.

    L(φ) = a(t) · E_z E_data v(z, x) loss(T(x; G(z))) + cost(G(z)) + Σ_j w_j L_diversity,j + penalty of G

    An objective says what accuracy counts in a step, a(t), what an example counts for a network, v(z, x), and what the
    weights themselves cost.

    Example:
        >>> class Halves(Objective):
        ...     def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        ...         return 2.0**-step
        >>> Halves().accuracy_weight(3, steps=10, examples=60000)
        0.125
    """

    @abstractmethod
    def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        """Say what the mean loss counts in a step.

        Args:
            step: counted from 0.
            steps: how many the training has.
            examples: how many training examples there are.
        """

    def example_weights(self, code: Tensor, ids: Tensor, examples: int, seed: int) -> Tensor | None:
        """Say what each example counts for each network, [networks, batch]; None: all count 1.

        It is a function of network and example alone, so that a network has the same data in every step, and 1 on
        average over the examples.

        Args:
            code: what tells the networks apart, `Generator.code` of their z, [networks, entries].
            ids: numbers of the examples in the training data, int64 [networks, batch].
            examples: how many training examples there are.
            seed: of the training, for what is drawn for each example.
        """
        return None

    def cost(self, weights: Weights) -> Tensor | None:
        """Return what the weights cost, the mean over the networks: a differentiable scalar, or None for nothing."""
        return None

    def departures(self) -> list[str] | None:
        """List what keeps the loss from being the negative evidence lower bound; None: it does not mean to be that."""
        return None


class Analysis(Protocol):
    """Finds something out about a trained run."""

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Results of a `hyperframe.Run` as plain data; pictures are written into the folder, which is there."""
        ...


@attrs.frozen
class NoOptions:
    """The options of a component that has none."""
