"""The training, step by step: what is read of its measurements, and what is advised."""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CHECKED

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.training_curves.advice import advise, course_of, gained_late
from hyperframe.builtin.analyses.training_curves.curves import KEPT, read_curves, thinned
from hyperframe.errors import NotApplicableError
from hyperframe.metrics import Metric
from hyperframe.runs.metrics_log import METRICS

FEW = settings(max_examples=25)
ACCURACY = Metric(name="accuracy", better="greater", percent=True, selects=True)
NLL = Metric(name="nll", label="negative log-likelihood", better="lower")


def validated(**columns):
    steps = [100 * number for number in range(1, len(next(iter(columns.values()))) + 1)]
    return {"validation": {"steps": steps, "values": columns}}


FLAT = [0.2, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"accuracy": FLAT, "nll": [2.0, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]}, "More steps are unlikely to help: the"),
        (
            {"accuracy": FLAT, "nll": [2.0, 0.3, 0.5, 0.8, 0.8, 0.8, 0.9, 0.9]},
            "The validation's negative log-likelihood became worse after step 200 (0.3 there, 0.9 at step 800): ",
        ),
        (
            {"accuracy": [0.2, 0.8, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5]},
            "The validation's accuracy became worse after step 300 (90.00 % there, 50.00 % at step 800): take the best "
            "checkpoint (--checkpoint best), or train for",
        ),
        ({"accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}, "Train longer: 23 % of what"),
        ({"accuracy": FLAT[:5]}, ""),
        ({"accuracy": [*FLAT[:7], None]}, ""),
        (
            {"accuracy": [None, *FLAT[1:]], "nll": [1.0, *[0.5] * 7]},
            "More steps are unlikely to help: the validation's neg",
        ),
    ],
)
def test_the_length_of_a_training_is_judged_by_its_validations(columns, words):
    metrics = [metric for metric in (NLL, ACCURACY) if metric.name in columns]
    sentence = advise(validated(**columns), metrics)
    assert sentence.startswith(words)
    assert bool(sentence) is bool(words)


def test_metrics_without_a_direction_or_of_ensembles_do_not_judge():
    apart = Metric(name="apart")
    together = Metric(name="nll", better="lower", of="ensemble")
    assert advise(validated(apart=FLAT), [apart]) == ""
    assert advise(validated(**{"ensemble nll": FLAT}), [together]) == ""


@FEW
@given(st.lists(st.floats(-9, 9), min_size=2, max_size=20))
def test_what_is_gained_late_is_a_part_of_the_gain(values):
    assert math.isfinite(gained_late(values))
    rising = sorted(values)
    if rising[0] < rising[-1]:
        assert -1e-9 <= gained_late(rising) <= 1 + 1e-9
    course = course_of(range(len(values)), values)
    assert course.best == max(values)
    assert not course_of(range(len(rising)), rising).clearly_worse


@FEW
@given(st.integers(0, 50), st.integers(1, 12))
def test_lines_that_are_left_out_leave_the_last_one(count, kept):
    found = thinned(list(range(count)), kept)
    assert len(found) <= kept
    assert found[-1:] == list(range(count))[-1:]
    assert len({b - a for a, b in itertools.pairwise(found)}) <= 1
    assert count > kept or found == list(range(count))


def test_measurements_are_read_up_to_a_step(tmp_path):
    validation = {"accuracy": {"mean": 0.5, "std": 0, "min": 0.5, "max": 0.5}, "metrics": [ACCURACY.plain()]}
    lines = [
        {"step": 1, "loss": 3.0, "steps_per_second": 9.0},
        {"step": 2, "loss": None, "diversity.own": 1.0},
        {"step": 2, "validation": {**validation, "entropy": 4.0}},
        {"step": 3, "loss": 2.0},
        {"step": 3, "failed": "why"},
        {"step": 4, "loss": 1.0},
    ]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_curves(tmp_path, 3)
    assert found["training"] == {"steps": [1, 2, 3], "values": {"loss": [3, None, 2], "diversity.own": [None, 1, None]}}
    assert found["validation"] == {"steps": [2], "values": {"accuracy": [0.5], "entropy": [4.0]}}
    assert len(thinned(list(range(10 * KEPT)))) == KEPT


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    settings = {**CHECKED, "trainer.log_every": 1}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_a_run_shows_its_training(trained):
    found = analyse(trained, "training_curves", make_registry())
    assert found["training"]["steps"] == [1, 2, 3, 4]
    assert found["validation"]["steps"] == [2, 4]
    assert {"loss", "accuracy_loss"} <= set(found["training"]["values"])
    assert {"accuracy", "ensemble mean_probability", "entropy"} <= set(found["validation"]["values"])
    assert found["conclusions"] == []
    assert (trained.folder / "analyses" / "training_curves" / found["pictures"][0]["file"]).is_file()


def test_a_run_without_measurements_is_left_out(trained, tmp_path):
    run = hf.load(trained.folder)
    moved = (run.folder / METRICS).rename(tmp_path / METRICS)
    try:
        with pytest.raises(NotApplicableError, match="has no measurements of its training up to step 4"):
            analyse(run, "training_curves", make_registry())
    finally:
        moved.rename(run.folder / METRICS)
