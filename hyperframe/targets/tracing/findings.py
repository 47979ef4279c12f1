"""Records of what tracing finds: parameters as operations see them, labels on their axes, layers, what is frozen."""

import re

import attrs
from torch import Tensor

from hyperframe.targets.params import Param, Role
from hyperframe.targets.spec import Norm

LETTERS = "xyzwvu"
PARAMETRIZATION = re.compile(r"(parametrizations\.(?=\w+\.original\d*$)|\.original\d*$|_(g|v|orig)$)")
"""Parts of a parameter's name that torch's parametrizations, and its older weight_norm and pruning, add."""


@attrs.frozen(eq=False)
class View:
    """A parameter as an operation sees it: axes in another order, axes of size 1, some rows of one axis.

    Attributes:
        name: the parameter.
        rank: the number of its axes.
        shape: of the view.
        dims: for each of the view's axes the parameter's; None for one that the parameter does not have, of size 1 or
            along which it is repeated.
        rows: first and one past the last row, where the view is a part of the parameter.
        rows_dim: the parameter's axis that `rows` are of.
    """

    name: str
    rank: int
    shape: tuple[int, ...]
    dims: tuple[int | None, ...]
    rows: tuple[int, int] | None = None
    rows_dim: int | None = None

    @property
    def owner(self) -> str:
        """The module that holds it, where this is one of a module's usual parameters; else its own name."""
        module, _, own = PARAMETRIZATION.sub("", self.name).rpartition(".")
        return module if own in ("weight", "bias") and module else self.name

    @property
    def wide(self) -> list[int]:
        """The axes along which its entries differ."""
        return [axis for axis, size in enumerate(self.shape) if size > 1 and self.dims[axis] is not None]

    def letters(self, at: int) -> str:
        """A letter for each axis, with the filters at one of them."""
        return " ".join("o" if axis == at else LETTERS[axis] for axis in range(len(self.shape)))


@attrs.frozen(eq=False)
class AxisLabels:
    """The labels on one axis of a parameter, or of some of its rows; see `Axis` of `structure`."""

    unit: Tensor
    scale: Tensor
    sign: Tensor
    groups: int


@attrs.define(eq=False)
class FoundLayer:
    """A layer, as far as it has been found: later operations may add a normalisation's scale and shift.

    Attributes:
        name: of the module that holds its first parameter.
        filters: how many.
        groups: of its kernel.
        params: as in a `LayerSpec`.
        norm: the normalisation that its scale and shift belong to.
        ops: what its outputs pass through before they are read by others.
        writes: the units that it writes.
        channel: the axis of its outputs that its filters are along.
        shift_absorbed: whether a normalisation swallows its bias.
        computed: whether its kernel is computed from its parameters.
    """

    name: str
    filters: int
    groups: int = 1
    params: list[Param] = attrs.field(factory=list)
    norm: Norm = "none"
    ops: list[str] = attrs.field(factory=list)
    writes: Tensor | None = None
    channel: int = 1
    shift_absorbed: bool = False
    computed: bool = False

    @property
    def roles(self) -> set[Role]:
        """The roles that are taken."""
        return {param.role for param in self.params}


@attrs.frozen
class Frozen:
    """Something that tracing left without symmetries: the operation or the check that caused it, and where it is."""

    op: str
    place: str
    why: str
