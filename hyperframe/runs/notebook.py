"""The table by which notebooks show a run: all that is known without a computation."""

from typing import Any

from hyperframe.experiment.describe import parts_of
from hyperframe.metrics import WORDS
from hyperframe.runs.folder import ANALYSES, EVALUATION, RESULTS
from hyperframe.runtime.files import LARGEST_RESULTS, kept_json
from hyperframe.runtime.progress import quantity
from hyperframe.targets.notebook import html_table


def run_table(run: Any) -> str:
    """A `hyperframe.Run`: what was trained, how far, and its evaluation where one is kept."""
    parts = parts_of(run.experiment)
    names = {key: ", ".join(parts[key]) or "none" for key in ("diversity", "gauges")}
    state = "finished" if run.finished else "not finished"
    rows: list[tuple[str, object]] = [
        ("folder", run.folder),
        ("state", f"{run.progress}, {state}; on {run.experiment.device}"),
        ("task", f"{parts['task']['name']}: inputs {parts['task']['input_shape']}"),
        ("target", f"{parts['target']['name']}: {parts['target']['weights']:,} weights"),
        ("generator", f"{parts['generator']['name']}: {parts['generator']['parameters']:,} parameters"),
        ("loss", f"objective {parts['objective']}, diversity {names['diversity']}, gauges {names['gauges']}"),
        ("cost", f"{run.gradient_evaluations:,} gradient evaluations"),
    ]
    return html_table(f"run {run.folder.name}", [*rows, *_results(run)])


def _count(number: object, word: str) -> str:
    """A count of a kept evaluation, which a file that was changed by hand need not have."""
    return quantity(number, word) if isinstance(number, int) else f"{number} {word}s"


def _results(run: Any) -> list[tuple[str, object]]:
    """The metrics of a kept evaluation, and what it is of."""
    results = kept_json(run.folder / ANALYSES / EVALUATION / RESULTS, LARGEST_RESULTS)
    if results is None:
        return [("evaluation", "none is kept yet; run.evaluate() makes one")]
    origin = f"at step {results['step']}" if "step" in results else f"of {results.get('samples')}"
    counts = [_count(results.get(f"{word}s"), word) for word in ("network", "example")]
    rows: list[tuple[str, object]] = [("evaluation", f"{', '.join(counts)} ({results.get('split')}), {origin}")]
    for metric in run.experiment.task.metrics:
        text = metric.text(results)
        if text is not None:
            rows.append((metric.words(WORDS[metric.of]), text))
    return rows
