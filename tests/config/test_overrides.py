"""Overrides and configuration files: values are read as they stand."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hyperframe.config.overrides import read_yaml, split_all, split_override
from hyperframe.errors import ConfigError

TEXTS = [
    "photos #2",
    "#2",
    "a: b",
    "a:",
    "- a",
    "010",
    "-007",
    "08",
    "00",
    "1_000",
    "1_0.5",
    "12:30:00",
    "1:30.5",
    "2024-05-01",
    "2024-05-01T12:00:00Z",
    "yes",
    "off",
    "0x10",
    "0b11",
    "&a",
    "*a",
    "!b",
    "| c",
    "@d",
    "%e",
    "a ",
    "=",
    "<<",
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_number_is_taken_as_it_stands(text):
    assert split_override(f"task.folder={text}") == ("task.folder", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("-1.5E-3", -0.0015),
        (".5", 0.5),
        ("5.", 5.0),
        ("0", 0),
        ("+7", 7),
        ("-0.25", -0.25),
        (".inf", float("inf")),
        ("null", None),
        ("~", "~"),
        ("''", ""),
        ("[~]", [None]),
        ("true", True),
        ("False", False),
        ("[scale, 1e2, null, 010]", ["scale", 100.0, None, "010"]),
        ("[]", []),
        ("{name: mnist, split_seed: 3}", {"name": "mnist", "split_seed": 3}),
        ("'7'", "7"),
        ('"photos #2"', "photos #2"),
        (" 3 ", 3),
    ],
)
def test_numbers_lists_and_quotes_are_yaml(text, value):
    found = split_override(f"key={text}")[1]
    assert found == value
    assert isinstance(found, type(value) | float)


@pytest.mark.parametrize("text", ["[1] # two", "'a' #b", '"a" b', "[1, 2", "[photos #2]", "{a: 1, a: 2}"])
def test_what_would_be_cut_is_refused(text):
    with pytest.raises(ConfigError, match=r"^key: .* is no YAML value"):
        split_override(f"key={text}")


@pytest.mark.parametrize("text", ["", " ", "  \t"])
def test_a_value_that_is_missing_is_refused(hyperframe, text):
    with pytest.raises(ConfigError, match=r"^task.folder: no value stands behind '='; write task.folder=null for noth"):
        split_override(f"task.folder={text}")
    code, _, err = hyperframe("train", f"task.folder={text}")
    assert (code, "task.folder=null" in err) == (2, True)


def test_a_tilde_is_the_home_folder(hyperframe, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    code, _, err = hyperframe("train", "mnist", "task.folder=~")
    assert (code, str(tmp_path / "home") in err) == (2, True)
    code, _, err = hyperframe("train", "trainer.chunk=~")
    assert code == 2
    assert "trainer.chunk: expected a whole number or null, at least 1, but got '~'" in err


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["trainer.steps=3", "trainer.networks=2", "trainer.steps=4"],
            "trainer.steps is given twice, as 'trainer.steps=3' and",
        ),
        (["target=mlp", "target.name=lenet"], "target is given twice, as 'target=mlp' and as 'target.name=lenet'"),
        (["diversity.0.weight=1", "diversity.0.weight=1"], "diversity.0.weight is given twice"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(hyperframe, texts, message):
    with pytest.raises(ConfigError, match=message):
        split_all(texts)
    for command in (["train"], ["config"]):
        code, _, err = hyperframe(*command, *texts)
        assert (code, message in " ".join(err.split())) == (2, True), command


def test_an_option_of_an_analysis_or_a_component_that_is_given_twice_is_refused(hyperframe):
    code, _, err = hyperframe("check", "mlp", "hidden=[3]", "hidden=[4]")
    assert (code, "hidden is given twice" in err) == (2, True)
    code, _, err = hyperframe("analyse", "run", "pca", "pca.draws=3", "pca.draws=4")
    assert (code, "pca.draws is given twice" in err) == (2, True)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).filter(lambda text: "${" not in text))
def test_a_text_that_was_written_is_read_back(text):
    written = yaml.safe_dump({"key": text})
    assert yaml.safe_load(written) == {"key": text}
    assert split_override(f"key='{text.replace(chr(39), chr(39) * 2)}'") == ("key", text)


@given(value=st.one_of(st.sampled_from(TEXTS), st.from_regex(r"[-+0-9._eE:xob#]{1,8}", fullmatch=True)))
def test_a_run_reads_its_texts_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("written") / "config.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create({"task": {"folder": value}})))
    assert read_yaml(path) == {"task": {"folder": value}}


def test_files_are_read_alike(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("task: {folder: 010}  # a comment\ntrainer:\n  steps: 1e3\n  seed: 1_0\n")
    assert read_yaml(path) == {"task": {"folder": "010"}, "trainer": {"steps": 1000.0, "seed": "1_0"}}
    path.write_text("trainer: {steps: 1}\ntrainer: {steps: 2}\n")
    with pytest.raises(ConfigError, match="duplicate key 'trainer' in line 2, which line 1 has too"):
        read_yaml(path)
    path.write_text("")
    assert read_yaml(path) == {}
