"""The estimator for values."""

from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from hyperframe.sklearn.base import HyperEstimator
from hyperframe.sklearn.data import Examples

HALVINGS = 60


class HyperRegressor(RegressorMixin, HyperEstimator):
    """Predict values by the mean of networks that a generator draws, and how far a value may be from it.

    Training is by the squared error of standardised values, which is a normal likelihood whose noise has one deviation
    everywhere. That deviation, `noise_`, is estimated afterwards on the examples that validate, together with how far
    the networks differ there.

    Args:
        target: as for `HyperClassifier`.
        networks: how many are drawn.
        validation_fraction: the part of the examples that validates instead of training; the step of the least squared
            error there is kept, and the noise is that of those examples. With None, or fewer than 20 examples, all of
            them train, the last step is kept, and the noise is that of the training, which is too small. `"auto"`: a
            tenth.
        overrides: as for `HyperClassifier`.
        random_state: as for `HyperClassifier`.
        out: as for `HyperClassifier`.
        verbose: whether progress is shown.

    Attributes:
        noise_: standard deviation of the noise in the units of `y`, [values].
        networks_: the networks that were drawn, a `hyperframe.networks` batch of them.
        step_: the step that was kept.
        input_shape_: shape of one input of the networks.
        n_features_in_: number of features.
        feature_names_in_: their names, where `X` was a data frame.
        run_: the `hyperframe.Run`, where `out` was given; not pickled.

    Example:
        >>> X = np.linspace(-1, 1, 60)[:, None]
        >>> model = HyperRegressor(random_state=0, overrides={"trainer.steps": 100}).fit(X, 100 * X[:, 0])
        >>> mean, std = model.predict(X, return_std=True)
        >>> mean.shape, std.shape
        ((60,), (60,))
    """

    noise_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        """Say that an example may have several values."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a generator on inputs and their values, and draw networks from it.

        Args:
            X: inputs, [examples, features] or images.
            y: values, [examples] or [examples, values].
            sample_weight: what each example counts in the loss, [examples]; by default all count the same.

        Raises:
            ValueError: a parameter, the data or a setting is not what it should be.
            HyperframeError: the training failed.
        """
        self._check_parameters()
        x, values = self._checked(X, y, multi_output=True, y_numeric=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        self._shape = values.shape[1:]
        values = values.astype(np.float64).reshape(len(values), -1)
        validation = self._fit(Examples(x=x, y=values, weights=weights))
        mean, std = self._moments(self._inputs(validation.x))
        self.noise_ = _noise(validation.y - mean, std)
        return self

    @overload
    def predict(self, X: Any, return_std: Literal[False] = False) -> np.ndarray: ...

    @overload
    def predict(self, X: Any, return_std: Literal[True]) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the mean over the networks, and how far values may be from it, both in the units of `y`.

        Args:
            X: inputs.
            return_std: also return √(noise² + the networks' variance): the standard deviation of the mixture of their
                normal distributions.

        Returns:
            The mean, of the shape of `y`; with `return_std` a pair of that and the deviation.
        """
        mean, std = self._moments(self._inputs(X))
        shape = (len(mean), *self._shape)
        if not return_std:
            return mean.reshape(shape)
        return mean.reshape(shape), np.sqrt(std**2 + self.noise_**2).reshape(shape)

    def _moments(self, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the networks' predictions, float64 [examples, values] each."""
        found = self.networks_.summary(inputs)
        return found["mean"].double().numpy(), found["std"].double().numpy()


def _noise(errors: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The deviation of the noise with which errors [examples, values] are likeliest, of N(0, noise² + std²): [values].

    Found by halving: where the likelihood grows with the noise, that is more.

    Example:
        >>> _noise(np.array([[3.0], [-3.0]]), np.array([[0.0], [0.0]])).round(3)
        array([3.])
    """
    squares = errors**2
    low, high = np.zeros(errors.shape[1]), squares.max(0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        total = np.maximum(middle + std**2, np.finfo(float).tiny)
        grows = (squares / total**2 - 1 / total).sum(0) > 0
        low, high = np.where(grows, middle, low), np.where(grows, high, middle)
    found: np.ndarray = np.sqrt(high)
    return found
