"""The Python API: train, load, and the components that are installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.config import load_config
from hyperframe.plugins import Registry, make_plugin_manager
from hyperframe.run import Run, load_run
from hyperframe.trainer import Reporter, train_run


def train(
    config: str | Path = "digits",
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a generator of networks.

    Args:
        config: a configuration that ships, or a YAML file.
        overrides: dotted keys and their values.
        out: the run folder, absent or empty; by default a new one under `runs`.
        registry: the components to choose from; by default all that are installed.
        reporter: is told how it goes.

    Raises:
        HyperframeError: anything that you can mend; the message says how.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     settings = {"trainer.steps": 2, "trainer.z": 4, "evaluation.networks": 2}
        ...     run = train("digits", settings, out=folder)
        ...     nets = run.sample(3)
        >>> len(nets), type(nets[0]).__name__
        (3, 'Sequential')
    """
    registry = registry or installed()
    return train_run(load_config(config, overrides or {}, registry), registry, out, reporter)


def load(folder: str | Path, *, device: str | None = None, registry: Registry | None = None) -> Run:
    """Load a run from its folder, with its last checkpoint.

    Args:
        folder: what `hyperframe train` named, or `Run.folder`.
        device: auto, cpu, cuda or cuda:INDEX; by default auto.
        registry: the components to choose from; by default all that are installed.
    """
    return load_run(folder, registry or installed(), device)


def installed() -> Registry:
    """All components that are installed."""
    return Registry(make_plugin_manager())
