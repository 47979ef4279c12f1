"""Completions: names of configurations, keys and runs that a shell offers; nothing here imports torch."""

import os
from pathlib import Path

import attrs
import click
from click.shell_completion import CompletionItem

from hyperframe.config.sections import SECTIONS, shipped_configs
from hyperframe.options import key_of

RUNS = "runs"
"""Where runs lie that were not told where to."""


def complete_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Configurations that ship and keys of their sections; where none begins like this, files."""
    keys = [f"{key}.{key_of(field)}=" for key, cls in SECTIONS.items() for field in attrs.fields(cls)]
    return _beginning([*shipped_configs(), *keys], incomplete) or [CompletionItem(incomplete, type="file")]


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run folders where the path that is begun leads, or below runs/; where there are none, folders."""
    begun = incomplete[: incomplete.rfind("/") + 1]
    parents = [begun] if begun else ["", f"{RUNS}/"]
    found = [parent + name for parent in parents for name in _runs(Path(os.path.expanduser(parent or ".")))]
    return _beginning(found, incomplete) or [CompletionItem(incomplete, type="dir")]


def _runs(parent: Path) -> list[str]:
    """Names of the runs in a folder, without a look into them."""
    return sorted(path.parent.name for path in parent.glob("*/config.yaml"))


def _beginning(values: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(value) for value in values if value.startswith(incomplete)]
