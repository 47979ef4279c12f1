"""The kinds of components: what registers each, and where a configuration chooses it."""

from typing import Any

import attrs


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
    """

    name: str
    hook: str
    key: str = ""
    many: bool = False
    default: Any = None
    help: str = ""


_KINDS = (
    Kind(name="task", hook="hyperframe_tasks", key="task", help="data, loss and metrics"),
    Kind(name="target", hook="hyperframe_targets", key="target", help="the architecture whose weights are generated"),
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
    ),
    Kind(
        name="entropy",
        hook="hyperframe_entropy_estimators",
        key="entropy",
        default="kozachenko_leonenko",
        help="estimator that diversity terms use",
    ),
    Kind(
        name="diversity",
        hook="hyperframe_diversity_terms",
        key="diversity",
        many=True,
        default=["weight_entropy"],
        help="list: terms of the loss, each with a weight",
    ),
    Kind(
        name="objective",
        hook="hyperframe_objectives",
        key="objective",
        default="trade_off",
        help="what accuracy counts in the loss, and what the weights cost",
    ),
    Kind(name="analysis", hook="hyperframe_analyses"),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""The kinds of components, by name."""
