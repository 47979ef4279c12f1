"""Checks of a component, found by its name: one for each law of its kind."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar
from unittest import SkipTest

import attrs

from hyperframe.api import make_registry
from hyperframe.config.choices import Choice, choose
from hyperframe.config.import_path import Factories, is_factory
from hyperframe.config.kinds import KINDS
from hyperframe.config.overrides import as_section
from hyperframe.config.registry import Registry
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.errors import ConfigError, Forgiven, PluginError, brief, described, unknown_name
from hyperframe.experiment.targets import inputs_of, make_target
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.gauge import find_conflict
from hyperframe.targets.symmetry.orbits import Orbits
from hyperframe.testing import (
    of_diversities,
    of_estimators,
    of_exports,
    of_gauges,
    of_generators,
    of_objectives,
    of_targets,
    of_tasks,
    of_training,
)
from hyperframe.testing.laws import Case, ConformanceError, Draw, Law, Verdict, try_law
from hyperframe.testing.networks import network
from hyperframe.types import Gauge

F = TypeVar("F", bound=Callable[..., Any])

TASK = "digits"
"""The task that is assumed where none is chosen: it gives traced targets their input shape, and is given to generators.
"""

ESTIMATOR = "kozachenko_leonenko"
"""The entropy estimator that diversity terms are given."""

LAWS: dict[str, tuple[Law, ...]] = {
    "target": (*of_targets.LAWS, *of_exports.LAWS),
    "gauge": of_gauges.LAWS,
    "entropy": of_estimators.LAWS,
    "diversity": of_diversities.LAWS,
    "generator": (*of_generators.LAWS, *of_training.LAWS),
    "objective": of_objectives.LAWS,
    "task": of_tasks.LAWS,
}
"""The laws of each kind of component."""

BUILT = Law(
    name="can_be_built",
    text="its factory makes a component of the kind with these options",
    cause="a factory that takes other arguments than its kind is called with, or options that do not fit together",
    holds=lambda case, draw: None,
)
"""The law that is checked before those of a kind."""


class _Subject:
    """A component with its options, or a list of gauges; its cases are made once, when they are first asked for.

    Args:
        kind: the kind of component.
        choices: one component, or several gauges.
        registry: for other components that it needs.
        task: the name of a task.
    """

    def __init__(self, kind: str, choices: list[Choice], registry: Registry, task: str) -> None:
        self.kind, self.choices, self.registry, self.task = kind, choices, registry, task

    @cached_property
    def cases(self) -> list[Case] | Exception:
        """The cases on which laws are tested, or the error because of which there are none."""
        failures: list[Exception] = []

        def failed(error: BaseException) -> None:
            failures.append(error if isinstance(error, Exception) else PluginError(described(error)))

        with Forgiven(failed, passing=(ConfigError,)):  # the user's options, not the component
            return list(getattr(self, f"_{self.kind}_cases")())
        return failures[0]

    def _other(self, kind: str, name: str) -> Any:
        return choose(self.registry, kind, name, kind)

    def _target_cases(self) -> list[Case]:
        task = self._other("task", self.task).make()
        return [of_targets.TargetCase(make_target(self.choices[0], tuple(task.input_shape), 0, inputs_of(task)))]

    def _gauge_cases(self) -> list[of_gauges.GaugeCase]:
        def make(of: Orbits) -> dict[str, Gauge]:
            return {choice.name: choice.make(of) for choice in self.choices}

        _check_list(make(network("dense", Draw()).orbits))
        return of_gauges.gauge_cases(make, lambda of: self._complete(of, make(of)))

    def _complete(self, of: Orbits, given: Mapping[str, Gauge] | None = None) -> dict[str, Gauge]:
        """Return gauges of the library that fix all kinds which the given gauges do not fix."""
        given = given or {}
        taken = set().union(*(gauge.fixes for gauge in given.values()))
        found: dict[str, Gauge] = {}
        for entry in self.registry.all():
            if entry.kind != "gauge" or entry.source.distribution != OWN_DISTRIBUTION or entry.component.name in given:
                continue
            gauge: Gauge = self._other("gauge", entry.component.name).make(of)
            if not taken & gauge.fixes and gauge.directions is None:
                found[entry.component.name] = gauge
                taken |= gauge.fixes
        return found

    def _entropy_cases(self) -> list[Case]:
        return [of_estimators.EstimatorCase(self.choices[0].make())]

    def _diversity_cases(self) -> list[Case]:
        term = self.choices[0].make(self._other("entropy", ESTIMATOR).make())
        return [of_diversities.DiversityCase(name, term, self._complete) for name in of_diversities.NETWORKS]

    def _generator_cases(self) -> list[Case]:
        task = self._other("task", self.task).make()

        def make(spec: TargetSpec) -> object:
            return self.choices[0].make(spec, task)

        make(network(of_generators.NETWORKS[0], Draw()).spec)
        return [of_generators.GeneratorCase(name, make) for name in of_generators.NETWORKS]

    def _objective_cases(self) -> list[Case]:
        return [of_objectives.ObjectiveCase(self.choices[0].make())]

    def _task_cases(self) -> list[Case]:
        task = self.choices[0].make()
        restore = self.choices[0].registered.component.restore
        return [of_tasks.TaskCase(task, None if restore is None else partial(restore, self.choices[0].options))]


def _check_list(gauges: Mapping[str, Gauge]) -> None:
    """Check that gauges by name can stand in one list: it is whoever lists them who is wrong otherwise, not a gauge."""
    conflict = find_conflict(gauges)
    if conflict is not None:
        one, other, kind = conflict
        raise ConfigError(
            f"'{one}' and '{other}' are no list of gauges: both fix the orbit '{kind}', and a configuration can have "
            f"one of them; check each by itself: hyperframe check {one}, and hyperframe check {other}"
        )


@attrs.frozen(kw_only=True, eq=False)
class Check:
    """One law of one component.

    Attributes:
        component: the component's name; for a list of gauges all names.
        kind: the kind of component.
        law: the law that must hold.
    """

    component: str
    kind: str
    law: Law
    _subject: _Subject = attrs.field(alias="subject")

    @property
    def id(self) -> str:
        """Kind, component and law, as the name of a test."""
        return f"{self.kind}-{self.component}-{self.law.name}"

    def verdict(self) -> Verdict:
        """Test the law.

        Raises:
            ConfigError: wrong options, or gauges that cannot stand in one list.
        """
        cases = self._subject.cases
        if not isinstance(cases, Exception):
            return try_law(self.law, cases if self.law is not BUILT else [Case()])
        if self.law is not BUILT:
            return Verdict(check=self.law.name, state="vacuous", law=self.law.text, message="it could not be built")
        what = f"{type(cases).__name__}: {brief(cases)}"
        return Verdict(check=self.law.name, state="failed", law=self.law.text, message=what, cause=self.law.cause)

    def __call__(self) -> None:
        """Test the law, as a test function does.

        Raises:
            ConformanceError: it does not hold.
            ConfigError: wrong options, or gauges that cannot stand in one list.
            SkipTest: there is nothing to test; pytest and unittest show the reason.
        """
        verdict = self.verdict()
        if verdict.state == "failed":
            raise ConformanceError(f"{self.kind} '{self.component}'\n{verdict.explain()}")
        if verdict.state == "vacuous":
            raise SkipTest(f"{self.component}: {verdict.check}: {verdict.message}")


def checks(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    kind: str | None = None,
    task: str = TASK,
    registry: Registry | None = None,
) -> list[Check]:
    """List all checks of a component.

    Args:
        name: of an installed component; `torchvision:NAME` or `package.module:factory` for a target; several gauges
            with commas between them for a list of gauges.
        options: the component's options.
        kind: the kind of component, if components of several kinds have the name; by default all of them are checked.
        task: the task whose inputs a target without a spec is traced with.
        registry: the components to choose from; by default all that are installed.

    Raises:
        PluginError: there is no such component.
        ConfigError: wrong options.

    Example:
        >>> [check.law.name for check in checks("digits_cnn")][:2]
        ['can_be_built', 'spec_describes_module']
        >>> checks("digits_cnn")[0].verdict().state
        'passed'
    """
    registry = registry or make_registry()
    if is_factory(name) and all(entry.component.name != name for entry in registry.all()):
        registry = registry.with_plugins([Factories([name])])
    registry.get("task", task)
    names = [part.strip() for part in name.split(",")]
    if len(set(names)) < len(names) or not all(names):
        raise ConfigError(f"'{name}' is no list of different names")
    kinds = _kinds_of(names, kind, registry)
    found = []
    for one in kinds:
        section = {**(options or {})}
        if len(names) > 1 and section:
            raise ConfigError(f"options can be given for one component only, but {name} are {len(names)}")
        choices = [choose(registry, one, {"name": part, **section}, one) for part in names]
        subject = _Subject(one, choices, registry, task)
        found += [Check(component=name, kind=one, law=law, subject=subject) for law in (BUILT, *LAWS[one])]
    return found


def _kinds_of(names: list[str], kind: str | None, registry: Registry) -> list[str]:
    """Return the kinds of component that have a name; several names can only be gauges."""
    if kind is not None and kind not in LAWS:
        raise PluginError(unknown_name("kind of component", kind, LAWS))
    if len(names) > 1:
        if kind not in (None, "gauge"):
            raise PluginError(f"only gauges are checked as a list, not '{','.join(names)}' of kind '{kind}'")
        return ["gauge"]
    (name,) = names
    name = as_section(name, "name")["name"]  # torchvision:NAME is of torchvision
    owners: dict[str, str] = {}
    found = []
    for entry in registry.all():
        owners[entry.component.name] = f"{entry.kind} of {entry.source.distribution}"
        if entry.component.name == name and kind in (None, entry.kind):
            found.append(entry.kind)
    if "analysis" in found:
        raise PluginError(f"'{name}' is an analysis, and analyses have no laws; 'hyperframe analyse' runs it")
    if not found and kind is not None:
        registry.get(kind, name)
    if not found:
        raise PluginError(unknown_name("component", name, owners, owners) + registry.left_out)
    return [one for one in KINDS if one in found]


def conformance(name: str, options: Mapping[str, Any] | None = None, **chosen: Any) -> Callable[[F], F]:
    """Decorate a test function with the argument `check`: it runs once for each check of a component.

    Args:
        name: as in `checks`.
        options: as in `checks`.
        chosen: `kind`, `task` and `registry`, as in `checks`.

    Example:
        >>> @conformance("scale")
        ... def test_scale(check):
        ...     check()
    """
    import pytest  # noqa: PLC0415  (only tests need it)

    def decorate(test: F) -> F:
        found = checks(name, options, **chosen)
        decorated: F = pytest.mark.parametrize("check", found, ids=[check.id for check in found])(test)
        return decorated

    return decorate
