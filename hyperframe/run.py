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
import itertools
import json
import platform
import shutil
import subprocess
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from hyperframe.config import Config, read_config
from hyperframe.errors import HyperframeError, RunError
from hyperframe.evaluation import draw_networks, evaluate
from hyperframe.experiment import Experiment, build_experiment
from hyperframe.files import exists, flush, is_file, read_tensors, write_json, write_tensors, write_text, writing
from hyperframe.overrides import apply_overrides, read_yaml
from hyperframe.plugins import Registry
from hyperframe.preflight import load_data
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
        needed = load_data(self.experiment.task, "train") if self.experiment.target.has_statistics else None
        return draw_networks(self.experiment, count, chosen, needed)

    def evaluate(self, networks: int | None = None, split: str = "test", seed: int | None = None) -> dict[str, Any]:
        """Draw networks and measure them on a split; the result is kept in `analyses/evaluation/results.json`.

        Args:
            networks: how many; by default `evaluation.test_networks`, or all that the generator holds.
            split: "train", "validation" or "test".
            seed: of the draws.
        """
        default = self.experiment.generator.at_most(self.config.evaluation.test_networks)
        count = default if networks is None else networks
        sample = self.sample(count, seed)
        figures = evaluate(self.experiment, sample, load_data(self.experiment.task, split))
        result = {"run": self.folder.name, "step": self.step, "split": split, **figures}
        try:
            write_json(self.folder / "analyses" / "evaluation" / "results.json", result)
        except RunError as error:  # the figures are worth more than the file
            warnings.warn(f"the figures are not kept: {error}", stacklevel=2)
        return result


def load_run(folder: str | Path, registry: Registry, device: str | None = None) -> Run:
    """Load a run from its folder, with its last checkpoint.

    Raises:
        RunError: the folder is no run, or holds no checkpoint.
    """
    path = Path(folder)
    if not is_file(path / CONFIG):
        what = f"is no run: it has no {CONFIG}" if exists(path) else "does not exist"
        raise RunError(f"{path} {what}; a run is a folder that 'hyperframe train' wrote")
    steps = checkpoint_steps(path)
    if not steps:
        raise RunError(f"{path} holds no checkpoint; the run was stopped before the first one")
    config = _read_complete(path, registry, device or "auto")
    experiment = build_experiment(config)
    state = read_tensors(path / CHECKPOINTS / str(steps[-1]) / GENERATOR)
    if experiment.target.constants():
        experiment.target.load_constants(read_tensors(path / TARGET))
    try:
        experiment.generator.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: the checkpoint of step {steps[-1]} does not fit its configuration: {first}") from error
    experiment.generator.eval()
    return Run(path, config, steps[-1], experiment)


def _read_complete(folder: Path, registry: Registry, device: str) -> Config:
    """Read a run's configuration, which names every key."""
    try:
        content = read_yaml(folder / CONFIG)
        config = read_config(folder.name, apply_overrides(content, [("trainer.device", device)]), registry)
    except HyperframeError as error:
        raise RunError(f"{folder / CONFIG}: {error}") from error
    missing = _missing(config.plain(), content)
    if missing:
        raise RunError(f"{folder / CONFIG} is not complete: '{missing}' is missing")
    return config


def _missing(complete: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """The first key of a complete configuration that is not there, or None."""
    for key, value in complete.items():
        own = found.get(key)
        if key not in found or (isinstance(value, list) and len(own or []) != len(value)):
            return key
        pairs = zip(value, own or [], strict=True) if isinstance(value, list) else [(value, own)]
        for section, other in pairs:
            below = _missing(section, other) if isinstance(section, Mapping) and isinstance(other, Mapping) else None
            if below:
                return f"{key}.{below}"
    return None


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of a run's complete checkpoints, in order."""
    parent = folder / CHECKPOINTS
    found = parent.iterdir() if parent.is_dir() else ()
    return sorted(int(path.name) for path in found if _is_step(path.name) and is_file(path / STATE))


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def free_folder(chosen: str | Path | None, name: str, config: Config) -> Path:
    """Return the folder a new run may use: absent or empty. Nothing is written.

    Raises:
        RunError: the folder holds something, or is a file.
    """
    if chosen is None:
        digest = hashlib.sha256(json.dumps(config.plain(), sort_keys=True).encode()).hexdigest()[:6]
        stem = f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{digest}"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        return next(path for path in (Path("runs") / each for each in names) if not path.exists())
    if not str(chosen):
        raise RunError("the output folder has no name; leave it out for a new one under runs/")
    path = Path(chosen)
    if exists(path) and path.is_dir() and any(path.iterdir()):
        raise RunError(f"the output folder {path} is not empty; name one that is, or one that does not exist yet")
    if exists(path) and not path.is_dir():
        raise RunError(f"the output folder {path} is a file")
    return path


def create_run(folder: Path, config: Config, experiment: Experiment) -> None:
    """Write what a run folder holds from the start.

    Raises:
        RunError: the folder cannot be made, or another run has taken it meanwhile.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(config.plain()))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / CONFIG).touch(exist_ok=False)  # of two runs that start at once, one gets the folder
        except FileExistsError as error:
            raise RunError(f"the output folder {folder} was taken by another run just now; start again") from error
    write_text(folder / CONFIG, text)
    write_json(folder / PROVENANCE, provenance(config, experiment.device))
    constants = experiment.target.constants()
    if constants:
        write_tensors(folder / TARGET, constants)


def provenance(config: Config, device: torch.device) -> dict[str, Any]:
    """What took part in a run: components with their distributions and versions, torch, device, seed, revision."""
    packages = ("hyperframe-nn", "torch", "torchvision", "numpy")
    versions = {name: _version(name) for name in packages}
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "components": [choice.registered.plain() for choice in config.choices],
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
    """Write a checkpoint; it appears under its name only when all of it is on the disk.

    Raises:
        RunError: it cannot be written; what was there before is as it was.
    """
    final = folder / CHECKPOINTS / str(step)
    partial = final.with_name(f".{step}.partial")
    try:
        with writing(final):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_tensors(partial / GENERATOR, generator)
            write_tensors(partial / TRAINER, trainer)
            write_json(partial / STATE, state)
            flush(partial)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
            flush(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
