"""Configurations over a base: a file says only what is other than there."""

import pytest

from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError


def written(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def test_what_a_file_leaves_out_is_its_bases(registry, tmp_path):
    path = written(tmp_path, own="base: digits\ntrainer:\n  steps: 7\n")
    config, base = load_config(path, [], registry), load_config("digits", ["trainer.steps=7"], registry)
    assert config.name == "own"
    assert config.plain() == base.plain()


def test_components_and_lists_are_replaced_and_options_added(registry, tmp_path):
    (tmp_path / "deeper").mkdir()
    own = "base: deeper/middle.yaml\ntask: {split_seed: 4}\ngauges: []\n"
    path = written(tmp_path, own=own)
    written(tmp_path / "deeper", middle="base: ../first.yaml\ntarget: mlp\ntrainer: {networks: 3}\n")
    first = "base: digits\ntask: {name: digits, split_seed: 3}\ntrainer: {steps: 9, networks: 5}\n"
    written(tmp_path, first=first)
    plain = load_config(path, ["trainer.rate=1e-4"], registry).plain()
    assert (plain["task"]["name"], plain["task"]["split_seed"]) == ("digits", 4)
    assert plain["target"]["name"] == "mlp"
    assert plain["gauges"] == []
    assert [plain["trainer"][key] for key in ("steps", "networks", "rate")] == [9, 3, 1e-4]


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ({"a": "base: a.yaml"}, ["a.yaml: base: a.yaml leads back to itself"]),
        ({"a": "base: b.yaml", "b": "base: a.yaml"}, ["leads back to itself", "a.yaml → ", "b.yaml → "]),
        ({"a": "base: gone.yaml"}, ["a.yaml: base: configuration file", "gone.yaml does not exist"]),
        ({"a": "base: mnits"}, ["a.yaml: base: ", "mnits", "mnist"]),
        ({"a": "base: [digits]"}, ["a.yaml: base: expected a text", "['digits']"]),
        ({"a": "base: digits\ntrianer: {}"}, ["trianer", "trainer"]),
        ({"a": "base: digits\ntask: 3"}, ["task: expected a name"]),
        ({"a": "trainer: {steps: 1}"}, ["task: a value is needed", "or a base"]),
    ],
)
def test_mistakes_in_bases_are_named(registry, tmp_path, files, parts):
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, **files), [], registry)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_configuration_of_another_task_has_its_name(registry):
    assert load_config("digits", ["trainer.steps=5", "task.split_seed=3"], registry).name == "digits"
    assert load_config("digits", ["task=digits"], registry).name == "digits"
    assert load_config("digits", ["task=mnist", "target=mnist_cnn"], registry).name == "mnist"
