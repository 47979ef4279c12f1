"""Tables that the commands print."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from hyperframe.analysis.rows.comparison import comparison_rows, comparison_title, difference_rows, task_note
from hyperframe.analysis.rows.evaluation import evaluation_rows, evaluation_title
from hyperframe.config.registry import BrokenPlugin, Registered
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.metrics import Metric, metrics_of
from hyperframe.runs.comparison import repeats
from hyperframe.runs.folder import ANALYSES
from hyperframe.runtime.progress import MISSING, in_words, quantity
from hyperframe.runtime.terminal import Console, printable
from hyperframe.targets.notebook import outputs_in_words

LONGEST_TABLE = 50
LARGEST_CELL, MAP = 100, "…"
"""Numbers of one result in a cell at most, and what stands for more."""

UNBROKEN = 1 << 16
"""Columns of what is no terminal: a line is a row there, so that other programs can read it."""


def output() -> Console:
    """Standard output: as wide as the terminal, or without breaks where it is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=UNBROKEN)


def _list(console: Console, *columns: Column | str) -> Table:
    """A list for people and programs: a line for each row as far as the terminal is wide enough, without a frame."""
    return Table(*columns, box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, padding=(0, 2, 0, 0))


def print_evaluation(results: Mapping[str, Any]) -> None:
    """Print the table of an evaluation."""
    table = Table("", "", title=evaluation_title(results), show_header=False, title_justify="left")
    for row in evaluation_rows(results):
        table.add_row(*map(escape, row))
    output().print(table)


def print_comparison(content: Mapping[str, Any]) -> None:
    """Print runs side by side: keys in which they differ, then their results."""
    points, console = repeats(content["runs"]), output()
    if content["different"]:
        table = Table(*_run_columns("key", points), title="differences", title_justify="left")
        for key, cells in difference_rows(content):
            table.add_row(key, *map(escape, cells))
        console.print(table)
    else:
        console.print("the configurations are the same")
    table = Table(*_run_columns("", points), title=comparison_title(content), title_justify="left")
    for words, cells in comparison_rows(content):
        table.add_row(escape(words), *cells)
    console.print(table)
    note = task_note(content)
    if note:
        console.print(note, markup=False)


def _run_columns(first: str, names: Iterable[str]) -> list[Column]:
    """The columns of a table with one for each run, or for all repeats of one."""
    return [Column(escape(name), overflow="fold") for name in (first, *names)]


def print_distillation(content: Mapping[str, Any]) -> None:
    """Print what one network in the place of an ensemble reaches, beside the ensemble."""
    metrics = metrics_of(content)
    table = Table("", *(escape(metric.words("{}")) for metric in metrics), title_justify="left")
    networks = quantity(content["networks"], "network")
    table.title = f"{networks} and one by '{content['method']}' on {quantity(content['examples'], 'test example')}"
    for words, row in content["results"].items():
        values = [(metric, row["metrics"][metric.name]) for metric in metrics]
        cells = [
            MISSING if value is None else metric.shown(value, row["deviations"].get(metric.name))
            for metric, value in values
        ]
        table.add_row(words, *cells)
    output().print(table)


def print_analyses(found: Mapping[str, Mapping[str, Any]], run: Path) -> None:
    """Print where the results and pictures of each analysis lie, and its single results."""
    console = output()
    for name, results in found.items():
        numbers = [f"{key} {_cell(value)}" for key, value in results.items() if isinstance(value, int | float)]
        where = f"analysis {name}: {run / ANALYSES / name}"
        console.print(f"{where}: {', '.join(numbers)}", markup=False, soft_wrap=True)


def print_prediction(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what the ensemble says of each example."""
    shown = rows[:LONGEST_TABLE]
    table = Table(*(name.replace("_", " ") for name in rows[0]))
    for row in shown:
        table.add_row(*(MAP if _is_map(value) else _cell(value) for value in row.values()))
    console = output()
    console.print(table)
    if any(_is_map(value) for value in rows[0].values()):
        console.print(f"{MAP} stands for more than {LARGEST_CELL:,} numbers; --json or --out FILE give them")
    if len(rows) > len(shown):
        console.print(f"… and {len(rows) - len(shown):,} more; --json or --out FILE give all of them")


def _is_map(value: Any) -> bool:
    """Whether a result is one of many places, which no cell has room for."""
    return isinstance(value, list) and _numbers_in(value) > LARGEST_CELL


def _numbers_in(value: Any) -> int:
    return sum(map(_numbers_in, value)) if isinstance(value, list) else 1


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_cell(item) for item in value)
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def print_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs of a folder."""
    console = output()
    widest = max(len(printable(Path(row["run"]).name)) for row in rows)
    run = Column("run", overflow="fold", min_width=min(widest, console.width // 2))
    table = _list(console, run, "state", "step", Column("target on task", overflow="fold"), "network", "ensemble")
    for row in rows:
        table.add_row(
            escape(Path(row["run"]).name),
            row["state"],
            f"{row['step']}/{row['steps']}" if row["step"] is not None else "",
            escape(f"{row['target']} on {row['task']}") if row["target"] else "",
            _metric_cell(row["network"]),
            _metric_cell(row["ensemble"]),
        )
    console.print(table)
    for row in rows:
        if row["reason"]:
            console.print(f"{row['run']}: {row['reason']}", markup=False, soft_wrap=True)


def _metric_cell(found: Mapping[str, Any] | None) -> str:
    """A metric and its value in one cell, as in a list of runs of different tasks."""
    if found is None:
        return ""
    metric = Metric(**{key: value for key, value in found.items() if key != "value"})
    return escape(f"{metric.words('{}')} {metric.shown(found['value'])}")


def print_description(content: Mapping[str, Any]) -> None:
    """Print what `describe` found."""
    console = output()
    target = content["target"]
    table = Table("layer", "filters", "filter size", "weights", "reads", "writes", title_justify="left")
    table.title = f"target {target['name']}: {target['weights']:,} weights"
    for layer in target["layers"]:
        numbers = [f"{layer[key]:,}" for key in ("filters", "filter_size", "weights")]
        places = (_few(layer[key]) or MISSING for key in ("reads", "writes"))
        table.add_row(escape(layer["name"]), *numbers, *places)
    console.print(table)
    if "constant" in target:
        constant = target["constant"]
        console.print(f"not generated: {constant['weights']:,} weights, of {_few(constant['modules'], 8)}")
        if constant["trunk"]:
            console.print(f"run once for inputs that all networks see: {_few(constant['trunk'], 8)}")
    _print_symmetries(console, content)
    generator = content[content["generator"]]
    _print_generator(console, content["generator"], generator)
    held = content["step_memory"]
    known = "not known before it is done" if held is None else f"{held / 2**20:,.0f} MiB, data not included"
    console.print(f"memory of one training step: {known}")


def print_dry_run(content: Mapping[str, Any]) -> None:
    """Print what would be trained, and what it takes."""
    task, memory = content["task"], content["memory"]
    splits = ", ".join(f"{count:,} for {split}" for split, count in task["splits"].items())
    outputs = outputs_in_words(task["outputs"], *task.get("output_places", []))
    rows = {
        "configuration": content["config"],
        "run folder": f"{content['folder']} (not made)",
        "device": content["device"],
        "task": f"{task['name']}: inputs {task['input_shape']}, {outputs}",
        "examples": splits or MISSING,
        "target": f"{content['target']['name']}: {content['target']['weights']:,} weights",
        "generator": f"{content['generator']['name']}: {content['generator']['parameters']:,} parameters",
        "loss": f"objective {content['objective']}, diversity {', '.join(content['diversity']) or 'none'}, "
        f"gauges {', '.join(content['gauges']) or 'none'}",
        "step": f"{quantity(content['networks'], 'network')} on {quantity(content['batch_size'], 'example')} each",
        "memory of a step": f"{_mebibytes(memory['step'])}, data {_mebibytes(memory['data'])}, "
        f"free {_mebibytes(memory['free'])}",
        "time": MISSING if content["time"] is None else _time_in_words(content["time"]),
    }
    table = Table("", "", title="this would be trained", show_header=False, title_justify="left")
    for row in rows.items():
        table.add_row(*map(escape, row))
    output().print(table)


def _mebibytes(size: int | None) -> str:
    return "not known" if size is None else f"{size / 2**20:,.{0 if size >= 10 * 2**20 else 1}f} MiB"


def _time_in_words(found: Mapping[str, Any]) -> str:
    validations, patience = quantity(found["validations"], "validation"), found["patience"]
    return (
        f"about {in_words(found['seconds'])}: {quantity(found['steps'], 'step')} of {in_words(found['step'])}, "
        f"{validations} of "
        f"{in_words(found['validation'])}{'' if patience is None else f', or less with trainer.patience={patience}'}"
    )


def _print_generator(console: Console, name: str, generator: Mapping[str, Any]) -> None:
    """The cost of a generator, in all and in each of its stacks; a column that all of these leave empty is left out."""
    title = f"generator {name}: {generator['parameters']:,} parameters"
    found = {**generator, **generator.get("around", {})}
    rows = [(part, found[part]) for part in ("dense", "extractor") if part in found]
    rows += [(f"weights of {_few(row['layers'])}", row) for row in found.get("weight_generators", [])]
    if not rows:
        console.print(title)
        return
    columns = ["codes", "rank", "skips", "parameters", "biases", "batch_norm", "layer_codes"]
    columns = [column for column in columns if any(row.get(column) for _, row in rows)]
    headings = {"parameters": "matrix entries", "skips": "skip connections"}
    heads = [headings.get(column, column.replace("_", " ")) for column in columns]
    table = Table("part", "sizes", *heads, title=title, title_justify="left")
    for part, row in rows:
        numbers = [f"{row[column]:,}" if row.get(column) is not None else "" for column in columns]
        table.add_row(escape(part), " → ".join(map(str, row["sizes"])), *numbers)
    console.print(table)


def _print_symmetries(console: Console, content: Mapping[str, Any]) -> None:
    """Unit spaces, directions known and fixed of each kind, and what was left without symmetries."""
    target = content["target"]
    table = Table(
        *("unit space", "units", "written by", "read by", "operations", "exchangeable", "factors", "signs"),
        title_justify="left",
    )
    table.title = "units that move together, how many can be exchanged, and factors and signs of their own"
    for space in target["units"]:
        numbers = [str(space[kind]) for kind in ("permutation", "scaling", "sign")]
        places = _few(space["writers"]), _few(space["readers"])
        table.add_row(escape(space["name"]), str(space["size"]), *places, _few(space["ops"]), *numbers)
    if target["units"]:
        console.print(table)
    table = Table("symmetry", "known", "fixed by the gauges", "known but not fixed", title_justify="left")
    table.title = f"directions of the trivial symmetries; gauges: {', '.join(content['gauges']) or 'none'}"
    for kind, counts in content["symmetries"].items():
        known, fixed = counts["known"], counts["fixed"]
        table.add_row(kind, f"{known:,}", f"{fixed:,}", f"{known - fixed:,}")
    console.print(table)
    for entry in target["blocks"]:
        each = f"{entry['count']} blocks of {quantity(entry['units'], 'unit')}"
        console.print(f"{each} change places as wholes, in: {_few(entry['writers'])}")
    if target["linear"]:
        table = Table("written by", "read by", "sets", "units of each", "directions", title_justify="left")
        table.title = "units that any invertible matrix may mix; directions beside their factors, which no gauge fixes"
        for entry in target["linear"]:
            numbers = [f"{entry[name]:,}" for name in ("sets", "units", "directions")]
            table.add_row(_few(entry["writers"]), _few(entry["readers"]), *numbers)
        console.print(table)
    for entry in target["frozen"]:
        console.print(f"frozen: {entry['op']} in {entry['place'] or 'the network'}: {entry['why']}", markup=False)


def _few(names: Sequence[str], most: int = 3) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return escape(", ".join(names[:most]) + more)


def print_plugins(components: list[Registered], broken: list[BrokenPlugin]) -> None:
    """Print all components, and the plugins that could not be loaded."""
    console = output()
    if console.is_terminal:
        _print_by_kind(console, components)
    else:
        table = _list(console, "kind", "name", "distribution", "version", "summary")
        for entry in components:
            source, component = entry.source, entry.component
            texts = (entry.kind, component.name, source.distribution, source.version, component.summary)
            table.add_row(*map(escape, texts))
        console.print(table)
    for plugin in broken:
        Console(stderr=True, highlight=False).print(f"not loaded: {plugin}", markup=False, soft_wrap=True)


def _print_by_kind(console: Console, components: list[Registered]) -> None:
    """A table for each kind; whose a component is stands there where it is not the library's own."""
    for kind in dict.fromkeys(entry.kind for entry in components):
        table = _list(console, Column(kind, overflow="fold", max_width=console.width // 2), "")
        for entry in components:
            if entry.kind == kind:
                source = entry.source
                whose = "" if source.distribution == OWN_DISTRIBUTION else f" ({source.distribution} {source.version})"
                table.add_row(escape(entry.component.name), escape(entry.component.summary + whose))
        console.print(table)


def print_verdict(kind: str, state: str, name: str, message: str, explanation: str) -> None:
    """Print what came of one check; of a failure all that is known."""
    style = {"passed": "green", "failed": "bold red", "vacuous": "yellow"}[state]
    console = output()
    line = f"[{style}]{state:8}[/] {escape(kind)} {escape(name)}"
    if state == "failed":
        console.print(line, soft_wrap=True)
        console.print(escape("\n".join(f"  {text}" for text in explanation.splitlines())), soft_wrap=True)
    else:
        console.print(line + (f"[dim]: {escape(message)}[/]" if message else ""), soft_wrap=True)
