"""Laws of tasks: data has the declared shapes, the loss its declared symmetry, and metrics do not depend on chunks."""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hyperframe.errors import DataError, PluginError
from hyperframe.metrics import declare_results, validation_score
from hyperframe.tasks.augmentation import moves_places
from hyperframe.tasks.checked import check_data, check_declarations
from hyperframe.testing.laws import Broken, Case, Draw, Law, Vacuous, relative
from hyperframe.testing.moved_labels import labels_astray, labels_of_places
from hyperframe.types import Data, Task

SPLITS = ("train", "validation", "test")
TOLERANCE = 1e-9

SHARED = 0.1
"""The part of a split's inputs that may be in another split as well."""

DOWNHILL, RATE = 200, 0.1
"""Number and size of the optimiser's steps that improve outputs."""


class TaskCase(Case):
    """A task with its data.

    Args:
        task: the task.
        restore: makes the task again from the facts that a run keeps, if its component can do that.
    """

    def __init__(self, task: Task, restore: Callable[[Mapping[str, Any]], Task] | None = None) -> None:
        self.task, self.restore = task, restore

    def data(self, split: str) -> Data:
        """Return a split; raises `Vacuous` if the data is not here."""
        try:
            return self.task.data(split)
        except DataError as error:
            raise Vacuous(f"its data cannot be read: {error}") from error

    def make(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Draw outputs [networks, examples, *outputs] in float64; return them with labels of the data."""
        labels = self.data("train").y[: draw.examples]
        shape = (draw.networks, len(labels), *self.task.output_shape)
        return torch.randn(shape, generator=draw.rng(), dtype=torch.float64), labels


def _declared(case: TaskCase, draw: Draw) -> None:
    """Its attributes are what they should be."""
    try:
        check_declarations(case.task)
    except PluginError as error:
        raise Broken(str(error)) from error


def _splits(case: TaskCase, draw: Draw) -> str:
    """There are three splits of the declared shape, with finite inputs and labels that the loss takes."""
    sizes = []
    seen: dict[str, set[bytes]] = {}
    for split in SPLITS:
        data = case.data(split)
        try:
            check_data(case.task, split, data)
        except DataError as error:
            raise Broken(str(error)) from error
        sizes.append(f"{len(data):,} {split}")
        if not torch.equal(data.kept, case.data(split).kept) or not torch.equal(data.y, case.data(split).y):
            raise Broken("it is another one when it is asked for again", f"split '{split}'")
        rows = [row.numpy().tobytes() for row in data.kept.flatten(1)]
        for other, known in seen.items():
            shared = sum(row in known for row in rows)
            if SHARED * len(rows) < shared:
                raise Broken(f"{shared} of {len(rows)} inputs are in split '{other}' too", f"split '{split}'")
        distinct = set(rows)
        if len(distinct) > (1 - SHARED) * len(rows):  # else inputs with few values coincide by chance
            seen[split] = distinct
    return "examples: " + ", ".join(sizes)


def _losses(case: TaskCase, draw: Draw) -> None:
    """Each example has a loss and a score that do not depend on others; a step against the gradient lowers the loss."""
    outputs, labels = case.make(draw)
    labels = labels.expand(draw.networks, *labels.shape)
    if case.task.shift_invariant and case.task.num_outputs == 1:
        raise Vacuous("with a single output and no common shift every loss is the same")
    leaf = outputs.clone().requires_grad_()
    loss = case.task.loss(leaf, labels)
    for name, value in (("loss", loss), ("score", case.task.score(outputs, labels))):
        if tuple(value.shape) != tuple(outputs.shape[:2]) or not bool(value.isfinite().all()):
            raise Broken(f"{name} of {list(outputs.shape)} outputs has the shape {list(value.shape)}, or is not finite")
        function = getattr(case.task, name)
        alone = torch.stack([function(outputs[:1, item : item + 1], labels[:1, item : item + 1]) for item in range(2)])
        if relative(value.detach()[0, :2], alone[:, 0, 0].detach()) > TOLERANCE:
            raise Broken(f"the {name} of an example depends on the other examples")
    (gradient,) = torch.autograd.grad(loss.sum(), [leaf])
    if not bool(gradient.isfinite().all()) or not bool(gradient.any()):
        raise Broken("the loss's gradient at the outputs is zero or not finite")
    downhill = case.task.loss(outputs - 1e-4 * gradient, labels).sum()
    if not float(downhill) < float(loss.detach().sum()):
        raise Broken("a small step against the gradient does not lower the loss")


def _symmetry(case: TaskCase, draw: Draw) -> None:
    """The loss sees a common shift of a place's outputs as declared, and canonical outputs are representatives."""
    outputs, labels = case.make(draw)
    labels = labels.expand(draw.networks, *labels.shape)
    moved = outputs + 3.0 + outputs[:, :, :1].flip(0)  # another shift at each place
    same = relative(case.task.loss(outputs, labels), case.task.loss(moved, labels)) <= TOLERANCE
    if same != case.task.shift_invariant:
        seen = "does not change" if same else "changes"
        raise Broken(f"shift_invariant is {case.task.shift_invariant}, but the loss {seen} with a common shift")
    canonical = case.task.canonical_outputs(outputs)
    if canonical.shape != outputs.shape or relative(canonical, case.task.canonical_outputs(canonical)) > TOLERANCE:
        raise Broken("canonical outputs of canonical outputs are others, or of another shape")
    if case.task.shift_invariant and relative(canonical, case.task.canonical_outputs(moved)) > TOLERANCE:
        raise Broken("outputs that differ by a common shift have different canonical outputs")
    if relative(case.task.loss(outputs, labels), case.task.loss(canonical, labels)) > TOLERANCE:
        raise Broken("canonical outputs have another loss")


def _meters(case: TaskCase, draw: Draw) -> None:
    """A meter's metrics do not depend on the chunks, and lower losses are better by the metric that selects."""
    outputs, labels = case.make(draw)
    whole = _results(case, outputs, labels, len(outputs), len(labels))
    _same(whole, _results(case, outputs, labels, 1, 3), "")
    if case.task.shift_invariant and case.task.num_outputs == 1:
        return
    better = outputs.clone().requires_grad_()
    optimiser = torch.optim.Adam([better], RATE)
    for _ in range(DOWNHILL):
        optimiser.zero_grad()
        case.task.loss(better, labels.expand(len(outputs), *labels.shape)).sum().backward()
        optimiser.step()
    improved = _results(case, better.detach(), labels, len(outputs), len(labels))
    if sum(metric.selects for metric in case.task.metrics) != 1:  # which another law reports
        return
    scores = [validation_score(case.task.metrics, results) for results in (whole, improved)]
    if not all(math.isfinite(score) for score in scores):
        raise Broken(f"the metric that selects is {scores[0]!r}, not a finite number")
    if scores[1] < scores[0]:
        raise Broken(
            f"outputs with a lower loss are worse by the metric that selects: {scores[1]:.6g} against {scores[0]:.6g}"
        )
    if improved == whole:
        raise Broken("outputs with a lower loss have the same metrics")


def _metrics(case: TaskCase, draw: Draw) -> str:
    """The meter finds each declared metric and no others, and metrics in percent are shares of 1."""
    metrics = case.task.metrics
    outputs, labels = case.make(draw)
    results = _results(case, outputs, labels, len(outputs), len(labels))
    try:
        declare_results(metrics, results, f"task '{case.task.name}'")
    except PluginError as error:
        raise Broken(str(error)) from error
    together = results.get("ensemble", {})
    found = {("network", name) for name in results if name != "ensemble"} | {("ensemble", name) for name in together}
    for of, name in sorted(found - {(metric.of, metric.name) for metric in metrics}):
        raise Broken(f"its meter finds '{name}' of the {of}, which no metric declares")
    for metric in metrics:
        value = metric.value(results)
        if metric.percent and value is not None and not 0 <= value <= 1:
            raise Broken(f"'{metric.name}' is {value:.6g}, but is declared as a share of 1 that is shown as percent")
    return "metrics: " + ", ".join(metric.label for metric in metrics)


def _results(case: TaskCase, outputs: Tensor, labels: Tensor, networks: int, examples: int) -> dict[str, Any]:
    """Return a meter's results for outputs that come in chunks of so many networks and examples."""
    meter = case.task.meter(len(outputs), len(labels), torch.device("cpu"))
    for first in range(0, len(outputs), networks):
        for item in range(0, len(labels), examples):
            part = outputs[first : first + networks, item : item + examples]
            meter.update(part, labels[item : item + examples], first, item)
    return meter.result()


def _same(one: object, other: object, path: str) -> None:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            _same(one[key], other[key], f"{path}.{key}".lstrip("."))
        return
    if not (one == other or math.isclose(_number(one), _number(other), rel_tol=1e-9, abs_tol=1e-12)):
        raise Broken(f"'{path}' is {one!r} if all outputs come at once, but {other!r} in chunks")


def _number(value: Any) -> float:
    """Return a number as a float, and NaN for anything else."""
    return float(value) if isinstance(value, Real) else math.nan


def _answers(case: TaskCase, draw: Draw) -> None:
    """Predictions keep the outputs' shape, a summary has a row for each example, augmented inputs keep their shape."""
    outputs, labels = case.make(draw)
    predictions = case.task.predictions(outputs)
    if predictions.shape != outputs.shape or not bool(predictions.isfinite().all()):
        raise Broken(f"predictions of {list(outputs.shape)} outputs have the shape {list(predictions.shape)}")
    for name, value in case.task.summarise(predictions).items():
        if len(value) != len(labels):
            raise Broken(f"summarise gives {len(value)} rows '{name}' for {len(labels)} examples")
    inputs = case.data("train").x[: draw.examples]
    kept = inputs.clone()
    found = [case.task.augment(inputs, torch.Generator().manual_seed(draw.seed)) for _ in range(2)]
    if found[0].shape != inputs.shape or found[0].dtype != inputs.dtype or not bool(found[0].isfinite().all()):
        raise Broken("augment changes the shape or the dtype of the inputs, or makes them infinite")
    if not torch.equal(inputs, kept):
        raise Broken("augment changes the inputs that it was given in place")
    if not torch.equal(*found):
        raise Broken("augment gives other inputs with the same random numbers")


def _moves(case: TaskCase, draw: Draw) -> str:
    """Labels of places move where inputs are moved along these."""
    task: Task = case.task
    data = case.data("train")[: draw.examples]
    found = [task.augment_data(data, torch.Generator().manual_seed(draw.seed)) for _ in range(2)]
    if found[0].y.shape != data.y.shape or found[0].y.dtype != data.y.dtype:
        raise Broken("augment_data changes the shape or the dtype of the labels")
    if not torch.equal(found[0].y, found[1].y):
        raise Broken("augment_data gives other labels with the same random numbers")
    if not task.label_places:
        return "its labels are of no places"
    if type(task).augment_data is Task.augment_data:
        if moves_places(task.augment, data.x, task.label_places):
            raise Broken("augment moves inputs to other places, and the labels of these places stay")
        return "labels are of the places of their inputs"
    told = 0
    for name, labels in labels_of_places(task).items():
        astray, seen = labels_astray(task.augment_data, case.data("train"), labels, draw.seed)
        if astray:
            raise Broken(
                f"augment_data carries inputs to other places than their labels{name}, in {astray} of the {seen} "
                "examples in which it can be told where both have come"
            )
        told += seen
    return f"labels come to where inputs come, in {told} examples" if told else "it could not be told where labels come"


def _restores(case: TaskCase, draw: Draw) -> str:
    """The facts that a run keeps of a task make the same task again."""
    if case.restore is None:
        return "it needs no restoring, since its factory reads no data"
    facts = case.task.facts
    if facts is None:
        raise Broken("it has no attribute 'facts' to be restored from")
    again = case.restore(facts)
    names = ("name", "input_shape", "num_outputs", "output_places", "shift_invariant", "likelihood", "metrics")
    for name in (*names, "score_metric"):
        if getattr(again, name) != getattr(case.task, name):
            raise Broken(f"{name} is {getattr(again, name)} after restoring, but was {getattr(case.task, name)}")
    outputs, _ = case.make(draw)
    for name, value in case.task.summarise(case.task.predictions(outputs)).items():
        if not torch.equal(again.summarise(again.predictions(outputs))[name], value):
            raise Broken(f"after restoring its summary has another '{name}'")
    for split in SPLITS:
        data, other = case.data(split), again.data(split)
        if not torch.equal(data.x, other.x) or not torch.equal(data.y, other.y):
            raise Broken("after restoring it has other data", f"split '{split}'")
    return "restored from its facts it is the same"


LAWS = (
    Law(
        name="declares_itself",
        text="shapes, metrics, names of classes, standardisations and facts are what hyperframe.Task says they are",
        cause="classes as one text, one name too few, two metrics that select, or a tensor among the facts",
        holds=_declared,
        examples=1,
    ),
    Law(
        name="splits_are_data",
        text="three splits of finite inputs of the declared shape, with labels that the loss takes, always the same",
        cause="a split that is drawn without a seed, or an input_shape that is not that of the inputs",
        holds=_splits,
        examples=1,
    ),
    Law(
        name="loss_is_of_each_example",
        text="every example has a finite loss and score of its own, and a step against the gradient lowers the loss",
        cause="a mean over the examples inside the loss",
        holds=_losses,
    ),
    Law(
        name="symmetry_is_as_declared",
        text="'shift_invariant' says that a shift of a place's outputs keeps the loss, and 'canonical_outputs' fits it",
        cause="a loss of logits that is declared as one of values, or the other way round",
        holds=_symmetry,
    ),
    Law(
        name="meter_sees_no_chunks",
        text="metrics do not depend on chunks, and outputs with a lower loss are no worse by the metric that selects",
        cause="a mean of means of chunks of different sizes, or a metric whose 'better' is the wrong way round",
        holds=_meters,
    ),
    Law(
        name="metrics_are_as_declared",
        text="the meter returns the declared metrics and no others, and those in percent are shares of 1",
        cause="a key that is spelt differently, or a value in percent instead of a share of 1",
        holds=_metrics,
    ),
    Law(
        name="answers_have_shapes",
        text="predictions, summaries and augmented inputs have a row for each example, and augment draws from its rng",
        cause="numbers from torch's global generator, or an in-place change",
        holds=_answers,
    ),
    Law(
        name="labels_move_with_inputs",
        text="what moves inputs along places that have labels moves the labels as well",
        cause="a flip or a crop in 'augment', which has no labels, or in 'augment_data' of the inputs alone",
        holds=_moves,
        examples=1,
    ),
    Law(
        name="is_restored",
        text="if its component has 'restore', that makes the same task again from its attribute 'facts' alone",
        cause="facts that leave out something that predictions depend on, or a restore that reads other options",
        holds=_restores,
        examples=1,
    ),
)
