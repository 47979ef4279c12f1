"""The estimator for values: units, how far they may be from their mean, and more than one an example."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import cross_val_score

from hyperframe.sklearn import HyperRegressor
from hyperframe.sklearn.regressor import _noise


def quick(**settings):
    return HyperRegressor(**{"random_state": 0, "networks": 10, "overrides": {"trainer.steps": 100}, **settings})


@pytest.fixture(scope="module")
def line():
    """A line with noise, in units of its own."""
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (400, 1))
    return x, 1000 + 300 * x[:, 0] + 30 * rng.randn(400)


def test_values_and_their_deviation_are_in_the_units_of_the_labels(line):
    x, y = line
    model = quick().fit(x[:300], y[:300])
    mean, std = model.predict(x[300:], return_std=True)
    assert mean.shape == std.shape == (100,)
    np.testing.assert_array_equal(mean, model.predict(x[300:]))
    assert model.score(x[300:], y[300:]) > 0.95
    assert model.noise_ == pytest.approx(30, rel=0.35)
    assert (std >= model.noise_).all()
    assert 0.5 < (np.abs(y[300:] - mean) < std).mean() < 0.85


@pytest.mark.slow
def test_units_change_predictions_as_they_change_labels(line):
    x, y = line
    model, other = quick().fit(x, y), quick().fit(x, 1e-3 * y - 7)
    np.testing.assert_allclose(other.predict(x), 1e-3 * model.predict(x) - 7, rtol=1e-3)
    np.testing.assert_allclose(other.noise_, 1e-3 * model.noise_, rtol=1e-2)


@pytest.mark.slow
def test_deviations_grow_away_from_the_data(line):
    x, y = line
    model = quick().fit(x, y)
    _, std = model.predict([[0.0], [30.0]], return_std=True)
    assert std[1] > 2 * std[0]


@pytest.mark.slow
def test_several_values_an_example_are_predicted_together(line):
    x, y = line
    model = quick().fit(x, np.stack([y, -x[:, 0]], 1))
    mean, std = model.predict(x[:5], return_std=True)
    assert mean.shape == std.shape == (5, 2)
    assert model.noise_.shape == (2,)
    assert model.score(x, np.stack([y, -x[:, 0]], 1)) > 0.95


def test_images_have_values(line):
    x = np.random.RandomState(0).rand(60, 8, 8)
    assert quick(overrides={"trainer.steps": 5}).fit(x, x.mean((1, 2))).predict(x).shape == (60,)


@pytest.mark.slow
def test_it_is_scored_by_crossing(line):
    assert (cross_val_score(quick(), *line, cv=3) > 0.9).all()


@pytest.mark.slow
def test_weights_count(line):
    x, y = line
    counts = np.repeat([1.0, 0.0], 400)
    model = quick().fit(np.concatenate([x, x]), np.concatenate([y, -y]), sample_weight=counts)
    np.testing.assert_array_equal(model.predict(x), quick().fit(x, y).predict(x))
    with pytest.raises(ValueError, match="2 examples or more must count, but 1 do"):
        quick().fit(x, y, sample_weight=np.eye(400)[0])


@pytest.mark.slow
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.0, 3))
def test_the_noise_is_the_likeliest(seed, scale, unit, spread):
    rng = np.random.RandomState(seed)
    errors, std = scale * rng.randn(40, 1), spread * rng.rand(40, 1)
    found = _noise(errors, std)

    def cost(noise):
        total = noise**2 + std**2
        return (errors**2 / total + np.log(total)).sum()

    # Several noises can be likelier than those beside them; that which is found is one of these.
    near = np.maximum(found, 1e-6) * np.array([0.99, 1.0, 1.01])
    assert cost(near[1]) <= min(cost(near[0]), cost(near[2])) + 1e-9
    np.testing.assert_allclose(_noise(errors * unit, std * unit), found * unit, rtol=1e-6, atol=1e-6 * unit)
