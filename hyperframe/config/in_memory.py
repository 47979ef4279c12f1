"""A user's own module and data, handed over in Python, as components: target `module` and task `data`."""

import copy
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset

from hyperframe.component import Component
from hyperframe.config.import_path import MODULE
from hyperframe.config.overrides import no_overrides
from hyperframe.errors import ConfigError, DataError, described, others_code, unknown_name
from hyperframe.hookspecs import hookimpl
from hyperframe.options import shown
from hyperframe.targets.aliases import check_memory
from hyperframe.targets.part import names_by
from hyperframe.targets.spec import TargetSpec
from hyperframe.tasks.own_data.array_names import chosen_parts, part_names
from hyperframe.tasks.own_data.arrays import ARRAYS, OwnOptions, own_task
from hyperframe.tasks.own_data.examples import read_examples
from hyperframe.tasks.own_data.facts import OwnTask, restore_task
from hyperframe.types import Task

Generate = Sequence[str] | Callable[[str, nn.Parameter], bool] | None

DATA = "data"
HANDED_OVER = "python"
"""Stands for the distribution of these components."""


class OwnCode:
    """A plugin that registers what a user handed over.

    Args:
        module: a network, whose own weights are not used; or None.
        spec: its spec; without one the module is traced.
        data: `(x, y)`; a torch Dataset of such pairs, one an example; a mapping with x, y and, as they are, x_test, …;
            a `Task`; or None.
        generate: what of the module is generated: patterns of names, or a function of a name and a parameter; or None.
        weights: trained weights: a state_dict of the module, a safetensors file, true for those that the module has;
            or None.

    Raises:
        ConfigError: a spec, a function or a state_dict without a module, or a state_dict of another one.
        DataError: data of another kind.
    """

    __name__ = HANDED_OVER

    def __init__(
        self,
        module: nn.Module | None,
        spec: TargetSpec | None,
        data: Any,
        generate: Generate = None,
        weights: Mapping[str, torch.Tensor] | str | PathLike[str] | bool | None = None,
    ) -> None:
        if module is not None and not isinstance(module, nn.Module):
            raise ConfigError(f"module: expected an nn.Module, but got {type(module).__name__}")
        if module is None and spec is not None:
            raise ConfigError("spec: it belongs to a module, and none was handed over")
        if spec is not None and not isinstance(spec, TargetSpec):
            raise ConfigError(f"spec: expected a TargetSpec, but got {type(spec).__name__}")
        self._module = None if module is None else _copy(module, spec)
        self._spec = spec
        self._part: dict[str, Any] = {}
        if generate is not None:
            self._part["target.generate"] = self._names(generate)
        if isinstance(weights, Mapping):
            self._load(weights)
        if weights is not None:
            self._part["target.weights"] = isinstance(weights, Mapping) or weights
        self._data = data if data is None or _is_task(data) else _arrays(data)

    def _names(self, generate: Any) -> list[str]:
        if isinstance(generate, str):
            raise ConfigError(f"generate: a list of names is needed; write generate=[{generate!r}]")
        if not callable(generate):
            return list(generate)
        if self._module is None:
            raise ConfigError("generate: a function chooses parameters of a module, and none was handed over")
        with others_code(lambda error: ConfigError(f"generate: the function failed: {described(error)}")):
            names = names_by(generate, self._module)
        if not names:
            raise ConfigError("generate: the function chooses no parameter of the module")
        return names

    def _load(self, weights: Mapping[str, torch.Tensor]) -> None:
        if self._module is None:
            raise ConfigError("weights: a state_dict is that of a module, and none was handed over")
        with others_code(lambda error: ConfigError(f"weights: they are not the module's: {described(error)}")):
            self._module.load_state_dict(dict(weights))

    @property
    def settings(self) -> dict[str, str]:
        """The keys of a configuration, and what each must be so that module and data are used."""
        chosen = {"target": MODULE if self._module is not None else "", "task": DATA if self._data is not None else ""}
        return {key: name for key, name in chosen.items() if name}

    def chosen(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Overrides that choose them as well.

        Raises:
            ConfigError: the overrides name another target or task.

        Example:
            >>> own = OwnCode(None, None, (torch.rand(9, 2), torch.rand(9)))
            >>> own.chosen({"task": {"test": 0.5}, "trainer.steps": 9})
            {'task': {'name': 'data', 'test': 0.5}, 'trainer.steps': 9}
        """
        if not isinstance(overrides, Mapping):
            raise no_overrides(overrides)
        result = {**overrides, **self._part}
        for key, name in self.settings.items():
            given = result.get(key, {})
            section = dict(given) if isinstance(given, Mapping) else {"name": given}
            for other in (section.get("name", name), result.get(f"{key}.name", name)):
                if other != name:
                    what = "a module" if key == "target" else "data"
                    raise ConfigError(f"{key}: {shown(other)} was asked for, but {what} handed over; leave one out")
            result[key] = {"name": name, **section}
        return result

    @hookimpl
    def hyperframe_targets(self) -> list[Component]:
        """Register the module."""
        if self._module is None:
            return []
        made = self._module, self._spec
        summary = f"{type(self._module).__name__}, handed over in Python"
        return [Component(name=MODULE, factory=lambda options: made, summary=summary)]

    @hookimpl
    def hyperframe_tasks(self) -> list[Component]:
        """Register the data."""
        if self._data is None:
            return []
        data, summary = self._data, "data handed over in Python"
        if _is_task(data):
            return [Component(name=DATA, factory=lambda options: data, summary=summary)]

        def build(options: OwnOptions) -> OwnTask:
            return own_task(DATA, data, options)

        def restore(options: OwnOptions, facts: Mapping[str, Any]) -> OwnTask:
            task = restore_task(DATA, facts, lambda heads: own_task(DATA, data, options, heads))
            task.splits()  # the data are here: whether they are of this task is told now
            return task

        return [Component(name=DATA, factory=build, options=OwnOptions, restore=restore, summary=summary)]


class KeptData:
    """A plugin that registers data which were handed over when a run was trained, and are not now."""

    __name__ = HANDED_OVER

    @hookimpl
    def hyperframe_tasks(self) -> list[Component]:
        """Register the data, which nobody can read."""

        def restore(options: OwnOptions, facts: Mapping[str, Any]) -> OwnTask:
            return restore_task(DATA, facts, lambda heads: _missing(options))

        return [
            Component(name=DATA, factory=_missing, options=OwnOptions, restore=restore, summary="handed over before")
        ]


def _missing(options: OwnOptions) -> OwnTask:
    raise DataError(
        "the run's data were handed over in Python; hand them over again: hyperframe.load(folder, data=...)"
    )


def _copy(module: nn.Module, spec: TargetSpec | None) -> nn.Module:
    """A copy of the module, so that nothing that is done to it later changes a run."""
    lazy = next((name for name, parameter in module.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise ConfigError(f"module: parameter '{lazy}' has no shape yet; run the module on an input first")
    check_memory(module, "module")  # a copy of it shows it no more
    if spec is not None:
        spec.bind(module)
    with others_code(lambda error: ConfigError(f"module: it cannot be copied: {described(error)}")):
        return copy.deepcopy(module)


def _is_task(data: Any) -> bool:
    return isinstance(data, Task) and not isinstance(data, type)


def _arrays(data: Any) -> Mapping[str, Any]:
    """Arrays x and y, and those of other splits where they are given."""
    if isinstance(data, Mapping):
        known = part_names()
        for name in data:
            if str(name).lower() not in known:
                raise DataError("data: " + unknown_name("array", str(name), ARRAYS))
        return {part: data[name] for part, name in chosen_parts(data, "data").items()}
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"x": data[0], "y": data[1]}
    if isinstance(data, Dataset):
        return read_examples(data)
    raise DataError(
        f"data: expected (x, y), a torch Dataset, a mapping of arrays or a Task, but got {type(data).__name__}"
    )
