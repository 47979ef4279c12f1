"""Diversity terms with their weights, and what each of them is given."""

from typing import Any

import attrs
from torch import Tensor

from hyperframe.errors import ConfigError
from hyperframe.experiment.outputs import SharedOutputs
from hyperframe.types import DiversityInputs, DiversityTerm

ALWAYS = frozenset({"dimension", "directions"})
"""Inputs that a term need not list."""


@attrs.frozen(kw_only=True)
class WeightedTerm:
    """A diversity term and what it counts."""

    name: str
    term: DiversityTerm
    weight: float

    @property
    def compares_outputs(self) -> bool:
        """Whether the term looks at outputs, and hence needs examples that all networks see."""
        return bool(self.term.needs & {"outputs", "labels"})


def restrict(inputs: DiversityInputs, needs: frozenset[str], outputs: SharedOutputs | None = None) -> DiversityInputs:
    """Leave out what one term did not list, of what all of them need, and add the outputs that it compares."""
    fields = {field.name for field in attrs.fields(DiversityInputs)}
    left_out: dict[str, Any] = dict.fromkeys(fields - needs - ALWAYS)
    if outputs is not None and "outputs" in needs:
        left_out["outputs"] = outputs.values
    return attrs.evolve(inputs, **left_out)


def check_inputs(name: str, x: Any, shared: Tensor) -> None:
    """Check that a term's inputs are such as the task has; raises `ConfigError`."""
    if not isinstance(x, Tensor) or x.shape[1:] != shared.shape[1:] or x.dtype != shared.dtype or not len(x):
        found = f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        wanted = f"{str(shared.dtype).removeprefix('torch.')} [examples, {', '.join(map(str, shared.shape[1:]))}]"
        raise ConfigError(f"diversity '{name}': its inputs must be {wanted}, but are {found}")
