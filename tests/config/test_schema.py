import re

import pytest
import yaml

from hyperframe.config.documents.commented_yaml import commented_yaml
from hyperframe.config.dotted_keys import changes
from hyperframe.config.overrides import apply_overrides
from hyperframe.config.schema import load_config, override_pairs, read_config
from hyperframe.config.sections import shipped_configs
from hyperframe.errors import ConfigError, PluginError


def load(registry, source="digits", *overrides):
    return load_config(source, list(overrides), registry)


def test_configs_that_ship():
    assert set(shipped_configs()) == {
        "cifar100_lenet",
        "cifar10_lenet",
        "cifar10_resnet32",
        "diabetes",
        "digits",
        "digits_hypernetwork",
        "mnist",
        "mnist_authors",
        "mnist_best",
        "mnist_hypernetwork",
        "shapes",
        "toy",
    }


@pytest.mark.parametrize("name", shipped_configs())
def test_a_complete_config_reads_back_equal(registry, name):
    config = load(registry, name)
    assert read_config(name, config.plain(), registry) == config
    assert read_config(name, yaml.safe_load(commented_yaml(config)), registry) == config


def test_every_key_has_a_comment(registry):
    keys = [line for line in commented_yaml(load(registry)).splitlines() if line and not line.startswith("#")]
    assert [line for line in keys if "# " not in line] == []


def test_the_papers_settings(registry):
    config = load(registry, "mnist")
    assert config.trainer.steps == 13_000
    assert (config.trainer.networks, config.trainer.batch_size) == (32, 32)
    assert (config.trainer.rate, config.trainer.decay) == (3e-4, 0.99998)
    assert config.objective.options.lambda_ == 1000
    options = config.generator.options
    assert (options.latent, options.latent_distribution, options.code) == (300, "uniform", 15)
    assert (options.slope, options.batch_norm_eps, options.batch_norm_momentum) == (0.05, 1e-7, 0.02)
    assert config.entropy.options.distance == "l2"
    authors = load(registry, "mnist_authors").plain()
    assert authors.pop("entropy") != config.plain()["entropy"]
    assert authors == {key: value for key, value in config.plain().items() if key != "entropy"}


def test_numbers_with_exponents_are_numbers(registry):
    assert load(registry, "digits", "trainer.steps=1e3").trainer.steps == 1000
    assert load(registry, "digits", "trainer.rate=1e-3").trainer.rate == 1e-3
    assert load_config("digits", {"objective.lambda": 1e5}, registry).objective.options.lambda_ == 1e5


def test_a_changed_name_drops_the_old_options_whatever_the_order(registry):
    for overrides in (["task.download=true", "task=mnist"], ["task=mnist", "task.download=true"]):
        config = load(registry, "digits", *overrides, "target=mnist_cnn")
        assert config.task.name == "mnist"
        assert config.task.options.download is True
    config = load(registry, "digits", "generator=mlp", "generator.hidden=[7]")
    assert config.generator.options.hidden == (7,)


def test_the_same_name_keeps_the_options(registry):
    assert load(registry, "mnist", "generator=hypernetwork").generator.options.latent == 300


def test_options_of_components_that_the_file_leaves_out(registry):
    assert load(registry, "digits", "entropy.distance=l1").entropy.options.distance == "l1"


def test_lists(registry):
    assert load(registry, "digits", "diversity.0.weight=3").diversity[0].common.weight == 3
    assert load(registry, "digits", "gauges=[]").gauges == ()
    assert [choice.name for choice in load(registry, "digits", "gauges=scale").gauges] == ["scale"]
    assert [choice.name for choice in load(registry, "digits", "diversity.0=none").diversity] == ["none"]


def test_an_item_with_more_digits_than_a_number_can_have_is_no_item():
    with pytest.raises(ConfigError, match="is no item of 'diversity'; its items are 0 to 0"):
        apply_overrides({"diversity": [{"name": "variance"}]}, [(f"diversity.{'9' * 5000}.weight", 1)])


@pytest.mark.parametrize("given", ["trainer.steps=2", 5])
def test_what_is_neither_a_mapping_nor_a_list_is_no_overrides(given):
    with pytest.raises(ConfigError, match="overrides: expected dotted keys and their values, such as"):
        override_pairs(given)


@pytest.mark.parametrize("source", [500, None, {"trainer.steps": 2}])
def test_what_names_nothing_is_no_configuration(registry, source):
    with pytest.raises(ConfigError, match=r"expected a configuration's name or a YAML file, but got .* are overrides"):
        load_config(source, {}, registry)


def test_a_folder_is_no_configuration(registry, tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder; a configuration is a YAML file$"):
        load_config(tmp_path, {}, registry)
    (tmp_path / "config.yaml").write_text("task: digits\n")
    message = f"a run's is {tmp_path / 'config.yaml'}, and --resume {tmp_path} goes on with it"
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(tmp_path, {}, registry)


def test_overrides_leave_their_input_alone():
    content = {"diversity": [{"name": "weight_entropy"}], "trainer": {"steps": 1}}
    apply_overrides(content, [("diversity.0.weight", 2), ("trainer.steps", 5)])
    assert content == {"diversity": [{"name": "weight_entropy"}], "trainer": {"steps": 1}}


@pytest.mark.parametrize(
    ("source", "overrides", "parts"),
    [
        ("digit", [], ["unknown configuration 'digit'", "did you mean 'digits'", "YAML"]),
        ("absent.yaml", [], ["absent.yaml", "does not exist"]),
        ("digits", ["trainr.steps=3"], ["unknown key 'trainr'", "did you mean 'trainer'"]),
        ("digits", ["trainer.step=3"], ["trainer: unknown key 'step'", "did you mean 'steps'"]),
        (
            "digits",
            ["target=mlp", "hidden=5"],
            ["unknown key 'hidden'; did you mean 'target.hidden' or 'prior.hidden'?"],
        ),
        ("digits", ["rank=5"], ["unknown key 'rank'; did you mean 'target.rank' or 'generator.rank'?"]),
        ("digits", ["seed=5"], ["unknown key 'seed'; did you mean 'trainer.seed' or 'evaluation.seed'?"]),
        ("digits", ["lambda=5"], ["unknown key 'lambda'; did you mean 'objective.lambda'?"]),
        ("digits", ["trainer.steps=many"], ["trainer.steps", "a whole number, at least 1", "'many'"]),
        ("digits", ["trainer.steps=-3"], ["trainer.steps", "at least 1", "-3"]),
        (
            "digits",
            ["trainer.schedule=cosine"],
            ["trainer.schedule", "one_cycle, one_cycle_tail, cyclic, constant"],
        ),
        ("digits", ["objective.lambda=-1"], ["objective.lambda", "at least 0"]),
        ("digits", ["generator.latnt=3"], ["generator: unknown key 'latnt'", "did you mean 'latent'"]),
        ("digits", ["generator.latent=0"], ["generator.latent", "at least 1"]),
        ("digits", ["diversity.1.weight=3"], ["diversity.1.weight", "'1' is no item", "0 to 0"]),
        ("digits", ["diversity.first.weight=3"], ["'first' is no item"]),
        ("digits", ["diversity.0.weight=a"], ["diversity.0.weight", "a number", "'a'"]),
        ("digits", ["diversity.²=none"], ["diversity.²", "is no item"]),
        ("digits", ["trainer.steps=" + "9" * 400], ["trainer.steps", "a whole number"]),
        ("digits", ["trainer.steps=" + "9" * 5000], ["trainer.steps", "no YAML value"]),
        ("digits", ["trainer.steps=" + "[" * 3000], ["trainer.steps", "no YAML value"]),
        ("x" * 5000, [], ["unknown configuration"]),
        ("digits", ["gauges=3"], ["gauges.0", "expected a name"]),
        ("digits", ["trainer=3"], ["trainer: expected keys and values"]),
        ("digits", ["task={download: true}"], ["task: unknown key 'download'"]),
        ("digits", ["steps"], ["'steps' is no override", "KEY=VALUE"]),
        ("digits", ["trainer.seed=${oc.env:HOME}"], ["trainer.seed", "interpolations", "not allowed"]),
        ("digits", ["trainer.seed=[1"], ["trainer.seed", "no YAML value"]),
        ("digits", ["target.channels=[1]"], ["target: channels: expected two numbers"]),
    ],
)
def test_mistakes_are_named(registry, source, overrides, parts):
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides, registry)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("target=mnist_cn", ["unknown target 'mnist_cn'", "did you mean 'mnist_cnn'", "(hyperframe-nn)"]),
        ("gauges=[scael]", ["unknown gauge 'scael'", "did you mean 'scale'"]),
        ("entropy=kozachenko", ["unknown entropy 'kozachenko'", "did you mean 'kozachenko_leonenko'"]),
        ("diversity=[weightentropy]", ["unknown diversity", "weight_entropy"]),
    ],
)
def test_unknown_components_show_the_closest_one(registry, override, parts):
    with pytest.raises(PluginError) as caught:
        load(registry, "digits", override)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("trainer: {seed: '${oc.env:HOME}'}\ntask: digits\ntarget: digits_cnn\n", "interpolations"),
        ("- 1\n- 2\n", "keys and values"),
        ("task: [unclosed\n", "cannot be read"),
        ("target: digits_cnn\n", "task: a value is needed"),
        ("task: 3\ntarget: digits_cnn\n", "task: expected a name"),
        ("gauges: scale\ntask: digits\ntarget: digits_cnn\n", "gauges: expected a list"),
        ("gauges:\ntask: digits\ntarget: digits_cnn\n", "gauges: expected a list.*but got null"),
        ("trainer: false\ntask: digits\ntarget: digits_cnn\n", "trainer: expected keys and values, but got False"),
    ],
)
def test_wrong_files_are_named(registry, tmp_path, text, part):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=part):
        load_config(path, [], registry)


def test_a_binary_file_is_no_configuration(registry, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path, [], registry)


@pytest.mark.parametrize("gauges", ["gauges:", "gauges: scale", "gauges: {name: scale}"])
def test_an_item_of_what_is_no_list_cannot_be_changed(registry, tmp_path, gauges):
    path = tmp_path / "own.yaml"
    path.write_text(f"{gauges}\ntask: digits\ntarget: digits_cnn\n")
    with pytest.raises(ConfigError, match="gauges: expected a list"):
        load_config(path, ["gauges.0=scale"], registry)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({1: 2}, "keys are texts"),
        ({None: 2}, "keys are texts"),
        ({"task.folder": "${x}"}, "interpolations"),
        ({"task": {"size": (["${x}"],)}}, r"task: size\.0: interpolations"),
    ],
)
def test_wrong_mappings_of_overrides(registry, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("mnist", overrides, registry)


@pytest.mark.parametrize("folder", ["1e3", "0x10", "null", "yes", "a: b", "#", "12:30", "é", "'", '"', "1_000", ""])
def test_texts_that_look_like_something_else_survive(registry, folder, tmp_path):
    config = load_config("mnist", {"task.folder": folder}, registry)
    path = tmp_path / "own.yaml"
    path.write_text(commented_yaml(config))
    assert load_config(path, [], registry).task.options.folder == folder


def test_an_unknown_key_that_is_close_to_none_is_answered_by_what_all_keys_mean(registry):
    for key, meaning in [("trainer.z", "networks: networks drawn in a step"), ("evaluation.images", "examples: vali")]:
        with pytest.raises(ConfigError, match=rf"(?s)unknown key '\w+'\. Known:\n.*\n  {meaning}"):
            load_config("digits", {key: 3}, registry)
    with pytest.raises(
        ConfigError, match=r"'shared_images'; did you mean 'shared_examples'\? Known: average_tail, batch_size"
    ):
        load_config("digits", {"trainer.shared_images": 3}, registry)


def test_a_change_of_a_long_value_is_named_in_a_short_line():
    (change,) = changes({"task": {"validation": "9" * 100_000}}, {"task": {"validation": None}})
    assert change.startswith("task.validation: 999")
    assert change.endswith(" … → null")
    assert len(change) < 300
