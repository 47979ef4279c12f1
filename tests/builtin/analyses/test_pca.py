"""Principal components from columns, and the analysis of how drawn weights scatter."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
import hyperframe.builtin.analyses.pca as module
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.pca.components import DENSE, Gram
from hyperframe.errors import NotApplicableError

FEW = settings(max_examples=20)
SETTINGS = {**PERCEPTRON, "trainer.steps": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", SETTINGS, out=tmp_path_factory.mktemp("runs") / "run")


def run_analysis(run, **options):
    return analyse(run, "pca", make_registry(), {"samples": 40, "components": 2, **options})


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def components_of(x, count, parts=1):
    gram = Gram(len(x))
    for columns in x.tensor_split(parts, 1):
        gram.add(columns)
    return gram.components(count)


@FEW
@given(st.integers(0, 99), st.integers(3, 9), st.integers(1, 7), st.integers(1, 3))
def test_components_are_those_of_the_singular_value_decomposition(seed, samples, entries, parts):
    x = random(samples, entries, seed=seed) * torch.arange(1, entries + 1)
    found = components_of(x, 4, parts)
    left, values, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    count = min(4, entries, samples - 1)
    assert found.points.shape == (samples, count)
    torch.testing.assert_close(found.points.abs(), (left * values)[:, :count].abs(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.ratios, (values.square() / values.square().sum())[:count])
    farthest = found.points.gather(0, found.points.abs().argmax(0, keepdim=True))
    assert (farthest > 0).all()


def test_many_samples_have_the_components_that_few_have():
    x = random(DENSE + 100, 30) * torch.linspace(1, 5, 30)
    found = components_of(x, 6)
    left, values, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    torch.testing.assert_close(found.points.abs(), (left * values)[:, :6].abs(), rtol=1e-4, atol=1e-4)


@FEW
@given(st.integers(0, 99))
def test_neither_shifts_nor_rotations_change_the_scatter(seed):
    x = random(6, 4, seed=seed) * torch.tensor([1, 2, 4, 8])
    rotation = torch.linalg.qr(random(4, 4, seed=seed + 1))[0]
    moved = components_of(x @ rotation + random(4, seed=seed + 2), 3)
    torch.testing.assert_close(moved.points.abs(), components_of(x, 3).points.abs(), rtol=1e-6, atol=1e-6)


def test_kurtosis_of_known_clouds():
    uniform = components_of(torch.linspace(-1, 1, 399, dtype=torch.float64)[:, None], 6)
    assert float(uniform.excess_kurtosis[0]) == pytest.approx(-1.2, abs=0.01)
    two = components_of(torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]), 6)
    assert two.excess_kurtosis.tolist() == pytest.approx([-2.0])


def test_samples_that_do_not_differ_have_no_components():
    found = components_of(torch.ones(5, 3), 2)
    assert found.points.shape == (5, 0)
    assert found.ratios.shape == (0,)
    assert components_of(torch.tensor([[0.0, 1.0], [1.0, 1.0], [3.0, 1.0]]), 2).ratios.tolist() == pytest.approx([1.0])


@pytest.mark.slow
def test_series_of_all_layers_filters_and_the_network(run):
    found = run_analysis(run)
    spec = run.experiment.target.spec
    layers = [name for name in found["series"] if name.startswith("layer ")]
    assert layers == [f"layer {layer.name}" for layer in spec.layers]
    assert found["series"]["network"]["entries"] == spec.num_weights
    for own in found["series"].values():
        assert own["ratios"] == sorted(own["ratios"], reverse=True)
        assert sum(own["ratios"]) < 1 + 1e-6
        assert math.isfinite(own["mean_kurtosis"])
    folder = run.folder / "analyses" / "pca"
    kept = json.loads((folder / "pca.json").read_text())["series"]
    assert set(kept) == set(found["series"])
    assert len(kept["network"]["points"]) == 40
    assert len(kept["network"]["axes"]) == 2
    assert {picture["file"] for picture in found["pictures"]} | {"pca.json", "results.json"} == {
        path.name for path in folder.iterdir()
    }


def test_the_filter_is_the_one_with_the_greatest_variance(run):
    z = run.experiment.generator.latent(40, torch.Generator().manual_seed(0))
    names = [name for name, _ in module.series(run, z, 2) if name.startswith("filter ")]
    with torch.no_grad():
        weights = run.experiment.gauge(run.experiment.generator(z))
    greatest = {layer: int(value.var(0).sum(1).argmax()) for layer, value in weights.items()}
    assert names == [f"filter {number} of {layer}" for layer, number in greatest.items()]


@pytest.mark.parametrize("size", [1, 70, 200])
def test_the_scatter_does_not_depend_on_how_many_weights_are_held(run, size, monkeypatch):
    z = run.experiment.generator.latent(40, torch.Generator().manual_seed(0))
    whole = dict(module.series(run, z, 2))
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", size * 40)
    parts = dict(module.series(run, z, 2))
    assert list(parts) == list(whole)
    for name, (entries, components) in parts.items():
        assert entries == whole[name][0]
        torch.testing.assert_close(components.ratios, whole[name][1].ratios, rtol=1e-3, atol=1e-6)


def test_groups_of_filters_hold_everything_once(run):
    spec = run.experiment.target.spec
    for size in (1, 100, 130, 10**6):
        groups = module.group_filters(spec, size)
        for layer in spec.layers:
            places = [place for group in groups for own, place in group if own is layer]
            rows = [row for place in places for row in range(place.start, place.stop)]
            assert rows == list(range(layer.filters))
        assert all(
            sum(layer.filter_size * (place.stop - place.start) for layer, place in group) <= size or len(group) == 1
            for group in groups
        )


@pytest.mark.slow
def test_few_networks(tmp_path):
    settings = {key: value for key, value in SETTINGS.items() if key != "generator.hidden"}
    settings |= {"generator": "direct", "diversity": "none"}
    run = hf.train("digits", {**settings, "generator.networks": 3, "trainer.networks": 3}, out=tmp_path / "three")
    assert len(run_analysis(run)["series"]["network"]["ratios"]) == 2
    run = hf.train("digits", {**settings, "generator.networks": 2, "trainer.networks": 2}, out=tmp_path / "two")
    with pytest.raises(NotApplicableError, match="analysis 'pca' does not apply"):
        run_analysis(run)
