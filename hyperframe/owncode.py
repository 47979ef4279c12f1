"""A user's own module and data, handed over in Python, as components: target `module` and task `data`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from hyperframe.errors import ConfigError, DataError
from hyperframe.hookspecs import hookimpl
from hyperframe.owndata import OwnOptions, as_tensor, own_task
from hyperframe.spec import TargetSpec
from hyperframe.types import Component, Task

MODULE, DATA = "module", "data"
HANDED_OVER = "python"
"""What stands for the distribution of these components."""


class OwnCode:
    """A plugin that registers what a user handed over.

    Args:
        module: a network, whose own weights are not used; or None.
        spec: its spec.
        data: `(x, y)`; a torch Dataset of such pairs, one an item; a mapping with x, y and, as they are, x_test, …;
            a `Task`; or None.

    Raises:
        ConfigError: a module without a spec, or a spec without a module.
        DataError: data of another kind.
    """

    __name__ = HANDED_OVER

    def __init__(self, module: nn.Module | None, spec: TargetSpec | None, data: Any) -> None:
        if module is not None and not isinstance(module, nn.Module):
            raise ConfigError(f"module: expected an nn.Module, but got {type(module).__name__}")
        if (module is None) != (spec is None):
            raise ConfigError(
                "module and spec belong together: spec=TargetSpec(...) says which parameters of the module make up its "
                "filters, see docs/target.md"
            )
        if spec is not None and not isinstance(spec, TargetSpec):
            raise ConfigError(f"spec: expected a TargetSpec, but got {type(spec).__name__}")
        if module is not None and spec is not None:
            spec.bind(module)
        self._module = module
        self._spec = spec
        self._data = data if data is None or isinstance(data, Task) else _arrays(data)

    @property
    def settings(self) -> dict[str, str]:
        """What a configuration has to choose so that it uses them."""
        chosen = {"target": MODULE if self._module is not None else "", "task": DATA if self._data is not None else ""}
        return {key: name for key, name in chosen.items() if name}

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
        if isinstance(data, Task):
            return [Component(name=DATA, factory=lambda options: data, summary=summary)]
        return [
            Component(
                name=DATA, factory=lambda options: own_task(DATA, data, options), options=OwnOptions, summary=summary
            )
        ]


def _arrays(data: Any) -> Mapping[str, Any]:
    """Arrays x and y, and those of other splits where they are given."""
    if isinstance(data, Mapping):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"x": data[0], "y": data[1]}
    if isinstance(data, Dataset):
        return _collected(data)
    raise DataError(
        f"data: expected (x, y), a torch Dataset, a mapping of arrays or a Task, but got {type(data).__name__}"
    )


def _collected(dataset: "Dataset[Any]") -> dict[str, torch.Tensor]:
    """All items of a data set whose items are pairs."""
    if not hasattr(dataset, "__len__"):
        raise DataError("data: the Dataset has no length; one whose items are numbered is needed")
    xs, ys = [], []
    for number in range(len(dataset)):
        item = dataset[number]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"data: item {number} of the Dataset is {type(item).__name__}, expected a pair (x, y)")
        x, y = item
        xs.append(as_tensor(x, f"data: x of item {number}"))
        ys.append(torch.as_tensor(y))
    if not xs:
        raise DataError("data: the Dataset is empty")
    for name, parts in (("x", xs), ("y", ys)):
        for number, part in enumerate(parts):
            if part.shape != parts[0].shape or part.dtype != parts[0].dtype:
                raise DataError(
                    f"data: {name} of item {number} is {part.dtype} {list(part.shape)}, that of item 0 "
                    f"{parts[0].dtype} {list(parts[0].shape)}"
                )
    return {"x": torch.stack(xs), "y": torch.stack(ys)}
