"""Reports: collect a run's evaluation and all analyses that apply to it, as plain data.

`hyperframe.analysis.page` turns them into a page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe.analysis.rows.evaluation import evaluation_rows, evaluation_title
from hyperframe.analysis.runner import analyse, kept_analysis
from hyperframe.config.registry import Registry
from hyperframe.errors import HyperframeError, NotApplicableError
from hyperframe.runs.comparison import compare_runs, write_picture
from hyperframe.runs.folder import ANALYSES, EVALUATION, RESULTS
from hyperframe.runs.provenance import read_provenance
from hyperframe.runs.run import Run
from hyperframe.runtime.files import kept_json
from hyperframe.runtime.links import inside
from hyperframe.runtime.progress import tell

COMPARISON = "comparison.png"
"""The picture of a comparison, beside the run's evaluation."""


def report_order(registry: Registry) -> list[str]:
    """Return the names of all registered analyses, in the order in which a report shows them.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> report_order(Registry(make_plugin_manager()))[0]
        'answers'
    """
    found = [entry.component for entry in registry.all() if entry.kind == "analysis"]
    return [component.name for component in sorted(found, key=lambda one: (one.place, one.name))]


def collect(
    run: Run,
    registry: Registry,
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    evaluation: Mapping[str, Any] | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Run the evaluation and the analyses, or read results that are kept for the same step and options.

    An analysis that does not apply, or fails, does not stop the others. After Ctrl-C the finished results stay in the
    run's folder, and the same call goes on from there.

    Args:
        run: the run, with the checkpoint that the report is about.
        registry: where analyses are looked up.
        names: of the analyses, in order.
        options: of the analyses, by name.
        evaluation: of the run, as `evaluation_of` gives it; left out, it is made or read here.
        again: compute everything anew, even where results are kept.

    Returns:
        `run` (the name of its folder), `step`, `classes` (their names, if the task gives any), `config` (the whole
        configuration), `provenance` (of the training), `evaluation`, `headings` (of the analyses, by name), `analyses`
        (for each name the component's `summary` and `reference`, and the analysis' `result`), `left_out` (for each name
        why the analysis does not apply) and `failed` (for each name its error message).

    Raises:
        HyperframeError: the run's own evaluation fails.
    """
    chosen = options or {}
    content: dict[str, Any] = {
        "run": run.folder.name,
        "step": run.step,
        "classes": list(run.experiment.task.classes),
        "config": run.config.plain(),
        "provenance": read_provenance(run.folder),
        "evaluation": evaluation_of(run, again=again) if evaluation is None else dict(evaluation),
        "headings": {},
        "analyses": {},
        "left_out": {},
        "failed": {},
    }
    for number, name in enumerate(names):
        tell("analyses", number, len(names))
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
    tell("analyses", len(names), len(names))
    return content


def evaluation_of(run: Run, *, again: bool = False) -> dict[str, Any]:
    """Evaluate a run, or read its evaluation where it is kept for the same step and settings, and not made `again`."""
    return (None if again else _kept_evaluation(run)) or run.evaluate()


def compare_with_first(runs: Sequence[Run], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a run beside others, and draw them into its folder; see `hyperframe.runs.comparison.compare`.

    Args:
        runs: the run, then the others.
        evaluation: of the run, as `evaluation_of` gives it.

    Returns:
        What `compare` returns, and `picture`: what a report must know to show it, None where tasks have nothing that
        could be drawn.
    """
    run = runs[0]
    content = compare_runs(runs, run.registry, evaluation=evaluation)
    caption = (
        "Each run at how far two of its networks differ: what one network is worth, mean ± standard deviation, and "
        f"what {content['networks']} are worth together."
    )
    picture = {"file": COMPARISON, "title": "What networks are worth, and how they differ", "caption": caption}
    try:
        write_picture(inside(run.folder, ANALYSES, EVALUATION) / COMPARISON, content)
    except NotApplicableError:
        return {**content, "picture": None}
    return {**content, "picture": picture}


def _kept_evaluation(run: Run) -> dict[str, Any] | None:
    """Read what `run.evaluate()` would return, if it is kept; else return None."""
    kept = kept_json(run.folder / ANALYSES / EVALUATION / RESULTS)
    if kept is None:
        return None
    wanted = {
        "run": run.folder.name,
        "step": run.step,
        "seed": run.config.evaluation.seed,
        "split": "test",
        "networks": run.default_count,
        "settings": run.evaluation_settings,
    }
    return kept if all(kept.get(key) == value for key, value in wanted.items()) and _can_be_shown(kept) else None


def _can_be_shown(results: dict[str, Any]) -> bool:
    """Whether results that were read are those of an evaluation; a file that was edited by hand may lack some."""
    try:
        return bool(evaluation_title(results) and list(evaluation_rows(results)))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return False
