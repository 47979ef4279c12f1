"""The task `diabetes`: scikit-learn's 442 patients, regression on real data that needs no download."""

from collections.abc import Mapping

import attrs
import torch

from hyperframe import Component, Data, hookimpl, option
from hyperframe.tasks.gaussian_regression import GaussianRegressionTask
from hyperframe.tasks.own_data.arrays import SplitOptions, divide
from hyperframe.tasks.own_data.facts import chosen_split
from hyperframe.tasks.standardisation import Standardisation

PART = 0.15
"""The parts of the examples for validation and for testing: 66 of 442 each."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    noise: float = option(0.7, "standard deviation of the likelihood, in units of the standardised labels", above=0)
    split_seed: int = option(0, "seed of the random split into training, validation and test examples", minimum=0)


class Diabetes(GaussianRegressionTask):
    """Predicts how far diabetes has progressed after a year from 10 features of a patient.

    There are 310 examples to train on, 66 to validate and 66 to test. Inputs [examples, 10] and labels [examples, 1]
    are as scikit-learn has them; both are standardised by the training split.

    References: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani (2004), Least Angle Regression.
    """

    name = "diabetes"
    input_shape = (10,)

    def __init__(
        self, splits: Mapping[str, Data], noise: float, inputs: Standardisation, labels: Standardisation
    ) -> None:
        super().__init__(noise, labels.mean, labels.std)
        self.standardised_inputs = inputs
        self._splits = splits

    def data(self, split: str) -> Data:
        """Return a split; the three never share an example."""
        return chosen_split(self._splits, split)


def _build(options: Options) -> Diabetes:
    from sklearn.datasets import load_diabetes  # noqa: PLC0415  (takes a second, and only this task needs it)

    x, y = (torch.from_numpy(array) for array in load_diabetes(return_X_y=True))
    parts = SplitOptions(validation=PART, test=PART, split_seed=options.split_seed)
    own = divide({"train": Data(x, y[:, None])}, parts, "task 'diabetes'")
    inputs, labels = Standardisation.of(own["train"].x), Standardisation.of(own["train"].y)
    splits = {name: Data(data.x.float(), data.y) for name, data in own.items()}
    return Diabetes(splits, options.noise, inputs, labels)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="diabetes",
            factory=_build,
            options=Options,
            summary="442 patients, 10 features each: progression of diabetes; part of scikit-learn, no download",
        )
    ]
