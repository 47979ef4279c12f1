"""A comparison of generators as text: rows of metrics, a column for each generator, and the commands."""

from collections.abc import Mapping
from typing import Any

from hyperframe.bench.cells import COSTS_OF, EVALUATION
from hyperframe.metrics import WORDS, Metric, with_deviation
from hyperframe.runtime.progress import MISSING, quantity

WHOLE = 1000
"""From here on numbers are shown without decimals."""


def comparison_rows(content: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return for each metric its words and a text for each generator: the mean ± the deviation over seeds."""
    labels = [one["label"] for one in content["generators"]]
    return [(_words(row), [_cell(row, label) for label in labels]) for row in content["rows"]]


def best_of(row: Mapping[str, Any]) -> set[str]:
    """Return the labels of the generators with the best mean, as it is shown; none where no way is better."""
    better, values = row["metric"]["better"], row["values"]
    if not better or len(values) < 2:
        return set()
    choose = max if better == "greater" else min
    best = _shown(row, choose(value["mean"] for value in values.values()))
    return {label for label, value in values.items() if _shown(row, value["mean"]) == best}


def comparison_title(content: Mapping[str, Any]) -> str:
    """Say of what, from how many seeds and at which cost."""
    return (
        f"generators on {content['config']}, {quantity(len(content['seeds']), 'seed')}, "
        f"{content['budget']:,} gradient evaluations each"
    )


def as_markdown(content: Mapping[str, Any]) -> str:
    """Write a comparison as a page: its table, in bold what is best of each row, differences, and commands."""
    labels, titles = [one["label"] for one in content["generators"]], comparison_rows(content)
    title = comparison_title(content)
    lines = [f"# {title[0].upper()}{title[1:]}", "", _origin(content), "", *_head("", labels)]
    for row, (words, cells) in zip(content["rows"], titles, strict=True):
        best = best_of(row)
        marked = [f"**{cell}**" if label in best else cell for label, cell in zip(labels, cells, strict=True)]
        lines.append(_line(words, marked))
    others = labels[1:]
    if others:
        lines += ["", f"Differences to `{labels[0]}` from the same seeds, with 95 % intervals over seeds:", ""]
        lines += _head("", others)
        for row, (words, _) in zip(content["rows"], titles, strict=True):
            if row["source"] != COSTS_OF:
                lines.append(_line(words, [_difference(row, label) for label in others]))
    lines += ["", "Each generator alone, from the seed N:", "", "```text"]
    lines += [f"{one['command']} trainer.seed=N" for one in content["generators"]]
    lines += ["```", ""]
    reasons = {
        (one["label"], name): reason
        for one in content["generators"]
        for cell in one["cells"]
        for name, reason in cell["left_out"].items()
    }
    left_out = [f"- `{label}`, {name}: {reason}" for (label, name), reason in reasons.items()]
    return "\n".join([*lines, *(["Left out:", "", *left_out, ""] if left_out else [])])


TABLE1 = ("cell", "steps", "mean of one", "vote of ten", "greatest mean", "greatest vote", "the paper's")
"""Heads of the columns."""


def table1_rows(content: Mapping[str, Any]) -> list[list[str]]:
    """Return the lines of the paper's Table 1 as texts, one for each training of a cell; accuracies in %.

    Mean and vote are those of the checkpoint that validation data chose; the greatest ones of all checkpoints are what
    the paper has.
    """
    rows = []
    for row in content["rows"]:
        paper = " / ".join(MISSING if value is None else f"{value:.2f}" for value in row["paper"].values())
        for one in row["found"] or [None]:
            cells = [MISSING] * 5
            if one is not None:
                accuracies = [one[kind][name] for kind in ("chosen", "greatest") for name in ("mean", "majority")]
                cells = [f"{one['steps']:,}", *(f"{value:.2f}" for value in accuracies)]
            rows.append([row["label"], *cells, paper])
    return rows


def table1_markdown(content: Mapping[str, Any]) -> str:
    """Write the paper's Table 1 as a page: what was measured beside what the paper has, and the commands."""
    found = [(row["label"], one) for row in content["rows"] for one in row["found"]]
    lines = ["# Table 1: accuracies on the test images, in %", "", _line(TABLE1[0], list(TABLE1[1:]))]
    lines += [_line("---", ["---"] * (len(TABLE1) - 1))]
    lines += [_line(f"`{label}`", cells) for label, *cells in table1_rows(content)]
    lines += [
        "",
        "Mean and vote of the checkpoint that validation data chose, and the greatest of all checkpoints.",
        "",
    ]
    for label, one in found:
        lines.append(
            f"- `{label}`: {quantity(one['networks'], 'network')}, {one['gradient_evaluations']:,} gradient "
            f"evaluations, {quantity(one['checkpoints'], 'checkpoint')}; {one['machine']}, torch {one['torch']}, "
            f"revision {one['revision']}; `{one['command']}`"
        )
    return "\n".join([*lines, ""])


def _origin(content: Mapping[str, Any]) -> str:
    cells = [cell for one in content["generators"] for cell in one["cells"]]
    networks = sorted({cell["networks"] for cell in cells})
    drawn = str(networks[0]) if len(networks) == 1 else f"{networks[0]} to {networks[-1]}"
    seeds = ", ".join(map(str, content["seeds"]))
    origins = [
        f"{word}{' and '.join(sorted(known))}"
        for word, key in (("", "machine"), ("torch ", "torch"), ("revision ", "revision"))
        if (known := {str(cell[key]) for cell in cells if cell[key]})
    ]
    return (
        f"Mean ± standard deviation over the seeds {seeds}; {drawn} networks of each on {cells[0]['examples']:,} test "
        f"examples; {', '.join(origins)}."
    )


def _words(row: Mapping[str, Any]) -> str:
    metric = Metric(**row["metric"])
    return metric.words(WORDS[metric.of] if row["source"] == EVALUATION else "{}")


def _cell(row: Mapping[str, Any], label: str) -> str:
    value = row["values"].get(label)
    if value is None:
        return MISSING
    return _shown(row, value["mean"], value["deviation"] or None)


def _difference(row: Mapping[str, Any], label: str) -> str:
    found = (row["values"].get(label) or {}).get("difference")
    if found is None:
        return MISSING
    ends = "" if found["interval"] is None else f" [{', '.join(_signed(row, end) for end in found['interval'])}]"
    return f"{_signed(row, found['mean'])}{ends}"


def _signed(row: Mapping[str, Any], value: float) -> str:
    text = _shown(row, value)
    return text if text.startswith("-") else f"+{text}"


def _shown(row: Mapping[str, Any], value: float, deviation: float | None = None) -> str:
    """A value as its metric shows it; counts with all their digits."""
    if abs(value) >= WHOLE:
        return with_deviation(",.0f", value, deviation)
    return Metric(**row["metric"]).shown(value, deviation)


def _head(first: str, labels: list[str]) -> list[str]:
    return [_line(first, [f"`{label}`" for label in labels]), _line("---", ["---"] * len(labels))]


def _line(first: str, cells: list[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"
