"""The kinds of components: what registers each, and where a configuration chooses it."""

from typing import Any

import attrs

from hyperframe.errors import PluginError
from hyperframe.options import key_of, option
from hyperframe.targets.part import PartOptions
from hyperframe.types import DiversityTerm, EntropyEstimator, Gauge, NoOptions, Objective, Task


@attrs.frozen(kw_only=True)
class TermOptions:
    """Options of every diversity term."""

    weight: float = option(1.0, "what the term counts")


@attrs.frozen(kw_only=True)
class Kind:
    """A kind of components: what the engine knows of it.

    Attributes:
        name: what messages call it.
        hook: the hook that registers such components.
        key: the key of a configuration that chooses them; empty for analyses, which are listed by name alone.
        many: True where the key holds a list.
        default: what the key holds where a configuration has nothing; None where it must say.
        help: what the key holds, in a few words.
        base: the class whose instances their factories make; None where there are several ways, or it is of a wing that
            checks it itself.
        common: options that each of them has beside its own, which no component may use the keys of.
    """

    name: str
    hook: str
    key: str = ""
    many: bool = False
    default: Any = None
    help: str = ""
    base: type | None = None
    common: type[Any] = NoOptions

    @property
    def common_keys(self) -> list[str]:
        """The keys of the options that each of them has beside its own."""
        return [key_of(field) for field in attrs.fields(self.common)]


_KINDS = (
    Kind(name="task", hook="hyperframe_tasks", key="task", help="data, loss and metrics", base=Task),
    Kind(
        name="target",
        hook="hyperframe_targets",
        key="target",
        help="the architecture whose weights are generated",
        common=PartOptions,
    ),
    Kind(
        name="generator",
        hook="hyperframe_generators",
        key="generator",
        default="hypernetwork",
        help="what draws the weights",
    ),
    Kind(
        name="gauge",
        hook="hyperframe_gauges",
        key="gauges",
        many=True,
        default=["scale", "logit_bias"],
        help="list: symmetries that do not count as diversity",
        base=Gauge,
    ),
    Kind(
        name="entropy",
        hook="hyperframe_entropy_estimators",
        key="entropy",
        default="kozachenko_leonenko",
        help="estimator that diversity terms use",
        base=EntropyEstimator,
    ),
    Kind(
        name="diversity",
        hook="hyperframe_diversity_terms",
        key="diversity",
        many=True,
        default=["weight_entropy"],
        help="list: terms of the loss, each with a weight",
        base=DiversityTerm,
        common=TermOptions,
    ),
    Kind(
        name="objective",
        hook="hyperframe_objectives",
        key="objective",
        default="trade_off",
        help="what accuracy counts in the loss, and what the weights cost",
        base=Objective,
    ),
    Kind(name="analysis", hook="hyperframe_analyses"),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""The kinds of components, by name."""


def check_component(component: object, base: type, where: str) -> None:
    """Check that a factory made what it should: an instance of a base class that lacks nothing the class demands.

    Raises:
        PluginError: it is none, or lacks something; the message begins with `where`.

    Example:
        >>> class Idle(Gauge):
        ...     def __call__(self, weights):
        ...         return weights
        >>> check_component(Idle(), Gauge, "gauge 'idle'")
        Traceback (most recent call last):
        hyperframe.errors.PluginError: gauge 'idle': its factory must return a Gauge; Idle has no fixes
    """
    kind, article = type(component).__name__, "an" if base.__name__[0] in "AEIOU" else "a"
    must = f"{where}: its factory must return {article} {base.__name__}"
    if not isinstance(component, base):
        raise PluginError(f"{must}, but gives {kind}, which is no subclass of {base.__module__}.{base.__name__}")
    declared = {name for of in base.__mro__ if of is not object for name in (*of.__annotations__, *vars(of))}
    missing = sorted(name for name in declared if _is_missing(component, name))
    if missing:
        raise PluginError(f"{must}; {kind} has no {', '.join(missing)}")


def _is_missing(component: object, name: str) -> bool:
    if name.startswith("_") and name != "__call__":
        return False
    of_class = getattr(type(component), name, None)  # a property is there even where what it reads is missing
    there = of_class is not None or hasattr(component, name)
    return not there or getattr(of_class, "__isabstractmethod__", False)
