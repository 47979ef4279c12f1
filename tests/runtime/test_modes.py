"""Calls as they come: inside of no_grad and inference_mode, numbers of other types, several networks at once."""

import numpy as np
import pytest
import torch
from torch import nn

import hyperframe as hf

SETTINGS = {
    "generator": "mlp",
    "generator.hidden": [8],
    "trainer.device": "cpu",
    "trainer.steps": 2,
    "trainer.networks": 4,
    "evaluation.networks": 2,
    "evaluation.test_networks": 3,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:networks that are written work on standardised inputs")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_all_is_trained_drawn_and_loaded_inside_of_a_mode_without_gradients(tmp_path, mode):
    with mode():
        # Module and data are tensors of that mode as well.
        module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
        x, y = torch.rand(60, 5), torch.arange(60) % 3
        own = {"module": module, "data": (x, y)}
        run = hf.train(overrides=SETTINGS, out=tmp_path / "run", **own)
        assert run.evaluate()["networks"] == 3
        loaded = hf.load(tmp_path / "run", **own)
        drawn, again = run.sample(2), loaded.sample(2)
        assert torch.equal(drawn.predict(x), again.predict(x))
        assert hf.trace(module, (5,)).spec.num_weights == 5 * 4 + 4 + 8 + 4 * 3 + 3
        with pytest.warns(hf.HyperframeWarning, match="trainer.steps: 2 → 3"):
            assert hf.resume(tmp_path / "run", {"trainer.steps": 3}, **own).finished
        hf.distill(loaded, tmp_path / "one.safetensors", options=hf.DistillationOptions(networks=2, steps=2))
        assert not torch.is_grad_enabled()
    drawn[0](torch.rand(2, 5)).sum().backward()


def test_several_networks_at_once(run):
    drawn = run.sample(5)
    x = torch.rand(3, 1, 8, 8)
    whole = drawn.predict(x)
    for chosen in (slice(0, 2), slice(3, None), slice(None, None, -2), slice(-1, None)):
        some = drawn[chosen]
        assert isinstance(some, hf.Networks)
        assert len(some) == len(range(5)[chosen])
        torch.testing.assert_close(some.predict(x), whole[list(range(5))[chosen]])
    assert torch.equal(drawn[1:][0](x), drawn[1](x))
    with pytest.raises(IndexError, match="networks 5:9:None of 5 are none"):
        drawn[5:9]


@pytest.mark.parametrize("count", [2.0, np.int64(2), np.float32(2)])
def test_whole_numbers_of_other_types(tmp_path, run, count):
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(run.sample(count, seed=count / 2).predict(x), run.sample(2, 1).predict(x))
    run.write_samples(tmp_path / "a.safetensors", count, 1)
    run.write_samples(tmp_path / "b.safetensors", 2, 1)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("count", [2.5, "2", None, float("nan"), float("inf"), True, [2]])
def test_what_is_no_number_of_networks(run, count):
    with pytest.raises(ValueError, match="count: expected a whole number, but got"):
        run.sample(count)
    if count is not None:
        with pytest.raises(ValueError, match="seed: expected a whole number, but got"):
            run.sample(2, seed=count)
