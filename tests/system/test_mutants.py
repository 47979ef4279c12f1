"""Mistakes that are made on purpose have their place, and tests that are there; `benchmarks/mutants.py` tries them."""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest


def benchmark(root):
    spec = importlib.util.spec_from_file_location("mutants", root / "benchmarks" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_mutant_has_its_place(root):
    """Where a line has moved or changed its words, so must the mutant."""
    found = benchmark(root).mutants()
    assert len({mutant.name for mutant in found}) == len(found) > 50
    for mutant in found:
        source = (root / mutant.file).read_text(encoding="utf-8")
        wrong = ast.parse(mutant.of(source))
        assert ast.dump(wrong) != ast.dump(ast.parse(source)), f"{mutant.name} changes nothing"
        assert mutant.wrong
        assert mutant.killed_by


def test_every_test_of_a_mutant_is_there(root):
    for mutant in benchmark(root).mutants():
        for test in mutant.killed_by:
            file, _, name = test.partition("::")
            source = (root / file).read_text(encoding="utf-8")
            assert not name or f"def {name.partition('[')[0]}(" in source, f"{mutant.name}: {test} is not there"


@pytest.mark.parametrize("source", ["a = 2\n", "a = 1\na = 1\n"])
def test_a_mutant_without_its_place_is_named(root, source):
    mutant = benchmark(root).Mutant(name="one", file="a.py", old="a = 1", new="a = 3", wrong="it", killed_by=["b"])
    with pytest.raises(ValueError, match=r"mutant 'one': a.py has [02] times 'a = 1'"):
        mutant.of(source)


MUTANTS = """
[[mutant]]
name = "found"
file = "hyperframe/sums.py"
old = "one + other"
new = "one - other"
wrong = "a sum is a difference"
killed_by = ["tests/test_sums.py::test_sum"]

[[mutant]]
name = "looked_past"
file = "hyperframe/sums.py"
old = "one + other"
new = "other + abs(one)"
wrong = "a sum has lost a sign"
killed_by = ["tests/test_sums.py::test_sum"]

[[mutant]]
name = "broken"
file = "hyperframe/sums.py"
old = "def add(one"
new = "def added(one"
wrong = "nothing can be imported"
killed_by = ["tests/test_sums.py::test_sum"]

[[mutant]]
name = "moved"
file = "hyperframe/sums.py"
old = "one * other"
new = "one + other"
wrong = "what it was about has gone"
killed_by = ["tests/test_sums.py::test_sum"]
"""


@pytest.mark.slow
def test_killed_mutants_and_others_are_told_apart(root, tmp_path):
    files = {
        "pyproject.toml": "",
        "plugins/readme": "",
        "benchmarks/mutants.toml": MUTANTS,
        "plugins/hyperframe-demo/pyproject.toml": "",
        "hyperframe/__init__.py": "",
        "hyperframe/sums.py": "def add(one, other):\n    return one + other\n",
        "tests/test_sums.py": "from hyperframe.sums import add\n\n\ndef test_sum():\n    assert add(2, 3) == 5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    script = (root / "benchmarks" / "mutants.py").read_text(encoding="utf-8")
    script = re.sub(r"^SLOW = .*$", "SLOW = ()", script, count=1, flags=re.MULTILINE)  # which these tests do not use
    (tmp_path / "benchmarks" / "mutants.py").write_text(script)
    command = [sys.executable, "benchmarks/mutants.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    rows = {line.split("`")[1]: line.split(" | ")[4] for line in done.stdout.splitlines() if line.startswith("| `")}
    assert list(rows) == ["found", "looked_past", "broken", "moved"], done.stderr
    assert (rows["found"], rows["looked_past"]) == ("killed", "survived")
    assert rows["broken"].startswith("not tried, pytest gives")
    assert rows["moved"].startswith("not tried, mutant 'moved': hyperframe/sums.py has 0 times")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "killed: 1 of 4")
    assert (tmp_path / "hyperframe" / "sums.py").read_text() == files["hyperframe/sums.py"]
    one = subprocess.run([*command, "found"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (one.returncode, one.stdout.splitlines()[-1]) == (0, "killed: 1 of 1")
