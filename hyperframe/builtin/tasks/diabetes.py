"""The task `diabetes`: scikit-learn's 442 patients, regression on real data that needs no download."""

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, hookimpl
from hyperframe.gaussian_regression import GaussianRegressionTask
from hyperframe.options import option
from hyperframe.owndata import SplitOptions, chosen_split, divided

PART = 0.15
"""The part of the items that validates, and that tests: 66 of 442."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    noise: float = option(0.7, "standard deviation of the likelihood, in units of the standardised labels", above=0)
    split_seed: int = option(0, "seed of the random split into training, validation and test items", minimum=0)


class Diabetes(GaussianRegressionTask):
    """How far diabetes has progressed after a year, from 10 figures of a patient: 310 to train on, 66 and 66.

    Inputs [items, 10] and labels [items, 1] have mean 0 and standard deviation 1 on the training split.

    References: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani (2004), Least Angle Regression.
    """

    name = "diabetes"
    input_shape = (10,)

    def __init__(self, splits: Mapping[str, Data], noise: float, label_mean: Tensor, label_std: Tensor) -> None:
        super().__init__(noise, label_mean, label_std)
        self._splits = splits

    def data(self, split: str) -> Data:
        """The split; the three never share an item."""
        return chosen_split(self._splits, split)


def _build(options: Options) -> Diabetes:
    from sklearn.datasets import load_diabetes  # noqa: PLC0415  (takes a second, and only this task needs it)

    x, y = (torch.from_numpy(array) for array in load_diabetes(return_X_y=True))
    parts = SplitOptions(validation=PART, test=PART, split_seed=options.split_seed)
    own = divided({"train": Data(x, y[:, None])}, parts, "task 'diabetes'")
    (mean, std), (label_mean, label_std) = _moments(own["train"].x), _moments(own["train"].y)
    splits = {
        name: Data(((data.x - mean) / std).float(), ((data.y - label_mean) / label_std).float())
        for name, data in own.items()
    }
    return Diabetes(splits, options.noise, label_mean, label_std)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of [items, columns], each [columns]."""
    return values.mean(0), values.std(0, correction=0)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="diabetes",
            factory=_build,
            options=Options,
            summary="442 patients, 10 figures each: progression of diabetes; part of scikit-learn, no download",
        )
    ]
