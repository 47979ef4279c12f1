"""Run folders: what a run keeps beside its checkpoints, who may write there, and how its configuration is read again.

    config.yaml        the complete configuration; a folder that has it is a run
    target.safetensors what the target's module holds besides generated weights, where it holds anything
    task.json          what the data say of the task, where it is not known without them
    example.safetensors  some inputs, where the target is tried on none but such as the data has
    inputs.json        type, range and proportions of the inputs that are trained on
    provenance.json    versions of everything that took part, device, seed, source revision, and where it was resumed
    metrics.jsonl      one line every `trainer.log_every` steps and one for each validation
    checkpoints/STEP/  see `hyperframe.runs.checkpoints`
    analyses/NAME/     results.json and results

Files are safetensors, JSON and YAML: nothing that is loaded runs code.
"""

import hashlib
import itertools
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from omegaconf import OmegaConf
from torch import Tensor

from hyperframe.config.dotted_keys import missing
from hyperframe.config.import_path import MODULE, TYPED, is_factory
from hyperframe.config.in_memory import DATA, HANDED_OVER
from hyperframe.config.overrides import apply_overrides, read_yaml
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, read_config
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.errors import ConfigError, HyperframeError, PluginError, RunError
from hyperframe.experiment.build import Experiment
from hyperframe.runs.checkpoints import FORMAT
from hyperframe.runs.provenance import (
    PROVENANCE,
    as_mapping,
    provenance,
    read_provenance,
    revision,
    used_distributions,
    version_of,
)
from hyperframe.runtime.files import (
    contents,
    exists,
    is_file,
    read_json,
    read_tensors,
    reading,
    user_path,
    write_json,
    write_tensors,
    write_text,
    writing,
)
from hyperframe.runtime.links import lock_of
from hyperframe.targets.trial_inputs import write_example
from hyperframe.tasks.input_statistics import TrainedInputs, write_trained_inputs
from hyperframe.types import Task

CONFIG, TARGET, TASK = "config.yaml", "target.safetensors", "task.json"
ANALYSES, RESULTS = "analyses", "results.json"
EVALUATION = "evaluation"
"""Where a run keeps its own evaluation, among its analyses."""
LOCK = ".lock"
LOCK_SECONDS = 1.0
"""Seconds to wait for a folder: `is_claimed` takes it for a moment."""


def free_folder(chosen: str | Path | None, config: Config) -> Path:
    """Return the folder a new run may use: absent or empty. Nothing is written.

    Raises:
        RunError: the folder holds something, or is a file.
    """
    if chosen is None:
        digest = hashlib.sha256(json.dumps(config.plain(), sort_keys=True).encode()).hexdigest()[:6]
        stem = f"{config.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{digest}"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        return next(path for path in (Path("runs") / each for each in names) if not path.exists())
    if not str(chosen):
        raise RunError("the output folder has no name; leave it out for a new one under runs/")
    path = user_path(chosen)
    if exists(path) and not path.is_dir():
        raise RunError(f"the output folder {path} is a file")
    if is_file(path / CONFIG):
        raise RunError(
            f"the output folder {path} holds a run already; name another, or go on with "
            f"'hyperframe train --resume {shlex.quote(str(path))}'"
        )
    if any(_counts(entry.name) for entry in contents(path)):
        raise RunError(f"the output folder {path} is not empty; name one that is, or one that does not exist yet")
    return path


def _counts(name: str) -> bool:
    """Whether a file is content, and not what a run that was killed in its first moments has left."""
    return not (name == LOCK or (name.startswith(".") and name.endswith(".partial")))


@contextmanager
def claim(folder: Path, what: str = "training", name: str = LOCK) -> Iterator[None]:
    """Keep others of its kind out of a folder, which is made as needed. The system frees it when the process ends.

    Args:
        folder: where it is at work.
        what: its kind, for messages.
        name: of the file that says so.

    Raises:
        RunError: another one is at work there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(lock_of(folder, name))
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout as error:
            raise RunError(f"another {what} is at work in {folder}; wait for it, or name another folder") from error
        except NotImplementedError as error:
            raise RunError(f"the file system of {folder} has no locks, which keep another {what} out of it") from error
    try:
        yield
    finally:
        lock.release()


def folder_identity(folder: Path) -> tuple[int, int] | None:
    """Return what the system identifies a folder by, whatever its name is; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_claimed(folder: Path) -> bool:
    """Whether a training is at work in a folder."""
    if not is_file(folder / LOCK):
        return False
    try:
        with filelock.FileLock(lock_of(folder, LOCK), blocking=False):
            return False
    except filelock.Timeout:
        return True
    # A folder that cannot be written to, that has no locks, or in which something else has the lock's name.
    except (OSError, NotImplementedError, RunError):
        return False


def create_run(
    folder: Path, config: Config, experiment: Experiment, inputs: TrainedInputs, noted: Mapping[str, Any]
) -> None:
    """Write what a run folder holds from the start; may be called again for a run that was killed in doing so.

    Args:
        folder: the run's.
        config: its complete configuration.
        experiment: what is trained.
        inputs: the inputs that it is trained on, in a few numbers.
        noted: for the provenance: where the generator begins, and whether the loss is a bound.

    Raises:
        RunError: the folder cannot be written.
    """
    write_config(folder, config)
    constants = experiment.target.constants()
    if constants:
        write_tensors(folder / TARGET, constants)
    if experiment.task.facts is not None:
        write_json(folder / TASK, experiment.task.facts)
    write_trained_inputs(folder, inputs)
    write_example(folder, experiment.target.tried_on)
    origin = provenance(config, experiment.device, experiment.processes)
    write_json(folder / PROVENANCE, {**origin, **noted})


def read_constants(folder: Path) -> dict[str, Tensor] | None:
    """Read what a run keeps of its target beside what is generated; None where there is nothing.

    Raises:
        RunError: it is damaged.
    """
    return read_tensors(folder / TARGET) if is_file(folder / TARGET) else None


def write_config(folder: Path, config: Config) -> None:
    """Write the complete configuration, less what only pauses a run."""
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config.without_pauses().plain())))


def check_is_run(folder: str | Path) -> Path:
    """Check that a folder is a run that this version can read, and return its path.

    Raises:
        RunError: it is not.
    """
    if not str(folder):
        raise RunError("the run has no name; a run is a folder that 'hyperframe train' wrote")
    folder = user_path(folder)
    with reading(folder):
        found = (folder / CONFIG).is_file()
    if not found:
        what = f"is no run: it has no {CONFIG}" if exists(folder) else "does not exist"
        raise RunError(f"{folder} {what}; a run is a folder that 'hyperframe train' wrote")
    content = read_provenance(folder)
    version = content.get("format")
    if isinstance(version, int) and version != FORMAT:
        theirs = as_mapping(content.get("versions")).get(OWN_DISTRIBUTION)
        age, fix = ("a newer", "update it") if version > FORMAT else ("an older", "install that version")
        raise RunError(
            f"{folder} was written by {age} version of {OWN_DISTRIBUTION} ({theirs}, format {version}); this is "
            f"{version_of(OWN_DISTRIBUTION)}, which reads format {FORMAT}: {fix}, or train anew"
        )
    return folder


def read_run_config(folder: Path, registry: Registry, pairs: Sequence[tuple[str, Any]] = ()) -> tuple[Config, Config]:
    """Read a run's configuration: as it is, and with overrides applied.

    It names every key, but those of options that came after it and say what a run had before (`option(before=…)`).

    Raises:
        RunError: it is damaged or not complete, or a component of it is not installed any more.
        ConfigError: an override is not possible.
    """
    try:
        content = read_yaml(folder / CONFIG)
        stored = read_config(folder.name, apply_overrides(content, []), registry)
        before, lacking = stored.before, missing(stored.plain(), content)
        later = {key: before[key] for key in lacking if key in before}
        if later:
            content = apply_overrides(content, list(later.items()))
            stored = read_config(folder.name, content, registry)
    except PluginError as error:
        raise RunError(_told_of(error, folder, content, registry)) from error
    except HyperframeError as error:
        raise RunError(f"{folder / CONFIG}: {error}") from error
    for key in lacking:
        if key not in later:
            raise RunError(f"{folder / CONFIG} is not complete: '{key}' is missing{_other_writer(folder)}")
    return stored, read_config(folder.name, apply_overrides(content, pairs), registry) if pairs else stored


def restore_task(folder: Path, config: Config) -> Task | None:
    """The task of a run, of what its folder keeps, without its data; None where the task takes none for this.

    Raises:
        RunError: what the folder keeps is damaged.
    """
    restore = config.task.registered.component.restore
    if restore is None or not is_file(folder / TASK):
        return None
    try:
        task: Task = restore(config.task.options, read_json(folder / TASK))
    except ConfigError as error:
        raise RunError(f"{folder / TASK} is damaged: {error}") from error
    return task


def _other_writer(folder: Path) -> str:
    """Name the version or revision that wrote a run, where that is another one than this, as the end of a sentence."""
    content = read_provenance(folder)
    theirs = (as_mapping(content.get("versions")).get(OWN_DISTRIBUTION), content.get("revision"))
    here = (version_of(OWN_DISTRIBUTION), revision())
    if not content or theirs == here:
        return ""
    named = [f"{version}, revision {revision}" if revision else f"{version}" for version, revision in (theirs, here)]
    return (
        f". The run was written by {OWN_DISTRIBUTION} {named[0]}, this is {named[1]}: install that version, add the "
        "key with the value that stands for what the run did, or train anew"
    )


def _told_of(error: PluginError, folder: Path, content: Mapping[str, Any], registry: Registry) -> str:
    """Say how a component of a run that is not there can be had, and then what is wrong."""
    lost = _handed_over(folder, content, registry)
    if lost:
        return lost
    where, used = folder / CONFIG, used_distributions(read_provenance(folder))
    own = (HANDED_OVER, TYPED)
    absent = {name: version for name, version in used.items() if version_of(name) is None and name not in own}
    if not absent:
        return f"{where}: {error}"
    names = ", ".join(f"{name} {version}".rstrip() for name, version in sorted(absent.items()))
    return f"{where}: the run used components of {names[:200]}, which is not installed here: {error}"


def _handed_over(folder: Path, content: Mapping[str, Any], registry: Registry) -> str:
    """Say how what was handed over in Python is handed over again; nothing where all of it is there."""
    handed = {"target": (MODULE, "module=..."), "task": (DATA, "data=...")}
    there = {(entry.kind, entry.component.name): entry for entry in registry.all()}
    of_run = [key for key, (name, _) in handed.items() if as_mapping(content.get(key)).get("name") == name]
    if all((key, handed[key][0]) in there for key in of_run):
        return ""
    lost = [key for key in of_run if key != "target" or ("target", MODULE) not in there]
    were, them = ("was", "it") if len(lost) == 1 else ("were", "them")
    told = (
        f"the run's {' and '.join(lost)} {were} handed over in Python; hand {them} over again: hyperframe.load("
        f"'{folder}', {', '.join(handed[key][1] for key in lost)}), or hyperframe.resume likewise; a module with the "
        "spec that it had, if any."
    )
    if "target" not in lost:
        return told
    typed = [name for kind, name in there if kind == "target" and is_factory(name)]
    if len(typed) > 1:
        return (
            f"{told} Of several, {', '.join(typed)}, none stands for the module, since it is not known which: name "
            "only the one that makes it, and compare such runs without runs of other targets of your own"
        )
    return (
        f"{told} A command takes --target package.module:function, and 'train --resume' "
        "target=package.module:function, a function that makes the module."
    )
