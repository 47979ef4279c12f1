"""`hyperframe check`, `pytest --hyperframe-target` and `conformance` run one list of checks."""

import json
import subprocess
import sys

import pytest

from hyperframe.testing import checks, conformance

NETS = """
from torch import nn


def good(width: int = 6):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def wrong():
    from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel

    module = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    layers = [
        LayerSpec(name="a", filters=4, params=[kernel("0.weight", "o i"), bias("0.bias")], writes=["h"]),
        LayerSpec(name="b", filters=2, params=[kernel("2.weight", "o i"), bias("2.bias")], reads=["h"]),
    ]
    units = [UnitSpec(name="h", size=4, ops=("relu",))]
    return module, TargetSpec(name="n", input_shape=(3,), num_outputs=2, layers=layers, units=units, logits="b")
"""


@pytest.mark.slow
@conformance("logit_shift")
def test_the_decorator_makes_a_test_of_each_check(check):
    check()


@pytest.mark.slow
def test_the_command_says_what_passed(hyperframe):
    code, out, err = hyperframe("check", "digits_cnn")
    assert code == 0
    assert err == ""
    assert "passed   target scaling: outputs equal bit for bit" in out
    assert "vacuous  target sign: the target has no such symmetry" in out
    assert "11 passed, 0 failed, 3 vacuous" in out


@pytest.mark.slow
def test_options_and_json(hyperframe):
    code, out, _ = hyperframe("check", "lenet", "classes=3", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["passed"] is True
    assert [row["check"] for row in content["checks"]] == [check.law.name for check in checks("lenet")]


@pytest.mark.slow
def test_targets_of_ones_own(hyperframe, tmp_path):
    (tmp_path / "own_nets.py").write_text(NETS)
    assert hyperframe("check", "own_nets:good", "width=3")[0] == 0
    code, out, _ = hyperframe("check", "own_nets:wrong")
    assert code == 1
    for part in ("failed   target scaling", "0.weight axis 0", "smallest example: networks=1", "usual cause:", "GELU"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scael"], "unknown component 'scael'; did you mean 'scale'"),
        (["lenet", "clases=3"], "clases"),
        (["lenet", "classes=many"], "target.classes"),
        (["scale,lenet"], "unknown gauge 'lenet'"),
        (["scale,sign", "x=1"], "options can be given for one component only"),
        (["lenet", "--kind", "target", "--kind", "gauge"], "--kind is given twice"),
        (["lenet", "--task", "digit"], "unknown task 'digit'"),
    ],
)
def test_wrong_arguments(hyperframe, arguments, message):
    code, out, err = hyperframe("check", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_gauges_for_one_orbit_are_refused_with_what_to_type(hyperframe):
    code, out, err = hyperframe("check", "permutation_sort,permutation_match")
    assert (code, out) == (2, "")
    assert "both fix the orbit 'permutation'" in err
    assert err.endswith("hyperframe check permutation_sort, and hyperframe check permutation_match\n")


def run_pytest(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_pytest_option_runs_the_same_list(tmp_path):
    done = run_pytest(tmp_path, "--hyperframe-target", "digits_cnn", "-q", "-rs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed, 3 skipped" in done.stdout
    assert "digits_cnn: sign: the target has no such symmetry" in done.stdout


@pytest.mark.slow
def test_the_pytest_option_takes_a_task(tmp_path):
    done = run_pytest(tmp_path, "--hyperframe-target", "perceptron", "--hyperframe-task", "digit", "-q")
    assert done.returncode != 0
    assert "unknown task 'digit'" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_pytest_option_fails_with_the_place(tmp_path):
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "conftest.py").write_text("import sys; sys.path.insert(0, '.')\n")
    done = run_pytest(tmp_path, "--hyperframe-target", "own_nets:wrong", "-q")
    assert done.returncode == 1
    assert "usual cause" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_the_pytest_option_refuses_unknown_names(tmp_path):
    done = run_pytest(tmp_path, "--hyperframe-target", "scael")
    assert done.returncode == 4
    assert "did you mean 'scale'" in done.stderr


def test_the_pytest_plugin_imports_nothing_heavy():
    text = "import sys, hyperframe_launcher.pytest_plugin; print(sorted({'torch', 'hyperframe'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
