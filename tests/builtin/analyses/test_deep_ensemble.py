"""How many independently trained networks an ensemble is worth: the number, and the reference that is kept."""

import copy
import shutil
from contextlib import nullcontext
from unittest import mock

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny import PERCEPTRON
from torch import nn

import hyperframe as hf
from hyperframe.analysis import bootstrap
from hyperframe.analysis.report import collect
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses import deep_ensemble as deep_ensemble_analysis
from hyperframe.builtin.analyses.deep_ensemble import baseline, conclusions
from hyperframe.builtin.analyses.deep_ensemble.baseline import Recipe, deep_ensemble, of_budget
from hyperframe.builtin.analyses.deep_ensemble.equivalent import Equivalent, deep_ensemble_equivalent, saturation
from hyperframe.builtin.objectives.trade_off import Options
from hyperframe.config.sections import PriorOptions
from hyperframe.errors import (
    ConfigError,
    HyperframeError,
    HyperframeWarning,
    NotApplicableError,
    RunError,
    TrainingError,
)
from hyperframe.networks.prior import without_prior
from hyperframe.runs.loading import load_run
from hyperframe.training.trainer import Trainer

curves = st.lists(st.floats(0.001, 10), min_size=1, max_size=12)


def sizes_of(reference):
    return [2**place for place in range(1, len(reference) + 1)]


@given(curves, st.floats(0.001, 10), st.data())
def test_a_better_ensemble_is_worth_more(reference, nll, data):
    sizes, flat = sizes_of(reference), data.draw(st.integers(0, len(reference) - 1))
    one, other = (deep_ensemble_equivalent(value, sizes, reference, flat) for value in (nll, nll / 2))
    assert 2 <= one.networks <= other.networks <= sizes[-1]


@given(curves)
def test_the_reference_is_worth_itself(reference):
    sizes, best = sizes_of(reference), [min(reference[: size + 1]) for size in range(len(reference))]
    for size, nll in zip(sizes, best, strict=True):
        found = deep_ensemble_equivalent(nll, sizes, reference, len(reference) - 1)
        assert found.networks == sizes[best.index(nll)] <= size
        assert found.bound == ""


def test_known_values():
    reference = [0.5, 0.3, 0.4, 0.2]
    nlls = (0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1)
    found = [deep_ensemble_equivalent(nll, [2, 4, 8, 16], reference, flat=3) for nll in nlls]
    assert [one.bound for one in found] == ["below", "", "", "", "", "", "above"]
    assert [one.networks for one in found] == pytest.approx([2, 2, 3, 4, 12, 16, 16])
    found = [deep_ensemble_equivalent(nll, [2, 4, 8, 16], reference, flat=1) for nll in nlls]
    assert [one.bound for one in found] == ["below", "", "", *["saturated"] * 4]
    assert [one.networks for one in found] == pytest.approx([2, 2, 3, 4, 4, 4, 4])


@pytest.mark.parametrize(
    ("networks", "bound", "text"),
    [
        (1, "", "1 network"),
        (1.001, "", "1 network"),
        (1.5, "", "1.5 networks"),
        (1, "below", "fewer than 1 network"),
        (16, "above", "more than 16 networks"),
        (1, "saturated", "1 or more networks (saturated)"),
    ],
)
def test_an_equivalent_in_words(networks, bound, text):
    assert str(Equivalent(networks, bound)) == text


def test_a_curve_is_flat_where_more_networks_are_no_measurable_gain():
    noise = torch.randn(4, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise -= noise.mean(1, keepdim=True)
    levels = torch.tensor([[1.0], [0.5], [0.01], [0.0]])
    assert saturation(levels + noise) == 2  # its noise is 0.05
    assert saturation(levels + 0.01 * noise) == 3
    assert saturation(levels + noise[:1]) == 3  # of paired examples, with no noise between them
    assert saturation(levels.flip(0) + noise) == 0


@pytest.mark.slow
def test_an_interval_holds_the_mean_in_19_of_20_cases():
    rng, held = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        low, high = bootstrap.mean_interval(torch.randn(1, 50, generator=rng))
        held += low <= 0 <= high
    assert 180 <= held <= 198


def test_an_interval_over_repeats_and_examples_is_wider_than_over_examples():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(3, 1, generator=rng) + 0.01 * torch.randn(3, 500, generator=rng)
    assert bootstrap.mean_interval(values)[0] < values.mean() - 0.1
    assert bootstrap.mean_interval(values.mean(0, keepdim=True))[0] > values.mean() - 0.1


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """So that tests are fast; the intervals' ends are then a little rougher."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 300)


QUICK = {"networks": [2, 3], "budget": 120, "draws": 1, "examples": 30, "weights": "last"}
"""Five steps of 3 networks, or 7 of 2, on 8 examples each."""

NAMES = ["2_networks_7_steps_of_8_rate_0.01", "3_networks_5_steps_of_8_rate_0.01"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", {**PERCEPTRON, "trainer.steps": 3}, out=tmp_path_factory.mktemp("runs") / "run")


def unmeasured():
    """Fail where an ensemble is measured."""
    return mock.patch.object(deep_ensemble_analysis, "draw_ensemble", side_effect=AssertionError("was measured"))


class OwnGauge:
    """A plugin that is installed nowhere."""

    @hf.hookimpl
    def hyperframe_gauges(self):
        return [attrs.evolve(make_registry().get("gauge", "logit_bias").component, name="handed_over")]


@pytest.mark.slow
def test_a_run_keeps_the_registry_it_was_made_with(tmp_path, monkeypatch):
    registry = make_registry([OwnGauge()])
    settings = {**PERCEPTRON, "trainer.steps": 3, "gauges": ["scale", "handed_over"]}
    trained = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    options = {"deep_ensemble": {**QUICK, "reference": str(tmp_path / "reference")}}
    for run in (trained, trained, hf.load(trained.folder, registry=registry, device="cpu")):
        assert [choice.name for choice in run.config.gauges] == ["scale", "handed_over"]
        content = collect(run, registry, ["deep_ensemble"], options, again=True)
        assert (content["failed"], content["left_out"]) == ({}, {})
        monkeypatch.setattr(Trainer, "step", lambda self: pytest.fail("the reference is trained already"))
    with pytest.raises(HyperframeError, match="handed_over"):
        load_run(trained.folder, make_registry())


def test_budgets_are_matched(run, tmp_path):
    """Each reference takes the run's gradient evaluations, less than a step of its own."""
    found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "networks": [3, 2], "budget": None})
    assert found["budget"] == run.gradient_evaluations == 3 * 4 * 8
    assert [(row["networks"], row["steps"]) for row in found["references"]] == [(2, 6), (3, 4)]
    for folder in (run.folder / "analyses" / "deep_ensemble" / "references").iterdir():
        assert load_run(folder, make_registry()).gradient_evaluations == 96


def test_a_budget_of_less_than_a_step(run):
    with pytest.raises(
        NotApplicableError, match=r"a step of 3 networks takes 24 gradient evaluations, .* budget of 20; name fewer"
    ):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "budget": 20})
    with pytest.raises(ConfigError, match="at least one size is needed"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "networks": []})


def test_both_kinds_of_weights(run, tmp_path):
    """Networks of the last step, and averages over the tail with a constant rate."""
    found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "networks": [2], "weights": "both"})
    assert [row["averaged"] for row in found["references"]] == [False, True]
    folder = run.folder / "analyses" / "deep_ensemble" / "references"
    last, averaged = (load_run(folder / f"{NAMES[0]}{end}", make_registry()) for end in ("", "_averaged"))
    trainers = [each.config.trainer for each in (last, averaged)]
    assert [(each.schedule, each.average_tail) for each in trainers] == [("one_cycle", None), ("one_cycle_tail", 0.3)]


@pytest.mark.slow
def test_references_are_trained_once_and_shared(run, tmp_path):
    place = tmp_path / "references"
    found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert [row["networks"] for row in found["references"]] == [2, 3]
    assert len(found["equivalents"]) == len(found["sizes"])
    assert sorted(path.name for path in place.iterdir()) == NAMES
    assert load_run(place / NAMES[0], make_registry()).config.generator.name == "direct"
    written = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    other = hf.train("digits", {**PERCEPTRON, "trainer.steps": 3, "trainer.seed": 1}, out=tmp_path / "other")
    again = analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    same = [{key: row[key] for key in row if key not in ("difference", "interval")} for row in found["references"]]
    assert [{**row, **one} for row, one in zip(again["references"], same, strict=True)] == again["references"]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == written
    analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place), "rate": 0.5, "networks": [2]})
    assert sorted(path.name for path in place.iterdir()) == [NAMES[0], NAMES[0].replace("0.01", "0.5"), NAMES[1]]


def test_networks_of_the_reference_are_independent(run, tmp_path):
    """No term or prior drives them apart or together, they begin at different weights, and see different images."""
    seen, pass_through = [], Trainer._drawn

    def noting(trainer, name, *sizes, **named):
        found = pass_through(trainer, name, *sizes, **named)
        seen.append(found[0].x)
        return found

    recipe = Recipe(networks=4, steps=1, examples=8, rate=1e-6, averaged=False)
    with mock.patch.object(Trainer, "_drawn", noting):
        with_prior = copy.copy(run)
        with_prior.config = attrs.evolve(run.config, prior=PriorOptions(functions=3))
        reference = deep_ensemble(with_prior, tmp_path / "reference", recipe)
    assert not reference.config.prior.adds
    assert [(choice.name, choice.common.weight) for choice in reference.config.diversity] == [("none", 1.0)]
    assert reference.config.objective.options == Options()
    rows = hf.targets.flatten(reference.experiment.target.spec, reference.sample(4).weights)
    others = ~torch.eye(4, dtype=torch.bool)
    assert float(torch.corrcoef(rows)[others].abs().max()) < 0.2
    (images,) = seen
    assert images.shape[:2] == (4, 8)
    assert not any(torch.equal(images[n], images[m]) for n in range(4) for m in range(n))


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on(run, monkeypatch, tmp_path):
    step, place = Trainer.step, tmp_path / "references"

    def breaking(trainer):
        if trainer.step_count == 4:
            monkeypatch.setattr(Trainer, "step", step)
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", breaking)
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(HyperframeWarning, match="was interrupted; what is done is kept"),
    ):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert load_run(place / NAMES[0], make_registry()).step == 4
    analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert [load_run(place / name, make_registry()).step for name in NAMES] == [7, 5]


@pytest.mark.slow
def test_a_reference_of_something_else_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="is a run; name the folder that holds"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(run.folder)})
    place = tmp_path / "references"
    other = hf.train("digits", {**PERCEPTRON, "target.hidden": [5], "trainer.steps": 2}, out=tmp_path / "other")
    analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    elsewhere = r"name another folder with deep_ensemble\.reference=FOLDER"
    with pytest.raises(RunError, match=f"of another target.*; {elsewhere}"), unmeasured():
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place), "budget": 119})
    (place / NAMES[0]).rename(place / NAMES[0].replace("_7_", "_6_"))
    with pytest.raises(RunError, match=r"trainer.steps=7 and not 6; remove it, or name"):
        analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place), "budget": 96})


def test_a_file_is_no_folder_of_references(run, tmp_path):
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(RunError, match=r"deep_ensemble\.reference: .*file is a file; name a folder"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})


def test_a_rate_that_is_too_high_is_named(run, tmp_path, monkeypatch):
    options = {**QUICK, "reference": str(tmp_path / "references"), "rate": 9}

    def not_finite(*parts, **named):
        raise TrainingError("not finite")

    monkeypatch.setattr(baseline, "train_run", not_finite)
    with pytest.raises(TrainingError, match=r"2 networks with deep_ensemble\.rate=9 could not be trained.*not finite"):
        analyse(run, "deep_ensemble", make_registry(), options)


@pytest.mark.slow
def test_a_module_that_was_handed_over(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("target")}
    run = hf.train("digits", {**settings, "trainer.steps": 2}, module=module, out=tmp_path / "run")
    for _ in range(2):  # the second time the references are read
        assert len(analyse(run, "deep_ensemble", make_registry(), QUICK)["references"]) == 2


def of_part(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))


def same_constants(one, other):
    here, there = one.experiment.target.constants(), without_prior(other.experiment.target.constants())
    return bool(here) and here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is gone:hyperframe.errors.HyperframeWarning")
@pytest.mark.parametrize("kept", ["file", "module"])
def test_references_keep_what_the_run_keeps(tmp_path, kept):
    """The file of trained weights may be gone, and a module that is handed over again may have other weights."""
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("target")}
    settings |= {"trainer.steps": 2, "prior.functions": 2}
    weights = None if kept == "module" else tmp_path / "trained.safetensors"
    if weights is not None:
        save_file({name: value for name, value in of_part().state_dict().items() if name.startswith("1")}, weights)
    own = {"module": of_part(3), "generate": ["3"], "weights": weights}
    trained = hf.train("digits", settings, **own, out=tmp_path / "run")
    if weights is not None:
        weights.unlink()
    run = hf.load(trained.folder, module=of_part(1))
    recipe = of_budget(120, 2, 8, 0.01, averaged=False)
    with pytest.warns(HyperframeWarning, match="trained.safetensors is gone") if weights else nullcontext():
        reference = deep_ensemble(run, tmp_path / "reference", recipe)
    assert same_constants(reference, run)
    assert same_constants(deep_ensemble(run, tmp_path / "reference", recipe), run)  # as it is read
    shutil.rmtree(tmp_path / "reference" / "checkpoints")
    with pytest.warns(HyperframeWarning, match="it starts anew"):
        assert same_constants(deep_ensemble(run, tmp_path / "reference", recipe), run)


@pytest.mark.slow
def test_references_that_would_begin_at_a_file_that_is_gone_are_refused(tmp_path):
    """Where all is generated nothing is kept, and references without trained weights would be no match."""
    file = tmp_path / "trained.safetensors"
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
    modes = {"name": "modes", "modes": 2, "extractor": [6], "weight_generators": [5]}
    module = of_part()
    save_file(module.state_dict(), file)
    settings = {key: value for key, value in settings.items() if not key.startswith("target")}
    settings |= {"generator": modes, "diversity": "none", "trainer.steps": 2}
    run = hf.train("digits", settings, module=module, weights=file, out=tmp_path / "run")
    file.unlink()
    with pytest.raises(RunError, match="there is no file"):
        deep_ensemble(run, tmp_path / "reference", of_budget(120, 2, 8, 0.01, averaged=False))
    assert not (tmp_path / "reference").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "generator",
    [{"name": "direct", "networks": 4}, {"name": "modes", "modes": 2, "extractor": [6], "weight_generators": [5]}],
    ids=["direct", "modes"],
)
def test_runs_of_other_generators(tmp_path, generator):
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
    settings |= {"generator": generator, "diversity": "none", "trainer.steps": 2}
    run = hf.train("digits", settings, out=tmp_path / "run")
    found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "draws": 2})
    assert found["sizes"][-1] == 4
    assert len(found["references"][0]["interval"]) == 2


def test_a_run_that_was_only_begun_is_no_reference(run, tmp_path):
    """It is refused, and its training is not finished."""
    place = tmp_path / "begun" / NAMES[0]
    shutil.copytree(run.folder, place)
    shutil.rmtree(place / "checkpoints")
    with pytest.raises(RunError, match="it must be 'direct'"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place.parent)})
    assert not (place / "checkpoints").exists()


def compared(low, high):
    best = {"networks": 4, "calibrated_nll": 0.03, "interval": [low, high]}
    return {"references": [{}, best], "best": 1, "ensembles": {"calibrated_nll": [0.5, 0.025]}}


@pytest.mark.parametrize(
    ("low", "high", "verdict", "advised"),
    [(-0.02, -0.001, "is ahead of", False), (-0.02, 0.001, "is level with", False), (0.001, 0.02, "is behind", True)],
)
def test_whether_it_was_worth_its_training(low, high, verdict, advised):
    sentence = conclusions.comparison(compared(low, high))
    assert sentence.startswith(f"It {verdict} the best deep ensemble of the same cost (4 networks): ")
    ends = f"{low:+.4f} to {high:+.4f}".replace("-", conclusions.MINUS)
    assert sentence.endswith(f"0.0250 and 0.0300 nats, difference {ends}.")
    assert ("generator.networks=4" in conclusions.advice(compared(low, high))) is advised
