"""The JSON Schema of configurations: a file is valid where the reader takes it, as far as options alone decide it."""

import copy
import json
import re

import attrs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperframe.component import Component
from hyperframe.config.documents.commented_yaml import commented_yaml
from hyperframe.config.documents.json_schema import DRAFT, json_schema
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schema import load_config, read_config
from hyperframe.config.sections import shipped_configs
from hyperframe.config.yaml_values import load_yaml
from hyperframe.errors import HyperframeError
from hyperframe.hookspecs import hookimpl
from hyperframe.options import option

TYPES = {"boolean": bool, "object": dict, "array": list, "string": str, "null": type(None)}
SAID = {"description", "default", "title", "$schema", "$defs"}


def is_type(value, name):
    if name in ("number", "integer"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (name == "number" or float(value).is_integer())
    return isinstance(value, TYPES[name])


def same(one, other):
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def valid(value, schema, root=None):
    """Whether a value is valid, for the keywords that the schema has; another keyword is an error."""
    root = schema if root is None else root
    unknown = set(schema) - SAID - set(KEYWORDS) - {"then", "else"}
    assert not unknown
    return all(KEYWORDS[key](value, schema[key], schema, root) for key in schema if key in KEYWORDS)


def _properties(value, wanted, schema, root):
    return not isinstance(value, dict) or all(valid(value[key], wanted[key], root) for key in wanted if key in value)


def _additional(value, allowed, schema, root):
    assert allowed is False
    return not isinstance(value, dict) or set(value) <= set(schema["properties"])


def _limit(compare):
    return lambda value, limit, *_: not is_type(value, "number") or compare(value, limit)


KEYWORDS = {
    "type": lambda value, name, *_: is_type(value, name),
    "const": lambda value, constant, *_: same(value, constant),
    "enum": lambda value, values, *_: any(same(value, one) for one in values),
    "anyOf": lambda value, schemas, _, root: any(valid(value, one, root) for one in schemas),
    "not": lambda value, schema, _, root: not valid(value, schema, root),
    "$ref": lambda value, path, _, root: valid(value, root["$defs"][path.removeprefix("#/$defs/")], root),
    "required": lambda value, keys, *_: not isinstance(value, dict) or set(keys) <= set(value),
    "properties": _properties,
    "additionalProperties": _additional,
    "items": lambda value, schema, _, root: (
        not isinstance(value, list) or all(valid(one, schema, root) for one in value)
    ),
    "uniqueItems": lambda value, unique, *_: (
        not isinstance(value, list) or all(not same(one, other) for n, one in enumerate(value) for other in value[:n])
    ),
    "pattern": lambda value, pattern, *_: not isinstance(value, str) or re.search(pattern, value) is not None,
    "minimum": _limit(lambda value, limit: value >= limit),
    "maximum": _limit(lambda value, limit: value <= limit),
    "exclusiveMinimum": _limit(lambda value, limit: value > limit),
    "exclusiveMaximum": _limit(lambda value, limit: value < limit),
    "if": lambda value, schema, all_of, root: valid(
        value, all_of["then" if valid(value, schema, root) else "else"], root
    ),
}


@pytest.fixture(scope="module")
def schema(registry):
    return json.loads(json.dumps(json_schema(registry), allow_nan=False))


@pytest.mark.parametrize("name", shipped_configs())
def test_what_ships_is_valid(schema, registry, name):
    assert valid(load_yaml(shipped_configs()[name].read_text(encoding="utf-8")), schema)
    complete = commented_yaml(load_config(name, [], registry))
    assert valid(load_yaml(complete), schema)


FORMS = {
    "{task: digits, target: digits_cnn}": True,
    "{task: {name: digits}, target: {name: mlp, hidden: [8]}}": True,
    "{task: digits}": False,  # no target
    "{}": False,
    "{base: digits}": True,
    "{base: digits, trainer: {steps: 5}}": True,
    "{base: 7}": False,
    "{base: digits, target: {adapter: lora}}": True,  # of the base's target
    "{task: digits, target: {adapter: lora}}": False,
    "{task: digits, target: mlp, objective: {lambda: 3}}": True,  # of the default
    "{task: digits, target: mlp, objective: {prior: gaussian}}": False,
    "{task: digits, target: mlp, objective: }": True,
    "{task: digits, target: mlp, generator: {name: modes}}": True,
    "{task: , target: mlp}": False,
    "{task: digits, target: torchvision}": False,  # which one?
    "{task: digits, target: 'torchvision:resnet18'}": True,
    "{task: digits, target: {name: 'torchvision:resnet18', classes: 3}}": True,
    "{task: digits, target: {name: torchvision, model: resnet18}}": True,
    "{task: digits, target: {name: torchvision}}": False,
    "{task: digits, target: 'my.nets:small'}": False,  # code is typed, never read
    "{task: digits, target: mlp, gauges: scale}": False,
    "{base: digits, gauges: scale}": True,
    "{base: digits, gauges: [scael]}": False,
    "{task: digits, target: mlp, gauges: []}": True,
    "{task: digits, target: mlp, gauges: }": False,
    "{task: digits, target: mlp, gauges: [scael]}": False,
    "{task: digits, target: mlp, diversity: [{name: variance, weight: 2}]}": True,
    "{task: digits, target: mlp, diversity: [{weight: 2}]}": False,
    "{task: digits, target: mlp, diversity: [{name: output_entropy, task: mnist}]}": True,
    "{task: digits, target: mlp, diversity: [{name: output_entropy, task: mnits}]}": False,
    "{task: digits, target: {name: mlp, outputs: }}": True,  # the task's
    "{task: digits, target: {name: mlp, outputs: 0}}": False,
    "{task: digits, target: {name: mlp, hidden: 8}}": False,
    "{task: digits, target: {name: mlp, hidden: [8, 0]}}": False,
    "{task: digits, target: {name: mlp, hiden: [8]}}": False,
    "{task: digits, target: {name: mlp, generate: [fc, 1]}}": True,
    "{task: digits, target: {name: mlp, weights: true}}": True,
    "{task: digits, target: {name: mlp, weights: 1}}": False,
    "{task: digits, target: mlp, trainer: }": True,
    "{task: digits, target: mlp, trainer: {steps: 1e3}}": True,
    "{task: digits, target: mlp, trainer: {steps: 1.5}}": False,
    "{task: digits, target: mlp, trainer: {steps: '5'}}": False,
    "{task: digits, target: mlp, trainer: {steps: true}}": False,
    "{task: digits, target: mlp, trainer: {rate: 0}}": False,
    "{task: digits, target: mlp, trainer: {warmup: 0}}": True,
    "{task: digits, target: mlp, trainer: {warmup: 1}}": False,
    "{task: digits, target: mlp, trainer: {decay: 1}}": True,
    "{task: digits, target: mlp, trainer: {from: runs/a}}": True,
    "{task: digits, target: mlp, trainer: {from_: runs/a}}": False,
    "{task: digits, target: mlp, trainer: {schedule: linear}}": False,
    "{task: digits, target: mlp, trainer: {gradient_clip: }}": True,
    "{task: digits, target: mlp, trainer: [steps]}": False,
    "{task: digits, target: mlp, trianer: {}}": False,
    "{task: digits, target: mlp, evaluation: {analyses: [pca]}}": True,
    "{task: digits, target: mlp, evaluation: {analyses: [pca, pca]}}": False,
    "{task: digits, target: mlp, evaluation: {analyses: [cpa]}}": False,
    "{task: digits, target: mlp, entropy: {name: renyi, bandwidth: 0.5}}": True,
    "{task: digits, target: mlp, entropy: gaussain}": False,
}


def is_read(content, registry, folder):
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        load_config(path, [], registry)
    except HyperframeError:
        return False
    return True


@pytest.mark.parametrize("text", FORMS)
def test_a_file_is_valid_where_the_reader_takes_it(schema, registry, tmp_path, text):
    content = load_yaml(text)
    assert is_read(content, registry, tmp_path) == FORMS[text]
    assert valid(content, schema) == FORMS[text]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, -1.0, 1e7, "relu", "none", "digits", "x", [], [1], [0], [1.5], ["scale"], {}]),
)


def places(content, path=()):
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield (*path, key)
            yield from places(value, (*path, key))


def changed(content, path, value):
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(sorted(shipped_configs())), value=VALUES)
def test_one_value_is_valid_where_the_reader_takes_it(schema, registry, data, name, value):
    plain = load_config(name, [], registry).plain()
    path = data.draw(st.sampled_from(list(places(plain))))
    content = changed(plain, path, value)
    why = ""
    try:
        read_config("own", content, registry)
    except HyperframeError as error:
        why = str(error)
    wrong = re.search(r"expected|unknown|a value is needed|listed twice", why)  # others compare values of several keys
    assert valid(content, schema) == (wrong is None), why


def test_every_option_says_what_it_is(schema):
    for definition in schema["$defs"].values():
        for key, one in definition["properties"].items():
            assert key == "name" or one["description"]
            if "default" in one:
                assert valid(one["default"], one, schema), (key, one)


def test_components_of_others_are_in_it():
    @attrs.frozen(kw_only=True)
    class Options:
        width: int = option(help="how wide", above=2)
        names: tuple[str, ...] = attrs.field(factory=tuple)
        odd: complex = option(1j)

    class Plugin:
        @hookimpl
        def hyperframe_targets(self):
            return [Component(name="own", factory=list, options=Options, summary="of my own")]

    schema = json_schema(Registry(make_plugin_manager(extra=[Plugin()])))
    for target, taken in (({"width": 3}, True), ({"width": 2}, False), ({}, False), ({"width": 3, "odd": 1}, False)):
        assert valid({"task": "digits", "target": {"name": "own", **target}}, schema) == taken
    assert not valid({"task": "digits", "target": "own"}, schema)


def test_the_command_prints_it(hyperframe, registry):
    code, out, _ = hyperframe("config", "--schema")
    found = json.loads(out)
    assert (code, found["$schema"]) == (0, DRAFT)
    assert found == json.loads(json.dumps(json_schema(registry)))
    code, _, err = hyperframe("config", "--schema", "mnist")
    assert code == 2
    assert "take no CONFIG" in err
