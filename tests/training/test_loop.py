"""Training, run folders, and what is drawn from them."""

import importlib.util
import json
import math
import os
import shutil
from functools import partial

import attrs
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.analysis.rows.evaluation import evaluation_rows
from hyperframe.api import make_registry
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schedule import rate_at
from hyperframe.config.schema import load_config
from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import ConfigError, DataError, DeviceError, HyperframeWarning, RunError, TrainingError
from hyperframe.experiment.build import build_experiment, resolve_device
from hyperframe.hookspecs import hookimpl
from hyperframe.runs.checkpoints import checkpoint_steps, newest_checkpoint, write_checkpoint
from hyperframe.training.reporter import EVENTS, Observers, Reporter
from hyperframe.training.trainer import Trainer


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_run_folder(tmp_path, small):
    run = small(tmp_path / "run")
    assert [name for name in files(run.folder) if not name.startswith("tensorboard")] == [
        ".lock",
        "checkpoints/3/generator.safetensors",
        "checkpoints/3/state.json",
        "checkpoints/3/trainer.safetensors",
        "checkpoints/6/generator.safetensors",
        "checkpoints/6/state.json",
        "checkpoints/6/trainer.safetensors",
        "config.yaml",
        "inputs.json",
        "metrics.jsonl",
        "provenance.json",
    ]
    assert (run.folder / "tensorboard").is_dir() == (importlib.util.find_spec("tensorboard") is not None)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6]
    assert [line["step"] for line in lines if "validation" in line] == [3, 6]
    provenance = json.loads((run.folder / "provenance.json").read_text())
    assert {item["name"] for item in provenance["components"]} >= {"digits", "digits_cnn", "hypernetwork", "scale"}
    assert all(item["distribution"] == "hyperframe-nn" and item["version"] for item in provenance["components"])
    assert provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert provenance["seed"] == 0


def test_the_configuration_in_the_folder_is_the_run(tmp_path, small):
    run = small(tmp_path / "run")
    again = load_config(run.folder / "config.yaml", [], make_registry())
    assert attrs.evolve(again, name="digits") == attrs.evolve(run.config, name="digits")


@pytest.mark.slow
def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(tmp_path, small):
    runs = [small(tmp_path / "a"), small(tmp_path / "b"), small(tmp_path / "c", trainer__seed=1)]
    a, b, c = ({k: v.clone() for k, v in run.experiment.generator.state_dict().items()} for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


@pytest.mark.slow
def test_validation_logging_and_checkpoints_disturb_nothing(tmp_path, small):
    often = small(tmp_path / "often", evaluation__every=1, trainer__log_every=1, trainer__checkpoint_every=1)
    never = small(tmp_path / "never", evaluation__every=100, trainer__log_every=100, trainer__checkpoint_every=100)
    a, b = often.experiment.generator.state_dict(), never.experiment.generator.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path, small):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    small(tmp_path / "run", trainer__threads=2, trainer__steps=1)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_loading_gives_the_same_networks(tmp_path, small):
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


def test_networks(tmp_path, small):
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
    with pytest.raises(DataError):
        nets.predict(x.to(torch.complex64))
    assert torch.equal(nets.predict(x.double()), probabilities)
    for wrong in (x[:, :, :4], x[:0], x[0, 0]):
        with pytest.raises(ValueError, match="expected inputs"):
            nets.predict(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generator", "changes"),
    [
        ("mlp", {"trainer.rate": 1e-3}),
        ("direct", {"generator.networks": 4, "trainer.rate": 1e-2, "diversity": ["none"]}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*validations have become worse")
def test_every_generator_trains(tmp_path, generator, changes, small):
    settings = {**small.settings, "trainer.steps": 100, "trainer.schedule": "constant"}
    settings |= {"generator": generator, **changes}
    run = hf.train("digits_hypernetwork", settings, out=tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["accuracy_loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    assert run.evaluate()["networks"] == (4 if generator == "direct" else 6)


def test_direct_is_ordinary_training_of_each_network(tmp_path, small):
    """One network of `direct` moves as if it were trained alone with its own images."""
    settings = {
        **small.settings,
        "generator": "direct",
        "generator.networks": 4,
        "diversity": ["none"],
        "objective.lambda": 4,
    }
    settings |= {"trainer.steps": 5, "trainer.schedule": "constant", "trainer.rate": 1e-3}
    registry = make_registry()
    experiment = build_experiment(load_config("digits_hypernetwork", settings, registry))
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


class Plugin:
    """A plugin whose reporter calls a function with each event and what comes with it."""

    def __init__(self, hears, interested=True):
        self.hears, self.interested = hears, interested

    @hookimpl
    def hyperframe_reporters(self, run):
        return [Hearing(self.hears)] if self.interested else []


class Hearing(hf.Reporter):
    def __init__(self, hears):
        for event in EVENTS:
            setattr(self, event, partial(hears, event))


def observed(tmp_path, small, hears, **more):
    registry = Registry(make_plugin_manager(extra=[Plugin(hears)]))
    return hf.train("digits_hypernetwork", small.settings, out=tmp_path / "run", registry=registry, **more)


def test_those_of_plugins_hear_all_that_the_one_handed_over_hears(tmp_path, small):
    own, others = [], []
    run = observed(
        tmp_path,
        small,
        lambda event, *what: others.append((event, *what)),
        reporter=Hearing(lambda event, *what: own.append((event, *what))),
    )
    assert own == others
    events = [event for event, *_ in own]
    assert events == ["started", "logged", "validated", "logged", "logged", "validated", "finished"]
    assert own[0][1] is own[-1][1] is run
    assert [
        (step, set(metrics) >= {"loss", "score", "rate"}) for event, step, metrics in own[1:-1] if event == "logged"
    ] == [
        (2, True),
        (4, True),
        (6, True),
    ]
    assert [step for event, step, _ in own[1:-1] if event == "validated"] == [3, 6]


def test_pauses_and_failures_are_told(tmp_path, small, monkeypatch):
    heard = []
    small.settings["trainer.stop_after"] = 2
    run = observed(tmp_path, small, lambda event, *what: heard.append((event, *what)))
    assert heard[-1] == ("paused", run, "trainer.stop_after=2 was reached")
    monkeypatch.setattr(Trainer, "step", lambda self: 1 / 0)
    registry = Registry(make_plugin_manager(extra=[Plugin(lambda event, *what: heard.append((event, *what)))]))
    with pytest.raises(hf.HyperframeError, match="division by zero"):
        hf.resume(run.folder, registry=registry)
    event, told, reason = heard[-1]
    assert (event, told.folder) == ("failed", run.folder)
    assert "ZeroDivisionError" in reason


@pytest.mark.parametrize("error", [ValueError("on purpose"), SystemExit(3)])
def test_an_observer_that_fails_is_named_and_the_training_goes_on(tmp_path, small, error):
    heard = []

    def fail(event, *what):
        heard.append(event)
        if event == "logged":
            raise error

    with pytest.warns(HyperframeWarning, match="Plugin does not observe the training any more") as warned:
        run = observed(tmp_path, small, fail)
    assert len([warning for warning in warned if "not observe" in str(warning.message)]) == 1
    assert run.finished
    assert heard == ["started", "logged"]


def test_a_plugin_that_cannot_say_who_observes_is_named(tmp_path, small):
    class Broken:
        @hookimpl
        def hyperframe_reporters(self):
            raise OSError("no connection")

    registry = Registry(make_plugin_manager(extra=[Broken(), Plugin(None, interested=False)]))
    with pytest.warns(HyperframeWarning, match="Broken does not observe this training, since .* no connection"):
        run = hf.train("digits_hypernetwork", small.settings, out=tmp_path / "run", registry=registry)
    assert run.finished


def test_ctrl_c_in_an_observer_is_ctrl_c(tmp_path, small):
    def interrupt(event, *what):
        if event == "logged":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observed(tmp_path, small, interrupt)


def test_a_reporter_that_lacks_a_method_is_refused_before_anything_is_written(tmp_path, small):
    class Own:
        def started(self, run):
            """Hear."""

    with pytest.raises(hf.HyperframeError, match=r"Own has no method logged .* subclass of hyperframe.Reporter"):
        hf.train("digits_hypernetwork", small.settings, out=tmp_path / "run", reporter=Own())
    assert not (tmp_path / "run").exists()


def test_a_reporter_whose_methods_are_misspelt_is_told_that_it_hears_nothing():
    class Scores(Reporter):
        def log(self, step, metrics):
            """Hear."""

    with pytest.warns(HyperframeWarning, match="Scores hears nothing: of its log none is called; .* logged, val"):
        Observers(Scores())
    with pytest.warns(HyperframeWarning, match="reporter Scores hears nothing"):
        Observers(Reporter()).join([("their-plugin", Scores())])


def test_a_loss_that_is_not_finite_freezes_the_parameters_and_stops(tmp_path, small):
    registry = make_registry()
    experiment = build_experiment(load_config("digits_hypernetwork", small.settings, registry))
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


def test_a_rate_that_is_far_too_high_says_so(tmp_path, small):
    with pytest.raises(TrainingError, match="not finite in step"):
        small(tmp_path / "run", trainer__rate=1e30, trainer__steps=20, generator__batch_norm=False)


def test_gradient_clipping(tmp_path, small):
    registry = make_registry()
    experiment = build_experiment(
        load_config("digits_hypernetwork", {**small.settings, "trainer.gradient_clip": 0.5}, registry)
    )
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


@given(st.integers(1, 200), st.integers(1, 200))
def test_cycles_divide_the_steps_and_the_rate_falls_in_each(steps, cycles):
    cycles = min(cycles, steps)
    options = TrainerOptions(steps=steps, rate=2.0, schedule="cyclic", cycles=cycles)
    found = [options.cycle_at(step) for step in range(steps)]
    different = list(dict.fromkeys(found))
    assert [step for cycle in different for step in cycle] == list(range(steps))
    assert all(step in cycle for step, cycle in enumerate(found))
    assert len(different) == cycles
    assert max(map(len, different)) - min(map(len, different)) <= 1
    for cycle in different:
        rates = [rate_at(step, options) for step in cycle]
        assert rates[0] == 2.0
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] == pytest.approx(1 - math.cos(math.pi / len(cycle)))  # from the top, the way is π
    assert TrainerOptions(steps=steps).cycle_at(steps - 1) == range(steps)


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 1, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 1})
    calls = []
    save = safetensors.torch.save_file

    def failing(tensors, path, metadata):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("no space left")
        save(tensors, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", failing)
    with pytest.raises(RunError, match="no space"):
        write_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 2})
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert checkpoint_steps(tmp_path) == [1]
    monkeypatch.undo()
    write_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {"b": torch.ones(2)}, {"step": 2})
    assert checkpoint_steps(tmp_path) == [1, 2]


@pytest.mark.slow
def test_what_is_no_run(tmp_path, small):
    with pytest.raises(RunError, match=r"absent does not exist"):
        hf.load(tmp_path / "absent")
    with pytest.raises(RunError, match=r"is no run: it has no config.yaml"):
        hf.load(tmp_path)
    run = small(tmp_path / "run")
    for path in run.folder.glob("checkpoints/*/state.json"):
        path.unlink()
    with pytest.raises(RunError, match=r"no checkpoint that is whole: .*of step 6 cannot.*of step 3 cannot"):
        hf.load(run.folder)
    shutil.rmtree(run.folder / "checkpoints")
    with pytest.raises(RunError, match=r"holds no checkpoint;.*--resume"):
        hf.load(run.folder)


@pytest.mark.parametrize(("diversity", "shared"), [("none", 0), ("disagreement", 5)])
def test_the_budget_is_counted_and_kept_with_the_run(tmp_path, small, diversity, shared):
    """Examples that all networks see in a step count too; validations do not, and a run that goes on counts on."""
    settings = {"diversity": [diversity], "trainer.shared_examples": 5, "trainer.batch_size": 4}
    run = small(tmp_path / "run", **settings, **{"trainer.steps": 6, "trainer.stop_after": 2})
    networks = run.config.trainer.networks
    assert run.gradient_evaluations == 2 * networks * (4 + shared)
    assert hf.resume(run.folder).gradient_evaluations == 6 * networks * (4 + shared)
    loaded, wanted = hf.load(run.folder), 6 * networks * (4 + shared)
    assert loaded.gradient_evaluations == wanted
    assert ("gradient evaluations of the training", f"{wanted:,}") in list(evaluation_rows(loaded.evaluate(2)))


def test_a_checkpoint_of_another_configuration(tmp_path, small):
    run = small(tmp_path / "run")
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("latent: 64", "latent: 65"))
    with pytest.raises(RunError, match=r"not what the run was trained with \(generator.latent: 64 → 65\)"):
        hf.load(run.folder)
    found = newest_checkpoint(run.folder)
    silent = {"gradient_evaluations": 0}  # one that does not say what it was trained with
    write_checkpoint(run.folder, found.step, found.generator(), found.trainer(), silent)
    with pytest.raises(RunError, match="does not fit its configuration"):
        hf.load(run.folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"target": "mnist_cnn"},
            ConfigError,
            r"target 'mnist_cnn' does not fit task 'digits': it takes inputs of shape",
        ),
        ({"gauges": ["scale", "scale"]}, ConfigError, "gauges: 'scale' is listed twice"),
        ({"trainer.networks": 1}, ConfigError, "needs at least 2 networks"),
        (
            {"trainer.networks": 1, "diversity": []},
            ConfigError,
            "needs at least 2 networks a step; set trainer.networks=2 or more",
        ),
        (
            {"generator": "direct", "generator.networks": 3},
            ConfigError,
            r"trainer.networks is 4, .* trains 3 networks in every step",
        ),
        ({"trainer.threads": 100_000}, ConfigError, "trainer.threads: 100,000 threads asked for"),
        ({"trainer.device": "gpu"}, DeviceError, "expected auto, cpu, cuda or cuda:INDEX, but got 'gpu'"),
        ({"trainer.device": "cuda:99"}, DeviceError, "'cuda:99' was asked for"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, changes, error, message, small):
    with pytest.raises(error, match=message):
        hf.train("digits_hypernetwork", {**small.settings, **changes}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_data_is_found_before_anything_is_written(tmp_path):
    with pytest.raises(hf.HyperframeError, match="holds no MNIST data"):
        hf.train("mnist", {"task.folder": str(tmp_path / "none")}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_is_not_free(tmp_path, small):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        small(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        small(tmp_path / "mine.txt")
    assert files(tmp_path) == ["mine.txt"]
    if os.geteuid() == 0:
        with pytest.raises(RunError, match="cannot be written"):
            small("/proc/absent/run")


def test_an_empty_output_folder_is_free(tmp_path, small):
    assert small(tmp_path).folder == tmp_path


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == "cpu"  # no test sees CUDA that is not marked so
    for name in ("cuda:", "cuda:x", "cuda:²", "cpu:0", "", "mps"):
        with pytest.raises(DeviceError):
            resolve_device(name)


@pytest.mark.cuda
def test_a_cuda_device_is_found():
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda") == torch.device("cuda", 0)


def test_no_cuda_where_it_is_asked_for():
    with pytest.raises(DeviceError, match=r"torch finds no CUDA device here; use auto or cpu"):
        resolve_device("cuda")


def test_no_host_sync_hides_in_the_step(monkeypatch, small):
    """Nothing in the step reads a tensor's value: reading is what would wait for a device."""
    experiment = build_experiment(
        load_config("digits_hypernetwork", {**small.settings, "objective.weight_l2": 0.1}, make_registry())
    )
    trainer = Trainer(experiment, experiment.task.data("train"))
    trainer.step()

    def forbidden(self, *_):
        raise AssertionError("the step read a tensor's value")

    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)
    trainer.step()


def trainer_of(settings, **changes):
    experiment = build_experiment(load_config("digits_hypernetwork", {**settings, **changes}, make_registry()))
    return Trainer(experiment, experiment.task.data("train"))


def test_training_images_are_varied_as_the_task_says(monkeypatch, small):
    trainer = trainer_of(small.settings)
    monkeypatch.setattr(trainer.experiment.task, "augment", lambda images, rng: images + 100)
    seen, gradients = [], trainer.experiment.loss.gradients

    def noting(generator, z, batch, *others, **options):
        seen.append(batch.x)
        return gradients(generator, z, batch, *others, **options)

    monkeypatch.setattr(trainer.experiment.loss, "gradients", noting)
    trainer.step()
    assert float(seen[0].min()) >= 100


def test_terms_that_compare_outputs_do_not_change_what_is_trained_on(monkeypatch, small):
    """Images that all networks see are drawn by random numbers of their own."""
    seen = []
    for terms in (["none"], ["none", "disagreement"]):
        trainer = trainer_of(small.settings, diversity=terms)
        batches, gradients = [], trainer.experiment.loss.gradients

        def noting(generator, z, batch, *others, to=batches, own=gradients, **options):
            to.append((z, batch.x, options["shared"]))
            return own(generator, z, batch, *others, **options)

        monkeypatch.setattr(trainer.experiment.loss, "gradients", noting)
        trainer.step()
        trainer.step()
        seen.append(batches)
    for (z, x, none), (other_z, other_x, shared) in zip(*seen, strict=True):
        assert none is None
        assert shared is not None
        assert torch.equal(z, other_z)
        assert torch.equal(x, other_x)
