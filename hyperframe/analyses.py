"""Analyses: what is found out about a trained run, kept in its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.config import choose
from hyperframe.errors import HyperframeError, PluginError
from hyperframe.files import write_json, writing
from hyperframe.folder import ANALYSES, RESULTS
from hyperframe.plugins import Registry
from hyperframe.run import EVALUATION, Run
from hyperframe.types import Analysis


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


def analyse(run: Run, name: str, registry: Registry, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run one analysis; its figures are kept in `analyses/NAME/results.json`, its pictures beside it.

    Args:
        run: the run, with the checkpoint that is to be looked at.
        name: of the analysis.
        registry: where it is looked up.
        options: of the analysis.

    Returns:
        `run`, `step` and what the analysis found.

    Raises:
        PluginError: there is no such analysis, or it fails for a reason of its own.
        RunError: the folder cannot be written.
    """
    if name == EVALUATION:
        raise PluginError(f"analysis '{name}': the name is that of the run's own evaluation; give it another one")
    choice = choose(registry, "analysis", {"name": name, **(options or {})}, "analysis")
    analysis: Analysis = choice.make()
    folder = run.folder / ANALYSES / name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        figures = analysis(run, folder)
        result = {"run": run.folder.name, "step": run.step, **figures}
        write_json(folder / RESULTS, result)
    except HyperframeError:
        _remove_empty(folder)
        raise
    # Whatever a third party's analysis raises is reported with the name of who can mend it.
    except Exception as error:
        _remove_empty(folder)
        raise PluginError(f"{choice.described} failed: {type(error).__name__}: {error}") from error
    return result


def _remove_empty(folder: Path) -> None:
    """Leave no empty folder of an analysis that failed."""
    if not any(folder.iterdir()):
        folder.rmdir()
