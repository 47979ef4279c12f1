"""Data that both estimators are fitted to."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def table():
    """Three features of 200 examples, of very different sizes; the first decides the class."""
    rng = np.random.RandomState(0)
    x = rng.randn(200, 3) * [1.0, 1000.0, 0.001] + [0.0, 5000.0, 1.0]
    return x, x[:, 0] > 0
