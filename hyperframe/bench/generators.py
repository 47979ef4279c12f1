"""Generators side by side: each trained with the same budget from several seeds, measured, and summed up."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import scipy.stats

from hyperframe.analysis.runner import chosen_analysis
from hyperframe.bench.cells import CELLS, Cell, check_cell, measure_cell, train_cell
from hyperframe.bench.recipes import Recipe
from hyperframe.config.registry import Registry
from hyperframe.errors import RunError
from hyperframe.options import key_of
from hyperframe.runs.folder import CONFIG, RESULTS, claim
from hyperframe.runtime.files import as_json, exists, is_file, write_json
from hyperframe.runtime.progress import tell

LEVEL = 0.95
"""Of the intervals."""


def check_folder(out: Path) -> None:
    """Check that a folder is missing, empty, or a comparison's; nothing else is written over.

    Raises:
        RunError: it is not.
    """
    if exists(out) and not out.is_dir():
        raise RunError(f"--out: {out} is a file; name a folder")
    there = [name for name in (CONFIG, RESULTS) if is_file(out / name)]
    if there and not (out / CELLS).is_dir():
        raise RunError(f"--out: {out} holds a {there[0]} and is no comparison; name an empty folder, or a new one")


def comparing_analyses(registry: Registry) -> list[str]:
    """Name the analyses that find figures by which generators are compared."""
    return [entry.component.name for entry in registry.all() if entry.kind == "analysis" and entry.component.metrics]


def compare_generators(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    budget: int,
    analyses: Mapping[str, Mapping[str, Any]],
    out: Path,
    registry: Registry,
) -> dict[str, Any]:
    """Train each generator from each seed, measure all of them, and keep the results in `results.json` of a folder.

    Every training and everything that is measured is kept, so that the same call goes on after an interruption, and one
    with more generators or seeds does only what is new.

    Args:
        recipes: of the generators; differences are to the first one.
        seeds: of the trainings.
        budget: gradient evaluations that each training may take.
        analyses: options of the analyses, by name.
        out: the comparison's folder; runs lie in `runs`, what they share in `shared`.
        registry: the components to choose from.

    Returns:
        `config`, `budget`, `seeds`; `generators`, for each `label`, `command` and `cells`,
        see `measure_cell`; `rows`, for each metric its `source`, its declaration `metric` and `values`, for each
        generator that has it `mean`, `deviation` over the seeds (None for one), and `difference` to the first generator
        from the same seeds with its 95 % interval by Student's t.

    Raises:
        HyperframeError: a folder holds something else, or a training or an analysis fails.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.
    """
    cells = [
        [Cell(label=recipe.label, seed=seed, config=recipe.seeded(seed), out=out) for seed in seeds]
        for recipe in recipes
    ]
    check_folder(out)
    with claim(out, "comparison"):
        for cell in (cell for row in cells for cell in row):
            check_cell(cell, registry)
        found: list[list[dict[str, Any]]] = [[] for _ in recipes]
        done = 0
        for place in range(len(seeds)):  # all generators from one seed, so that early results are of all
            for number, row in enumerate(cells):
                tell("trainings", done, len(seeds) * len(recipes))
                run = train_cell(row[place], registry)
                options = given_options(analyses, budget, out / "shared", row[place].seed, registry)
                found[number].append(measure_cell(run, row[place], options, registry))
                done += 1
        tell("trainings", done, done)
        content = {
            "config": recipes[0].config.name,
            "budget": budget,
            "seeds": list(seeds),
            "generators": [
                {"label": recipe.label, "command": recipe.command, "cells": [_shown(one) for one in of_seeds]}
                for recipe, of_seeds in zip(recipes, found, strict=True)
            ],
            "rows": list(_rows(recipes, found)),
        }
        write_json(out / RESULTS, content)
    return content


def given_options(
    analyses: Mapping[str, Mapping[str, Any]], budget: int, shared: Path, seed: int, registry: Registry
) -> dict[str, dict[str, Any]]:
    """Add to the options of analyses what a comparison gives them; see `hyperframe.options.option`."""
    found = {}
    for name, typed in analyses.items():
        given = {"budget": budget, "folder": str(shared / f"{name}-{seed}")}
        fields = attrs.fields(type(chosen_analysis(name, registry, typed).options))
        wanted = {key_of(field): field.metadata.get("given") for field in fields}
        found[name] = {**{key: given[kind] for key, kind in wanted.items() if kind is not None}, **typed}
    return found


def _shown(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cell.items() if key not in ("key", "label")}


def _rows(recipes: Sequence[Recipe], found: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Sum up each metric over seeds."""
    columns: dict[str, dict[str, Any]] = {}
    for recipe, cells in zip(recipes, found, strict=True):
        for cell in cells:
            for one in cell["values"]:
                name = as_json({"source": one["source"], "metric": one["metric"]})
                row = columns.setdefault(name, {"source": one["source"], "metric": one["metric"], "all": {}})
                row["all"].setdefault(recipe.label, {})[cell["seed"]] = one["value"]
    for row in columns.values():
        first = row["all"].get(recipes[0].label, {})
        values = {
            label: summary(list(of_seeds.values()))
            | {"difference": paired_difference(of_seeds, first) if label != recipes[0].label else None}
            for label, of_seeds in row["all"].items()
        }
        yield {"source": row["source"], "metric": row["metric"], "values": values}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean and the standard deviation over seeds, which one seed does not have.

    Example:
        >>> summary([1.0, 3.0])
        {'mean': 2.0, 'deviation': 1.4142135623730951}
    """
    return {
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def paired_difference(values: Mapping[int, float], first: Mapping[int, float]) -> dict[str, Any] | None:
    """Return the mean difference of the seeds that both have, with its interval by Student's t; None where none is.

    Example:
        >>> found = paired_difference({0: 2.0, 1: 4.0}, {0: 1.0, 1: 2.0, 2: 9.0})
        >>> found["mean"], [round(end, 2) for end in found["interval"]]
        (1.5, [-4.85, 7.85])
    """
    differences = [value - first[seed] for seed, value in values.items() if seed in first]
    if not differences:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    if count == 1:
        return {"mean": mean, "interval": None}
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * statistics.stdev(differences) / math.sqrt(count)
    return {"mean": mean, "interval": [mean - half, mean + half]}
