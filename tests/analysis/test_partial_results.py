"""Work in parts: what is done is kept, and an interrupted analysis goes on where it was."""

import json

import attrs
import pytest

from hyperframe.analysis.partial_results import in_parts
from hyperframe.analysis.runner import analyse, chosen_options, kept_analysis
from hyperframe.api import make_registry
from hyperframe.component import Component
from hyperframe.errors import ConfigError, HyperframeWarning
from hyperframe.hookspecs import hookimpl
from hyperframe.options import option
from hyperframe.runtime.progress import heard_by


@attrs.frozen(kw_only=True)
class Options:
    """Options of the analysis."""

    factor: int = option(1, "what squares are multiplied with")


class Squares:
    """A plugin with one analysis in five parts; the user interrupts it once, before part `breaks_at`."""

    __name__ = "squares"

    def __init__(self, breaks_at=None):
        self.breaks_at, self.done = breaks_at, []

    def analysis(self, options):
        def work(number):
            if number == self.breaks_at:
                self.breaks_at = None
                raise KeyboardInterrupt
            self.done.append(number)
            return {"square": options.factor * number**2}

        return lambda run, folder: {"squares": [part["square"] for part in in_parts(folder, "squares", 5, work)]}

    @hookimpl
    def hyperframe_analyses(self):
        return [Component(name="squares", factory=self.analysis, options=Options)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import hyperframe as hf

    settings = {"trainer.steps": 2, "trainer.networks": 4, "trainer.device": "cpu", "evaluation.networks": 2}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


def interrupted(run, plugin, **options):
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        analyse(run, "squares", make_registry([plugin]), options)


def test_an_interrupted_analysis_goes_on(run):
    plugin = Squares(breaks_at=3)
    interrupted(run, plugin)
    found = analyse(run, "squares", make_registry([plugin]))
    assert found["squares"] == [0, 1, 4, 9, 16]
    assert plugin.done == [0, 1, 2, 3, 4]  # none of them twice
    assert sorted(path.name for path in (run.folder / "analyses" / "squares").iterdir()) == ["results.json"]


def test_parts_of_other_options_are_not_taken(run):
    plugin = Squares(breaks_at=3)
    interrupted(run, plugin)
    assert analyse(run, "squares", make_registry([plugin]), {"factor": 2})["squares"] == [0, 2, 8, 18, 32]
    assert plugin.done == [0, 1, 2, 0, 1, 2, 3, 4]


def test_a_damaged_part_is_done_again(run):
    plugin = Squares(breaks_at=3)
    interrupted(run, plugin)
    (run.folder / "analyses" / "squares" / "parts" / "squares-1.json").write_text("{")
    assert analyse(run, "squares", make_registry([plugin]))["squares"] == [0, 1, 4, 9, 16]
    assert plugin.done == [0, 1, 2, 1, 3, 4]


def test_results_are_known_again_for_the_same_step_and_options(run):
    registry = make_registry([Squares()])
    found = analyse(run, "squares", registry)
    assert kept_analysis(run, "squares", registry) == found
    assert kept_analysis(run, "squares", registry, {"factor": 2}) is None
    own = run.config
    run.config = attrs.evolve(own, evaluation=attrs.evolve(own.evaluation, seed=7))  # as `resume` can
    assert kept_analysis(run, "squares", registry) is None
    run.config = own
    path = run.folder / "analyses" / "squares" / "results.json"
    path.write_text(json.dumps({**found, "step": 1}))
    assert kept_analysis(run, "squares", registry) is None
    path.write_text("{")
    assert kept_analysis(run, "squares", registry) is None


def test_progress_is_told(tmp_path):
    told = []
    with heard_by(lambda *words: told.append(words)):
        in_parts(tmp_path, "draws", 2, lambda number: {})
    assert told == [("draws", 0, 2), ("draws", 1, 2), ("draws", 2, 2)]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("draws=3", "NAME.OPTION=VALUE"),
        ("squares", "is no override"),
        ("sqares.factor=3", "did you mean 'squares'"),
    ],
)
def test_wrong_options(argument, message):
    with pytest.raises(ConfigError, match=message):
        chosen_options([argument], ["squares"], make_registry([Squares()]))


@pytest.mark.slow
def test_wrong_arguments(run, hyperframe):
    for arguments, message in [
        (["toy_curve.points=3"], "Missing argument 'NAME...'. Analyses: answers, "),
        (["toy_curve", "toy_curve.points=3"], "points"),
        (["toy_curve", "pca.points=3"], "unknown analysis 'pca'"),
    ]:
        code, out, err = hyperframe("analyse", run.folder, *arguments)
        assert code == 2
        assert message in err
        assert "Traceback" not in out + err


@pytest.mark.slow
def test_two_processes_do_not_take_each_others_parts(run):
    from hyperframe.errors import RunError
    from hyperframe.runs.folder import claim

    with (
        claim(run.folder / "analyses", "analysis 'squares'", ".squares.lock"),
        pytest.raises(RunError, match="another analysis 'squares' is at work"),
    ):
        analyse(run, "squares", make_registry([Squares()]))
    assert analyse(run, "squares", make_registry([Squares()]))["squares"] == [0, 1, 4, 9, 16]
