"""The parameters that a layer's filters are made of."""

from math import prod
from typing import Literal

import attrs

from hyperframe.errors import SpecError

Role = Literal["kernel", "bias", "scale", "shift"]
ROLES: tuple[Role, ...] = ("kernel", "bias", "scale", "shift")


@attrs.frozen(kw_only=True)
class Param:
    """One parameter of the module, or some rows of it, and its part in a layer's filters.

    Attributes:
        role: "kernel", "bias", "scale" or "shift" (the last two: a normalisation's, or a learnt factor or offset).
        parameter: the name in `module.named_parameters()`.
        axes: a letter for each axis in the parameter's own order: `o` for filters, `i` for what the kernel reads,
            any others for taps, such as "o i h w" for a convolution and "i o h w" for a transposed one.
        rows: first and one past the last row of the `o` axis, where the parameter holds several layers' filters.
        shape: the parameter's whole shape; `TargetSpec.bind` fills it in from the module.
    """

    role: Role
    parameter: str
    axes: str
    rows: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None

    def __attrs_post_init__(self) -> None:
        letters = self.letters
        if self.role not in ROLES:
            raise SpecError(f"parameter '{self.parameter}': role is '{self.role}', must be one of {', '.join(ROLES)}")
        if any(len(letter) != 1 or not letter.isalpha() for letter in letters) or len(set(letters)) != len(letters):
            raise SpecError(f"parameter '{self.parameter}': axes '{self.axes}' must be different single letters")
        if {"b", "g"} & set(letters):
            raise SpecError(f"parameter '{self.parameter}': axes '{self.axes}' hold 'b' or 'g', which stand for others")
        if letters.count("o") != 1:
            raise SpecError(f"parameter '{self.parameter}': axes '{self.axes}' must name the filters' axis 'o' once")
        if self.role != "kernel" and "i" in letters:
            raise SpecError(f"parameter '{self.parameter}': only a kernel reads; its axes '{self.axes}' hold an 'i'")
        if self.shape is not None and len(self.shape) != len(letters):
            raise SpecError(
                f"parameter '{self.parameter}': axes '{self.axes}' name {len(letters)} axes, its shape is {self.shape}"
            )

    @property
    def letters(self) -> list[str]:
        """The axes' letters, one an axis."""
        return self.axes.split()

    @property
    def known_shape(self) -> tuple[int, ...]:
        """The parameter's shape; raises `SpecError` where the spec has not been bound to a module."""
        if self.shape is None:
            raise SpecError(f"the shape of parameter '{self.parameter}' is not known yet: bind the spec to its module")
        return self.shape

    @property
    def inputs_first(self) -> bool:
        """True where the axis that is read comes before the filters', as in transposed convolutions."""
        return "i" in self.letters and self.letters.index("i") < self.letters.index("o")

    def count(self, groups: int) -> int:
        """Count the filters that the parameter, or its rows, holds."""
        if self.rows is not None:
            return self.rows[1] - self.rows[0]
        size = self.known_shape[self.letters.index("o")]
        return size * groups if self.inputs_first else size

    def entries(self, groups: int) -> int:
        """Count the parameter's entries that belong to one filter."""
        rest = prod(size for size, letter in zip(self.known_shape, self.letters, strict=True) if letter != "o")
        return rest // groups if self.inputs_first else rest


def kernel(
    parameter: str, axes: str, *, rows: tuple[int, int] | None = None, shape: tuple[int, ...] | None = None
) -> Param:
    """Make a layer's kernel: `kernel("conv.weight", "o i h w")`."""
    return Param(role="kernel", parameter=parameter, axes=axes, rows=rows, shape=shape)


def bias(
    parameter: str, axes: str = "o", *, rows: tuple[int, int] | None = None, shape: tuple[int, ...] | None = None
) -> Param:
    """Make a layer's bias: `bias("conv.bias")`."""
    return Param(role="bias", parameter=parameter, axes=axes, rows=rows, shape=shape)


def scale(parameter: str, axes: str = "o", *, shape: tuple[int, ...] | None = None) -> Param:
    """Make a normalisation's scale, or a learnt factor per channel: `scale("bn.weight")`."""
    return Param(role="scale", parameter=parameter, axes=axes, shape=shape)


def shift(parameter: str, axes: str = "o", *, shape: tuple[int, ...] | None = None) -> Param:
    """Make a normalisation's shift, or something learnt that is added: `shift("bn.bias")`."""
    return Param(role="shift", parameter=parameter, axes=axes, shape=shape)
