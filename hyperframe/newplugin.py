"""A package for a component of one's own, begun from a template that passes its tests."""

import importlib.util
import re
from importlib import resources
from pathlib import Path

import attrs

from hyperframe.errors import ConfigError, unknown_name
from hyperframe.files import exists, whole_folder
from hyperframe.plugins import Registry


@attrs.frozen
class Template:
    """What tells the templates of the kinds apart.

    Attributes:
        summary: what the component is, of which a user makes something else.
        key: the key of a configuration that chooses such a component.
        choice: what it is set to.
    """

    summary: str
    key: str
    choice: str = "PACKAGE"


TEMPLATES = {
    "target": Template("a perceptron with one hidden layer", "target"),
    "gauge": Template("the rows of the last layer sum to zero", "gauges", "[scale,PACKAGE]"),
    "entropy": Template("an entropy from the distances of all pairs", "entropy"),
    "diversity": Template("the mean squared cosine between two networks' weights", "diversity", "[PACKAGE]"),
    "task": Template("ten random pictures with noise", "task"),
    "generator": Template("independent normal weights", "generator"),
}
"""The kinds that there is a template of."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def new_plugin(name: str, kind: str, registry: Registry, parent: Path) -> Path:
    """Write a package into a new folder, with a component, its registration and its test.

    Args:
        name: of the distribution and the folder; with underscores in place of hyphens it names package and component.
        kind: a key of `TEMPLATES`.
        registry: the components that are installed, whose names are taken.
        parent: where the folder will lie.

    Returns:
        The folder.

    Raises:
        ConfigError: the name cannot be one, or is taken.
        RunError: the folder cannot be written.
    """
    if kind not in TEMPLATES:
        raise ConfigError(unknown_name("kind of component", kind, TEMPLATES))
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name[:100]}' cannot be the name of a plugin: expected small letters, digits and single hyphens, "
            "such as my-gauge"
        )
    package, folder = name.replace("-", "_"), parent / name
    same = [entry for entry in registry.all() if (entry.kind, entry.component.name) == (kind, package)]
    if same:
        owner = same[0].source.distribution
        raise ConfigError(f"{kind} '{package}' is registered already, by {owner}; take another name")
    if exists(folder):
        raise ConfigError(f"{folder} exists already; take another name, or remove it")
    if importlib.util.find_spec(package) is not None:
        raise ConfigError(f"there is a module '{package}' already, which the plugin would hide; take another name")
    template = TEMPLATES[kind]
    choice = template.choice.replace("PACKAGE", package)
    names = choice.strip("[]").split(",")
    value = repr(names) if choice.startswith("[") else repr(choice)
    words = {
        "NAME": name,
        "PACKAGE": package,
        "SUMMARY": template.summary,
        "KIND": kind,
        "KEY": template.key,
        "CHOICE": choice,
        "SETTINGS": f'"{template.key}": {value.replace(chr(39), chr(34))}',
    }
    with whole_folder(folder) as partial:
        for path, text in {
            "pyproject.toml": "pyproject",
            "README.md": "readme",
            f"{package}/__init__.py": kind,
            f"tests/test_{package}.py": "tests",
        }.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_text(_filled(text, words), encoding="utf-8")
    return folder


def _filled(name: str, words: dict[str, str]) -> str:
    """A template with the words in their places."""
    text = (resources.files("hyperframe.templates") / f"{name}.txt").read_text(encoding="utf-8")
    return re.sub(rf"\b({'|'.join(words)})\b", lambda match: words[match[1]], text)
