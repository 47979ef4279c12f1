"""Trainings are logged where the environment asks for it, offline here, and nowhere else."""

import json
import sys

import pytest

import hyperframe as hf

SHORT = {
    "target": "mlp",
    "target.hidden": [6],
    "generator": "mlp",
    "generator.hidden": [8],
    "trainer.device": "cpu",
    "trainer.steps": 4,
    "trainer.log_every": 2,
    "trainer.networks": 4,
    "trainer.batch_size": 8,
    "evaluation.every": 4,
    "evaluation.networks": 3,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def lines(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_nothing_is_logged_where_nobody_asked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperframe_loggers.weights_and_biases", None)  # importing them would fail
    monkeypatch.setitem(sys.modules, "hyperframe_loggers.mlflow", None)
    run = hf.train("digits_hypernetwork", SHORT, out=tmp_path / "run")
    assert {path.name for path in run.folder.iterdir()}.isdisjoint({"wandb", "mlruns"})


@pytest.fixture
def mlflow_folder(tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def runs():
        known = client()
        (experiment,) = [found for found in known.search_experiments() if found.name == "hyperframe"]
        return known, known.search_runs([experiment.experiment_id])

    return runs


def test_mlflow_gets_the_configuration_and_all_figures(tmp_path, mlflow_folder):
    run = hf.train("digits_hypernetwork", SHORT, out=tmp_path / "run")
    client, (logged,) = mlflow_folder()
    assert (logged.info.run_name, logged.info.status) == ("run", "FINISHED")
    assert logged.data.params["target.name"] == "mlp"
    assert logged.data.params["trainer.steps"] == "4"
    expected = [(line["step"], line["loss"]) for line in lines(run) if "loss" in line]
    history = client.get_metric_history(logged.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == expected
    (validation,) = [line["validation"] for line in lines(run) if "validation" in line]
    assert logged.data.metrics["validation/accuracy.mean"] == validation["accuracy"]["mean"]
    assert logged.data.metrics["validation/ensemble.nll"] == validation["ensemble"]["nll"]
    assert not any("metrics" in name for name in logged.data.metrics)


def test_mlflow_hears_of_pauses_and_of_what_comes_after(tmp_path, mlflow_folder):
    run = hf.train("digits_hypernetwork", {**SHORT, "trainer.stop_after": 2}, out=tmp_path / "run")
    _, (logged,) = mlflow_folder()
    assert logged.info.status == "KILLED"
    assert logged.data.tags["reason"] == "trainer.stop_after=2 was reached"
    hf.resume(run.folder)
    _, found = mlflow_folder()
    assert sorted(one.info.status for one in found) == ["FINISHED", "KILLED"]


def test_a_server_that_is_not_reached_ends_no_training(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-scheme://nowhere")
    with pytest.warns(hf.HyperframeWarning, match="hyperframe-loggers does not observe this training"):
        run = hf.train("digits_hypernetwork", SHORT, out=tmp_path / "run")
    assert run.finished


def test_weights_and_biases_gets_the_configuration_and_all_figures(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_PROJECT", "digits")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    begun, calls, begin = [], [], wandb.init

    def noted(**given):
        """Begin as the client does, and note what is logged."""
        logged = begin(**given)
        log = logged.log
        monkeypatch.setattr(
            logged, "log", lambda figures, step: calls.append((step, figures)) or log(figures, step=step)
        )
        begun.append(logged)
        return logged

    monkeypatch.setattr(wandb, "init", noted)
    run = hf.train("digits_hypernetwork", SHORT, out=tmp_path / "run")
    (logged,) = begun
    assert (logged.project, logged.name) == ("digits", "run")
    assert logged.config["target"]["name"] == "mlp"
    expected = [(line["step"], line["loss"]) for line in lines(run) if "loss" in line]
    assert [(step, figures["train/loss"]) for step, figures in calls if "train/loss" in figures] == expected
    (validation,) = [line["validation"] for line in lines(run) if "validation" in line]
    assert calls[-1][0] == 4
    assert calls[-1][1]["validation/accuracy.mean"] == validation["accuracy"]["mean"]
    assert len(list((run.folder / "wandb").glob("offline-run-*"))) == 1
