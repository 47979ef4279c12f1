"""Plugins begun from each template: installed into an environment of their own, tested, listed, trained."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from hyperframe.newplugin import TEMPLATES

SHORT = ["trainer.steps=2", "trainer.z=16", "trainer.device=cpu", "evaluation.networks=2", "evaluation.test_networks=2"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment that sees what is installed here; returns a function that runs Python in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    packages.joinpath("here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run(*arguments, expected=0):
        done = subprocess.run([python, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    run.folder = folder
    return run


def command(*arguments):
    return ("-c", "from hyperframe_launcher import main; main()", *arguments)


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_new_plugin_installs_passes_its_tests_and_trains(environment, kind):
    name = f"fresh-{kind}"
    environment(*command("new-plugin", name, "--kind", kind))
    assert sorted(path.name for path in (environment.folder / name).iterdir()) == [
        "README.md",
        f"fresh_{kind}",
        "pyproject.toml",
        "tests",
    ]
    environment("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", f"./{name}")
    report = environment("-m", "pytest", "-q", name)
    assert "passed" in report
    listed = json.loads(environment(*command("plugins", "--json")))
    assert {"kind": kind, "name": f"fresh_{kind}", "distribution": name, "version": "0.1.0"}.items() <= next(
        row for row in listed["components"] if row["name"] == f"fresh_{kind}"
    ).items()
    template = TEMPLATES[kind]
    choice = f"{template.key}={template.choice.replace('PACKAGE', f'fresh_{kind}')}"
    figures = json.loads(environment(*command("train", choice, *SHORT, "--out", f"run-{kind}", "--json")))
    assert figures["networks"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["My_Plugin!"], "'My_Plugin!' cannot be the name of a plugin"),
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
