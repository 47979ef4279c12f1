"""What is installed is what is there."""

import tomllib

import hyperframe
from hyperframe.config import shipped_configs


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


def test_modules_stay_small(root):
    for path in (root / "hyperframe").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path.name
