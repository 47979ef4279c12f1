"""Targets named `package.module:factory`: any importable callable that returns a module and its spec.

A name like this is code to be run, so it counts only where a user has typed it: as an argument of a command or of a
function. A configuration file or a run folder may repeat it, and cannot bring it in.
"""

import importlib
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from hyperframe.errors import PluginError
from hyperframe.hookspecs import hookimpl
from hyperframe.options import option
from hyperframe.types import Component

TYPED = "package.module:factory"
"""What stands for the distribution of these components."""


def is_factory(name: Any) -> bool:
    """Whether a target's name has the form `package.module:factory`.

    Example:
        >>> is_factory("my.nets:small"), is_factory("mlp"), is_factory("a:b:c")
        (True, False, False)
    """
    module, colon, function = name.partition(":") if isinstance(name, str) else ("", "", "")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *function.split(".")])


class Factories:
    """A plugin that registers targets under the names `package.module:factory`.

    The parameters of a factory become the target's options: each with its annotation, or the type of its default.

    Args:
        names: what the user typed.

    Raises:
        PluginError: a module cannot be imported, or has no such callable.
    """

    __name__ = TYPED

    def __init__(self, names: Iterable[str]) -> None:
        self._components = [_component(name) for name in dict.fromkeys(names)]

    @hookimpl
    def hyperframe_targets(self) -> list[Component]:
        """Register the targets."""
        return self._components


def _component(name: str) -> Component:
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    # The user's own module: whatever it raises on import is told with its name.
    except Exception as error:
        raise PluginError(
            f"target '{name}': importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise PluginError(f"target '{name}': {module_name} has no '{path}'")
        found = getattr(found, part)
    if not callable(found):
        raise PluginError(f"target '{name}': '{path}' is no callable, but {type(found).__name__}")
    options = _options(name, found)

    def factory(chosen: Any) -> Any:
        return found(**attrs.asdict(chosen, recurse=False))

    summary = (inspect.getdoc(found) or "").partition("\n")[0] or "a factory of one's own"
    return Component(name=name, factory=factory, options=options, summary=summary)


def _options(name: str, factory: Callable[..., Any]) -> type[Any]:
    """An attrs class with a field for each of the factory's parameters."""
    fields, kinds = {}, {}
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters
    except (TypeError, ValueError, NameError) as error:
        raise PluginError(f"target '{name}': its parameters cannot be read: {error}") from error
    for key, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise PluginError(f"target '{name}': parameter '{key}' cannot be given by its name")
        required = parameter.default is parameter.empty
        fields[key] = option(attrs.NOTHING if required else parameter.default, "a parameter of the factory")
        kinds[key] = _type(name, parameter)
    made = attrs.make_class("Options", fields, frozen=True, kw_only=True)
    made.__annotations__ = kinds
    return made


def _type(name: str, parameter: inspect.Parameter) -> Any:
    kind = parameter.annotation
    if kind is parameter.empty and parameter.default is not parameter.empty:
        kind = type(parameter.default)
        if kind in (tuple, list) and parameter.default:
            kind = types.GenericAlias(tuple, (type(parameter.default[0]), ...))
    if kind is parameter.empty or kind is type(None):
        raise PluginError(f"target '{name}': parameter '{parameter.name}' needs a type such as int, or a default")
    return kind
