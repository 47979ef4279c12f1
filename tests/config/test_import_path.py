"""Targets `package.module:factory`: options from a signature, and code that counts only where it was typed."""

import importlib
import itertools
import json
import re
import shutil
import sys
from typing import get_type_hints

import attrs
import numpy as np
import pytest
import tiny
import torch
import yaml

import hyperframe as hf
from hyperframe.config.import_path import Factories, check_factory, is_factory, typed_targets
from hyperframe.errors import ConfigError, PluginError, RunError
from hyperframe.options import key_of, plain_options, read_options

FAST = tiny.CHECKED

NETS = '''
from torch import nn
import hyperframe as hf

def small(width: int = 6, activation: str = "tanh"):
    """A perceptron.

    With one hidden layer.
    """
    acts = {"tanh": nn.Tanh(), "relu": nn.ReLU()}
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, width), acts[activation], nn.Linear(width, 10))
    params = [[hf.targets.kernel(f"{i}.weight", "o i"), hf.targets.bias(f"{i}.bias")] for i in (1, 3)]
    layers = [
        hf.targets.LayerSpec(name="first", filters=width, writes=["hidden"], params=params[0]),
        hf.targets.LayerSpec(name="last", filters=10, reads=["hidden"], params=params[1]),
    ]
    unit = hf.targets.UnitSpec(name="hidden", size=width, ops=[activation])
    return module, hf.targets.TargetSpec(
        name="small", input_shape=(1, 8, 8), num_outputs=10, logits="last", units=[unit], layers=layers
    )

def failing():
    raise ZeroDivisionError("no such thing")

def refusing():
    raise hf.HyperframeError("refused, do this")

def module_only():
    return small()[0]

def nothing():
    pass

class Nets:
    @staticmethod
    def small(width: int = 6):
        return small(width)

number = 3
'''

names = itertools.count()


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module into a folder that Python searches; return its name, which no other test uses."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(text):
        name = f"own_nets_{next(names)}"
        (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    return write


@pytest.fixture
def nets(written):
    return written(NETS)


def component(name):
    return Factories([name]).hyperframe_targets()[0]


# Options from a signature


def signature(written, parameters, before=""):
    """The component of a factory with these parameters, which returns what it was given."""
    lines = [before, "from typing import *", "from collections.abc import Sequence, Iterable"]
    lines += [f"def made({parameters}):", "    return dict(locals())"]
    return component(f"{written(chr(10).join(lines))}:made")


KINDS = [
    ("a: int", {"a": 3}, {"a": 3}),
    ("a: float", {"a": 3}, {"a": 3.0}),
    ("a: str", {"a": "x"}, {"a": "x"}),
    ("a: bool", {"a": True}, {"a": True}),
    ("a: tuple[int, ...]", {"a": [3, 4]}, {"a": (3, 4)}),
    ("a: tuple[int, int]", {"a": [3, 4]}, {"a": (3, 4)}),
    ("a: list[int]", {"a": [3, 4]}, {"a": [3, 4]}),
    ("a: List[float]", {"a": [3, 4]}, {"a": [3.0, 4.0]}),
    ("a: Sequence[str]", {"a": ["x"]}, {"a": ("x",)}),
    ("a: Iterable[int]", {"a": []}, {"a": ()}),
    ("a: tuple[tuple[int, ...], ...]", {"a": [[3], [4, 5]]}, {"a": ((3,), (4, 5))}),
    ("a: list[int] | None = None", {"a": [3]}, {"a": [3]}),
    ("a: list[int] | None = None", {}, {"a": None}),
    ("a: Optional[list[int]] = [3]", {}, {"a": [3]}),
    ("a: int | list[int]", {"a": [3]}, {"a": [3]}),
    ("a: int | list[int]", {"a": 3}, {"a": 3}),
    ("a: list[list[int]]", {"a": [[3], []]}, {"a": [[3], []]}),
    ("a: list[tuple[int, ...]]", {"a": [[3], []]}, {"a": [(3,), ()]}),
    ("a: Literal['x', 'y']", {"a": "y"}, {"a": "y"}),
    ("a: Literal[3, 5]", {"a": 5}, {"a": 5}),
    ("a: int | None", {"a": None}, {"a": None}),
    ("a: Optional[int]", {"a": 3}, {"a": 3}),
    ("a: int | str", {"a": "x"}, {"a": "x"}),
    ("a: Annotated[int, 'width']", {"a": 3}, {"a": 3}),
    ("a: Annotated[list[int], 'width']", {"a": [3]}, {"a": [3]}),
    ("*, a: int, b: str = 'x'", {"a": 3}, {"a": 3, "b": "x"}),
    ("a: int = 3", {}, {"a": 3}),
    ("a: int = None", {}, {"a": None}),
    ("a: int = None", {"a": 3}, {"a": 3}),
    ("a=3", {"a": 4}, {"a": 4}),
    ("a=0.5", {"a": 4}, {"a": 4.0}),
    ("a='x'", {"a": "y"}, {"a": "y"}),
    ("a=False", {"a": True}, {"a": True}),
    ("a=(3, 4)", {"a": [5]}, {"a": (5,)}),
    ("a=(3, 0.5)", {"a": [5]}, {"a": (5.0,)}),
    ("a=[3, 4]", {}, {"a": [3, 4]}),
    ("a=[3, 4]", {"a": [5]}, {"a": [5]}),
    ("a: tuple = (3, 4)", {"a": [5]}, {"a": (5,)}),
    ("a: list = ['x']", {"a": ["y"]}, {"a": ["y"]}),
    ("lambda_: float = 0.5", {"lambda": 1}, {"lambda_": 1.0}),
]


@pytest.mark.parametrize("before", ["", "from __future__ import annotations"])
@pytest.mark.parametrize(("parameters", "given", "wanted"), KINDS)
def test_options_follow_the_signature(written, parameters, given, wanted, before):
    made = signature(written, parameters, before)
    options = read_options(made.options, given, "target")
    found = made.factory(options)
    assert found == wanted
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in wanted.items()}
    again = read_options(made.options, json.loads(json.dumps(plain_options(options))), "target")
    assert made.factory(again) == wanted


@pytest.mark.parametrize(
    ("parameters", "given", "message"),
    [
        ("a: int", {}, "target.a: a value is needed, a whole number"),
        ("a: int", {"a": "3"}, "target.a: expected a whole number, but got '3'"),
        ("a: int", {"a": 0.5}, "target.a: expected a whole number, but got 0.5"),
        ("a: int", {"a": None}, "target.a: expected a whole number, but got null"),
        ("a: bool", {"a": 1}, "target.a: expected true or false, but got 1"),
        ("a: tuple[int, ...]", {"a": 3}, "target.a: expected a list of whole numbers, but got 3"),
        ("a: list[int]", {"a": ["x"]}, "target.a: expected a list of whole numbers"),
        ("a: Literal['x', 'y']", {"a": "z"}, "target.a: expected one of x, y, but got 'z'"),
        ("a=3", {"a": "x"}, "target.a: expected a whole number"),
        ("width=3", {"widht": 4}, "target: unknown key 'widht'; did you mean 'width'"),
        ("a=3, **more", {"b": 4}, "target: unknown key 'b'"),
        ("a=object()", {"a": 4}, "target: unknown key 'a'"),
    ],
)
def test_values_that_do_not_fit_the_signature(written, parameters, given, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        read_options(signature(written, parameters).options, given, "target")


@pytest.mark.parametrize(
    "parameters",
    [
        "*args, **more",
        "a=None",
        "a=()",
        "a=[]",
        "a=(3, 'x')",
        "a={}",
        "a=object",
        "a: dict = {}",
        "a: int = 'x'",
        "a: float = float('nan')",
        "a: Literal['x'] = 'y'",
        "a: list[int] = [0.5]",
        "a='${oc.env:HOME}'",
        "a: Callable[[int], int] = abs",
        "a=3, /",
        "name='x'",
        "_a=3",
        "self=3",
    ],
)
def test_defaults_that_are_no_options_are_kept(written, parameters):
    made = signature(written, parameters)
    assert attrs.fields(made.options) == ()
    made.factory(made.options())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("a", "parameter 'a' cannot be an option: it needs a type such as int, str"),
        ("a: dict", "parameter 'a' cannot be an option: it needs a type"),
        ("a: dict[str, int]", "parameter 'a' cannot be an option"),
        ("a: Any", "parameter 'a' cannot be an option"),
        ("a: tuple", "parameter 'a' cannot be an option"),
        ("a: list", "parameter 'a' cannot be an option"),
        ("a: tuple[int, str]", "parameter 'a' cannot be an option"),
        ("a: int | dict", "parameter 'a' cannot be an option"),
        ("a: Literal['x', None]", "parameter 'a' cannot be an option"),
        ("a: Callable[[int], int]", "parameter 'a' cannot be an option"),
        ("*, b=3, a", "parameter 'a' cannot be an option"),
        ("a: int, /", "parameter 'a' cannot be an option: it cannot be given by its name"),
        ("name: str", "parameter 'name' cannot be an option: the key 'name' is that of the target itself"),
        ("_a: int", "parameter '_a' cannot be an option: its name cannot be a key"),
        ("self: int", "parameter 'self' cannot be an option: its name cannot be a key"),
        ("a: int, a_: int", "parameter 'a' cannot be an option: its name cannot be a key, or is that of another one"),
        ("name_: str", "parameter 'name_' cannot be an option: the key 'name' is"),
    ],
)
def test_parameters_that_cannot_be_options(written, parameters, message):
    with pytest.raises(PluginError, match=f"^target 'own_nets_[0-9]+:made': {message}"):
        signature(written, parameters)


def test_annotations_that_cannot_be_read(written):
    name = written("from __future__ import annotations\ndef made(a: Absent): ...")
    with pytest.raises(PluginError, match="its parameters cannot be read: NameError: name 'Absent' is not defined"):
        component(f"{name}:made")


def test_callables_of_other_kinds(written, nets):
    name = written(
        "import functools\n"
        "class Made:\n    'A class.'\n    def __init__(self, a: int = 3): self.a = a\n"
        "    @classmethod\n    def other(cls, a: int = 4): return cls(a)\n"
        "def plain(a: int, b: int = 5): return a, b\n"
        "part = functools.partial(plain, 7)\n"
        "short = lambda a=3: a\n"
    )
    made = component(f"{name}:Made")
    assert made.factory(made.options(a=9)).a == 9
    assert made.summary == "A class."
    other = component(f"{name}:Made.other")
    assert other.factory(other.options()).a == 4
    part = component(f"{name}:part")
    assert part.factory(part.options()) == (7, 5)
    assert component(f"{name}:short").summary == "a factory of one's own"
    assert component(f"{nets}:small").summary == "A perceptron."
    hints = get_type_hints(component(f"{nets}:Nets.small").options)
    assert hints == {"width": int}
    assert [key_of(field) for field in attrs.fields(component(f"{nets}:small").options)] == ["width", "activation"]


# Names


@pytest.mark.parametrize("name", ["mlp", "a:b:c", ":b", "a:", "a b:c", "a.:b", "a:b.", "../a:b", "a-b:c", "", 3, None])
def test_names_of_no_factory(name):
    assert not is_factory(name)
    with pytest.raises(ConfigError, match=r"target: expected package\.module:factory"):
        check_factory(name)


@pytest.mark.parametrize("use", [hf.load, hf.resume])
def test_a_target_that_is_typed_must_be_a_factory(tmp_path, use):
    with pytest.raises(
        ConfigError, match=r"expected package\.module:factory, .* but got 'mlp'; other targets are found"
    ):
        use(tmp_path, target="mlp")


def test_which_names_were_typed():
    pairs = [("target", "a:b"), ("target.name", "c.d:e.f"), ("target", {"name": "g:h"}), ("target", "mlp")]
    assert typed_targets([*pairs, ("task", "i:j"), ("target.width", "k:l")]) == ["a:b", "c.d:e.f", "g:h"]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("import absent_library", "made", "importing own_nets_.* failed: ModuleNotFoundError: .*absent_library"),
        ("1 / 0", "made", "importing own_nets_.* failed: ZeroDivisionError"),
        ("raise SystemExit(3)", "made", "importing own_nets_.* failed: SystemExit: 3"),
        ("def (", "made", "importing own_nets_.* failed: SyntaxError"),
        ("", "made", "own_nets_.* has no 'made'"),
        ("class Made: pass", "Made.small", "own_nets_.* has no 'Made.small'"),
        ("made = 3", "made", "'made' is no callable, but int"),
        (
            "def __getattr__(name):\n    if name == 'made': raise ImportError('no cuda')\n    raise AttributeError",
            "made",
            "getting 'made' of own_nets_.* failed: ImportError: no cuda",
        ),
        ("import sys as made", "made", "'made' is no callable, but module"),
    ],
)
def test_names_that_lead_to_nothing(tmp_path, written, hyperframe, text, path, message):
    name = f"{written(text)}:{path}"
    with pytest.raises(PluginError, match=f"^target '{name}': {message}"):
        hf.train("digits", {**FAST, "target": name}, out=tmp_path / "run")
    code, out, err = hyperframe("train", f"target={name}", "--out", "run")
    assert (code, out) == (2, "")
    assert err.startswith(f"hyperframe: target '{name}': ")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


# Trained


@pytest.mark.parametrize("how", ["name", "mapping", "dotted"])
def test_a_factory_is_trained(tmp_path, nets, how):
    name = f"{nets}:small"
    chosen = {
        "name": {"target": name, "target.width": 5},
        "mapping": {"target": {"name": name, "width": 5}},
        "dotted": {"target.name": name, "target.width": 5},
    }[how]
    run = hf.train("digits", {**FAST, **chosen}, out=tmp_path / "run")
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["target"] == {
        "name": name,
        "width": 5,
        "activation": "tanh",
        **{"generate": [], "adapter": "none", "rank": 8, "weights": False},  # as every target has them
    }
    assert run.sample(2)[1][1].out_features == 5
    with pytest.raises(ConfigError, match="target: unknown key 'wdith'; did you mean 'width'"):
        hf.train("digits", {**FAST, **chosen, "target.wdith": 5}, out=tmp_path / "other")


def refused(name):
    return f"target '{name}' is code of one's own, which counts only where you type it yourself"


@pytest.mark.slow
def test_a_configuration_cannot_bring_code(tmp_path, written, hyperframe):
    mark = tmp_path / "ran"
    name = f"{written(f'open({str(mark)!r}, chr(119)).close()' + NETS)}:small"
    _, out, _ = hyperframe("config", "digits")
    content = yaml.safe_load(out)
    content["target"] = {"name": name, "width": 5}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(PluginError, match=refused(name)):
        hf.train(tmp_path / "own.yaml", FAST, out=tmp_path / "run")
    with pytest.raises(PluginError, match=refused(name)):
        hf.train(tmp_path / "own.yaml", {**FAST, "target.width": 6}, out=tmp_path / "run")
    texts = [f"{key}={json.dumps(value)}" for key, value in FAST.items()]
    for command in (["train", "own.yaml", *texts], ["config", "own.yaml"], ["describe", "--config", "own.yaml"]):
        code, out, err = hyperframe(*command)
        assert (code, out) == (2, "")
        assert refused(name) in err
        assert f"target={name}" in err
    assert not mark.exists()
    assert not (tmp_path / "run").exists()
    run = hf.train(tmp_path / "own.yaml", {**FAST, "target": name}, out=tmp_path / "run")
    assert mark.exists()
    assert run.sample(1)[0][1].out_features == 5  # the file's option, since the name is the same
    assert run.config.target.name == name
    assert hyperframe("train", "own.yaml", f"target={name}", *texts, "--out", "typed")[0] == 0
    for command in (["config", "own.yaml"], ["describe", "--config", "own.yaml"]):
        code, out, _ = hyperframe(*command, f"target={name}")
        assert code == 0
        assert "small" in out


@pytest.mark.slow
def test_a_run_folder_cannot_bring_code(tmp_path, nets, hyperframe):
    name = f"{nets}:small"
    settings = {**FAST, "target": name, "target.width": 5}
    whole = hf.train("digits", settings, out=tmp_path / "whole")
    paused = hf.train("digits", {**settings, "trainer.stop_after": 2}, out=tmp_path / "run")
    del sys.modules[nets]
    for use in (hf.load, hf.resume):
        with pytest.raises(RunError, match=refused(name)) as caught:
            use(paused.folder)
        assert "not installed" not in str(caught.value)
    commands = (
        ["evaluate", "run"],
        ["sample", "run", "--out", "a"],
        ["predict", "run", "x.npy"],
        ["train", "--resume", "run"],
    )
    for command in commands:
        code, out, err = hyperframe(*command)
        assert (code, out) == (2, "")
        assert refused(name) in err
    assert nets not in sys.modules
    assert hf.load(paused.folder, target=name).step == 2
    resumed = hf.resume(paused.folder, target=name)
    assert {**resumed.evaluate(), "run": ""} == {**whole.evaluate(), "run": ""}
    assert hf.load(paused.folder, target=name).sample(1)[0][1].out_features == 5
    code, out, err = hyperframe("evaluate", "run", "--target", name, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == resumed.evaluate()
    assert hyperframe("sample", "run", "--target", name, "-n", 3, "--out", "a")[0] == 0
    with pytest.raises(RunError, match=refused(name)):
        hf.load(paused.folder, target=f"{nets}:Nets.small")


@pytest.mark.slow
def test_a_run_goes_on_where_the_target_is_typed(tmp_path, nets, hyperframe):
    name = f"{nets}:small"
    whole = hf.train("digits", {**FAST, "target": name, "target.width": 5}, out=tmp_path / "whole")
    for folder in ("typed", "override"):
        hf.train("digits", {**FAST, "target": name, "target.width": 5, "trainer.stop_after": 2}, out=tmp_path / folder)
    code, out, err = hyperframe("train", "--resume", "typed", f"target={name}", "--json")
    assert code == 0
    assert "Traceback" not in err
    assert {**json.loads(out), "run": "whole"} == whole.evaluate()
    resumed = hf.resume(tmp_path / "override", {"target": name})
    assert {**resumed.evaluate(), "run": "whole"} == whole.evaluate()
    with pytest.raises(ConfigError, match=r"a run keeps its target.*width"):
        hf.resume(tmp_path / "typed", {"target": name, "target.width": 6, "trainer.steps": 9})


def test_a_command_finds_modules_in_the_current_folder(tmp_path, hyperframe):
    name = f"own_nets_{next(names)}"
    (tmp_path / f"{name}.py").write_text(NETS)
    importlib.invalidate_caches()
    code, out, _ = hyperframe("describe", f"{name}:small", "target.width=5", "--json")
    assert code == 0
    assert json.loads(out)["target"]["name"] == "small"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("failing", "its factory failed: ZeroDivisionError: no such thing"),
        ("refusing", "refused, do this"),
        ("nothing", r"its factory must return a module, \(module, TargetSpec\) or .*, but gives NoneType"),
        ("small", "its factory failed: KeyError: 'gelu'"),
    ],
)
def test_factories_that_make_no_target(tmp_path, nets, factory, message):
    options = {"target.activation": "gelu"} if factory == "small" else {}
    with pytest.raises(hf.HyperframeError, match=message) as caught:
        hf.train("digits", {**FAST, "target": f"{nets}:{factory}", **options}, out=tmp_path / "run")
    assert factory == "refusing" or f"target '{nets}:{factory}'" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_factory_beside_what_is_handed_over(tmp_path, nets):
    module, spec = importlib.import_module(nets).small()
    for chosen in ({"target": f"{nets}:small"}, {"target": {"name": f"{nets}:small"}}):
        with pytest.raises(ConfigError, match="was asked for, but a module handed over; leave one out"):
            hf.train("digits", {**FAST, **chosen}, module=module, spec=spec, out=tmp_path / "run")


def test_a_factory_beside_other_plugins(tmp_path, nets, registry):
    run = hf.train("digits", {**FAST, "target": f"{nets}:small"}, out=tmp_path / "run", registry=registry)
    assert hf.load(run.folder, target=f"{nets}:small", registry=registry).evaluate() == run.evaluate()
    with pytest.raises(RunError, match="counts only where you type it yourself"):
        hf.load(run.folder, registry=registry)  # it has not been changed


def test_a_parameter_with_the_name_of_an_option_of_every_target_is_none_of_the_factorys(tmp_path, monkeypatch):
    """One with a default keeps it; one without cannot be given."""
    text = "from torch import nn\n\ndef kept(rank: int = 3):\n    return nn.Linear(64, rank)\n\n"
    (tmp_path / "common_keys.py").write_text(text + "def needed(rank: int):\n    return nn.Linear(64, rank)\n")
    monkeypatch.syspath_prepend(tmp_path)
    (component,) = Factories(["common_keys:kept"]).hyperframe_targets()
    assert attrs.fields(component.options) == ()
    assert component.factory(component.options()).out_features == 3
    with pytest.raises(PluginError, match="'rank' cannot be an option: the key 'rank' is that of every target"):
        Factories(["common_keys:needed"])


# Runs of modules that were handed over in Python

HANDED = """
from torch import nn

def net(width: int = 6, activation=nn.Tanh):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), activation(), nn.Linear(width, 10))

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(*net())

def wide():
    return net(width=7)

def other():
    return net(activation=nn.ReLU)

def sized(width: int):
    return net(width)

def failing():
    raise ZeroDivisionError("no such thing")

def number():
    return 3
"""


@pytest.mark.slow
def test_a_typed_factory_stands_for_the_module_that_was_handed_over(tmp_path, written, hyperframe):
    handed = written(HANDED)
    net = importlib.import_module(handed).net
    run = hf.train("digits", {**FAST, "trainer.stop_after": 2}, module=net(), out=tmp_path / "run")
    shutil.copytree(run.folder, tmp_path / "copy")
    for command in (["sample", "run", "--out", "a"], ["evaluate", "run"], ["compare", "run", "copy"]):
        code, _, err = hyperframe(*command)
        assert code == 2
        assert "hyperframe: the run's target was handed over in Python; hand it over again: hyperframe.load(" in err
        assert "A command takes --target package.module:function" in err
        assert "digits_cnn" not in err  # targets that are there are of no help
    for name in (f"{handed}:net", f"{handed}:Net"):
        code, out, err = hyperframe("evaluate", "run", "--target", name, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == run.evaluate()
    assert hf.load(run.folder, target=f"{handed}:net").evaluate() == run.evaluate()
    code, out, err = hyperframe("compare", "run", "copy", "--target", f"{handed}:net", "--json")
    assert code == 0, err
    code, _, err = hyperframe("compare", "run", "copy", "--target", f"{handed}:net", "--target", f"{handed}:wide")
    assert code == 2
    assert f"Of several, {handed}:net, {handed}:wide, none stands for the module" in err
    assert "name only the one that makes it" in err
    for function, message in (
        ("wide", "the checkpoint of step 2 does not fit its configuration"),
        ("other", "was trained with another target: .* 'tanh ' and not .* 'relu '"),
        ("sized", "the run's module was handed over in Python, .* and 'width' needs one; name a function that makes"),
        ("failing", f"target '{handed}:failing': making the module failed: ZeroDivisionError: no such thing"),
        ("number", "must return a module, .* but gives int"),
    ):
        code, out, err = hyperframe("sample", "run", "--target", f"{handed}:{function}", "--out", "b")
        assert (code, out) == (2, ""), function
        assert re.search(message, err), err
    with pytest.raises(PluginError, match="unknown target 'module'"):  # it opens runs, and trains none
        hf.train("digits", {**FAST, "target": "module"}, out=tmp_path / "none")


@pytest.mark.slow
def test_a_run_goes_on_where_what_makes_its_module_is_typed(tmp_path, written, hyperframe):
    handed = written(HANDED)
    net = importlib.import_module(handed).net
    whole = hf.train("digits", FAST, module=net(), out=tmp_path / "whole")
    for folder in ("typed", "target"):
        hf.train("digits", {**FAST, "trainer.stop_after": 2}, module=net(), out=tmp_path / folder)
    code, out, err = hyperframe("train", "--resume", "typed", f"target={handed}:net", "--json")
    assert code == 0, err
    assert {**json.loads(out), "run": "whole"} == whole.evaluate()
    resumed = hf.resume(tmp_path / "target", target=f"{handed}:net")
    assert {**resumed.evaluate(), "run": "whole"} == whole.evaluate()
    assert hf.load(resumed.folder, module=net()).config.target.name == "module"
    with pytest.raises(ConfigError, match="a run keeps its target"):
        hf.resume(tmp_path / "typed", {"target": "mlp", "trainer.steps": 9}, module=net())
    with pytest.raises(ConfigError, match="a run keeps its target"):  # the module is here, and needs nothing typed
        hf.resume(tmp_path / "typed", {"target": f"{handed}:net", "trainer.steps": 9}, module=net())


@pytest.mark.slow
def test_a_run_of_data_and_a_module_answers_where_the_module_is_typed(tmp_path, written, hyperframe):
    handed = written(HANDED)
    net = importlib.import_module(handed).net
    x, y = np.random.default_rng(0).random((90, 1, 8, 8), dtype=np.float32), np.arange(90) % 10
    run = hf.train("digits", FAST, module=net(), data=(x, y), out=tmp_path / "run")
    np.save(tmp_path / "x.npy", x[:4])
    command = ["predict", "run", "x.npy", "-n", "3", "--json"]
    code, out, err = hyperframe(*command, "--target", f"{handed}:net")
    assert code == 0, err
    votes = run.sample(3).summary(torch.from_numpy(x[:4]))["vote"].tolist()
    assert [row["vote"] for row in json.loads(out)["examples"]] == votes
    code, _, err = hyperframe("evaluate", "run", "--target", f"{handed}:net")
    assert code == 2
    assert "hand them over again: hyperframe.load(folder, data=...)" in err
    code, _, err = hyperframe("train", "--resume", "run", f"target={handed}:net", "trainer.steps=9")
    assert code == 2
    assert "hyperframe: the run's task was handed over in Python; hand it over again: hyperframe.load(" in err
    assert "--target" not in err
