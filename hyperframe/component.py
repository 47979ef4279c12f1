"""The record that describes a registered component: its name, how it is made, and its options."""

from collections.abc import Callable
from typing import Any

import attrs

from hyperframe.metrics import Metric
from hyperframe.types import NoOptions


@attrs.frozen(kw_only=True)
class Component:
    """One registered component: its name, how it is made, and what it is.

    Attributes:
        name: what a configuration calls it.
        factory: makes it; what it is called with depends on the kind, see `hyperframe.hookspecs`. Nothing heavy is
            imported or allocated before it is called.
        restore: of a task whose data say what it is (its shapes, its classes): makes it of its options and of what its
            attribute `facts`, plain data, was when a run was trained on it, without a look at the data; `Task.data`
            then reads them, and raises `DataError` where they are not there, or are others.
        options: the attrs class of its options.
        summary: one line.
        reference: the paper or section it comes from.
        title: of an analysis: its heading in a report; by default its name in words.
        place: of an analysis: where a report tells of it; lower ones come first, equal ones by name.
        metrics: of an analysis: figures among its results by which generators are compared, found as `Metric.value`
            finds them; one of the ensemble stands under `ensemble`. `hyperframe bench generators` has a row for each.
            Where a run has none of them, results hold others, or none, under `metrics` (`Metric.plain`).
    """

    name: str
    factory: Callable[..., Any]
    options: type[Any] = attrs.field(factory=lambda: NoOptions)
    summary: str = ""
    reference: str = ""
    restore: Callable[..., Any] | None = None
    title: str = ""
    place: int = 1000
    metrics: tuple[Metric, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.options, type) or not attrs.has(self.options):
            raise TypeError(f"component '{self.name}': options must be an attrs class, not {self.options!r}")

    @property
    def heading(self) -> str:
        """The title, or the name in words."""
        words = self.title or self.name.replace("_", " ")
        return words[:1].upper() + words[1:]
