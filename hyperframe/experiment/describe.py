"""A target and its generator in numbers: layers, filters, symmetries, sizes, memory of a step."""

from collections.abc import Sequence
from typing import Any

import attrs
import torch

from hyperframe.config.schema import Config
from hyperframe.experiment.build import Experiment, build_generator, build_loss
from hyperframe.experiment.step_memory import step_memory
from hyperframe.experiment.targets import build_target
from hyperframe.networks.target import Target
from hyperframe.targets.adapters import given_names
from hyperframe.targets.spec import LayerSpec
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, Orbits, orbits
from hyperframe.targets.symmetry.structure import FROZEN, Structure
from hyperframe.types import Task


def parts_of(experiment: Experiment) -> dict[str, Any]:
    """Name the parts of an experiment: `task`, `target` and `generator` with their sizes, and those of the loss."""
    config, task, spec = experiment.config, experiment.task, experiment.target.spec
    parameters = sum(value.numel() for value in experiment.generator.parameters() if value.requires_grad)
    return {
        "task": {
            "name": task.name,
            "input_shape": list(task.input_shape),
            "outputs": task.num_outputs,
            **({"output_places": list(task.output_places)} if task.output_places else {}),
        },
        "target": {"name": spec.name, "weights": spec.num_weights},
        "generator": {"name": config.generator.name, "parameters": parameters},
        "objective": config.objective.name,
        "diversity": [choice.name for choice in config.diversity],
        "gauges": [choice.name for choice in config.gauges],
    }


def describe(config: Config) -> dict[str, Any]:
    """Describe a configuration's target, symmetries and generator; no data is needed.

    Returns:
        `target` (name, weights, layers with filters, filter_size and weights, unit spaces, blocks of units that change
        places as wholes, such as heads of attention, sets of units that any invertible matrix may mix, what was left
        without symmetries, and, where a part alone is generated, `constant`: how many weights are not, the modules that
        have them, and those of the trunk, which run once for inputs that all networks see), `symmetries` (of each kind
        how many directions are known and how many the gauges fix), the generator's own description under its name, and
        `step_memory`, bytes of the tensors of a training step on a CPU beyond the data, or None where components cannot
        do with tensors without values.
    """
    task: Task = config.task.make()
    target = build_target(config, task)
    spec = target.spec
    generator = build_generator(config, spec, task)
    of = orbits(target.structure, task.shift_invariant)
    gauge, _, loss = build_loss(config, target, task, of)
    spaces = unit_spaces(of)
    layers = [
        {
            "name": layer.name,
            "filters": layer.filters,
            "filter_size": layer.filter_size,
            "weights": layer.num_weights,
            "reads": [space["name"] for space in spaces if layer.name in space["readers"]],
            "writes": [space["name"] for space in spaces if layer.name in space["writers"]],
        }
        for layer in spec.layers
    ]
    return {
        "config": config.name,
        "target": {
            "name": spec.name,
            "weights": spec.num_weights,
            "input_shape": list(spec.input_shape),
            "outputs": spec.num_outputs,
            **({"output_places": list(spec.output_places)} if spec.output_places else {}),
            "layers": layers,
            "units": spaces,
            "blocks": exchanged_blocks(of.structure),
            "linear": linear_spaces(of.structure),
            "frozen": [attrs.asdict(entry) for entry in target.frozen],
            **_constant(target),
        },
        "symmetries": _symmetries(gauge, of),
        "gauges": [choice.name for choice in config.gauges],
        "generator": config.generator.name,
        config.generator.name: generator.describe(),
        "step_memory": step_memory(loss, generator, task, config),
    }


def _constant(target: Target) -> dict[str, Any]:
    """The part of the module's parameters that is not generated; empty where all are."""
    generated = [param.parameter for layer in target.spec.layers for param in layer.params]
    rest = {name: value for name, value in target.module.named_parameters() if name not in generated}
    if not rest:
        return {}
    adapted = set(given_names(rest)[1])
    modules = dict.fromkeys(_largest_without(name, generated) for name in given_names(rest)[0] if name not in adapted)
    weights = sum(value.numel() for value in rest.values())
    return {"constant": {"weights": weights, "modules": list(modules), "trunk": list(target.trunk.whole)}}


def _largest_without(name: str, generated: Sequence[str]) -> str:
    """The largest module around a constant parameter in which nothing is generated, or its own name."""
    module = name.rpartition(".")[0]
    if not module or any(other.startswith(f"{module}.") for other in generated):
        return name
    return _largest_without(module, generated)


def unit_spaces(of: Orbits) -> list[dict[str, Any]]:
    """The unit spaces of a target: units that one layer is the first to write, with all that writes and reads them.

    Several writers are tied: their filters move together. `size` counts units, `permutation` those that another can be
    exchanged for, `scaling` and `sign` factors and signs that are free.
    """
    structure = of.structure
    exchangeable = of.exchangeable
    free = set(of.scaling.labels.tolist()), set(of.sign.labels.tolist())
    written, read = (
        {layer.name: _labels(structure, layer, exponent) for layer in structure.spec.layers} for exponent in (1, -1)
    )
    seen: set[int] = set()
    spaces = []
    for layer in structure.spec.layers:
        fresh = written[layer.name][0] - seen
        seen |= fresh
        if fresh:
            writers = [name for name, (units, *_) in written.items() if units & fresh]
            carried = [set().union(*(written[name][field] for name in writers)) for field in (1, 2)]
            readers = [name for name, (units, *_) in read.items() if units & fresh]
            spaces.append(
                {
                    "name": layer.name,
                    "size": len(fresh),
                    "permutation": len(fresh & exchangeable),
                    "ops": list(structure.spec.ops_behind(layer)),
                    "writers": writers,
                    "readers": readers,
                    "scaling": len(carried[0] & free[0]),
                    "sign": len(carried[1] & free[1]),
                }
            )
    return spaces


def exchanged_blocks(structure: Structure) -> list[dict[str, Any]]:
    """Blocks of units that change places as wholes, with the layers that write them first.

    They are heads of attention, groups of a normalisation, or whatever else units hang together in. `count` says how
    many change places with each other, `units` how many are in each.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for blocks in structure.blocks:
        writing = (layer.name for layer in structure.spec.layers if _labels(structure, layer, 1)[0] & set(blocks[0]))
        found.setdefault((len(blocks), len(blocks[0])), []).append(next(writing, ""))
    return [{"count": count, "units": size, "writers": names} for (count, size), names in found.items()]


def linear_spaces(structure: Structure) -> list[dict[str, Any]]:
    """Sets of units that any invertible matrix may mix, put together by what writes and what reads them.

    `sets` counts them, `units` those of each, d, and `directions` what they have in all beside factors: d² − d each.
    """
    written, read = (
        {layer.name: _labels(structure, layer, exponent)[1] for layer in structure.spec.layers} for exponent in (1, -1)
    )
    spaces: dict[tuple[tuple[str, ...], tuple[str, ...], int], int] = {}
    for labels in structure.linear:
        writers, readers = (tuple(name for name, own in sets.items() if own & set(labels)) for sets in (written, read))
        spaces[writers, readers, len(labels)] = spaces.get((writers, readers, len(labels)), 0) + 1
    return [
        {
            "writers": list(writers),
            "readers": list(readers),
            "units": size,
            "sets": count,
            "directions": count * size * (size - 1),
        }
        for (writers, readers, size), count in spaces.items()
    ]


def _labels(structure: Structure, layer: LayerSpec, exponent: int) -> tuple[set[int], set[int], set[int]]:
    """The labels of units, factors and signs that a layer writes or reads."""
    roles = [param.role for param in layer.params]
    if exponent == -1 and "kernel" in roles:
        roles = ["kernel"]  # what stands behind it reads the layer's own outputs
    grids = (structure.grid(layer, roles, kind, exponent) for kind in ("permutation", "scaling", "sign"))
    units, factors, signs = (set(torch.unique(grid).tolist()) - {FROZEN} for grid in grids)
    return units, factors, signs


def _symmetries(gauge: ComposedGauge, of: Orbits) -> dict[str, dict[str, int]]:
    """For each kind how many directions are known, and how many of them the configuration's gauges fix."""
    fixed = gauge.fixed(of.counts)
    return {kind: {"known": of.counts[kind], "fixed": fixed[kind]} for kind in KINDS}
