"""A fitted estimator: what it keeps, draws and leaves alone."""

import io
import os
import pickle
import tempfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import hyperframe as hf
from hyperframe.runs.checkpoints import validation_scores
from hyperframe.sklearn import HyperClassifier, HyperRegressor
from hyperframe.sklearn.data import Examples, divide
from hyperframe.sklearn.defaults import default_target, settings, validating_part

QUICK = {"random_state": 0, "networks": 10, "overrides": {"trainer.steps": 20}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [HyperClassifier, HyperRegressor])
def test_it_is_pickled_without_examples_and_draws_afterwards(table, kind):
    x, y = table
    model = kind(**QUICK).fit(x, y)
    written = pickle.dumps(model)
    assert x[:5].astype(np.float32).tobytes() not in written
    again = pickle.loads(written)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    for name, value in model.sample(3).weights.items():
        assert torch.equal(value, again.sample(3).weights[name])
    file = io.BytesIO()
    joblib.dump(model, file)
    np.testing.assert_array_equal(joblib.load(io.BytesIO(file.getvalue())).predict(x), model.predict(x))


def test_draws_are_new_and_repeat_with_their_seed(table):
    model = HyperClassifier(**QUICK).fit(*table)
    nets = model.sample(12)
    assert isinstance(nets, hf.Networks)
    assert nets.predict(table[0]).shape == (12, 200, 2)
    assert isinstance(nets[3], nn.Module)
    layer = next(iter(nets.weights))
    assert torch.equal(nets.weights[layer], model.sample(12).weights[layer])
    assert not torch.equal(nets.weights[layer], model.sample(12, seed=5).weights[layer])
    assert not torch.equal(nets.weights[layer][:10], model.networks_.weights[layer])
    np.testing.assert_allclose(nets.mean(table[0]).numpy(), model.predict_proba(table[0]), atol=0.1)
    with pytest.raises(ValueError, match="n must be a whole number"):
        model.sample(0)


def test_networks_standardise_what_they_are_given(table):
    x, _ = table
    model = HyperClassifier(**QUICK).fit(*table)
    outputs = model.networks_[0](torch.from_numpy(x))
    torch.testing.assert_close(outputs.softmax(1), model.networks_.predict(torch.from_numpy(x))[0])


@pytest.mark.slow
def test_equal_seeds_fit_equal_networks_and_others_do_not(table):
    x, y = table
    first, same, other = (
        HyperClassifier(**{**QUICK, "random_state": seed}).fit(x, y).predict_proba(x)
        for seed in (3, np.random.RandomState(3), 4)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    unsaid = [clone(HyperClassifier(**{**QUICK, "random_state": None})).fit(x, y).predict_proba(x) for _ in range(2)]
    assert (unsaid[0] != unsaid[1]).any()


def test_nothing_is_left_behind(table, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    model = HyperClassifier(**QUICK).fit(*table)
    assert os.listdir(tmp_path) == []
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]
    assert capfd.readouterr() == ("", "")
    assert not hasattr(model, "run_")


def test_progress_is_shown_where_it_is_asked_for(table, capfd):
    HyperClassifier(**QUICK, verbose=True).fit(*table)
    assert "20" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_is_kept_where_a_folder_is_named(table, tmp_path):
    x, y = table
    model = HyperClassifier(**QUICK, out=tmp_path / "run", validation_fraction=0.2).fit(x, y)
    assert model.run_.folder == tmp_path / "run"
    assert 0 < model.run_.evaluate(networks=4, split="validation")["accuracy"]["mean"] <= 1
    drawn = hf.load(tmp_path / "run", checkpoint=model.step_).sample(10, seed=model._seed)
    np.testing.assert_allclose(drawn.mean(x.astype(np.float32)).numpy(), model.predict_proba(x), atol=1e-4)
    assert not hasattr(pickle.loads(pickle.dumps(model)), "run_")
    with pytest.raises(hf.HyperframeError, match="holds a run already"):
        model.fit(x, y)


@pytest.mark.slow
def test_the_best_step_is_kept_where_examples_validate(table, tmp_path):
    x, _ = table
    noise = np.random.RandomState(0).rand(200) > 0.5  # nothing to learn: all that comes after the beginning is worse
    keys = {"trainer.steps": 200}
    chosen = HyperClassifier(random_state=0, validation_fraction=0.3, overrides=keys).fit(x, noise)
    assert chosen.step_ < 200
    ended = HyperClassifier(
        random_state=0, validation_fraction=0.3, overrides={**keys, "trainer.patience": 4}, out=tmp_path / "run"
    ).fit(x, noise)
    assert ended.step_ == ended.run_.step
    assert validation_scores(tmp_path / "run")[ended.step_] == max(validation_scores(tmp_path / "run").values())
    assert hf.load(tmp_path / "run").step == min(200, ended.step_ + 4 * 10)
    assert HyperClassifier(random_state=0, validation_fraction=None, overrides=keys).fit(x, noise).step_ == 200


def test_examples_are_divided_by_class_and_each_class_trains():
    y = np.array([0] * 50 + [1] * 30 + [2])
    train, validation = divide(Examples(x=y, y=y, classes=3), 0.2, np.random.RandomState(0))
    assert np.bincount(validation.y).tolist() == [10, 6]
    assert np.bincount(train.y).tolist() == [40, 24, 1]
    values = np.arange(30.0)[:, None]
    train, validation = divide(Examples(x=values, y=values), 0.999, np.random.RandomState(0))
    assert len(train), len(validation) == (2, 28)
    assert sorted([*train.x[:, 0], *validation.x[:, 0]]) == list(range(30))


def test_what_is_not_said_follows_from_the_data():
    assert [validating_part("auto", n, classes) for n, classes in ((19, None), (20, None), (20, 2), (2000, 2))] == [
        None,
        0.2,
        None,
        0.1,
    ]
    assert validating_part(0.3, 50, 2) == 0.3
    assert type(validating_part(np.float32(0.5), 50, 2)) is float
    assert validating_part(None, 5000, None) is None
    assert isinstance(default_target([1, 8, 8], 3), nn.Module)
    assert default_target([1, 3, 3], 3) == default_target([7], 3) == {"name": "mlp", "hidden": [100, 100]}


@pytest.mark.parametrize("said", [{"objective.lambda": 50.0}, {"objective": {"name": "trade_off", "lambda": 50}}])
def test_what_follows_from_overridden_keys_follows_them(said):
    few = Examples(x=np.zeros((100, 2)), y=np.zeros(100), classes=2)
    found = settings(few, {**said, "trainer": {"steps": 40}}, validates=True)
    assert found["objective"].get("weight_l2", 50 / 98) == pytest.approx(50 / (2 * 100 * 0.7**2))
    assert found["evaluation.every"] == 2
    assert settings(few, {}, validates=False)["evaluation.every"] == 250
