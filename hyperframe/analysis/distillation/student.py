"""Distillation: train one network to predict the mean prediction of an ensemble of generated ones."""

import math

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from hyperframe.config.schedule import rate_at
from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import TrainingError
from hyperframe.networks.generator import initial_weights
from hyperframe.networks.sampled import SUMMARISED_AT_ONCE, Networks
from hyperframe.options import option
from hyperframe.runs.run import Run
from hyperframe.runtime.progress import tell
from hyperframe.runtime.rng import seeded, stream
from hyperframe.types import Data, Task

LARGEST = 1 << 27
"""The most numbers that all inputs of a student's training may have together: half a GiB."""

FOR_EACH = 4
"""The most inputs of a student's training for each training example: more mixtures of few examples add nothing new."""

WARMUP = 0.1
TOLD_EVERY = 20


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class DistillationOptions:
    """Options of a student's training."""

    networks: int = option(
        50, "networks of the ensemble; all that the generator holds where these are fewer", minimum=1
    )
    examples: int = option(
        40_000, "inputs that the ensemble predicts for the student, at most 4 for each training example", minimum=1
    )
    mixed: float = option(0.5, "part of these inputs that are mixtures of two", minimum=0, maximum=1)
    steps: int = option(4000, "steps of the student's training", minimum=1)
    batch: int = option(128, "inputs of a step", minimum=1)
    rate: float = option(8e-3, "highest learning rate of Adam, one cycle", above=0)


@attrs.frozen(eq=False)
class Lesson:
    """The data that a student is trained on.

    Attributes:
        x: inputs [examples, *input_shape].
        outputs: outputs whose prediction is the ensemble's mean prediction (`Task.averaged`), [examples, *outputs].
    """

    x: Tensor
    outputs: Tensor


def ensemble_outputs(networks: Networks, x: Tensor) -> Tensor:
    """Return outputs whose prediction is the ensemble's mean prediction, [examples, *outputs].

    Args:
        networks: the ensemble.
        x: inputs [examples, *input_shape].
    """
    examples = max(1, min(SUMMARISED_AT_ONCE // (len(networks) * math.prod(networks.target.spec.output_shape)), 1000))
    found = []
    for first in range(0, len(x), examples):
        tell("inputs predict by the ensemble", first, len(x))
        found.append(networks.task.averaged(networks.gathered(x[first : first + examples], lambda outputs: outputs)))
    tell("inputs predict by the ensemble", len(x), len(x))
    return torch.cat(found)


def distillation_loss(task: Task, outputs: Tensor, taught: Tensor) -> Tensor:
    """Return how far a student's outputs are from the ensemble's, both [examples, *outputs]: a scalar.

    Where outputs are logits it is KL(p̄ ‖ p) in nats, the mean over examples and places; else the mean squared
    difference of canonical outputs.

    References: G. Hinton, O. Vinyals, J. Dean (2015), Distilling the Knowledge in a Neural Network.
    """
    if not task.shift_invariant:
        return F.mse_loss(task.canonical_outputs(outputs), task.canonical_outputs(taught))
    logits = taught.log_softmax(1)
    return F.kl_div(outputs.log_softmax(1), logits, reduction="none", log_target=True).sum(1).mean()


def lesson_of(run: Run, networks: Networks, options: DistillationOptions, seed: int) -> Lesson:
    """Draw inputs (see `lesson_inputs`) and let an ensemble predict them."""
    task, train, device = run.experiment.task, run.data("train"), run.experiment.device
    x = lesson_inputs(task, train, options, stream(seed, "distillation inputs")).to(device)
    return Lesson(x, ensemble_outputs(networks, x))


def lesson_inputs(task: Task, train: Data, options: DistillationOptions, rng: torch.Generator) -> Tensor:
    """Draw the inputs that a student is trained on, [examples, *input_shape].

    Some are training inputs, each at most once; the others are mixtures λ a + (1 − λ) b of two training inputs under
    the task's augmentation, with λ uniform in [0, 1]. The ensemble predicts any input; between training inputs its
    predictions show where its classes end.

    Args:
        task: whose augmentation is used.
        train: training examples, on the device of `rng`.
        options: how many inputs, and which part of them are mixtures. Where there are too few training inputs, mixtures
            take their place, unless `mixed` is 0.
        rng: for the choice.

    References: L. Beyer et al. (2022), Knowledge Distillation: A Good Teacher is Patient and Consistent; H. Zhang,
    M. Cisse, Y. Dauphin, D. Lopez-Paz (2018), mixup.
    """
    examples = max(1, min(options.examples, FOR_EACH * len(train), LARGEST // train.kept[0].numel()))
    plain = train[torch.randperm(len(train), generator=rng)[: math.ceil(examples * (1 - options.mixed))]].x
    others = examples - len(plain) if options.mixed else 0
    if not others:
        return plain
    chosen = (train[torch.randint(len(train), (others,), generator=rng)] for _ in range(2))
    one, other = (task.augment_data(data, rng).x for data in chosen)
    part = torch.rand(others, *[1] * (plain.dim() - 1), generator=rng, dtype=plain.dtype)
    return torch.cat([plain, other + part * (one - other)])


def teach(run: Run, start: Networks, lesson: Lesson, options: DistillationOptions, seed: int) -> Networks:
    """Train one network on a lesson.

    Adam with a one-cycle rate; the module is in training mode, with dropout and batch statistics where it has them. At
    the end the target's statistics are estimated.

    Args:
        run: whose target it is.
        start: one network to begin with, which is not changed.
        lesson: the data.
        options: of the training.
        seed: of the batches and of dropout.

    Raises:
        TrainingError: the loss is not finite.
    """
    experiment, device = run.experiment, run.experiment.device
    weights = {layer: value.detach().clone().requires_grad_() for layer, value in start.weights.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=options.rate)
    schedule = TrainerOptions(steps=options.steps, rate=options.rate, schedule="one_cycle", warmup=WARMUP)
    rng = stream(seed, "distillation batches", device)
    with seeded(seed, "distillation", device):
        for step in range(options.steps):
            optimiser.param_groups[0]["lr"] = rate_at(step, schedule)
            rows = torch.randint(len(lesson.x), (options.batch,), generator=rng, device=device)
            outputs = experiment.target.forward(weights, lesson.x[rows], shared=True, training=True)[0]
            loss = distillation_loss(experiment.task, outputs, lesson.outputs[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % TOLD_EVERY == 0:
                _check_finite(loss, step)
                tell("steps of the student", step, options.steps)
    _check_finite(loss, options.steps)
    tell("steps of the student", options.steps, options.steps)
    return run.networks_of({layer: value.detach() for layer, value in weights.items()}, seed)


def fresh_network(run: Run, seed: int) -> Networks:
    """Draw one untrained network, initialised so that signals keep their size from layer to layer."""
    weights = initial_weights(run.experiment.target.spec, 1, stream(seed, "distillation start"))
    return run.networks_of({layer: value.to(run.experiment.device) for layer, value in weights.items()}, seed)


def taught_network(run: Run, options: DistillationOptions, seed: int | None = None) -> Networks:
    """Train one network to predict what an ensemble of generated ones predicts.

    It starts untrained. A student that starts as a generated network learns faster, but where that network is
    over-confident it stays so (measured in docs/results/analyses.md and docs/results/mnist.md).

    The same run, options and seed give the same network on the same device.

    Args:
        run: the run.
        options: of the ensemble and of the student's training.
        seed: of the draws, the start, the inputs and the batches; by default `evaluation.seed`.

    Raises:
        TrainingError: the student's loss is not finite.

    References: section 4.4 asks for one classifier in the place of the ensemble; G. Hinton, O. Vinyals, J. Dean (2015),
    Distilling the Knowledge in a Neural Network.
    """
    seed = run.config.evaluation.seed if seed is None else seed
    ensemble = run.sample(run.experiment.generator.at_most(options.networks), seed)
    return teach(run, fresh_network(run, seed), lesson_of(run, ensemble, options, seed), options, seed)


def _check_finite(loss: Tensor, step: int) -> None:
    if not bool(loss.isfinite()):
        raise TrainingError(f"the student's loss was not finite at step {step}; take a lower rate")
