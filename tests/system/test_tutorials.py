"""The tutorials run as they are printed, without the tool that builds the site."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def cells(text):
    """The code of a tutorial's cells, without the options that stand first in some."""
    found = re.findall(r"^```\{code-cell\} python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\A(:.*\n)+", "", cell) for cell in found]


def test_cells_are_found_without_their_options():
    text = (
        "# A\n```{code-cell} python\n:tags: [a]\na = {\n```\n```python\nb\n```\n```{code-cell} python\n:c\n:d\ne\n```\n"
    )
    assert cells(text) == ["a = {\n", "e\n"]


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    assert len(cells(text)) == text.count("```{") > 2
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    import matplotlib.pyplot as plt

    names = {"__name__": "tutorial"}
    try:
        for number, cell in enumerate(cells(text), 1):
            exec(compile(cell, f"{page.name}, cell {number}", "exec"), names)
        assert bool(plt.get_fignums()) == (":mystnb: {image" in text)
    finally:
        plt.close("all")
    assert re.search(r"\d", capsys.readouterr().out)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_needs_the_public_api_alone(page):
    code = "".join(cells(page.read_text(encoding="utf-8")))
    imports = re.findall(r"^(?:import|from) hyperframe.*$", code, re.MULTILINE)
    public = r"import hyperframe as hf|from hyperframe\.(api|testing|types) import .*"
    assert imports[0] == "import hyperframe as hf"
    assert all(re.fullmatch(public, line) for line in imports)
