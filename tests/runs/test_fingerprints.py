"""Data and code that change behind a run are told, by every command that reads it, and nothing is loaded for that."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import hyperframe as hf
from hyperframe.errors import DataError, HyperframeWarning
from hyperframe.experiment.targets import traced_target
from hyperframe.runs import fingerprints
from hyperframe.runs.fingerprints import TOLERANCE, computes_otherwise, difference, fingerprint_of, probe_outputs
from hyperframe.types import Data

SETTINGS = {
    "trainer.device": "cpu",
    "trainer.threads": 1,
    "trainer.steps": 3,
    "trainer.networks": 4,
    "evaluation.networks": 2,
    "evaluation.test_networks": 3,
    "generator": {"name": "mlp", "latent": 4, "hidden": [4]},
    "gauges": [],
    "entropy": "gaussian",
}
CODE = "the target's code is not that which"
OTHERS = "the data are not those that"


class Scaled(nn.Module):
    """A network whose forward has a constant that no tensor shows."""

    def __init__(self, constant=0.5):
        super().__init__()
        self.constant = constant
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)) * self.constant)


def target_of(module, shape=(5,)):
    return traced_target(hf.trace(module, list(shape)))


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    splits = {"": 40, "_validation": 20, "_test": 30}
    xs = {f"x{name}": rng.normal(size=(examples, 5)) for name, examples in splits.items()}
    return xs | {f"y{name}": np.arange(examples) % 3 for name, examples in splits.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a file, and the file with one number of each split changed."""
    place = tmp_path_factory.mktemp("fingerprints")
    np.savez(place / "own.npz", **arrays())
    for split in ("", "_validation", "_test"):
        changed = arrays()
        changed[f"x{split}"][7, 2] += 1e-3
        np.savez(place / f"other{split}.npz", **changed)
    np.save(place / "in.npy", arrays()["x"])
    choices = {"task": "arrays", "task.file": str(place / "own.npz"), "target": "mlp", "target.hidden": [4]}
    pauses = {"trainer.steps": 6, "trainer.stop_after": 3}
    hf.train("digits", {**SETTINGS, **choices, **pauses}, out=place / "run")
    return place


def test_a_single_number_a_type_and_an_order_are_seen():
    data = Data(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9))
    before = fingerprint_of(data)
    assert fingerprint_of(Data(data.x.clone(), data.y.clone())) == before
    assert fingerprint_of(Data(data.x.t().contiguous().t(), data.y)) == before  # the layout in memory is no content
    nearly = data.x.clone()
    nearly[8, 3] = torch.nextafter(nearly[8, 3], torch.tensor(9.0))
    for other in (Data(nearly, data.y), Data(data.x.flip(1), data.y), Data(data.x, data.y.int()), data[:8]):
        assert fingerprint_of(other) != before


def test_of_large_data_evenly_spaced_items_are_looked_at(monkeypatch):
    data = Data(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)), torch.arange(100))
    monkeypatch.setattr(fingerprints, "LARGEST", 100 * (16 + 8) // 10)
    before = fingerprint_of(data)
    assert fingerprint_of(data[:99]) != before
    for item, seen in ((10, True), (11, False)):
        other = data.x.clone()
        other[item] += 1
        assert (fingerprint_of(Data(other, data.y)) != before) == seen


@pytest.mark.slow
def test_the_same_code_gives_the_same_probe_and_rounding_is_no_change():
    before = probe_outputs(target_of(Scaled()))
    assert probe_outputs(target_of(Scaled())) == before
    rounded = [value * (1 + 1e-7) for value in before]
    assert computes_otherwise(rounded, probe_outputs(target_of(Scaled()))) is None
    assert difference(before, rounded) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("constant", [0.501, -0.5, 0.0, 0.5 * (1 + 1e-4)])
def test_another_constant_is_seen(constant):
    before = probe_outputs(target_of(Scaled()))
    assert "outputs differ by" in computes_otherwise(before, probe_outputs(target_of(Scaled(constant))))


@pytest.mark.slow
def test_networks_that_ask_for_a_precision_have_a_probe():
    class Casts(nn.Module):
        def __init__(self, constant):
            super().__init__()
            self.constant, self.out = constant, nn.Linear(5, 3)

        def forward(self, x):
            return self.out(x.float() + torch.full((5,), self.constant))

    before = probe_outputs(target_of(Casts(1.0)))
    assert computes_otherwise(before, probe_outputs(target_of(Casts(1.0)))) is None
    assert computes_otherwise(before, probe_outputs(target_of(Casts(1.1)))) is not None


@pytest.mark.parametrize("recorded", [None, "abc", {"a": 1}, [[1.0]], ["x"]])
def test_what_is_no_probe_says_nothing(recorded):
    assert computes_otherwise(recorded, probe_outputs(target_of(Scaled()))) is None


@pytest.mark.slow
def test_numbers_that_are_none_differ():
    here = probe_outputs(target_of(Scaled()))
    assert computes_otherwise([None] * len(here), probe_outputs(target_of(Scaled()))) is not None
    assert computes_otherwise(here[:-1], probe_outputs(target_of(Scaled()))) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reads", "command"),
    [
        (["test"], ["evaluate", "run"]),
        (["test"], ["compare", "run", "copy"]),
        (["test"], ["distill", "run", "--method", "average", "--out", "one.safetensors"]),
        (["train", "test"], ["distill", "run", "--steps", "2", "--out", "two.safetensors"]),
        (["validation"], ["evaluate", "run", "--split", "validation"]),
        (["test"], ["analyse", "run", "accuracies"]),
    ],
)
def test_commands_that_read_a_split_say_that_it_is_another(folder, tmp_path, hyperframe, reads, command):
    for name in ("run", "copy"):
        shutil.copytree(folder / "run", tmp_path / name)
    for split, other in (("train", ""), ("validation", "_validation"), ("test", "_test")):
        given = [argument.replace(".safetensors", f"{other}.safetensors") for argument in command]
        code, _, err = hyperframe(*given, f"task.file={folder / f'other{other}.npz'}")
        assert code == 0, err
        runs = ["run", "copy"] if "copy" in command else ["run"]
        assert err.count(OTHERS) == (len(runs) if split in reads else 0), (command, split, err)
        assert all((f"{run} was trained on: split '{split}' is" in err) == (split in reads) for run in runs)


def test_commands_that_read_no_data_load_none(folder, tmp_path, hyperframe):
    shutil.copytree(folder / "run", tmp_path / "run")
    for command in (["sample", "run", "--out", "nets"], ["predict", "run", str(folder / "in.npy")]):
        code, _, err = hyperframe(*command, f"task.file={tmp_path / 'gone.npz'}")
        assert code == 0, err
        assert OTHERS not in err


def test_resuming_says_what_differs(folder, tmp_path):
    for split, said in (
        ("", r"not, bit for bit.*data\.train: \w+ → \w+"),
        ("_test", "the test split is not what it was"),
    ):
        shutil.copytree(folder / "run", tmp_path / f"run{split}")
        settings = {"task.file": str(folder / f"other{split}.npz")}
        with pytest.warns(HyperframeWarning) as told:
            hf.resume(tmp_path / f"run{split}", settings)
        assert len(told) == 1
        assert re.search(said, str(told[0].message))


@pytest.mark.slow
def test_changed_code_is_told_by_whatever_loads_the_run(tmp_path):
    data = (torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3)
    run = hf.train(overrides=SETTINGS, module=Scaled(), data=data, out=tmp_path / "run")
    hf.load(run.folder, module=Scaled(), data=data, device="cpu")  # warnings are errors: nothing is said
    with pytest.warns(HyperframeWarning, match=CODE):
        hf.load(run.folder, module=Scaled(0.6), data=data, device="cpu")
    with pytest.warns(HyperframeWarning, match="not, bit for bit.*the target's code: with the same weights, outputs"):
        hf.resume(run.folder, {"trainer.steps": 4}, module=Scaled(0.6), data=data)


class Constant(nn.Module):
    """A network with a constant that its run keeps."""

    def __init__(self, constant):
        super().__init__()
        self.register_buffer("constant", torch.tensor(constant))
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(x * self.constant)


@pytest.mark.slow
def test_a_run_that_goes_on_keeps_outputs_with_its_own_constants(tmp_path):
    data = (torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3)
    run = hf.train(overrides=SETTINGS, module=Constant(0.5), data=data, out=tmp_path / "run")
    with pytest.warns(HyperframeWarning, match=r"trainer.steps: 3 → 4") as told:
        hf.resume(run.folder, {"trainer.steps": 4}, module=Constant(0.6), data=data)
    assert len(told) == 1
    hf.load(run.folder, module=Constant(0.6), data=data, device="cpu")  # warnings are errors: nothing is said


@pytest.mark.slow
def test_changed_code_of_a_factory_is_told_by_every_command(tmp_path, hyperframe, monkeypatch):
    module = tmp_path / "changing.py"
    text = (
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, outputs):\n"
        "        super().__init__()\n        self.out = nn.Linear(64, outputs)\n\n    def forward(self, x):\n"
        "        return self.out(x.flatten(1) * 2.0)\n\n\ndef net(outputs: int):\n    return Net(outputs)\n"
    )
    module.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    settings = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    assert hyperframe("train", "target=changing:net", *settings, "--out", "run")[0] == 0
    np.save("in.npy", np.random.default_rng(0).uniform(size=(3, 1, 8, 8)).astype(np.float32))
    module.write_text(text.replace("2.0", "2.1"))
    for number, command in enumerate(
        (
            ["evaluate", "run"],
            ["predict", "run", "in.npy"],
            ["sample", "run", "--out", "nets"],
            ["compare", "run", "copy"],
            ["distill", "run", "--method", "average", "--out", "one.safetensors"],
            ["analyse", "run", "accuracies"],
            ["report", "run", "--analysis", "accuracies"],
        )
    ):
        own = [f"{number}{argument}" if argument in ("run", "copy") else argument for argument in command]
        for name in ("run", "copy"):
            shutil.copytree("run", f"{number}{name}")
        code, _, err = hyperframe(*own, "--target", "changing:net")
        assert code == 0, (command, err)
        assert err.count(CODE) == (2 if command[0] == "compare" else 1), command


@pytest.mark.slow
def test_handed_over_data_are_standardised_as_in_training(tmp_path):
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    run = hf.train(overrides=SETTINGS, module=Scaled(), data=(x, torch.arange(60) % 3), out=tmp_path / "run")
    loaded = hf.load(run.folder, module=Scaled(), data=(3 * x + 1, torch.arange(60) % 3), device="cpu")
    assert torch.equal(loaded.sample(2).predict(x), run.sample(2).predict(x))
    with pytest.warns(HyperframeWarning, match=OTHERS):
        loaded.evaluate()
    with pytest.raises(DataError, match="the data are not those that the run was trained on: num_outputs is 2, was 3"):
        hf.load(run.folder, module=Scaled(), data=(x, torch.arange(60) % 2), device="cpu")


def test_a_run_without_fingerprints_says_so_once(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    run = hf.load(tmp_path / "run", device="cpu")
    run.fingerprints = {}
    with pytest.warns(HyperframeWarning, match="keeps no fingerprint of split 'test'"):
        run.data("test")
    run.data("test")  # warnings are errors: it is said once
