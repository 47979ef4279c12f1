"""Every hook, on one page. Each component hook returns a list of `Component`s."""

from typing import Any

import pluggy

from hyperframe.component import Component

GROUP = "hyperframe"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def hyperframe_targets() -> list[Component]:  # type: ignore[empty-body]
    """Register target networks: factory(options) → module, (module, spec) or what `hyperframe.trace` gives."""


@hookspec
def hyperframe_tasks() -> list[Component]:  # type: ignore[empty-body]
    """Register tasks: factory(options) → Task."""


@hookspec
def hyperframe_generators() -> list[Component]:  # type: ignore[empty-body]
    """Register generators of weights: factory(options, spec, task) → Generator."""


@hookspec
def hyperframe_gauges() -> list[Component]:  # type: ignore[empty-body]
    """Register gauges: factory(options, orbits) → Gauge."""


@hookspec
def hyperframe_entropy_estimators() -> list[Component]:  # type: ignore[empty-body]
    """Register entropy estimators: factory(options) → EntropyEstimator."""


@hookspec
def hyperframe_diversity_terms() -> list[Component]:  # type: ignore[empty-body]
    """Register diversity terms: factory(options, estimator) → DiversityTerm."""


@hookspec
def hyperframe_objectives() -> list[Component]:  # type: ignore[empty-body]
    """Register objectives: factory(options) → Objective."""


@hookspec
def hyperframe_analyses() -> list[Component]:  # type: ignore[empty-body]
    """Register analyses of trained runs: factory(options) → Analysis."""


@hookspec
def hyperframe_reporters(run: Any) -> list[Any]:  # type: ignore[empty-body]
    """Observe trainings: return `hyperframe.Reporter`s for this run; asked for when its training begins."""
