"""Metrics, as a task declares them, and the meters that measure them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeGuard

import attrs
from attrs.validators import and_, in_, instance_of, min_len
from torch import Tensor

from hyperframe.errors import PluginError

ARROWS = {"greater": " ↑", "lower": " ↓", "": ""}
"""Marks in tables for the better direction."""

WORDS = {"network": "{} of one network", "ensemble": "ensemble: {}"}
"""How a metric's label is completed: for single networks, and for all of them as an ensemble."""

OF_NETWORKS = ("mean", "std", "min", "max")
"""The moments over networks that a figure of single networks can have."""

IN_A_ROW = 3
"""Validations that must all be clearly worse than the best before anyone is warned."""
LOST = 0.1
"""Clearly worse is what has lost such a part of what the best had gained on the first validation, …"""
NOISE = 4
"""… and has moved away from the best by so many mean differences between two successive validations."""

PART = 0.25
"""The part of the steps that must lie behind the best validation: what swings before anything is learnt is not told."""

_word = and_(instance_of(str), min_len(1))


@attrs.frozen(kw_only=True)
class Metric:
    """One figure that a task's meter finds, and how it is to be read.

    Tables, pages, comparisons and lists of runs show the metrics that a task declares, in their order.

    Attributes:
        name: the figure's key in what the meter finds; of the ensemble under `ensemble`.
        label: what tables call it; by default its name.
        unit: of its values, such as "°" or "nats"; empty where it has none.
        better: which values are better; empty where neither are, as of what tells how far networks differ.
        of: "network", a figure of single networks, or "ensemble", of all networks together.
        percent: True for a share of 1 that is shown as percent.
        selects: True for the one metric of single networks whose mean over the networks of a validation says which
            checkpoint is the best.
        mean_of: of the ensemble: the name of the metric of single networks that this one is of the mean of their
            predictions, with which it can be compared; empty where there is none.
        head: in a task of several heads, the one it is of, whose name its label begins with; empty in all others.

    Example:
        >>> error = Metric(name="mae", label="mean absolute error", unit="°", better="lower", selects=True)
        >>> error.shown(2.51), Metric(name="accuracy", better="greater", percent=True).shown(0.5, 0.01)
        ('2.51', '50.00 ± 1.00 %')
        >>> error.words("{} of one network")
        'mean absolute error of one network (°) ↓'
    """

    name: str = attrs.field(validator=_word)
    label: str = attrs.field(validator=_word)
    unit: str = attrs.field(default="", validator=instance_of(str))
    better: Literal["greater", "lower", ""] = attrs.field(default="", validator=in_(("greater", "lower", "")))
    of: Literal["network", "ensemble"] = attrs.field(default="network", validator=in_(("network", "ensemble")))
    percent: bool = attrs.field(default=False, validator=instance_of(bool))
    selects: bool = attrs.field(default=False, validator=instance_of(bool))
    mean_of: str = attrs.field(default="", validator=instance_of(str))
    head: str = attrs.field(default="", validator=instance_of(str))

    @label.default
    def _name(self) -> str:
        return self.name

    def __attrs_post_init__(self) -> None:
        if self.percent and self.unit:
            raise ValueError(f"metric '{self.name}': percent have no other unit, but it has '{self.unit}'")
        if self.selects and (self.of != "network" or not self.better):
            raise ValueError(f"metric '{self.name}': what selects is of single networks, and says which way is better")
        if self.mean_of and self.of != "ensemble":
            raise ValueError(f"metric '{self.name}': only a metric of the ensemble is one of the mean prediction")

    @property
    def title(self) -> str:
        """The label for the beginning of a sentence; short labels are abbreviations, such as RMSE.

        That of a head's metric begins with the head's name, as in "digit: accuracy", and stays as it is.
        """
        if self.head:
            return self.label
        return self.label.upper() if len(self.label) < 5 else self.label[:1].upper() + self.label[1:]

    def shown(self, value: float, deviation: float | None = None) -> str:
        """A value as text, with its deviation if there is one, without the unit."""
        if not self.percent:
            return with_deviation(".4g", value, deviation)
        return in_percent(value) if deviation is None else with_deviation(".2f", 100 * value, 100 * deviation) + " %"

    def words(self, sentence: str) -> str:
        """A heading: the label in a sentence at {}, then the unit and which way is better."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{sentence.format(self.label)}{unit}{ARROWS[self.better]}"

    def spread(self, results: Mapping[str, Any]) -> Mapping[str, float] | None:
        """Mean, deviation, least and largest value over the networks; None where results have only a mean, or none."""
        found = results.get(self.name) if self.of == "network" else None
        return found if isinstance(found, Mapping) and all(_is_number(found.get(key)) for key in OF_NETWORKS) else None

    def value(self, results: Mapping[str, Any]) -> float | None:
        """Its value in the results of an evaluation, of single networks the mean; None where they have none."""
        if self.of == "ensemble":
            together = results.get("ensemble")
            found = together.get(self.name) if isinstance(together, Mapping) else None
        else:
            found = results.get(self.name)
            found = found.get("mean") if isinstance(found, Mapping) else found
        return float(found) if _is_number(found) else None

    def text(self, results: Mapping[str, Any]) -> str | None:
        """Its value in the results of an evaluation, with the deviation over the networks; None where there is none."""
        value, spread = self.value(results), self.spread(results)
        if value is None:
            return None
        return self.shown(value, None if spread is None else spread["std"])

    def plain(self) -> dict[str, Any]:
        """The declaration as plain data, from which `Metric(**plain)` makes it again."""
        return attrs.asdict(self)


def with_deviation(form: str, value: float, deviation: float | None = None) -> str:
    """Write a value by a format, with its deviation if there is one.

    Example:
        >>> with_deviation(".1f", 3.14159), with_deviation(".1f", 3.14159, 0.2)
        ('3.1', '3.1 ± 0.2')
    """
    return format(value, form) + ("" if deviation is None else f" ± {deviation:{form}}")


def in_percent(share: float, digits: int = 2) -> str:
    """Write a share of 1 as percent.

    Example:
        >>> in_percent(0.9861), in_percent(0.5, 0)
        ('98.61 %', '50 %')
    """
    return f"{100 * share:.{digits}f} %"


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Meter:
    """Finds a task's results over networks and examples, chunk by chunk; the base class of a task's meters.

    A task makes an empty one with `Task.meter(networks, examples, device)` for each evaluation. It is then handed every
    network's outputs on every example exactly once, in chunks of some networks and some examples; of each example the
    networks come in their order. What chunks there are depends on memory, and results must not depend on it. Memory
    should grow with networks + examples, never with networks × examples. No gradient is recorded.
    """

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in a chunk.

        Args:
            outputs: of some networks on some examples, [networks, examples, *outputs], on the meter's device.
            labels: of these examples, [examples, *label], on the same device.
            first_network: the place of the chunk's first network among all.
            first_example: the place of the chunk's first example among all.
        """
        raise NotImplementedError(f"{type(self).__name__} must take in outputs, in update")

    def result(self) -> dict[str, Any]:
        """All results, once every chunk was taken in.

        A key for each metric that the task declares: of single networks what `over_networks` makes of their values
        (`mean`, `std`, `min`, `max`), or their mean alone; those of the ensemble are in a mapping under `ensemble`. All
        are plain numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it found, in result")


def over_networks(values: Tensor) -> dict[str, float]:
    """Mean, standard deviation, least and largest of the values of single networks, [networks].

    Example:
        >>> over_networks(Tensor([1.0, 3.0]))
        {'mean': 2.0, 'std': 1.0, 'min': 1.0, 'max': 3.0}
    """
    moments = values.mean(), values.std(correction=0), values.min(), values.max()
    return dict(zip(OF_NETWORKS, map(float, moments), strict=True))


def check_metrics(metrics: Sequence[Metric], task: str) -> None:
    """Check what a task declares: metrics with different names, of which one selects; raises `PluginError`."""
    where = f"task '{task}'"
    if not isinstance(metrics, Sequence):
        raise PluginError(f"{where}: its metrics are {metrics!r}, not a sequence of hyperframe.Metric")
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise PluginError(f"{where}: its metrics hold {metric!r}, which is no hyperframe.Metric")
    keys = [(metric.of, metric.name) for metric in metrics]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise PluginError(f"{where}: two metrics of the {twice[0]} are called '{twice[1]}'")
    selecting = [metric.name for metric in metrics if metric.selects]
    if len(selecting) != 1:
        told = ", ".join(f"'{name}'" for name in selecting) or "none does"
        raise PluginError(f"{where}: exactly one of its metrics says by 'selects' which checkpoint is best, but {told}")
    singles = {metric.name for metric in metrics if metric.of == "network"}
    for metric in metrics:
        if metric.mean_of and metric.mean_of not in singles:
            raise PluginError(f"{where}: metric '{metric.name}' is said to be of '{metric.mean_of}', which is none")


def declare_results(metrics: Sequence[Metric], results: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Add to results, under `metrics`, what a task declares of those of its meter, or an analysis of its own.

    Raises:
        PluginError: a metric is declared that was not found.
    """
    for metric in metrics:
        if metric.value(results) is None:
            declared = f"{whose} declares the metric '{metric.name}' of the {metric.of}"
            raise PluginError(f"{declared}, but its results have no number of that name")
    return {**results, "metrics": [metric.plain() for metric in metrics]}


def metrics_of(results: Mapping[str, Any]) -> list[Metric]:
    """Read the metrics that are declared in results.

    Raises:
        TypeError, ValueError: results that were read from a file hold something else.
    """
    return [Metric(**plain) for plain in results.get("metrics", ())]


def first_metric(metrics: Iterable[Metric], of: str) -> Metric | None:
    """Return the first metric of networks, or of the ensemble, that says which way is better: for short lists."""
    return next((metric for metric in metrics if metric.of == of and metric.better), None)


def validation_score(metrics: Iterable[Metric], results: Mapping[str, Any]) -> float:
    """Compute what checkpoints are compared by, more is better: the mean of the metric that selects, or less that.

    Example:
        >>> validation_score([Metric(name="mae", better="lower", selects=True)], {"mae": {"mean": 2.0}})
        -2.0
    """
    metric = next(metric for metric in metrics if metric.selects)
    value = metric.value(results)
    if value is None:
        return math.nan
    return value if metric.better == "greater" else -value


def _numbers(values: Sequence[float]) -> list[float]:
    return list(map(float, values))


@attrs.define
class Course:
    """The course of one metric over the validations: its best value, and how it went on from there.

    Values are scores, of which more is better. Those that are not finite are left out.

    Attributes:
        first: the first score.
        best: the best one, the earlier of equals.
        best_step: its step.
        moved: the sum of absolute differences between successive scores from the best one on.
        count: how many scores came after the best.
        recent: the last ones of these, the oldest first, up to `IN_A_ROW`.

    Example:
        >>> course = Course()
        >>> for step, score in enumerate([0.5, 0.9, 0.8, 0.85]):
        ...     course.add(step, score)
        >>> course.best, course.best_step, course.recent, round(course.moved, 2)
        (0.9, 1, [0.8, 0.85], 0.15)
    """

    first: float = attrs.field(default=-math.inf, converter=float)
    best: float = attrs.field(default=-math.inf, converter=float)
    best_step: int = attrs.field(default=0, converter=int)
    moved: float = attrs.field(default=0.0, converter=float)
    count: int = attrs.field(default=0, converter=int)
    recent: list[float] = attrs.field(factory=list, converter=_numbers)

    def add(self, step: int, score: float) -> None:
        """Take in the score of a validation."""
        if self.first == -math.inf:
            self.first = score
        if score > self.best:
            self.best, self.best_step = score, step
            self.moved, self.count, self.recent = 0.0, 0, []
            return
        self.moved += abs(score - (self.recent[-1] if self.recent else self.best))
        self.count += 1
        self.recent = [*self.recent, score][-IN_A_ROW:]

    @property
    def clearly_worse(self) -> bool:
        """Whether the last `IN_A_ROW` scores are all worse than the best by more than noise, see `LOST` and `NOISE`."""
        if len(self.recent) < IN_A_ROW:
            return False
        worse = max(LOST * (self.best - self.first), NOISE * self.moved / self.count)
        return self.best - max(self.recent) > worse

    def has_worsened(self, step: int, steps: int) -> bool:
        """Whether it is clearly worse at a step, and the best score lies `PART` of all steps or more behind."""
        return self.clearly_worse and step - self.best_step >= PART * steps
