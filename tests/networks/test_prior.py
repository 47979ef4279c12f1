"""Prior functions: fixed random networks whose mixture is drawn with each network and added to its outputs."""

import copy

import attrs
import pytest
import safetensors.torch
import tiny
import torch
from components import REGISTRY, make
from hypothesis import given
from hypothesis import strategies as st
from pretended import cuda, move, value_of
from torch import nn
from torch.func import functional_call

import hyperframe as hf
from hyperframe.cli.main import main
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.experiment.bound import departures
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.evaluation import gauged_rows
from hyperframe.networks import prior as module
from hyperframe.networks.prior import LAYER, GeneratorWithPrior, PriorFunctions, WithPrior, with_prior
from hyperframe.networks.storage import read_samples
from hyperframe.targets import LayerSpec, shift
from hyperframe.targets.weights import unpack
from hyperframe.testing import of_generators, of_targets, of_training
from hyperframe.testing.examples import EXAMPLES
from hyperframe.testing.laws import try_law
from hyperframe.testing.networks import Classes

PRIOR = {"prior.functions": 3, "prior.scale": 0.5, "prior.hidden": 4}
SETTINGS = {**tiny.CHECKED, **tiny.PERCEPTRON, **PRIOR}
GENERATORS = {
    "mlp": {"latent": 5, "hidden": [4]},
    "hypernetwork": {"latent": 5, "extractor": [6], "weight_generators": [5], "code": 2},
    "direct": {"networks": 4},
    "modes": {"modes": 3, "latent": 4, "extractor": [6], "weight_generators": [5], "code": 2},
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def built(overrides=None, name="digits"):
    return build_experiment(load_config(name, {"trainer.device": "cpu", **(overrides or {})}, REGISTRY))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", SETTINGS, out=tmp_path_factory.mktemp("prior") / "run")


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**32))
def test_the_prior_is_the_mixture_of_its_functions(functions, outputs, hidden, seed):
    """Each g_i by itself, unit by unit, in float64."""
    prior = PriorFunctions(6, outputs, functions=functions, hidden=hidden, scale=0.7, rng=rng(seed)).double()
    c, x = torch.randn(functions, generator=rng(seed)).double(), torch.randn(5, 2, 3, generator=rng(1)).double()
    first, bias, last = (prior.get_buffer(name) for name in ("first", "bias", "last"))
    wanted = torch.zeros(5, outputs, dtype=torch.float64)
    for i in range(functions):
        units = slice(i * hidden, (i + 1) * hidden)
        wanted += c[i] * (x.flatten(1) @ first[units].T + bias[units]).relu() @ last[i].T
    found = functional_call(prior, {"coefficients": c}, (x,))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_scale_is_the_deviation_of_what_is_added():
    """At an input with mean square 1, over many draws of functions and coefficients."""
    x = torch.ones(1, 12)
    found = []
    for seed in range(200):
        prior = PriorFunctions(12, 20, functions=2, hidden=8, scale=3.0, rng=rng(seed))
        found.append(functional_call(prior, {"coefficients": torch.randn(2, generator=rng(1000 + seed))}, (x,)))
    assert float(torch.cat(found).square().mean().sqrt()) == pytest.approx(3.0, rel=0.1)


def test_a_network_is_the_trained_one_and_its_prior(run):
    nets, x = run.sample(4), run.data("test").x[:6]
    plain = built({**SETTINGS, "prior.functions": 0}).target
    inner, z = run.experiment.generator.inner, run.experiment.generator.latent(4, rng())
    weights = run.experiment.generator(z)
    torch.testing.assert_close(
        run.experiment.target.forward(weights, x, shared=True),
        plain.forward(inner(z), x, shared=True)
        + torch.stack([functional_call(nets[0].prior, {"coefficients": c}, (x,)) for c in weights[LAYER].flatten(1)]),
    )
    assert isinstance(nets[1], WithPrior)
    assert torch.equal(nets[1](x), nets[1].network(x) + nets[1].prior(x))
    assert torch.equal(nets[1].prior.coefficients, nets.weights[LAYER][1].flatten())
    assert bool((nets[1].prior(x) - nets[2].prior(x)).abs().amax(0).gt(1e-3).all())


def test_training_moves_neither_coefficients_nor_functions(run):
    before = built(SETTINGS)
    z = before.generator.latent(4, rng())
    one, other = before.generator(z), run.experiment.generator(z)
    assert [torch.equal(one[name], other[name]) for name in one] == [False, False, True]
    assert not one[LAYER].requires_grad
    for name, value in before.target.constants().items():
        assert torch.equal(value, run.experiment.target.constants()[name]), name
    plain = built({**SETTINGS, "prior.functions": 0}).generator.state_dict()
    assert all(torch.equal(value, before.generator.state_dict()[f"inner.{name}"]) for name, value in plain.items())


@pytest.mark.parametrize("off", [{"prior.functions": 0}, {"prior.scale": 0}])
def test_no_prior_is_the_plain_target_bit_for_bit(tmp_path, off):
    runs = [hf.train("digits", {**tiny.CHECKED, **tiny.PERCEPTRON, **more}, out=tmp_path / name) for name, more in
            (("with", {**PRIOR, **off}), ("without", {}))]  # fmt: skip
    one, other = (run.experiment.generator.state_dict() for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one | other)
    assert runs[0].config.kept() == runs[1].config.kept()


@pytest.mark.parametrize("name", GENERATORS)
def test_coefficients_are_normal_and_of_each_networks_own(name):
    """Over many z, or many seeds of `direct`, whose networks' coefficients are independent."""
    options = {"generator": {"name": name, **GENERATORS[name]}, "trainer.networks": 4, **PRIOR}
    drawn = []
    for seed in range(12):
        generator = built({**options, "trainer.seed": seed, "target": "mlp", "target.hidden": [3]}).generator
        drawn.append(generator.coefficients(generator.latent(generator.at_most(100), rng(seed))))
    c = torch.cat(drawn)
    assert len(c.unique(dim=0)) == len(c)
    assert c.mean(0).abs().max() < 0.5
    torch.testing.assert_close(c.std(0), torch.ones(3), rtol=0.3, atol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_wrapping_generator_keeps_the_laws(name):
    def wrapped(spec):
        inner = make("generator", name, GENERATORS[name], spec, Classes(spec))
        prior = LayerSpec(name=LAYER, filters=3, params=[shift("prior.coefficients", shape=(3,))])
        return GeneratorWithPrior(inner, attrs.evolve(spec, layers=[*spec.layers, prior], drawn=[LAYER]), rng())

    for law in (*of_generators.LAWS, *of_training.LAWS):
        verdict = try_law(law, [of_generators.GeneratorCase("dense", wrapped)])
        assert verdict.state == "passed", verdict.explain()


@pytest.mark.parametrize("name", ["dense", pytest.param("residual", marks=pytest.mark.slow)])
def test_targets_keep_their_symmetries_and_gain_none(name):
    target = with_prior(tiny.target_of(EXAMPLES[name]()), functions=3, hidden=4, scale=1.0, rng=rng())
    case = of_targets.TargetCase(target)
    assert case.orbits.counts == of_targets.TargetCase(tiny.target_of(EXAMPLES[name]())).orbits.counts
    for law in of_targets.LAWS:
        verdict = try_law(law, [case])
        assert verdict.state != "failed", verdict.explain()


ANSWERS = {
    "penalty": 1.5,
    "base_points": {"layer": 1},
    "before_training": None,
    "before_step": None,
    "make_optimizer": "an optimiser",
    "after_step": None,
    "parameter_groups": [(0.5, [])],
    "latent_entropy": 2.5,
    "is_injective": True,
    "at_most": 7,
    "departures": ["one"],
    "describe": {"parameters": 2},
}


def test_the_wrapping_generator_asks_the_inner_one():
    """Whatever a generator may say for itself is said by the inner one, and nothing is asked that it does not see."""
    spec, asked = built(SETTINGS).target.spec, []
    inner = make("generator", "mlp", {"latent": 2, "hidden": []}, spec.trained, None)
    inner.latent_distribution, inner.minimum_batch = "normal", 3
    made = GeneratorWithPrior(inner, spec, rng())
    attributes = {
        name for name, value in vars(hf.Generator).items() if not callable(value) and not name.startswith("_")
    }
    assert all(getattr(made, name) == getattr(inner, name) != getattr(hf.Generator, name) for name in attributes)
    for name, answer in ANSWERS.items():
        setattr(inner, name, lambda *given, name=name, answer=answer: (asked.append((name, given)), answer)[1])
    z = made.latent(3, rng())
    given = {
        "penalty": (z, made(z)),
        "before_step": (3, 4),
        "make_optimizer": ([], None),
        "after_step": (1, 2),
        "at_most": (9,),
    }
    found = {name: getattr(made, name)(*given.get(name, ())) for name in ANSWERS}
    assert [name for name, _ in asked] == list(ANSWERS)
    of_contract = {name for name, value in vars(hf.Generator).items() if callable(value) and not name.startswith("_")}
    assert of_contract == {*ANSWERS, "latent", "forward", "code"}  # a new method must be passed on too
    assert set(asked[0][1][1]) == set(spec.trained.layer_names)
    assert [found_given for name, found_given in asked if name in ("before_step", "after_step")] == [(3, 4), (1, 2)]
    assert found.pop("departures") == [
        "one",
        "draws a prior's coefficients as a function of z: q has no density among all weights",
    ]
    assert found.pop("describe") == {"parameters": 2, "prior": {"functions": 3, "code": 2}}
    assert all(value == ANSWERS[name] for name, value in found.items())


def test_no_diversity_sees_the_coefficients(run):
    """The rows are those of the trained layers, and the coefficients are no directions of theirs."""
    plain = built({**SETTINGS, "prior.functions": 0})
    rows, dimension = gauged_rows(run.experiment, run.sample(4))
    loss, generator = run.experiment.loss, run.experiment.generator
    z = generator.latent(4, rng())
    weights = generator(z)
    moved = weights | {LAYER: weights[LAYER] + 5}
    one, other = (loss.inputs(generator, z, given, rng()).flat for given in (weights, moved))
    assert torch.equal(one, other)
    assert one.shape == rows.shape == (4, plain.target.spec.num_weights)
    assert loss.directions == plain.loss.directions
    assert dimension == plain.generator.dimension


def test_the_entropy_of_the_manifold_is_that_without_a_prior():
    """The same generator on the same z: neither value nor gradient changes."""
    options = {**SETTINGS, "diversity": "manifold_entropy", "gauges": [], "generator.latent": 3}
    found = []
    for functions in (0, 3):
        made = built({**options, "prior.functions": functions})
        z = made.generator.latent(4, rng())
        term = made.loss.terms[0].term(made.loss.inputs(made.generator, z, made.generator(z), rng()))
        found.append((term.detach(), *torch.autograd.grad(term, list(made.generator.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_saved_loaded_resumed_sampled_and_distilled(tmp_path, run):
    nets, x = run.sample(3), run.data("test").x[:5]
    again = hf.load(run.folder).sample(3)
    assert all(torch.equal(again.weights[name], value) for name, value in nets.weights.items())
    assert torch.equal(again.predict(x), nets.predict(x))
    hf.train("digits", {**SETTINGS, "trainer.stop_after": 2}, out=tmp_path / "cut")
    resumed = hf.resume(tmp_path / "cut").experiment.generator.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in run.experiment.generator.state_dict().items())
    hyperframe("sample", run.folder, "-n", 2, "--split", tmp_path / "split")
    hyperframe("sample", run.folder, "-n", 3, "--out", tmp_path / "all.safetensors")
    state = safetensors.torch.load_file(tmp_path / "split" / "network_00000.safetensors")
    own = run.experiment.target.network(nets.weights, 2)
    own.load_state_dict(state)
    assert torch.equal(own(x).softmax(-1), run.sample(2).predict(x)[0])
    read = read_samples(tmp_path / "all.safetensors", run.experiment.target, run.experiment.task, torch.device("cpu"))
    assert torch.equal(read.weights[LAYER], nets.weights[LAYER])
    hyperframe("distill", run.folder, "--steps", 2, "-n", 2, "--out", tmp_path / "one.safetensors")
    own.load_state_dict(safetensors.torch.load_file(tmp_path / "one.safetensors"))
    assert own(x).isfinite().all()


def test_base_points_begin_at_networks_without_a_prior(tmp_path):
    """A network's own state_dict has not the prefix that its parameters have in a target with a prior."""
    plain = hf.train("digits", {**SETTINGS, "prior.functions": 0}, out=tmp_path / "plain").sample(1)
    safetensors.torch.save_file(plain.state_dict(0), tmp_path / "one.safetensors")
    generator = {"name": "modes", **GENERATORS["modes"], "from": [str(tmp_path / "one.safetensors")]}
    settings = {key: value for key, value in SETTINGS.items() if not key.startswith("generator")}
    made = built({**settings, "generator": generator, "trainer.networks": 4}).generator
    made.before_training()
    for name, point in zip(made.inner.spec.layer_names, made.inner.points, strict=True):
        assert torch.equal(point[0], plain.weights[name][0])
        assert not torch.equal(point[1], point[0])


def hyperframe(*arguments):
    main.main([str(argument) for argument in arguments], standalone_mode=False)


def test_a_run_keeps_its_prior(tmp_path, run):
    with pytest.raises(ConfigError, match=r"a run keeps its prior\.scale \(prior\.scale: 0\.5 → 2\.0\)"):
        hf.resume(run.folder, {"prior.scale": 2})
    plain = hf.train("digits", {**SETTINGS, "prior.functions": 0, "trainer.stop_after": 1}, out=tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"a run keeps its prior\.functions"):
        hf.resume(plain.folder, {"prior.functions": 2})
    off = hf.train("digits", {**SETTINGS, "prior.scale": 0, "trainer.stop_after": 1}, out=tmp_path / "off")
    with pytest.raises(ConfigError, match=r"keeps its prior\.scale \(prior\.scale: 0\.?0? → 2\.0\)"):
        hf.resume(off.folder, {"prior.scale": 2})


def test_a_regression_has_a_prior(tmp_path):
    settings = {**tiny.CHECKED, **PRIOR, "objective": "trade_off", "diversity": [], "gauges": []}
    run = hf.train("diabetes", {**settings, "generator": {"name": "mlp", "hidden": [4]}}, out=tmp_path / "run")
    nets, x = run.sample(2), run.data("test").x[:4]
    shown = nets[0](x)
    assert shown.shape == (4, 1)
    standard = run.experiment.target.inputs.apply(x)
    torch.testing.assert_close(shown, nets[0].network(standard) + nets[0].prior(standard))


def test_a_prior_is_no_bound_of_the_evidence():
    reasons = departures(built({**PRIOR, "trainer.networks": 4}, "diabetes"))
    assert any("draws a prior's coefficients as a function of z" in reason for reason in reasons)
    assert departures(built({}, "diabetes")) == []


class Table(nn.Module):
    """Looks two numbers up."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 3), nn.Linear(3, 4)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


def test_a_prior_of_a_table_is_refused(tmp_path):
    data = torch.randint(5, (60, 2), generator=rng()), torch.arange(60) % 4
    with pytest.raises(ConfigError, match=r"prior\.functions: target 'module' looks its inputs up in a table"):
        hf.train(module=Table(), data=data, overrides={**tiny.GENERATED, **PRIOR}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_prior_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(module, "missing_memory", lambda needed: f"{needed} bytes are needed")
    with pytest.raises(MemoryShortageError, match=r"prior\.functions=3 with prior\.hidden=4 are too many: 3552 bytes"):
        built(SETTINGS)


def test_a_prior_on_a_device():
    """Functions drawn on the CPU move with target and generator, and no step waits for them."""
    made = built(SETTINGS)
    z, x = made.generator.latent(4, rng()), torch.rand(3, 1, 8, 8, generator=rng())
    wanted = made.target.forward(made.generator(z), x, shared=True)
    copies = copy.deepcopy(made.generator), copy.deepcopy(made.target.module)
    with cuda() as waits:
        generator, network, there, inputs = (move(one) for one in (*copies, z, x))
        before = len(waits)
        weights = unpack(made.target.spec, generator(there))
        found = [
            functional_call(network, {name: value[n] for name, value in weights.items()}, (inputs,)) for n in range(4)
        ]
        assert not waits[before:]
    for one, other in zip(found, wanted, strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(value_of(one), other)
