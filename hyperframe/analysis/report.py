"""Reports: a run's evaluation and all analyses that apply to it, collected as plain data.

`hyperframe.analysis.page` makes a page of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe.analysis.evaluation_rows import evaluation_rows, evaluation_title
from hyperframe.analysis.runner import analyse, kept_analysis
from hyperframe.config.registry import Registry
from hyperframe.errors import HyperframeError, NotApplicableError
from hyperframe.runs.folder import ANALYSES, RESULTS
from hyperframe.runs.provenance import read_provenance
from hyperframe.runs.run import EVALUATION, Run
from hyperframe.runtime.files import kept_json
from hyperframe.runtime.progress import tell


def report_order(registry: Registry) -> list[str]:
    """The names of all analyses that are registered, in the order in which a report tells of them.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> report_order(Registry(make_plugin_manager()))[0]
        'ensembles'
    """
    found = [entry.component for entry in registry.all() if entry.kind == "analysis"]
    return [component.name for component in sorted(found, key=lambda one: (one.place, one.name))]


def collect(
    run: Run,
    registry: Registry,
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    again: bool = False,
) -> dict[str, Any]:
    """Run the evaluation and analyses, or take what is kept of the same step and options.

    An analysis that does not apply, or fails, leaves the others alone. After Ctrl-C, what is finished is kept in the
    run's folder, and the same call goes on from there.

    Args:
        run: the run, with the checkpoint that is to be looked at.
        registry: where analyses are looked up.
        names: of the analyses, in their order.
        options: of analyses, by name.
        again: take nothing that is kept.

    Returns:
        `run` (its folder's name), `step`, `classes` (their names, where they have any),
        `config` (all of the configuration), `provenance` (that of the training),
        `evaluation`, `headings` (of all analyses, by name), `analyses` (for each name `summary` and `reference` of the
        component, and its `result`),
        `left_out` (for each name why the analysis does not apply) and `failed` (for each name its message).

    Raises:
        HyperframeError: the run's own evaluation is not possible.
    """
    chosen = options or {}
    evaluation = None if again else _kept_evaluation(run)
    content: dict[str, Any] = {
        "run": run.folder.name,
        "step": run.step,
        "classes": list(getattr(run.experiment.task, "classes", ())),
        "config": run.config.plain(),
        "provenance": read_provenance(run.folder),
        "evaluation": evaluation or run.evaluate(),
        "headings": {},
        "analyses": {},
        "left_out": {},
        "failed": {},
    }
    for name in names:
        tell(f"analysis {name}", 0, 1)
        try:
            component = registry.get("analysis", name).component
            content["headings"][name] = component.heading
            kept = None if again else kept_analysis(run, name, registry, chosen.get(name))
            result = kept or analyse(run, name, registry, chosen.get(name), again=again)
            content["analyses"][name] = {
                "summary": component.summary,
                "reference": component.reference,
                "result": result,
            }
        except NotApplicableError as error:
            content["left_out"][name] = str(error)
        except HyperframeError as error:
            content["failed"][name] = str(error)
        tell(f"analysis {name}", 1, 1)
    return content


def _kept_evaluation(run: Run) -> dict[str, Any] | None:
    """What `run.evaluate()` would return, where that has been done; else None."""
    kept = kept_json(run.folder / ANALYSES / EVALUATION / RESULTS)
    if kept is None:
        return None
    wanted = {
        "run": run.folder.name,
        "step": run.step,
        "seed": run.config.evaluation.seed,
        "split": "test",
        "networks": run.default_count,
    }
    return kept if all(kept.get(key) == value for key, value in wanted.items()) and _can_be_shown(kept) else None


def _can_be_shown(results: dict[str, Any]) -> bool:
    """Whether figures that were read are those of an evaluation; a file that was changed by hand need not have them."""
    try:
        return bool(evaluation_title(results) and list(evaluation_rows(results)))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False
