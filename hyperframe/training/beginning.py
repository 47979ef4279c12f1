"""Where a training begins: at a generator's first parameters, or at those that another run has come to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import ConfigError, HyperframeError, notice
from hyperframe.experiment.build import Experiment, build_experiment
from hyperframe.networks.prior import NETWORK
from hyperframe.options import files_of_networks
from hyperframe.runs.checkpoints import newest_checkpoint
from hyperframe.runs.folder import TARGET, check_is_run, free_folder
from hyperframe.runs.provenance import as_mapping
from hyperframe.runs.run import Run
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.files import different_tensors, is_file, read_tensors, user_path
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import stream
from hyperframe.targets.params import Param
from hyperframe.targets.part import trained_weights
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.weights import pack


def new_run(
    config: Config,
    registry: Registry,
    out: str | Path | None = None,
    processes: Processes = ALONE,
    constants: Mapping[str, Tensor] | None = None,
) -> tuple[Run, dict[str, Any]]:
    """A run at its beginning, of which nothing is written, and where its generator begins, for the provenance."""
    config = config.with_absolute_locations()
    folder = processes.decided(lambda: free_folder(out, config))
    run = Run(folder, config, 0, build_experiment(config, constants=constants, processes=processes), registry)
    return run, begin(run.experiment, constants)


def begin(experiment: Experiment, constants: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Put the generator of a new training where it begins.

    With `trainer.from` it has the parameters and buffers of that run's newest checkpoint, whatever the run's task was;
    the optimiser and the schedule begin anew. Both have the same target and the same generator. Else, with
    `target.weights`, base points begin at trained weights. After it comes what the generator does itself,
    `Generator.before_training`, such as to begin at base points that are given.

    Args:
        experiment: of the training.
        constants: what another run of the same target has kept of it, which is kept here too. A file of trained weights
            is then needed for what is generated alone, and a notice says where it is gone.

    Returns:
        For the run's provenance: `began_with`, the `run` and its `step`; empty where it begins at first parameters.

    Raises:
        ConfigError: that run is none, has no checkpoint, or has another target or generator; or trained weights would
            count for nothing; or networks that the generator begins at were trained around other weights than those
            that a part of a network keeps.
        HyperframeError: the generator cannot begin.
    """
    folder, begun = experiment.config.trainer.from_, {}
    options = experiment.config.target.common
    if constants:
        experiment.target.load_constants(constants)
    if folder is not None:
        try:
            begun = {"began_with": _load(check_is_run(folder), experiment)}
        except HyperframeError as error:
            raise ConfigError(f"trainer.from: {error}") from error
    elif constants and options.keeps and isinstance(options.weights, str) and not is_file(user_path(options.weights)):
        notice(
            f"target.weights: {options.weights} is gone; what is not generated has the weights that the run has kept, "
            "and what is generated begins without trained ones"
        )
    elif options.weights:
        _begin_at_trained(experiment)
    if options.generate:
        _check_given(experiment)
    experiment.generator.before_training()
    return begun


def _begin_at_trained(experiment: Experiment) -> None:
    """Let base points begin at trained weights, as far as these are of what is generated."""
    target, options = experiment.target, experiment.config.target.common
    parameters = dict(target.module.named_parameters())
    generated = {param.parameter.removeprefix(NETWORK): param.parameter for param in _params(target.spec.trained)}
    trained = trained_weights(options, {own: parameters[name] for own, name in generated.items()})
    whole = [
        layer.name
        for layer in target.spec.trained.layers
        if all(param.parameter.removeprefix(NETWORK) in trained for param in layer.params)
    ]
    if not whole:
        return
    spec = target.spec.part(whole)
    weights = pack(
        spec, {param.parameter: trained[param.parameter.removeprefix(NETWORK)][None] for param in _params(spec)}
    )
    points = experiment.generator.base_points()
    if points is not None:
        with torch.no_grad():
            for layer, value in weights.items():
                points[layer].copy_(value.expand_as(points[layer]))
        _check_scatter(experiment)
        return
    name = experiment.config.generator.name
    if set(parameters) <= set(generated.values()):
        raise ConfigError(
            f"target.weights: generator '{name}' has no base points, and all weights are generated, so that trained "
            "ones would count for nothing. Take generator=modes, target.adapter=lora, or target.generate=[...] for a "
            "part"
        )
    notice(
        f"target.weights: generator '{name}' has no base points: {quantity(len(whole), 'layer')} that it generates "
        f"whole would have had trained weights, and {'begins' if len(whole) == 1 else 'begin'} without them"
    )


def _check_given(experiment: Experiment) -> None:
    """Refuse a network as the beginning of a part where all else in its file is not what the part's network keeps.

    What was trained around other weights is of no worth around these, though nothing else would tell.
    """
    kept = {name.removeprefix(NETWORK): value.cpu() for name, value in experiment.target.constants().items()}
    for key, files in files_of_networks(experiment.config.generator.options).items():
        for file in files:
            found = {name.removeprefix(NETWORK): value for name, value in read_tensors(user_path(file)).items()}
            other = next((name for name, value in kept.items() if not _is_same(found.get(name), value)), None)
            if other is not None:
                raise ConfigError(
                    f"generator.{key}: {file} holds a network that was trained around other weights than those that "
                    f"are kept here: '{other}' differs. Set target.weights={file}, so that these are kept, or leave "
                    "all but the generated parameters out of the file"
                )


def _is_same(found: Tensor | None, kept: Tensor) -> bool:
    """Whether a tensor of a file is the one that is kept, up to rounding; one that it lacks says nothing."""
    if found is None or not kept.is_floating_point():
        return True
    return found.shape == kept.shape and torch.allclose(found.to(kept.dtype), kept, rtol=1e-4, atol=1e-6)


def _check_scatter(experiment: Experiment) -> None:
    """Refuse networks that begin at one point and see the same examples: they would stay equal."""
    generator = experiment.generator
    if not experiment.config.trainer.same_examples or generator.at_most(2) < 2:
        return
    with torch.no_grad():
        drawn = generator(generator.latent(2, stream(0, "scatter", experiment.device)))
    if all(torch.equal(*value) for value in drawn.values()):
        raise ConfigError(
            "trainer.same_examples: all networks begin at the trained weights, and with the same examples they would "
            "stay equal; set trainer.same_examples=false, or take generator=modes, whose draws differ"
        )


def _params(spec: TargetSpec) -> list[Param]:
    return [param for layer in spec.layers for param in layer.params]


def _load(path: Path, experiment: Experiment) -> dict[str, Any]:
    found = newest_checkpoint(path)
    if found is None:
        raise ConfigError(f"{path} holds no checkpoint")
    here, there = experiment.target.identity(), as_mapping(found.state.get("target"))
    for what, value in here.items():
        if there.get(what) != value:
            raise ConfigError(f"{path} was trained with another target: its {what} is {there.get(what)}, not {value}")
    state = found.generator()
    different = different_tensors(experiment.generator.state_dict(), state)
    if different:
        raise ConfigError(f"{path} was trained with another generator: {different}")
    if experiment.target.constants():
        experiment.target.load_constants(read_tensors(path / TARGET))
    experiment.generator.load_state_dict(state)
    return {"run": str(path), "step": found.step}
