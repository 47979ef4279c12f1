"""Complete configurations: every component found, every option known, typed and in range."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import attrs

from hyperframe.config.choices import Choice, choose, plain_choice
from hyperframe.config.overrides import (
    DEFAULTS,
    KEY_HELP,
    LISTS,
    SINGLE,
    apply_overrides,
    check_override,
    named_section,
    read_yaml,
    split_all,
)
from hyperframe.config.registry import Registry
from hyperframe.errors import ConfigError, unknown_name
from hyperframe.options import (
    option,
    plain_options,
    read_options,
    shown,
    with_absolute_locations,
)
from hyperframe.runtime.files import is_file, user_path
from hyperframe.runtime.precision import Precision


@attrs.frozen(kw_only=True)
class PriorOptions:
    """Options of the prior functions."""

    functions: int = option(
        0, "fixed random networks, whose outputs each network adds in a mixture of its own; 0: none", minimum=0
    )
    scale: float = option(1.0, "standard deviation of what is added, at inputs with the mean square 1", minimum=0)
    hidden: int = option(32, "hidden units of each of these networks", minimum=1)

    @property
    def adds(self) -> bool:
        """Whether anything is added."""
        return self.functions > 0 and self.scale > 0


@attrs.frozen(kw_only=True)
class TrainerOptions:
    """Options of the training."""

    steps: int = option(2000, "number of optimiser steps; the rate's schedule spans them", minimum=1, maximum=10**12)
    networks: int = option(32, "networks drawn in a step", minimum=1, maximum=10**6)
    batch_size: int = option(
        32, "examples each of these networks sees in a step, different ones for each", minimum=1, maximum=10**9
    )
    same_examples: bool = option(
        False,
        "all networks of a step see the same examples, so that what comes before generated weights runs once for all",
    )
    shared_examples: int = option(
        32, "examples that all networks see in a step, for terms that compare outputs", minimum=1, maximum=10**9
    )
    chunk: int | None = option(
        None,
        "networks that one pass of the target runs; changes results by rounding only; null: as suits the device",
        minimum=1,
    )
    from_: str | None = option(
        None,
        "a run with the same target and generator, on any task, whose parameters this one begins with; null: none",
        location=True,
    )
    rate: float = option(3e-4, "the optimiser's learning rate", above=0)
    schedule: Literal["exponential", "one_cycle", "one_cycle_tail", "cyclic", "constant"] = option(
        "exponential", "how the rate changes"
    )
    decay: float = option(0.99998, "exponential: the factor a step", above=0, maximum=1)
    warmup: float = option(0.3, "one_cycle: the part of the cycle in which the rate rises", minimum=0, below=1)
    tail: float = option(0.3, "one_cycle_tail: the part of the steps behind the cycle", above=0, below=1)
    tail_rate: float = option(0.2, "one_cycle_tail: the rate in the tail, as a part of the highest", above=0)
    cycles: int = option(4, "cyclic: in how many cycles the rate falls from its highest to zero", minimum=1)
    average_tail: float | None = option(
        None,
        "the part of the steps, at the end, over which the generator's parameters are averaged; the averages replace "
        "them after the last step; null: none",
        above=0,
        maximum=1,
    )
    beta1: float = option(0.9, "Adam's decay of the mean", minimum=0, below=1)
    beta2: float = option(0.999, "Adam's decay of the square", minimum=0, below=1)
    epsilon: float = option(1e-8, "what Adam adds to the root", above=0)
    gradient_clip: float | None = option(None, "largest norm of the gradient; null: no limit", above=0)
    log_every: int = option(50, "steps between two lines of metrics", minimum=1)
    checkpoint_every: int = option(500, "steps between two checkpoints", minimum=1)
    keep_checkpoints: int = option(3, "how many of the last checkpoints are kept, beside the best", minimum=1)
    stop_after: int | None = option(None, "pause after so many steps of this call; not kept with the run", minimum=1)
    max_seconds: float | None = option(None, "pause after so many seconds of training; not kept with the run", above=0)
    threads: int | None = option(
        None, "CPU threads; null: as many as torch takes. Small targets are faster on 1", minimum=1
    )
    cuda_graph: bool = option(
        True,
        "CUDA: record what the fourth step does and replay it in all later ones; false where a component's Python code "
        "does something else in later steps",
    )
    precision: Precision = option(
        "float32",
        "to what products and convolutions of a step round their inputs: float32 (as torch is set), tf32 (CUDA) or "
        "bfloat16 (those of the target); evaluations are float32",
    )
    device: str = option("auto", "auto (CUDA where there is one), cpu, cuda or cuda:INDEX")
    seed: int = option(0, "seed of everything that is drawn", minimum=0)

    def __attrs_post_init__(self) -> None:
        """Check that every cycle has a step."""
        if self.schedule == "cyclic" and self.cycles > self.steps:
            raise ConfigError(
                f"trainer.cycles is {self.cycles}, but there are only trainer.steps={self.steps}; take no more cycles "
                "than steps"
            )

    def cycle_at(self, step: int) -> range:
        """The steps of the rate's cycle in which a step lies; all steps where the schedule has no cycles.

        Example:
            >>> TrainerOptions(steps=10, schedule="cyclic", cycles=3).cycle_at(5)
            range(3, 6)
        """
        cycles = self.cycles if self.schedule == "cyclic" else 1
        number = ((step + 1) * cycles - 1) // self.steps
        return range(number * self.steps // cycles, (number + 1) * self.steps // cycles)


@attrs.frozen(kw_only=True)
class EvaluationOptions:
    """Options of evaluations: on validation data while training, and on the test set afterwards."""

    every: int = option(250, "steps between two validations", minimum=1)
    networks: int = option(50, "networks drawn for a validation", minimum=1, maximum=10**6)
    examples: int = option(2000, "validation examples it uses at most", minimum=1)
    test_networks: int = option(200, "networks drawn for the evaluation on the test set", minimum=1, maximum=10**6)
    statistics: int = option(
        1000, "training examples from which the moments of each drawn network's BatchNorm are estimated", minimum=1
    )
    seed: int = option(1, "seed of the networks that are drawn for evaluations", minimum=0)
    analyses: tuple[str, ...] = option((), "names: what 'hyperframe train' runs in the end, with their default options")


SECTIONS: dict[str, type[Any]] = {
    "prior": PriorOptions,
    "trainer": TrainerOptions,
    "evaluation": EvaluationOptions,
}


@attrs.frozen(kw_only=True)
class Config:
    """A complete configuration: every component found, every option known and in range."""

    name: str
    task: Choice
    target: Choice
    generator: Choice
    gauges: tuple[Choice, ...]
    entropy: Choice
    diversity: tuple[Choice, ...]
    objective: Choice
    prior: PriorOptions
    trainer: TrainerOptions
    evaluation: EvaluationOptions

    def plain(self) -> dict[str, Any]:
        """The configuration as plain data, which `read_config` reads back to an equal one."""
        plain: dict[str, Any] = {key: plain_choice(getattr(self, key)) for key in SINGLE}
        plain["gauges"] = [plain_choice(choice) for choice in self.gauges]
        plain["diversity"] = [plain_choice(choice) for choice in self.diversity]
        plain |= {key: plain_options(getattr(self, key)) for key in SECTIONS}
        return {key: plain[key] for key in KEY_HELP}

    def without_pauses(self) -> "Config":
        """The configuration of the run itself: without what only pauses it."""
        return attrs.evolve(self, trainer=attrs.evolve(self.trainer, stop_after=None, max_seconds=None))

    @property
    def pauses(self) -> dict[str, Any]:
        """The settings that only pause the run: dotted keys and their values."""
        return {f"trainer.{name}": getattr(self.trainer, name) for name in ("stop_after", "max_seconds")}

    @property
    def locations(self) -> dict[str, Any]:
        """Where data lie: dotted keys and their values."""
        chosen = self.choices.items()
        return {f"{path}.{key}": value for path, choice in chosen for key, value in choice.locations.items()}

    def with_absolute_locations(self) -> "Config":
        """The same configuration, in which all paths of data are absolute: it means the same from another folder."""
        changed: dict[str, Any] = {key: getattr(self, key).with_absolute_locations() for key in SINGLE}
        changed |= {key: tuple(choice.with_absolute_locations() for choice in getattr(self, key)) for key in LISTS}
        return attrs.evolve(self, **changed, trainer=with_absolute_locations(self.trainer))

    def kept(self) -> dict[str, Any]:
        """Identify the run by plain data: its task, less where data lie, its target, generator, prior and the seed."""
        kept: dict[str, Any] = {key: plain_choice(getattr(self, key)) for key in ("task", "target", "generator")}
        for key in self.locations:
            section, _, name = key.partition(".")
            if section in kept:
                del kept[section][name]
        if self.prior.adds:
            kept["prior"] = plain_options(self.prior)
        return {**kept, "trainer": {"seed": self.trainer.seed}}

    @property
    def choices(self) -> dict[str, Choice]:
        """Every component that it chose, by its dotted key, such as `gauges.0`."""
        found: dict[str, Choice] = {}
        for key in (key for key in KEY_HELP if key not in SECTIONS):
            chosen = getattr(self, key)
            found |= {f"{key}.{number}": one for number, one in enumerate(chosen)} if key in LISTS else {key: chosen}
        return found


def shipped_configs() -> dict[str, Path]:
    """The configurations that ship, by name."""
    folder = Path(str(resources.files("hyperframe.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(
    source: str | Path,
    overrides: Sequence[str] | Mapping[str, Any],
    registry: Registry,
    then: Mapping[str, Any] | None = None,
) -> Config:
    """Load a configuration by its name or from a YAML file, and apply overrides.

    Args:
        source: a name that ships, or a path.
        overrides: `KEY=VALUE` texts with VALUE in YAML, or a mapping of dotted keys to values.
        registry: where components are looked up.
        then: overrides that are applied to what comes of these.

    Returns:
        The configuration; it has the source's name, or the task's where overrides change that.

    Raises:
        ConfigError: no such configuration, or anything in it that is unknown, mistyped or out of range.
        PluginError: an unknown component.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> config = load_config("digits", ["trainer.steps=1e2"], Registry(make_plugin_manager()))
        >>> config.trainer.steps
        100
    """
    name, content = _read_source(source)
    first = apply_overrides({**DEFAULTS, **content}, override_pairs(overrides))
    config = read_config(name, apply_overrides(first, override_pairs(then or {})), registry)
    changed = "task" in content and named_section(content["task"], "task").get("name") != config.task.name
    return attrs.evolve(config, name=config.task.name) if changed else config


def override_pairs(overrides: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Overrides as keys and values: of `KEY=VALUE` texts with VALUE in YAML, or a mapping of dotted keys to values."""
    if isinstance(overrides, Mapping):
        return [check_override(key, value) for key, value in overrides.items()]
    return split_all(overrides)


def read_config(name: str, content: Mapping[str, Any], registry: Registry) -> Config:
    """Check plain data and make a complete configuration of it."""
    for key in content:
        if key not in KEY_HELP:
            raise ConfigError(unknown_name("key", str(key), KEY_HELP))
    content = {**DEFAULTS, **content}
    found: dict[str, Any] = {}
    for key, kind in SINGLE.items():
        if key not in content:
            raise ConfigError(
                f"{key}: a value is needed, the name of a {kind}; or a base that has it, such as 'base: digits'"
            )
        found[key] = choose(registry, kind, named_section(content[key], key), key)
    for key, kind in LISTS.items():
        if not isinstance(content[key], list):
            raise ConfigError(f"{key}: expected a list, such as {DEFAULTS[key]} or [], but got {shown(content[key])}")
        items = enumerate(content[key])
        found[key] = tuple(choose(registry, kind, item, f"{key}.{number}") for number, item in items)
    for key, cls in SECTIONS.items():
        section = {} if content.get(key) is None else content[key]
        if not isinstance(section, Mapping):
            raise ConfigError(f"{key}: expected keys and values, but got {shown(section)}")
        found[key] = read_options(cls, section, key)
    refuse_twice(found["evaluation"].analyses, "evaluation.analyses")
    for number, analysis in enumerate(found["evaluation"].analyses):
        choose(registry, "analysis", {"name": analysis}, f"evaluation.analyses.{number}")
    return Config(name=name, **found)


def refuse_twice(names: Sequence[str], key: str) -> None:
    """Raise `ConfigError` where a name is listed twice under a key."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{key}: '{twice}' is listed twice")


def _read_source(source: str | Path, read: tuple[Path, ...] = ()) -> tuple[str, dict[str, Any]]:
    """A configuration's name and content, over that of its base where it names one.

    Args:
        source: a name that ships, or a path.
        read: the files that lead to it by their bases.
    """
    shipped = shipped_configs()
    path = shipped.get(str(source))
    if path is None:
        path = user_path(source)
        if read:
            path = read[-1].parent / path
        if not is_file(path):
            where = f"{read[-1]}: base: " if read else ""
            if path.suffix in (".yaml", ".yml"):
                raise ConfigError(f"{where}configuration file {path} does not exist")
            raise ConfigError(
                where + unknown_name("configuration", str(source), shipped) + ", or a path to a YAML file"
            )
    if path.resolve() in [each.resolve() for each in read]:
        raise ConfigError(f"{read[-1]}: base: {source} leads back to itself: {' → '.join(map(str, (*read, path)))}")
    content = read_yaml(path)
    if "base" not in content:
        return path.stem, content
    base = content.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected a text, a name that ships or a path, but got {shown(base)}")
    return path.stem, apply_overrides({**DEFAULTS, **_read_source(base, (*read, path))[1]}, list(content.items()))
