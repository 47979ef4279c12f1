"""What a target and its generator are, in figures: layers, filters, symmetries, sizes, memory of a step."""

from typing import Any

from hyperframe.config import Config
from hyperframe.experiment import build_generator, build_target
from hyperframe.generator import Generator
from hyperframe.symmetry import orbits
from hyperframe.target import Target
from hyperframe.types import Task

BYTES = 4  # everything is float32


def describe(config: Config) -> dict[str, Any]:
    """Describe a configuration's target, symmetries and generator; no data is needed.

    Returns:
        `target` (name, weights, layers with filters, filter_size and weights), `symmetries` (free directions of each
        kind), the generator's own description under its name, and `step_memory`, estimated bytes of a training step
        beyond the process itself and the data.
    """
    task: Task = config.task.make()
    target = build_target(config, task)
    spec = target.spec
    generator = build_generator(config, spec, task)
    layers = [
        {
            "name": layer.name,
            "filters": layer.filters,
            "filter_size": layer.filter_size,
            "weights": layer.num_weights,
            "reads": [str(place) for place in layer.reads],
            "writes": [str(place) for place in layer.writes],
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
            "layers": layers,
            "units": [{"name": unit.name, "size": unit.size, "ops": list(unit.ops)} for unit in spec.units],
        },
        "symmetries": orbits(target.structure, task.shift_invariant).counts,
        "gauges": [choice.name for choice in config.gauges],
        "generator": config.generator.name,
        config.generator.name: generator.describe(),
        "step_memory": step_memory(target, generator, config),
    }


def step_memory(target: Target, generator: Generator, config: Config) -> int:
    """Estimate the bytes that a training step holds: parameters, weights, and one chunk's activations.

    Parameters count four times (value, gradient, two moments of Adam), weights seven times (value, gradient, both as
    the module's own parameters, gauged, flat and its gradient), activations twice (value and gradient).
    """
    options = config.trainer
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    weights = options.z * target.spec.num_weights
    chunk = options.chunk or target.networks_at_once(options.images)
    activations = min(chunk, options.z) * options.images * target.activations
    return BYTES * (4 * parameters + 7 * weights + 2 * activations)
