"""The analysis `novelty`: distances after matching, common mistakes, and what noise and averages do."""

import math

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.novelty.neighbourhood import (
    Neighbourhood,
    correlation,
    nearest_other,
    overlaps,
    pairs_of,
    reach,
)
from hyperframe.errors import HyperframeWarning, NotApplicableError
from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.weights import concatenate, flatten, slice_weights
from hyperframe.testing.examples import EXAMPLES, random_weights


@st.composite
def mistakes(draw):
    networks, examples = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rows = st.lists(st.booleans(), min_size=examples, max_size=examples)
    return torch.tensor(draw(st.lists(rows, min_size=networks, max_size=networks)))


@settings(max_examples=25)
@given(wrong=mistakes())
def test_overlaps_are_those_of_sets(wrong):
    found = overlaps(wrong, wrong)
    sets = [set(row.nonzero()[:, 0].tolist()) for row in wrong]
    for one, first in enumerate(sets):
        for other, second in enumerate(sets):
            expected = len(first & second) / len(first | second) if first | second else 1.0
            assert float(found[one, other]) == pytest.approx(expected)


@pytest.fixture(scope="module")
def around():
    target = Target(*EXAMPLES["residual"]()).to("cpu", torch.float64)
    return Neighbourhood(orbits(target.structure, shift_invariant=True), random_weights(target.spec, 4, 0)), target


def test_permuted_copies_are_at_no_distance(around):
    neighbourhood, target = around
    of = orbits(target.structure, shift_invariant=True)
    action = random_action(of, 4, torch.Generator().manual_seed(1), kinds=["permutation"])
    distances = neighbourhood.distances(apply_action(of, action, neighbourhood.samples))
    assert distances.shape == (4, 4)
    assert not distances.diagonal().any()
    assert (distances + torch.eye(4) > 0).all()
    assert torch.equal(distances, neighbourhood.distances(neighbourhood.samples))


def test_noise_has_its_amplitude(around):
    neighbourhood, target = around
    noised = neighbourhood.add_noise(2, 0.01, seed=0)
    sample = slice_weights(neighbourhood.samples, slice(2, 3))
    for layer, theta in sample.items():
        assert float((noised[layer] - theta).norm()) == pytest.approx(0.01 * float(theta.norm()))
    nearest, which = neighbourhood.distances(noised).min(1)
    assert which.tolist() == [2]
    norm = float(flatten(target.spec, sample).norm()) / neighbourhood.norm
    assert float(nearest) == pytest.approx(0.01 * norm)


def test_every_copy_has_noise_of_its_own(around):
    neighbourhood, target = around
    rows = flatten(target.spec, neighbourhood.samples)

    def noise(number, seed):
        return (flatten(target.spec, neighbourhood.add_noise(number, 0.01, seed)) - rows[number])[0]

    one, other, again = noise(0, 0), noise(1, 0), noise(0, 1)
    assert torch.equal(one, noise(0, 0))
    assert all(abs(float(torch.cosine_similarity(one, each, 0))) < 0.5 for each in (other, again))


def test_the_average_of_permuted_copies_is_the_network(around):
    neighbourhood, target = around
    of = orbits(target.structure, shift_invariant=True)
    one = slice_weights(neighbourhood.samples, slice(0, 1))
    copy = apply_action(of, random_action(of, 1, torch.Generator().manual_seed(1), kinds=["permutation"]), one)
    averaged = Neighbourhood(of, concatenate([one, copy])).average(0, 1)
    assert all(torch.equal(averaged[layer], one[layer]) for layer in one)


def test_zero_networks_are_at_no_distance():
    target = Target(*EXAMPLES["dense"]()).to("cpu", torch.float64)
    zero = {layer: 0 * theta for layer, theta in random_weights(target.spec, 2, 0).items()}
    assert not Neighbourhood(orbits(target.structure, shift_invariant=True), zero).distances(zero).any()


def test_nearest_others():
    distances = torch.tensor([[0.0, 1.0, 3.0], [0.5, 0.0, 2.0], [4.0, 2.5, 0.0]])
    nearest, which = nearest_other(distances)
    assert nearest.tolist() == [0.5, 0.5, 2.0]
    assert pairs_of(which.tolist()) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("losses", "allowed", "expected"),
    [
        ([0.2, 0.4], 0.1, 0.5),
        ([-0.1, 0.3], 0.1, 1.5),
        ([0.1, 0.1], 0.1, None),
        ([0.2, 0.4], 0.0, 0.0),
        ([0.0, 0.0], 0.0, None),
    ],
)
def test_reach_is_interpolated_between_levels(losses, allowed, expected):
    found = reach([1.0, 2.0], losses, allowed)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_constant_has_no_correlation():
    assert correlation(torch.ones(3), torch.arange(3)) is None
    assert correlation(torch.arange(3), torch.arange(3)) == pytest.approx(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {"trainer.steps": 8, "trainer.networks": 4, "trainer.device": "cpu", "evaluation.networks": 2}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_figures_and_pictures(run):
    found = analyse(run, "novelty", make_registry(), {"networks": 6})
    folder = run.folder / "analyses" / "novelty"
    assert {path.name for path in folder.iterdir()} == {"results.json", "distance.png", "overlap.png", "networks.json"}
    assert all(math.isfinite(number) for number in tiny.numbers(found))
    assert [found[name]["networks"] for name in ("drawn", "noised")] == [6, 6]
    assert 3 <= found["averaged"]["networks"] <= 6
    assert found["not_fixed"] == []
    assert found["verdict"].startswith("drawn networks are")
    accuracy = run.evaluate(6)["accuracy"]
    assert found["drawn"]["accuracy"]["mean"] == pytest.approx(accuracy["mean"], abs=1e-6)
    assert all(0 <= overlap <= 1 for overlap in found["drawn"]["each"]["overlap"])
    again = analyse(run, "novelty", make_registry(), {"networks": 6})
    assert again == found


@pytest.mark.slow
def test_an_interrupted_one_goes_on(run, monkeypatch):
    whole = analyse(run, "novelty", make_registry(), {"networks": 3})
    distances = Neighbourhood.distances
    calls = []

    def stopped(self, weights):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return distances(self, weights)

    monkeypatch.setattr(Neighbourhood, "distances", stopped)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        analyse(run, "novelty", make_registry(), {"networks": 3})
    assert analyse(run, "novelty", make_registry(), {"networks": 3}) == whole
    assert len(calls) == 4  # one of three parts was kept


def test_equal_networks_are_copies(run, monkeypatch):
    """A generator whose networks are all the same one: no distance, all mistakes in common, no NaN."""
    forward = run.experiment.generator.forward
    monkeypatch.setattr(
        run.experiment.generator,
        "forward",
        lambda z: {layer: theta[:1].expand(len(z), -1, -1) for layer, theta in forward(z).items()},
    )
    found = analyse(run, "novelty", make_registry(), {"networks": 3})
    assert found["drawn"]["distance"]["median"] == 0
    assert found["drawn"]["overlap"]["median"] == 1
    assert "no farther" in found["verdict"]
    assert found["correlation"] == {"distance_and_overlap": None, "distance_and_accuracy": None}
    assert all(math.isfinite(number) for number in tiny.numbers(found))


@pytest.mark.slow
def test_runs_without_classes_or_with_one_network_are_refused(run, small, tmp_path):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.every": 2, "evaluation.networks": 2}
    other = hf.train("diabetes", settings, out=tmp_path / "regression")
    with pytest.raises(NotApplicableError, match="analysis 'novelty' does not apply: it is about probabilities"):
        analyse(other, "novelty", make_registry())
    changes = {
        "generator": "direct",
        "generator.networks": 1,
        "trainer.networks": 1,
        "diversity": [],
        "trainer.steps": 2,
    }
    single = {**settings, **changes, "evaluation.test_networks": 1, "evaluation.networks": 1}
    one = hf.train("digits_hypernetwork", single, out=tmp_path / "single")
    with pytest.raises(NotApplicableError, match=r"needs 2 networks, but .* holds 1"):
        analyse(one, "novelty", make_registry())


@pytest.mark.slow
def test_networks_with_statistics(tmp_path):
    """A target with BatchNorm, whose kernels have a symmetry that no gauge of the run fixes."""
    from modules import Residual

    settings = {**tiny.GENERATED, "trainer.steps": 2, "evaluation.every": 2, "evaluation.statistics": 20}
    run = hf.train("digits_hypernetwork", settings, module=Residual(), out=tmp_path / "run")
    found = analyse(run, "novelty", make_registry(), {"networks": 2})
    assert "normalisation" in found["not_fixed"]
    assert found["averaged"]["networks"] == 1
    assert all(math.isfinite(number) for number in tiny.numbers(found))
