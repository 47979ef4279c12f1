"""Training, run folders, and what is drawn from them."""

import json
import os

import attrs
import pytest
import safetensors.torch
import torch
from torch import nn

import hyperframe as hf
from hyperframe.api import installed
from hyperframe.config import TrainerOptions, load_config
from hyperframe.errors import ConfigError, DeviceError, RunError, TrainingError
from hyperframe.experiment import build_experiment, resolve_device
from hyperframe.hookspecs import hookimpl
from hyperframe.plugins import Registry, make_plugin_manager
from hyperframe.run import checkpoint_steps, create_run, write_checkpoint
from hyperframe.schedule import rate_at
from hyperframe.seeds import stream, stream_seed
from hyperframe.trainer import Trainer

SMALL = {
    "trainer.device": "cpu",
    "trainer.steps": 6,
    "trainer.z": 4,
    "trainer.images": 8,
    "trainer.log_every": 2,
    "trainer.checkpoint_every": 3,
    "evaluation.every": 3,
    "evaluation.networks": 5,
    "evaluation.images": 20,
    "evaluation.test_networks": 6,
}


def small(out, **changes):
    return hf.train("digits", {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}, out=out)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_folder(tmp_path):
    run = small(tmp_path / "run")
    assert files(run.folder) == [
        "checkpoints/3/generator.safetensors",
        "checkpoints/3/state.json",
        "checkpoints/3/trainer.safetensors",
        "checkpoints/6/generator.safetensors",
        "checkpoints/6/state.json",
        "checkpoints/6/trainer.safetensors",
        "config.yaml",
        "metrics.jsonl",
        "provenance.json",
    ]
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6]
    assert [line["step"] for line in lines if "validation" in line] == [3, 6]
    provenance = json.loads((run.folder / "provenance.json").read_text())
    assert {item["name"] for item in provenance["components"]} >= {"digits", "digits_cnn", "hypernetwork", "scale"}
    assert all(item["distribution"] == "hyperframe-nn" and item["version"] for item in provenance["components"])
    assert provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert provenance["seed"] == 0


def test_the_configuration_in_the_folder_is_the_run(tmp_path):
    run = small(tmp_path / "run")
    again = load_config(run.folder / "config.yaml", [], installed())
    assert attrs.evolve(again, name="digits") == attrs.evolve(run.config, name="digits")


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(tmp_path):
    runs = [small(tmp_path / "a"), small(tmp_path / "b"), small(tmp_path / "c", trainer__seed=1)]
    a, b, c = ({k: v.clone() for k, v in run.experiment.generator.state_dict().items()} for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_validation_logging_and_checkpoints_disturb_nothing(tmp_path):
    often = small(tmp_path / "often", evaluation__every=1, trainer__log_every=1, trainer__checkpoint_every=1)
    never = small(tmp_path / "never", evaluation__every=100, trainer__log_every=100, trainer__checkpoint_every=100)
    a, b = often.experiment.generator.state_dict(), never.experiment.generator.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    small(tmp_path / "run", trainer__threads=2, trainer__steps=1)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_loading_gives_the_same_networks(tmp_path):
    run = small(tmp_path / "run")
    loaded = hf.load(run.folder, device="cpu")
    assert loaded.step == 6
    ours, theirs = run.sample(3, seed=9), loaded.sample(3, seed=9)
    for name, value in ours.weights.items():
        assert torch.equal(value, theirs.weights[name])
    assert loaded.evaluate(4) == run.evaluate(4)
    kept = json.loads((run.folder / "analyses" / "evaluation" / "results.json").read_text())
    assert kept["networks"] == 4
    assert kept["split"] == "test"


def test_networks(tmp_path):
    run = small(tmp_path / "run")
    nets = run.sample(7)
    data = run.experiment.task.data("test")
    x = data.x[:13]
    assert len(nets) == 7
    probabilities = nets.predict(x)
    assert probabilities.shape == (7, 13, 10)
    assert torch.allclose(probabilities.sum(-1), torch.ones(7, 13))
    for index in (0, 6, -1):
        net = nets[index]
        assert isinstance(net, nn.Module)
        assert not net.training
        assert torch.allclose(net(x).softmax(-1), probabilities[index], atol=1e-6)
        assert all(parameter.requires_grad for parameter in net.parameters())
        fresh = run.experiment.target.network(nets.weights, 3)
        fresh.load_state_dict(nets.state_dict(index))
        assert torch.equal(fresh(x), net(x))
    assert torch.allclose(nets.mean(x), probabilities.mean(0), atol=1e-6)
    votes = torch.stack([(probabilities.argmax(-1) == c).sum(0) for c in range(10)], -1).argmax(-1)
    assert torch.equal(nets.vote(x), votes)
    assert len(list(nets)) == 7
    with pytest.raises(IndexError, match="network 7 of 7"):
        nets[7]
    with pytest.raises(TypeError, match="floating-point numbers, but got"):
        nets.predict(x.long())
    assert torch.equal(nets.predict(x.double()), probabilities)
    for wrong in (x[:, :, :4], x[:0], x[0]):
        with pytest.raises(ValueError, match="expected inputs"):
            nets.predict(wrong)


@pytest.mark.parametrize(
    ("generator", "changes"),
    [
        ("mlp", {"trainer.rate": 1e-3}),
        ("direct", {"generator.networks": 4, "trainer.rate": 1e-2, "diversity": ["none"]}),
    ],
)
def test_every_generator_trains(tmp_path, generator, changes):
    settings = {**SMALL, "trainer.steps": 100, "trainer.schedule": "constant"}
    settings |= {"generator": generator, **changes}
    run = hf.train("digits", settings, out=tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["accuracy_loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    assert run.evaluate()["networks"] == (4 if generator == "direct" else 6)


def test_direct_is_ordinary_training_of_each_network(tmp_path):
    """One network of `direct` moves as if it were trained alone with its own images."""
    settings = {**SMALL, "generator": "direct", "generator.networks": 4, "diversity": ["none"], "objective.lambda": 4}
    settings |= {"trainer.steps": 5, "trainer.schedule": "constant", "trainer.rate": 1e-3}
    registry = installed()
    experiment = build_experiment(load_config("digits", settings, registry))
    train = experiment.task.data("train")
    trainer = Trainer(experiment, train)
    alone = experiment.target.network(experiment.generator(torch.arange(4)), 2)
    optimizer = torch.optim.Adam(alone.parameters(), lr=1e-3, eps=experiment.config.trainer.epsilon)
    stream = torch.Generator().set_state(trainer.streams["data"].get_state())
    for _ in range(5):
        trainer.step()
        chosen = torch.randint(len(train), (4, 8), generator=stream)[2]
        optimizer.zero_grad()
        nn.functional.cross_entropy(alone(train.x[chosen]), train.y[chosen]).backward()
        optimizer.step()
    together = experiment.target.network(experiment.generator(torch.arange(4)), 2)
    for one, two in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_observers_are_called_at_the_logging_interval(tmp_path):
    seen = []

    class Observer:
        @hookimpl
        def hyperframe_step_end(self, run, step, metrics):
            seen.append((run.step, step, metrics["loss"]))

    registry = Registry(make_plugin_manager(extra=[Observer()]))
    hf.train("digits", SMALL, out=tmp_path / "run", registry=registry)
    assert [(a, b) for a, b, _ in seen] == [(2, 2), (4, 4), (6, 6)]


def test_a_loss_that_is_not_finite_freezes_the_parameters_and_stops(tmp_path):
    registry = installed()
    experiment = build_experiment(load_config("digits", SMALL, registry))
    train = experiment.task.data("train")
    trainer = Trainer(experiment, train)
    trainer.step()
    trainer.check_finite()
    trainer.train.x[:] = float("nan")
    frozen = [parameter.detach().clone() for parameter in trainer.parameters]
    trainer.step()
    trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(frozen, trainer.parameters, strict=True))
    with pytest.raises(TrainingError, match=r"not finite in step 1;.*trainer.rate"):
        trainer.check_finite()


def test_a_rate_that_is_far_too_high_says_so(tmp_path):
    with pytest.raises(TrainingError, match="not finite in step"):
        small(tmp_path / "run", trainer__rate=1e30, trainer__steps=20, generator__batch_norm=False)


def test_gradient_clipping(tmp_path):
    registry = installed()
    experiment = build_experiment(load_config("digits", {**SMALL, "trainer.gradient_clip": 0.5}, registry))
    trainer = Trainer(experiment, experiment.task.data("train"))
    norms = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in trainer.parameters])))
    )
    trainer.step()
    assert norms == [pytest.approx(0.5, rel=1e-3)]
    assert trainer.read_metrics()["gradient_norm"] > 0.5


def test_schedules():
    options = TrainerOptions(steps=100, rate=1.0, schedule="one_cycle", warmup=0.3)
    rates = [rate_at(step, options) for step in range(100)]
    top = rates.index(max(rates))
    assert 28 <= top <= 31
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(1, rel=0.01)
    assert rates[-1] == pytest.approx(1e-3)
    paper = TrainerOptions(steps=13_000, rate=3e-4, schedule="exponential", decay=0.99998)
    assert rate_at(0, paper) == pytest.approx(3e-4 * 0.99998)
    assert rate_at(12_999, paper) == pytest.approx(2.313e-4, rel=1e-3)
    assert rate_at(7, TrainerOptions(schedule="constant", rate=0.1)) == 0.1


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 1, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 1})
    calls = []
    save = safetensors.torch.save_file

    def failing(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("no space left")
        save(tensors, path)

    monkeypatch.setattr(safetensors.torch, "save_file", failing)
    with pytest.raises(RunError, match="no space"):
        write_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 2})
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert checkpoint_steps(tmp_path) == [1]
    monkeypatch.undo()
    write_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 2})
    assert checkpoint_steps(tmp_path) == [1, 2]


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"absent does not exist"):
        hf.load(tmp_path / "absent")
    with pytest.raises(RunError, match=r"is no run: it has no config.yaml"):
        hf.load(tmp_path)
    run = small(tmp_path / "run")
    (run.folder / "checkpoints" / "6" / "generator.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"generator.safetensors cannot be read"):
        hf.load(run.folder)
    for path in run.folder.glob("checkpoints/*/state.json"):
        path.unlink()
    with pytest.raises(RunError, match=r"holds no checkpoint"):
        hf.load(run.folder)


def test_a_checkpoint_of_another_configuration(tmp_path):
    run = small(tmp_path / "run")
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("latent: 64", "latent: 65"))
    with pytest.raises(RunError, match="does not fit its configuration"):
        hf.load(run.folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "mnist_cnn"}, ConfigError, r"target 'mnist_cnn' does not fit task 'digits': inputs of shape"),
        ({"gauges": ["scale", "scale"]}, ConfigError, "gauges: 'scale' is listed twice"),
        ({"trainer.z": 1}, ConfigError, "needs at least 2 networks"),
        ({"trainer.z": 1, "diversity": []}, ConfigError, "needs at least 2 networks a step.*batch normalisation"),
        ({"generator": "direct", "generator.networks": 3}, ConfigError, r"trainer.z: .* all its 3 networks.*z is 4"),
        ({"trainer.threads": 100_000}, ConfigError, "trainer.threads: 100000 threads were asked for"),
        ({"trainer.device": "gpu"}, DeviceError, "expected auto, cpu, cuda or cuda:INDEX, but got 'gpu'"),
        ({"trainer.device": "cuda:99"}, DeviceError, "'cuda:99' was asked for"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        hf.train("digits", {**SMALL, **changes}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_data_is_found_before_anything_is_written(tmp_path):
    with pytest.raises(hf.HyperframeError, match="holds no MNIST data"):
        hf.train("mnist", {"task.folder": str(tmp_path / "none")}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_is_not_free(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        small(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        small(tmp_path / "mine.txt")
    assert files(tmp_path) == ["mine.txt"]
    if os.geteuid() == 0:
        with pytest.raises(RunError, match="cannot be written"):
            small("/proc/absent/run")


def test_an_empty_output_folder_is_free(tmp_path):
    assert small(tmp_path).folder == tmp_path


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:", "cuda:x", "cuda:²", "cpu:0", "", "mps"):
        with pytest.raises(DeviceError):
            resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_no_cuda_where_it_is_asked_for():
    with pytest.raises(DeviceError, match=r"torch finds no CUDA device here; use auto or cpu"):
        resolve_device("cuda")


def test_no_host_sync_hides_in_the_step(monkeypatch):
    """Nothing in the step reads a tensor's value: reading is what would wait for a device."""
    experiment = build_experiment(load_config("digits", {**SMALL, "objective.weight_l2": 0.1}, installed()))
    trainer = Trainer(experiment, experiment.task.data("train"))
    trainer.step()

    def forbidden(self, *_):
        raise AssertionError("the step read a tensor's value")

    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)
    trainer.step()


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
        layer = hf.LayerSpec(name="out", filters=10, params=[hf.kernel("out.weight", "o i"), hf.bias("out.bias")])
        spec = hf.TargetSpec(name="constant", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out")
        return [hf.Component(name="constant", factory=lambda options: (Constant(), spec), summary="a test")]


@pytest.fixture
def constant():
    return Registry(make_plugin_manager(extra=[ConstantTarget()]))


def test_what_is_not_generated_is_part_of_the_run(tmp_path, constant):
    run = hf.train("digits", {**SMALL, "target": "constant"}, out=tmp_path / "run", registry=constant)
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


def test_validation_disturbs_neither_dropout_nor_statistics(tmp_path, constant):
    runs = []
    for every in (1, 100):
        settings = {**SMALL, "target": "constant", "evaluation.every": every}
        runs.append(hf.train("digits", settings, out=tmp_path / str(every), registry=constant))
    a, b = (run.experiment.generator.state_dict() for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_seeds_of_streams_do_not_collide(tmp_path):
    run = small(tmp_path / "run")
    trainer = Trainer(run.experiment, run.experiment.task.data("train"))
    latent = run.experiment.generator.latent(4, trainer.streams["latent"])
    seeds = [stream_seed(seed, name) for seed in range(20) for name in ("latent", "data", "terms", "sample", "target")]
    assert len(set(seeds)) == len(seeds)
    assert not torch.equal(run.experiment.generator.latent(4, stream(0, "sample")), latent)
    stream(10**30, "latent")


@pytest.mark.parametrize("needs", [{"flat", "outputs"}, {"wieghts"}])
def test_a_term_that_needs_what_there_is_not(tmp_path, needs):
    class Term:
        @hookimpl
        def hyperframe_diversity_terms(self):
            made = type("Needy", (), {"needs": frozenset(needs)})()
            return [hf.Component(name="needy", factory=lambda options, estimator: made)]

    registry = Registry(make_plugin_manager(extra=[Term()]))
    with pytest.raises(ConfigError, match="diversity 'needy' needs an unknown input"):
        hf.train("digits", {**SMALL, "diversity": ["needy"]}, out=tmp_path / "run", registry=registry)


def own_target(build, classes=10):
    """A registry with a target `own` on flattened digits, generated in its last layer `out`."""

    class Plugin:
        @hookimpl
        def hyperframe_targets(self):
            layer = hf.LayerSpec(name="out", filters=classes, params=[hf.kernel("out.weight", "o i")])
            spec = hf.TargetSpec(name="own", input_shape=(1, 8, 8), num_outputs=10, layers=[layer])
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
            lambda spec: Linear(),
            r"target 'own' of Plugin: its factory must return .*, but gives Linear",
        ),
        (lambda spec: 1 / 0, "target 'own' of Plugin: its factory failed: ZeroDivisionError"),
        (lambda spec: (Linear(after=lambda y: (y, y)), spec), "must return one tensor, not tuple"),
        (
            lambda spec: (Linear(after=lambda y: y[..., None]), spec),
            r"of shape \(2, 10\), but gives \(2, 10, 1\)",
        ),
        (
            lambda spec: (Linear(after=lambda y: y.sum().item()), spec),
            "target 'own' does not run",
        ),
        (lambda spec: (Linear(change=lambda x: x.sub_(0.5)), spec), "changes its input in place"),
        (lambda spec: (Linear(change=lambda x: x[:, :, :4]), spec), "target 'own' does not run"),
    ],
)
def test_a_target_that_does_not_work_is_named_before_anything_is_written(tmp_path, build, message):
    with pytest.raises(hf.HyperframeError, match=message):
        hf.train("digits", {**SMALL, "target": "own"}, out=tmp_path / "run", registry=own_target(build))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: None, "expected Data of two tensors, but got NoneType"),
        (lambda data: hf.Data(data.x.double(), data.y), "inputs must be float32, but are torch.float64"),
        (lambda data: hf.Data(data.x[:, 0], data.y), r"inputs must have the shape \(1, 8, 8\), but are \(8, 8\)"),
        (lambda data: hf.Data(data.x, data.y[:-1]), "there are 1197 inputs and 1196 labels"),
        (lambda data: data[:0], "there are 0 inputs and 0 labels"),
        (lambda data: hf.Data(data.x / 0, data.y), "an input is not a finite number"),
        (lambda data: hf.Data(data.x, data.y.int()), "labels must be int64"),
        (lambda data: hf.Data(data.x, data.y + 1), "labels must lie between 0 and 9, but go from 1 to 10"),
    ],
)
def test_data_that_is_not_what_the_task_says_is_named(tmp_path, monkeypatch, change, message):
    from hyperframe.builtin.tasks.digits import Digits

    original = Digits.data
    monkeypatch.setattr(Digits, "data", lambda self, split: change(original(self, split)))
    with pytest.raises(hf.HyperframeError, match=f"task 'digits', split 'train': {message}"):
        small(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["module", "parameters"])
def test_tied_weights_are_the_same_in_a_network_that_is_taken_out(tmp_path, whole):
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
            parts = {name: [hf.kernel(f"{name}.weight", "o i"), hf.bias(f"{name}.bias")] for name in ("first", "last")}
            layers = [
                hf.LayerSpec(name="first", filters=64, params=parts["first"]),
                hf.LayerSpec(name="last", filters=10, params=parts["last"]),
            ]
            spec = hf.TargetSpec(name="tied", input_shape=(1, 8, 8), num_outputs=10, layers=layers)
            return [hf.Component(name="tied", factory=lambda options: (Tied(), spec))]

    registry = Registry(make_plugin_manager(extra=[Plugin()]))
    run = hf.train("digits", {**SMALL, "target": "tied"}, out=tmp_path / "run", registry=registry)
    x, nets = run.experiment.task.data("test").x[:5], run.sample(3)
    for number, net in enumerate(nets):
        assert torch.allclose(net(x).softmax(-1), nets.predict(x)[number], atol=1e-5)
    fresh = Tied()
    fresh.load_state_dict(nets.state_dict(2))
    assert torch.equal(fresh(x), nets[2](x))


def test_of_two_runs_that_take_one_folder_one_is_refused(tmp_path):
    run = small(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").touch()  # what the first of two puts there
    with pytest.raises(RunError, match="taken by another run"):
        create_run(tmp_path / "other", run.config, run.experiment)


def test_figures_are_not_lost_where_they_cannot_be_kept(tmp_path):
    run = small(tmp_path / "run")
    (run.folder / "analyses").write_text("a file in the way")
    with pytest.warns(UserWarning, match="the figures are not kept: .*results.json cannot be written"):
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
def test_a_damaged_configuration_of_a_run_is_named(tmp_path, edit, message):
    run = small(tmp_path / "run")
    path = run.folder / "config.yaml"
    path.write_text(edit(path.read_text()))
    with pytest.raises(RunError, match=message):
        hf.load(run.folder)


def test_constants_that_do_not_fit_are_named(tmp_path, constant):
    run = hf.train("digits", {**SMALL, "target": "constant"}, out=tmp_path / "run", registry=constant)
    safetensors.torch.save_file({"features": torch.zeros(3)}, run.folder / "target.safetensors")
    with pytest.raises(RunError, match="constants kept with the run do not fit"):
        hf.load(run.folder, registry=constant)
