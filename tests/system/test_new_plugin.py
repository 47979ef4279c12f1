"""Plugins begun from each template: installed into an environment of their own, tested, listed, trained."""

import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from hyperframe.cli.scaffold import TEMPLATES, new_plugin

SHORT = [
    "trainer.steps=2",
    "trainer.networks=16",
    "trainer.device=cpu",
    "evaluation.networks=2",
    "evaluation.test_networks=2",
]


@pytest.fixture
def environment(tmp_path):
    """A fresh environment that sees what is installed here; returns a function that runs Python in it."""
    venv.create(tmp_path / "venv", with_pip=False)
    paths = {"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    packages.joinpath("here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*arguments):
        done = subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def command(*arguments):
    return ("-c", "from hyperframe_launcher import main; main()", *arguments)


def _name(kind):
    """The name of a plugin; Python that runs beside its folder must not take the folder of one word for its package."""
    return "fresh" if kind == "objective" else f"fresh-{kind}"


@pytest.mark.slow
def test_new_plugins_of_every_kind_install_pass_their_tests_are_listed_and_train(environment, tmp_path, registry):
    environment(*command("new-plugin", _name("target")))
    for kind in TEMPLATES:
        if kind != "target":
            new_plugin(_name(kind), kind, registry, tmp_path)
    names = [_name(kind) for kind in TEMPLATES]
    for name in names:
        expected = ["src", "README.md", "pyproject.toml", "tests"]
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(expected)
    editable = [argument for name in names for argument in ("-e", f"./{name}")]
    environment("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", *editable)
    environment("-m", "pytest", "-q", "--import-mode=importlib", "--junit-xml=report.xml", *names)
    report = (tmp_path / "report.xml").read_text()
    listed = json.loads(environment(*command("plugins", "--json")))
    assert listed["not_loaded"] == []
    found = {row["name"]: (row["kind"], row["distribution"]) for row in listed["components"]}
    for kind, name in zip(TEMPLATES, names, strict=True):
        component = name.replace("-", "_")
        assert f"test_{component}" in report
        assert found[component] == (kind, name)
        use = shlex.split(TEMPLATES[kind].use(component))[1:]
        if kind != "analysis":
            shutil.rmtree(tmp_path / "RUN", ignore_errors=True)
            assert json.loads(environment(*command(*use, *SHORT, "--out", "RUN", "--json")))["networks"] == 2
        else:
            results = json.loads(environment(*command(*use, "--json")))[component]
            kept = tmp_path / "RUN" / "analyses" / component / "results.json"
            assert json.loads(kept.read_text()) == results


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["My_Plugin!"], "'My_Plugin!' cannot be the name of a plugin"),
        (["class"], "'class' cannot be the name of a plugin"),
        (["torch"], "there is a module 'torch' already"),
        (["scale", "--kind", "gauge"], "gauge 'scale' is registered already, by hyperframe-nn"),
        (["taken"], "taken exists already"),
    ],
)
def test_names_that_cannot_be(hyperframe, tmp_path, arguments, message):
    (tmp_path / "taken").mkdir()
    code, out, err = hyperframe("new-plugin", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
