"""The Python API: train, resume, load, and the components that are installed."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hyperframe.config.import_path import Factories, check_factory, typed_targets
from hyperframe.config.in_memory import OwnCode
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schema import load_config, override_pairs
from hyperframe.errors import RunError
from hyperframe.networks.ensemble import Ensemble
from hyperframe.runs.loading import load_run
from hyperframe.runs.run import Run
from hyperframe.runs.sharing import NETWORKS
from hyperframe.runtime.files import is_file
from hyperframe.runtime.modes import with_gradients
from hyperframe.targets.spec import TargetSpec
from hyperframe.training.loop import train_run
from hyperframe.training.progress_bar import ProgressReporter
from hyperframe.training.reporter import Reporter
from hyperframe.training.resume import resume_run


@with_gradients
def train(
    config: str | Path = "digits",
    overrides: Mapping[str, Any] | None = None,
    *,
    module: nn.Module | None = None,
    spec: TargetSpec | None = None,
    data: Any = None,
    generate: Sequence[str] | Callable[[str, nn.Parameter], bool] | None = None,
    weights: Mapping[str, Tensor] | str | Path | bool | None = None,
    out: str | Path | None = None,
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a generator of networks.

    Args:
        config: a configuration that ships, or a YAML file.
        overrides: dotted keys and their values.
        module: a network of your own, in place of the configuration's target; its own weights are used for what is not
            generated, and where `weights` says so.
        spec: what the module looks like; left out, it is traced (`hyperframe.trace`).
        data: data of your own, in place of the configuration's task: `(x, y)`, tensors or numpy arrays; a torch
            Dataset of such pairs; a mapping with x, y and, as they are, x_validation, y_validation, x_test, y_test; or
            a `Task`. Whole numbers y are classes, of each place where they are masks, others values to be predicted; y
            can be a mapping of labels, in a Dataset that of each example, for a network with a head for each. Overrides
            such as `{"task.test": 0.2}` say how it is divided, see `hyperframe.tasks.own_data.arrays.OwnOptions`.
        generate: what is generated: patterns of names of parameters or modules, such as `["layer4", "fc.*"]`, or a
            function of a name and a parameter that says so. All else stays as the module has it.
        weights: trained weights: a state_dict of the module, a safetensors file, or true for those that it has; see
            `target.weights`.
        out: the run folder, absent or empty; by default a new one under `runs`.
        registry: the components to choose from; by default all that are installed.
        reporter: is told how it goes; left out, progress is shown where standard error is a terminal.

    Returns:
        The run. Where a pause was asked for, `run.finished` is false; `resume` goes on. Neither `run.evaluate` nor
        `evaluation.analyses` has been run: that the command does.

    Raises:
        HyperframeError: anything that you can mend; the message says how.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     settings = {"trainer.steps": 2, "trainer.networks": 8, "evaluation.networks": 2}
        ...     run = train("digits", settings, out=folder)
        ...     nets = run.sample(3)
        >>> len(nets), type(nets[0]).__name__
        (3, 'Sequential')
    """
    own = OwnCode(module, spec, data, generate, weights)
    chosen = own.chosen(overrides or {})
    registry = _choose_registry(registry, own, typed_targets(override_pairs(chosen)))
    with _choose_reporter(reporter) as told:
        return train_run(load_config(config, chosen, registry), registry, out, told)


@with_gradients
def resume(
    folder: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    target: str | None = None,
    module: nn.Module | None = None,
    spec: TargetSpec | None = None,
    data: Any = None,
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Go on with a run from its last checkpoint: on the CPU bit for bit as if it had never stopped.

    Args:
        folder: the run folder.
        overrides: dotted keys and their values, such as `{"trainer.steps": 4000}` to extend the run.
        target: the target `package.module:factory` of a run that has one, or one that makes the module that the run was
            trained with; code is never taken from the folder.
        module: the module that the run was trained with, where it was.
        spec: the module's spec.
        data: the data that the run was trained with, where it was.
        registry: the components to choose from; by default all that are installed.
        reporter: is told how it goes; left out, progress is shown where standard error is a terminal.

    Raises:
        HyperframeError: anything that you can mend; the message says how.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.
    """
    typed = typed_targets(override_pairs(overrides or {}))
    registry = _choose_registry(registry, OwnCode(module, spec, data), [*_as_list(target), *typed], opens=True)
    with _choose_reporter(reporter) as told:
        return resume_run(folder, overrides or {}, registry, told)


@with_gradients
def load(
    folder: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    device: str | None = None,
    checkpoint: str | int = "last",
    target: str | None = None,
    module: nn.Module | None = None,
    spec: TargetSpec | None = None,
    data: Any = None,
    registry: Registry | None = None,
) -> Run:
    """Load a run from its folder.

    Args:
        folder: what `hyperframe train` named, or `Run.folder`.
        overrides: where the run's data lie now, such as `{"task.folder": "/data"}`; nothing else of it can be changed.
        device: auto, cpu, cuda or cuda:INDEX; by default auto.
        checkpoint: "last", "best" (on validation data), or a step that is kept.
        target: the target `package.module:factory` of a run that has one, or one that makes the module that the run was
            trained with; code is never taken from the folder.
        module: the module that the run was trained with, where it was.
        spec: the module's spec.
        data: the data that the run was trained with, where it was.
        registry: the components to choose from; by default all that are installed.

    Raises:
        HyperframeError: anything that you can mend; the message says how.
    """
    chosen = _choose_registry(registry, OwnCode(module, spec, data), _as_list(target), opens=True)
    return load_run(folder, chosen, device, checkpoint, overrides or {})


def from_pretrained(
    folder: str | Path,
    *,
    device: str | None = None,
    target: str | None = None,
    module: nn.Module | None = None,
    spec: TargetSpec | None = None,
    registry: Registry | None = None,
) -> Ensemble:
    """Read the networks of a folder that `Run.save_pretrained` wrote, as one `nn.Module`; no data are needed.

    The folder's generator, for other networks, is read by `hyperframe.load(folder)`.

    Args:
        folder: the folder.
        device: auto, cpu, cuda or cuda:INDEX; by default auto.
        target: the target `package.module:factory` of a run that has one, or one that makes the module that the run was
            trained with; code is never taken from the folder.
        module: the module that the run was trained with, where it was.
        spec: the module's spec.
        registry: the components to choose from; by default all that are installed.

    Raises:
        HyperframeError: anything that you can mend; the message says how.
    """
    run = load(folder, device=device, target=target, module=module, spec=spec, registry=registry)
    file = run.folder / NETWORKS
    if not is_file(file):
        raise RunError(
            f"{folder} keeps no networks: it has no {NETWORKS}, which run.save_pretrained and 'hyperframe export' "
            "write. hyperframe.load(folder).ensemble(50) draws new ones"
        )
    return Ensemble(run.read_samples(file))


@contextmanager
def _choose_reporter(reporter: Reporter | None) -> Iterator[Reporter | None]:
    """The reporter that was handed over; without one, progress on a terminal and nothing elsewhere."""
    if reporter is not None or not sys.stderr.isatty():
        yield reporter
        return
    with ProgressReporter() as shown:
        yield shown


def _as_list(target: str | None) -> list[str]:
    return [] if target is None else [check_factory(target)]


def _choose_registry(registry: Registry | None, own: OwnCode, typed: Sequence[str], *, opens: bool = False) -> Registry:
    """The components to choose from, with what the user handed over or typed; `opens` a run."""
    extra: list[Any] = [own] if own.settings else []
    if typed:
        extra.append(Factories(typed, opens=opens and "target" not in own.settings))
    if registry is None:
        return make_registry(extra)
    return registry.with_plugins(extra) if extra else registry


def make_registry(extra: Iterable[Any] = ()) -> Registry:
    """All components that are installed, and those of further plugins."""
    return Registry(make_plugin_manager(extra=extra))
