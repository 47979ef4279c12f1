"""Joint log-losses: their numbers, and the analysis."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses import joint_prediction
from hyperframe.builtin.analyses.joint_prediction import Options, draw_batches, joint_losses, log_likelihoods_of
from hyperframe.errors import NotApplicableError
from hyperframe.runtime.rng import stream

FEW = settings(max_examples=25)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batches_of(examples, batches, inputs, seed=0):
    return torch.randint(examples, (batches, inputs), generator=torch.Generator().manual_seed(seed))


@FEW
@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_losses_are_those_of_the_definition(networks, batches, inputs, seed):
    log_likelihoods, chosen = -random(networks, 4, seed=seed).square(), batches_of(4, batches, inputs, seed)
    found = joint_losses(log_likelihoods, chosen, [1, networks])
    p = log_likelihoods.exp()[:, chosen]  # [networks, batches, inputs]
    torch.testing.assert_close(found["joint"][-1], -p.prod(-1).mean(0).log())
    torch.testing.assert_close(found["marginal"][-1], -p.mean(0).prod(-1).log())
    single = -log_likelihoods[:, chosen].sum(-1).mean(0)
    torch.testing.assert_close(found["joint"][0], single)
    torch.testing.assert_close(found["marginal"][0], single)


@FEW
@given(st.integers(0, 99), st.integers(1, 8))
def test_losses_fall_with_the_size_and_joint_ones_of_one_input_are_marginal(seed, inputs):
    """By Jensen's inequality, where each ensemble is made of whole smaller ones."""
    found = joint_losses(-3 * random(8, 5, seed=seed).abs(), batches_of(5, 4, inputs, seed), [1, 2, 4, 8])
    for losses in found.values():
        assert (losses.diff(dim=0) <= 1e-12).all()
    if inputs == 1:
        torch.testing.assert_close(found["joint"], found["marginal"])


@FEW
@given(st.integers(2, 6), st.integers(1, 400))
def test_one_network_that_is_right_is_enough(networks, inputs):
    """However improbable the labels are to the others, and however many there are: no probability underflows."""
    log_likelihoods = torch.full((networks, 1), -1e6, dtype=torch.float64)
    log_likelihoods[-1] = 0
    found = joint_losses(log_likelihoods, torch.zeros(1, inputs, dtype=torch.int64), [networks])
    assert float(found["joint"]) == pytest.approx(math.log(networks))
    assert float(found["marginal"]) == pytest.approx(inputs * math.log(networks))


def test_networks_that_doubt_alike_gain_nothing_by_joint_prediction():
    found = joint_losses(torch.full((5, 3), -0.7), batches_of(3, 6, 10), [5])
    torch.testing.assert_close(found["joint"], found["marginal"])


def test_the_size_of_parts_does_not_matter(monkeypatch):
    log_likelihoods, chosen = -random(6, 20).square(), batches_of(20, 11, 4)
    whole = joint_losses(log_likelihoods, chosen, [2, 6])
    monkeypatch.setattr(joint_prediction, "AT_ONCE", 60)
    parts = joint_losses(log_likelihoods, chosen, [2, 6])
    assert all(torch.equal(whole[kind], parts[kind]) for kind in whole)


@FEW
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_a_batch_has_no_more_different_examples_than_anchors(examples, anchors, seed):
    options = Options(batches=50, inputs=6, anchors=anchors)
    batches = draw_batches(examples, options, torch.Generator().manual_seed(seed))
    assert batches.shape == (50, 6)
    assert all(len(batch.unique()) <= min(anchors, examples) for batch in batches)
    assert ((batches >= 0) & (batches < examples)).all()


def test_all_examples_and_all_anchors_are_drawn_evenly():
    batches = draw_batches(4, Options(batches=4000, inputs=10), torch.Generator().manual_seed(0))
    assert batches.flatten().bincount(minlength=4).tolist() == pytest.approx([10_000] * 4, rel=0.05)
    same = (batches[:, :1] == batches[:, 1:]).double().mean()  # of one anchor, or of two that are the same example
    assert float(same) == pytest.approx(0.5 + 0.5 / 4, abs=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {**PERCEPTRON, "trainer.steps": 20, "trainer.rate": 1e-2}
    return hf.train("digits", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_results_are_those_of_the_drawn_networks(run):
    options = {"networks": 6, "batches": 30, "examples": 10_000, "inputs": 4}
    found = analyse(run, "joint_prediction", make_registry(), options)
    data = run.data("test")
    assert (found["networks"], found["examples"], found["sizes"]) == (6, len(data), [1, 2, 5, 6])
    networks = run.sample(6, run.config.evaluation.seed)
    own = networks.gathered(data.x, lambda outputs: outputs.double().log_softmax(-1))
    own = own.gather(-1, data.y.expand(6, -1)[..., None])[..., 0]
    torch.testing.assert_close(log_likelihoods_of(networks, data), own)
    rng = stream(run.config.evaluation.seed, "joint prediction")
    losses = joint_losses(own, draw_batches(len(data), Options(**options), rng), found["sizes"])
    for kind in ("joint", "marginal"):
        for row, at in zip(losses[kind], found[kind], strict=True):
            assert at["loss"] == pytest.approx(float(row.mean()))
            assert at["per_input"] == pytest.approx(at["loss"] / 4)
            assert at["standard_error"] == pytest.approx(float(row.std()) / 30**0.5)
    assert found["joint"][-1]["loss"] < found["joint"][0]["loss"]


def test_likelihoods_of_values_are_those_of_the_gaussian(tmp_path):
    settings = {**PERCEPTRON, "trainer.steps": 2, "objective": "trade_off", "diversity": "none"}
    run = hf.train("diabetes", settings, out=tmp_path / "run")
    found = analyse(run, "joint_prediction", make_registry(), {"networks": 3, "batches": 9})
    assert found["joint"][0]["loss"] == pytest.approx(found["marginal"][0]["loss"])
    networks, data = run.sample(3), run.data("test")
    nll = torch.stack([run.experiment.task.loss(net(data.x), data.y) for net in networks]).detach().double()
    torch.testing.assert_close(log_likelihoods_of(networks, data), -nll, rtol=1e-4, atol=1e-4)


def test_a_loss_that_is_no_likelihood_has_none(tmp_path):
    toy = {"trainer.steps": 1, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    with pytest.raises(NotApplicableError, match=r"joint_prediction.*likelihoods.*gaussian_mixture"):
        analyse(hf.train("toy", toy, out=tmp_path / "toy"), "joint_prediction", make_registry())
