"""Unit spaces: the hidden channels or neurons of a target, and what operations on them let through."""

from collections.abc import Iterable

import attrs

from hyperframe.errors import SpecError, unknown_name

# Operations that may act on a unit space, by what they let through. A positively homogeneous f has f(a·x) = a·f(x)
# for a > 0, an odd one f(−x) = −f(x); both act on every unit alike, so permutations always pass.
HOMOGENEOUS_OPS = frozenset({"relu", "leaky_relu", "max_pool"})
LINEAR_OPS = frozenset({"avg_pool", "mean", "flatten", "dropout", "upsample", "add", "embedding"})
ODD_OPS = frozenset({"tanh", "softsign", "hardtanh"})
OTHER_OPS = frozenset({"gelu", "silu", "sigmoid", "elu", "selu", "softplus", "relu6", "hardswish", "other"})
KNOWN_OPS = HOMOGENEOUS_OPS | LINEAR_OPS | ODD_OPS | OTHER_OPS


# A list is as good as a tuple where a spec is written.
def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class UnitSpec:
    """A unit space: hidden channels or neurons, which layers write with their filters and read with their inputs.

    Attributes:
        name: how layers refer to it.
        size: the number of units.
        ops: every operation that acts on the space, its writers' outputs and its readers' inputs included; what they
            let through decides which symmetries hold. Use "other" for one that is not listed.
    """

    name: str
    size: int
    ops: tuple[str, ...] = attrs.field(converter=_names)

    def __attrs_post_init__(self) -> None:
        if self.size < 1:
            raise SpecError(f"unit space '{self.name}': size is {self.size}, must be at least 1")
        for op in self.ops:
            if op not in KNOWN_OPS:
                raise SpecError(f"unit space '{self.name}': " + unknown_name("operation", op, KNOWN_OPS))

    @property
    def homogeneous(self) -> bool:
        """True where every operation is positively homogeneous, so that positive factors pass."""
        return all(op in HOMOGENEOUS_OPS | LINEAR_OPS for op in self.ops)

    @property
    def odd(self) -> bool:
        """True where every operation is odd, so that signs pass."""
        return all(op in ODD_OPS | LINEAR_OPS for op in self.ops)
