"""All that scikit-learn checks of estimators."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from hyperframe.sklearn import HyperClassifier, HyperRegressor

RANDOM = "examples are drawn at random, so that a weight of two is the same as two examples on average only"


def not_expected(estimator):
    return {"check_sample_weight_equivalence_on_dense_data": RANDOM}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what scikit-learn hands over makes it warn, and the library too
@parametrize_with_checks([HyperClassifier(), HyperRegressor()], expected_failed_checks=not_expected)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
