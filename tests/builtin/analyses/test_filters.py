"""Slices of filters: where they lie, how much they differ, and the analysis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import GENERATED, PERCEPTRON
from torch import nn

import hyperframe as hf
import hyperframe.builtin.analyses.filters as module
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.filters.slices import slice_shape, slices_of, spreads
from hyperframe.errors import NotApplicableError
from hyperframe.targets.weights import pack

FEW = settings(max_examples=20)
SMALL = {**GENERATED, "trainer.steps": 2}


def run_analysis(run, **options):
    return analyse(run, "filters", make_registry(), {"networks": 6, **options})


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_slices_are_the_modules_own_kernels():
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ConvTranspose2d(5, 2, (2, 3))
    )
    layers = [
        hf.targets.LayerSpec(
            name="grouped",
            filters=6,
            groups=2,
            params=[hf.targets.kernel("0.weight", "o i h w"), hf.targets.bias("0.bias")],
        ),
        hf.targets.LayerSpec(
            name="pixel", filters=5, params=[hf.targets.kernel("2.weight", "o i h w"), hf.targets.bias("2.bias")]
        ),
        hf.targets.LayerSpec(
            name="up", filters=2, params=[hf.targets.kernel("3.weight", "i o h w"), hf.targets.bias("3.bias")]
        ),
    ]
    spec = hf.targets.TargetSpec(name="three", input_shape=(4, 8, 8), num_outputs=2, layers=layers).bind(module)
    found = slices_of(spec, pack(spec, {name: value[None] for name, value in module.named_parameters()}))
    assert set(found) == {"grouped", "up"}
    assert torch.equal(found["grouped"][0], module[0].weight)
    assert torch.equal(found["up"][0], module[3].weight.transpose(0, 1))


def test_rows_of_a_dense_layer_are_images_where_the_input_is_one():
    params = [hf.targets.kernel("weight", "o i", shape=(3, 12)), hf.targets.bias("bias", "o")]
    layer = hf.targets.LayerSpec(name="first", filters=3, params=params)
    for shape, images in [((3, 2, 2), (3, 2, 2)), ((12,), None), ((1, 2, 2), None)]:
        spec = hf.targets.TargetSpec(name="one", input_shape=shape, num_outputs=3, layers=[layer])
        assert slice_shape(spec, layer) == images


@FEW
@given(st.integers(0, 99), st.floats(0.01, 100))
def test_spreads_lie_between_0_and_1_and_know_no_size(seed, factor):
    slices = random(4, 2, 3, 2, 2, seed=seed) + 1
    found = spreads(slices)
    assert found.shape == (2, 3)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(spreads(factor * slices), found)


def test_spreads_of_known_slices():
    same = random(1, 1, 1, 3, 3).expand(5, 1, 1, 3, 3)
    assert float(spreads(same)) < 1e-7
    assert float(spreads(torch.cat([same, -same]))) == pytest.approx(1)
    assert float(spreads(torch.zeros(5, 1, 1, 3, 3))) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {**SMALL, "target.channels": [2, 3]}
    return hf.train("digits", settings, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_the_most_and_least_diverse_slice_of_each_convolution(run):
    found = run_analysis(run)
    assert {name: layer["slices"] for name, layer in found["layers"].items()} == {"conv1": 2, "conv2": 6, "out": 30}
    for layer in found["layers"].values():
        assert 0 <= layer["least"]["spread"] <= layer["spread"] <= layer["most"]["spread"] <= 1
    files = {path.name for path in (run.folder / "analyses" / "filters").iterdir()}
    assert files == {"filters_1.png", "filters_2.png", "filters_3.png", "results.json"}


def test_rows_behind_a_flatten_are_images_of_its_channels(run):
    networks = run.sample(2)
    found = slices_of(run.experiment.target.spec, networks.weights)["out"]
    assert found.shape == (2, 10, 3, 2, 2)
    assert torch.equal(found[1], networks[1][-1].weight.view(10, 3, 2, 2))


def test_a_few_large_weights_do_not_hide_the_others():
    slices = random(25, 1, 1, 7, 7).clamp(-4, 4)
    slices[0, 0, 0, 0, :2] = 1000.0
    place = {"filter": 0, "channel": 0, "spread": 0.5}
    figure = module._figure(slices, {"most": place, "least": place})
    (low, high), bar = figure.axes[0].images[0].get_clim(), figure.axes[0].images[0].colorbar
    assert -low == high < 4
    assert bar.extend == "both"  # which says that there are larger ones


def test_a_perceptron_shows_its_first_layer(tmp_path):
    run = hf.train("digits", {**PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "run")
    found = run_analysis(run, networks=30)
    assert [layer["slices"] for layer in found["layers"].values()] == [6]


def test_it_does_not_apply_where_nothing_is_an_image(tmp_path):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "objective": "trade_off"}
    run = hf.train("diabetes", settings, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'filters' does not apply"):
        run_analysis(run)
