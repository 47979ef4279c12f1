"""Estimators in scikit-learn's form: an ensemble of drawn networks for a table, or for images, in five lines.

- `classifier`: the estimator for classes
- `regressor`: the estimator for values
- `base`: what both share: fitting, drawing, what is pickled
- `defaults`: targets and settings by the shape and the number of the examples
- `data`: examples that validate, and the task of arrays
"""

from hyperframe.sklearn.classifier import HyperClassifier
from hyperframe.sklearn.regressor import HyperRegressor

__all__ = ["HyperClassifier", "HyperRegressor"]
