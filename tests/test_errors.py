"""Messages about other people's code say which line of theirs it was."""

import importlib.util

import pytest

from hyperframe.errors import PluginError, described, others_code

FAILING = """
import functools, json
import torch

def raises():
    raise ValueError("on  purpose")

def calls_torch():
    return torch.ones(2, 3) @ torch.ones(2, 3)

def calls_python():
    return functools.partial(json.loads, "{")()

def calls_hyperframe():
    from hyperframe.metrics import check_metrics
    check_metrics(3, "mine")
"""


@pytest.fixture
def module(tmp_path):
    file = tmp_path / "theirs.py"
    file.write_text(FAILING.removeprefix("\n"))
    spec = importlib.util.spec_from_file_location("theirs", file)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def message(function):
    with pytest.raises(PluginError) as raised, others_code(lambda error: PluginError(described(error)), passing=()):
        function()
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "line"), [("raises", 5), ("calls_torch", 8), ("calls_python", 11), ("calls_hyperframe", 15)]
)
def test_the_innermost_line_of_their_own_is_named(module, name, line):
    assert message(getattr(module, name)).endswith(f" (theirs.py, line {line})")


def test_what_was_never_raised_has_no_place():
    assert described(ValueError("on  purpose")) == "ValueError: on purpose"
