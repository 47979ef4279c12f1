"""Progress on the command line: how long the rest takes, and who tells how far it is."""

import types

import pytest
from rich.progress import Progress

from hyperframe.analysis.report import collect
from hyperframe.runtime.progress import heard_by, in_words
from hyperframe.training import progress_bar
from hyperframe.training.progress_bar import ProgressReporter, TimeLeft, shown_progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: clock.now)
    return clock


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3560, "59 min 20 s"),
        (3599.6, "1 h"),
        (86399, "1 day"),
        (90000, "1 day 1 h"),
    ],
)
def test_durations_are_rounded_to_their_smaller_unit(seconds, words):
    assert in_words(seconds) == words


def test_the_rest_takes_as_long_for_each_part_as_those_that_are_done(clock):
    left = TimeLeft(done=100)
    assert left.seconds(100, 500) is None
    clock.now += 30
    assert left.seconds(110, 500) == 3 * 390
    clock.now += 3000  # rich's own estimate has forgotten all by now
    assert left.seconds(200, 500) == 30.3 * 300
    assert left.seconds(500, 500) is None


def test_a_line_of_a_validation_says_how_long_the_rest_takes(clock, capsys, learnt):
    reporter = ProgressReporter()
    reporter.started(types.SimpleNamespace(step=0, folder="runs/x", config=learnt.config, experiment=learnt.experiment))
    clock.now += 90
    results = learnt.evaluate(2)
    reporter.validated(15, results)
    reporter.validated(60, results)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].endswith("about 4 min 30 s left")  # three times as many as are done
    assert "left" not in lines[2]


def test_bars_count_down(clock, monkeypatch):
    shown = []

    class Watched(Progress):
        def update(self, task_id, **fields):
            super().update(task_id, **fields)
            task = next(task for task in self.tasks if task.id == task_id)
            shown.append(str(self.columns[-1](task)))

    monkeypatch.setattr(progress_bar, "Progress", Watched)
    with shown_progress(quiet=True):
        for done in range(3):
            progress_bar.tell("trainings", done, 3)
            clock.now += 100
    assert shown == ["", "about 3 min 20 s left", "about 1 min 40 s left"]


def test_an_evaluation_and_a_report_tell_how_far_they_are(learnt, registry, tmp_path):
    told = []
    with heard_by(lambda *what: told.append(what)):
        learnt.evaluate(3)
    assert told[0] == ("examples evaluated", 0, 360)
    assert told[-1] == ("examples evaluated", 360, 360)
    assert len(told) == 3  # 250 examples at a time
    with heard_by(lambda *what: told.append(what)):
        collect(learnt, registry, ["toy_curve", "filters"])
    assert [done for what, done, _ in told if what == "analyses"] == [0, 1, 2]


def test_predictions_tell_how_far_they_are(learnt):
    told = []
    with heard_by(lambda *what: told.append(what)):
        learnt.sample(2).summary(learnt.data("test").x[:5])
    assert told == [("examples predicted", 0, 5), ("examples predicted", 5, 5)]
