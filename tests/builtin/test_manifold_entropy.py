"""The entropy from the induced metric: linear maps, curved ones, probes, batch normalisation, and where it is −∞."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hyperframe import Generator
from hyperframe.api import make_registry
from hyperframe.builtin.diversities.manifold_entropy.held_moments import HeldMoments
from hyperframe.builtin.diversities.manifold_entropy.logdet import exact_logdet, probed_logdet
from hyperframe.config.choices import choose
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError
from hyperframe.experiment.build import build_experiment
from hyperframe.targets import LayerSpec, TargetSpec, bias
from hyperframe.targets.weights import flatten
from hyperframe.types import DiversityInputs

REGISTRY = make_registry()


def term(**options):
    return choose(REGISTRY, "diversity", {"name": "manifold_entropy", "networks": None, **options}, "diversity").make(
        None
    )


class Mapped(Generator):
    """Any map of a uniform z on [0, 1]^k to rows; the weights of a layer without a kernel."""

    def __init__(self, size, entries, function, parameters=()):
        layer = LayerSpec(name="point", filters=entries, params=[bias("point")])
        spec = TargetSpec(name="point", input_shape=(1,), num_outputs=entries, layers=[layer])
        super().__init__(spec, dimension=size)
        self.function = function
        self.own = nn.ParameterList(parameters)

    def latent(self, count, rng):
        return torch.rand(count, self.dimension, generator=rng, dtype=torch.float64)

    def latent_entropy(self):
        return 0.0

    def forward(self, z):
        return {"point": self.function(z)[:, :, None]}


def rows_of(weights):
    return torch.cat([theta.flatten(1) for theta in weights.values()], 1)


def entropy(generator, z, seed=0, directions=10**6, **options):
    rng = torch.Generator().manual_seed(seed)
    inputs = DiversityInputs(
        z=z, generator=generator, gauged=rows_of, directions=directions, dimension=generator.dimension, rng=rng
    )
    return -term(**options)(inputs)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(size=st.integers(1, 5), more=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_linear_map_has_the_entropy_of_its_volume(size, more, seed):
    matrix = draw(size, size + more, seed=seed)
    generator = Mapped(size, size + more, lambda z: z @ matrix)
    expected = float(torch.linalg.svdvals(matrix).log().sum())
    z = generator.latent(4, torch.Generator().manual_seed(0))
    assert float(entropy(generator, z)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    scaled = Mapped(size, size + more, lambda z: 8 * z @ matrix)
    assert float(entropy(scaled, z)) == pytest.approx(expected + size * math.log(8), rel=1e-9, abs=1e-9)


def curved(z):
    """A patch of a torus in four dimensions, not flat and not evenly filled."""
    a, b = z[:, 0], z[:, 1]
    return torch.stack([a.exp(), a * b, b.square() + b, (a + 2 * b).sin()], 1)


def test_it_agrees_with_estimators_from_samples_on_a_smooth_injective_map():
    """Their own errors at n = 3,000 in two dimensions are below a tenth of a nat; see docs/results/entropies.md."""
    generator = Mapped(2, 4, curved)
    z = generator.latent(3000, torch.Generator().manual_seed(0))
    exact = float(entropy(generator, z))
    samples = rows_of(generator(z))
    neighbours = choose(
        REGISTRY, "entropy", {"name": "kozachenko_leonenko", "constants": True, "neighbour": 3}, "e"
    ).make()
    assert float(neighbours(samples, 2)) == pytest.approx(exact, abs=0.1)
    first, second = (float(entropy(generator, z[half])) for half in (slice(1500), slice(1500, None)))
    assert first == pytest.approx(second, abs=0.05)


def test_where_the_map_folds_the_value_is_an_upper_bound():
    generator = Mapped(1, 2, lambda z: torch.cat([(2 * z - 1).abs(), 0 * z], 1))  # uniform on [0, 1], twice
    z = generator.latent(2000, torch.Generator().manual_seed(0))
    neighbours = choose(REGISTRY, "entropy", {"name": "kozachenko_leonenko", "constants": True}, "e").make()
    assert float(entropy(generator, z)) == pytest.approx(math.log(2), rel=1e-9)
    assert float(neighbours(rows_of(generator(z)), 1)) == pytest.approx(0, abs=0.1)


def test_a_lost_direction_is_a_finite_floor_with_a_finite_gradient():
    scale = nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))
    generator = Mapped(2, 3, lambda z: torch.cat([z * scale, z[:, :1]], 1), [scale])
    found = entropy(generator, generator.latent(3, torch.Generator().manual_seed(0)))
    (gradient,) = torch.autograd.grad(found, [scale])
    assert found.isfinite()
    assert float(found.detach()) < -15
    assert gradient.isfinite().all()


def damped_logdet(jacobian, damping):
    """log det(JᵀJ + s I), s a part of the largest eigenvalue, and its inverse."""
    product = jacobian.mT @ jacobian
    values = torch.linalg.eigvalsh(product)
    shifted = product + damping * values[:, -1:, None] * torch.eye(product.shape[1], dtype=torch.float64)
    return torch.linalg.slogdet(shifted).logabsdet, torch.linalg.inv(shifted)


def probe(jacobian, signs, steps, damping):
    product = jacobian.mT @ jacobian
    return probed_logdet(lambda v: (product @ v[:, :, None])[:, :, 0], signs, steps, damping)


@pytest.mark.parametrize("damping", [1e-12, 1e-2])
def test_probes_are_exact_with_all_steps_and_all_signs(damping):
    jacobian = draw(2, 9, 4, seed=3)
    signs = [[1.0 - 2 * (number >> bit & 1) for bit in range(4)] for number in range(16)]
    rows = [torch.tensor(row, dtype=torch.float64).expand(2, 4) for row in signs]
    found = [probe(jacobian, row, 4, damping) for row in rows]
    logdet, inverse = damped_logdet(jacobian, damping)
    torch.testing.assert_close(torch.stack([one.logdet for one in found]).mean(0), logdet)
    for row, one in zip(rows, found, strict=True):
        torch.testing.assert_close(one.solution, (inverse @ row[:, :, None])[:, :, 0], rtol=1e-6, atol=1e-8)


def test_the_damped_determinant_without_damping_is_the_exact_one():
    jacobian = draw(3, 9, 4, seed=3)
    torch.testing.assert_close(damped_logdet(jacobian, 0.0)[0], exact_logdet(jacobian))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_that_depend_on_others_leave_probes_bounded(dtype):
    """The condition number of the system that is solved is at most 1 + 1 / damping, whatever J is."""
    jacobian = draw(3, 20, 6, seed=1)
    jacobian[:, :, 5] = jacobian[:, :, 0] - jacobian[:, :, 1]
    _, inverse = damped_logdet(jacobian, 1e-2)
    signs = torch.ones(3, 6, dtype=dtype)
    found = probe(jacobian.to(dtype), signs, 6, 1e-2)
    torch.testing.assert_close(found.solution.double(), inverse.sum(2), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rank_that_is_lost_is_a_floor_of_the_exact_value_without_a_gradient(dtype):
    for seed in range(5):
        jacobian = draw(1, 20, 6, seed=seed).to(dtype)
        jacobian[:, :, 5] = jacobian[:, :, 0] - jacobian[:, :, 1]
        leaf = jacobian.requires_grad_()
        value = exact_logdet(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), [leaf])
        others = torch.linalg.svdvals(leaf.detach().double())[0, :5].square().log()
        largest = others[0]
        floor = {torch.float64: 64 * 2.0**-52, torch.float32: (64 * 2.0**-23) ** 2 + 64 * 2.0**-52}[dtype]
        assert float(value.detach()) == pytest.approx(float(others.sum() + largest) + math.log(floor), rel=1e-4)
        lost = torch.linalg.svd(leaf.detach()[0].double()).Vh[5].to(dtype)
        assert float((gradient[0] @ lost).norm()) < 1e-2 * float(gradient.norm())


def test_probes_with_fewer_steps_than_columns_come_close():
    jacobian = draw(3, 400, 50, seed=1) * torch.logspace(0, -4, 50, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    signs = [(2.0 * torch.randint(2, (3, 50), generator=rng) - 1).double() for _ in range(60)]
    found = torch.stack([probe(jacobian, one, 16, 1e-2).logdet for one in signs])
    torch.testing.assert_close(found.mean(0), damped_logdet(jacobian, 1e-2)[0], rtol=0.02, atol=0)


@pytest.mark.slow
def test_probed_gradients_have_the_exact_one_as_their_mean():
    matrix = nn.Parameter(draw(3, 6))
    generator = Mapped(3, 6, lambda z: (z @ matrix).tanh(), [matrix])
    z = generator.latent(2, torch.Generator().manual_seed(0))
    (exact,) = torch.autograd.grad(entropy(generator, z), [matrix])
    found = []
    for seed in range(400):
        value = entropy(generator, z, seed=seed, exact_up_to=0, lanczos=3, damping=1e-6)
        found.append(torch.autograd.grad(value, [matrix])[0])
    several = torch.stack(found)
    error = several.std(0) / math.sqrt(len(found))
    assert bool(((several.mean(0) - exact).abs() <= 4.5 * error + 1e-4).all())


def build_digits(*overrides):
    built = build_experiment(
        load_config("digits_hypernetwork", ["trainer.device=cpu", "target.channels=[2,3]", *overrides], REGISTRY)
    )
    built.generator.double()
    built.target.to("cpu", torch.float64)
    return built


def test_batch_normalisation_is_held_at_the_moments_of_the_batch():
    built = build_digits("generator.latent=3")
    generator = built.generator.train()
    z = generator.latent(6, torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    held = HeldMoments(generator, z)
    alone = [held(z[row : row + 1]) for row in range(6)]
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    together = generator(z)
    for layer, theta in together.items():
        torch.testing.assert_close(torch.cat([one[layer] for one in alone]), theta, rtol=1e-9, atol=1e-12)
    generator.eval()
    for layer, theta in HeldMoments(generator, z[:2])(z).items():
        torch.testing.assert_close(theta, generator(z)[layer], rtol=1e-12, atol=1e-14)


def test_the_gradient_is_the_slope_with_batch_normalisation_and_a_gauge():
    built = build_digits("generator.latent=3", "diversity=[manifold_entropy]")
    generator = built.generator.train()
    z = generator.latent(5, torch.Generator().manual_seed(0))

    def value():
        inputs = built.loss.inputs(generator, z, generator(z), torch.Generator().manual_seed(0))
        return built.loss.terms[0].term(inputs)

    parameter = generator.extractor.linears[0].weight
    (gradient,) = torch.autograd.grad(value(), [parameter])
    way, start = draw(*parameter.shape), parameter.detach().clone()
    ends = []
    for step in (1e-6, -1e-6):
        parameter.data = start + step * way
        ends.append(float(value().detach()))
    assert float((gradient * way).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


@pytest.mark.slow
def test_probes_give_value_and_gradient_of_a_shipped_generator():
    """Its Jacobian is ill-conditioned; probes estimate the damped determinant of that Jacobian."""
    built = build_digits("generator.latent=12")
    generator = built.generator.train()
    z = generator.latent(4, torch.Generator().manual_seed(0))
    parameter = generator.extractor.linears[1].weight

    def found(seed=0, **options):
        inputs = DiversityInputs(
            z=z,
            generator=generator,
            gauged=lambda theta: flatten(built.target.spec, built.gauge(theta)),
            directions=built.loss.directions,
            dimension=generator.dimension,
            rng=torch.Generator().manual_seed(seed),
        )
        value = term(**options)(inputs)
        return float(value.detach()), torch.autograd.grad(value, [parameter])[0]

    probed = [found(seed, exact_up_to=0, lanczos=10, damping=0.05) for seed in range(48)]
    held = HeldMoments(generator, z)
    at = z.clone().requires_grad_()
    flat = flatten(built.target.spec, built.gauge(held(at)))
    columns = [torch.autograd.grad(flat[:, entry].sum(), [at], create_graph=True)[0] for entry in range(flat.shape[1])]
    jacobian = torch.stack(columns, 1)
    with torch.no_grad():
        largest = torch.linalg.eigvalsh(jacobian.mT @ jacobian)[:, -1:, None]
    shifted = jacobian.mT @ jacobian + 0.05 * largest * torch.eye(12, dtype=torch.float64)
    value = -(generator.latent_entropy() + torch.linalg.slogdet(shifted).logabsdet.mean() / 2)
    (gradient,) = torch.autograd.grad(value, [parameter])
    mean = torch.stack([one for _, one in probed]).mean(0)
    assert sum(one for one, _ in probed) / len(probed) == pytest.approx(float(value.detach()), rel=0.02)
    cosine = torch.nn.functional.cosine_similarity(mean.flatten(), gradient.flatten(), 0)
    assert float(cosine) > 0.9
    assert float(mean.norm() / gradient.norm()) == pytest.approx(1, abs=0.25)


def test_a_narrow_layer_lets_fewer_directions_through(hyperframe, tmp_path):
    code, _, error = hyperframe("train", "diabetes", "generator.hidden=[3]", "--out", tmp_path / "run")
    assert code == 2
    assert "z has 97 entries, but what the generator draws has only 3 directions" in error


@pytest.mark.parametrize(
    ("override", "directions"), [("generator.code=1", 29), ("generator.weight_generators=[2,1]", 29)]
)
def test_narrow_codes_and_weight_generators_let_fewer_directions_through(hyperframe, tmp_path, override, directions):
    code, _, error = hyperframe(
        "train", "digits_hypernetwork", "diversity=[manifold_entropy]", override, "--out", tmp_path / "run"
    )
    assert code == 2
    assert f"z has 64 entries, but what the generator draws has only {directions} directions" in error
    assert not (tmp_path / "run").exists()


def test_more_entries_of_z_than_directions_are_refused():
    generator = Mapped(4, 6, lambda z: torch.cat([z, z[:, :2]], 1))
    with pytest.raises(ConfigError, match="z has 4 entries, but weights after the gauge have only 3 directions"):
        entropy(generator, generator.latent(3, torch.Generator().manual_seed(0)), directions=3)


def test_a_training_with_more_entries_of_z_than_directions_does_not_begin(hyperframe, tmp_path):
    code, _, error = hyperframe(
        "train", "toy", "diversity=[manifold_entropy]", "generator.latent=3", "--out", tmp_path / "run"
    )
    assert code == 2
    assert "z has 3 entries, but weights after the gauge have only 2 directions" in error
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_generator_whose_z_is_a_number_is_refused(hyperframe, tmp_path):
    settings = ["generator=direct", "generator.networks=4", "trainer.networks=4", "diversity=[manifold_entropy]"]
    code, _, error = hyperframe("train", "digits", *settings, "--out", tmp_path / "run")
    assert code == 2
    assert "needs a z with a density; Direct declares no latent_entropy" in error
