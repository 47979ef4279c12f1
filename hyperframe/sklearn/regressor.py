"""The estimator for values."""

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from hyperframe.sklearn.base import HyperEstimator


class HyperRegressor(RegressorMixin, HyperEstimator):
    """An ensemble of networks that a generator draws, for values."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit."""
        self._check_parameters()
        x, labels = self._validated(X, y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x)
        self._values = labels.shape[1:]
        values = labels.astype(np.float64).reshape(len(labels), -1)
        validation = self._fit(x, values, weights, None)
        mean, std = self._moments(self._inputs(validation.x))
        self.noise_ = _noise(validation.y - mean, std)
        return self

    def _of_labels(self) -> dict[str, Any]:
        return {"multi_output": True, "y_numeric": True}

    def _moments(self, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        found = self.networks_.summary(inputs)
        return found["mean"].double().numpy(), found["std"].double().numpy()

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """The mean."""
        check_is_fitted(self)
        inputs = self._validated(X, fitted=True)
        mean, std = self._moments(inputs)
        shape = (len(mean), *self._values)
        if not return_std:
            return mean.reshape(shape)
        return mean.reshape(shape), np.sqrt(std**2 + self.noise_**2).reshape(shape)


def _noise(errors: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The noise with which errors are likeliest N(0, noise² + std²), by bisection of the derivative."""
    low, high = np.zeros(errors.shape[1]), (errors**2).max(0)
    for _ in range(60):
        middle = (low + high) / 2
        total = middle + std**2
        with np.errstate(divide="ignore", invalid="ignore"):
            more = np.nan_to_num((errors**2 - total) / total**2).sum(0) > 0
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.sqrt((low + high) / 2)
