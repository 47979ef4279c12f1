"""Recipes of a comparison: what they change, how many steps their budget is worth, and what is refused."""

import shlex
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tiny import PERCEPTRON

from hyperframe.bench.recipes import cost_of_step, read_generators, read_recipes
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, PluginError

PAIRS = [(key, value) for key, value in PERCEPTRON.items() if not key.startswith("generator")]
BASELINES = Path(__file__).parents[2] / "plugins" / "hyperframe-baselines" / "comparisons" / "digits.yaml"
SMALL = {"generator": {"name": "mlp", "hidden": [8]}}


def recipes(generators, budget, registry, pairs=()):
    return read_recipes("digits", [*PAIRS, *pairs], generators, budget, registry)


def test_generators_are_names_or_a_file(tmp_path):
    assert read_generators(" direct,modes,direct") == {
        "direct": {"generator": "direct"},
        "modes": {"generator": "modes"},
    }
    file = tmp_path / "some.yaml"
    file.write_text("few: {generator: {name: direct, networks: 2}, trainer.networks: 2}\nmodes: modes\nown: {}\n")
    assert read_generators(str(file)) == {
        "few": {"generator": {"name": "direct", "networks": 2}, "trainer.networks": 2},
        "modes": {"generator": "modes"},
        "own": {},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "names no generator"),
        ("a/b: modes", "'a/b' can be no label"),
        ("..: modes", r"'\.\.' can be no label"),
        ("few: 3", "few: expected keys and values, or a generator's name, but got 3"),
        ("few: [modes", "cannot be read"),
    ],
)
def test_files_that_are_none_of_generators(tmp_path, text, message):
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_generators(str(tmp_path / "some.yaml"))


@pytest.mark.parametrize("text", ["", " , "])
def test_no_names(text):
    with pytest.raises(ConfigError, match="names no generator"):
        read_generators(text)
    with pytest.raises(ConfigError, match="there is no file"):
        read_generators("missing.yaml")


def test_a_budget_is_worth_as_many_whole_steps(registry):
    others = {"trainer.networks": 2, "generator": {"name": "direct", "networks": 2}, "diversity": "none"}
    found, (own, few) = recipes({"own": SMALL, "few": others}, 1000, registry)
    assert found == 1000
    assert (own.config.trainer.networks, own.config.trainer.steps) == (4, 1000 // (4 * 8))
    assert (few.config.trainer.networks, few.config.trainer.steps) == (2, 1000 // (2 * 8))
    assert own.seeded(7).trainer.seed == 7
    assert own.seeded(7).trainer.steps == own.config.trainer.steps


def test_without_a_budget_it_is_that_of_the_configuration(registry):
    budget, (few,) = recipes({"few": {"trainer.networks": 2}}, None, registry, [*SMALL.items(), ("trainer.steps", 10)])
    assert budget == 10 * 4 * 8
    assert few.config.trainer.steps == 20


def test_shared_images_of_terms_count(registry):
    settings = dict(PAIRS) | SMALL
    plain = cost_of_step(load_config("digits", settings, registry))
    term = {"diversity": ["weight_entropy", "disagreement"], "trainer.shared_examples": 5}
    assert (plain, cost_of_step(load_config("digits", settings | term, registry))) == (4 * 8, 4 * 8 + 4 * 5)


@pytest.mark.parametrize(
    ("generators", "error", "message"),
    [
        ({"own": {**SMALL, "trainer.steps": 3}}, ConfigError, r"own: trainer\.steps is set by the comparison"),
        ({"own": {**SMALL, "trainer": {"seed": 0}}}, ConfigError, r"own: trainer\.seed is set by .*: --seeds says it"),
        ({"own": {**SMALL, "target": {"hidden": [9]}}}, ConfigError, "own: target: generators are compared on one tar"),
        ({"own": {**SMALL, "evaluation.seed": 9}}, ConfigError, "own: evaluation: generators are compared on one eval"),
        ({"own": {**SMALL, "trainer.networks": 99}}, ConfigError, r"own: a step takes 792 .* budget of 500"),
        ({"own": SMALL, "odd": {"generator": "none_such"}}, PluginError, "odd: unknown generator 'none_such'"),
        ({"own": {**SMALL, "trainer.rates": 3}}, ConfigError, r"own: .*'rates'"),
    ],
)
def test_wrong_recipes_are_named_before_any_training(registry, generators, error, message):
    with pytest.raises(error, match=message):
        recipes(generators, 500, registry)


@pytest.mark.parametrize("key", ["trainer.steps", "trainer.seed"])
def test_what_the_comparison_sets_is_refused_for_all(registry, key):
    with pytest.raises(ConfigError, match=rf"^{key} is set by the comparison"):
        recipes({"own": SMALL}, 500, registry, [(key, 3)])


def test_a_recipes_settings_come_after_those_for_all(registry):
    pairs = [("trainer", {"rate": 0.5, "networks": 2}), ("objective.lambda", 7)]
    own = {**SMALL, "trainer": {"rate": 0.25}, "objective": {"lambda": 8}}
    _, (found,) = read_recipes("digits", pairs, {"own": own}, 500, registry)
    assert (found.config.trainer.networks, found.config.trainer.rate) == (2, 0.25)
    assert found.config.plain()["objective"]["lambda"] == 8


@pytest.mark.parametrize(
    "own",
    [
        {},
        SMALL,
        {"generator.modes": 4, "trainer": {"networks": 4}},
        {"generator": {"name": "direct", "networks": 2}, "trainer.networks": 2, "diversity": "none"},
        {**SMALL, "diversity": [{"name": "weight_entropy", "weight": 2}, "disagreement"], "gauges": []},
        {**SMALL, "objective": {"name": "vi", "prior_std": 0.3}, "trainer": {"gradient_clip": None}},
    ],
)
def test_the_command_trains_the_recipes_configuration(registry, own):
    pairs = [("target.hidden", [6]), ("target", "mlp"), ("trainer.networks", 8), ("trainer.batch_size", 8)]
    _, (found,) = read_recipes("digits", pairs, {"own": own}, 640, registry)
    words = shlex.split(found.command)
    assert words[:3] == ["hyperframe", "train", "digits"]
    assert load_config("digits", words[3:], registry) == found.config


def test_a_configuration_without_a_budget_of_its_own_is_named(registry):
    with pytest.raises(ConfigError, match=r"digits as it is, whose budget stands for --budget: trainer\.networks is 4"):
        recipes({"own": SMALL}, None, registry)


def test_the_comparison_on_digits_has_all_generators_of_others(registry):
    found = read_generators(str(BASELINES))
    own = {point.name for point in entry_points(group="hyperframe") if point.value.startswith("hyperframe_baselines.")}
    assert own
    assert own | {"direct", "modes", "hypernetwork"} <= set(found)
    for overrides in found.values():
        config = load_config("digits", overrides, registry)
        assert config.trainer.chunk >= config.trainer.networks
