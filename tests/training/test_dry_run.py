"""A training that is tried and not done: what it says, what it refuses, and that it leaves nothing."""

import json
import types

import pytest
from tiny import PERCEPTRON

from hyperframe.config.schema import load_config
from hyperframe.experiment.describe import describe
from hyperframe.training import dry_run as module
from hyperframe.training.dry_run import dry_run
from hyperframe.training.loop import Training
from hyperframe.training.trainer import Trainer

pytestmark = pytest.mark.slow

FAST = [f"{key}={json.dumps(value)}" for key, value in PERCEPTRON.items()]


@pytest.fixture
def clock(monkeypatch):
    """A clock on which a step takes two seconds and a validation five; the first steps take a hundred."""
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def taking(function, seconds):
        def timed(self):
            trainer = getattr(self, "trainer", self)
            clock.now += 100 if trainer.step_count < module.WARM_UP["cpu"] else seconds
            return function(self)

        return timed

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Trainer, "step", taking(Trainer.step, 2))
    monkeypatch.setattr(Training, "validate", taking(Training.validate, 5))
    return clock


@pytest.mark.parametrize(("every", "validations"), [(50, 2), (40, 3), (500, 1)])
def test_the_time_is_that_of_all_steps_and_validations(clock, registry, tmp_path, monkeypatch, every, validations):
    monkeypatch.chdir(tmp_path)
    config = load_config("digits", [*FAST, "trainer.steps=100", f"evaluation.every={every}"], registry)
    found = dry_run(config, registry)["time"]
    assert (found["step"], found["steps"]) == (2, 100)
    assert (found["validation"], found["validations"]) == (5, validations)
    assert found["seconds"] == 100 * 2 + validations * 5
    assert list(tmp_path.iterdir()) == []


def test_a_patience_is_said_with_the_time_and_what_would_refuse_it_refuses_it(hyperframe):
    many = [*FAST, "trainer.steps=100", "evaluation.every=5"]
    code, out, err = hyperframe("train", "--dry-run", *many, "trainer.patience=3")
    assert (code, err) == (0, "")
    assert "or less with trainer.patience=3" in " ".join(out.replace("│", " ").split())
    assert (
        json.loads(hyperframe("train", "--dry-run", "--json", *many, "trainer.patience=3")[1])["time"]["patience"] == 3
    )
    assert "trainer.patience=30 ends nothing" in hyperframe("train", "--dry-run", *many, "trainer.patience=30")[2]
    code, _, err = hyperframe("train", "--dry-run", *many, "trainer.patience=3", "trainer.average_tail=0.5")
    assert (code, "trainer.patience is 3, but" in err) == (2, True)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_no_more_steps_are_tried_than_there_are(registry, monkeypatch, steps):
    done, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self: done.append(step(self)))
    dry_run(load_config("digits", [*FAST, f"trainer.steps={steps}"], registry), registry)
    assert len(done) == steps


def test_what_would_be_trained_is_said_and_nothing_is_written(hyperframe, registry, tmp_path):
    code, out, err = hyperframe("train", "--dry-run", "--out", "mine", "--json", *FAST)
    found = json.loads(out)
    assert (code, err, found["missing"]) == (0, "", None)
    assert list(tmp_path.iterdir()) == []
    config = load_config("digits", FAST, registry)
    described = describe(config)
    assert found["folder"] == "mine"
    assert found["task"]["splits"] == {"train": 1197, "validation": 240, "test": 360}
    assert found["target"] == {"name": "mlp", "weights": described["target"]["weights"]}
    assert found["generator"] == {"name": "mlp", "parameters": described["mlp"]["parameters"]}
    assert found["memory"]["step"] == described["step_memory"] > 0
    assert found["memory"]["data"] == (1197 + 240 + 360) * (64 * 4 + 8)
    assert found["memory"]["free"] > 0
    assert (found["networks"], found["batch_size"]) == (config.trainer.networks, config.trainer.batch_size)


def test_it_is_printed(hyperframe):
    code, out, err = hyperframe("train", "--dry-run", *FAST)
    assert (code, err) == (0, "")
    for part in ("1,197 for train, 240 for validation, 360 for test", "mlp: ", "(not made)", "4,000 steps of"):
        assert part in out


@pytest.mark.slow
def test_without_data_all_else_is_said(hyperframe, tmp_path):
    mnist = ["mnist", f"task.folder={tmp_path / 'nowhere'}"]
    code, out, err = hyperframe("train", "--dry-run", *mnist)
    assert code == 2
    assert "20,018 weights" in out
    assert "nowhere holds no MNIST data" in err
    code, out, err = hyperframe("train", "--dry-run", "--json", *mnist)
    found = json.loads(out)
    assert (code, found["time"], found["task"]["splits"]) == (2, None, {})
    assert found["missing"] in err
    assert found["memory"]["step"] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        ["trainer.device=gpu"],
        ["generator=hypernetwork", "trainer.networks=1"],
        ["gauges=[scale,scale]"],
        ["diversity=[function_repulsion]", "trainer.networks=1"],
        ["trainer.from=nowhere"],
        ["--out", "full"],
        ["trainer.networks=1000000", "target.hidden=[100000]"],
    ],
)
def test_what_a_training_refuses_is_refused(hyperframe, tmp_path, wrong):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    tried, trained = (hyperframe("train", *first, *FAST[:2], *wrong) for first in (["--dry-run"], []))
    assert tried[0] == trained[0] == 2
    assert tried[2].splitlines()[-1][:60] == trained[2].splitlines()[-1][:60]
    assert tried[1] == ""


def test_steps_that_diverge_are_told(hyperframe):
    code, _, err = hyperframe("train", "--dry-run", *FAST, "trainer.rate=1e30")
    assert code == 2
    assert "the loss or its gradient was not finite in step" in err


def test_what_a_training_says_is_said(hyperframe):
    code, _, err = hyperframe("train", "--dry-run", *FAST, "objective=vi")
    assert code == 0
    assert "the loss is no bound of the evidence, since" in err


def test_a_run_that_goes_on_is_not_tried(hyperframe):
    code, _, err = hyperframe("train", "--dry-run", "--resume", "mine")
    assert code == 2
    assert "--dry-run tries a new training" in err
