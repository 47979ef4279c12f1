"""The target keeps the laws of targets, has the symmetries it should, and trains."""

import pytest
import torch

import hyperframe as hf
from hyperframe.testing import checks, conformance


@conformance("perceptron")
def test_laws(check):
    check()


@conformance("perceptron", {"input_shape": [5], "hidden": 6, "classes": 4})
def test_laws_with_other_options(check):
    check()


@pytest.mark.parametrize("law", ["scaling", "permutation", "logit_shift"])
def test_these_symmetries_are_there(law):
    (check,) = [check for check in checks("perceptron") if check.law.name == law]
    assert check.verdict().state == "passed"


def test_it_trains(tmp_path):
    settings = {
        "target": "perceptron",
        "target.hidden": 8,
        "trainer.steps": 2,
        "trainer.networks": 8,
        "trainer.device": "cpu",
    }
    run = hf.train("digits", {**settings, "evaluation.networks": 2}, out=tmp_path / "run")
    nets = hf.load(run.folder, device="cpu").sample(3)
    assert nets.predict(torch.zeros(5, 1, 8, 8)).shape == (3, 5, 10)
    assert nets[0](torch.zeros(5, 1, 8, 8)).shape == (5, 10)
