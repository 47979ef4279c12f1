"""Check whether tests find mistakes that are made on purpose: `python benchmarks/mutants.py [NAME…]` prints a table.

Each mutant of `mutants.toml` is one wrong line. It is put into a copy of the tree, and the tests that are named for it
run there: one of them must fail. The exit code is 1 if a mutant survives or cannot be tried: if the text that it
replaces does not occur exactly once, or the named tests fail without it or do not run with it.
"""

import argparse
import contextlib
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("hyperframe", "plugins", "tests", "pyproject.toml")
LIMIT = 900
"""The most seconds of the tests of one mutant; if they take longer they loop, and the mutant counts as found."""

SETTINGS = {
    "CI": "1",  # properties are tried on the same examples every time
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONDONTWRITEBYTECODE": "1",  # a mutant's would be taken for that of the file without it
}
SLOW = ("matplotlib.figure", "scipy.optimize", "sklearn.metrics", "torch", "torchvision")
"""Modules that tests import and that take seconds to import: imported once for all mutants."""

FORK = multiprocessing.get_context("fork")
OUTPUT = "output.txt"

PASSED, FAILED = 0, 1
"""Exit codes of pytest; all others mean that no test has run."""

OURS = 64
"""Added to pytest's exit code, since a process that breaks before any test also exits with 1."""


@attrs.frozen(kw_only=True)
class Mutant:
    """One wrong line.

    Attributes:
        name: a short name.
        file: the file with the mistake, from the root of the tree.
        old: a text that occurs there once.
        new: the text that replaces it.
        wrong: a description of the mistake.
        killed_by: the tests that find it, as pytest takes them.
    """

    name: str
    file: str
    old: str
    new: str
    wrong: str
    killed_by: tuple[str, ...] = attrs.field(converter=tuple)

    def of(self, source: str) -> str:
        """Return the file with the mistake; raises `ValueError` if `old` does not occur exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(f"mutant '{self.name}': {self.file} has {source.count(self.old)} times {self.old!r}")
        return source.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Read all mutants of the list."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]]


def run_tests(tree: Path, tests: Sequence[str]) -> int | None:
    """Run tests in a tree until one fails; return pytest's exit code, or None if they take too long."""
    process = FORK.Process(target=_test, args=(tree, tests))
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        return None
    return process.exitcode - OURS


def _test(tree: Path, tests: Sequence[str]) -> None:
    """Run tests in a process that has imported the slow libraries, and imports hyperframe and plugins from the tree."""
    os.chdir(tree)
    folders = [str(tree), *map(str, tree.glob("plugins/*"))]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)  # for processes that tests start
    sys.path[:0] = folders
    import hyperframe  # noqa: PLC0415  (only here, or it would be the same one for all mutants)

    if not Path(hyperframe.__file__).is_relative_to(tree):
        sys.exit(f"hyperframe is imported from {hyperframe.__file__}, and not from {tree}")
    with (tree / OUTPUT).open("w") as file, contextlib.redirect_stdout(file):
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    sys.exit(OURS + code)


def copy_tree(folder: Path) -> Path:
    """Copy the tree into a folder; return the copy."""
    tree = folder.resolve() / "tree"
    for name in COPIED:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__", "*.egg-info")
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy2(source, tree / name)
    return tree


def outcome(tree: Path, mutant: Mutant) -> str:
    """Try a mutant; return "killed", "survived", or why it cannot be tried."""
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    before = path.stat()
    try:
        path.write_text(mutant.of(source), encoding="utf-8")
        code = run_tests(tree, mutant.killed_by)
    except ValueError as error:
        return f"not tried, {error}"
    finally:
        path.write_text(source, encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {PASSED: "survived", FAILED: "killed", None: "killed, by time"}.get(code, f"not tried, pytest gives {code}")


def main() -> int:
    """Print a row for each mutant, and how many were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {mutant.name: mutant for mutant in mutants()}
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants; by default all are tried")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"{LIST.name} has no mutant {', '.join(map(repr, unknown))}")
    chosen = [known[name] for name in names or known]
    os.environ |= SETTINGS
    sys.dont_write_bytecode = True
    for name in SLOW:
        importlib.import_module(name)
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        if run_tests(tree, sorted({test for mutant in chosen for test in mutant.killed_by})) != PASSED:
            print((tree / OUTPUT).read_text(), file=sys.stderr)
            print("the tests fail without any mutant, so they cannot find one", file=sys.stderr)
            return 1
        print("| mutant | what is wrong | file | tests | result | seconds |\n" + "| --- " * 6 + "|")
        for mutant in chosen:
            started = time.perf_counter()
            result = outcome(tree, mutant)
            killed += result.startswith("killed")
            tests = ", ".join(f"`{test}`" for test in mutant.killed_by)
            seconds = time.perf_counter() - started
            row = (f"`{mutant.name}`", mutant.wrong, f"`{mutant.file}`", tests, result, f"{seconds:.0f}")
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nkilled: {killed} of {len(chosen)}")
    return 0 if killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
