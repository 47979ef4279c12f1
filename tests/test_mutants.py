"""Mistakes that are made on purpose have their place, and tests that are there; `benchmarks/mutants.py` tries them."""

import ast
import importlib.util

import pytest


def benchmark(root):
    spec = importlib.util.spec_from_file_location("mutants", root / "benchmarks" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
