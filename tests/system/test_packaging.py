"""The installed files are those of the checkout."""

import tomllib

import hyperframe
from hyperframe.config.sections import shipped_configs


def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_every_package_is_installed(root):
    folders = {path.parent for path in (root / "hyperframe").rglob("__init__.py")}
    found = {".".join(path.relative_to(root).parts) for path in folders} - {"hyperframe.launcher"}
    assert set(project(root)["tool"]["setuptools"]["packages"]) == found | {"hyperframe.configs", "hyperframe_launcher"}


def test_configs_are_the_files_in_the_checkout(root):
    assert set(shipped_configs()) == {path.stem for path in (root / "configs").glob("*.yaml")}


def test_public_names_exist_and_have_a_docstring():
    for name in hyperframe.__all__:
        value = getattr(hyperframe, name)
        assert value.__doc__ or name in ("Statistics", "Weights"), name


def test_the_version_is_that_of_the_distribution(root):
    assert hyperframe.__version__ == project(root)["project"]["version"]


def test_the_tools_are_pinned_and_the_citation_names_the_version(root):
    tools = [
        text for text in project(root)["project"]["optional-dependencies"]["dev"] if text.startswith(("ruff", "mypy"))
    ]
    assert len(tools) == 2
    assert all("==" in text for text in tools)
    assert f"\nversion: {project(root)['project']['version']}\n" in (root / "CITATION.cff").read_text()
