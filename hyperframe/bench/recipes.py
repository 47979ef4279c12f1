"""Recipes of a comparison: what each generator changes of a configuration, and how many steps its budget is worth."""

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from hyperframe.analysis.runner import chosen_names
from hyperframe.config.dotted_keys import walk
from hyperframe.config.overrides import SINGLE, read_yaml, split_override
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, load_config
from hyperframe.errors import ConfigError, HyperframeError
from hyperframe.experiment.build import build_experiment
from hyperframe.options import shown
from hyperframe.runtime.files import user_path
from hyperframe.runtime.rng import seeded
from hyperframe.runtime.threads import cpu_threads
from hyperframe.tasks.checked import load_data
from hyperframe.training.beginning import begin
from hyperframe.training.trainer import Trainer

LABEL = re.compile(r"[A-Za-z0-9][\w.+-]{0,59}", re.ASCII)
"""Labels name folders."""


SHARED = ("task", "target", "evaluation")
"""Sections that are the same for all generators of a comparison."""

SET = {"trainer.steps": "the budget", "trainer.seed": "--seeds"}
"""Keys that a comparison sets, and what says their values."""


@attrs.frozen(kw_only=True)
class Recipe:
    """How one generator of a comparison is trained.

    Attributes:
        label: what tables call it.
        config: its complete configuration, with as many steps as the budget is worth.
        command: trains it alone, from the default seed.
    """

    label: str
    config: Config
    command: str

    def seeded(self, seed: int) -> Config:
        """Return its configuration with another seed."""
        return attrs.evolve(self.config, trainer=attrs.evolve(self.config.trainer, seed=seed))


def read_generators(text: str) -> dict[str, dict[str, Any]]:
    """Read names of generators with commas between them, or the path of a YAML file of `label: {key: value}`.

    In a file the generator's bare name may stand for `{generator: NAME}`.

    Raises:
        ConfigError: there is no generator, the file cannot be read, or a label can be no folder's name.

    Example:
        >>> read_generators("direct, modes")
        {'direct': {'generator': 'direct'}, 'modes': {'generator': 'modes'}}
    """
    path = user_path(text)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        found = {label: _as_overrides(label, section) for label, section in read_yaml(path).items()}
    else:
        found = {name: {"generator": name} for name in chosen_names(text) if name}
    if not found:
        raise ConfigError("--generators names no generator; write names with commas, or a YAML file of label: settings")
    for label in found:
        if not LABEL.fullmatch(label):
            raise ConfigError(
                f"--generators: '{label}' can be no label; take up to 60 letters, digits and . _ + -, first a letter "
                "or digit"
            )
    return found


def _as_overrides(label: str, section: Any) -> dict[str, Any]:
    if isinstance(section, str):
        return {"generator": section}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{label}: expected keys and values, or a generator's name, but got {shown(section)}")
    return {str(key): value for key, value in section.items()}


def read_recipes(
    source: str,
    pairs: Sequence[tuple[str, Any]],
    generators: Mapping[str, Mapping[str, Any]],
    budget: int | None,
    registry: Registry,
) -> tuple[int, list[Recipe]]:
    """Complete the configuration of each generator; all mistakes are found here, before the first training.

    A step of each is tried, which tells what it costs.

    Args:
        source: the configuration that all of them change.
        pairs: overrides for all of them; a generator's own come after these.
        generators: overrides of each by its label.
        budget: gradient evaluations of each training; None: those of the configuration as it is.
        registry: where components are looked up.

    Returns:
        The budget and the recipes.

    Raises:
        HyperframeError: a configuration cannot be read or trained, sets what the comparison sets, or a step of it takes
            more than the budget.
    """
    _check_keys(dict(pairs), ["trainer.seed"] if budget is None else SET)
    base = load_config(source, dict(pairs), registry)
    if budget is None:
        with naming(f"{source} as it is, whose budget stands for --budget"):
            budget = base.trainer.steps * cost_of_step(base)
    recipes = []
    for label, overrides in generators.items():
        with naming(label):
            _check_keys(overrides, SET)
            config = load_config(source, dict(pairs), registry, then=overrides)
            for key in SHARED:
                if config.plain()[key] != base.plain()[key]:
                    raise ConfigError(f"{key}: generators are compared on one {key}; set it for all, as {key}...=VALUE")
            cost = cost_of_step(config)
            if cost > budget:
                raise ConfigError(
                    f"a step takes {cost:,} gradient evaluations, more than the budget of {budget:,}; lower "
                    "trainer.networks or trainer.batch_size, or raise --budget"
                )
            trainer = attrs.evolve(config.trainer, steps=budget // cost)
            config = attrs.evolve(config, trainer=trainer).with_absolute_locations()
            recipes.append(Recipe(label=label, config=config, command=command_of(source, config, registry)))
    return budget, recipes


def _check_keys(overrides: Mapping[str, Any], refused: Collection[str]) -> None:
    for key, _ in walk(overrides, lists=False):
        if key in refused:
            raise ConfigError(f"{key} is set by the comparison: {SET[key]} says it")


def command_of(source: str, config: Config, registry: Registry) -> str:
    """Write the command that trains a configuration: the keys in which it differs from its source.

    Of a component of another name these are the options that are not its defaults.
    """
    names = {key: getattr(config, key).name for key in SINGLE}
    given = load_config(source, {}, registry)
    named = {f"{key}.name": name for key, name in names.items() if getattr(given, key).name != name}
    before = dict(walk(load_config(source, named, registry).plain(), lists=False))
    after = dict(walk(config.plain(), lists=False))
    pairs = named | {key: value for key, value in after.items() if key not in before or before[key] != value}
    return shlex.join(["hyperframe", "train", source, *(f"{key}={_as_text(key, pairs[key])}" for key in pairs)])


def _as_text(key: str, value: Any) -> str:
    """A value as it is typed behind its key."""
    return value if isinstance(value, str) and split_override(f"{key}={value}")[1] == value else json.dumps(value)


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Say which generator, or which cell of a table, an error is about."""
    try:
        yield
    except HyperframeError as error:
        raise type(error)(f"{label}: {error}") from error


def cost_of_step(config: Config) -> int:
    """How many gradients of one network's output at one example a training step takes; one is done to find out.

    Raises:
        HyperframeError: the configuration cannot be trained.
    """
    experiment = build_experiment(config)
    begin(experiment)
    with cpu_threads(config.trainer.threads), seeded(config.trainer.seed, "global", experiment.device):
        trainer = Trainer(experiment, load_data(experiment.task, "train"))
        trainer.dry_run()
        trainer.step()
    return experiment.loss.evaluations
