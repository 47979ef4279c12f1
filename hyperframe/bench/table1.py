"""The paper's Table 1: each cell trained and measured by itself, beside what the paper has for it."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from hyperframe.analysis.runner import chosen_names
from hyperframe.bench.cells import Cell, check_cell, check_out, origin_of, train_cell
from hyperframe.bench.recipes import command_of, naming
from hyperframe.config.overrides import read_yaml
from hyperframe.config.registry import Registry
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, unknown_name
from hyperframe.experiment.evaluation import measure
from hyperframe.runs.checkpoints import best_step, checkpoint_steps, validation_scores
from hyperframe.runs.folder import claim
from hyperframe.runs.loading import load_run
from hyperframe.runs.metrics_log import METRICS
from hyperframe.runs.run import Run
from hyperframe.runtime.files import as_json, digest, from_json, kept_json, write_json
from hyperframe.runtime.progress import tell
from hyperframe.tasks.checked import load_data

TABLE, CELLS = "table1.json", "table1"
"""Where the table, and what was measured of each cell, are kept in its folder."""

FIELDS = {
    *("label", "seed", "command", "steps", "gradient_evaluations", "networks", "chosen", "greatest", "checkpoints"),
    *("machine", "torch", "revision"),
}
"""Of a cell that was measured, beside its key."""

ENSEMBLE = 10
"""Networks of an ensemble, as the paper has them."""

EVERY = {"trainer.keep_checkpoints": 10**6}
"""No checkpoint is removed: the greatest accuracy of the training is looked for among all of them."""


@attrs.frozen(kw_only=True)
class Published:
    """A cell of the table.

    Attributes:
        config: the configuration that ships.
        settings: what the cell changes of it.
        mean: the paper's mean accuracy of one network, in %.
        majority: the paper's accuracy of the majority vote of ten, in %; None where it has none.
    """

    config: str
    settings: Mapping[str, Any]
    mean: float
    majority: float | None = None


def read_table() -> dict[str, Published]:
    """Read the cells by their labels: the target, the column, and how that is read where the paper leaves it open.

    Example:
        >>> read_table()["lenet-d"].majority
        78.21
    """
    with resources.as_file(resources.files("hyperframe.bench") / "table1.yaml") as path:
        return {label: Published(**row) for label, row in read_yaml(path).items()}


def chosen_labels(text: str | None) -> list[str]:
    """Return the labels of a text with commas between them; all of them where there is none.

    Raises:
        ConfigError: there is no such cell.
    """
    known = read_table()
    labels = list(known) if text is None else chosen_names(text)
    for label in labels:
        if label not in known:
            raise ConfigError("--cell: " + unknown_name("cell", label, known))
    return labels


def make_cell(label: str, pairs: Sequence[tuple[str, Any]], out: Path, registry: Registry) -> Cell:
    """Complete the configuration of a cell.

    Args:
        label: of the cell.
        pairs: overrides of what the cell says.
        out: the table's folder.
        registry: where components are looked up.

    Raises:
        HyperframeError: a component is not installed, or an override is unknown or out of range.
    """
    row = read_table()[label]
    with naming(label):
        config = load_config(row.config, row.settings, registry, then={**EVERY, **dict(pairs)})
    return Cell(label=label, seed=config.trainer.seed, config=config.with_absolute_locations(), out=out)


def fill_table(cells: Sequence[Cell], out: Path, registry: Registry) -> dict[str, Any]:
    """Train and measure cells, one after the other, and keep the whole table in `table1.json` of a folder.

    Trainings go on where they were interrupted; cells that were measured before keep their place in the table.

    Args:
        cells: what to train, or to go on with.
        out: the table's folder; runs lie in `runs`, what is measured in `table1`.
        registry: the components to choose from.

    Returns:
        `rows`, for each cell of the paper its `label`, what `paper` has, `mean` and `majority` in %, and `found`, a
        list of what was measured, see `measure_cell`, from one seed each; empty where the cell is open.

    Raises:
        HyperframeError: a folder holds something else, a training fails, or pauses.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.
    """
    check_out(out)
    for cell in cells:
        load_data(cell.config.task.make(), "test")
    with claim(out, "comparison"):
        for cell in cells:
            check_cell(cell, registry)
        for number, cell in enumerate(cells):
            tell("trainings", number, len(cells))
            measure_cell(train_cell(cell, registry), cell, registry)
        tell("trainings", len(cells), len(cells))
        content = {"rows": [_row(label, row, out) for label, row in read_table().items()]}
        write_json(out / TABLE, content)
    return content


def _row(label: str, row: Published, out: Path) -> dict[str, Any]:
    found = map(kept_json, sorted((out / CELLS).glob(f"{label}-*.json")))
    kept = [one for one in found if one is not None and one.keys() >= FIELDS and one["label"] == label]
    return {
        "label": label,
        "paper": {"mean": row.mean, "majority": row.majority},
        "found": [{name: one[name] for name in sorted(FIELDS - {"label"})} for one in kept],
    }


def measure_cell(run: Run, cell: Cell, registry: Registry) -> dict[str, Any]:
    """Measure all checkpoints of a cell on the test set, or read what was measured of the same training.

    Returns:
        `label`, `seed`, `command`, `steps`, `gradient_evaluations`, `networks`; `chosen`, the `step` with the best
        score on validation data and its `mean` and `majority` accuracy; `greatest`, the greatest `mean` and the
        greatest `majority` of all checkpoints that hold so many networks, each by itself, which is what the paper has;
        `checkpoints`, how many these are; of the training `machine`, `torch` and `revision`.
    """
    config, file = cell.config.without_pauses(), kept_file(cell)
    key = from_json(as_json({"config": config.plain(), "training": digest(run.folder / METRICS)}))
    kept = kept_json(file)
    if kept is not None and kept.get("key") == key and kept.keys() >= FIELDS:
        return kept
    found = {step: _accuracies(cell, step, registry) for step in checkpoint_steps(run.folder)}
    # A chain that has collected few states yet is no ensemble of the others' size.
    full = run.experiment.generator.at_most(ENSEMBLE)
    found = {step: one for step, one in found.items() if one.pop("networks") == full}
    best = best_step(validation_scores(run.folder))
    chosen = best if best in found else run.step
    content = {
        "key": key,
        "label": cell.label,
        "seed": cell.seed,
        "command": command_of(read_table()[cell.label].config, config, registry),
        "steps": run.step,
        "gradient_evaluations": run.gradient_evaluations,
        "networks": full,
        "chosen": {"step": chosen, **found[chosen]},
        "greatest": {name: max(one[name] for one in found.values()) for name in ("mean", "majority")},
        "checkpoints": len(found),
        **origin_of(run),
    }
    write_json(file, content)
    return content


def kept_file(cell: Cell) -> Path:
    """Return the file with what was measured of a cell."""
    return cell.out / CELLS / f"{cell.label}-{cell.seed}.json"


def _accuracies(cell: Cell, step: int, registry: Registry) -> dict[str, float]:
    """Accuracies of ten networks of a checkpoint, or all that it holds, on the test set, in %, and their number."""
    run = load_run(cell.folder, registry, cell.config.trainer.device, step)
    networks = run.sample(run.experiment.generator.at_most(ENSEMBLE))
    results = measure(run.experiment, networks, run.data("test"))
    mean, majority = results["accuracy"]["mean"], results["ensemble"]["majority"]
    return {"mean": 100 * mean, "majority": 100 * majority, "networks": len(networks)}
