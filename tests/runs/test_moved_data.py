"""A run that is read: without its data where none are used, with data that have moved, and as it was trained."""

import json
import re
import shutil

import attrs
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import nn

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.builtin.tasks.arrays import Options, build
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, DataError, HyperframeWarning, RunError
from hyperframe.options import option
from hyperframe.runs.comparison import compare
from hyperframe.tasks.own_data.facts import MOMENTS, restore_task
from hyperframe.testing import checks

FAST = {**tiny.GENERATED, "trainer.steps": 2}
CLASSES = {**FAST, "target": "mlp", "target.hidden": [4], "target.input_shape": [5], "target.outputs": 3}
NET = """from torch import nn

def net():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
"""


def write_arrays(path, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    np.savez(path, x=rng.normal(size=(60, 5)).astype(np.float32), y=np.arange(60) % classes)


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A run on arrays that a relative path named, now elsewhere, and its data at a new place."""
    (tmp_path / "before").mkdir()
    monkeypatch.chdir(tmp_path / "before")
    write_arrays("mine.npz")
    hf.train("digits_hypernetwork", {**CLASSES, "task": "arrays", "task.file": "mine.npz"}, out="run")
    monkeypatch.chdir(tmp_path)
    shutil.move("before/run", "run")
    shutil.move("before/mine.npz", "new.npz")
    np.save("in.npy", np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32))
    return tmp_path / "run"


def test_paths_are_kept_absolute(tmp_path, moved):
    assert f"file: {tmp_path / 'before' / 'mine.npz'}" in (moved / "config.yaml").read_text()
    facts = json.loads((moved / "task.json").read_text())
    assert [len(facts.pop(name)) for name in MOMENTS] == [5, 5, 0, 0]
    assert facts == {
        "kind": "classification",
        "input_shape": [5],
        "num_outputs": 3,
        "output_places": [],
        "classes": [],
        "pixels": False,
    }


@pytest.mark.slow
def test_what_needs_no_data_needs_none(tmp_path, moved, hyperframe):
    code, out, err = hyperframe("sample", "run", "--out", "nets")
    assert (code, out) == (0, "4 networks written to nets\n")
    assert "networks that are written work on standardised inputs" in err
    for options in ([], ["--samples", "nets"]):
        code, out, err = hyperframe("predict", "run", "in.npy", "--json", *options)
        assert (code, err) == (0, "")
        assert len(json.loads(out)["examples"][0]["probabilities"]) == 3
    assert hf.load(moved).sample(2).predict(torch.zeros(1, 5)).shape == (2, 1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["evaluate", "run"], ["analyse", "run", "ensembles"], ["report", "run"]])
def test_what_needs_them_says_how_to_say_where_they_lie(tmp_path, moved, hyperframe, command):
    old = tmp_path / "before" / "mine.npz"
    code, out, err = hyperframe(*command)
    assert (code, out) == (2, "")
    assert f"there is no file {old}. The run has task.file={old}; where the data lie elsewhere now, override" in err
    assert "override that: task.file=PATH" in err
    code, out, err = hyperframe(*command, "task.file=new.npz")
    assert (code, err) == (0, "")


@pytest.mark.slow
def test_other_commands_and_the_library_take_the_place_too(tmp_path, moved, hyperframe):
    shutil.copytree(moved, tmp_path / "other")
    results = hf.load(moved, {"task.file": "new.npz"}).evaluate()
    assert results["examples"] == 6
    for command in (
        ["compare", "run", "other", "task.file=new.npz"],
        ["distill", "run", "task.file=new.npz", "--method", "average", "--out", "a.safetensors"],
        ["sample", "run", "task.file=new.npz", "--out", "nets"],
        ["predict", "run", "in.npy", "task.file=new.npz"],
    ):
        code, _, err = hyperframe(*command)
        told = [line for line in err.splitlines() if "networks that are written work on standardised" not in line]
        assert (code, told) == (0, []), command
    digits = hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "digits")
    rows = compare([moved, digits.folder], make_registry(), 2, overrides={"task.file": "new.npz"})["runs"]
    assert [row["task"] for row in rows] == ["arrays", "digits"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.rate=1",
            "trainer.rate: a run is read as it was trained; only where its data lie can be overridden: task",
        ),
        ("task.split_seed=1", "task.split_seed: a run is read as it was trained; .* overridden: task.file"),
        ("task.folder=new.npz", "task.folder: a run is read as it was trained"),
        ("task.file=3", "task.file: expected a text or null, but got 3"),
        ("task.file=none.npz", "there is no file none.npz. The run has task.file=none.npz"),
        ("task.file=run", "there is no file run"),
    ],
)
def test_mistakes(moved, hyperframe, override, message):
    for command in ("evaluate", "report"):
        code, out, err = hyperframe(command, "run", override)
        assert (code, out) == (2, "")
        assert re.search(message, err), err
        assert "Traceback" not in err
    assert hyperframe("compare", "run", "run", override)[0] == 2


def test_a_run_without_data_elsewhere_says_so(tmp_path, hyperframe):
    hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "run")
    code, _, err = hyperframe("evaluate", "run", "task.file=a.npz")
    assert code == 2
    assert "only where its data lie can be overridden: this run has no key for that" in err
    code, _, err = hyperframe("predict", "run", "task.file=a.npz")
    assert code == 2
    assert "Missing argument 'FILE...'" in err


@pytest.mark.slow
def test_statistics_need_training_data_and_say_so(tmp_path, hyperframe):
    write_arrays(tmp_path / "mine.npz")
    (tmp_path / "own.py").write_text(NET)
    texts = [f"{key}={json.dumps(value)}" for key, value in FAST.items()]
    code, _, _ = hyperframe("train", "task=arrays", "task.file=mine.npz", "target=own:net", *texts, "--out", "run")
    assert code == 0
    assert hyperframe("sample", "run", "--target", "own:net", "--out", "nets")[0] == 0
    shutil.move(tmp_path / "mine.npz", tmp_path / "new.npz")
    np.save(tmp_path / "in.npy", np.zeros((2, 5), np.float32))
    for command in (["sample", "run", "--out", "b"], ["predict", "run", "in.npy"]):
        code, out, err = hyperframe(*command, "--target", "own:net")
        assert (code, out) == (2, "")
        assert "the statistics of the target's normalisations are estimated from training data" in err
        assert "override that: task.file=PATH" in err
        assert hyperframe(*command, "--target", "own:net", "task.file=new.npz")[0] == 0
    assert (tmp_path / "b").read_bytes() == (tmp_path / "nets").read_bytes()
    assert hyperframe("predict", "run", "in.npy", "--target", "own:net", "--samples", "nets")[0] == 0


def test_data_that_are_others_are_told(tmp_path, moved):
    write_arrays(tmp_path / "others.npz", seed=5)
    with pytest.warns(HyperframeWarning, match="the data are not those that .*run was trained on"):
        hf.load(moved, {"task.file": "others.npz"}).evaluate()
    write_arrays(tmp_path / "more.npz", classes=4)
    with pytest.raises(DataError, match="the data are not those that the run was trained on: num_outputs is 4, was 3"):
        hf.load(moved, {"task.file": "more.npz"}).evaluate()


@pytest.mark.parametrize(
    "content", ['{"kind": "x"}', "{", "[1]", '{"kind": "regression", "input_shape": [-5], "num_outputs": 3}']
)
def test_what_the_folder_keeps_of_the_task_is_checked(moved, content):
    (moved / "task.json").write_text(content)
    with pytest.raises(RunError, match=r"task.json"):
        hf.load(moved)


def test_an_older_run_reads_its_data(moved):
    (moved / "task.json").unlink()
    with pytest.raises(DataError, match="there is no file"):
        hf.load(moved)
    assert hf.load(moved, {"task.file": "new.npz"}).evaluate()["examples"] == 6


@pytest.mark.slow
def test_images_that_have_moved(tmp_path, hyperframe):
    for number, name in enumerate(["ant", "bee"]):
        (tmp_path / "images" / name).mkdir(parents=True)
        for item in range(10):
            Image.fromarray(np.full((8, 8, 3), 20 * item + number, np.uint8)).save(
                tmp_path / f"images/{name}/{item}.png"
            )
    shapes = {"target": "mlp", "target.hidden": [4], "target.input_shape": [3, 8, 8], "target.outputs": 2}
    texts = [f"{key}={json.dumps(value)}" for key, value in {**FAST, **shapes}.items()]
    command = ["train", "task=image_folder", "task.folder=images", "task.size=[8,8]", *texts, "--out", "run"]
    assert hyperframe(*command)[0] == 0
    shutil.move(tmp_path / "images", tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "ant" / "0.png", tmp_path)
    assert hyperframe("predict", "run", "0.png")[0] == 0
    assert hf.load(tmp_path / "run").experiment.task.classes == ["ant", "bee"]
    assert "override that: task.folder=PATH" in hyperframe("evaluate", "run")[2]
    assert hyperframe("evaluate", "run", "task.folder=photos")[0] == 0
    (tmp_path / "photos" / "bee").rename(tmp_path / "photos" / "cow")
    code, _, err = hyperframe("evaluate", "run", "task.folder=photos")
    assert code == 2
    assert "the data are not those that the run was trained on: classes is ['ant', 'cow'], was ['ant', 'bee']" in err


def test_a_gauges_file_is_a_location_too(tmp_path, monkeypatch):
    first = hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "first")
    first.write_samples(tmp_path / "nets", 1)
    monkeypatch.chdir(tmp_path)
    gauges = [{"name": "permutation_match", "reference": "nets"}]
    run = hf.train(
        "digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 2, "gauges": gauges}, out=tmp_path / "run"
    )
    assert run.config.locations == {"gauges.0.reference": str(tmp_path / "nets")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(hf.load(run.folder).sample(2)) == 2
    (tmp_path / "nets").rename(tmp_path / "nets2")
    assert len(hf.load(run.folder, {"gauges.0.reference": str(tmp_path / "nets2")}).sample(2)) == 2


# What a run is


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("split_seed: 0", "split_seed: 3", "task.split_seed: 0 → 3"),
        ("activation: leaky_relu", "activation: relu", "generator.activation|target.activation"),
        ("seed: 0\nevaluation", "seed: 5\nevaluation", "trainer.seed: 0 → 5"),
    ],
)
def test_a_configuration_that_was_edited_is_refused(tmp_path, hyperframe, old, new, key):
    run = hf.train("digits_hypernetwork", {**tiny.PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "run")
    text = (run.folder / "config.yaml").read_text()
    if old not in text:
        pytest.fail(text)
    (run.folder / "config.yaml").write_text(text.replace(old, new, 1))
    np.save(tmp_path / "in.npy", np.zeros((2, 1, 8, 8), np.float32))
    commands = [["evaluate", "run"], ["sample", "run", "--out", "a"], ["predict", "run", "in.npy"], ["report", "run"]]
    for command in [*commands, ["train", "--resume", "run", "trainer.steps=3"]]:
        code, out, err = hyperframe(*command)
        assert (code, out) == (2, ""), command
        assert re.search(rf"config.yaml is not what the run was trained with \(({key})", err), err
        assert "put that back, or train a new run" in err


class Items(hf.ClassificationTask):
    """A task of a third party that says with one option where its data lie."""

    name, input_shape, num_outputs = "examples", (5,), 3

    def __init__(self, options):
        self.options = options

    def data(self, split):
        seed = {"train": 0, "validation": 1, "test": 2}[split]
        x = torch.randn(20, 5, generator=torch.Generator().manual_seed(seed))
        return hf.Data(x * (2 if self.options.place == "b" else 1), torch.arange(20) % 3)


@attrs.frozen(kw_only=True)
class Place:
    place: str | None = option(None, "where it lies", location=True)


class Shop:
    @hf.hookimpl
    def hyperframe_tasks(self):
        return [hf.Component(name="examples", factory=Items, options=Place)]


def test_options_of_third_parties_can_say_where_data_lie(tmp_path):
    registry = make_registry([Shop()])
    assert load_config("digits_hypernetwork", ["task=examples"], registry).locations == {"task.place": None}
    run = hf.train("digits_hypernetwork", {**CLASSES, "task": "examples"}, out=tmp_path / "run", registry=registry)
    with pytest.warns(HyperframeWarning, match="the data are not those"):
        hf.load(run.folder, {"task.place": "b"}, registry=registry).evaluate()
    hf.load(run.folder, {"task.place": "c"}, registry=registry).evaluate()
    with pytest.raises(ConfigError, match=r"only where its data lie can be overridden: task.place"):
        hf.load(run.folder, {"task": "digits"}, registry=registry)


def test_a_norm_is_all_that_needs_training_data(tmp_path, monkeypatch):
    """`evaluate` of a target without statistics looks at no training data."""
    registry = make_registry([Shop()])
    run = hf.train("digits_hypernetwork", {**CLASSES, "task": "examples"}, out=tmp_path / "run", registry=registry)
    data = Items.data

    def only_tests(self, split):
        if split != "test":
            raise DataError("gone")
        return data(self, split)

    monkeypatch.setattr(Items, "data", only_tests)
    assert hf.load(run.folder, registry=registry).evaluate()["examples"] == 20
    assert isinstance(run.experiment.target.module, nn.Module)


class Forgetful:
    """Registers a task whose restore says something else than the data do, in one way."""

    def __init__(self, wrong):
        def restore(options, facts):
            task = restore_task("arrays", facts, lambda heads: build(options, heads))
            wrong(task)
            return task

        self._component = hf.Component(name="wrong", factory=build, options=Options, restore=restore)

    @hf.hookimpl
    def hyperframe_tasks(self):
        return [self._component]


RESTORED = {
    "right": lambda task: None,
    "classes": lambda task: setattr(task, "num_outputs", 4),
    "predictions": lambda task: setattr(task, "predictions", torch.sigmoid),
    "data": lambda task: setattr(task, "data", lambda split: hf.Data(torch.zeros(2, 5), torch.zeros(2).long())),
}


@pytest.mark.parametrize("name", RESTORED)
def test_the_kit_compares_what_is_restored(tmp_path, name):
    write_arrays(tmp_path / "mine.npz")
    registry = make_registry([Forgetful(RESTORED[name])])
    options = {"file": str(tmp_path / "mine.npz")}
    (law,) = [
        check for check in checks("wrong", options, kind="task", registry=registry) if check.law.name == "is_restored"
    ]
    assert law.verdict().state == ("passed" if name == "right" else "failed")
