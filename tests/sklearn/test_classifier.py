"""The estimator for classes."""

import numpy as np
from sklearn.datasets import load_iris

from hyperframe.sklearn import HyperClassifier


def test_five_lines_learn_iris():
    x, y = load_iris(return_X_y=True)
    model = HyperClassifier(random_state=0, overrides={"trainer.steps": 200}).fit(x[::2], y[::2])
    probabilities = model.predict_proba(x[1::2])
    assert probabilities.shape == (75, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert model.score(x[1::2], y[1::2]) > 0.9
