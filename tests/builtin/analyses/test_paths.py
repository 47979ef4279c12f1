"""Paths between networks: their general properties, and the analysis on runs of several kinds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Residual
from tiny import GENERATED, PERCEPTRON

import hyperframe as hf
import hyperframe.builtin.analyses.paths as module
from hyperframe.analysis.runner import analyse
from hyperframe.analysis.scoring import mean_scores, some_examples
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.paths.bezier import curve_points, train_middle
from hyperframe.builtin.analyses.paths.geometry import barrier, length, linear, relative_length, spherical, straight
from hyperframe.errors import HyperframeWarning, NotApplicableError

FEW = settings(max_examples=20)
SETTINGS = {**PERCEPTRON, "trainer.steps": 3}
DIRECT = {
    **{key: value for key, value in SETTINGS.items() if key != "generator.hidden"},
    "generator": "direct",
    "diversity": "none",
}
CHEAP = {"pairs": 2, "points": 5, "examples": 40, "bezier_steps": 3}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", SETTINGS, out=tmp_path_factory.mktemp("runs") / "run")


@FEW
@given(st.integers(0, 99), st.integers(1, 6))
def test_ends_of_paths_are_the_two_vectors(seed, entries):
    one, other = random(2, entries, seed=seed)
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for path in (linear, spherical):
        torch.testing.assert_close(path(one, other, t), torch.stack([one, other]), rtol=1e-6, atol=1e-6)
    ends = straight({"fc": one[None, None]}, {"fc": other[None, None]}, t)["fc"]
    assert torch.equal(ends[:, 0], torch.stack([one, other]))


@FEW
@given(st.integers(0, 99), st.integers(2, 6))
def test_the_norm_on_a_sphere_is_kept(seed, entries):
    one, other = random(2, entries, seed=seed)
    other = other * one.norm() / other.norm()
    path = spherical(one, other, torch.linspace(0, 1, 7, dtype=torch.float64))
    torch.testing.assert_close(path.norm(dim=1), one.norm().expand(7), rtol=1e-5, atol=1e-6)
    # Equal steps of t are equal steps along the circle.
    steps = path.diff(dim=0).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(6), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("other", [[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
def test_without_a_circle_the_path_is_straight(other):
    one, other = torch.tensor([1.0, 0.0]), torch.tensor(other)
    t = torch.linspace(0, 1, 5)
    torch.testing.assert_close(spherical(one, other, t), linear(one, other, t))


@FEW
@given(st.integers(0, 99), st.floats(-5, 5), st.floats(-5, 5))
def test_a_straight_line_of_losses_is_no_barrier(seed, start, slope):
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    line = start + slope * t
    assert barrier(line, t) < 1e-12
    bumps = random(9, seed=seed).abs() * (t * (1 - t) > 0)
    assert barrier(line + bumps, t) == pytest.approx(float(bumps.max()), abs=1e-12)
    assert barrier(line - bumps, t) < 1e-12


@FEW
@given(st.integers(0, 99))
def test_no_path_is_shorter_than_the_distance_of_its_ends(seed):
    points = random(5, 3, seed=seed)
    assert relative_length(points) >= 1 - 1e-12
    assert relative_length(linear(points[0], points[1], torch.linspace(0, 1, 5))) == pytest.approx(1)
    assert relative_length(points[:1].expand(4, 3)) == 1
    assert length(2 * points) == pytest.approx(2 * length(points))


@FEW
@given(st.integers(0, 99))
def test_a_curve_whose_middle_is_the_ends_mean_is_straight(seed):
    one, other = random(2, 1, 4, seed=seed)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(curve_points(one, (one + other) / 2, other, t), linear(one[0], other[0], t))


def test_training_lowers_the_loss_along_the_curve(run):
    experiment, data = run.experiment, run.data("train")
    ends = [run.sample(1, seed).weights for seed in (1, 2)]
    rows = [hf.targets.flatten(experiment.target.spec, end) for end in ends]
    t = torch.linspace(0, 1, 5)

    def loss(middle):
        weights = hf.targets.unflatten(experiment.target.spec, curve_points(rows[0], middle, rows[1], t))
        return float(mean_scores(run.networks_of(weights), data)[0].mean())

    def trained(seed):
        return train_middle(
            experiment.target, experiment.task, tuple(ends), data, steps=40, examples=32, rate=0.02, seed=seed
        )

    assert loss(trained(0)) < loss((rows[0] + rows[1]) / 2) - 0.05
    assert torch.equal(trained(0), trained(0))


def test_a_curve_is_trained_at_random_places_as_networks_are(run, monkeypatch):
    """Batch statistics and dropout, images moved as the task moves them, and every t in [0, 1]."""
    target, task, data = run.experiment.target, run.experiment.task, run.data("train")
    ends = tuple(run.sample(1, seed).weights for seed in (1, 2))
    one, other = (hf.targets.flatten(target.spec, end) for end in ends)
    forward, places = target.forward, []

    def noting(weights, x, **options):
        assert options == {"training": True}
        assert x.shape[:2] == (1, 16)
        assert float(x.min()) >= 100  # as the task's variation has it
        difference = hf.targets.flatten(target.spec, weights).detach() - one  # the curve begins as a straight line
        places.append(float((difference * (other - one)).sum() / (other - one).square().sum()))
        return forward(weights, x, **options)

    monkeypatch.setattr(target, "forward", noting)
    monkeypatch.setattr(task, "augment", lambda images, rng: images + 100)
    for seed in range(40):
        train_middle(target, task, ends, data, steps=1, examples=16, rate=0.01, seed=seed)
    assert 0 <= min(places) < 0.2
    assert 0.8 < max(places) <= 1
    assert sum(places) / 40 == pytest.approx(0.5, abs=0.15)


def test_scores_are_those_of_the_evaluation(run):
    networks, data = run.sample(7), run.data("test")
    losses, scores = mean_scores(networks, data)
    results = run.evaluate(7)
    assert float(losses.mean()) == pytest.approx(results["nll"], rel=1e-5)
    assert float(scores.mean()) == pytest.approx(results["accuracy"]["mean"], rel=1e-6)
    assert float(scores.min()) == pytest.approx(results["accuracy"]["min"], rel=1e-6)


def test_some_items_are_different_ones(run):
    data = run.data("test")
    some = some_examples(data, 30, seed=3)
    assert len(some) == 30
    assert torch.equal(some.x, some_examples(data, 30, seed=3).x)
    assert some_examples(data, len(data), seed=3) is data


def run_analysis(run, **options):
    return analyse(run, "paths", make_registry(), {**CHEAP, **options})


def test_all_paths_of_a_pair_join_the_same_networks(run):
    found = run_analysis(run)
    assert [set(pair) for pair in found["pairs"]] == [
        {"direct", "direct_gauged", "interpolated", "trained"},
        {"direct", "direct_gauged", "interpolated"},
    ]
    for pair in found["pairs"]:
        for path in pair.values():
            for end in (0, -1):
                assert path["loss"][end] == pytest.approx(pair["direct"]["loss"][end], rel=1e-3)
                assert path["score"][end] == pytest.approx(pair["direct"]["score"][end], abs=0.03)
            assert path["relative_length"] > 0.999
        assert pair["direct_gauged"]["relative_length"] == pytest.approx(1, rel=0.05)
    assert found["paths"]["direct"]["pairs"] == 2
    assert found["paths"]["direct"]["drop"]["max"] == max(pair["direct"]["drop"] for pair in found["pairs"])
    folder = run.folder / "analyses" / "paths"
    assert sorted(path.name for path in folder.iterdir()) == ["paths.png", "results.json"]


@pytest.mark.slow
def test_it_goes_on_after_an_interruption(run, monkeypatch):
    calls, along = [], module.along

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return along(*arguments)

    whole = run_analysis(run, points=3, bezier_pairs=0)
    monkeypatch.setattr(module, "along", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        run_analysis(run, points=3, bezier_pairs=0)
    assert run_analysis(run, points=3, bezier_pairs=0) == whole
    assert len(calls) == 3  # two pairs, one of them twice


@pytest.mark.slow
def test_normal_z_have_a_spherical_path_and_no_curve_is_trained_unasked(tmp_path):
    run = hf.train("digits", {**SETTINGS, "generator.latent_distribution": "normal"}, out=tmp_path / "run")
    found = run_analysis(run, bezier_pairs=0, pairs=1)
    assert set(found["paths"]) == {"direct", "direct_gauged", "interpolated", "spherical"}


@pytest.mark.slow
def test_networks_without_a_vector_z_have_no_path_through_it(tmp_path):
    run = hf.train("digits", {**DIRECT, "generator.networks": 3, "trainer.networks": 3}, out=tmp_path / "run")
    found = run_analysis(run)
    assert len(found["pairs"]) == 1  # of three networks
    assert set(found["paths"]) == {"direct", "direct_gauged", "trained"}
    assert "direct" in found["skipped"]["paths through z"]


@pytest.mark.slow
def test_statistics_of_batch_norm_are_those_of_each_network(tmp_path):
    run = hf.train("digits", {**GENERATED, "trainer.steps": 2}, module=Residual(4), out=tmp_path / "run")
    path = run_analysis(run, pairs=1, points=3, examples=20)["pairs"][0]
    assert path["direct"]["loss"][0] == pytest.approx(path["interpolated"]["loss"][0], rel=1e-3)
    # Gauges move scales into the norms, and the networks at the ends stay the same.
    assert path["direct"]["loss"][0] == pytest.approx(path["direct_gauged"]["loss"][0], rel=1e-3)


@pytest.mark.slow
def test_regression_has_a_barrier_and_no_accuracy(tmp_path):
    run = hf.train(
        "diabetes", {"trainer.steps": 2, "trainer.device": "cpu", "objective": "trade_off"}, out=tmp_path / "run"
    )
    found = run_analysis(run, pairs=1)
    assert found["metric"]["label"] == "squared error"
    assert "drop" not in found["paths"]["direct"]
    assert any("barrier" in name for name in found["highlights"])


@pytest.mark.slow
def test_one_network_has_no_path(tmp_path):
    run = hf.train("digits", {**DIRECT, "generator.networks": 1, "trainer.networks": 1}, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'paths' does not apply"):
        run_analysis(run)
