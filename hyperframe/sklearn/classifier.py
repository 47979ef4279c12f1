"""The estimator for classes."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from hyperframe.sklearn.base import HyperEstimator


class HyperClassifier(ClassifierMixin, HyperEstimator):
    """An ensemble of networks that a generator draws, for classes of any kind."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit."""
        self._check_parameters()
        x, labels = self._validated(X, y)
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x)
        if len(self.classes_) < 2:
            raise ValueError(
                f"HyperClassifier needs two classes or more, but y holds 1 class: {self.classes_.tolist()[0]!r}"
            )
        self._fit(x, numbers.astype(np.int64), weights, len(self.classes_))
        return self

    def _of_labels(self) -> dict[str, Any]:
        return {}

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Mean probabilities."""
        check_is_fitted(self)
        mean = self.networks_.mean(self._validated(X, fitted=True)).double()
        return (mean / mean.sum(1, keepdim=True)).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The class with the highest mean probability."""
        return self.classes_[self.predict_proba(X).argmax(1)]
