"""Targets of one's own, and what is tried before a run writes anything."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn

import hyperframe as hf
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import ConfigError, RunError
from hyperframe.hookspecs import hookimpl
from hyperframe.runs.folder import claim
from hyperframe.runtime.rng import stream, stream_seed
from hyperframe.training.trainer import Trainer


class Constant(nn.Module):
    """Random features that are not learnt, a frozen layer, dropout and BatchNorm, before a layer that is generated."""

    def __init__(self):
        super().__init__()
        self.register_buffer("features", torch.randn(64, 16))
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.norm = nn.BatchNorm1d(16, affine=False, momentum=None)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        return self.out(self.drop(self.norm(self.frozen(x.flatten(1) @ self.features)).relu()))


class ConstantTarget:
    """A plugin that registers it."""

    @hookimpl
    def hyperframe_targets(self):
        layer = hf.targets.LayerSpec(
            name="out", filters=10, params=[hf.targets.kernel("out.weight", "o i"), hf.targets.bias("out.bias")]
        )
        spec = hf.targets.TargetSpec(
            name="constant", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out"
        )
        return [hf.Component(name="constant", factory=lambda options: (Constant(), spec), summary="a test")]


@pytest.fixture
def constant():
    return Registry(make_plugin_manager(extra=[ConstantTarget()]))


def test_what_is_not_generated_is_part_of_the_run(tmp_path, constant, small):
    run = hf.train(
        "digits_hypernetwork", {**small.settings, "target": "constant"}, out=tmp_path / "run", registry=constant
    )
    torch.manual_seed(99)
    loaded = hf.load(run.folder, device="cpu", registry=constant)
    assert torch.equal(loaded.experiment.target.module.features, run.experiment.target.module.features)
    assert loaded.evaluate(3) == run.evaluate(3)
    x = run.experiment.task.data("test").x[:9]
    nets = run.sample(3)
    assert torch.equal(run.sample(3).predict(x), nets.predict(x))
    fresh = Constant()
    fresh.load_state_dict(nets.state_dict(1))
    assert torch.allclose(fresh.eval()(x).softmax(-1), nets.predict(x)[1], atol=1e-5)
    assert not nets[1].frozen.weight.requires_grad
    assert nets[1].out.weight.requires_grad
    assert set(nets.statistics) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_validation_disturbs_neither_dropout_nor_statistics(tmp_path, constant, small):
    runs = []
    for every in (1, 100):
        settings = {**small.settings, "target": "constant", "evaluation.every": every}
        runs.append(hf.train("digits_hypernetwork", settings, out=tmp_path / str(every), registry=constant))
    a, b = (run.experiment.generator.state_dict() for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_seeds_of_streams_do_not_collide(tmp_path, small):
    run = small(tmp_path / "run")
    trainer = Trainer(run.experiment, run.experiment.task.data("train"))
    latent = run.experiment.generator.latent(4, trainer.streams["latent"])
    seeds = [stream_seed(seed, name) for seed in range(20) for name in ("latent", "data", "terms", "sample", "target")]
    assert len(set(seeds)) == len(seeds)
    assert not torch.equal(run.experiment.generator.latent(4, stream(0, "sample")), latent)
    stream(10**30, "latent")


@pytest.mark.parametrize("needs", [{"flat", "images"}, {"wieghts"}])
def test_a_term_that_needs_what_there_is_not(tmp_path, needs, small):
    class Needy(hf.types.DiversityTerm):
        def __call__(self, inputs):
            raise AssertionError

    Needy.needs = frozenset(needs)

    class Term:
        @hookimpl
        def hyperframe_diversity_terms(self):
            return [hf.Component(name="needy", factory=lambda options, estimator: Needy())]

    registry = Registry(make_plugin_manager(extra=[Term()]))
    with pytest.raises(ConfigError, match="diversity 'needy' needs an unknown input"):
        hf.train(
            "digits_hypernetwork", {**small.settings, "diversity": ["needy"]}, out=tmp_path / "run", registry=registry
        )


def own_target(build, classes=10):
    """A registry with a target `own` on flattened digits, generated in its last layer `out`."""

    class Plugin:
        @hookimpl
        def hyperframe_targets(self):
            layer = hf.targets.LayerSpec(name="out", filters=classes, params=[hf.targets.kernel("out.weight", "o i")])
            spec = hf.targets.TargetSpec(name="own", input_shape=(1, 8, 8), num_outputs=10, layers=[layer])
            return [hf.Component(name="own", factory=lambda options: build(spec))]

    return Registry(make_plugin_manager(extra=[Plugin()]))


class Linear(nn.Module):
    def __init__(self, change=lambda x: x, after=lambda y: y):
        super().__init__()
        self.out = nn.Linear(64, 10, bias=False)
        self.change, self.after = change, after

    def forward(self, x):
        return self.after(self.out(self.change(x).flatten(1)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda spec: (Linear(), 3),
            r"target 'own' of Plugin: its factory must return .*, but gives tuple",
        ),
        (lambda spec: 1 / 0, "target 'own' of Plugin: its factory failed: ZeroDivisionError"),
        (lambda spec: (Linear(after=lambda y: (y, y)), spec), "must return one tensor, not tuple"),
        (
            lambda spec: (Linear(after=lambda y: y[..., None]), spec),
            r"for 2 inputs its forward must give outputs of shape \(2, 10\), but gives \(2, 10, 1\)",
        ),
        (
            lambda spec: (Linear(after=lambda y: y.sum().item()), spec),
            "must return one tensor, not float",
        ),
        (lambda spec: (Linear(change=lambda x: x.sub_(0.5)), spec), "changes its input in place"),
        (lambda spec: (Linear(change=lambda x: x[:, :, :4]), spec), "target 'own': it does not run"),
    ],
)
def test_a_target_that_does_not_work_is_named_before_anything_is_written(tmp_path, build, message, small):
    with pytest.raises(hf.HyperframeError, match=message):
        hf.train(
            "digits_hypernetwork", {**small.settings, "target": "own"}, out=tmp_path / "run", registry=own_target(build)
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: None, "expected Data of two tensors, but got NoneType"),
        (
            lambda data: hf.Data(data.x.double(), data.y),
            "inputs must be float32, or pixels in uint8, but are torch.float64",
        ),
        (lambda data: hf.Data(data.x[:, 0], data.y), r"inputs must have the shape \(1, 8, 8\), but are \(8, 8\)"),
        (lambda data: hf.Data(data.x, data.y[:-1]), "there are 1197 inputs and 1196 labels"),
        (lambda data: data[:0], "there are 0 inputs and 0 labels"),
        (lambda data: hf.Data(data.x / 0, data.y), "an input is not a finite number"),
        (lambda data: hf.Data(data.x, data.y.int()), "labels must be int64"),
        (lambda data: hf.Data(data.x, data.y + 1), "labels must lie between 0 and 9, but go from 1 to 10"),
    ],
)
def test_data_that_is_not_what_the_task_says_is_named(tmp_path, monkeypatch, change, message, small):
    from hyperframe.builtin.tasks.digits import Digits

    original = Digits.data
    monkeypatch.setattr(Digits, "data", lambda self, split: change(original(self, split)))
    with pytest.raises(hf.HyperframeError, match=f"task 'digits', split 'train': {message}"):
        small(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["module", "parameters"])
def test_tied_weights_are_the_same_in_a_network_that_is_taken_out(tmp_path, whole, small):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(64, 64)
            self.out = self.first if whole else nn.Linear(64, 64)
            self.out.weight, self.out.bias = self.first.weight, self.first.bias
            self.last = nn.Linear(64, 10)

        def forward(self, x):
            return self.last(self.out(self.first(x.flatten(1)).relu()))

    class Plugin:
        @hookimpl
        def hyperframe_targets(self):
            parts = {
                name: [hf.targets.kernel(f"{name}.weight", "o i"), hf.targets.bias(f"{name}.bias")]
                for name in ("first", "last")
            }
            layers = [
                hf.targets.LayerSpec(name="first", filters=64, params=parts["first"]),
                hf.targets.LayerSpec(name="last", filters=10, params=parts["last"]),
            ]
            spec = hf.targets.TargetSpec(name="tied", input_shape=(1, 8, 8), num_outputs=10, layers=layers)
            return [hf.Component(name="tied", factory=lambda options: (Tied(), spec))]

    registry = Registry(make_plugin_manager(extra=[Plugin()]))
    run = hf.train("digits_hypernetwork", {**small.settings, "target": "tied"}, out=tmp_path / "run", registry=registry)
    x, nets = run.experiment.task.data("test").x[:5], run.sample(3)
    for number, net in enumerate(nets):
        assert torch.allclose(net(x).softmax(-1), nets.predict(x)[number], atol=1e-5)
    fresh = Tied()
    fresh.load_state_dict(nets.state_dict(2))
    assert torch.equal(fresh(x), nets[2](x))


@pytest.mark.slow
def test_of_two_runs_that_take_one_folder_one_is_refused(tmp_path, small):
    with claim(tmp_path / "run"), pytest.raises(RunError, match=r"another training is at work in .*run"):
        small(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert small(tmp_path / "run").finished
    with pytest.raises(RunError, match=r"holds a run already.*--resume"):
        small(tmp_path / "run")


def test_results_are_not_lost_where_they_cannot_be_kept(tmp_path, small):
    run = small(tmp_path / "run")
    (run.folder / "analyses").write_text("a file in the way")
    with pytest.warns(UserWarning, match="the results are not kept: .*results.json cannot be written"):
        assert run.evaluate(3)["networks"] == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: text.index("evaluation:")], "config.yaml is not complete: 'evaluation' is missing"),
        (lambda text: text.replace("  seed: 0\n", ""), "config.yaml is not complete: 'trainer.seed' is missing"),
        (lambda text: text.replace("digits_cnn", "lost_cnn"), "config.yaml: unknown target 'lost_cnn'"),
        (lambda text: "", "config.yaml"),
        (lambda text: "\x00", "config.yaml"),
    ],
)
def test_a_damaged_configuration_of_a_run_is_named(tmp_path, edit, message, small):
    run = small(tmp_path / "run")
    path = run.folder / "config.yaml"
    path.write_text(edit(path.read_text()))
    with pytest.raises(RunError, match=message):
        hf.load(run.folder)


def test_a_run_of_another_version_is_named(tmp_path, small):
    run = small(tmp_path / "run")
    config, provenance = run.folder / "config.yaml", run.folder / "provenance.json"
    config.write_text(config.read_text().replace("  seed: 0\n", ""))
    content = json.loads(provenance.read_text())
    content["versions"]["hyperframe-nn"] = "0.0.1"
    provenance.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"missing\. The run was written by hyperframe-nn 0\.0\.1.*train anew"):
        hf.load(run.folder)


def test_constants_that_do_not_fit_are_named(tmp_path, constant, small):
    run = hf.train(
        "digits_hypernetwork", {**small.settings, "target": "constant"}, out=tmp_path / "run", registry=constant
    )
    safetensors.torch.save_file({"features": torch.zeros(3)}, run.folder / "target.safetensors")
    with pytest.raises(RunError, match="constants kept with the run do not fit"):
        hf.load(run.folder, registry=constant)
