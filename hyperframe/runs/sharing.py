"""Trained runs saved to be used elsewhere: one folder with what using needs, drawn networks, and a card.

    README.md            what the networks are, their figures, and how they are used; written by `model_card`
    config.json          which library reads it, as hubs of models look for it
    networks.safetensors drawn networks with their statistics, which safetensors and torch alone read
    …                    all else as in the run folder that it is (`hyperframe.runs.folder`), less metrics, the state of
                         the training, and analyses but for the evaluation

Every command that reads a run reads it. Of paths on the machine that trained it only their last names are kept.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hyperframe.config.schema import Config
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.networks.sampled import Networks
from hyperframe.networks.storage import absent_or_empty, store_networks
from hyperframe.runs.checkpoints import FORMAT, Checkpoint, write_checkpoint
from hyperframe.runs.folder import ANALYSES, CONFIG, EVALUATION, RESULTS, TARGET, TASK
from hyperframe.runs.model_card import model_card
from hyperframe.runs.provenance import PROVENANCE, version_of
from hyperframe.runtime.files import is_file, kept_json, whole_folder, write_json, write_text
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.trial_inputs import EXAMPLE
from hyperframe.tasks.input_statistics import INPUTS

NETWORKS, CARD, HUB = "networks.safetensors", "README.md", "config.json"
COPIED = (PROVENANCE, TARGET, TASK, EXAMPLE, INPUTS, f"{ANALYSES}/{EVALUATION}/{RESULTS}")
WITH_PATHS = (PROVENANCE, f"{ANALYSES}/{EVALUATION}/{RESULTS}")
"""Of these, files that may name other runs and files of the machine."""
LARGEST = 2**28
"""Bytes that the networks of a folder may take where nobody said how many they are to be."""


def count_to_keep(count: int, spec: TargetSpec) -> int:
    """How many networks a folder keeps where nobody says it: so many, or as many as take `LARGEST` bytes."""
    return max(1, min(count, LARGEST // (4 * spec.num_weights)))


def write_shared(
    path: str | Path,
    source: Path,
    config: Config,
    checkpoint: Checkpoint,
    draw: Callable[[], Networks],
    origin: dict[str, str],
) -> Path:
    """Write a folder to be used elsewhere; it appears when all of it is written. See the module's description.

    Args:
        path: the folder, absent or empty.
        source: the run's.
        config: its configuration.
        checkpoint: whose generator is kept.
        draw: draws the networks that are kept.
        origin: where they come from.

    Returns:
        The folder.

    Raises:
        RunError: the folder holds something, or cannot be written.
    """
    folder = absent_or_empty(path)
    networks = draw()
    figures = kept_json(source / ANALYSES / EVALUATION / RESULTS)
    with whole_folder(folder) as partial:
        for name in COPIED:
            if is_file(source / name):
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                content = kept_json(source / name) if name in WITH_PATHS else None
                if content is None:
                    shutil.copyfile(source / name, partial / name)
                else:
                    write_json(partial / name, without_paths(content, config.locations))
        write_text(partial / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_without_paths(config))))
        write_checkpoint(partial, checkpoint.step, checkpoint.generator(), None, _plain_state(checkpoint))
        store_networks(partial / NETWORKS, networks, origin)
        write_text(partial / CARD, model_card(folder.name, config, networks, checkpoint, figures))
        write_json(partial / HUB, _for_hubs(config))
    return folder


def _plain_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state of a checkpoint without the keys that writing one adds."""
    return {key: value for key, value in checkpoint.state.items() if key not in ("format", "step", "files")}


def without_paths(content: Mapping[str, Any], locations: Collection[str]) -> dict[str, Any]:
    """Leave of paths in what a run says of its beginning, resumptions and evaluation their last names alone.

    Args:
        content: of `provenance.json`, or of the evaluation.
        locations: keys that say where data lie; that they changed is left out.

    Example:
        >>> without_paths({"began_with": {"run": "/home/me/runs/first", "step": 9}}, [])
        {'began_with': {'run': 'first', 'step': 9}}
    """
    found = dict(content)
    if isinstance(found.get("began_with"), Mapping):
        found["began_with"] = {key: _last(value) for key, value in found["began_with"].items()}
    if isinstance(found.get("resumed"), list):
        found["resumed"] = [_without_locations(one, locations) for one in found["resumed"]]
    if "samples" in found:
        found["samples"] = _last(found["samples"])
    return found


def _without_locations(resumption: Any, locations: Collection[str]) -> Any:
    """A resumption without changes of where data lie."""
    if not isinstance(resumption, Mapping) or not isinstance(resumption.get("changed"), list):
        return resumption
    changed = [one for one in resumption["changed"] if str(one).partition(":")[0] not in locations]
    return {**resumption, "changed": changed}


def _without_paths(config: Config) -> dict[str, Any]:
    """The configuration as plain data; of paths on this machine only their last names."""
    plain = config.without_pauses().plain()
    for key, value in config.locations.items():
        *parents, last = key.split(".")
        place: Any = plain
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        place[last] = [_last(one) for one in value] if isinstance(value, list | tuple) else _last(value)
    return plain


def _last(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) else value


def _for_hubs(config: Config) -> dict[str, Any]:
    """By this file hubs count, and find out which library reads a folder."""
    return {
        "library_name": "hyperframe",
        "library_version": version_of(OWN_DISTRIBUTION),
        "format": FORMAT,
        "architectures": [config.target.name],
        "generator": config.generator.name,
        "task": config.task.name,
    }
