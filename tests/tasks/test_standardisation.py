"""Standardised inputs of tables and labels of regressions: kept with the run, and applied wherever networks run."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

import hyperframe as hf
from hyperframe.errors import HyperframeWarning, RunError
from hyperframe.tasks.own_data.arrays import OwnOptions, own_task
from hyperframe.tasks.standardisation import Standardisation

SETTINGS = {
    "trainer.device": "cpu",
    "trainer.threads": 1,
    "trainer.steps": 20,
    "trainer.networks": 4,
    "trainer.rate": 1e-2,
    "evaluation.networks": 2,
    "evaluation.test_networks": 5,
    "generator": {"name": "mlp", "latent": 4, "hidden": [16]},
    "gauges": [],
    "entropy": "gaussian",
}


def table(examples=120, features=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, features))
    return x, np.sin(x[:, :1]) + x[:, 1:2]


def net(outputs=1, features=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, outputs))


def trained(x, y, folder, **settings):
    return hf.train(overrides={**SETTINGS, **settings}, module=net(), data=(x, y), out=folder)


@given(
    scale=st.sampled_from([2.0**-80, 2.0**-10, 1.0, 2.0**20, 2.0**80]),
    shift=st.sampled_from([-1e6, 0.0, 3.0]),
    seed=st.integers(0, 2**31),
)
def test_units_change_nothing_of_what_is_standardised(scale, shift, seed):
    values = torch.randn(9, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = scale * (values + shift)
    found = Standardisation.of(moved)
    wanted = Standardisation.of(values).apply(values)
    assert torch.allclose(found.apply(moved), wanted, rtol=0, atol=1e-12 * (1 + abs(shift)))
    assert torch.allclose(found.undo(found.apply(moved)), moved, rtol=1e-12, atol=0)


def test_what_does_not_vary_is_not_scaled():
    values = torch.tensor([[0.1, 1e-40], [0.1, 2e-40], [0.1, 1e-40]], dtype=torch.float64)  # 0.1: rounding of a mean
    assert Standardisation.of(values).std.tolist() == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "shift"), [(2.0**20, 0.0), (2.0**-20, 0.0), (1.0, 1e6), (1e-3, -5.0)])
def test_units_of_labels_change_only_the_units_of_predictions(tmp_path, scale, shift):
    x, y = table()
    one, other = (trained(x, labels, tmp_path / name) for name, labels in (("a", y), ("b", scale * y + shift)))
    before, after = one.evaluate(), other.evaluate()
    exact = shift == 0.0
    assert after["ensemble"]["r2"] == pytest.approx(before["ensemble"]["r2"], rel=0 if exact else 1e-3, abs=0)
    assert after["loss"] == pytest.approx(before["loss"], rel=0 if exact else 1e-3)
    for figure in ("rmse", "spread"):
        wanted = scale * before["ensemble"][figure]
        assert after["ensemble"][figure] == pytest.approx(wanted, rel=1e-12 if exact else 1e-3)
    assert before["ensemble"]["r2"] > 0.3  # it has learnt something, whatever the units
    own, moved = (run.sample(3).predict(x) for run in (one, other))
    assert torch.allclose(moved.double(), scale * own.double() + shift, rtol=1e-6, atol=5e-3 * scale)
    test = other.data("test")
    error = (other.sample(5).mean(test.x) - test.y).square().mean().sqrt()  # both in the user's units
    assert after["ensemble"]["rmse"] == pytest.approx(float(error), rel=1e-2)


@pytest.mark.slow
def test_units_of_a_table_change_nothing(tmp_path):
    x, y = table()
    units, zero = np.array([2.0**12, 2.0**-9, 1.0]), np.array([2.0**14, 0.0, 0.0])
    one, other = (trained(inputs, y, tmp_path / name) for name, inputs in (("a", x), ("b", units * x + zero)))
    first, second = one.sample(3), other.sample(3)
    assert torch.allclose(first.predict(x), second.predict(units * x + zero), atol=2e-3)
    assert torch.equal(
        first[1](torch.tensor(x).float()), one.experiment.target.network(first.weights, 1)(torch.tensor(x).float())
    )
    assert one.evaluate()["loss"] == pytest.approx(other.evaluate()["loss"], rel=1e-2)
    raw = trained(units * x + zero, y, tmp_path / "raw", **{"task.standardise": False})
    assert raw.experiment.target.inputs is None
    assert raw.evaluate()["loss"] > 2 * other.evaluate()["loss"]  # which is what it is for


def test_images_stay_as_they_are():
    x = np.random.default_rng(0).normal(size=(40, 1, 4, 4))
    assert own_task("own", {"x": x, "y": np.arange(40) % 3}, OwnOptions()).standardised_inputs is None


def test_features_that_float32_cannot_tell_apart_are_named():
    x, y = table()
    with pytest.warns(
        HyperframeWarning, match="1 of 3 features hardly vary for their size, the first is number 1 with"
    ):
        own_task("own", {"x": x + np.array([0, 1e9, 0]), "y": y}, OwnOptions())


@pytest.fixture(scope="module")
def on_file(tmp_path_factory):
    """A run on a file of a table whose features and labels have sizes of their own."""
    folder = tmp_path_factory.mktemp("table")
    x, y = table()
    x, y = x * [100, 1, 0.01] + [1000, 0, 0], 50 * y + 700
    np.savez(folder / "own.npz", x=x, y=y)
    np.save(folder / "new.npy", x[:7])
    choices = {"task": "arrays", "task.file": str(folder / "own.npz"), "target": "mlp"}
    sizes = {"target.hidden": [8], "target.input_shape": [3], "target.outputs": 1}
    hf.train("digits", {**SETTINGS, **choices, **sizes}, out=folder / "run")
    return folder


def test_predictions_of_files_are_those_of_the_run_without_its_data(on_file, tmp_path, hyperframe):
    run = hf.load(on_file / "run", device="cpu")
    wanted = run.sample(5).mean(np.load(on_file / "new.npy"))
    shutil.copytree(on_file / "run", tmp_path / "copy")
    shutil.copy(on_file / "own.npz", tmp_path / "hidden.npz")
    code, out, err = hyperframe("predict", str(tmp_path / "copy"), str(on_file / "new.npy"), "--json", "-n", "5")
    assert (code, err) == (0, "")
    found = torch.tensor([item["mean"] for item in json.loads(out)["examples"]])
    assert torch.allclose(found, wanted, rtol=1e-6)
    assert 500 < float(found.mean()) < 900


def test_files_of_networks_say_what_they_take_and_give(on_file, tmp_path):
    run = hf.load(on_file / "run", device="cpu")
    with pytest.warns(HyperframeWarning, match="work on standardised inputs and outputs"):
        path = run.write_samples(tmp_path / "nets.safetensors", 2)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["hyperframe"])
        weights = {name: file.get_tensor(name)[1] for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    module = nn.Sequential(nn.Flatten(), *net())
    module.load_state_dict(weights)
    x = torch.from_numpy(np.load(on_file / "new.npy")).float()
    mean, std = (torch.tensor(header["inputs"][name]) for name in ("mean", "std"))
    own_mean, own_std = (torch.tensor(header["outputs"][name]) for name in ("mean", "std"))
    found = module((x - mean) / std) * own_std + own_mean
    assert torch.allclose(found, run.sample(2).predict(x)[1], rtol=1e-5)
    assert torch.equal(run.read_samples(path).predict(x), run.sample(2).predict(x))


def test_other_data_are_standardised_as_those_of_the_training(on_file, tmp_path):
    run = hf.load(on_file / "run", device="cpu")
    x, y = (np.load(on_file / "own.npz")[name] for name in ("x", "y"))
    np.savez(tmp_path / "other.npz", x=2 * x, y=2 * y)
    other = hf.load(on_file / "run", {"task.file": str(tmp_path / "other.npz")}, device="cpu")
    assert torch.equal(other.experiment.target.inputs.mean, run.experiment.target.inputs.mean)
    assert torch.equal(other.sample(2).predict(x), run.sample(2).predict(x))
    with pytest.warns(HyperframeWarning, match="the data are not those that"):
        assert torch.equal(other.data("test").y, 2 * run.data("test").y)


@pytest.mark.parametrize(
    ("key", "value"), [("input_std", [1.0, 0.0, 1.0]), ("label_std", []), ("input_mean", [1.0]), ("label_mean", ["a"])]
)
def test_a_damaged_standardisation_is_one_message(on_file, tmp_path, key, value):
    shutil.copytree(on_file / "run", tmp_path / "copy")
    path = tmp_path / "copy" / "task.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(RunError, match=r"task\.json is damaged"):
        hf.load(tmp_path / "copy")
