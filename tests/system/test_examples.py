"""The examples of docs/: they run, choose as they say, and spend the same on every method."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
SMALL = {"trainer.steps": 3, "trainer.networks": 4, "trainer.batch_size": 8, "evaluation.networks": 2}


@pytest.fixture
def example(monkeypatch):
    """Return an example by its name; `methods` is loaded anew with it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]


def make_small(monkeypatch, module):
    """Let it train 4 networks a few steps; the direct ones hold as many as the methods say otherwise."""
    methods = importlib.import_module("methods")
    monkeypatch.setattr(methods, "BUDGET", {**methods.BUDGET, **SMALL})
    for name, count in (("deep ensemble", 4), ("one network", 1)):
        settings = {**methods.METHODS[name], "generator": {"name": "direct", "networks": count}}
        monkeypatch.setitem(methods.METHODS, name, settings)
    monkeypatch.setitem(methods.METHODS, "modes", {"generator": {"name": "modes", "modes": 2}})
    monkeypatch.setitem(methods.METHODS["one network"], "trainer.batch_size", 32)
    return module


@pytest.mark.slow
def test_active_learning_runs(example, monkeypatch, tmp_path, capsys):
    module = make_small(monkeypatch, example("active_learning"))
    for name, value in {"LAST": 40, "DRAWS": 6, "OUTCOMES": 8}.items():
        monkeypatch.setattr(module, name, value)
    module.main(tmp_path, 1, module.ARMS)
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:]] == module.ARMS
    curves = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert len(curves) == len(module.ARMS)
    assert {tuple(curve["labels"]) for curve in curves} == {(20, 40)}
    assert {curve["evaluations"] for curve in curves} == {2 * 3 * 4 * 8}
    assert (tmp_path / "curves.png").stat().st_size > 1000
    monkeypatch.setattr(module, "learn", pytest.fail)  # what is kept is not learnt again
    module.main(tmp_path, 1, module.ARMS)
    assert capsys.readouterr().out.splitlines() == rows


@pytest.mark.slow
def test_the_bandit_runs(example, monkeypatch, tmp_path, capsys):
    module = make_small(monkeypatch, example("bandit"))
    monkeypatch.setattr(module, "ROUNDS", 120)
    module.main(tmp_path, 1, module.PLAYERS)
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:]] == module.PLAYERS
    found = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    assert {one["evaluations"] for one in found.values()} == {0, 2 * 3 * 4 * 8}
    for one in found.values():
        assert len(one["regret"]) == 120
        assert one["regret"][:50] == found["uniform-0"]["regret"][:50]  # the first batch is the same for all
        assert set(torch.tensor(one["regret"]).diff().tolist()) <= {0.0, 1.0}


@pytest.mark.slow
def test_the_pages_choice_of_images_works_as_printed(tmp_path, monkeypatch, capsys):
    page = (EXAMPLES.parent / "examples.md").read_text(encoding="utf-8")
    (block,) = (part.partition("```")[0] for part in page.split("```python\n")[1:] if "load_digits" in part)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "examples.md", "exec"), {})
    chosen = [int(number) for number in re.findall(r"\d+", capsys.readouterr().out)]
    assert len(set(chosen)) == 20
    assert all(60 <= number < 1000 for number in chosen)


def test_batch_bald_takes_no_copies(example):
    """Three images: two copies of the one networks disagree about, and one they disagree about less, in another way."""
    module, sure = example("active_learning"), 1 - 1e-9
    copied = torch.tensor([sure, sure, 1 - sure, 1 - sure])
    other = torch.tensor([0.9, 0.1, 0.9, 0.1])
    probabilities = torch.stack([copied, copied, other], 1)[..., None]
    probabilities = torch.cat([probabilities, 1 - probabilities], -1)
    rng = torch.Generator().manual_seed(0)
    assert module.mutual_information(probabilities, 2, rng) in ([0, 1], [1, 0])
    chosen = module.batch_bald(probabilities, 2, rng)
    assert chosen[1] == 2
    assert chosen[0] in (0, 1)
    assert sorted(module.batch_bald(probabilities, 3, rng)) == [0, 1, 2]


def test_batch_bald_begins_with_the_greatest_mutual_information(example):
    module = example("active_learning")
    probabilities = torch.randn(7, 30, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    rng = torch.Generator().manual_seed(0)
    assert module.batch_bald(probabilities, 1, rng) == module.mutual_information(probabilities, 1, rng)
    assert len(set(module.batch_bald(probabilities, 30, rng))) == 30


def test_thompson_sampling_believes_every_network_as_often(example):
    module = example("bandit")
    values = torch.eye(5)[:, None].expand(5, 1000, 5)  # network i is for arm i
    pulled = module.thompson(values, torch.Generator().manual_seed(0))
    assert pulled.bincount(minlength=5).tolist() == [200] * 5
    assert pulled[:20].unique().numel() > 1
    own = torch.eye(100)[:, None].expand(100, 10, 100)  # more networks than rounds: all are different
    assert module.thompson(own, torch.Generator().manual_seed(0)).unique().numel() == 10


def test_epsilon_greedy_explores_as_often_as_it_says(example):
    module = example("bandit")
    values = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]]).expand(3, 20_000, 5)
    rng = torch.Generator().manual_seed(0)
    assert (module.greedy(values, rng) == 1).all()
    others = float((module.epsilon_greedy(values, rng) != 1).double().mean())
    assert others == pytest.approx(module.EPSILON * 4 / 5, rel=0.1)


def test_an_interval_is_that_of_student(example):
    methods = example("methods")
    assert methods.mean_and_interval([1.0, 2.0, 3.0], 2) == "2.00 [-0.48, 4.48]"  # 4.303 / √3 on either side
    assert methods.mean_and_interval([1.5], 1) == "1.5"


@pytest.mark.slow
def test_two_heads_run(example, monkeypatch, tmp_path, capsys):
    module = example("two_heads")
    monkeypatch.setattr(module, "IMAGES", 60)
    monkeypatch.setattr(module, "SETTINGS", {**module.SETTINGS, "trainer.steps": 3, "evaluation.networks": 2})
    results = module.main(tmp_path / "run", 0)
    assert {"shape.accuracy", "place.rmse", "loss"} <= set(results)
    assert "{'shape': (2, 1, 3), 'place': (2, 1, 2)}" in capsys.readouterr().out
