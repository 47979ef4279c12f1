"""Run analyses of a trained run, and keep their results in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperframe.analysis.partial_results import has_parts, open_parts, remove_parts
from hyperframe.analysis.results import check_plain, tell_unshown
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
from hyperframe.metrics import declare_results
from hyperframe.networks.sampled import Networks, draw_weights
from hyperframe.options import named_runs, plain_options
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.runs.folder import ANALYSES, EVALUATION, RESULTS, claim
from hyperframe.runs.run import Run
from hyperframe.runtime.files import (
    LARGEST_RESULTS,
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
"""How many networks are drawn, and run on as many test examples, to see whether a training has diverged."""


def analyse_all(run: Run, registry: Registry) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Run all analyses of `evaluation.analyses`; one that fails does not stop the others.

    Returns:
        The results of each analysis, by name, and the error messages of those that failed, by name.
    """
    found, failed = {}, {}
    for name in run.config.evaluation.analyses:
        try:
            found[name] = analyse(run, name, registry)
        except HyperframeError as error:
            failed[name] = str(error)
    return found, failed


def chosen_names(text: str) -> list[str]:
    """Split names of analyses that a user typed with commas between them; a name that is typed twice counts once.

    Example:
        >>> chosen_names("pca, paths,pca")
        ['pca', 'paths']
    """
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def chosen_options(
    arguments: Sequence[str], names: Sequence[str], registry: Registry, *, installed: bool = False
) -> dict[str, dict[str, Any]]:
    """Read options of analyses that a user typed as `NAME.OPTION=VALUE`; returns them by the analysis' name.

    All mistakes are reported here, before the first analysis begins. Where `names` are just all that are installed,
    only those with options: another one that cannot be made, as one that needs an option, must not stop the others.

    Raises:
        ConfigError: an argument is not of this form, names an analysis that is not among `names`, or an option that the
            analysis does not have.
        PluginError: one of the names is no analysis.

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
        if options[name] or not installed:
            chosen_analysis(name, registry, options[name])
    return options


def chosen_analysis(name: str, registry: Registry, options: Mapping[str, Any] | None = None) -> Choice:
    """Find an analysis and read its options.

    Raises:
        PluginError: there is no such analysis.
        ConfigError: the analysis has no such option, or the value is wrong.
    """
    if name == EVALUATION:
        raise PluginError(f"analysis '{name}': the name is that of the run's own evaluation; give it another one")
    return choose(registry, "analysis", {"name": name, **(options or {})}, name)


def analyse(
    run: Run, name: str, registry: Registry, options: Mapping[str, Any] | None = None, *, again: bool = False
) -> dict[str, Any]:
    """Run one analysis; keep its results in `analyses/NAME/results.json` of the run, and its pictures beside them.

    Args:
        run: the run, with the checkpoint to analyse.
        name: of the analysis.
        registry: where it is looked up.
        options: of the analysis.
        again: do not use parts that an interrupted or failed call has kept.

    Returns:
        `run`, `step`, `analysis` (its distribution, version and options, and the settings of `evaluation` that it can
        depend on) and the analysis' results.

    Raises:
        NotApplicableError: the analysis does not apply to such a run.
        PluginError: there is no such analysis, or its own code fails.
        MemoryShortageError: what its options ask for does not fit into memory.
        RunError: the folder cannot be written, or another process works in it.
        DivergedError: the run's weights are not all finite.
        KeyboardInterrupt: Ctrl-C; parts that are done are kept, see `hyperframe.analysis.partial_results`.
    """
    choice = chosen_analysis(name, registry, options)
    analysis: Analysis = choice.make()
    if not callable(analysis):
        raise PluginError(
            f"{choice.described}: its factory makes {type(analysis).__name__}, which cannot be called with (run, "
            "folder)"
        )
    generator = run.experiment.generator
    weights = draw_weights(generator, generator.at_most(PROBED), stream(0, "probe", run.experiment.device))
    Networks(
        run.experiment.target, run.experiment.task, weights, origin=f"{run.folder}, step {run.step}"
    ).check_weights()
    # Two processes must not read each other's parts.
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
            results = check_plain(analysis(run, folder), choice.described)
            if choice.registered.component.metrics and "metrics" not in results:
                results = declare_results(choice.registered.component.metrics, results, choice.described)
            # As JSON gives it back, so that a report is the same now and when results are read from the folder.
            result = from_json(as_json({**origin, **results, **origin}))
        write_json(folder / RESULTS, result)
        tell_unshown(result, choice.described)
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
    """Raise `DivergedError`, as the cause of a failure, where networks of the run have outputs that are not finite."""
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
    """Read what `analyse` would return, if it is kept for the same options and step; else return None."""
    result = kept_json(run.folder / ANALYSES / name / RESULTS, LARGEST_RESULTS)
    if result is None:
        return None
    origin = _origin(run, chosen_analysis(name, registry, options))
    return result if all(result.get(key) == value for key, value in origin.items()) else None


def _origin(run: Run, choice: Choice) -> dict[str, Any]:
    """Return what an analysis' results depend on, as far as it is known."""
    source, evaluation, others = choice.registered.source, run.config.evaluation, named_runs(choice.options)
    return {
        "run": run.folder.name,
        "step": run.step,
        "analysis": {
            "distribution": source.distribution,
            "version": source.version,
            "options": plain_options(choice.options),
            # These can be changed when a run is resumed,
            "evaluation": {key: getattr(evaluation, key) for key in ("seed", "test_networks", "statistics")},
            "gauges": run.config.plain()["gauges"],
            # and so can the runs that options name.
            "steps": {key: max(checkpoint_steps(user_path(other)), default=None) for key, other in others.items()},
        },
    }


def _remove_empty(folder: Path) -> None:
    """Remove the folder of an analysis that failed, where it holds nothing."""
    if not has_parts(folder):
        remove_parts(folder)
    if exists(folder) and not contents(folder):
        folder.rmdir()
