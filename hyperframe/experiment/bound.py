"""Whether the loss of an objective that means to be it is the negative evidence lower bound, and if not, why."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from hyperframe.errors import PluginError
from hyperframe.experiment.build import Experiment
from hyperframe.networks.generator import initial_weights
from hyperframe.networks.passes.probes import draws_numbers
from hyperframe.runtime.rng import repeatable, stream
from hyperframe.tasks.checked import load_data
from hyperframe.types import Data

AT_ONCE = 8
"""Examples, and networks, that targets and generators are tried out on."""

COPIES = 128
"""Of each of these examples, tried out on what moves training inputs: some tasks move few of them."""

TOLERANCE = 1e-4
"""Values that differ by less, relative to the largest, are equal: other examples may change how sums are rounded."""


def departures(experiment: Experiment) -> list[str] | None:
    """List what keeps the loss from being the negative evidence lower bound; None for an objective of another kind.

    The bound is n · NLL + KL(q ‖ prior) (section 3.2.4, appendix C), with q the density of all weights. Formula,
    diversity term, estimator and generator answer for themselves (`departures` in their contracts, docs/hooks.md), and
    so does the task by its `likelihood`. What task, target and generator do in training is tried out on some training
    examples.

    Raises:
        PluginError: a component returns something else than a list of texts.
    """
    own = experiment.loss.objective.departures()
    if own is None:
        return None
    examples = _some_examples(experiment)
    return [
        *_of_task(experiment, examples),
        *_of_target(experiment, examples.x),
        *_of_gauges(experiment),
        *_of_terms(experiment),
        *_checked(own, f"objective '{experiment.config.objective.name}'"),
        *_of_generator(experiment),
    ]


def _checked(reasons: object, whose: str) -> list[str]:
    """Check what a component returned: a text would be taken for a list of its letters."""
    if not isinstance(reasons, list) or not all(isinstance(reason, str) and reason for reason in reasons):
        raise PluginError(f"{whose}: departures must return a list of texts, but returns {reasons!r}")
    return reasons


def _some_examples(experiment: Experiment) -> Data:
    """Take some training examples from all over the split, which may be sorted."""
    train = load_data(experiment.task, "train")
    return train[:: -(-len(train) // AT_ONCE)].to(experiment.device)


def _of_task(experiment: Experiment, examples: Data) -> list[str]:
    task, reasons = experiment.task, []
    if not task.likelihood:
        reasons.append(f"the loss of task '{task.name}' is no negative log-likelihood")
    if task.example_weights is not None:
        reasons.append(f"training examples of task '{task.name}' count differently")
    copies = Data(*(part.repeat(COPIES, *[1] * (part.dim() - 1)) for part in (examples.x, examples.y)))
    varied = task.augment_data(copies, stream(0, "bound", examples.device))
    if not torch.equal(varied.x, copies.x) or not torch.equal(varied.y, copies.y):
        reasons.append(
            f"task '{task.name}' changes training inputs at random: the likelihood is that of other inputs than the "
            "training set's"
        )
    return reasons


def _of_target(experiment: Experiment, inputs: Tensor) -> list[str]:
    """Say what the target does in training to some inputs [examples, *input_shape]."""
    target, device, reasons = experiment.target, experiment.device, []
    name = f"target '{target.spec.name}' in training"
    drawn = initial_weights(target.spec, 1, stream(0, "bound"))
    weights = {layer: theta.to(device) for layer, theta in drawn.items()}
    examples = inputs[: experiment.config.trainer.batch_size]

    def run(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return target.forward(weights, rows, shared=True, training=True)[0]

    if draws_numbers(lambda: run(examples), device):
        reasons.append(f"{name} draws random numbers, as dropout does: the likelihood is that of networks with noise")
    if _couples(run, examples, device):
        reasons.append(
            f"{name} lets what it says of an example depend on the others of its batch, as batch normalisation does: "
            "the loss is no sum over examples"
        )
    return reasons


def _of_gauges(experiment: Experiment) -> list[str]:
    if not experiment.gauge.names:
        return []
    gauges = ", ".join(choice.name for choice in experiment.config.gauges)
    return [f"gauges ({gauges}) take symmetric copies for one: set gauges=[]"]


def _of_terms(experiment: Experiment) -> list[str]:
    terms = [item for item in experiment.loss.terms if item.weight]
    if len(terms) == 1 and terms[0].weight == 1:
        departures_of_term = terms[0].term.departures(experiment.generator)
        if departures_of_term is not None:
            return _checked(departures_of_term, f"diversity '{terms[0].name}', or the entropy estimator that it asks")
    listed = ", ".join(f"{item.weight:g} · {item.name}" for item in terms) or "nothing"
    return [f"the diversity terms are {listed}, not one that is the negative entropy of the weights, with weight 1"]


def _of_generator(experiment: Experiment) -> list[str]:
    generator = copy.deepcopy(experiment.generator).train()  # running moments stay as they are
    name = f"generator '{experiment.config.generator.name}'"
    reasons = [f"{name} {reason}" for reason in _checked(generator.departures(), name)]
    with torch.no_grad():
        z = generator.latent(generator.at_most(AT_ONCE), stream(0, "bound", experiment.device))

    def run(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([theta.flatten(1) for theta in generator(rows).values()], 1)

    if draws_numbers(lambda: run(z), experiment.device):
        reasons.append(f"{name} draws random numbers beside z in training: q is not what is drawn from afterwards")
    if _couples(run, z, experiment.device):
        reasons.append(
            f"{name} lets weights depend on the other z of their batch, as batch normalisation does "
            "(generator.batch_norm=false): q depends on the batch"
        )
    return reasons


def _couples(run: Callable[[Tensor], Tensor], rows: Tensor, device: torch.device) -> bool:
    """Whether what a function gives for the first rows depends on the others."""
    kept = len(rows) // 2
    found = []
    for given in (rows, torch.cat([rows[:kept], rows[: len(rows) - kept]])):
        with repeatable(device):
            found.append(run(given)[:kept])
    one, other = found
    largest = float(one.abs().amax()) if kept else 0.0
    return not torch.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True)
