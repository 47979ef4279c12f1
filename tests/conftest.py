"""What all tests share: one torch thread a worker, derandomised properties in CI, and markers that skip."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# Drawing a batch of weights takes milliseconds; deadlines would only measure the machine.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items):
    reasons = {
        "cuda": None if torch.cuda.is_available() else "needs a CUDA device",
        "data": None if os.environ.get("HYPERFRAME_DATA") else "needs the data sets, set HYPERFRAME_DATA",
    }
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def registry():
    from hyperframe.api import installed

    return installed()


@pytest.fixture
def root():
    return Path(__file__).resolve().parent.parent
