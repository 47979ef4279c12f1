"""A package for a component of one's own, begun from a template that passes its tests."""

import importlib.util
import json
import keyword
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from hyperframe.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from hyperframe.config.registry import Registry

WORD = "PACKAGE"
"""Stands for the name of package and component in the templates."""


@attrs.frozen
class Template:
    """The parts in which the templates of the kinds differ; PACKAGE stands for the component's name.

    Attributes:
        summary: what the component is, of which a user makes something else.
        key: the key of a configuration that chooses such a component; empty for what no configuration chooses.
        choice: what it is set to.
    """

    summary: str
    key: str = ""
    choice: str = WORD

    def use(self, package: str) -> str:
        """The command that uses the component."""
        if not self.key:
            return f"hyperframe analyse RUN {package}"
        return f"hyperframe train {shlex.quote(f'{self.key}={self.choice.replace(WORD, package)}')}"

    def settings(self, package: str) -> str:
        """The entry of a mapping of overrides that chooses the component, as Python."""
        chosen = self.choice.replace(WORD, package)
        value = json.dumps(chosen.strip("[]").split(",") if chosen.startswith("[") else chosen)
        return f'"{self.key}": {value}'


TEMPLATES = {
    "target": Template("a perceptron with one hidden layer", "target"),
    "gauge": Template("the rows of the last layer sum to zero", "gauges", "[scale,PACKAGE]"),
    "entropy": Template("an entropy from the distances of all pairs", "entropy"),
    "diversity": Template("the mean squared cosine between two networks' weights", "diversity", "[PACKAGE]"),
    "objective": Template("a weight of accuracy that rises with every step", "objective"),
    "task": Template("which way a bar points", "task"),
    "generator": Template("independent normal weights", "generator"),
    "analysis": Template("the mean norm of the weights of networks"),
}
"""The kinds that there is a template of."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def new_plugin(name: str, kind: str, registry: "Registry", parent: Path) -> Path:
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
    from hyperframe.runtime.files import exists, whole_folder

    if kind not in TEMPLATES:
        raise ConfigError(unknown_name("kind of component", kind, TEMPLATES))
    package, folder = name.replace("-", "_"), parent / name
    if not _NAME.fullmatch(name) or keyword.iskeyword(package):
        raise ConfigError(
            f"'{name[:100]}' cannot be the name of a plugin: expected small letters, digits and single hyphens, "
            "such as my-gauge"
        )
    same = [entry for entry in registry.all() if (entry.kind, entry.component.name) == (kind, package)]
    if same:
        owner = same[0].source.distribution
        raise ConfigError(f"{kind} '{package}' is registered already, by {owner}; take another name")
    if exists(folder):
        raise ConfigError(f"{folder} exists already; take another name, or remove it")
    if importlib.util.find_spec(package) is not None:
        raise ConfigError(f"there is a module '{package}' already, which the plugin would hide; take another name")
    template = TEMPLATES[kind]
    words = {
        "NAME": name,
        WORD: package,
        "SUMMARY": template.summary,
        "KIND": kind,
        "ARTICLE": "An" if kind[0] in "aeiou" else "A",
        "USE": template.use(package),
        "SETTINGS": template.settings(package),
    }
    chosen = bool(template.key)
    files = {
        "pyproject.toml": "pyproject",
        "README.md": "readme" if chosen else "analysis_readme",
        # Below src, since a folder named like the package, beside a user's script, would hide the installed package.
        f"src/{package}/__init__.py": kind,
        f"tests/test_{package}.py": "tests" if chosen else "analysis_tests",
    }
    with whole_folder(folder) as partial:
        for path, text in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_text(_fill(text, words), encoding="utf-8")
    return folder


def _fill(name: str, words: dict[str, str]) -> str:
    """A template with the words in their places."""
    text = (resources.files("hyperframe.templates") / f"{name}.txt").read_text(encoding="utf-8")
    return re.sub(rf"\b({'|'.join(words)})\b", lambda match: words[match[1]], text)
