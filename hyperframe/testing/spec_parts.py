"""Short ways to write the parts of small networks' specs."""

from collections.abc import Iterable

from hyperframe.targets.params import Param, bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Norm, Place, TargetSpec
from hyperframe.targets.units import UnitSpec


def spec_of(
    name: str, input_shape: tuple[int, ...], units: dict[str, tuple[int, str]], layers: list[LayerSpec]
) -> TargetSpec:
    """Make a spec with units of these sizes and operations; the last layer gives the outputs."""
    return TargetSpec(
        name=name,
        input_shape=input_shape,
        num_outputs=layers[-1].filters,
        logits=layers[-1].name,
        units=[UnitSpec(name=unit, size=size, ops=ops.split()) for unit, (size, ops) in units.items()],
        layers=layers,
    )


def plain(module: str, axes: str, rows: tuple[int, int] | None = None) -> list[Param]:
    """Return kernel and bias of a module, or of some of their rows."""
    return [kernel(f"{module}.weight", axes, rows=rows), bias(f"{module}.bias", rows=rows)]


def normalised(module: str, norm: str) -> list[Param]:
    """Return a convolution's kernel, and scale and shift of the norm behind it."""
    return [kernel(f"{module}.weight", "o i h w"), scale(f"{norm}.weight"), shift(f"{norm}.bias")]


def layer(
    name: str,
    filters: int,
    params: list[Param],
    reads: Iterable[Place] = (),
    writes: Iterable[Place] = (),
    *,
    groups: int = 1,
    norm: Norm = "none",
) -> LayerSpec:
    """Make a layer; see `LayerSpec`."""
    return LayerSpec(name=name, filters=filters, params=params, reads=reads, writes=writes, groups=groups, norm=norm)


def out(outputs: int, module: str, reads: list[Place]) -> LayerSpec:
    """Make the last layer, a dense one."""
    return layer("out", outputs, plain(module, "o i"), reads)
