"""Analyses: what is found out about a trained run, kept in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperframe.analysis.partial_results import has_parts, open_parts, remove_parts
from hyperframe.config.choices import Choice, choose
from hyperframe.config.overrides import split_all
from hyperframe.config.registry import Registry
from hyperframe.errors import (
    ConfigError,
    DivergedError,
    HyperframeError,
    MemoryShortageError,
    PluginError,
    described,
    notice,
    others_code,
    unknown_name,
)
from hyperframe.networks.sampled import Networks, draw_weights
from hyperframe.options import named_runs, plain_options
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.runs.folder import ANALYSES, RESULTS, claim
from hyperframe.runs.run import EVALUATION, Run
from hyperframe.runtime.files import (
    LARGEST_FIGURES,
    as_json,
    contents,
    exists,
    from_json,
    kept_json,
    user_path,
    write_json,
    writing,
)
from hyperframe.runtime.links import inside
from hyperframe.runtime.memory import is_out_of_memory
from hyperframe.runtime.rng import stream
from hyperframe.types import Analysis

PROBED = 2
"""Networks, and test examples, of which a look shows whether a training has diverged."""


def analyse_all(run: Run, registry: Registry) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Run all analyses of `evaluation.analyses`; one that fails leaves the others alone.

    Returns:
        What each found, by its name, and of those that failed why.
    """
    found, failed = {}, {}
    for name in run.config.evaluation.analyses:
        try:
            found[name] = analyse(run, name, registry)
        except HyperframeError as error:
            failed[name] = str(error)
    return found, failed


def chosen_names(text: str) -> list[str]:
    """The names of analyses that a user typed with commas between them; one that is typed twice is meant once.

    Example:
        >>> chosen_names("pca, paths,pca")
        ['pca', 'paths']
    """
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def chosen_options(arguments: Sequence[str], names: Sequence[str], registry: Registry) -> dict[str, dict[str, Any]]:
    """Options of analyses that a user typed as `NAME.OPTION=VALUE`, by the analysis' name.

    All mistakes are told here, before the first analysis begins.

    Raises:
        ConfigError: an argument is no such thing, is for an analysis that is not among the names, or is an option that
            the analysis does not have.
        PluginError: there is no analysis of one of the names.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> registry = Registry(make_plugin_manager())
        >>> chosen_options(["ensembles.draws=3"], ["ensembles", "pca"], registry)
        {'ensembles': {'draws': 3}, 'pca': {}}
    """
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in split_all(arguments):
        name, dot, option = key.partition(".")
        if not dot or not option:
            raise ConfigError(f"'{key}': options of an analysis are written NAME.OPTION=VALUE")
        if name not in options:
            raise ConfigError(f"'{key}': " + unknown_name("analysis", name, names))
        options[name][option] = value
    for name in names:
        chosen_analysis(name, registry, options[name])
    return options


def chosen_analysis(name: str, registry: Registry, options: Mapping[str, Any] | None = None) -> Choice:
    """Find an analysis and read its options.

    Raises:
        PluginError: there is no such analysis.
        ConfigError: an option that it does not have, or a wrong value.
    """
    if name == EVALUATION:
        raise PluginError(f"analysis '{name}': the name is that of the run's own evaluation; give it another one")
    return choose(registry, "analysis", {"name": name, **(options or {})}, name)


def analyse(
    run: Run, name: str, registry: Registry, options: Mapping[str, Any] | None = None, *, again: bool = False
) -> dict[str, Any]:
    """Run one analysis; its figures are kept in `analyses/NAME/results.json`, its pictures beside it.

    Args:
        run: the run, with the checkpoint that is to be looked at.
        name: of the analysis.
        registry: where it is looked up.
        options: of the analysis.
        again: take no parts that an interrupted or failed call has kept.

    Returns:
        `run`, `step`, `analysis` (its distribution, version and options, and what of `evaluation` it can depend on) and
        what the analysis found.

    Raises:
        NotApplicableError: it has nothing to say about such a run.
        PluginError: there is no such analysis, or it fails for a reason of its own.
        MemoryShortageError: what its options ask for does not fit into memory.
        RunError: the folder cannot be written, or another process is at it.
        DivergedError: the run's networks are not finite numbers.
        KeyboardInterrupt: Ctrl-C; parts that are done are kept, see `hyperframe.analysis.partial_results`.
    """
    choice = chosen_analysis(name, registry, options)
    analysis: Analysis = choice.make()
    generator = run.experiment.generator
    weights = draw_weights(generator, generator.at_most(PROBED), stream(0, "probe", run.experiment.device))
    Networks(
        run.experiment.target, run.experiment.task, weights, origin=f"{run.folder}, step {run.step}"
    ).check_weights()
    # Two processes must not take each other's parts.
    with claim(inside(run.folder, ANALYSES), f"analysis '{name}'", f".{name}.lock"):
        return _analyse(run, choice, analysis, again)


def _analyse(run: Run, choice: Choice, analysis: Analysis, again: bool) -> dict[str, Any]:
    name, folder = choice.name, inside(run.folder, ANALYSES, choice.name)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    origin = _origin(run, choice)
    if again:
        remove_parts(folder)
    open_parts(folder, origin)

    def failed(error: BaseException) -> HyperframeError:
        _check_outputs(run, error)
        if is_out_of_memory(error):
            return MemoryShortageError(f"{choice.described} does not fit into memory; take smaller options")
        return PluginError(f"{choice.described} failed: {described(error)}")

    try:
        with others_code(failed):
            results = analysis(run, folder)
            # As JSON gives it back, so that a report says the same of it now and when it is taken from the folder.
            result = from_json(as_json({**origin, **results, **origin}))
        write_json(folder / RESULTS, result)
    except KeyboardInterrupt:
        if has_parts(folder):
            notice(f"analysis '{name}' was interrupted; what is done is kept, and the same command goes on from there")
        _remove_empty(folder)
        raise
    except HyperframeError:
        _remove_empty(folder)
        raise
    remove_parts(folder)
    return result


def _check_outputs(run: Run, failure: BaseException) -> None:
    """Raise where networks that the run draws have outputs that few analyses can work with, as why one failed."""
    try:
        for _ in run.sample(run.experiment.generator.at_most(PROBED)).chunks(run.data("test").x[:PROBED]):
            pass
    except DivergedError as error:
        raise error from failure
    except (HyperframeError, RuntimeError):
        return


def kept_analysis(
    run: Run, name: str, registry: Registry, options: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """What `analyse` would return where it has been run with the same options on the same step; else None."""
    result = kept_json(run.folder / ANALYSES / name / RESULTS, LARGEST_FIGURES)
    if result is None:
        return None
    origin = _origin(run, chosen_analysis(name, registry, options))
    return result if all(result.get(key) == value for key, value in origin.items()) else None


def _origin(run: Run, choice: Choice) -> dict[str, Any]:
    """What a result depends on, as far as it is known."""
    source, evaluation, others = choice.registered.source, run.config.evaluation, named_runs(choice.options)
    return {
        "run": run.folder.name,
        "step": run.step,
        "analysis": {
            "distribution": source.distribution,
            "version": source.version,
            "options": plain_options(choice.options),
            # A run that goes on can have others from then on.
            "evaluation": {key: getattr(evaluation, key) for key in ("seed", "test_networks", "statistics")},
            "gauges": run.config.plain()["gauges"],
            # So can the runs that options name.
            "steps": {key: max(checkpoint_steps(user_path(other)), default=None) for key, other in others.items()},
        },
    }


def _remove_empty(folder: Path) -> None:
    """Leave no empty folder of an analysis that failed."""
    if not has_parts(folder):
        remove_parts(folder)
    if exists(folder) and not contents(folder):
        folder.rmdir()
