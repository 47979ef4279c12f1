"""Paths that a user gives: `~` is the home folder, and files have names that say what they hold."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hyperframe as hf
from hyperframe.errors import RunError

SMALL = ["trainer.steps=1", "trainer.networks=2", "evaluation.networks=2", "evaluation.test_networks=2"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    yield home
    assert not list(elsewhere.glob("~*")), "a folder called ~ was made"


@pytest.mark.slow
def test_the_home_folder_is_meant_everywhere(home, hyperframe):
    (home / "own.yaml").write_text("task: digits\ntarget: digits_cnn\ngenerator: mlp\n")
    generator = np.random.default_rng(0)
    np.savez(home / "own.npz", x=generator.normal(size=(60, 1, 8, 8)).astype("float32"), y=np.arange(60) % 10)
    np.save(home / "x.npy", np.zeros((2, 1, 8, 8), dtype="float32"))
    own = ["task=arrays", "task.file=~/own.npz"]
    assert hyperframe("train", "~/own.yaml", *own, *SMALL, "--out", "~/runs/a")[0] == 0
    assert hyperframe("train", "--resume", "~/runs/a", "trainer.steps=2")[0] == 0
    shutil.copytree(home / "runs" / "a", home / "runs" / "b")
    for command in (
        ["runs", "~/runs"],
        ["evaluate", "~/runs/a", "-n", "2", *own[1:]],
        ["sample", "~/runs/a", "-n", "2", "--out", "~/two.safetensors"],
        ["sample", "~/runs/a", "-n", "2", "--split", "~/two"],
        ["predict", "~/runs/a", "~/x.npy", "--samples", "~/two.safetensors", "--out", "~/figures.npz"],
        ["distill", "~/runs/a", "--method", "average", "-n", "2", "--out", "~/one.safetensors"],
        ["describe", "--config", "~/own.yaml"],
        ["compare", "~/runs/a", "~/runs/b", "-n", "2", "--out", "~/compared.png"],
    ):
        code, _, err = hyperframe(*command)
        assert code == 0, (command, err)
    made = {"two.safetensors", "two", "figures.npz", "one.safetensors", "compared.png", "runs"}
    assert made <= {path.name for path in home.iterdir()}


@pytest.mark.slow
def test_python_expands_it_too(home):
    settings = {"trainer.steps": 2, "trainer.networks": 2, "evaluation.networks": 2, "trainer.stop_after": 1}
    run = hf.train("digits_hypernetwork", settings, out="~/runs/b")
    assert run.folder == home / "runs" / "b"
    assert hf.load("~/runs/b").write_samples("~/s.safetensors", 2) == home / "s.safetensors"
    assert len(hf.load("~/runs/b").read_samples("~/s.safetensors")) == 2
    assert hf.resume("~/runs/b").step == 2


@pytest.mark.parametrize("name", ["s.pt", "s.npz", "s.safetensors.bak"])
def test_networks_are_not_written_under_a_wrong_name(home, name):
    run = hf.train(
        "digits_hypernetwork", {"trainer.steps": 1, "trainer.networks": 2, "evaluation.networks": 2}, out="run"
    )
    with pytest.raises(RunError, match=f"{name}: networks are written as safetensors; name a file"):
        run.write_samples(name, 2)
    assert not (home.parent / "elsewhere" / name).exists()
    written = load_file(run.write_samples("s.safetensors", 2))
    assert all(value.shape[0] == 2 and torch.isfinite(value).all() for value in written.values())
