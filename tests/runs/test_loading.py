"""Runs that are loaded by values which name no device and no checkpoint."""

import shlex

import pytest
import torch
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.errors import HyperframeError, HyperframeWarning, RunError
from hyperframe.types import Data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    settings = {**PERCEPTRON, "trainer.steps": 1}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "a run").folder


@pytest.mark.parametrize("checkpoint", [None, 1.0, True, "1.0", "01", "9" * 5000])
def test_what_is_no_step_is_no_checkpoint(folder, checkpoint):
    with pytest.raises(HyperframeError, match="checkpoint: expected last, best or a step, but got"):
        hf.load(folder, device="cpu", checkpoint=checkpoint)


@pytest.mark.parametrize("device", [0, "", False])
def test_what_counts_as_false_is_not_the_device_auto(folder, device):
    with pytest.raises(HyperframeError, match=r"trainer\.device: expected"):
        hf.load(folder, device=device)


def test_a_step_is_taken_as_a_number_and_as_a_text(folder):
    assert hf.load(folder, device="cpu", checkpoint=1).step == hf.load(folder, device="cpu", checkpoint="1").step == 1


def test_a_command_that_a_message_names_can_be_pasted(folder):
    with pytest.raises(RunError) as caught:
        hf.train("digits_hypernetwork", {**PERCEPTRON, "trainer.steps": 1}, out=folder)
    assert f"'hyperframe train --resume {shlex.quote(str(folder))}'" in str(caught.value)


def test_bytes_become_no_other_numbers_to_be_checked_for_a_module_that_takes_them_all(folder, monkeypatch):
    run, given = hf.load(folder, device="cpu"), Data(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2))
    asked = []
    monkeypatch.setattr(run.experiment.task, "data", lambda split: given)
    monkeypatch.setattr(run.experiment.task, "check_labels", lambda labels, where: None)
    monkeypatch.setattr("hyperframe.runs.run.fingerprint_of", lambda data: "")
    monkeypatch.setattr(Data, "x", property(lambda data: asked.append(data) or data.kept))
    with pytest.warns(HyperframeWarning, match="not those that"):
        run.data("test")
    assert asked == []
