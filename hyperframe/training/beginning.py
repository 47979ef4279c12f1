"""Where a training begins: at a generator's first parameters, or at those that another run has come to."""

from hyperframe.errors import ConfigError, HyperframeError
from hyperframe.experiment.build import Experiment
from hyperframe.runs.checkpoints import newest_checkpoint
from hyperframe.runs.folder import TARGET, check_is_run
from hyperframe.runtime.files import different_tensors, read_tensors


def begin(experiment: Experiment) -> None:
    """Put the generator of a new training where it begins.

    With `trainer.from` it has the parameters and buffers of that run's newest checkpoint, whatever the run's task was;
    the optimiser and the schedule begin anew. Both have the same target and the same generator. After it comes what
    the generator does itself, `Generator.before_training`.

    Raises:
        ConfigError: that run is none, has no checkpoint, or has another target or generator.
        HyperframeError: the generator cannot begin.
    """
    folder = experiment.config.trainer.from_
    if folder is not None:
        try:
            _load(folder, experiment)
        except HyperframeError as error:
            raise ConfigError(f"trainer.from: {error}") from error
    experiment.generator.before_training()


def _load(folder: str, experiment: Experiment) -> None:
    path = check_is_run(folder)
    found = newest_checkpoint(path)
    if found is None:
        raise ConfigError(f"{path} holds no checkpoint")
    here, there = experiment.target.identity(), found.state.get("target")
    if there != here:
        raise ConfigError(f"{path} was trained with another target: {there} and not {here}")
    state = found.generator()
    different = different_tensors(experiment.generator.state_dict(), state)
    if different:
        raise ConfigError(f"{path} was trained with another generator: {different}")
    if experiment.target.constants():
        experiment.target.load_constants(read_tensors(path / TARGET))
    experiment.generator.load_state_dict(state)
