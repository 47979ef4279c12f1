"""The estimator for classes: labels and inputs of every kind, and what it is put together with in scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from hyperframe.sklearn import HyperClassifier, HyperRegressor

QUICK = {"trainer.steps": 60}


def quick(**settings):
    return HyperClassifier(**{"random_state": 0, "networks": 10, "overrides": QUICK, **settings})


@pytest.mark.slow
def test_five_lines_learn_iris():
    x, y = load_iris(return_X_y=True)
    model = HyperClassifier(random_state=0).fit(x[::2], y[::2])
    probabilities = model.predict_proba(x[1::2])
    assert probabilities.shape == (75, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert model.score(x[1::2], y[1::2]) > 0.9
    assert len(model.networks_) == 50


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")], ids=repr)
@pytest.mark.parametrize("as_labels", [np.array, pd.Series])
def test_a_missing_label_among_texts_is_named(missing, as_labels):
    labels = as_labels(["a", "b", "a", missing], dtype=object)
    for estimator in (quick(), HyperRegressor()):
        with pytest.raises(ValueError, match=f"y: example 3 has no label, but {missing!r}; leave such examples out"):
            estimator.fit(np.eye(4), labels)


@pytest.mark.slow
@pytest.mark.parametrize("named", [["no", "yes"], [-7, 3], [0.0, 1.0], [False, True]])
def test_classes_of_any_kind_come_back(table, named):
    x, y = table
    named = np.array(named)
    model = quick().fit(x, named[y.astype(int)])
    assert model.classes_.tolist() == named.tolist()
    assert model.classes_.dtype == model.predict(x).dtype == named.dtype
    assert (model.predict(x) == named[y.astype(int)]).mean() > 0.95


@pytest.mark.slow
def test_columns_of_objects_are_classes(table):
    x, y = table
    labels = np.where(y, "yes", "no").astype(object)
    assert set(quick().fit(x, labels).predict(x)) == {"yes", "no"}


def test_a_frame_with_categories_goes_through_a_column_transformer(table):
    x, y = table
    colour = np.where(y, "red", np.where(x[:, 1] > 5000, "green", "blue"))
    frame = pd.DataFrame({"size": x[:, 1], "colour": pd.Categorical(colour)})
    columns = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(columns, quick()).fit(frame[:150], pd.Series(y[:150]))
    assert model.score(frame[150:], y[150:]) == 1


@pytest.mark.slow
def test_a_frames_names_are_kept_and_compared(table):
    x, y = table
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    model = quick().fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c"]])


@pytest.mark.slow
def test_features_are_standardised(table):
    x, y = table
    again = quick().fit(x * [1e3, 1e-3, 1e3] + 7, y)
    np.testing.assert_allclose(
        again.predict_proba(x * [1e3, 1e-3, 1e3] + 7), quick().fit(x, y).predict_proba(x), atol=0.02
    )


@pytest.mark.slow
def test_images_have_a_convolutional_network_and_bytes_are_divided():
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    bytes_ = (images * 15).astype(np.uint8)
    model = quick(overrides={"trainer.steps": 120}).fit(bytes_[:300], digits[:300])
    assert any(isinstance(module, nn.Conv2d) for module in model.networks_[0].modules())
    assert model.input_shape_ == (1, 8, 8)
    assert model.score(bytes_[300:600], digits[300:600]) > 0.8
    np.testing.assert_array_equal(
        model.predict_proba(bytes_[:5]), model.predict_proba(bytes_[:5, None].astype(np.float32) / 255)
    )
    with pytest.raises(ValueError, match=r"fitted to inputs of shape \[1, 8, 8\], and X has the shape \[5, 8, 7\]"):
        model.predict(bytes_[:5, :, :7])


@pytest.mark.slow
def test_images_of_colours_may_have_their_channels_last():
    x = np.random.RandomState(0).rand(30, 6, 6, 3)
    y = np.arange(30) % 2
    with pytest.warns(UserWarning, match="channels last"):
        model = quick(overrides={"trainer.steps": 2}).fit(x, y)
    np.testing.assert_array_equal(model.predict_proba(x), model.predict_proba(np.moveaxis(x, 3, 1)))


@pytest.mark.slow
def test_a_module_is_a_target_and_statistics_are_estimated_from_examples(table):
    x, y = table
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = quick(target=net).fit(x, y)
    assert model.score(x, y) > 0.9
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    moments = model.sample(3).statistics["1.running_mean"]
    assert (moments != 0).all()


@pytest.mark.slow
def test_a_registered_target_and_keys_are_taken(table):
    x, y = table
    model = quick(
        target={"name": "mlp", "hidden": [7]}, overrides={**QUICK, "generator": "hypernetwork", "trainer.networks": 32}
    )
    model.fit(x, y)
    assert model.networks_.weights["hidden1"].shape == (10, 7, 4)
    assert type(model._generator).__name__ == "Hypernetwork"


@pytest.mark.slow
def test_a_generator_that_holds_few_networks_gives_these(table):
    x, y = table
    model = quick(networks=50, overrides={**QUICK, "generator": "direct"}).fit(x, y)
    assert len(model.networks_) == 8


@pytest.mark.slow
def test_it_is_cloned_searched_and_crossed(table):
    x, y = table
    model = quick(overrides={"trainer.steps": 20})
    assert clone(model).get_params() == model.get_params()
    assert cross_val_score(model, x, y, cv=2).shape == (2,)
    choices = [{"trainer.steps": 20, "objective.lambda": value} for value in (30, 3000)]
    search = GridSearchCV(make_pipeline(StandardScaler(), model), {"hyperclassifier__overrides": choices}, cv=2)
    assert search.fit(x, y).best_params_["hyperclassifier__overrides"] in choices


@pytest.mark.slow
def test_its_probabilities_can_be_calibrated(table):
    x, y = table
    calibrated = CalibratedClassifierCV(quick(overrides={"trainer.steps": 20}), cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(1), 1)


@pytest.mark.slow
def test_weights_count(table):
    x, y = table
    flipped = np.concatenate([y, ~y])
    twice = np.concatenate([x, x])
    for weights in ([1.0, 0.0], [20.0, 1.0], [1.0, 20.0]):
        counts = np.repeat(weights, len(x))
        model = quick().fit(twice, flipped, sample_weight=counts)
        assert (model.score(x, y) > 0.9) == (weights[0] > weights[1])
        assert (model.score(x, y) < 0.1) == (weights[0] < weights[1])


@pytest.mark.slow
def test_what_counts_nothing_has_no_class(table):
    x, y = table
    labels = np.where(y, "yes", "no")
    labels = np.concatenate([labels, ["zero"] * 5])
    counts = np.array([1.0] * 200 + [0.0] * 5)
    model = quick().fit(np.concatenate([x, x[:5]]), labels, sample_weight=counts)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(model.predict_proba(x), quick().fit(x, labels[:200]).predict_proba(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": 0}, "networks must be a whole number, 1 or more, not 0"),
        ({"networks": True}, "networks must be a whole number"),
        ({"validation_fraction": 1.5}, "validation_fraction must lie between 0 and 1, be 'auto' or None, not 1.5"),
        ({"validation_fraction": "some"}, "not 'some'"),
        ({"overrides": ["trainer.steps=3"]}, "overrides must be a mapping"),
        ({"overrides": {"trainer.step": 3}}, "unknown key 'step'; did you mean 'steps'"),
        ({"target": 3}, "target must be an nn.Module"),
        ({"target": "mpl"}, "unknown target 'mpl'; did you mean 'mlp'"),
        ({"target": nn.Linear(4, 2)}, "does not run"),
        ({"target": nn.Linear(3, 5)}, "it has 5 outputs, and the task needs 2"),
    ],
)
def test_mistakes_are_told_as_scikit_learn_tells_them(table, settings, message):
    with pytest.raises(ValueError, match=message):
        quick(**settings).fit(*table)


def test_it_must_be_fitted_before_it_is_asked(table):
    for ask in (lambda: quick().predict(table[0]), lambda: quick().predict_proba(table[0]), lambda: quick().sample(3)):
        with pytest.raises(NotFittedError):
            ask()


def test_one_class_is_refused(table):
    with pytest.raises(ValueError, match="fewer than 2 classes: 'a'"):
        quick().fit(table[0], ["a"] * 200)
    with pytest.raises(ValueError, match="fewer than 2 classes: True"):
        quick().fit(*table, sample_weight=table[1].astype(float))
