import importlib.metadata
import sys
import types

import attrs
import pytest

from hyperframe.component import Component
from hyperframe.config.kinds import KINDS
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import PluginError
from hyperframe.hookspecs import hookimpl
from hyperframe.options import option


def plugin(name, *components, hook="hyperframe_gauges"):
    module = types.ModuleType(name)

    def implementation():
        return list(components)

    implementation.__name__ = hook
    setattr(module, hook, hookimpl(implementation))
    return module


def component(name):
    return Component(name=name, factory=lambda options, orbits: None, summary=f"the gauge {name}")


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """Install a distribution with one entry point, whose module has the given text."""

    def install(distribution, text, module="third_party_module"):
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[hyperframe]\nown = {module}\n")
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


GOOD = """
from hyperframe import Component, hookimpl

@hookimpl
def hyperframe_gauges():
    return [Component(name="own", factory=lambda options, orbits: None, summary="an own gauge")]
"""


def test_built_in_components_come_through_entry_points_only():
    assert Registry(make_plugin_manager(entry_points=False)).all() == []
    names = {(entry.kind, entry.component.name) for entry in Registry(make_plugin_manager()).all()}
    assert {
        ("target", "mnist_cnn"),
        ("target", "digits_cnn"),
        ("task", "mnist"),
        ("task", "digits"),
        ("generator", "hypernetwork"),
        ("generator", "direct"),
        ("generator", "mlp"),
        ("gauge", "scale"),
        ("gauge", "logit_bias"),
        ("entropy", "kozachenko_leonenko"),
        ("diversity", "weight_entropy"),
        ("diversity", "none"),
    } <= names


def test_every_component_is_described():
    for entry in Registry(make_plugin_manager()).all():
        assert entry.component.summary, entry.component.name
        assert attrs.has(entry.component.options)
        assert entry.source.version


def test_third_parties_are_loaded_with_their_distribution(third_party):
    third_party("gauge-shop", GOOD)
    entry = Registry(make_plugin_manager()).get("gauge", "own")
    assert (entry.source.distribution, entry.source.version) == ("gauge-shop", "1.2")


@pytest.mark.parametrize(("limit", "found"), [("", False), ("other", False), ("own", True), ("x, gauge-shop", True)])
def test_third_parties_can_be_limited(third_party, monkeypatch, limit, found):
    third_party("gauge-shop", GOOD)
    monkeypatch.setenv("HYPERFRAME_PLUGINS", limit)
    names = {entry.component.name for entry in Registry(make_plugin_manager()).all()}
    assert ("own" in names) == found
    assert "scale" in names


def test_blocked_plugins_are_left_out():
    names = {entry.component.name for entry in Registry(make_plugin_manager(block=["gauge_scale"])).all()}
    assert "scale" not in names
    assert "logit_bias" in names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import module_that_is_absent", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        (GOOD.replace("hyperframe_gauges", "hyperframe_gauge"), "unknown hook"),
        (GOOD.replace("hyperframe_gauges", "hyperframe_gauge"), "did you mean 'hyperframe_gauges'?"),
        (GOOD.replace("@hookimpl\n", ""), "its function hyperframe_gauges is not marked with @hookimpl"),
        (
            GOOD.replace("return [", "return 2 * ["),
            "'own' is registered twice by gauge-shop 1.2 (plugin 'gauge-shop:own'); name",
        ),
        (
            GOOD.replace('name="own",', 'name="own", options=__import__("hyperframe").types.NoOptions(),'),
            "options must be an attrs class",
        ),
        (GOOD.replace("hyperframe_gauges()", "hyperframe_gauges(extra)"), "Argument"),
        (GOOD.replace("return [", "return 3, ["), "must return a list of Components"),
        (GOOD.replace('name="own"', "name=7"), "the name of a component must be a text, not 7"),
        (GOOD.replace('name="own"', 'name="../own"'), "behind them, and not '../own'"),
        (GOOD.replace('name="own"', 'name=""'), "the name of a component must be a text"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise BaseException('on purpose')", "BaseException: on purpose"),
        (GOOD.replace("return [", "raise SystemExit; ["), "SystemExit"),
    ],
)
def test_a_broken_plugin_is_named_and_the_rest_keeps_working(third_party, text, reason):
    third_party("gauge-shop", text)
    registry = Registry(make_plugin_manager())
    assert registry.get("gauge", "scale")
    broken = registry.manager.broken
    assert len(broken) == 1
    assert "gauge-shop 1.2" in str(broken[0])
    assert reason in str(broken[0])
    with pytest.raises(PluginError, match="gauge-shop"):
        registry.get("gauge", "own")


def test_a_third_party_cannot_take_the_name_of_a_built_in_component(third_party):
    third_party("gauge-shop", GOOD.replace('"own"', '"scale"'))
    registry = Registry(make_plugin_manager())
    assert registry.get("gauge", "scale").source.distribution == "hyperframe-nn"
    (broken,) = registry.manager.broken
    for part in ("gauge 'scale'", "hyperframe-nn", "gauge-shop 1.2"):
        assert part in str(broken)


def test_of_two_third_parties_neither_has_a_name_that_both_want(third_party):
    third_party("gauge-shop", GOOD)
    third_party("other-shop", GOOD, module="other_module")
    registry = Registry(make_plugin_manager())
    with pytest.raises(PluginError, match=r"gauge-shop 1\.2") as caught:
        registry.get("gauge", "own")
    assert "other-shop 1.2" in str(caught.value)
    assert len(registry.manager.broken) == 2
    assert len(registry.with_plugins([]).manager.broken) == 2
    assert registry.get("gauge", "scale")


def test_a_plugin_that_is_handed_over_must_not_take_a_name():
    with pytest.raises(PluginError, match="gauge 'scale' is registered twice"):
        Registry(make_plugin_manager(extra=[plugin("mine", component("scale"))]))


def test_one_name_may_stand_for_several_kinds():
    manager = make_plugin_manager(
        entry_points=False,
        extra=[plugin("a", component("same")), plugin("b", component("same"), hook="hyperframe_tasks")],
    )
    assert len(Registry(manager).all()) == 2


def test_extra_plugins_need_no_installation():
    manager = make_plugin_manager(extra=[plugin("mine", component("mine"))])
    assert Registry(manager).get("gauge", "mine").source.distribution == "mine"


def test_each_manager_is_fresh():
    make_plugin_manager(extra=[plugin("mine", component("mine"))])
    with pytest.raises(PluginError, match="unknown gauge 'mine'"):
        Registry(make_plugin_manager()).get("gauge", "mine")


def test_every_component_hook_has_a_kind():
    from hyperframe import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("hyperframe_")}
    assert hooks == {*(kind.hook for kind in KINDS.values()), "hyperframe_reporters"}


def test_the_entry_points_name_every_built_in_module(root):
    points = importlib.metadata.entry_points(group="hyperframe")
    declared = {point.value for point in points if point.dist.name == "hyperframe-nn"}
    found = [
        path for path in (root / "hyperframe" / "builtin").glob("*/[!_]*") if not path.suffix or path.suffix == ".py"
    ]
    modules = {f"hyperframe.builtin.{path.parent.name}.{path.stem}" for path in found}
    assert declared == modules


def test_a_wrong_plugin_that_is_passed_in_is_an_error():
    module = types.ModuleType("mine")
    module.hyperframe_gauge = hookimpl(lambda: [])
    with pytest.raises(PluginError, match=r"'mine#0'.*unknown hook 'hyperframe_gauge'"):
        make_plugin_manager(extra=[module])


def test_two_plugins_of_one_class_can_be_passed_in():
    class Own:
        def __init__(self, name):
            self.name = name

        @hookimpl
        def hyperframe_gauges(self):
            return [component(self.name)]

    registry = Registry(make_plugin_manager(entry_points=False, extra=[Own("a"), Own("b")]))
    assert [entry.component.name for entry in registry.all()] == ["a", "b"]


@pytest.mark.parametrize(("kind", "key"), [("target", "rank"), ("diversity", "weight")])
def test_a_component_cannot_have_an_option_that_all_of_its_kind_have(kind, key):
    """A user's settings would go to the other one."""
    options = attrs.make_class("Options", {key: option(1)}, frozen=True)
    component = Component(name="own", factory=lambda options: None, options=options, summary="a test")

    class Plugin:
        @hookimpl
        def hyperframe_targets(self):
            return [component] if kind == "target" else []

        @hookimpl
        def hyperframe_diversity_terms(self):
            return [component] if kind == "diversity" else []

    registry = Registry(make_plugin_manager(extra=[Plugin()]))
    assert all(entry.component is not component for entry in registry.all())
    assert f"{kind} 'own': the key '{key}' is that of every {kind}" in str(registry.manager.broken[-1])
