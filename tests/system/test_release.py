"""A release is whole: the distributions are built, installed alone, and used where there is no checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(*command, cwd, **environment):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """A wheel, built of the distribution of source, which is built of the files that are under version control."""
    root, place = Path(__file__).resolve().parents[2], tmp_path_factory.mktemp("release")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=root).split("\0")
    for name in filter(None, files):
        if (root / name).is_file() and not name.startswith(("docs/", "tests/", "benchmarks/", "plugins/")):
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "source" / name).write_bytes((root / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place / "dist", cwd=place / "source")
    (source,), (wheel,) = (list((place / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    return source, wheel


def test_all_files_are_inside(distributions, root):
    source, wheel = distributions
    with zipfile.ZipFile(wheel) as opened:
        inside = set(opened.namelist())
    with tarfile.open(source) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    library = [path.relative_to(root) for path in (root / "hyperframe").rglob("*") if path.is_file()]
    wanted = {str(path) for path in library if path.suffix not in (".pyc", ".pyo") and "launcher" not in path.parts}
    assert wanted <= packed
    assert wanted <= inside
    assert {f"hyperframe/configs/{path.name}" for path in (root / "configs").glob("*.yaml")} <= inside
    assert {"hyperframe/py.typed", "hyperframe_launcher/__init__.py"} <= inside
    assert {"README.md", "LICENSE", "pyproject.toml"} <= packed
    assert not any(name.startswith(("tests/", "benchmarks/", "plugins/")) for name in inside)


def test_the_wheel_works_without_a_checkout(distributions, tmp_path):
    site = tmp_path / "site"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        distributions[1],
        cwd=tmp_path,
    )
    alone = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "HYPERFRAME_PLUGINS": "hyperframe-nn"}
    command = [sys.executable, "-P", "-m", "hyperframe"]
    place = run(sys.executable, "-P", "-c", "import hyperframe; print(hyperframe.__file__)", cwd=tmp_path, **alone)
    assert place.strip() == str(site / "hyperframe" / "__init__.py")
    assert "cifar10_lenet" in run(*command, "config", "--schema", cwd=tmp_path, **alone)
    assert "kozachenko_leonenko" in run(*command, "plugins", cwd=tmp_path, **alone)
    settings = ["trainer.steps=2", "evaluation.every=2", "evaluation.networks=2", "evaluation.test_networks=2"]
    run(*command, "train", "digits", *settings, "trainer.device=cpu", "--out", "run", cwd=tmp_path, **alone)
    run(*command, "report", "run", "--analysis", "accuracies", cwd=tmp_path, **alone)
    assert "<html" in next((tmp_path / "run").rglob("*.html")).read_text(encoding="utf-8")
    run(*command, "new-plugin", "my-gauge", "--kind", "gauge", cwd=tmp_path, **alone)
    assert (tmp_path / "my-gauge" / "pyproject.toml").is_file()
