"""Runs side by side: what differs in their configurations, results of as many networks of each, and a picture."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from hyperframe.config.choices import choose
from hyperframe.config.dotted_keys import walk
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, override_pairs
from hyperframe.errors import Forgiven, NotApplicableError, RunError, described, notice
from hyperframe.experiment.evaluation import gauged_rows, measure, measured_part
from hyperframe.metrics import Metric, first_metric, metrics_of
from hyperframe.runs.folder import check_is_run, folder_identity, read_run_config
from hyperframe.runs.loading import load_run
from hyperframe.runs.metrics_log import read_metrics
from hyperframe.runs.run import Run
from hyperframe.runtime.files import whole_file
from hyperframe.runtime.progress import quantity
from hyperframe.types import EntropyEstimator


def compare(
    folders: Sequence[str | Path],
    registry: Registry,
    networks: int | None = None,
    seed: int | None = None,
    *,
    device: str | None = None,
    checkpoint: str | int = "last",
    overrides: Sequence[str] | Mapping[str, Any] = (),
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure the networks of several runs, as many of each, on the test set of its task. Nothing is written.

    Args:
        folders: two or more run folders, each another run.
        registry: the components to choose from; each of its entropy estimators is used, with its default options.
        networks: how many of each run; by default the smallest of the runs' own defaults.
        seed: of the draws; by default each run's `evaluation.seed`.
        device: auto, cpu, cuda or cuda:INDEX; by default auto.
        checkpoint: of each run "last", "best" or a step.
        overrides: where data lie now, `KEY=VALUE` texts or a mapping; each run takes those whose keys it has.
        names: of the runs; those of one name are repeats of one another, as from other seeds. By default the folders'.

    Returns:
        `networks`; `different`, see `differences`; `runs`, for each `run` (a short name), `folder`, `task`, `step`,
        `results` (those of the task's meter, as `hyperframe evaluate` has them), `entropies` (of the weights in the
        run's own gauges, in nats, by each estimator; None for fewer networks than it needs) and `training_seconds`.
        Entropies say something about runs of one target with the same gauges and dimension of z only.

    Raises:
        RunError: fewer than two runs, a run twice, a folder that is no run, a component that is not installed, or more
            networks than a run holds.
    """
    runs = load_runs(folders, registry, device=device, checkpoint=checkpoint, overrides=overrides)
    return compare_runs(runs, registry, networks, seed, names=names)


def load_runs(
    which: Sequence[str | Path | Run],
    registry: Registry,
    *,
    device: str | None = None,
    checkpoint: str | int = "last",
    overrides: Sequence[str] | Mapping[str, Any] = (),
) -> list[Run]:
    """Load runs that are to be compared; those that are loaded already are taken as they are.

    Args:
        which: run folders or runs, two or more, each another run.
        registry: the components to choose from.
        device: as for `compare`.
        checkpoint: likewise.
        overrides: likewise.

    Raises:
        RunError: fewer than two runs, a run twice, a folder that is no run, or a component that is not installed.
    """
    paths = [one.folder if isinstance(one, Run) else check_is_run(one) for one in which]
    _check_different(paths)
    stored = [read_run_config(path, registry)[0] for path in paths]
    own = _overrides_of_each(stored, override_pairs(overrides))
    return [
        one if isinstance(one, Run) else load_run(path, registry, device, checkpoint, pairs)
        for one, path, pairs in zip(which, paths, own, strict=True)
    ]


def compare_runs(
    runs: Sequence[Run],
    registry: Registry,
    networks: int | None = None,
    seed: int | None = None,
    *,
    names: Sequence[str] | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure the networks of runs that are loaded, as `compare` does.

    Args:
        runs: two or more.
        registry: the components, for their entropy estimators.
        networks: as for `compare`.
        seed: likewise.
        names: likewise.
        evaluation: of the first run with this seed, as `Run.evaluate` returns it; where it is of as many networks these
            are not run again.

    Returns:
        What `compare` returns.

    Raises:
        RunError: more networks than a run holds.
    """
    paths = [run.folder for run in runs]
    names = _names(paths) if names is None else names
    configs = {name: read_run_config(run.folder, registry)[0].plain() for name, run in zip(names, runs, strict=True)}
    count = min(run.default_count for run in runs) if networks is None else networks
    for run in runs:
        held = run.experiment.generator.at_most(count)
        if held < count:
            raise RunError(
                f"{run.folder} holds {quantity(held, 'network')}, {count} were asked for; compare at most {held}"
            )
    known = None
    if evaluation is not None and evaluation["networks"] == count:
        known = measured_part(evaluation)
    rows = [
        {"run": name, **_measure(run, count, seed, registry, known if run is runs[0] else None)}
        for name, run in zip(names, runs, strict=True)
    ]
    return {"networks": count, "different": differences(configs), "runs": rows}


def _overrides_of_each(stored: Sequence[Config], pairs: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """For each run the overrides whose keys it has; all of them where no run has one, which is then refused."""
    own = [{key: value for key, value in pairs if key in config.locations} for config in stored]
    known = set().union(*own)
    return own if all(key in known for key, _ in pairs) else [dict(pairs) for _ in stored]


def _check_different(paths: Sequence[Path]) -> None:
    """Raise `RunError` where there are no two runs, or one is named twice."""
    if len(paths) < 2:
        raise RunError(f"only one run was named, {paths[0]}; name two or more" if paths else "name two runs or more")
    known: dict[tuple[int, int] | None, Path] = {}
    for path in paths:
        other = known.setdefault(folder_identity(path), path)
        if other is not path:
            raise RunError(f"{path} and {other} are the same run; name each one once")


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names of runs: their folders' own, or the paths as they were given where two of these are the same."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The keys of configurations that are not the same in all, dotted, with the value in each that has the key.

    Example:
        >>> differences({"a": {"task": {"name": "digits", "zoom": 0}}, "b": {"task": {"name": "mnist", "zoom": 0}}})
        {'task.name': {'a': 'digits', 'b': 'mnist'}}
    """
    flat = {run: dict(walk(content)) for run, content in configs.items()}
    sections = [section for content in configs.values() for section in content]
    known = dict.fromkeys(key for content in flat.values() for key in content)
    keys = sorted(known, key=lambda key: sections.index(key.partition(".")[0]))
    found = {key: {run: content[key] for run, content in flat.items() if key in content} for key in keys}
    return {
        key: values
        for key, values in found.items()
        if len(values) < len(flat) or any(value != next(iter(values.values())) for value in values.values())
    }


def repeats(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of a comparison by their names, in order; several of one name are repeats.

    Example:
        >>> repeats([{"run": "a", "step": 1}, {"run": "b", "step": 1}, {"run": "a", "step": 2}])["a"]
        [{'run': 'a', 'step': 1}, {'run': 'a', 'step': 2}]
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["run"], []).append(row)
    return found


def _measure(
    run: Run, count: int, seed: int | None, registry: Registry, results: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The row of a run; its results are measured where they are not known."""
    nets = run.sample(count, seed)
    flat, dimension = gauged_rows(run.experiment, nets)
    entropies = {
        entry.component.name: _entropy(entry.component.name, registry, flat, dimension)
        for entry in registry.all()
        if entry.kind == "entropy"
    }
    return {
        "folder": str(run.folder),
        "task": run.experiment.task.name,
        "step": run.step,
        "results": measure(run.experiment, nets, run.data("test")) if results is None else results,
        "entropies": entropies,
        "training_seconds": training_seconds(run.folder, run.step)[0],
    }


def _entropy(name: str, registry: Registry, flat: Tensor, dimension: int) -> float | None:
    """The entropy of rows [networks, num_weights] by an estimator with its default options."""

    def failed(error: BaseException) -> None:
        notice(f"entropy '{name}' is left out: {described(error)}")

    # An estimator that needs options, or a third party's mistake: all other results are still worth having.
    with Forgiven(failed):
        estimator: EntropyEstimator = choose(registry, "entropy", name, "entropy").make()
        return float(estimator(flat, dimension)) if len(flat) >= estimator.minimum_samples else None
    return None


def training_seconds(folder: Path, step: int) -> tuple[float | None, float | None]:
    """Seconds that the training took up to a step, by the clock and of the CPU; None where none are in `metrics.jsonl`.

    It is the time of the steps alone, Σ (steps since the last line) · (seconds a step), without validations,
    checkpoints and the start; of a step that was done again after a pause, the time of the last one.
    """
    wall, cpu, before = 0.0, 0.0, 0
    for line in read_metrics(folder):
        speed, of_cpu, here = line.get("steps_per_second"), line.get("cpu_seconds_per_step"), min(line["step"], step)
        if isinstance(speed, int | float) and speed > 0 and here > before:
            wall += (here - before) / speed
            cpu += (here - before) * of_cpu if isinstance(of_cpu, int | float) else math.nan
            before = here
    return (wall, None if math.isnan(cpu) else cpu) if before else (None, None)


@attrs.frozen
class Axes:
    """The metrics of a task that the picture of a comparison shows.

    Attributes:
        apart: of the ensemble, without a better way: how far two networks differ.
        single: of single networks.
        ensemble: the same of the ensemble.
    """

    apart: Metric
    single: Metric
    ensemble: Metric


def _axes(results: Mapping[str, Any]) -> Axes | None:
    """The first metrics of these that can be drawn over one another; None where the task has none."""
    metrics = metrics_of(results)
    apart = next((metric for metric in metrics if metric.of == "ensemble" and not metric.better), None)
    single, ensemble = (first_metric(metrics, of) for of in ("network", "ensemble"))
    if apart is None or single is None or ensemble is None or single.spread(results) is None:
        return None
    same = all(getattr(single, key) == getattr(ensemble, key) for key in ("unit", "percent", "better"))
    return Axes(apart, single, ensemble) if same else None


def write_picture(path: Path, content: Mapping[str, Any], *, joined: bool = False) -> None:
    """Draw what the networks of the runs that `compare` measured are worth against their diversity, into a PNG file.

    On the x axis stands how far two networks of a run differ, such as the probability that they give different answers
    to an example; on the y axis the first metric of single networks, such as the accuracy (mean ± standard deviation),
    and that of the ensemble, such as its majority vote. Runs of one kind of task are drawn, which the first one has.
    Repeats are one point: their means, with the deviation over the repeats in both directions.

    Args:
        path: the file.
        content: what `compare` gives.
        joined: a line joins the points in their order, as those of a key that takes one value after the other.

    Raises:
        NotApplicableError: no run is of a task with such metrics.
        RunError: the file cannot be written.
    """
    found = {row["run"]: _axes(row["results"]) for row in content["runs"]}
    chosen = next((axes for axes in found.values() if axes is not None), None)
    if chosen is None:
        raise NotApplicableError(f"{path} is not drawn: none of the runs is of a task whose metrics can be drawn")
    rows = [row for row in content["runs"] if found[row["run"]] == chosen]
    for row in content["runs"]:
        if row not in rows:
            notice(f"{row['run']} is not in the picture: its task '{row['task']}' has no such {chosen.single.label}")
    with whole_file(path) as partial:
        _draw(rows, chosen, content["networks"], joined).savefig(partial, format="png", dpi=150)


def _draw(rows: Sequence[Mapping[str, Any]], chosen: Axes, networks: int, joined: bool) -> Any:
    """The picture, a matplotlib figure: a colour and a number for each run, whose name stands below."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (takes a second, and only this needs it)

    points = repeats(rows)
    figure = Figure(figsize=(7, 4.5 + 0.22 * len(points)), layout="constrained")
    axes = figure.add_subplot()
    votes: list[tuple[float, float]] = []
    for number, (name, own) in enumerate(points.items(), 1):
        found = [row["results"] for row in own]
        metrics = (chosen.apart, chosen.single, chosen.ensemble)
        values = [[_plotted_value(metric, results) for results in found] for metric in metrics]
        x, mean, vote = map(statistics.fmean, values)
        wide, high = (statistics.stdev(one) if len(own) > 1 else 0.0 for one in values[:2])
        if len(points) == len(rows):
            high = _factor(chosen.single) * found[0][chosen.single.name]["std"]
        color, above = f"C{(number - 1) % 10}", number + 2  # a later run covers an earlier one as a whole
        axes.plot([x, x], [mean, vote], ":", linewidth=1, color=color)
        axes.errorbar(x, mean, high, wide or None, fmt="o", capsize=3, color=color, zorder=above)
        axes.plot(x, vote, "s", markersize=13, color=color, zorder=above, label=f"{number}  {name}")
        votes.append((x, vote))
        axes.text(x, vote, str(number), size=9, color="white", zorder=above, ha="center", va="center_baseline")
    if joined:
        axes.plot(*zip(*votes, strict=True), "-", linewidth=1, color="0.6", zorder=1)
    for draw, metric, before in ((axes.set_xlabel, chosen.apart, ""), (axes.set_ylabel, chosen.single, "test ")):
        unit = "%" if metric.percent else metric.unit
        draw(f"{before}{metric.label}{', ' + unit if unit else ''}", parse_math=False)
    over = "" if len(points) == len(rows) else " over repeats"
    title = f"■ {chosen.ensemble.label} of {networks}    ● one network, mean ± standard deviation{over}"
    axes.set_title(title, size=10, loc="left", parse_math=False)
    axes.margins(0.1)
    axes.spines[["top", "right"]].set_visible(False)
    legend = figure.legend(loc="outside lower left", frameon=False, markerscale=0.5, handlelength=1)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run's name may have dollars
    return figure


def _factor(metric: Metric) -> float:
    return 100.0 if metric.percent else 1.0


def _plotted_value(metric: Metric, results: Mapping[str, Any]) -> float:
    value = metric.value(results)
    return math.nan if value is None else _factor(metric) * value
