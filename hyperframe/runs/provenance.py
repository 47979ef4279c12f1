"""Where a run comes from: versions, device, seed, revision, and where it was resumed."""

import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hyperframe.config.schema import Config
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.errors import RunError, notice
from hyperframe.experiment.build import Experiment
from hyperframe.runs.checkpoints import FORMAT
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.files import is_file, read_json, write_json
from hyperframe.runtime.threads import flushes_denormals

PROVENANCE = "provenance.json"


def provenance(config: Config, device: torch.device, processes: Processes) -> dict[str, Any]:
    """Record what took part in a run: components with distributions and versions, torch, device, seed, revision."""
    packages = (OWN_DISTRIBUTION, "torch", "torchvision", "numpy")
    return {
        "format": FORMAT,
        "components": [choice.registered.plain() for choice in config.choices.values()],
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in packages}},
        "environment": environment(device, processes),
        "seed": config.trainer.seed,
        "revision": revision(),
    }


def environment(device: torch.device, processes: Processes = ALONE) -> dict[str, Any]:
    """Describe the machine and torch, as far as the bits of a result depend on them.

    Of several processes it is said how many they are; `threads` are those of each.
    """
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": device.type,
        "hardware": hardware,
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "denormals": "zero" if flushes_denormals() else "kept",
        "precision": torch.get_float32_matmul_precision(),
        "torch": torch.__version__,
        "numpy": version_of("numpy"),
        **({} if processes.alone else {"processes": processes.count}),
    }


def processor() -> str:
    """The name of the processor's model, where the system tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def bound_of(reasons: list[str] | None) -> dict[str, Any]:
    """Say whether a variational loss bounds the evidence, and why not; empty for another loss, which has None."""
    return {} if reasons is None else {"bound": {"holds": not reasons, "departures": reasons}}


def add_resumption(
    folder: Path, step: int, changed: Sequence[str], experiment: Experiment, noted: Mapping[str, Any]
) -> None:
    """Note in `provenance.json` at which step a run goes on, with which changes and where, and what else is `noted`."""
    device, processes = experiment.device, experiment.processes
    content = (read_provenance(folder) or provenance(experiment.config, device, processes)) | dict(noted)
    here = environment(device, processes)
    entry = {"step": step, "changed": list(changed), "environment": here, "revision": revision()}
    before = content.get("resumed")
    content["resumed"] = [*(before if isinstance(before, list) else []), entry]
    write_json(folder / PROVENANCE, content)


def add_early_end(folder: Path, step: int, reason: str) -> None:
    """Note in `provenance.json` at which step a run ended before its last one, and why."""
    content = read_provenance(folder)
    before = content.get("ended_early")
    content["ended_early"] = [*(before if isinstance(before, list) else []), {"step": step, "reason": reason}]
    write_json(folder / PROVENANCE, content)


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read `provenance.json`; empty where it is not there (the run was killed before) or damaged."""
    if not is_file(folder / PROVENANCE):
        return {}
    try:
        return read_json(folder / PROVENANCE)
    except RunError as error:
        notice(f"{error}; the run is read without it")
        return {}


def used_distributions(content: Mapping[str, Any]) -> dict[str, str]:
    """The distributions that a run's components came from, with their versions, of what `provenance.json` says.

    Example:
        >>> used_distributions({"components": [{"distribution": "mine", "version": "1.0"}, "damaged"]})
        {'mine': '1.0'}
    """
    used = content.get("components")
    rows = [row for row in used if isinstance(row, Mapping)] if isinstance(used, list) else []
    return {str(row.get("distribution")): str(row.get("version")) for row in rows}


def version_of(name: str) -> str | None:
    """The version of an installed distribution, None where there is none of that name."""
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # the latter of a name that none can have
        return None


def revision() -> str | None:
    """The revision of the checkout this library lies in, or None where it is installed."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    asked = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or None


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A mapping as it is, and an empty one in the place of anything else: files may hold what they should not."""
    return value if isinstance(value, Mapping) else {}
