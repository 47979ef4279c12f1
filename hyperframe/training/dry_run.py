"""A training that is tried and not done: what it would train, what it would take, and whether it could begin."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import DataError
from hyperframe.experiment.build import Experiment
from hyperframe.experiment.describe import parts_of
from hyperframe.experiment.step_memory import step_memory
from hyperframe.runs.run import Run
from hyperframe.runtime.memory import available_memory
from hyperframe.tasks.checked import load_data
from hyperframe.training.beginning import new_run
from hyperframe.training.loop import Training
from hyperframe.training.reporter import Reporter
from hyperframe.types import Data

SPLITS = ("train", "validation", "test")

WARM_UP = {"cpu": 2, "cuda": 5}
"""Steps before any is timed: libraries are loaded in them, and on CUDA the fourth is recorded."""

TIMED, SECONDS = 3, 1.0
"""Steps that are timed at least, and for how many seconds they are where they are short."""


def dry_run(config: Config, registry: Registry, out: str | Path | None = None) -> dict[str, Any]:
    """Do all that comes before a training, and its first steps, and write nothing.

    Every check that would refuse the training refuses it here. Where data are missing, all is said that is known
    without them.

    Args:
        config: what would be trained.
        registry: the components that the configuration was read with.
        out: the run folder, absent or empty.

    Returns:
        `config`, `folder` and `device`; `task` (with `splits`, the number of examples of each that is there), `target`,
        `generator`, `objective`, `diversity`, `gauges`; `networks` and `batch_size` of a step; `memory`: bytes of a
        `step` (see `step_memory`), of the `data`, and `free` on the device; `time`, in seconds: of a `step`, of a
        `validation`, and in all, with the number of each, and the `patience` with which it may be less; None without
        data; `missing`: why data are not there, or None.

    Raises:
        HyperframeError: what would keep the training from beginning, but for missing data.
    """
    run, _ = new_run(config, registry, out)
    data, missing = _data_of(run.experiment)
    memory, taken = _memory(run.experiment, data.values()), None
    if "train" in data and "validation" in data:
        training = Training(run, Reporter(), (data["train"], data["validation"]))
        with training.settings(config.trainer.threads):
            taken = _time(training)
    # Last, since components may keep tensors without values for later.
    memory["step"] = step_memory(run.experiment.loss, run.experiment.generator, run.experiment.task, run.config)
    splits = {split: len(part) for split, part in data.items()}
    return {**_parts(run, splits), "memory": memory, "time": taken, "missing": missing}


def _data_of(experiment: Experiment) -> tuple[dict[str, Data], str | None]:
    """The splits that can be had, and why the first of the others cannot."""
    found: dict[str, Data] = {}
    missing = None
    for split in SPLITS:
        try:
            found[split] = load_data(experiment.task, split)
        except DataError as error:
            missing = missing or str(error)
    return found, missing


def _parts(run: Run, splits: Mapping[str, int]) -> dict[str, Any]:
    """Name the parts of the training."""
    config, parts = run.config, parts_of(run.experiment)
    return {
        "config": config.name,
        "folder": str(run.folder),
        "device": str(run.experiment.device),
        **parts,
        "task": {**parts["task"], "splits": splits},
        "networks": config.trainer.networks,
        "batch_size": config.trainer.batch_size,
    }


def _memory(experiment: Experiment, data: Iterable[Data]) -> dict[str, int | None]:
    """Bytes of the data, and those that are free on the device."""
    device = experiment.device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    held = [tensor.numel() * tensor.element_size() for part in data for tensor in (part.kept, part.y)]
    return {"data": sum(held), "free": free}


def _time(training: Training) -> dict[str, Any]:
    """Seconds of a step and of a validation, and of all of them."""
    trainer, config = training.trainer, training.run.config
    steps, every = config.trainer.steps, config.evaluation.every
    training.run.experiment.generator.train()
    training.tell_doubts()
    for _ in range(min(WARM_UP[training.run.experiment.device.type], steps - 1)):
        trainer.step()
    trainer.read_metrics()  # waits for the device
    began, first = time.perf_counter(), trainer.step_count
    while trainer.step_count < steps and (trainer.step_count < first + TIMED or time.perf_counter() - began < SECONDS):
        trainer.step()
    trainer.read_metrics()
    step = (time.perf_counter() - began) / (trainer.step_count - first)
    trainer.check_finite()
    began = time.perf_counter()
    training.validate()
    validation = time.perf_counter() - began
    validations = -(-steps // every)
    total = steps * step + validations * validation
    taken = {"seconds": total, "step": step, "steps": steps, "validation": validation, "validations": validations}
    return {**taken, "patience": config.trainer.patience}
