from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.errors import ConfigError
from hyperframe.options import expected, option, plain_options, read_options


@attrs.frozen(kw_only=True)
class Options:
    count: int = option(3, "how many", minimum=1)
    rate: float = option(0.5, "how fast", above=0, maximum=1)
    kind: Literal["a", "b"] = option("a", "which")
    name: str | None = option(None, "what")
    flag: bool = option(False, "whether")
    sizes: tuple[int, ...] | tuple[tuple[int, ...], ...] = option((1, 2), "sizes", minimum=1)
    lambda_: float = option(1.0, "a keyword of Python")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"count": 0}, ["x.count", "whole number", "at least 1", "got 0"]),
        ({"count": 2.5}, ["x.count", "2.5"]),
        ({"count": True}, ["x.count", "True"]),
        ({"count": "3"}, ["x.count", "'3'"]),
        ({"count": None}, ["x.count", "null"]),
        ({"rate": 10**400}, ["x.rate", "…"]),
        ({"kind": [1]}, ["x.kind", "[1]"]),
        ({"sizes": b"ab"}, ["x.sizes", "(bytes)"]),
        ({"rate": 0}, ["x.rate", "above 0 and at most 1", "got 0"]),
        ({"rate": 1.5}, ["x.rate", "1.5"]),
        ({"rate": float("nan")}, ["x.rate", "nan"]),
        ({"rate": float("inf")}, ["x.rate", "inf"]),
        ({"kind": "c"}, ["x.kind", "one of a, b", "'c'"]),
        ({"name": 3}, ["x.name", "a text or null", "3"]),
        ({"flag": "yes"}, ["x.flag", "true or false", "'yes'"]),
        ({"sizes": [1, 0]}, ["x.sizes", "at least 1"]),
        ({"sizes": [[1], 2]}, ["x.sizes"]),
        ({"sizes": 3}, ["x.sizes", "a list of whole numbers"]),
        ({"cuont": 3}, ["unknown key 'cuont'", "did you mean 'count'"]),
        ({"lambda_": 3}, ["unknown key 'lambda_'", "lambda"]),
        ({"count:3": None}, ["a space is missing behind the colon of 'count:3'", "{count: 3}"]),
        ({"cuont:3": None}, ["unknown key 'cuont:3'"]),
    ],
)
def test_wrong_values_are_named(values, parts):
    with pytest.raises(ConfigError) as caught:
        read_options(Options, values, "x")
    for part in parts:
        assert part in str(caught.value)


def test_whole_floats_are_whole_numbers():
    assert read_options(Options, {"count": 1e3}, "x").count == 1000
    assert isinstance(read_options(Options, {"count": 1e3}, "x").count, int)
    assert isinstance(read_options(Options, {"rate": 1}, "x").rate, float)


@given(
    st.builds(
        Options,
        count=st.integers(1, 10**6),
        rate=st.floats(1e-6, 1),
        kind=st.sampled_from("ab"),
        name=st.none() | st.text(),
        flag=st.booleans(),
        sizes=st.lists(st.integers(1, 9)).map(tuple) | st.lists(st.lists(st.integers(1, 9)).map(tuple)).map(tuple),
        lambda_=st.floats(-10, 10),
    )
)
def test_plain_options_are_read_back(options):
    assert read_options(Options, plain_options(options), "x") == options


def test_a_class_can_refuse_a_value_itself():
    @attrs.frozen
    class Picky:
        size: int = 4

        def __attrs_post_init__(self):
            if self.size % 2:
                raise ValueError(f"size: must be even, got {self.size}")

    with pytest.raises(ConfigError, match=r"target: size: must be even, got 3"):
        read_options(Picky, {"size": 3}, "target")


def test_a_value_without_default_is_asked_for():
    @attrs.frozen
    class Needy:
        size: int

    with pytest.raises(ConfigError, match=r"target.size: a value is needed, a whole number"):
        read_options(Needy, {}, "target")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int | None, "a whole number or null"),
        (tuple[str, ...], "a list of texts"),
        (tuple[tuple[int, ...], ...], "a list of lists of whole numbers"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a", "b"] | tuple[Literal["a", "b"], ...], "one of a, b or a list of these"),
        (int | tuple[int | None, ...] | None, "a whole number or null or a list of these"),
        (int | tuple[int | None, ...], "a whole number or a list of a whole number or null"),
    ],
)
def test_kinds_in_words(kind, words):
    assert expected(kind) == words


def test_numbers_of_other_libraries_and_paths_are_taken():
    read = read_options(Options, {"count": np.int64(4), "rate": np.float32(0.5), "name": Path("a/b")}, "x")
    assert (read.count, read.rate, read.name) == (4, 0.5, "a/b")
    assert [type(value) for value in (read.count, read.rate, read.name)] == [int, float, str]
    assert read_options(Options, {"flag": np.bool_(True)}, "x").flag is True
