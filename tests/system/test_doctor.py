"""The command `doctor`: what it finds, what counts as broken, and that nothing broken keeps it from the rest."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch

from hyperframe.cli import doctor
from hyperframe.cli.doctor import ALONE, WITH_TORCH, broken_imports

pytestmark = pytest.mark.slow

DATA = os.environ.get("HYPERFRAME_DATA", "")


@pytest.fixture
def examined(hyperframe, monkeypatch, tmp_path):
    """The command's findings, without importing all of it in another process: exit code, JSON."""
    monkeypatch.setattr(doctor, "broken_imports", lambda names: iter(()))
    monkeypatch.setenv("HYPERFRAME_DATA", str(tmp_path / "data"))

    def examine():
        code, out, err = hyperframe("doctor", "--json")
        assert err == ""
        return code, json.loads(out)

    return examine


def declare(folder, group, line, distribution="shop"):
    info = folder / f"{distribution}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line}\n")


def test_an_installation_that_is_whole(examined):
    code, found = examined()
    assert (code, found["problems"]) == (0, [])
    assert set(found) == {part.__name__ for part in ALONE + WITH_TORCH} | {"problems"}
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert found["versions"]["hyperframe-nn"] == found["plugins"]["distributions"]["hyperframe-nn"]["version"]
    assert "tensorboard" in found["extras"]["tensorboard"]
    assert found["processor"]["threads"] == torch.get_num_threads()
    assert found["memory"]["free"] > 0
    assert found["disk"]["free"] > 0
    assert found["devices"] == []
    assert {row["state"] for row in found["data"]} == {"absent"}
    assert {row["task"] for row in found["data"]} >= {"mnist", "cifar10"}


def test_it_is_printed(hyperframe, examined):
    code, out, _ = hyperframe("doctor")
    assert code == 0
    for part in ("versions:", "torch 2", "no CUDA device", "hyperframe-nn", "mnist: absent", "nothing is broken"):
        assert part in out


def test_plugins_and_commands_that_fail_are_broken(examined, tmp_path, monkeypatch):
    declare(tmp_path, "hyperframe", "own = absent_library")
    declare(tmp_path, "hyperframe.commands", "greet = absent_commands:greet", "mall")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, found = examined()
    assert code == 1
    assert len(found["problems"]) == 2
    assert "shop 1.2: ModuleNotFoundError: No module named 'absent_library'" in found["problems"][0]
    assert "command 'greet' of mall 1.2: ModuleNotFoundError" in found["problems"][1]
    assert found["plugins"]["distributions"]["hyperframe-nn"]["components"] > 50


def test_data_that_are_not_whole_are_broken(examined, tmp_path, monkeypatch):
    place = tmp_path / "data" / "cifar-100-python"
    place.mkdir(parents=True)
    (place / "train").write_bytes(b"cut")
    code, found = examined()
    states = {row["task"]: row["state"] for row in found["data"]}
    assert (code, states["cifar100"], states["cifar10"]) == (1, "incomplete", "absent")
    assert "lacks test; fetch it with task.download=true" in found["problems"][0]
    (place / "test").write_bytes(b"cut")
    code, found = examined()
    assert code == 1
    assert "is damaged, or not the original" in found["problems"][0]
    monkeypatch.setattr(doctor, "READ_SECONDS", -1.0)
    code, found = examined()
    assert (code, found["problems"]) == (0, [])
    assert {row["task"]: row["state"] for row in found["data"]}["cifar100"] == "there"


@pytest.mark.data
def test_data_that_are_whole(examined, monkeypatch):
    monkeypatch.setenv("HYPERFRAME_DATA", DATA)
    assert {row["state"] for row in examined()[1]["data"]} <= {"whole", "absent"}


def test_a_part_that_fails_hides_no_other(examined, monkeypatch):
    def fail():
        raise SystemExit("driver lost")

    monkeypatch.setattr(torch.cuda, "is_available", fail)
    code, found = examined()
    assert (code, found["devices"]) == (1, None)
    (problem,) = found["problems"]
    assert re.fullmatch(r"devices: cannot be found out: SystemExit: driver lost \(test_doctor\.py, line \d+\)", problem)
    assert found["plugins"]["distributions"]


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        (None, "einops is not installed: pip install 'einops>=0.8'"),
        ("0.7.2", "einops 0.7.2 is too old: pip install 'einops>=0.8'"),
        ("0.10.0", None),
    ],
)
def test_what_is_needed_is_there_and_new_enough(examined, monkeypatch, version, problem):
    own = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: version if name == "einops" else own(name))
    code, found = examined()
    assert found["problems"] == ([problem] if problem else [])
    assert code == (1 if problem else 0)


def test_a_folder_that_cannot_be_written_is_broken(examined, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    code, found = examined()
    assert code == 1
    assert "nothing can be written; name another with --out" in found["problems"][0]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('libcudart.so: cannot open')", "OSError: libcudart.so: cannot open"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process ended with -11"),
        ("import time; time.sleep(100)", "it takes more than 1 s"),
    ],
)
def test_modules_that_cannot_be_imported(monkeypatch, tmp_path, code, reason):
    (tmp_path / "own_first.py").write_text("print('failed to say')\n")
    (tmp_path / "own_wrong.py").write_text(code + "\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 1 if "sleep" in code else 60)
    monkeypatch.setattr(doctor, "_modules", lambda names: {"own_first": "first", "own_wrong": "wrong-one"})
    assert list(broken_imports(["first", "wrong-one"])) == [f"wrong-one cannot be imported: {reason}"]


def test_files_of_the_current_folder_are_no_modules(monkeypatch, tmp_path):
    (tmp_path / "own_module.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_modules", lambda names: {"own_module": "own"})
    assert list(broken_imports(["own"])) == [
        "own cannot be imported: ModuleNotFoundError: No module named 'own_module'"
    ]


@pytest.mark.slow
def test_without_torch_the_rest_is_found(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so is lost')\n")
    program = (
        "import sys, hyperframe_launcher; sys.argv = ['hyperframe', 'doctor', '--json']; hyperframe_launcher.main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert "torch cannot be imported: ImportError: libtorch.so is lost" in found["problems"]
    assert found["disk"]["writable"]
    assert "plugins" not in found
