"""The task `diabetes` and its Gaussian likelihood: nats, mixtures, and the units of each metric."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from hyperframe.builtin.tasks import diabetes
from hyperframe.metrics import validation_score
from hyperframe.tasks.gaussian_regression import GaussianMeter, GaussianRegressionTask
from hyperframe.tasks.standardisation import Standardisation

NOISE = 0.7
MEAN, STD = torch.tensor([150.0, -3.0]), torch.tensor([80.0, 0.5])


def gaussian():
    return GaussianRegressionTask(NOISE, MEAN, STD)


def draw(networks, examples, values, seed=0):
    rng = torch.Generator().manual_seed(seed)
    outputs = torch.randn(networks, examples, values, generator=rng, dtype=torch.float64)
    labels = torch.randn(examples, values, generator=rng, dtype=torch.float64)
    return outputs, labels * STD[:values] + MEAN[:values]  # in their own units


def build(**options):
    return diabetes._build(diabetes.Options(**options))


def test_the_loss_is_the_negative_log_density():
    outputs, labels = draw(3, 5, 2)
    wanted = -Normal(gaussian().predictions(outputs), NOISE * STD.double()).log_prob(labels).sum(-1)
    torch.testing.assert_close(gaussian().loss(outputs, labels.expand(3, 5, 2)), wanted, rtol=1e-12, atol=0)


@given(
    networks=st.integers(1, 7),
    examples=st.integers(1, 9),
    values=st.integers(1, 2),
    networks_at_once=st.integers(1, 4),
    examples_at_once=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_the_ensemble_is_a_mixture_whatever_the_chunks(
    networks, examples, values, networks_at_once, examples_at_once, seed
):
    outputs, labels = draw(networks, examples, values, seed)
    scale = Standardisation(MEAN[:values], STD[:values])
    meter = GaussianMeter(networks, examples, NOISE, scale, torch.device("cpu"))
    for item in range(0, examples, examples_at_once):
        for first in range(0, networks, networks_at_once):
            places = slice(item, item + examples_at_once)
            meter.update(outputs[first : first + networks_at_once, places], labels[places], first, item)
    found = meter.result()
    own = (scale.undo(outputs), labels)
    each = Independent(Normal(own[0].transpose(0, 1), NOISE * STD[:values]), 1)  # examples, then networks
    alone = -each.log_prob(own[1][:, None])
    together = MixtureSameFamily(Categorical(torch.ones(examples, networks)), each).log_prob(own[1])
    assert found["nll"] == pytest.approx(float(alone.mean()), rel=1e-6, abs=1e-6)
    assert found["ensemble"]["nll"] == pytest.approx(
        float(-together.mean()), rel=1e-6, abs=1e-6
    )  # its weights are float32
    assert found["ensemble"]["nll"] <= found["nll"] + 1e-12  # Jensen
    rmse = (own[0] - own[1]).square().mean((1, 2)).sqrt()
    assert found["rmse"]["mean"] == pytest.approx(float(rmse.mean()))
    assert found["rmse"]["max"] == pytest.approx(float(rmse.max()))
    assert found["ensemble"]["rmse"] == pytest.approx(float((own[0].mean(0) - own[1]).square().mean().sqrt()))
    assert found["ensemble"]["spread"] == pytest.approx(float(own[0].var(0, correction=0).mean().sqrt()), abs=1e-7)


def test_a_likelihood_below_the_smallest_number_is_still_one():
    meter = GaussianMeter(2, 1, 1.0, Standardisation(torch.zeros(1), torch.ones(1)), torch.device("cpu"))
    meter.update(torch.tensor([[[100.0]], [[200.0]]]), torch.zeros(1, 1), 0, 0)  # densities e^-5000 and e^-20000
    wanted = 5000 + math.log(2 * math.pi) / 2 + math.log(2)
    assert meter.result()["ensemble"]["nll"] == pytest.approx(wanted, rel=1e-12)


def test_predictions_are_in_the_labels_own_units():
    task = gaussian()
    outputs, labels = draw(6, 4, 2)
    predictions = task.predictions(outputs)
    torch.testing.assert_close(predictions, outputs * STD + MEAN)
    said = task.summarise(predictions)
    each = Normal(predictions.permute(1, 2, 0), NOISE * STD[:, None])
    mixture = MixtureSameFamily(Categorical(torch.ones(4, 2, 6, dtype=torch.float64)), each)
    torch.testing.assert_close(said["mean"], mixture.mean)
    torch.testing.assert_close(said["predictive_std"], mixture.stddev)
    torch.testing.assert_close(said["std"], predictions.std(0, correction=0))
    # The meter's error is that of the predictions.
    meter = task.meter(6, 4, torch.device("cpu"))
    meter.update(outputs, labels, 0, 0)
    error = (said["mean"] - labels).square().mean().sqrt()
    assert meter.result()["ensemble"]["rmse"] == pytest.approx(float(error))
    assert validation_score(task.metrics, meter.result()) == pytest.approx(
        -float(task.loss(outputs, labels.expand(6, 4, 2)).mean())
    )


def test_the_splits_are_all_patients_and_the_moments_those_of_training():
    from sklearn.datasets import load_diabetes

    task = build(split_seed=3)
    splits = {name: task.data(name) for name in ("train", "validation", "test")}
    assert [len(data) for data in splits.values()] == [310, 66, 66]
    train = splits["train"]
    for values in (task.standardised_inputs.apply(train.x.double()), task.standardise(train.y)):
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]).double(), atol=1e-6, rtol=0)
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1]).double(), atol=1e-6, rtol=0)
    own = torch.cat([data.y for data in splits.values()])[:, 0]
    np.testing.assert_allclose(np.sort(own.numpy()), np.sort(load_diabetes().target), rtol=1e-5)
    assert len({row.numpy().tobytes() for data in splits.values() for row in data.x}) == 442
    assert not torch.equal(build(split_seed=4).data("test").x, splits["test"].x)
    assert torch.equal(build(split_seed=3).data("test").x, splits["test"].x)
    with pytest.raises(ValueError, match="unknown split 'tset'; did you mean 'test'"):
        task.data("tset")


def test_a_training_and_its_table(hyperframe):
    small = ["target={name: mlp, input_shape: [10], hidden: [6], outputs: 1}", "trainer.steps=2", "trainer.networks=8"]
    code, out, _ = hyperframe(
        "train", "task=diabetes", *small, "task.noise=0.5", "evaluation.test_networks=3", "trainer.device=cpu"
    )
    assert code == 0
    for part in ("3 generated networks on 66 test examples", "rmse of one network, mean", "negative log-likelihood"):
        assert part in out
    code, out, err = hyperframe("train", "task=diabetes", *small, "task.noise=0")
    assert (code, out) == (2, "")
    assert "task.noise" in err
    assert "above 0" in err
