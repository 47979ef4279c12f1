"""Properties of each generator beyond the laws of its kind."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from hyperframe.builtin.diversities.manifold_entropy.held_moments import HeldMoments
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.experiment.build import build_experiment
from hyperframe.networks.generator import initial_std
from hyperframe.networks.sampled import draw_weights
from hyperframe.options import read_options
from hyperframe.testing import strategies

ALL = Registry(make_plugin_manager()).all()
GENERATORS = [entry for entry in ALL if entry.kind == "generator"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def entry(name):
    return next(entry.component for entry in GENERATORS if entry.component.name == name)


@pytest.fixture
def digits(registry):
    return build_experiment(load_config("digits", ["trainer.device=cpu"], registry))


def make(name, spec, task=None, **options):
    component = entry(name)
    return component.factory(read_options(component.options, options, "generator"), spec, task)


def build(name, digits, **options):
    return make(name, digits.target.spec, digits.task, **options)


def perceptron(inputs, hidden):
    """The spec of a perceptron with two outputs."""
    component = next(entry.component for entry in ALL if (entry.kind, entry.component.name) == ("target", "mlp"))
    options = read_options(component.options, {"input_shape": [inputs], "hidden": hidden, "outputs": 2}, "target")
    module, spec = component.factory(options)
    return spec.bind(module)


@pytest.mark.parametrize("name", ["hypernetwork", "mlp", "direct"])
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_latents_can_be_drawn_by_hypothesis(digits, name, data):
    generator = build(name, digits)
    z = data.draw(strategies.latents(generator))
    weights = generator(z)
    assert generator.minimum_batch <= len(z)
    assert generator.networks in (None, len(z))
    assert all(theta.isfinite().all() for theta in weights.values())


@pytest.mark.parametrize("name", ["hypernetwork", "mlp"])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_hyperfan_gives_the_targets_own_variance(digits, name, batch_norm, distribution):
    squares = {}
    for seed in range(16):
        torch.manual_seed(seed)
        options = {"latent_distribution": distribution, "latent_scale": 1.7, "batch_norm": batch_norm}
        generator = build(name, digits, initialisation="hyperfan", latent=128, **options)
        weights = generator(generator.latent(64, rng(seed)))
        for layer in generator.spec.layers:
            for role, place in layer.columns.items():
                found = float(weights[layer.name].detach()[:, :, place].square().mean())
                squares.setdefault((layer.name, role), []).append(found)
    for (layer, role), found in squares.items():
        spec = generator.spec.layer(layer)
        wanted = float(initial_std(generator.spec, spec)[spec.columns[role]][0])
        assert (sum(found) / len(found)) ** 0.5 == pytest.approx(wanted, rel=0.25), (layer, role)
    assert float(initial_std(generator.spec, generator.spec.layer("conv2"))[0]) == pytest.approx((2 / 108) ** 0.5)
    assert float(initial_std(generator.spec, generator.spec.layer("out"))[0]) == pytest.approx((1 / 64) ** 0.5)


@pytest.mark.parametrize(("distribution", "scale"), [("uniform", 0.5), ("uniform", 2.0), ("normal", 0.5)])
def test_the_latents_distribution(digits, distribution, scale):
    generator = build("hypernetwork", digits, latent_distribution=distribution, latent_scale=scale, latent=50)
    z = generator.latent(4000, rng())
    assert float(z.mean()) == pytest.approx(0, abs=0.02 * scale)
    assert float(z.std()) == pytest.approx(scale * (1 if distribution == "normal" else 3**-0.5), rel=0.02)
    if distribution == "uniform":
        assert float(z.abs().max()) <= scale


def test_filters_of_a_layer_share_their_weight_generator(digits):
    generator = build("hypernetwork", digits, batch_norm=False).eval()
    codes = generator.codes(generator.latent(2, rng()))
    stack = generator.weight_generators[0]
    weights = generator(generator.latent(2, rng()))["conv1"]
    for filter_ in range(weights.shape[1]):
        assert torch.allclose(weights[:, filter_], stack(codes["conv1"][:, filter_]), atol=1e-6)
    assert codes["out"].shape == (2, 1, 8)


@pytest.mark.parametrize(
    ("whole", "uses"),
    [(["last"], [12, 16, 1]), ([], [12, 16, 10]), (["conv1", "out"], [1, 16, 1])],
)
def test_layers_in_whole_have_one_code(digits, whole, uses):
    generator = build("hypernetwork", digits, whole=whole)
    assert [row["codes"] for row in generator.describe()["weight_generators"]] == uses
    assert generator(generator.latent(2, rng()))["conv1"].shape == (2, 12, 10)


def test_options_change_the_stack(digits):
    generator = build("hypernetwork", digits, bias=True, batch_norm=False, activation="tanh", extractor=[])
    assert not any(isinstance(module, nn.BatchNorm1d | nn.LeakyReLU) for module in generator.modules())
    assert all(module.bias is not None for module in generator.modules() if isinstance(module, nn.Linear))
    assert generator.describe()["extractor"]["sizes"] == [64, 8 * 29]
    generator(generator.latent(2, rng()))


def test_wrong_options_of_the_hypernetwork(digits):
    with pytest.raises(ConfigError, match=r"generator.whole: unknown layer 'conv3'; did you mean 'conv"):
        build("hypernetwork", digits, whole=["conv3"])
    with pytest.raises(ConfigError, match=r"generator.weight_generators: expected one list for all, or 3.*got 2"):
        build("hypernetwork", digits, weight_generators=[[3], [4]])


def test_running_moments_start_from_the_first_batch(digits):
    generator = build("hypernetwork", digits, initialisation="authors")
    z = generator.latent(64, rng())
    with torch.no_grad():
        trained = generator(z)
        evaluated = generator.eval()(z)
    for name, value in trained.items():
        assert float((evaluated[name] - value).norm()) < 0.1 * float(value.norm()), name


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (2000, "2,000 networks at once are too many: no room; draw fewer"),
        (1, "not even one network fits: no room; take"),
    ],
)
@pytest.mark.parametrize("where", ["generator", "sampled"])
def test_what_helps_where_networks_do_not_fit(digits, monkeypatch, where, count, message):
    monkeypatch.setattr(f"hyperframe.networks.{where}.missing_memory", lambda needed: "no room")
    with pytest.raises(MemoryShortageError, match=message):
        draw_weights(build("mlp", digits), count, rng())


def test_direct_draws_each_network_once(digits):
    generator = build("direct", digits, networks=5)
    assert generator.latent(5, rng()).tolist() == [0, 1, 2, 3, 4]
    drawn = generator.latent(3, rng()).tolist()
    assert len(set(drawn)) == 3
    with pytest.raises(ConfigError, match="holds 5 networks, 6 were asked for"):
        generator.latent(6, rng())


def test_direct_leaves_undrawn_networks_alone(digits):
    generator = build("direct", digits, networks=3)
    generator(torch.tensor([1]))["out"].sum().backward()
    gradient = generator.layers[2].grad
    assert float(gradient[1].min()) == 1
    assert float(gradient[[0, 2]].abs().max()) == 0


def rank_of_jacobian(generator, seed):
    """Return the rank of ∂ weights / ∂ z in float64 at random parameters, the greatest at several z."""
    draw = rng(seed)
    with torch.no_grad():
        for parameter in generator.double().parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / parameter.shape[-1] ** 0.5
            )
    z = generator.latent(6, draw)
    held = HeldMoments(generator.train(), z)

    def rows(one):
        return torch.cat([theta.flatten() for theta in held(one[None]).values()])

    return max(int(torch.linalg.matrix_rank(torch.func.jacrev(rows)(one), rtol=1e-11)) for one in z)


narrow = st.integers(1, 9)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    target=st.fixed_dictionaries({"inputs": st.integers(1, 3), "hidden": st.lists(st.integers(1, 4), max_size=2)}),
    whole=st.sampled_from([["last"], []]),
    latent=st.integers(1, 14),
    options=st.fixed_dictionaries(
        {
            "code": st.integers(1, 4),
            "extractor": st.lists(st.integers(1, 14), max_size=2),
            "weight_generators": st.lists(st.integers(1, 4), max_size=2),
            "batch_norm": st.booleans(),
            "bias": st.booleans(),
            "rank": st.sampled_from([None, 1, 2, 3]),
            "residual": st.booleans(),
            "sharing": st.sampled_from(["layer", "shape"]),
            "layer_code": st.integers(1, 3),
            "activation": st.sampled_from(["leaky_relu", "tanh", "silu"]),
        }
    ),
    seed=st.integers(0, 99),
)
def test_the_dimension_of_a_hypernetwork_is_the_rank_of_its_jacobian(target, whole, latent, options, seed):
    spec = perceptron(**target)
    generator = make("hypernetwork", spec, latent=latent, whole=whole, **options)
    assert generator.dimension == rank_of_jacobian(generator, seed)


@settings(max_examples=20, deadline=None)
@given(
    latent=narrow,
    hidden=st.lists(narrow, max_size=2),
    options=st.fixed_dictionaries(
        {"batch_norm": st.booleans(), "rank": st.sampled_from([None, 1, 2, 3]), "residual": st.booleans()}
    ),
    seed=st.integers(0, 99),
)
def test_the_dimension_of_a_perceptron_is_the_rank_of_its_jacobian(latent, hidden, options, seed):
    generator = make("mlp", perceptron(1, [2]), latent=latent, hidden=hidden, **options)
    assert generator.dimension == rank_of_jacobian(generator, seed)


@pytest.mark.parametrize(
    ("options", "dimension"),
    [
        ({}, 64),
        ({"code": 1}, 12 + 16 + 1),
        ({"code": 2}, 2 * 29),
        ({"code": 1, "whole": ["conv1", "conv2", "out"]}, 3),
        ({"weight_generators": [[1], [2], [5]], "code": 5}, 12 + 2 * 16 + 5),
        ({"extractor": [7]}, 7),
        ({"latent": 300, "extractor": [400], "code": 400, "weight_generators": []}, 12 * 10 + 16 * 109 + 400),
    ],
)
def test_the_dimension_is_that_of_the_narrowest_layer(digits, options, dimension):
    generator = build("hypernetwork", digits, **options)
    assert generator.dimension == min(dimension, *generator.extractor.sizes[:-1])
