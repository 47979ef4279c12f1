"""Networks that are not finite numbers are refused at every door, with one message and nothing half written."""

import json
import re

import numpy as np
import pytest
import safetensors.torch
import torch

import hyperframe as hf
from hyperframe.errors import DataError, DivergedError, HyperframeWarning
from hyperframe.networks.sampled import Networks, select
from hyperframe.runs.checkpoints import read_checkpoint, write_checkpoint

HELD = 3
SETTINGS = {
    "target": "mlp",
    "target.hidden": [6],
    "generator": "direct",
    "generator.networks": HELD,
    "trainer.networks": HELD,
    "trainer.steps": 2,
    "trainer.batch_size": 8,
    "trainer.device": "cpu",
    "diversity": ["none"],
    "evaluation.networks": HELD,
}
"""A generator whose parameters are the networks themselves, so that one of them can be damaged."""


def filled(value, networks):
    """The generator's parameters where some networks' weights are this value."""

    def change(parameter):
        parameter = parameter.clone()
        if parameter.is_floating_point() and len(parameter) == HELD:
            parameter[networks] = value
        return parameter

    return change


CASES = {
    "NaN": (filled(float("nan"), slice(None)), r"weights of 3 of 3 networks \(number 0, 1, 2\)"),
    "infinite": (filled(float("inf"), slice(None)), "weights of 3 of 3 networks"),
    "too large": (filled(1e30, slice(None)), "outputs of 3 of 3 networks"),
    "one of them": (filled(float("nan"), 1), r"weights of 1 of 3 networks \(number 1\)"),
    "one is too large": (filled(1e30, 2), r"outputs of 1 of 3 networks \(number 2\)"),
}


@pytest.fixture
def run(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 1, 8, 8), np.float32))
    return hf.train("digits", SETTINGS, out=tmp_path / "run")


def damage(run, change):
    found = read_checkpoint(run.folder, 2)
    state = {name: change(value) for name, value in found.generator().items()}
    write_checkpoint(
        run.folder, 2, state, found.trainer(), {key: found.state[key] for key in ("data", "gradient_evaluations")}
    )


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if ".lock" not in path.name)


COMMANDS = [
    ["evaluate", "run"],
    ["evaluate", "run", "--json"],
    ["analyse", "run", "ensembles"],
    ["predict", "run", "x.npy", "--out", "out.npz"],
    ["sample", "run", "--out", "nets.safetensors"],
    ["sample", "run", "--split", "nets"],
    ["sample", "run", "--gauge", "--out", "nets.safetensors"],
    ["compare", "run", "other"],
    ["distill", "run", "--out", "one.safetensors", "--method", "average"],
    ["report", "run"],
]


EXACT = ("evaluate", "predict", "sample", "compare")
"""Commands that name all networks that were asked for; analyses and averages look at others."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_command_refuses_them(tmp_path, run, hyperframe, name):
    change, message = CASES[name]
    damage(run, change)
    (tmp_path / "other").mkdir()
    for path in ("config.yaml", "provenance.json"):
        (tmp_path / "other" / path).write_bytes((run.folder / path).read_bytes())
    (tmp_path / "other" / "checkpoints").symlink_to(run.folder / "checkpoints")
    before = listed(tmp_path)
    for command in COMMANDS if name.startswith("one") else COMMANDS[::3]:
        code, out, err = hyperframe(*command)
        assert (code, out) == (2, ""), command
        (line,) = [line for line in err.splitlines() if line.startswith("hyperframe: ") and "left out" not in line]
        assert "run, step 2: " in line
        assert "the training has diverged, or the file is damaged. Take another checkpoint" in line
        exact = command[0] in EXACT and "--gauge" not in command
        assert re.search(message if exact else r"(weights|outputs) of \d of \d networks?", line), line
        assert "Traceback" not in err
    assert [path for path in listed(tmp_path) if path not in before] in ([], ["run/analyses"])


@pytest.mark.slow
def test_a_file_of_networks_that_was_damaged(tmp_path, run, hyperframe):
    path = run.write_samples(tmp_path / "nets", HELD)
    with safetensors.safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    tensors["1.bias"][2] = float("inf")
    safetensors.torch.save_file(tensors, str(path), metadata)
    for command in (["evaluate", "run"], ["predict", "run", "x.npy"]):
        code, out, err = hyperframe(*command, "--samples", "nets")
        assert (code, out) == (2, "")
        assert "nets: weights of 1 of 3 networks (number 2) are not finite numbers" in err


def test_outputs_that_overflow_on_the_inputs_at_hand(run):
    nets = run.sample(HELD)
    nets.weights = {
        name: value * (1 + 1e17 * torch.eye(HELD)[1, :, None, None]) for name, value in nets.weights.items()
    }
    nets.check_finite()
    nets.trained_inputs = None  # else inputs of this size are refused before
    x = torch.full((2, 1, 8, 8), 1e15)
    for ask in (nets.predict, nets.mean, nets.vote, nets.summary):
        with pytest.raises(DivergedError, match=r"step 2: outputs of 1 of 3 networks \(number 1\)"):
            ask(x)
    with pytest.raises(DivergedError, match=r"outputs of 1 of 1 network \(number 0\)"):
        select(nets, slice(1, 2)).predict(x)
    assert nets.predict(x / 1e15).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_are_not_said_to_be_the_networks_fault(run, value):
    nets, x = run.sample(HELD), torch.zeros(3, 1, 8, 8)
    x[1, 0, 2, 2] = value
    for ask in (nets.predict, nets.mean, nets.vote, nets.summary):
        with pytest.raises(DataError, match=r"x holds NaN or infinite values .* in 1 of 3 examples, .* is example 1"):
            ask(x)


def test_many_are_not_all_listed(run):
    weights = {name: value[:1].expand(9, *value.shape[1:]) / 0 for name, value in run.sample(1).weights.items()}
    nets = Networks(run.experiment.target, run.experiment.task, weights)
    with pytest.raises(DivergedError, match=r"weights of 9 of 9 networks \(number 0, 1, 2, 3, 4, …\)"):
        nets.check_weights()


def test_a_training_goes_on_where_a_validation_overflows(tmp_path, monkeypatch):
    from hyperframe.experiment.evaluation import networks_of

    def large(experiment, weights, seed, train):
        return networks_of(experiment, {name: 1e30 * value for name, value in weights.items()}, seed, train)

    monkeypatch.setattr("hyperframe.experiment.evaluation.networks_of", large)
    with pytest.warns(HyperframeWarning, match="step 2 is not validated: outputs of 3 of 3 networks"):
        run = hf.train("digits", SETTINGS, out=tmp_path / "run")
    assert run.finished
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert not [line for line in lines if "validation" in line]
