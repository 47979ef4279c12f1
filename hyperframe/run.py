"""Run folders: what a training run leaves behind, and how it is read again.

    config.yaml        the complete configuration
    target.safetensors what the target's module holds besides generated weights, where it holds anything
    provenance.json    versions of everything that took part, device, seed, source revision
    metrics.jsonl      one line every `trainer.log_every` steps and one for each validation
    checkpoints/STEP/  generator.safetensors, trainer.safetensors, state.json
    analyses/NAME/     results.json and figures

Files are safetensors, JSON and YAML: nothing that is loaded runs code.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from omegaconf import OmegaConf
from torch import Tensor

from hyperframe.config import Config, read_config
from hyperframe.errors import RunError
from hyperframe.evaluation import draw_networks, evaluate
from hyperframe.experiment import Experiment, build_experiment
from hyperframe.overrides import apply_overrides, read_yaml
from hyperframe.plugins import Registry
from hyperframe.samples import Networks

CONFIG, PROVENANCE, METRICS, CHECKPOINTS = "config.yaml", "provenance.json", "metrics.jsonl", "checkpoints"
TARGET = "target.safetensors"
FORMAT = 1
"""The version of what a checkpoint holds."""
GENERATOR, TRAINER, STATE = "generator.safetensors", "trainer.safetensors", "state.json"


class Run:
    """A run folder: its configuration, its checkpoints, and the networks that its generator draws.

    Attributes:
        folder: the run folder.
        config: its configuration.
        step: the step of the checkpoint that is loaded.
        experiment: everything the configuration describes, with the trained generator.
    """

    def __init__(self, folder: Path, config: Config, step: int, experiment: Experiment) -> None:
        self.folder = folder
        self.config = config
        self.step = step
        self.experiment = experiment

    def sample(self, count: int, seed: int | None = None) -> Networks:
        """Draw networks; the same seed draws the same ones. The default is `evaluation.seed`."""
        if count < 1:
            raise ValueError(f"at least one network must be drawn, not {count}")
        chosen = self.config.evaluation.seed if seed is None else seed
        needed = self.experiment.task.data("train") if self.experiment.target.has_statistics else None
        return draw_networks(self.experiment, count, chosen, needed)

    def evaluate(self, networks: int | None = None, split: str = "test", seed: int | None = None) -> dict[str, Any]:
        """Draw networks and measure them on a split; the result is kept in `analyses/evaluation/results.json`.

        Args:
            networks: how many; by default `evaluation.test_networks`, or all that the generator holds.
            split: "train", "validation" or "test".
            seed: of the draws.
        """
        default = self.config.evaluation.test_networks
        count = min(default, self.experiment.generator.networks or default) if networks is None else networks
        sample = self.sample(count, seed)
        figures = evaluate(self.experiment, sample, self.experiment.task.data(split))
        result = {"run": self.folder.name, "step": self.step, "split": split, **figures}
        write_json(self.folder / "analyses" / "evaluation" / "results.json", result)
        return result


def load_run(folder: str | Path, registry: Registry, device: str | None = None) -> Run:
    """Load a run from its folder, with its last checkpoint.

    Raises:
        RunError: the folder is no run, or holds no checkpoint.
    """
    path = Path(folder)
    if not (path / CONFIG).is_file():
        what = "does not exist" if not path.exists() else f"is no run: it has no {CONFIG}"
        raise RunError(f"{path} {what}; a run is a folder that 'hyperframe train' wrote")
    steps = checkpoint_steps(path)
    if not steps:
        raise RunError(f"{path} holds no checkpoint; the run was stopped before the first one")
    content = read_yaml(path / CONFIG)
    overrides = [("trainer.device", device or "auto")]
    config = read_config(path.name, apply_overrides(content, overrides), registry)
    experiment = build_experiment(config)
    state = read_tensors(path / CHECKPOINTS / str(steps[-1]) / GENERATOR)
    if experiment.target.constants():
        experiment.target.load_constants(read_tensors(path / TARGET))
    try:
        experiment.generator.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(f"{path}: the checkpoint of step {steps[-1]} does not fit its configuration: {error}") from error
    experiment.generator.eval()
    return Run(path, config, steps[-1], experiment)


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of a run's complete checkpoints, in order."""
    parent = folder / CHECKPOINTS
    found = parent.iterdir() if parent.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and (path / STATE).is_file())


def free_folder(chosen: str | Path | None, name: str, config: Config) -> Path:
    """Return the folder a new run may use: absent or empty. Nothing is written.

    Raises:
        RunError: the folder holds something, or is a file.
    """
    if chosen is None:
        digest = hashlib.sha256(json.dumps(config.plain(), sort_keys=True).encode()).hexdigest()[:6]
        stem = f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{digest}"
        taken = [Path("runs") / stem, *(Path("runs") / f"{stem}-{number}" for number in range(2, 100))]
        return next(path for path in taken if not path.exists())
    path = Path(chosen)
    if path.is_dir() and any(path.iterdir()):
        raise RunError(f"the output folder {path} is not empty; name one that is, or one that does not exist yet")
    if path.exists() and not path.is_dir():
        raise RunError(f"the output folder {path} is a file")
    return path


def create_run(folder: Path, config: Config, experiment: Experiment) -> None:
    """Write what a run folder holds from the start."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the output folder {folder} cannot be made: {error.strerror}") from error
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config.plain())))
    write_json(folder / PROVENANCE, provenance(config, experiment.device))
    constants = experiment.target.constants()
    if constants:
        write_tensors(folder / TARGET, constants)


def provenance(config: Config, device: torch.device) -> dict[str, Any]:
    """What took part in a run: components with their distributions and versions, torch, device, seed, revision."""
    packages = ("hyperframe-nn", "torch", "torchvision", "numpy")
    versions = {name: _version(name) for name in packages}
    components = [
        {"kind": choice.registered.kind, "name": choice.name, **_source(choice.registered.source)}
        for choice in config.choices
    ]
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "components": components,
        "versions": {"python": platform.python_version(), **versions},
        "device": {"type": device.type, "name": hardware},
        "threads": torch.get_num_threads(),
        "seed": config.trainer.seed,
        "revision": _revision(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source(source: Any) -> dict[str, str]:
    return {"distribution": source.distribution, "version": source.version}


def _revision() -> str | None:
    """The revision of the checkout this library lies in, or None where it is installed."""
    root = Path(__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    asked = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or None


def write_checkpoint(
    folder: Path, step: int, generator: Mapping[str, Tensor], trainer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint; it appears under its name only when all of it is on the disk."""
    final = folder / CHECKPOINTS / str(step)
    partial = final.with_name(f".{step}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, tensors in ((GENERATOR, generator), (TRAINER, trainer)):
        write_tensors(partial / name, tensors)
    write_json(partial / STATE, state)
    _flush(partial)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _flush(final.parent)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file."""
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    safetensors.torch.save_file(plain, str(path))
    _flush(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        return safetensors.torch.load_file(str(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, all of it or nothing; folders are made as needed, numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(content), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Write a file, all of it or nothing; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    _flush(partial)
    partial.replace(path)


def _flush(path: Path) -> None:
    """Have the system write a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
