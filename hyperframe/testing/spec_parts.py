"""Parts of the specs of small networks, in short."""

from collections.abc import Iterable

from hyperframe.targets.params import Param, bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Norm, Place, TargetSpec
from hyperframe.targets.units import UnitSpec


def spec_of(
    name: str, input_shape: tuple[int, ...], units: dict[str, tuple[int, str]], layers: list[LayerSpec]
) -> TargetSpec:
    """A spec with units of these sizes and operations; the last layer makes the outputs."""
    return TargetSpec(
        name=name,
        input_shape=input_shape,
        num_outputs=layers[-1].filters,
        logits=layers[-1].name,
        units=[UnitSpec(name=unit, size=size, ops=ops.split()) for unit, (size, ops) in units.items()],
        layers=layers,
    )


def plain(module: str, axes: str, rows: tuple[int, int] | None = None) -> list[Param]:
    """Kernel and bias of a module's."""
    return [kernel(f"{module}.weight", axes, rows=rows), bias(f"{module}.bias", rows=rows)]


def normalised(module: str, norm: str) -> list[Param]:
    """A convolution's kernel, and the factor and offset of the norm behind it."""
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
    """A layer."""
    return LayerSpec(name=name, filters=filters, params=params, reads=reads, writes=writes, groups=groups, norm=norm)


def out(outputs: int, module: str, reads: list[Place]) -> LayerSpec:
    """The last layer, dense."""
    return layer("out", outputs, plain(module, "o i"), reads)
