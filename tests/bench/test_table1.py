"""The paper's Table 1: its cells, what is measured of them, and how they go on."""

import json

import pytest
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.bench import table1
from hyperframe.bench.table1 import Published, chosen_labels, fill_table, make_cell, read_table
from hyperframe.bench.tables import table1_markdown, table1_rows
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, DataError, RunError

SETTINGS = {**PERCEPTRON, "trainer.steps": 6, "trainer.checkpoint_every": 2, "evaluation.every": 2}
SMALL = {
    "small": Published(config="digits", settings=SETTINGS, mean=72.34, majority=78.21),
    "held": Published(
        config="digits",
        settings={**{key: value for key, value in SETTINGS.items() if not key.startswith("generator")},
                  "generator": {"name": "direct", "networks": 4}, "diversity": "none", "trainer.networks": 4},
        mean=77.36,
    ),
}  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(table1, "read_table", lambda: SMALL)


def filled(labels, out, registry, **pairs):
    cells = [make_cell(label, list(pairs.items()), out, registry) for label in labels]
    return fill_table(cells, out, registry)


def test_numbers_are_those_of_the_paper():
    numbers = {label: (row.mean, row.majority) for label, row in read_table().items()}
    assert numbers["lenet-a"] == (77.36, None)
    assert numbers["lenet-b-chain"] == numbers["lenet-b-independent"] == (74.95, 80.60)
    assert numbers["lenet-c"] == (76.26, 76.47)
    assert numbers["lenet-d"] == numbers["lenet-d-outputs"] == (72.34, 78.21)

    assert numbers["resnet32-a"] == (93.57, None)
    assert numbers["resnet32-b-chain"] == numbers["resnet32-b-independent"] == (91.03, 94.96)
    assert numbers["resnet32-c"] == (88.20, 88.26)
    assert numbers["resnet32-d"] == numbers["resnet32-d-outputs"] == (83.61, 90.37)


@pytest.mark.parametrize("label", read_table())
def test_every_cell_has_a_configuration_that_shares_its_data_and_target(label, registry, tmp_path):
    config = make_cell(label, [], tmp_path, registry).config
    base = load_config(read_table()[label].config, {}, registry)
    assert (config.task, config.target) == (base.task, base.target)
    assert config.trainer.batch_size == 512
    networks = {"a": 1, "b-chain": 1}.get(label.partition("-")[2], 10)
    assert config.trainer.networks == networks


@pytest.mark.parametrize("target", ["lenet", "resnet32"])
def test_columns_c_and_d_differ_in_the_diversity_term_alone(target, registry, tmp_path):
    plain = {column: make_cell(f"{target}-{column}", [], tmp_path, registry).config.plain() for column in "cd"}
    terms = {column: [term["name"] for term in config.pop("diversity")] for column, config in plain.items()}
    assert terms == {"c": ["none"], "d": ["weight_entropy"]}
    assert plain["c"] == plain["d"]


def test_the_chosen_checkpoint_is_that_of_validation_and_the_greatest_is_over_all(small, registry, tmp_path):
    content = filled(["small", "held"], tmp_path, registry)
    for row in content["rows"]:
        (one,) = row["found"]
        folder = tmp_path / "runs" / f"{row['label']}-0"
        runs = {step: hf.load(folder, checkpoint=step, device="cpu") for step in (2, 4, 6)}
        results = {step: run.evaluate(one["networks"]) for step, run in runs.items()}
        means = {step: 100 * result["accuracy"]["mean"] for step, result in results.items()}
        votes = {step: 100 * result["ensemble"]["majority"] for step, result in results.items()}
        best = hf.load(folder, checkpoint="best", device="cpu").step
        assert one["chosen"] == {"step": best, "mean": means[best], "majority": votes[best]}
        assert one["greatest"] == {"mean": max(means.values()), "majority": max(votes.values())}
        assert (one["steps"], one["checkpoints"]) == (6, 3)
        assert one["gradient_evaluations"] == runs[6].gradient_evaluations
    assert [row["found"][0]["networks"] for row in content["rows"]] == [10, 4]


def test_cells_are_filled_one_at_a_time_and_not_twice(small, registry, tmp_path, monkeypatch):
    first = filled(["small"], tmp_path, registry)
    assert [len(row["found"]) for row in first["rows"]] == [1, 0]
    monkeypatch.setattr(table1, "_accuracies", lambda *arguments: pytest.fail("measured again"))
    assert filled(["small"], tmp_path, registry) == first
    monkeypatch.undo()
    monkeypatch.setattr(table1, "read_table", lambda: SMALL)
    second = filled(["held"], tmp_path, registry, **{"trainer.seed": 3})
    assert second["rows"][0] == first["rows"][0]
    assert [one["seed"] for one in second["rows"][1]["found"]] == [3]
    assert json.loads((tmp_path / "table1.json").read_text()) == second


def test_other_pauses_measure_nothing_anew_and_are_in_no_command(small, registry, tmp_path, monkeypatch):
    first = filled(["small"], tmp_path, registry)
    monkeypatch.setattr(table1, "_accuracies", lambda *arguments: pytest.fail("measured again"))
    second = filled(["small"], tmp_path, registry, **{"trainer.max_seconds": 480})
    assert second == first
    assert "max_seconds" not in second["rows"][0]["found"][0]["command"]


def test_an_incomplete_file_of_a_cell_is_measured_again(small, registry, tmp_path):
    first = filled(["small"], tmp_path, registry)
    file = tmp_path / "table1" / "small-0.json"
    file.write_text(json.dumps({"label": "small", "seed": 0}))
    assert filled(["held"], tmp_path, registry)["rows"][0]["found"] == []
    assert filled(["small"], tmp_path, registry)["rows"][0] == first["rows"][0]


def test_checkpoints_with_fewer_networks_do_not_count(small, registry, tmp_path, monkeypatch):
    """A chain holds one state after another."""
    chain = {"generator": {"name": "sgd_chain", "chains": 1, "states": 2, "burn_in": 0.5}, "trainer.networks": 1}
    settings = {key: value for key, value in SETTINGS.items() if not key.startswith("generator")}
    row = Published(config="digits", settings={**settings, **chain, "diversity": "none"}, mean=74.95, majority=80.60)
    monkeypatch.setattr(table1, "read_table", lambda: {"chain": row})
    one = filled(["chain"], tmp_path, registry)["rows"][0]["found"][0]
    held = [hf.load(tmp_path / "runs" / "chain-0", checkpoint=step, device="cpu").experiment.generator.networks
            for step in (2, 4, 6)]  # fmt: skip
    assert held[-1] == one["networks"] == 2
    assert one["checkpoints"] == held.count(2) < 3


def test_folders_of_something_else_are_refused_and_nothing_is_left_where_data_are_missing(small, registry, tmp_path):
    filled(["small"], tmp_path / "table", registry)
    with pytest.raises(RunError, match="is a run"):
        filled(["small"], tmp_path / "table" / "runs" / "small-0", registry)
    row = Published(config="mnist", settings={"task.folder": str(tmp_path / "nowhere")}, mean=99.14)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table1, "read_table", lambda: {"missing": row})
        with pytest.raises(DataError, match="nowhere"):
            filled(["missing"], tmp_path / "new", registry)
    assert not (tmp_path / "new").exists()


def test_a_training_that_pauses_goes_on_with_the_same_command(small, registry, tmp_path):
    for _ in range(2):
        with pytest.warns(hf.HyperframeWarning, match="paused"), pytest.raises(RunError, match="the same command goes"):
            filled(["small"], tmp_path / "pieces", registry, **{"trainer.stop_after": 2})
    content = filled(["small"], tmp_path / "pieces", registry, **{"trainer.stop_after": 2})
    whole = filled(["small"], tmp_path / "whole", registry)
    parts = ("chosen", "greatest", "steps", "checkpoints")
    found = [[one["rows"][0]["found"][0][name] for name in parts] for one in (content, whole)]
    assert found[0] == found[1]


def test_a_run_of_other_settings_is_not_written_over(small, registry, tmp_path):
    filled(["small"], tmp_path, registry)
    with pytest.raises(RunError, match=r"holds a run of other settings .*trainer.rate"):
        filled(["small"], tmp_path, registry, **{"trainer.rate": 0.5})


def test_the_table_shows_open_cells_and_the_papers_numbers(small, registry, tmp_path):
    content = filled(["small"], tmp_path, registry)
    rows = {label: cells for label, *cells in table1_rows(content)}
    one = content["rows"][0]["found"][0]
    accuracies = [one[kind][name] for kind in ("chosen", "greatest") for name in ("mean", "majority")]
    assert rows["small"] == ["6", *(f"{value:.2f}" for value in accuracies), "72.34 / 78.21"]
    assert rows["held"] == ["–", "–", "–", "–", "–", "77.36 / –"]
    page = table1_markdown(content)
    assert f"`{one['command']}`" in page
    assert "10 networks, " in page


def test_cells_are_chosen_by_label():
    assert chosen_labels(None) == list(read_table())
    assert chosen_labels("lenet-d, lenet-a,lenet-d") == ["lenet-d", "lenet-a"]
    with pytest.raises(ConfigError, match="--cell: unknown cell 'lenet-e'; did you mean"):
        chosen_labels("lenet-e")


def test_errors_name_the_cell(registry, tmp_path):
    with pytest.raises(ConfigError, match=r"^lenet-d: trainer: unknown key 'rat'"):
        make_cell("lenet-d", [("trainer.rat", 1)], tmp_path, registry)
