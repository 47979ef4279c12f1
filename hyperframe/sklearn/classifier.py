"""The estimator for classes."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from hyperframe.sklearn.base import HyperEstimator
from hyperframe.sklearn.data import Examples


class HyperClassifier(ClassifierMixin, HyperEstimator):
    """Classify by the mean probabilities of networks that a generator draws.

    `fit` trains a generator, by default eight base points in weight space and what is generated around each, with a
    normal prior of the weights, and draws `networks` networks from it. Features of a table are standardised.

    Args:
        target: the network that is generated: an `nn.Module`, the name of a target, or a mapping with the name and
            options such as `{"name": "mlp", "hidden": [50]}`. By default a perceptron for tables, [examples, features],
            and a small convolutional network for images, [examples, height, width], [examples, channels, height, width]
            or with the channels last; bytes of images are divided by 255. A module takes inputs as `X` has them.
        networks: how many are drawn.
        validation_fraction: the part of the examples that validates instead of training; the step of the least negative
            log-likelihood there is kept. With None, or fewer than 20 examples, all of them train, and the last step is
            kept. `"auto"`: none of fewer than 2,000 examples, a tenth of more.
        overrides: keys of a configuration and their values, such as `{"objective.lambda": 300, "trainer.steps": 1000}`;
            see `docs/configuration.md`.
        random_state: a number, with which equal data give equal networks; a `RandomState`; or None.
        out: a folder, absent or empty, that keeps the run: its configuration, checkpoints and metrics. By default
            nothing is kept on disk.
        verbose: whether progress is shown.

    Attributes:
        classes_: the classes, in the order of the columns of `predict_proba`.
        networks_: the networks that were drawn, a `hyperframe.networks` batch of them.
        step_: the step that was kept.
        input_shape_: shape of one input of the networks.
        n_features_in_: number of features.
        feature_names_in_: their names, where `X` was a data frame.
        run_: the `hyperframe.Run`, where `out` was given; not pickled.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = HyperClassifier(random_state=0, overrides={"trainer.steps": 100}).fit(X, y)
        >>> model.predict_proba(X[:2]).shape, len(model.sample(7))
        ((2, 3), 7)
    """

    classes_: np.ndarray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a generator on inputs and their classes, and draw networks from it.

        Args:
            X: inputs, [examples, features] or images.
            y: a class for each, [examples]: numbers, texts or truth values.
            sample_weight: what each example counts in the loss, [examples]; by default all count the same.

        Raises:
            ValueError: a parameter, the data or a setting is not what it should be.
            HyperframeError: the training failed.
        """
        self._check_parameters()
        x, labels = self._checked(X, y)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        known = labels if weights is None else labels[weights > 0]
        self.classes_ = np.unique(known)
        if len(self.classes_) < 2:
            named = ", ".join(map(repr, self.classes_.tolist())) or "none"
            raise ValueError(f"HyperClassifier needs two classes or more, but y holds fewer than 2 classes: {named}")
        numbers = np.searchsorted(self.classes_, labels) % len(self.classes_)  # those that count for nothing are any
        self._fit(Examples(x=x, y=numbers.astype(np.int64), weights=weights, classes=len(self.classes_)))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The networks' mean probabilities, [examples, classes]."""
        inputs = self._inputs(X)
        mean: np.ndarray = self.networks_.mean(inputs).double().numpy()
        probabilities: np.ndarray = mean / mean.sum(1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The class of the greatest mean probability, [examples]."""
        best = self.predict_proba(X).argmax(1)
        found: np.ndarray = self.classes_[best]
        return found
