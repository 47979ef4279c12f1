"""The page about estimators: its blocks run, one after the other, and so do the five lines of the README."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_pages_blocks_run(capsys):
    found = {}
    for block in blocks("docs/estimators.md"):
        exec(compile(block, "estimators.md", "exec"), found)
    assert found["model"].score(found["X_test"], found["y_test"]) > 0.93
    assert "['Gentoo']" in capsys.readouterr().out
    assert 0.75 < found["within"].mean() <= 1
    assert len(found["nets"]) == 200
    assert found["disagreement"].shape == (143,)


@pytest.mark.slow
def test_the_readmes_five_lines_run(capsys):
    (block,) = [block for block in blocks("README.md") if "HyperClassifier" in block]
    exec(compile(block, "README.md", "exec"), {})
    assert float(capsys.readouterr().out.split()[0]) > 0.9
