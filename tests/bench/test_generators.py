"""Comparisons of generators: what is trained and measured, how it goes on, and how it is summed up."""

import json
import shutil

import pytest
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.bench import cells
from hyperframe.bench.generators import check_folder, compare_generators, comparing_analyses, given_options
from hyperframe.bench.pictures import draw_comparison
from hyperframe.bench.recipes import read_recipes
from hyperframe.bench.tables import as_markdown, best_of
from hyperframe.errors import RunError

PAIRS = [(key, value) for key, value in PERCEPTRON.items() if not key.startswith("generator")]
OWN = {"generator": {"name": "mlp", "hidden": [8]}}
HELD = {"generator": {"name": "direct", "networks": 4}, "diversity": "none"}
ANALYSES = {"function_spectrum": {"networks": 4, "examples": 10}}


def compared(generators, seeds, out, registry, analyses=ANALYSES, budget=100):
    spent, recipes = read_recipes("digits", PAIRS, generators, budget, registry)
    return compare_generators(recipes, seeds, spent, analyses, out, registry)


def value_of(content, source, name, label, of="ensemble"):
    row = next(row for row in content["rows"] if (row["source"], row["metric"]["name"], row["metric"]["of"])
               == (source, name, of))  # fmt: skip
    return row["values"][label]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory, registry):
    out = tmp_path_factory.mktemp("comparison") / "out"
    return out, compared({"own": OWN, "held": HELD}, [0, 1], out, registry)


def test_figures_are_those_of_the_runs_from_each_seed(comparison):
    out, content = comparison
    for label in ("own", "held"):
        runs = [hf.load(out / "runs" / f"{label}-{seed}", device="cpu") for seed in (0, 1)]
        assert [run.config.trainer.seed for run in runs] == [0, 1]
        assert all(run.finished and run.gradient_evaluations == 96 for run in runs)
        nll = [run.evaluate()["ensemble"]["nll"] for run in runs]
        functions = [
            json.loads((run.folder / "analyses" / "function_spectrum" / "results.json").read_text()) for run in runs
        ]
        assert value_of(content, "evaluation", "nll", label)["mean"] == pytest.approx(sum(nll) / 2)
        found = [one["functions"]["participation_ratio"] for one in functions]
        assert value_of(content, "function_spectrum", "functions", label)["mean"] == pytest.approx(sum(found) / 2)
        assert value_of(content, "costs", "gradient_evaluations", label)["mean"] == 96
    stored = sum(value.numel() for value in runs[0].experiment.generator.state_dict().values())
    assert value_of(content, "costs", "parameters", "held")["mean"] == stored
    assert all(value_of(content, "costs", name, "own")["mean"] > 0 for name in ("wall", "cpu", "draw"))


def test_differences_are_paired_by_seed_and_to_the_first_generator(comparison):
    _, content = comparison
    of = {one["label"]: {cell["seed"]: cell for cell in one["cells"]} for one in content["generators"]}

    def nll(label, seed):
        return next(
            one["value"]
            for one in of[label][seed]["values"]
            if one["source"] == "evaluation" and (one["metric"]["name"], one["metric"]["of"]) == ("nll", "ensemble")
        )

    differences = [nll("held", seed) - nll("own", seed) for seed in (0, 1)]
    found = value_of(content, "evaluation", "nll", "held")["difference"]
    half = 12.7062047 * abs(differences[0] - differences[1]) / 2  # Student's t at 97.5 % with one degree of freedom
    assert found["mean"] == pytest.approx(sum(differences) / 2)
    assert found["interval"] == pytest.approx([found["mean"] - half, found["mean"] + half])
    assert value_of(content, "evaluation", "nll", "own")["difference"] is None


def test_the_same_call_trains_and_measures_nothing(comparison, registry, monkeypatch):
    out, content = comparison
    for name in ("train_run", "resume_run", "analyse"):
        monkeypatch.setattr(cells, name, lambda *arguments, name=name: pytest.fail(f"{name} was called"))
    again = compared({"own": OWN, "held": HELD}, [0, 1], out, registry)
    assert again["rows"] == content["rows"]


def test_more_generators_and_seeds_train_only_what_is_new(comparison, registry, monkeypatch):
    out, content = comparison
    trained, train = [], cells.train_run
    monkeypatch.setattr(cells, "train_run", lambda config, *rest: trained.append(config) or train(config, *rest))
    more = compared({"own": OWN, "small": {"generator": {"name": "mlp", "hidden": [4]}}}, [1, 2], out, registry)
    assert sorted((config.generator.options.hidden, config.trainer.seed) for config in trained) == [
        ((4,), 1),
        ((4,), 2),
        ((8,), 2),
    ]
    assert [cell["seed"] for cell in more["generators"][0]["cells"]] == [1, 2]
    assert more["generators"][0]["cells"][0] == content["generators"][0]["cells"][1]


def test_a_training_that_was_cut_goes_on(tmp_path, registry):
    _, (recipe,) = read_recipes("digits", PAIRS, {"own": OWN}, 100, registry)
    cell = cells.Cell(label="own", seed=0, config=recipe.seeded(0), out=tmp_path)
    steps = {"trainer.steps": recipe.config.trainer.steps, "trainer.stop_after": 1}
    hf.train("digits", {**dict(PAIRS), **OWN, **steps}, out=cell.folder)
    cells.check_cell(cell, registry)
    run = cells.train_cell(cell, registry)
    assert run.finished
    assert run.gradient_evaluations == 96


def test_a_folder_of_other_settings_is_kept_as_it_is(comparison, registry):
    out, _ = comparison
    with pytest.raises(RunError, match=r"own-0 holds a run of other settings \(generator\.hidden: \[8\] → \[9\]\)"):
        compared({"own": {"generator": {"name": "mlp", "hidden": [9]}}}, [0], out, registry)


def test_a_run_that_was_trained_anew_is_measured_anew(comparison, registry, tmp_path):
    out, _ = comparison
    shutil.copytree(out, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "runs" / "own-0")
    before = json.loads((tmp_path / "out" / "cells" / "own-0.json").read_text())
    compared({"own": OWN}, [0], tmp_path / "out", registry)
    after = json.loads((tmp_path / "out" / "cells" / "own-0.json").read_text())
    assert before["key"]["training"] != after["key"]["training"]

    def figures(cell):
        return [one["value"] for one in cell["values"] if one["source"] != "costs"]

    assert figures(before) == figures(after)


@pytest.mark.parametrize("damage", ["{", '{"key": 1}', "values"])
def test_a_damaged_cell_is_measured_again(comparison, registry, tmp_path, damage):
    out, content = comparison
    shutil.copytree(out, tmp_path / "out")
    file = tmp_path / "out" / "cells" / "own-0.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({"key": whole["key"]}) if damage == "values" else damage)
    again = compared({"own": OWN}, [0], tmp_path / "out", registry)
    assert again["generators"][0]["cells"][0]["values"][0] == content["generators"][0]["cells"][0]["values"][0]


def test_other_folders_are_left_alone(comparison, tmp_path):
    out, _ = comparison
    check_folder(out)
    check_folder(tmp_path / "new")
    with pytest.raises(RunError, match=r"holds a config\.yaml and is no comparison"):
        check_folder(out / "runs" / "own-0")
    (tmp_path / "results.json").touch()
    with pytest.raises(RunError, match=r"holds a results\.json and is no comparison"):
        check_folder(tmp_path)
    with pytest.raises(RunError, match="is a file; name a folder"):
        check_folder(tmp_path / "results.json")


def test_what_a_killed_training_left_is_named_with_the_way_out(comparison, registry, tmp_path):
    out, _ = comparison
    shutil.copytree(out, tmp_path / "out")
    folder = tmp_path / "out" / "runs" / "own-0"
    (folder / "config.yaml").write_text("5")
    with pytest.raises(
        RunError, match=r"must hold keys and values; .* remove .*own-0, and own, seed 0 is trained anew"
    ):
        compared({"own": OWN}, [0], tmp_path / "out", registry)
    (folder / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"own-0 is not empty; .* remove .*own-0, and own, seed 0 is trained anew"):
        compared({"own": OWN}, [0], tmp_path / "out", registry)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".lock").touch()  # killed in its first moments
    compared({"own": OWN}, [0], tmp_path / "out", registry)


def test_figures_that_are_no_numbers_are_left_out(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_costs", lambda run: {"wall": float("nan"), "cpu": None, "draw": 1.0})
    content = compared({"own": OWN}, [0], tmp_path / "out", registry)
    costs = [row["metric"]["name"] for row in content["rows"] if row["source"] == "costs"]
    assert costs == ["draw"]


def test_what_does_not_apply_is_left_out_with_the_reason(tmp_path, registry):
    held = {"generator": {"name": "direct", "networks": 2}, "trainer.networks": 2, "diversity": "none"}
    content = compared({"own": OWN, "two": held}, [0], tmp_path, registry)
    assert "two" not in next(row for row in content["rows"] if row["source"] == "function_spectrum")["values"]
    page = as_markdown(content)
    assert "- `two`, function_spectrum: " in page
    assert "| effective number of functions ↑ | " in page
    assert next(line for line in page.splitlines() if "functions ↑" in line).endswith("| – |")


def test_analyses_get_the_budget_and_a_folder_for_each_seed(tmp_path, registry):
    found = given_options({"deep_ensemble": {"draws": 2}, "function_spectrum": {}}, 500, tmp_path, 3, registry)
    folder = str(tmp_path / "deep_ensemble-3")
    assert found == {"deep_ensemble": {"draws": 2, "budget": 500, "reference": folder}, "function_spectrum": {}}
    assert given_options({"deep_ensemble": {"budget": 7}}, 500, tmp_path, 3, registry)["deep_ensemble"]["budget"] == 7


def test_analyses_that_compare_generators_declare_what_they_find(registry):
    names = comparing_analyses(registry)
    assert {"deep_ensemble", "ensembles", "function_spectrum", "out_of_distribution"} <= set(names)
    assert "pca" not in names


def test_the_page_marks_what_is_best_and_has_the_commands(comparison, tmp_path, registry):
    out, content = comparison
    page = as_markdown(content)
    assert as_markdown({**content, "config": "OwnNet"}).startswith("# Generators on OwnNet, ")
    row = next(row for row in content["rows"] if row["metric"]["name"] == "nll" and row["metric"]["of"] == "ensemble")
    means = {label: value["mean"] for label, value in row["values"].items()}
    assert best_of(row) == {min(means, key=means.get)}
    disagreement = next(row for row in content["rows"] if row["metric"]["name"] == "disagreement")
    assert best_of(disagreement) == set()
    equal = {"metric": row["metric"], "values": {"a": {"mean": 0.50001}, "b": {"mean": 0.5}}}
    assert best_of(equal) == {"a", "b"}
    line = next(line for line in page.splitlines() if line.startswith("| ensemble: negative log-likelihood"))
    assert line.count("**") == 2
    assert "2 seeds, 100 gradient evaluations each" in page
    _, (recipe,) = read_recipes("digits", PAIRS, {"held": HELD}, 100, registry)
    assert f"{recipe.command} trainer.seed=N" in page
    draw_comparison(tmp_path / "picture.png", content)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "results.json").read_text())["budget"] == 100


@pytest.mark.slow
def test_the_command(hyperframe, tmp_path):
    pairs = [f"{key}={json.dumps(value)}" for key, value in PAIRS if key != "target"] + ["target=mlp"]
    (tmp_path / "some.yaml").write_text(json.dumps({"own": OWN, "held": HELD}))
    arguments = ["--generators", tmp_path / "some.yaml", "--out", tmp_path / "out", "--budget", 100]
    typed = ["--analysis", "function_spectrum,deep_ensemble", "deep_ensemble.networks=[2,3]", "deep_ensemble.draws=1"]
    code, out, err = hyperframe("bench", "generators", *pairs, *arguments, *typed)
    assert code == 0, err
    assert "accuracy of one network" in out
    assert "deep-ensemble equivalent" in out
    assert "100 gradient evaluations each" in out
    references = sorted(path.name for path in (tmp_path / "out" / "shared" / "deep_ensemble-0").iterdir())
    assert references == ["2_networks_6_steps_of_8_rate_0.01", "3_networks_4_steps_of_8_rate_0.01"]
    code, out, _ = hyperframe("bench", "generators", *pairs, *arguments, *typed, "--json")
    assert code == 0
    assert [one["label"] for one in json.loads(out)["generators"]] == ["own", "held"]
    for wrong, message in (
        (["--seeds", "1,x"], "'1,x' is no list of whole numbers"),
        (["--analysis", "dance"], "unknown analysis 'dance'"),
        (["trainer.rate=0.5"], "holds a run of other settings"),
    ):
        code, _, err = hyperframe("bench", "generators", *pairs, *arguments, *wrong)
        assert code == 2
        assert message in err
