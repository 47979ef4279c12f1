"""Settings and fixtures of all tests: one torch thread per worker, derandomised properties in CI, markers that skip.

Tests run on the CPU, also where there is a CUDA device, but for those that are marked `cuda`.
"""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# What tests write needs no place on a disk: a short training waits for one more than twenty times.
os.fsync = lambda descriptor: None
# A shell that starts the tests in the background, or by nohup, has these ignored, and all programs that they start.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)
# Drawing a batch of weights takes milliseconds; deadlines would only measure the machine.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=20, help="how often test_faults.py kills a training")
    parser.addoption("--damaged-files", type=int, default=300, help="how many files test_damage.py damages")
    parser.addoption("--programs", type=int, default=50, help="how many random networks test_programs.py traces")


SLOW = ("plugins/hyperframe-max-scale/tests/test_max_scale.py::test_laws",)
"""Slow tests that do not say it themselves, since a page has them for projects without such a mark."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
    reasons = {
        "cuda": None if torch.cuda.is_available() else "needs a CUDA device",
        "data": None if os.environ.get("HYPERFRAME_DATA") else "needs the data sets, set HYPERFRAME_DATA",
    }
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Hide CUDA from tests that are not marked `cuda`, from the processes that they start and the fixtures they make.

    A fixture of a wider scope belongs to the first test that asks for it, which may be one that sees CUDA: where it
    trains, its settings name the CPU.
    """
    if item.get_closest_marker("cuda"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        # Torch may have looked for devices already, and then does not read the variable again: it is for processes.
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        return (yield)


@pytest.fixture(scope="session")
def registry():
    from hyperframe.api import make_registry

    return make_registry()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A short training of perceptrons on `digits`, for tests of analyses that leave it as it is."""
    import tiny

    import hyperframe as hf

    out = tmp_path_factory.mktemp("runs") / "run"
    return hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 10}, out=out)


@pytest.fixture(autouse=True)
def strict_rules(monkeypatch):
    """Let a tracing rule that raises fail the test; for a user it would only cost some symmetries."""
    from hyperframe.targets.tracing import walk

    monkeypatch.setattr(walk, "TOLERATED", ())


@pytest.fixture(scope="session")
def learnt(tmp_path_factory):
    """The same, trained until its networks give different answers; its gauges fix all continuous symmetries."""
    import tiny

    import hyperframe as hf

    settings = {"trainer.steps": 60, "trainer.rate": 1e-2, "gauges": ["scale", "logit_shift"]}
    return hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, **settings}, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def root():
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def small():
    """Train `digits` for a few steps into a folder; `small.settings` are the settings, `key__option=…` changes them."""
    import hyperframe as hf

    def run(out, **changes):
        changed = {key.replace("__", "."): value for key, value in changes.items()}
        return hf.train("digits_hypernetwork", {**run.settings, **changed}, out=out)

    run.settings = {
        "trainer.device": "cpu",
        "trainer.steps": 6,
        "trainer.networks": 4,
        "trainer.batch_size": 8,
        "trainer.log_every": 2,
        "trainer.checkpoint_every": 3,
        "evaluation.every": 3,
        "evaluation.networks": 5,
        "evaluation.examples": 20,
        "evaluation.test_networks": 6,
    }
    return run


@pytest.fixture
def hyperframe(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder; return exit code, standard output and standard error."""
    from hyperframe.cli.main import run_command_line

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hyperframe", *map(str, arguments)])
        code = 0
        try:
            run_command_line()
        except SystemExit as stop:
            code = stop.code or 0
        for name, module in list(sys.modules.items()):  # files of one name are other modules in the next test
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
                del sys.modules[name]
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
