"""Training of a part of a network: what a run keeps, trained weights to begin at, and examples that all see."""

import shutil

import pytest
import torch
from safetensors.torch import save_file
from tiny import PERCEPTRON
from torch import nn

import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, HyperframeWarning
from hyperframe.experiment.build import build_experiment
from hyperframe.training.beginning import begin
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data

SHORT = {**PERCEPTRON, "trainer.steps": 4, "evaluation.every": 10}
LAST = ["2.weight", "2.bias"]


def module(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 10))


def of_module(**changes):
    settings = {key: value for key, value in SHORT.items() if not key.startswith("target")}
    return {**settings, **changes}


def parameters(run):
    return [param.parameter for layer in run.experiment.target.spec.layers for param in layer.params]


def test_a_run_keeps_what_is_not_generated(tmp_path, registry):
    """It is read again with a module of other weights, and gives what it gave."""
    run = hf.train("digits", of_module(), module=module(), generate=["2"], out=tmp_path / "run", registry=registry)
    assert parameters(run) == LAST
    again = hf.load(run.folder, module=module(1), registry=registry)
    x = run.experiment.task.data("test").x[:9]
    assert torch.equal(again.sample(3).predict(x), run.sample(3).predict(x))
    assert torch.equal(again.sample(3).state_dict(1)["1.weight"], module()[1].weight)


@pytest.mark.slow
def test_a_run_of_a_part_goes_on_bit_for_bit(tmp_path, registry):
    settings = of_module(**{"target.adapter": "lora", "target.rank": 2})
    whole = hf.train("digits", settings, module=module(), out=tmp_path / "a", registry=registry)
    paused = hf.train("digits", {**settings, "trainer.stop_after": 2}, module=module(), out=tmp_path / "b")
    resumed = hf.resume(paused.folder, module=module(7))
    one, other = (run.experiment.generator.state_dict() for run in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [{"target.adapter": "lora", "target.rank": 2}, {"target.generate": [2]}], ids=["lora", "2"]
)
def test_a_run_of_a_part_with_a_prior_is_read_again(tmp_path, registry, part):
    settings = of_module(**part, **{"prior.functions": 3})
    run = hf.train("digits", settings, module=module(), out=tmp_path / "run", registry=registry)
    again = hf.load(run.folder, module=module(1), registry=registry)
    x = run.experiment.task.data("test").x[:9]
    assert torch.equal(again.sample(3).predict(x), run.sample(3).predict(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has no checkpoint yet")
def test_a_run_that_starts_anew_begins_at_trained_weights_again(tmp_path, registry):
    """It was stopped before its first checkpoint; one that goes on reads no file again, and none else."""
    file = tmp_path / "trained.safetensors"
    save_file(dict(experiment_of(registry, **{"trainer.seed": 5}).target.module.state_dict()), file)
    settings = {**SHORT, "target.weights": str(file), "target.generate": ["*"], "generator": "modes"}
    settings = {key: value for key, value in settings.items() if key != "generator.hidden"} | {"generator.modes": 4}
    run = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    with pytest.raises(ConfigError, match="reads no file again"):
        hf.resume(run.folder, {"target.weights": str(tmp_path / "other.safetensors")}, registry=registry)
    shutil.rmtree(run.folder / "checkpoints")
    again = hf.resume(run.folder, registry=registry)
    one, other = (each.experiment.generator.state_dict() for each in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_networks_that_would_stay_equal_are_told(registry):
    changes = {"generator": "direct", "generator.networks": 4, "target.weights": True, "diversity": ["none"]}
    with pytest.raises(ConfigError, match="they would stay equal"):
        begin(experiment_of(registry, **changes, **{"trainer.same_examples": True}))
    begin(experiment_of(registry, **changes))


def test_random_weights_that_are_kept_are_told(registry):
    with pytest.warns(HyperframeWarning, match=r"has the random weights .* target.weights=true says"):
        experiment_of(registry, **{"target.generate": ["*.bias"]})


def test_a_text_is_no_list_of_names(tmp_path):
    with pytest.raises(ConfigError, match=r"write generate=\['2'\]"):
        hf.train("digits", of_module(), module=module(), generate="2", out=tmp_path / "run")


def test_a_function_chooses_what_is_generated(tmp_path, registry):
    run = hf.train(
        "digits",
        of_module(),
        module=module(),
        generate=lambda name, value: value.shape[0] == 10,
        out=tmp_path / "run",
        registry=registry,
    )
    assert parameters(run) == LAST
    assert run.config.target.common.generate == tuple(LAST)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generate": lambda name, value: False}, "chooses no parameter"),
        ({"generate": lambda name, value: 1 / 0}, "the function failed: ZeroDivisionError"),
        ({"generate": ["3.wieght"]}, "unknown parameter '3.wieght'"),
        ({"weights": {"1.weight": torch.ones(2)}}, "weights: they are not the module's"),
    ],
)
def test_what_cannot_be_chosen_is_told(tmp_path, registry, given, message):
    with pytest.raises(ConfigError, match=message):
        hf.train("digits", of_module(), module=module(), **given, out=tmp_path / "run", registry=registry)
    assert not (tmp_path / "run").exists()


def test_a_function_or_state_needs_a_module(tmp_path):
    for given in ({"generate": lambda name, value: True}, {"weights": {}}):
        with pytest.raises(ConfigError, match="none was handed over"):
            hf.train("digits", SHORT, **given, out=tmp_path / "run")


def experiment_of(registry, **changes):
    settings = {key: value for key, value in SHORT.items() if key != "generator.hidden" or "generator" not in changes}
    return build_experiment(load_config("digits", {**settings, **changes}, registry))


def points_of(generator):
    return [value.detach() for value in generator.parameters()]


@pytest.mark.parametrize("generator", ["direct", "modes"])
@pytest.mark.parametrize("prior", [0, 3])
def test_base_points_begin_at_trained_weights(registry, tmp_path, generator, prior):
    """All of them, also below a prior; a layer that the file lacks begins anew."""
    count = {"direct": "networks", "modes": "modes"}[generator]
    changes = {"generator": generator, f"generator.{count}": 4, "prior.functions": prior}
    own = experiment_of(registry, **{"target.hidden": [6], "trainer.seed": 5}).target
    state = dict(own.module.state_dict())
    first = own.spec.layers[0]
    for part, names in (("all", set(state)), ("first", {param.parameter for param in first.params})):
        file = tmp_path / f"{part}.safetensors"
        save_file({name: value for name, value in state.items() if name in names}, file)
        built = experiment_of(registry, **{**changes, "target.weights": str(file), "target.generate": ["*"]})
        inner = getattr(built.generator, "inner", built.generator)
        before = [value.clone() for value in points_of(inner)]
        begin(built)
        points = inner.points if generator == "modes" else inner.layers
        for number, layer in enumerate(own.spec.layers):
            rows = torch.cat(
                [
                    state[param.parameter].flatten(1)
                    if state[param.parameter].dim() > 1
                    else state[param.parameter][:, None]
                    for param in layer.params
                ],
                1,
            )
            at_trained = all(torch.equal(one, rows) for one in points[number])
            assert at_trained is (part == "all" or layer.name == first.name)
            assert at_trained or torch.equal(points[number], before[number])


@pytest.mark.parametrize("prior", [0, 3])
def test_a_network_that_a_part_begins_at_was_trained_around_what_is_kept(registry, tmp_path, prior):
    own = dict(experiment_of(registry, **{"trainer.seed": 5}).target.module.state_dict())
    trunk = next(iter(own))
    head = {name: value for name, value in own.items() if name.startswith("3")}
    for name, held in (("whole", own), ("head", head), ("rounded", {**own, trunk: own[trunk] * (1 + 1e-6)})):
        save_file(held, tmp_path / f"{name}.safetensors")
    whole, alone, rounded = (str(tmp_path / f"{name}.safetensors") for name in ("whole", "head", "rounded"))
    modes = {"generator": "modes", "generator.modes": 2, "target.generate": [3], "prior.functions": prior}
    for kept, given in ((True, alone), (whole, whole), (whole, rounded)):
        begin(experiment_of(registry, **{**modes, "target.weights": kept, "generator.from": [given]}))
    built = experiment_of(registry, **{**modes, "target.weights": True, "generator.from": [alone, whole]})
    with pytest.raises(
        ConfigError, match=rf"generator\.from: .*whole.* '{trunk}' differs. Set target\.weights=.*whole"
    ):
        begin(built)


def test_trained_weights_that_would_count_for_nothing_are_told(registry):
    with pytest.raises(ConfigError, match="generator 'mlp' has no base points, and all weights are generated"):
        begin(experiment_of(registry, **{"target.weights": True}))


def test_a_generator_without_base_points_says_which_layers_begin_anew(registry):
    built = experiment_of(registry, **{"target.weights": True, "target.generate": ["*.bias", "3"]})
    with pytest.warns(HyperframeWarning, match="would have had trained weights, and begins? without them"):
        begin(built)


def test_adapters_begin_around_trained_weights_with_any_generator(registry):
    begin(experiment_of(registry, **{"target.weights": True, "target.adapter": "lora"}))


def test_the_same_examples_give_the_gradient_of_their_copies(registry):
    """One row of examples for all networks, or a copy for each, chunk by chunk and with weights of examples."""
    built = experiment_of(registry, **{"trainer.chunk": 3, "objective.bootstrap": "exponential"})
    data = built.task.data("train")
    x, y = data.x[:5].double(), data.y[:5]
    built.target.to("cpu", torch.float64)
    generator = built.generator.double()
    z = generator.latent(4, torch.Generator().manual_seed(0)).double()
    counts = torch.rand(4, 5, dtype=torch.float64)
    found = []
    for batch in (Data(x[None], y[None]), Data(x.expand(4, *x.shape), y.expand(4, 5))):
        generator.zero_grad()
        rng = torch.Generator().manual_seed(1)
        metrics = built.loss.gradients(generator, z, batch, rng, accuracy_weight=10.0, example_weights=counts)
        found.append([metrics["loss"], *[value.grad.clone() for value in generator.parameters()]])
    assert built.loss.evaluations == 2 * 4 * 5
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_same_examples_are_drawn_for_all_networks(registry, monkeypatch):
    """The loss is given the right parts, and an objective is asked about the right examples."""
    for same in (True, False):
        built = experiment_of(registry, **{"trainer.same_examples": same, "objective.bootstrap": "exponential"})
        trainer = Trainer(built, built.task.data("train"))
        given, asked = [], []
        weights_of = built.loss.objective.example_weights
        monkeypatch.setattr(
            built.loss.objective,
            "example_weights",
            lambda code, ids, *rest, asked=asked, weights_of=weights_of: (
                asked.append(ids),
                weights_of(code, ids, *rest),
            )[1],
        )
        gradients = built.loss.gradients
        monkeypatch.setattr(
            built.loss,
            "gradients",
            lambda *args, given=given, gradients=gradients, **named: (
                given.append((args, named)),
                gradients(*args, **named),
            )[1],
        )
        trainer.step()
        ((_, _, batch, _), named) = given[0]
        assert batch.x.shape[:2] == ((1 if same else 4), 8)
        assert named["example_weights"].shape == (4, 8)
        assert (asked[0] == asked[0][:1]).all() == same
