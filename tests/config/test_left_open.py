"""Options of targets that are left to the task: how many outputs there are, and of what shape inputs are."""

import json

import attrs
import numpy as np
import pytest
import torch
from torch import nn

import hyperframe as hf
from hyperframe.config.import_path import Factories
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schema import load_config, read_config
from hyperframe.errors import ConfigError
from hyperframe.experiment.targets import build_target

FAST = {
    "trainer.device": "cpu",
    "trainer.threads": 1,
    "trainer.steps": 2,
    "trainer.networks": 4,
    "evaluation.networks": 2,
    "evaluation.test_networks": 2,
    "generator": {"name": "mlp", "latent": 4, "hidden": [4]},
    "gauges": [],
    "entropy": "gaussian",
}


def data(shape, classes):
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(40, *shape)).astype(np.float32), "y": np.arange(40) % classes}


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "own.npz", **data((5,), 3))
    return str(tmp_path / "own.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "shape"),
    [
        ("mlp", (5,)),
        ("lenet", (3, 32, 32)),
        ("resnet20", (2, 8, 8)),
        ("torchvision:squeezenet1_1", (3, 24, 24)),
        ("modules:small", (5,)),
    ],
)
def test_what_is_left_out_is_the_tasks(tmp_path, target, shape):
    np.savez(tmp_path / "own.npz", **data(shape, 3))
    registry = Registry(make_plugin_manager())
    registry = registry.with_plugins([Factories([target])]) if target.startswith("modules") else registry
    settings = {"task": "arrays", "task.file": str(tmp_path / "own.npz"), "target": target}
    config = load_config("digits", settings, registry)
    built = build_target(config, config.task.make())
    assert (tuple(built.spec.input_shape), built.spec.num_outputs) == (shape, 3)
    kept = config.plain()["target"]
    assert {kept[key] for key in config.target.open} == {None}
    assert read_config(config.name, config.plain(), registry) == config  # null means it again


def test_a_run_keeps_what_was_left_open_and_needs_no_data_to_know_it(tmp_path, file, hyperframe):
    run = hf.train("digits", {**FAST, "task": "arrays", "task.file": file, "target": "mlp"}, out=tmp_path / "run")
    (tmp_path / "own.npz").unlink()
    loaded = hf.load(run.folder, device="cpu")
    assert loaded.experiment.target.spec == run.experiment.target.spec
    x = torch.zeros(2, 5)
    assert torch.equal(loaded.sample(2).predict(x), run.sample(2).predict(x))


def test_what_is_given_stays_and_a_message_says_which_key_mends_it(tmp_path, file):
    given = {**FAST, "task": "arrays", "task.file": file, "target": "mlp", "target.outputs": 4}
    wanted = "it has 4 outputs, and the task needs 3; leave target.outputs out, which is then the task's"
    with pytest.raises(ConfigError, match=wanted):
        hf.train("digits", given, out=tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"it takes inputs of shape \[3, 32, 32\], and the task's are \[5\]; take a tar"
    ):
        hf.train("digits", {**FAST, "task": "arrays", "task.file": file, "target": "lenet"}, out=tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"input_shape: expected channels, height and width.* as task 'arrays' has it"
    ):
        hf.train("digits", {**FAST, "task": "arrays", "task.file": file, "target": "resnet20"}, out=tmp_path / "run")


def test_a_plugins_target_declares_what_is_the_tasks(tmp_path, file):
    @attrs.frozen(kw_only=True)
    class Options:
        features: tuple[int, ...] = hf.option((2,), "shape of an input", of_task="input_shape")
        answers: int = hf.option(2, "number of outputs", of_task="num_outputs")

    class Plugin:
        @hf.hookimpl
        def hyperframe_targets(self):
            def build(options):
                return nn.Linear(options.features[0], options.answers)

            return [hf.Component(name="one", factory=build, options=Options)]

    registry = Registry(make_plugin_manager()).with_plugins([Plugin()])
    config = load_config("digits", {"task": "arrays", "task.file": file, "target": "one"}, registry)
    assert build_target(config, config.task.make()).spec.num_weights == 5 * 3 + 3
    assert config.target.make().weight.shape == (2, 2)  # without a task the defaults


def test_the_printed_configuration_leaves_it_open(hyperframe):
    code, out, _ = hyperframe("config", "digits", "target=mlp")
    assert code == 0
    assert "outputs: null" in out
    code, out, _ = hyperframe("describe", "mlp", "--json")
    assert json.loads(out)["target"]["input_shape"] == [1, 8, 8]
