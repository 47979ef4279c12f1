"""What the command line shows: tables, and the progress of a training."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from hyperframe.plugins import BrokenPlugin, Registered
from hyperframe.run import Run

SCORES = {"majority": "majority vote", "mean_probability": "mean probability"}


class ProgressReporter:
    """A progress bar with the running score, entropy and speed, and a line for every validation.

    The bar appears on a terminal only; the lines go to standard error everywhere.

    Args:
        steps: the number of steps.
    """

    def __init__(self, steps: int) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID = self.progress.add_task("training", total=steps, figures="")
        self._score_name = "score"

    def __enter__(self) -> "ProgressReporter":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, run: Run) -> None:
        """Say where the run is kept and on which device it runs."""
        self._score_name = run.experiment.task.score_name
        self.console.print(f"training on {run.experiment.device} into {run.folder}", soft_wrap=True, markup=False)

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar."""
        parts = [f"{self._score_name} {metrics['score']:.3f}"]
        if "diversity.weight_entropy" in metrics:
            parts.append(f"entropy {-metrics['diversity.weight_entropy']:.1f}")
        parts.append(f"{metrics['steps_per_second']:.1f} steps/s")
        self.progress.update(self._task, completed=step, figures="  ".join(parts))

    def validated(self, step: int, figures: Mapping[str, Any]) -> None:
        """Print a line."""
        parts = [f"step {step:>6}", f"{figures['networks']} networks on {figures['items']} validation items"]
        accuracy, ensemble = figures.get("accuracy"), figures.get("ensemble", {})
        if accuracy:
            parts.append(f"accuracy {accuracy['mean']:.4f} (min {accuracy['min']:.4f}, max {accuracy['max']:.4f})")
        parts += [f"{words} {ensemble[key]:.4f}" for key, words in SCORES.items() if key in ensemble]
        if figures.get("entropy") is not None:
            parts.append(f"entropy {figures['entropy']:.1f}")
        self.console.print("  ".join(parts), soft_wrap=True)


def print_evaluation(figures: Mapping[str, Any]) -> None:
    """Print the table of an evaluation."""
    title = f"{figures['networks']} generated networks on {figures['items']} {figures['split']} items"
    table = Table("", "", title=title, show_header=False, title_justify="left")
    accuracy, ensemble = figures.get("accuracy"), figures.get("ensemble", {})
    if accuracy:
        table.add_row("accuracy of one network, mean", f"{accuracy['mean']:.2%} ± {accuracy['std']:.2%}")
        table.add_row("worst and best network", f"{accuracy['min']:.2%}, {accuracy['max']:.2%}")
    for key, words in SCORES.items():
        if key in ensemble:
            table.add_row(f"ensemble by {words}", f"{ensemble[key]:.2%}")
    if "nll" in figures and "nll" in ensemble:
        table.add_row(
            "negative log-likelihood, one network and ensemble", f"{figures['nll']:.4f}, {ensemble['nll']:.4f}"
        )
    if figures.get("entropy") is not None:
        table.add_row("entropy of the weights, in gauge (nats)", f"{figures['entropy']:.1f}")
    Console().print(table)


def print_description(content: Mapping[str, Any]) -> None:
    """Print what `describe` found."""
    console = Console(highlight=False)
    target = content["target"]
    table = Table("layer", "filters", "filter size", "weights", "reads", "writes", title_justify="left")
    table.title = f"target {target['name']}: {target['weights']:,} weights"
    for layer in target["layers"]:
        numbers = [f"{layer[key]:,}" for key in ("filters", "filter_size", "weights")]
        table.add_row(
            layer["name"], *numbers, ", ".join(layer["reads"]) or "input", ", ".join(layer["writes"]) or "output"
        )
    console.print(table)
    counts = content["symmetries"]
    console.print(
        f"symmetries: {counts['scaling']} scaling factors, {counts['permutation']} units that can be permuted, "
        f"{counts['logit_shift']} directions of the logit shift; gauges: {', '.join(content['gauges']) or 'none'}"
    )
    generator = content[content["generator"]]
    rows = [("extractor", "", generator["extractor"])] if "extractor" in generator else []
    rows += [(f"weights of {row['layer']}", str(row["codes"]), row) for row in generator.get("weight_generators", [])]
    if rows:
        parts = Table("part", "codes", "sizes", "matrix entries", "batch norm", title_justify="left")
        for name, codes, row in rows:
            sizes = " → ".join(map(str, row["sizes"]))
            parts.add_row(name, codes, sizes, f"{row['parameters']:,}", f"{row['batch_norm']:,}")
        parts.title = f"generator {content['generator']}: {generator['parameters']:,} parameters"
        console.print(parts)
    else:
        console.print(f"generator {content['generator']}: {generator['parameters']:,} parameters")
    console.print(f"memory of one training step: about {content['step_memory'] / 2**20:,.0f} MiB, data not included")


def print_plugins(components: list[Registered], broken: list[BrokenPlugin]) -> None:
    """Print all components, and the plugins that could not be loaded."""
    table = Table("kind", Column("name", no_wrap=True), Column("distribution", no_wrap=True), "version", "summary")
    for entry in components:
        source, component = entry.source, entry.component
        table.add_row(entry.kind, component.name, source.distribution, source.version, component.summary)
    Console(highlight=False).print(table)
    for plugin in broken:
        Console(stderr=True, highlight=False).print(f"not loaded: {plugin}", markup=False, soft_wrap=True)
