"""Targets named `package.module:factory`: any importable callable that returns a module and its spec.

A name like this is code to be run, so it counts only where a user has typed it: as an argument of a command or of a
function. A configuration file or a run folder may repeat it, and cannot bring it in.
"""

import collections.abc
import importlib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from hyperframe.component import Component
from hyperframe.config.kinds import KINDS
from hyperframe.errors import ConfigError, PluginError, described, others_code
from hyperframe.hookspecs import hookimpl
from hyperframe.options import option, plain_options, read_options, shown
from hyperframe.types import NoOptions

MODULE = "module"
"""The name of a target that was handed over in Python."""

TYPED = "package.module:factory"
"""Stands for the distribution of these components."""

NAME = "name"
"""The key of a component's section that is no option."""

FAMILIES = {"torchvision": "model"}
"""Targets that stand for many, with the option that tells which: `torchvision:resnet18`."""

OF_TASK = {
    "input_shape": "input_shape",
    **dict.fromkeys(("outputs", "num_outputs", "classes", "num_classes"), "num_outputs"),
}
"""Usual names of parameters, and the task's attributes that they are where a user leaves them out."""

ALONE = {"input_shape": (1, 8, 8), "num_outputs": 10}
"""Stand for these without a task, where the factory has no default."""

_PLAIN = (bool, int, float, str, type(None))
_SEQUENCES = (tuple, list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


def is_factory(name: Any) -> bool:
    """Whether a target's name has the form `package.module:factory`.

    Example:
        >>> is_factory("my.nets:small"), is_factory("mlp"), is_factory("a:b:c"), is_factory("torchvision:resnet18")
        (True, False, False, False)
    """
    module, colon, function = name.partition(":") if isinstance(name, str) else ("", "", "")
    return (
        bool(colon)
        and module not in FAMILIES
        and all(part.isidentifier() for part in [*module.split("."), *function.split(".")])
    )


def check_factory(name: Any) -> str:
    """A name of this form that was typed for a run; raises `ConfigError` for any other."""
    if is_factory(name):
        return str(name)
    raise ConfigError(
        f"target: expected package.module:factory, for a run with such a target, but got {shown(name)}; other targets "
        "are found without it"
    )


def typed_targets(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """The targets of this form that overrides name.

    Example:
        >>> typed_targets([("target", {"name": "nets:small", "width": 3}), ("trainer.steps", 9)])
        ['nets:small']
    """
    values = [value for key, value in pairs if key in ("target", "target.name")]
    names = [value.get(NAME) if isinstance(value, Mapping) else value for value in values]
    return [str(name) for name in names if is_factory(name)]


class Factories:
    """A plugin that registers targets under the names `package.module:factory`.

    The parameters of a factory become the target's options: each with its annotation, or the type of its default. One
    with a default that is none of the types of options keeps the default, and is no option. Those of the names in
    `OF_TASK` are the task's where they are left out.

    Args:
        names: what the user typed.
        opens: whether it was typed to open a run. The only name then also stands for a module that was handed over in
            Python when the run was trained.

    Raises:
        PluginError: a module cannot be imported, has no such callable, or the callable needs what no option can be.
    """

    __name__ = TYPED

    def __init__(self, names: Iterable[str], *, opens: bool = False) -> None:
        different = list(dict.fromkeys(names))
        self._components = [_component(name) for name in different]
        if opens and len(different) == 1:
            self._components.append(_in_place_of_module(different[0]))

    @hookimpl
    def hyperframe_targets(self) -> list[Component]:
        """Register the targets."""
        return self._components


def _component(name: str) -> Component:
    found = _found(name)
    kinds, defaults = _options(name, found)
    of_task = {key: OF_TASK[key] for key, kind in kinds.items() if key in OF_TASK and _fits(kind, OF_TASK[key])}
    alone = {key: ALONE[of] for key, of in of_task.items()}
    fields = {
        key: option(
            defaults.get(key, alone.get(key, attrs.NOTHING)), "a parameter of the factory", of_task=of_task.get(key)
        )
        for key in kinds
    }
    options = attrs.make_class("Options", fields, frozen=True, kw_only=True)
    options.__annotations__ = kinds

    def factory(chosen: Any) -> Any:
        given = attrs.asdict(chosen, recurse=False)
        return found(**{key: _convert(value, kinds[key]) for key, value in given.items()})

    summary = (inspect.getdoc(found) or "").partition("\n")[0] or "a factory of one's own"
    return Component(name=name, factory=factory, options=options, summary=summary)


def _in_place_of_module(name: str) -> Component:
    """The target of a run whose module was handed over in Python, made by a function without parameters."""

    def factory(options: NoOptions) -> Any:
        found = _found(name)
        with _code_of(name, "its parameters cannot be read"):
            parameters = inspect.signature(found).parameters.values()
        for one in parameters:
            if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                raise PluginError(
                    f"target '{name}': the run's module was handed over in Python, so that the run knows no values of "
                    f"parameters, and '{one.name}' needs one; name a function that makes the module without any"
                )
        with _code_of(name, "making the module failed"):
            return found()

    return Component(name=MODULE, factory=factory, summary=f"made by {name}")


def _found(name: str) -> Callable[..., Any]:
    """The callable of that name."""
    module_name, _, path = name.partition(":")
    with _code_of(name, f"importing {module_name} failed"):
        found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        # A module may load its parts when they are asked for, and fail then.
        with _code_of(name, f"getting '{path}' of {module_name} failed"):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                raise PluginError(f"target '{name}': {module_name} has no '{path}'") from error
    if not callable(found):
        raise PluginError(f"target '{name}': '{path}' is no callable, but {type(found).__name__}")
    factory: Callable[..., Any] = found
    return factory


def _code_of(name: str, what: str) -> AbstractContextManager[None]:
    """The user's own code runs: whatever it raises is told with the target's name, and what failed of it."""
    return others_code(lambda error: PluginError(f"target '{name}': {what}: {described(error)}"))


def _fits(kind: Any, attribute: str) -> bool:
    """Whether a parameter of this type can take what a task has."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if attribute == "num_outputs":
        return int in kinds
    return any(get_origin(one) in (tuple, list) and get_args(one)[0] is int for one in kinds)


def _convert(value: Any, kind: Any) -> Any:
    """An option's value with lists where the factory's annotation has them; options hold tuples.

    Example:
        >>> _convert(((3,), (4, 5)), list[tuple[int, ...]] | None)
        [(3,), (4, 5)]
    """
    if not isinstance(value, tuple | list):
        return value
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    sequence = next(one for one in kinds if get_origin(one) in (tuple, list))
    items = (_convert(item, get_args(sequence)[0]) for item in value)
    return list(items) if get_origin(sequence) is list else tuple(items)


def _options(name: str, factory: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types of those of a factory's parameters that can be options, and the defaults of those that have one."""
    kinds: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    with _code_of(name, "its parameters cannot be read"):  # annotations are evaluated, and may be anything
        parameters = inspect.signature(factory, eval_str=True).parameters
    for key, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        kind = _type_of_parameter(parameter)
        obstacle = "it needs a type such as int, str, bool or tuple[int, ...], or a default"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            kind, obstacle = None, "it cannot be given by its name"
        elif key.removesuffix("_") == NAME:
            kind, obstacle = None, f"the key '{NAME}' is that of the target itself"
        elif key.removesuffix("_") in KINDS["target"].common_keys:
            kind, obstacle = None, f"the key '{key}' is that of every target"
        elif key.startswith("_") or key == "self" or f"{key}_" in parameters:
            kind, obstacle = None, "its name cannot be a key, or is that of another one"
        if kind is not None and (required or _reads_back(kind, parameter.default)):
            kinds[key] = kind
            defaults |= {} if required else {key: parameter.default}
        elif required:
            raise PluginError(f"target '{name}': parameter '{key}' cannot be an option: {obstacle}")
    return kinds, defaults


def _type_of_parameter(parameter: inspect.Parameter) -> Any:
    """The type of an option for a parameter, or None where there is none."""
    if parameter.annotation is parameter.empty:
        return None if parameter.default is parameter.empty else _type_of_default(parameter.default)
    kind = _option_type(parameter.annotation)
    if kind is None and parameter.annotation in (tuple, list):
        kind = _type_of_default(parameter.default)
    return kind | None if kind is not None and parameter.default is None else kind


def _type_of_default(default: Any) -> Any:
    """The type of a default; that of a sequence follows its items."""
    if not isinstance(default, tuple | list):
        return type(default) if type(default) in _PLAIN and default is not None else None
    items = {_type_of_default(item) for item in default}
    return _sequence(type(default), float if items == {int, float} else items.pop() if len(items) == 1 else None)


def _option_type(annotation: Any) -> Any:
    """An annotation as options know it, or None where they do not."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _option_type(arguments[0])
    if origin is Literal:
        return annotation if all(isinstance(argument, str | int) for argument in arguments) else None
    if origin in (Union, types.UnionType):
        kinds = [_option_type(argument) for argument in arguments]
        return None if None in kinds else Union[tuple(kinds)]  # noqa: UP007  (made at run time)
    if origin in _SEQUENCES:
        items = {_option_type(argument) for argument in arguments if argument is not ...}
        return _sequence(origin, items.pop() if len(items) == 1 else None)
    return annotation if annotation in _PLAIN else None


def _sequence(origin: Any, item: Any) -> Any:
    if item is None:
        return None
    return types.GenericAlias(list, (item,)) if origin is list else types.GenericAlias(tuple, (item, ...))


def _reads_back(kind: Any, default: Any) -> bool:
    """Whether a default comes back from a run folder as it is; otherwise the run could not be loaded."""
    one = attrs.make_class("One", {"value": option()})
    one.__annotations__ = {"value": kind}
    plain = plain_options(one(default))
    try:
        return "${" not in repr(plain) and plain_options(read_options(one, plain, "")) == plain
    except ConfigError:
        return False
