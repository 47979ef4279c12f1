"""Trainings that end early, and warnings where validations become worse."""

import itertools
import json
import math
import warnings
from types import SimpleNamespace

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import one_of, trained_until_no_better
from scripted import scripted, validations_of

import hyperframe as hf
from hyperframe.bench.cells import is_trained
from hyperframe.errors import ConfigError, HyperframeWarning, RunError
from hyperframe.metrics import IN_A_ROW, LOST, NOISE, Course, Metric
from hyperframe.runs.checkpoints import checkpoint_steps, early_end, read_checkpoint
from hyperframe.runs.listing import list_runs
from hyperframe.runs.metrics_log import read_metrics
from hyperframe.runs.provenance import read_provenance
from hyperframe.runtime.progress import quantity
from hyperframe.tasks.regression import RMSE, SQUARED_ERROR
from hyperframe.training.early_stopping import Validations
from hyperframe.training.reporter import Reporter

ACCURACY = Metric(name="accuracy", better="greater", percent=True, selects=True)
NLL = Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower")
OF_ALL = Metric(name="majority", better="greater", of="ensemble")
AMONG_EXAMPLES = [NLL, OF_ALL, ACCURACY]
STEPS = 20

scores = st.integers(0, 20).map(float)
validations = st.lists(st.none() | st.just(math.nan) | scores, max_size=30)
"""Scores, None where networks diverged, NaN where their loss is no number."""


def results(accuracy=0.5, nll=1.0):
    return {"accuracy": {"mean": accuracy}, "nll": nll, "ensemble": {"majority": 0.5}}


def course_of(values):
    course = Course()
    for step, value in enumerate(values):
        course.add(step, value)
    return course


def is_clearly_worse(values):
    """Say the same of a whole list of scores."""
    best = values.index(max(values))
    after = values[best + 1 :]
    if len(after) < IN_A_ROW:
        return False
    moves = [abs(later - earlier) for earlier, later in itertools.pairwise(values[best:])]
    needed = max(LOST * (values[best] - values[0]), NOISE * sum(moves) / len(moves))
    return all(values[best] - value > needed for value in after[-IN_A_ROW:])


@given(st.lists(scores, min_size=1, max_size=40))
def test_a_course_says_of_its_scores_what_all_of_them_say(values):
    course = course_of(values)
    assert (course.best, course.best_step) == (max(values), values.index(max(values)))
    assert course.clearly_worse == is_clearly_worse(values)


@given(st.lists(scores, min_size=1, max_size=40), st.integers(-9, 9), st.integers(-50, 50))
def test_neither_unit_nor_origin_of_scores_counts(values, power, origin):
    moved = [2.0**power * (value + origin) for value in values]
    assert course_of(moved).clearly_worse == course_of(values).clearly_worse


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_what_was_learnt_is_not_worse(seed):
    rng, course = torch.Generator().manual_seed(seed), Course()
    for step, noise in enumerate(torch.randn(100, generator=rng, dtype=torch.float64).tolist()):
        course.add(step, 0.05 * noise - 2 * math.exp(-step / 5))
        assert not course.clearly_worse


# Measured: perceptrons on scikit-learn's tables, a tenth of which validates, every 50 steps.
CANCER_NLL = [0.0771, 0.089, 0.0901, 0.084, 0.106, 0.0971, 0.102, 0.113, 0.131, 0.129, 0.128, 0.15, 0.133]
CANCER_ACCURACY = [0.9671, 0.957, 0.9553, 0.964, 0.964, 0.9667, 0.9671, 0.9697, 0.9693, 0.9697, 0.9697, 0.9654, 0.9689]
WINE_ACCURACY = [0.4472, 0.8931, 0.9417, 0.9514, 0.9528, 0.9472, 0.95, *[0.9444] * 30]
DIABETES_LOSS = [0.588, 0.524, 0.528, 0.562, 0.560, 0.566, 0.587, 0.580, 0.636, 0.665, 0.692, 0.708]
DIVERGED_ONCE = [2.32, 2.44, 2420, 4.79, 0.523, 0.419, 0.404, 0.285, 0.261, 0.253, 0.256, 0.24]


@pytest.mark.parametrize(
    ("values", "sign", "at"),
    [
        (CANCER_NLL, -1, 10),
        (CANCER_ACCURACY, 1, None),
        (WINE_ACCURACY, 1, None),
        (DIABETES_LOSS, -1, 10),
        (DIVERGED_ONCE, -1, None),
    ],
)
def test_measured_courses(values, sign, at):
    course, worse = Course(), []
    for step, value in enumerate(values):
        course.add(step, sign * value)
        worse += [step] if course.clearly_worse else []
    assert (worse[0] if worse else None) == at


def after(seen, start=0, known=None):
    """Take validations in, and say what came of each."""
    known = Validations(AMONG_EXAMPLES, STEPS) if known is None else known
    return known, [
        (known.add(step, None if value is None else results(nll=value, accuracy=-value)), known.since_best)
        for step, value in enumerate(seen, start)
    ]


@given(validations)
def test_validations_without_a_new_best_are_counted(seen):
    finite = [(-value, step) for step, value in enumerate(seen) if value is not None and not math.isnan(value)]
    best = min((step for score, step in finite if score == max(finite)[0]), default=None)
    wanted = len(seen) if best is None else len(seen) - 1 - best
    known, _ = after(seen)
    assert (known.since_best, known.plain()["best_step"]) == (wanted, best)


@given(validations, st.integers(0, 30))
def test_what_a_checkpoint_keeps_goes_on_as_if_nothing_had_been(seen, cut):
    whole, told = after(seen)
    first, before = after(seen[:cut])
    second = Validations(AMONG_EXAMPLES, STEPS)
    second.restore(json.loads(json.dumps(first.plain())))
    second, behind = after(seen[cut:], len(seen[:cut]), second)
    assert before + behind == told
    assert second.plain() == whole.plain()


@pytest.mark.parametrize(
    "kept", [{}, {"since_best": None, "warned": False, "courses": {}}, {"since_best": 1, "warned": 0, "courses": 3},
             {"since_best": 1, "warned": 0, "courses": {"nll": {"code": 1}}}]
)  # fmt: skip
def test_what_a_checkpoint_should_not_keep_is_refused(kept):
    with pytest.raises(RunError, match="does not say how validations went"):
        Validations(AMONG_EXAMPLES, STEPS).restore(kept)


@given(validations, st.none() | st.integers(1, 9), st.integers(1, 30))
def test_a_training_ends_early_where_its_patience_does(seen, patience, steps):
    known, _ = after(seen)
    reason = early_end({"step": len(seen), "validations": known.plain()}, patience, steps)
    ends = patience is not None and known.since_best >= patience and len(seen) < steps
    assert (reason is not None) == ends


def test_a_loss_that_gets_worse_is_told_once_with_its_figures():
    known = Validations(AMONG_EXAMPLES, STEPS)
    told = [known.add(50 * step, results(nll=value)) for step, value in enumerate(CANCER_NLL, 1)]
    assert told[:10] == [None] * 10
    assert told[11:] == [None] * 2
    assert told[10] == (
        "validations have become worse: negative log-likelihood (nats) ↓ was 0.0771 at step 50 and is 0.128 at step "
        "550. The best checkpoint, by accuracy, is that of step 50. Fewer trainer.steps, a prior or more data keep "
        "networks from becoming too sure of what they have seen"
    )


@pytest.mark.parametrize(("steps", "at"), [(8, 6), (24, 6), (28, 7), (60, 15), (80, None)])
def test_nothing_is_told_before_a_quarter_of_the_steps_has_passed_since_the_best(steps, at):
    known = Validations(AMONG_EXAMPLES, steps)
    told = [known.add(step, results(0.9 - 0.05 * step)) is not None for step in range(16)]
    assert [step for step, is_told in enumerate(told) if is_told] == ([] if at is None else [at])


def test_where_the_metric_that_selects_gets_worse_the_best_checkpoint_is_named():
    known = Validations(AMONG_EXAMPLES, STEPS)
    told = [known.add(step, results(0.9 - 0.05 * step, 1.0 + step)) for step in range(9)]
    (warning,) = filter(None, told)
    assert "accuracy ↑ was 90.00 % at step 0 and is 60.00 % at step 6. " in warning
    assert "--checkpoint best" in warning
    assert "trainer.patience=N" in warning


def test_a_regression_is_told_by_the_loss_that_selects():
    known = Validations([RMSE, SQUARED_ERROR], STEPS)
    told = [known.add(step, {"rmse": {"mean": 1.0 + step}, "loss": 1.0 + step}) for step in range(9)]
    (warning,) = filter(None, told)
    assert "squared error ↓ was 1 at step 0" in warning


# What follows trains: the accuracies of its validations, one a step, are those of a script.

RISES_AND_FALLS = [0.2, 0.5, 0.4, 0.5, 0.3, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]


@pytest.fixture
def ending(small, monkeypatch):
    """Train with the accuracies of a script, for twelve steps at most."""
    scripted(monkeypatch, RISES_AND_FALLS)
    small.settings |= {**tiny.PERCEPTRON, "trainer.steps": 12, "evaluation.every": 1, "trainer.checkpoint_every": 100}
    return small


class Hears(Reporter):
    """Remembers how it ends."""

    def __init__(self):
        self.ends = []

    def paused(self, run, reason):
        self.ends.append(("paused", run.step))

    def finished(self, run):
        self.ends.append(("finished", run.step))


@pytest.mark.parametrize(("patience", "ends", "best"), [(1, 3, 2), (2, 4, 2), (3, 5, 2), (4, 10, 6), (5, 11, 6)])
def test_a_training_ends_after_so_many_validations_without_a_new_best(tmp_path, ending, patience, ends, best):
    heard = Hears()
    settings = {**ending.settings, "trainer.patience": patience}
    run = hf.train("digits_hypernetwork", settings, out=tmp_path / "run", reporter=heard)
    assert (run.step, run.finished, heard.ends) == (ends, True, [("finished", ends)])
    assert run.ended == f"no new best in {patience} validation{'s' if patience > 1 else ''} since step {best}"
    assert validations_of(run) == RISES_AND_FALLS[:ends]
    assert {best, ends} <= set(checkpoint_steps(run.folder))
    assert hf.load(run.folder, device="cpu", checkpoint="best").step == best


def test_all_that_speak_of_a_run_say_that_it_ended_early(tmp_path, ending, hyperframe):
    run = ending(tmp_path / "run", trainer__patience=2)
    words = "no new best in 2 validations since step 2"
    known = hf.load(run.folder, device="cpu")
    assert (known.finished, known.ended) == (True, words)
    assert f"step 4 of 12, ended early: {words}" in repr(known)
    assert f"step 4 of 12, ended early: {words}, finished" in known._repr_html_()
    (row,) = list_runs(run.folder)
    assert (row["state"], row["step"], row["steps"]) == ("finished", 4, 12)
    assert row["reason"] == f"ended early at step 4: {words}"
    assert f"ended early at step 4: {words}" in hyperframe("runs", run.folder)[1]
    assert read_provenance(run.folder)["ended_early"] == [{"step": 4, "reason": words}]
    assert is_trained(SimpleNamespace(folder=run.folder, config=run.config))
    assert not is_trained(SimpleNamespace(folder=tmp_path, config=run.config))
    shared = known.save_pretrained(tmp_path / "shared", networks=2)
    assert f"it ended early, with {words}" in (shared / "README.md").read_text()
    assert hf.load(shared, device="cpu").ended == words
    best = hf.load(run.folder, device="cpu", checkpoint="best")
    assert (best.step, best.finished, best.ended) == (2, False, None)


@pytest.mark.slow
def test_a_run_that_ended_early_goes_on_with_more_patience_as_one_that_had_it(tmp_path, ending):
    whole = ending(tmp_path / "whole", trainer__patience=4)
    run = ending(tmp_path / "run", trainer__patience=2)
    with pytest.warns(HyperframeWarning, match=r"ended early at step 4: .*than trainer.patience=2, or .*=null, lets"):
        assert hf.resume(run.folder).step == 4
    with pytest.warns(HyperframeWarning, match=r"ended early at step 4: .*than trainer.patience=1, or .*=null, lets"):
        assert hf.resume(run.folder, {"trainer.patience": 1}).step == 4
    resumed = hf.resume(run.folder, {"trainer.patience": 4})
    assert (resumed.step, resumed.ended) == (10, whole.ended)
    assert_same(resumed, whole)
    assert [entry["step"] for entry in read_provenance(run.folder)["ended_early"]] == [4, 10]
    done = hf.resume(run.folder, {"trainer.patience": None})
    assert (done.step, done.finished, done.ended) == (12, True, None)


def assert_same(run, other):
    last, last_2 = (read_checkpoint(one.folder, one.step) for one in (run, other))
    assert last.state["validations"] == last_2.state["validations"]
    for tensors, wanted in ((last.generator(), last_2.generator()), (last.trainer(), last_2.trainer())):
        assert tensors.keys() == wanted.keys()
        for name, value in tensors.items():
            assert torch.equal(value, wanted[name]), name
    assert validations_of(run) == validations_of(other)


@pytest.mark.slow
def test_a_run_paused_at_every_step_ends_where_the_unbroken_one_does(tmp_path, ending):
    whole = ending(tmp_path / "whole", trainer__patience=4)
    run = ending(tmp_path / "parts", trainer__patience=4, trainer__stop_after=1)
    while not run.finished:
        run = hf.resume(run.folder, {"trainer.stop_after": 1})
    assert (run.step, run.ended) == (10, whole.ended)
    assert_same(run, whole)


def test_a_pause_and_an_early_end_in_one_step_are_an_end(tmp_path, ending):
    run = ending(tmp_path / "run", trainer__patience=2, trainer__stop_after=4)
    assert (run.step, run.finished) == (4, True)
    assert list_runs(run.folder)[0]["state"] == "finished"


def test_one_validation_is_named_in_the_singular():
    seen = {"step": 20, "validations": {"since_best": 1, "best_step": 15}}
    assert early_end(seen, 1, 60) == "no new best in 1 validation since step 15"


def test_the_last_step_is_no_early_end(tmp_path, ending):
    run = ending(tmp_path / "run", trainer__patience=2, trainer__steps=4)
    assert (run.step, run.finished, run.ended) == (4, True, None)
    assert "ended_early" not in read_provenance(run.folder)


def test_validations_that_diverge_have_no_new_best(tmp_path, small, monkeypatch):
    scripted(monkeypatch, [None, None, 0.5, 0.6, 0.7, 0.8])
    with pytest.warns(HyperframeWarning, match="on purpose"):
        run = small(tmp_path / "run", evaluation__every=1, trainer__patience=2)
    assert (run.step, run.ended) == (2, "no new best in 2 validations since the beginning")


def test_rates_follow_the_number_of_steps(tmp_path, ending):
    changes = {"trainer__schedule": "one_cycle", "trainer__log_every": 1}
    run, whole = ending(tmp_path / "run", trainer__patience=4, **changes), ending(tmp_path / "whole", **changes)
    rates, wanted = ([line["rate"] for line in read_metrics(one.folder) if "rate" in line] for one in (run, whole))
    assert rates == wanted[:10]


@pytest.mark.slow
def test_processes_end_after_the_same_step(tmp_path, ending):
    settings = {**ending.settings, "trainer.patience": 4}
    arguments = (2, str(tmp_path), trained_until_no_better, settings, RISES_AND_FALLS, str(tmp_path / "run"))
    torch.multiprocessing.spawn(one_of, arguments, nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert found[0] == found[1] == {"step": 10, "ended": "no new best in 4 validations since step 6"}
    with pytest.warns(HyperframeWarning, match="ended early at step 10"):
        assert hf.resume(tmp_path / "run").step == 10


def test_whoever_trains_is_warned_once(tmp_path, small, monkeypatch):
    scripted(monkeypatch, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    small.settings |= {"trainer.steps": 10, "evaluation.every": 1}
    with pytest.warns(HyperframeWarning) as caught:
        small(tmp_path / "run", trainer__stop_after=9)
    (told,) = [str(one.message) for one in caught if "become worse" in str(one.message)]
    assert told.startswith(
        f"{tmp_path / 'run'}: validations have become worse: accuracy ↑ was 90.00 % at step 1 and is"
    )
    hf.resume(tmp_path / "run")  # a second warning would be an error


def test_the_command_says_that_it_ends_early_and_where_the_best_lies(tmp_path, hyperframe, monkeypatch, small):
    scripted(monkeypatch, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    settings = {**small.settings, "trainer.steps": 10, "evaluation.every": 1, "trainer.patience": 8}
    typed = [f"{key}={value}" for key, value in settings.items()]
    code, _, err = hyperframe("train", "digits_hypernetwork", *typed, "--out", "run")
    assert code == 0
    assert err.count("become worse") == 1
    assert "ended early at step 9 of 10: no new best in 8 validations since step 1; all is saved" in err
    assert "hyperframe evaluate run --checkpoint best" in err.replace(str(tmp_path) + "/", "")
    code, out, err = hyperframe("train", "digits_hypernetwork", *typed, "--out", "other", "--json")
    assert (code, json.loads(out)["step"], err.count("become worse")) == (0, 9, 1)
    code, _, err = hyperframe("train", "--resume", "run", "trainer.patience=7")
    assert (code, "the run ended early at step 9" in err) == (0, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer.patience": 0}, "trainer.patience: expected a whole number or null, at least 1, but got 0"),
        (
            {"trainer.patience": "long"},
            "trainer.patience: expected a whole number or null, at least 1, but got 'long'",
        ),
        (
            {"trainer.patience": 3, "trainer.average_tail": 0.5},
            r"trainer.patience is 3, but .* averages of trainer.average_tail=0.5, .* set one of them to null",
        ),
    ],
)
def test_a_wrong_patience_is_named(tmp_path, small, changes, message):
    with pytest.raises(ConfigError, match=message):
        hf.train("digits_hypernetwork", {**small.settings, **changes}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("patience", "every", "idle"), [(5, 1, True), (4, 1, False), (2, 2, True), (1, 2, False), (1, 5, True)]
)
def test_a_patience_that_can_end_nothing_is_told(tmp_path, small, monkeypatch, patience, every, idle):
    scripted(monkeypatch, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    settings = {**small.settings, "trainer.patience": patience, "evaluation.every": every}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HyperframeWarning)
        hf.train("digits_hypernetwork", settings, out=tmp_path / "run")
    told = [str(one.message) for one in caught if "ends nothing" in str(one.message)]
    assert len(told) == idle
    wanted = f"before the last of 6 steps there is time for {quantity(5 // every, 'validation')}, one every"
    assert all(f"={patience} ends nothing: {wanted}" in text for text in told)
