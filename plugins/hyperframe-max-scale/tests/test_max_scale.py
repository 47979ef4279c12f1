"""The gauge keeps the laws of gauges, gives known answers, and trains networks."""

import pytest
import torch
from hyperframe_max_scale import largest_factors

import hyperframe as hf
from hyperframe.testing import conformance

SHORT = {"trainer.steps": 2, "trainer.networks": 8, "trainer.device": "cpu", "evaluation.networks": 2}


@conformance("max_scale", kind="gauge")
def test_laws(check):
    check()


def test_the_largest_entry_becomes_one():
    carried = torch.tensor([[[0.5, -0.25], [1.0, -8.0]], [[0.0, 0.0], [-2.0, 2.0]]])
    assert torch.equal(largest_factors(carried, None, 2), torch.tensor([[2.0, 0.125], [1.0, 0.5]]))


def test_filters_with_one_label_have_one_factor():
    carried = torch.tensor([[[1.0, -2.0], [0.0, 0.0], [4.0, 3.0], [0.0, 0.0]]])
    found = largest_factors(carried, torch.tensor([1, 0, 1, 2]), 3)
    assert torch.equal(found, torch.tensor([[1.0, 0.25, 1.0]]))


@pytest.mark.parametrize("segments", [None, torch.tensor([0, 1, 0])], ids=["own", "shared"])
def test_the_gradient_of_a_factor(segments):
    values = [[[1.0, -2.0], [0.0, 0.0], [0.5, 0.25]]]
    carried = torch.tensor(values, requires_grad=True)
    largest_factors(carried, segments, 3 if segments is None else 2).sum().backward()
    own = [[-4.0, 0.0]] if segments is None else [[0.0, 0.0]]
    # d(1 / |w|) / dw = -sign(w) / w² for the largest entry, here w = -2 and w = 0.5.
    assert torch.equal(carried.grad, torch.tensor([[[0.0, 0.25], [0.0, 0.0], *own]]))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_no_overflow_in_single_precision(size):
    carried = torch.tensor([[[size, 0.5 * size]]], requires_grad=True)
    moved = carried * largest_factors(carried, None, 1)[:, :, None]
    moved[0, 0, 1].backward()
    torch.testing.assert_close(moved[0, 0], torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(carried.grad[0, 0] * size, torch.tensor([-0.5, 1.0]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {**SHORT, "target": "mlp", "gauges": ["max_scale", "logit_bias"]}
    return hf.train("digits", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_it_trains(run):
    assert run.finished


def test_samples_have_their_largest_entry_at_one(run):
    plain, gauged = run.sample(3), run.sample(3, gauge=True)
    for network in gauged:
        *hidden, _ = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
        assert hidden
        for layer in hidden:
            largest = torch.cat([layer.weight, layer.bias[:, None]], 1).abs().amax(1)
            torch.testing.assert_close(largest, torch.ones_like(largest))
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gauged.predict(x), plain.predict(x), rtol=1e-4, atol=1e-5)


def test_it_cannot_stand_beside_scale(tmp_path):
    with pytest.raises(hf.HyperframeError, match=r"'(max_)?scale' and '(max_)?scale' both fix the orbit 'scaling'"):
        hf.train("digits", {**SHORT, "gauges": ["scale", "max_scale"]}, out=tmp_path / "run")
