"""The findings of `doctor`: the library and all around it, part by part, so that a broken one hides no other.

Nothing is imported here that needs torch: whether torch can be imported is one of the questions.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from hyperframe.cli.completion import RUNS
from hyperframe.cli.extensions import GROUP
from hyperframe.entry_points import LIMIT_VARIABLE, OWN_DISTRIBUTION, find_entry_points
from hyperframe.errors import Forgiven, described
from hyperframe.runtime.progress import MISSING, quantity

IMPORTS = """
import importlib, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    print("begun", name, file=out, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("failed", name, type(error).__name__ + ":", " ".join(str(error).split())[:300], file=out, flush=True)
print("done", file=out, flush=True)
"""
"""Imports modules in a process of its own: one that ends the process, or hangs, is told by the last line.

What modules print themselves goes elsewhere.
"""

IMPORT_SECONDS = 120
READ_SECONDS = 10.0
"""For how long files of data are read; those that are left are looked for and not read."""


@attrs.define(kw_only=True)
class Findings:
    """Findings so far, and those that are broken.

    Attributes:
        parts: of each part what is found, as plain data.
        problems: one sentence for each thing that is broken.
    """

    parts: dict[str, Any] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)

    def look(self, at: Callable[["Findings"], Any]) -> None:
        """Find out about one part; where that fails, this is what is found."""
        part = at.__name__

        def failed(error: BaseException) -> None:
            self.parts[part] = None
            self.problems.append(f"{part}: cannot be found out: {described(error)}")

        with Forgiven(failed):
            self.parts[part] = at(self)


def examine() -> Findings:
    """Look at everything; what fails is a problem that is found, and never raised."""
    found = Findings()
    for at in ALONE:
        found.look(at)
    if not any(problem.startswith(("torch is not", "torch cannot")) for problem in found.problems):
        for at in WITH_TORCH:
            found.look(at)
    return found


def versions(found: Findings) -> dict[str, Any]:
    """Versions of the library, of Python and of all that the library needs; all of it is imported."""
    needed = [text for text in importlib.metadata.requires(OWN_DISTRIBUTION) or [] if "extra ==" not in text]
    names = [_name(text) for text in needed]
    rows = {name: _version(name) for name in names}
    for text, name in zip(needed, names, strict=True):
        version, least = rows[name], re.search(r">=([\d.]+)", text)
        if version is None:
            found.problems.append(f"{name} is not installed: pip install '{text}'")
        elif least is not None and _numbers(version) < _numbers(least[1]):
            found.problems.append(f"{name} {version} is too old: pip install '{text}'")
    found.problems += broken_imports([name for name in names if rows[name] is not None])
    own = {OWN_DISTRIBUTION: _version(OWN_DISTRIBUTION), "python": platform.python_version()}
    return {**own, "system": platform.platform(), **rows}


def broken_imports(names: list[str]) -> Iterator[str]:
    """Import distributions in a process of its own, and say of each that cannot be imported why."""
    modules = _modules(names)
    command = [sys.executable, "-P", "-c", IMPORTS, *modules]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)  # noqa: S603
        output, ended = done.stdout, f"the process ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else str(error.stdout or "")
        ended = f"it takes more than {IMPORT_SECONDS} s"
    lines = [line.split(" ", 2) for line in output.splitlines()]
    for what, *rest in lines:
        if what == "failed":
            yield f"{modules[rest[0]]} cannot be imported: {rest[1]}"
    if lines and lines[-1][0] == "begun":
        yield f"{modules[lines[-1][1]]} cannot be imported: {ended}"


def extras(found: Findings) -> dict[str, Any]:
    """The extras: of each the versions of its distributions, None where one is not installed."""
    rows: dict[str, Any] = {}
    for text in importlib.metadata.requires(OWN_DISTRIBUTION) or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", text)
        if extra is not None and _name(text) != OWN_DISTRIBUTION:
            rows.setdefault(extra[1], {})[_name(text)] = _version(_name(text))
    return rows


def processor(found: Findings) -> dict[str, Any]:
    """The processor, its cores and instructions, torch's threads and its linear algebra."""
    import torch

    from hyperframe.runs.provenance import processor as model

    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return {
        "model": model() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(usable),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else None,
        "onednn": torch.backends.mkldnn.is_available(),
    }


def devices(found: Findings) -> list[dict[str, Any]]:
    """CUDA devices: name, bytes in all and free, compute capability, and how each computes in bfloat16."""
    import torch

    from hyperframe.runtime.precision import bfloat16_on, has_tf32

    rows = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        free, total = torch.cuda.mem_get_info(device)
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        row = {"name": torch.cuda.get_device_name(device), "memory": total, "free": free, "capability": capability}
        rows.append({**row, "bfloat16": bfloat16_on(device), "tf32": has_tf32(device)})
    return rows


def memory(found: Findings) -> dict[str, Any]:
    """Bytes of main memory that can be taken; None where the system does not say."""
    from hyperframe.runtime.memory import available_memory

    return {"free": available_memory()}


def disk(found: Findings) -> dict[str, Any]:
    """Where runs go: bytes that are free, and whether a folder can be made there."""
    folder = Path(RUNS) if Path(RUNS).is_dir() else Path()
    writable = os.access(folder, os.W_OK | os.X_OK)
    if not writable:
        found.problems.append(f"runs go to {folder.resolve()}, where nothing can be written; name another with --out")
    return {"folder": str(Path(RUNS).absolute()), "free": shutil.disk_usage(folder).free, "writable": writable}


def plugins(found: Findings) -> dict[str, Any]:
    """Distributions with plugins, what each has, and plugins and commands that cannot be loaded."""
    from hyperframe.api import make_registry

    registry = make_registry()
    rows: dict[str, dict[str, Any]] = {
        source.distribution: {"version": source.version, "components": 0, "commands": 0}
        for source in registry.manager.sources.values()  # some have no components, such as those that observe trainings
    }
    for entry in registry.all():
        rows[entry.source.distribution]["components"] += 1
    broken = [str(plugin) for plugin in registry.manager.broken]
    for point, source in find_entry_points(GROUP):
        row = rows.setdefault(source.distribution, {"version": source.version, "components": 0, "commands": 0})
        row["commands"] += 1
        where = f"command '{point.name}' of {source.distribution} {source.version}"
        with Forgiven(lambda error, where=where: broken.append(f"{where}: {described(error)}")):  # type: ignore[misc]
            point.load()
    found.problems += [f"{text}; mend it, or uninstall it" for text in broken]
    return {"distributions": rows, "broken": broken, "limited_to": os.environ.get(LIMIT_VARIABLE)}


def data(found: Findings) -> list[dict[str, Any]]:
    """Published data sets: where each is looked for, and whether its files are there and are the originals."""
    from hyperframe.api import make_registry
    from hyperframe.tasks.originals import PublishedImages

    rows, began = [], time.monotonic()
    for entry in make_registry().all():
        if entry.kind != "task":
            continue
        task = None
        with Forgiven():  # one that needs options is not of this kind
            task = entry.component.factory(entry.component.options())
        if isinstance(task, PublishedImages):
            row = {"task": task.name, "folder": str(task.originals.place)}
            rows.append({**row, **_state(task, began)})
            if rows[-1]["state"] in ("damaged", "incomplete"):
                found.problems.append(f"data of task '{task.name}': {rows[-1]['reason']}")
    return rows


ALONE: tuple[Callable[[Findings], Any], ...] = (versions, extras, disk)
WITH_TORCH: tuple[Callable[[Findings], Any], ...] = (processor, devices, memory, plugins, data)
"""The parts, of which some can be found out only where torch can be imported."""


def _state(task: Any, began: float) -> dict[str, str | None]:
    """Whether the files of a data set are absent, incomplete, damaged, there (and not read) or whole."""
    from hyperframe.errors import DataError

    files = task.originals
    there = [name for name in files.digests if (files.place / name).is_file()]
    if not there:
        return {"state": "absent", "reason": None}
    if len(there) < len(files.digests):
        lacking = next(name for name in files.digests if name not in there)
        why = f"{files.place} lacks {lacking}; fetch it with task.download=true"
        return {"state": "incomplete", "reason": why}
    try:
        for name in there:
            if time.monotonic() - began > READ_SECONDS:
                return {"state": "there", "reason": f"not read: after {READ_SECONDS:g} s no more files are"}
            files.path(name)
    except DataError as error:
        return {"state": "damaged", "reason": str(error)}
    return {"state": "whole", "reason": None}


def _name(requirement: str) -> str:
    """The distribution that a requirement is of."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _modules(distributions: list[str]) -> dict[str, str]:
    """Modules that distributions are imported by, and these: the one of its name, or else its first public one."""
    owned: dict[str, list[str]] = {}
    for module, owners in importlib.metadata.packages_distributions().items():
        for owner in owners:
            owned.setdefault(owner.lower(), []).append(module)
    found = {}
    for name in distributions:
        modules = [module for module in sorted(owned.get(name.lower(), [])) if not module.startswith("_")]
        found[name if name in modules or not modules else modules[0]] = name
    return found


def as_lines(found: Findings) -> Iterator[str]:
    """All that was found, line by line, and the problems in the end."""
    for part, content in found.parts.items():
        if content is not None:
            yield f"{part}:"
            yield from (f"  {line}" for line in _LINES[part](content))
    yield "" if found.problems else "nothing is broken"
    yield from (f"broken: {problem}" for problem in found.problems)


def _pairs(content: dict[str, Any]) -> Iterator[str]:
    for key, value in content.items():
        yield f"{key.replace('_', ' ')}: {MISSING if value is None else value}"


def _version_lines(content: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{name} {version or '(not installed)'}" for name, version in content.items())


def _extra_lines(content: dict[str, Any]) -> Iterator[str]:
    for extra, rows in content.items():
        yield f"{extra}: {next(_version_lines(rows))}"


def _device_lines(content: list[dict[str, Any]]) -> Iterator[str]:
    for row in content:
        memory = f"{_gibibytes(row['free'])} of {_gibibytes(row['memory'])} free"
        more = (
            f"compute capability {row['capability']}, bfloat16 {row['bfloat16']}, TF32 {'yes' if row['tf32'] else 'no'}"
        )
        yield f"{row['name']}: {memory}, {more}"
    if not content:
        yield "no CUDA device: trainings run on the CPU"


def _room_lines(content: dict[str, Any]) -> Iterator[str]:
    free = "free memory is not known" if content["free"] is None else f"{_gibibytes(content['free'])} free"
    yield f"{content['folder']}: {free}" if "folder" in content else free


def _plugin_lines(content: dict[str, Any]) -> Iterator[str]:
    for name, row in content["distributions"].items():
        counts = quantity(row["components"], "component"), quantity(row["commands"], "command")
        yield f"{name} {row['version']}: {', '.join(counts)}"
    if content["limited_to"] is not None:
        yield f"limited by {LIMIT_VARIABLE}={content['limited_to']}"


def _data_lines(content: list[dict[str, Any]]) -> Iterator[str]:
    yield from (f"{row['task']}: {row['state']}, {row['folder']}" for row in content)


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


_LINES: dict[str, Callable[[Any], Iterator[str]]] = {
    "versions": _version_lines,
    "extras": _extra_lines,
    "processor": _pairs,
    "devices": _device_lines,
    "memory": _room_lines,
    "disk": _room_lines,
    "plugins": _plugin_lines,
    "data": _data_lines,
}
"""How each part is told."""
