"""Tables that the commands below `bench` print."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from hyperframe.bench.speed.growth_page import growth_rows, growth_title
from hyperframe.bench.speed.work import OURS, WAYS
from hyperframe.bench.tables import TABLE1, best_of, comparison_rows, comparison_title, table1_rows
from hyperframe.cli.tables import output
from hyperframe.runtime.progress import quantity


def print_benchmark(content: Mapping[str, Any]) -> None:
    """Print what a benchmark measured."""
    sizes = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in content["sizes"].items())
    count = content["threads"]
    threads = f", {quantity(count, 'thread')}" if count else ""
    table = Table("way", "wall, s", "against ours", "CPU, s", "peak of memory, MiB", title_justify="left")
    table.title = f"{content['benchmark']} of {content['config']} ({sizes}) on {content['device']}{threads}"
    ours = content["ways"][OURS]
    for name, row in content["ways"].items():
        if row is None:
            table.add_row(WAYS[name], "does not fit", "", "", "")
            continue
        against = f"{row['wall_s'] / ours['wall_s']:.2f}" if ours else ""
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}"
        table.add_row(WAYS[name], f"{row['wall_s']:.4f}", against, f"{row['cpu_s']:.4f}", peak)
    console = output()
    console.print(table)
    console.print(
        f"medians of {content['repeats']}; {content['operations'] / 1e9:,.2f} · 10⁹ operations; a large matrix product "
        f"does {content['matrix_product'] / 1e9:,.0f} · 10⁹ a second, at which they take {content['floor_s']:.4f} s"
    )
    console.print(
        f"each operation alone, without caches, reads and writes {content['bytes'] / 1e9:,.3f} · 10⁹ bytes in all; a "
        f"large copy moves {content['memory_rate'] / 1e9:,.0f} · 10⁹ a second, at which they take "
        f"{content['unfused_s']:.4f} s"
    )


def print_growth(content: Mapping[str, Any]) -> None:
    """Print how a piece of work grows: a row for each value."""
    rows = growth_rows(content)
    table = Table(*(Column(name, justify="right") for name in rows[0]), title_justify="left")
    table.title = growth_title(content)
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    output().print(table)


def print_table1(content: Mapping[str, Any]) -> None:
    """Print the paper's Table 1 with what was measured."""
    first, *others = TABLE1
    table = Table(first, *(Column(name, justify="right") for name in others), title_justify="left")
    table.title = "Table 1: accuracies on the test images, in %"
    for row in table1_rows(content):
        table.add_row(*map(escape, row))
    output().print(table)


def print_generators(content: Mapping[str, Any]) -> None:
    """Print a comparison of generators: a row for each metric, in bold what is best."""
    labels = [one["label"] for one in content["generators"]]
    table = Table(*(Column(escape(name), overflow="fold") for name in ("", *labels)), title_justify="left")
    table.title = comparison_title(content)
    for row, (words, cells) in zip(content["rows"], comparison_rows(content), strict=True):
        best = best_of(row)
        marked = [f"[bold]{cell}[/]" if label in best else cell for label, cell in zip(labels, cells, strict=True)]
        table.add_row(escape(words), *marked)
    output().print(table)
