"""The hypernetwork's forms: weight generators that layers share, of low rank, and with skip connections."""

import json
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON
from torch import nn

import hyperframe as hf
from hyperframe.errors import ConfigError
from hyperframe.networks.generator import initial_std
from hyperframe.networks.hypernetwork import Hypernetwork, HypernetworkOptions
from hyperframe.targets import TargetSpec

FEW = settings(max_examples=15)
SMALL = {"latent": 5, "code": 3, "extractor": (12, 12), "weight_generators": (7, 7), "layer_code": 2}
FORMS = {
    "shared": {"sharing": "shape"},
    "low rank": {"rank": 2},
    "residual": {"residual": True},
    "all": {"sharing": "shape", "rank": 2, "residual": True},
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def perceptron(*sizes) -> TargetSpec:
    layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return hf.trace(nn.Sequential(*layers[:-1]), input_shape=(sizes[0],)).spec


@cache
def convolutions() -> TargetSpec:
    def block():
        return [nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU()]

    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)]
    return hf.trace(nn.Sequential(*block(), *block(), *head), input_shape=(2, 3, 3)).spec


def make(spec, seed=0, **options):
    torch.manual_seed(seed)
    return Hypernetwork(HypernetworkOptions(**{**SMALL, **options}), spec).double()


def shapes(generator):
    return [row["layers"] for row in generator.describe()["weight_generators"]]


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_layers_of_one_shape_share_a_weight_generator():
    spec = perceptron(4, 4, 4, 3, 4)
    first, second, third, last = spec.layer_names
    assert shapes(make(spec)) == [[first], [second], [third], [last]]
    assert shapes(make(spec, sharing="shape")) == [[first, second, third], [last]]
    assert shapes(make(spec, sharing="shape", whole=())) == [[first, second, third], [last]]
    # With one code for the whole layer, those share that have as many filters.
    assert shapes(make(spec, sharing="shape", whole=(first, second, third))) == [[first, second], [third], [last]]
    assert shapes(make(spec, sharing="shape", whole=(second,))) == [[first, third], [second], [last]]


def test_filters_of_one_size_with_other_parts_do_not_share():
    with_bias, with_norm = nn.Linear(3, 3), nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    module = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), with_norm, nn.ReLU(), nn.Linear(2, 3), nn.ReLU(), with_bias)
    spec = hf.trace(module, input_shape=(4,)).spec
    assert [layer.filter_size for layer in spec.layers] == [5, 4, 3, 4]
    assert len(shapes(make(spec, sharing="shape", whole=()))) == 4


@FEW
@given(st.integers(0, 3), st.integers(0, 99), st.booleans())
def test_weights_depend_on_their_layers_codes_and_layer_code_alone(chosen, seed, low_rank):
    spec = perceptron(4, 4, 4, 4, 2)
    generator = make(spec, seed, sharing="shape", rank=1 if low_rank else None).eval()
    name, z = spec.layer_names[chosen], generator.latent(3, rng(seed))
    codes = generator.codes(z)
    before = generator(z)
    moved = {**codes, name: codes[name] + 1}
    generator.codes = lambda z: moved
    assert changed(before, generator(z)) == {name}
    generator.codes = lambda z: codes
    assert changed(before, generator(z)) == set()
    assert generator.layer_codes.shape == (3, 2)
    if chosen < 3:
        with torch.no_grad():
            generator.layer_codes[chosen] += 1
        assert changed(before, generator(z)) == {name}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_shared_weight_generator_reads_a_code_and_the_layers_own(seed, train):
    spec = perceptron(4, 4, 2, 4)
    generator = make(spec, seed, sharing="shape", whole=()).train(train)
    z = generator.latent(6, rng(seed))
    assert len(shapes(generator)) == 2
    codes, weights, row = generator.codes(z), generator(z), 0
    for names, stack in zip(shapes(generator), generator.weight_generators, strict=True):
        read = []
        for name in names:
            own = codes[name]
            if len(names) > 1:
                own = torch.cat([own, generator.layer_codes[row].repeat(6, own.shape[1], 1)], 2)
                row += 1
            read.append(own)
        made = stack(torch.cat(read, 1)).split([own.shape[1] for own in read], 1)
        for name, part in zip(names, made, strict=True):
            assert torch.allclose(weights[name], part)


def test_weights_stay_in_the_order_of_the_layers():
    spec = perceptron(4, 4, 2, 4, 4)
    generator = make(spec, sharing="shape", whole=())
    assert [name for names in shapes(generator) for name in names] != list(spec.layer_names)
    assert list(generator(generator.latent(3, rng()))) == list(spec.layer_names)


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_hyperfan_gives_each_layer_its_own_deviation_in_every_form(options):
    """The last of three layers of one shape has no rectifier behind it, and √½ of the others' deviations."""
    spec = perceptron(*[24] * 4)
    wide = {"latent": 64, "code": 24, "layer_code": 16, "extractor": (96, 96, 96), "weight_generators": (96, 96)}
    squares = {}
    for seed in range(24):
        low_rank = {"rank": 20} if "rank" in options else {}
        generator = make(spec, seed, whole=(), initialisation="hyperfan", **wide, **{**options, **low_rank})
        assert len(generator.weight_generators) == (1 if "sharing" in options else 3)
        with torch.no_grad():
            made = generator(generator.latent(16, rng(seed)))
        for layer in spec.layers:
            for role, place in layer.columns.items():
                squares.setdefault((layer.name, role), []).append(float(made[layer.name][:, :, place].square().mean()))
    deviations = {key: (sum(found) / len(found)) ** 0.5 for key, found in squares.items()}
    for (name, role), found in deviations.items():
        layer = spec.layer(name)
        assert found == pytest.approx(float(initial_std(spec, layer)[layer.columns[role]][0]), rel=0.15), (name, role)
    first, *_, last = spec.layer_names
    assert deviations[last, "kernel"] / deviations[first, "kernel"] == pytest.approx(0.5**0.5, rel=0.1)


def test_a_shared_generator_starts_scales_at_one_and_can_move_them():
    spec = convolutions()
    generator = make(spec, sharing="shape", initialisation="hyperfan")
    assert len(generator.weight_generators) < len(spec.layers)
    z = generator.latent(4, rng())
    for layer in spec.layers:
        if "scale" in layer.columns:
            scale = generator(z)[layer.name][:, :, layer.columns["scale"]]
            assert torch.equal(scale, torch.ones_like(scale))
            (gradient,) = torch.autograd.grad(scale.sum(), generator.weight_generators[0].linears[-1].weight)
            assert float(gradient[layer.columns["scale"]].abs().max()) > 0


@pytest.mark.parametrize(("initialisation", "square"), [("hyperfan", 1.0), ("authors", 0.01)])
def test_layer_codes_start_with_the_mean_square_of_codes(initialisation, square):
    generator = make(perceptron(4, 4, 4, 2), sharing="shape", layer_code=6, initialisation=initialisation)
    assert generator.layer_codes.square().mean(1).tolist() == pytest.approx([square] * 2)
    assert not torch.equal(*generator.layer_codes)
    codes = generator.codes(generator.latent(400, rng()))
    assert float(torch.cat(list(codes.values()), 1).square().mean().detach()) == pytest.approx(square, rel=0.4)


def test_a_hypernetwork_without_sharing_keeps_the_names_of_its_parameters():
    generator = make(perceptron(2, 3, 3, 2))
    prefixes = dict.fromkeys(name.split(".stack.")[0] for name in generator.state_dict())
    assert list(prefixes) == ["extractor", *(f"weight_generators.{number}" for number in range(3))]


@pytest.mark.parametrize("options", [{}, *FORMS.values()], ids=str)
def test_the_rows_of_a_description_count_all_parameters(options):
    generator = make(perceptron(4, 4, 4, 2), bias=True, **options)
    described = generator.describe()
    rows = [described["extractor"], *described["weight_generators"]]
    counted = ("parameters", "biases", "batch_norm", "layer_codes")
    assert sum(row.get(column, 0) for row in rows for column in counted) == described["parameters"]
    assert sum(row["codes"] for row in described["weight_generators"]) == 4 + 4 + 1
    assert described["weight_generators"][0]["layer_codes"] == (2 * 2 if "sharing" in options else 0)
    assert described["extractor"]["rank"] == options.get("rank")
    assert described["extractor"]["skips"] == int("residual" in options)


@pytest.mark.parametrize(
    ("options", "dimension"),
    [
        ({}, 5),
        ({"rank": 2}, 2),
        ({"residual": True}, 5),
        ({"sharing": "shape", "code": 1, "latent": 12, "weight_generators": (1,)}, 4 + 4 + 1),
        ({"sharing": "shape", "code": 2, "latent": 12, "weight_generators": ((1,), (7,))}, 4 + 4 + 2),
    ],
    ids=str,
)
def test_the_dimension_is_that_of_the_narrowest_place(options, dimension):
    assert make(perceptron(4, 4, 4, 2), **options).dimension == dimension


def test_a_shared_generator_needs_a_list_for_each_group_of_layers():
    spec = perceptron(4, 4, 4, 2)
    first, second, last = spec.layer_names
    rows = make(spec, sharing="shape", weight_generators=((3,), (5, 5))).describe()["weight_generators"]
    assert [row["sizes"][1:-1] for row in rows] == [[3], [5, 5]]
    said = rf"one list for all, or 2, one for each weight generator of '.*' \({first} and {second}, {last}\), but got 3"
    with pytest.raises(ConfigError, match=said):
        make(spec, sharing="shape", weight_generators=((3,), (4,), (5,)))


@pytest.mark.parametrize("generator", ["hypernetwork", "mlp", "modes"])
def test_a_rank_of_zero_is_refused(generator, tmp_path):
    with pytest.raises(ConfigError, match=r"generator.rank: .*at least 1.* but got 0"):
        hf.train("digits", {"generator": {"name": generator, "rank": 0}}, out=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("name", "own", "steps", "rate"), [("hypernetwork", {}, 250, 2e-3), ("modes", {"modes": 2}, 80, 5e-3)]
)
def test_every_form_learns_and_is_read_again(name, own, steps, rate, options, tmp_path):
    """With a code for each filter of the last layer, that layer shares with the one before it."""
    stacks = {"latent": 16, "extractor": [32, 32], "weight_generators": [32, 32], "initialisation": "authors"}
    shape = {"whole": [], **options, **({"rank": 4} if "rank" in options else {})}
    few = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
    few |= {"target.hidden": [32, 32], "generator": {"name": name, **stacks, **shape, **own}, "diversity": "none"}
    few |= {"trainer.steps": steps, "trainer.rate": rate, "trainer.batch_size": 64, "trainer.log_every": 1}
    run = hf.train("digits", few, out=tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    again = hf.load(run.folder)
    trained, read = run.experiment.generator.state_dict(), again.experiment.generator.state_dict()
    assert list(trained) == list(read)
    assert any("layer_codes" in key for key in read) == ("sharing" in options)
    assert all(torch.equal(value, read[key]) for key, value in trained.items())
    one, other = run.sample(3, seed=5), again.sample(3, seed=5)
    assert all(torch.equal(value, other.weights[key]) for key, value in one.weights.items())
