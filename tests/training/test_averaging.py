"""Tail averaging: which steps are averaged, what becomes of running moments, and runs that are paused or extended."""

import copy
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.errors import HyperframeWarning, RunError
from hyperframe.experiment.build import build_experiment
from hyperframe.runs.checkpoints import newest_checkpoint, read_checkpoint, write_checkpoint
from hyperframe.runs.metrics_log import read_metrics
from hyperframe.runtime.rng import stream
from hyperframe.training.averaging import PASSES, TailAverage
from hyperframe.training.trainer import Trainer

TAIL = {"trainer.average_tail": 0.5, "trainer.rate": 1e-2}


def trainer_of(small, **changes):
    experiment = build_experiment(load_config("digits_hypernetwork", {**small.settings, **changes}, make_registry()))
    return Trainer(experiment, experiment.task.data("train"))


def copies(trainer):
    return [value.detach().double().clone() for value in trainer.parameters]


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.floats(0.01, 1))
def test_the_average_is_the_mean_of_the_last_part(values, part):
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    average = TailAverage([parameter], part, len(values))
    for step, value in enumerate(values):
        with torch.no_grad():
            parameter.fill_(value)
        average.update(step)
    average.take_over(hf.Generator(None, 1), networks=2, seed=0)
    first = (1 - Fraction(repr(part))) * len(values)  # of the part that is written
    tail = [value for step, value in enumerate(values) if step >= first] or values[-1:]
    assert parameter.tolist() == pytest.approx([sum(tail) / len(tail)] * 2)
    assert average.tensors() == {}


def test_the_last_step_leaves_the_averages_and_no_other_step_is_changed(small):
    plain, averaged = trainer_of(small), trainer_of(small, **{**TAIL, "trainer.rate": plain_rate(small)})
    seen = []
    for step in range(6):
        plain.step()
        averaged.step()
        seen.append(copies(plain))
        assert all(map(torch.equal, seen[-1], copies(averaged))) is (step < 5)
    for number, value in enumerate(copies(averaged)):
        mean = torch.stack([one[number] for one in seen[3:]]).mean(0)
        torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-7)
    for name, own in averaged.streams.items():
        assert torch.equal(own.get_state(), plain.streams[name].get_state())
    assert not any(name.startswith("average") for name in {**plain.tensors(), **averaged.tensors()})


def plain_rate(small):
    return load_config("digits_hypernetwork", small.settings, make_registry()).trainer.rate


def test_running_moments_are_estimated_for_the_averages(small):
    trainer = trainer_of(small, **TAIL)
    generator = trainer.experiment.generator.train()
    for _ in range(6):
        trainer.step()
    assert generator.training
    other, rng = copy.deepcopy(generator), stream(0, "moments of averages")
    norm = next(module for module in other.modules() if isinstance(module, nn.BatchNorm1d))
    own = next(module for module in generator.modules() if isinstance(module, nn.BatchNorm1d))
    assert own.momentum == 0.02
    means, variances = [], []

    def note(module, inputs):
        means.append(inputs[0].double().mean(0))
        variances.append(inputs[0].double().var(0))

    norm.register_forward_pre_hook(note)
    with torch.no_grad():
        for _ in range(PASSES):
            other(other.latent(4, rng))
    torch.testing.assert_close(own.running_mean.double(), torch.stack(means).mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(own.running_var.double(), torch.stack(variances).mean(0), rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_the_last_validation_and_checkpoint_are_of_the_averages(tmp_path, small):
    settings = {"trainer__average_tail": 0.5, "trainer__rate": 1e-2, "evaluation__examples": 10**6}
    run = small(tmp_path / "run", **settings)
    raw = small(tmp_path / "raw", **{**settings, "trainer__average_tail": None})
    assert all(torch.equal(a, b) for a, b in zip(*(at(each, 3) for each in (run, raw)), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(*(at(each, 6) for each in (run, raw)), strict=True))
    (last,) = [line["validation"] for line in read_metrics(run.folder) if "validation" in line and line["step"] == 6]
    found = hf.load(run.folder, device="cpu").evaluate(5, "validation")
    assert found["nll"] == last["nll"]


def at(run, step):
    found, names = read_checkpoint(run.folder, step), dict(run.experiment.generator.named_parameters())
    return [value for name, value in sorted(found.generator().items()) if name in names]


@pytest.mark.slow
def test_an_extended_run_goes_on_from_the_averages(tmp_path, small, monkeypatch):
    """The further steps, all in the longer run's tail, are averaged anew."""
    run = small(tmp_path / "run", **{key.replace(".", "__"): value for key, value in TAIL.items()})
    averages = [value.detach().clone() for value in run.experiment.generator.parameters()]
    begun, seen, step, update = [], [], Trainer.step, TailAverage.update

    def noting(trainer):
        begun.append([value.detach().clone() for value in trainer.parameters])
        step(trainer)

    def noting_update(average, step):
        seen.append([value.detach().double().clone() for value in average._parameters])
        update(average, step)

    monkeypatch.setattr(Trainer, "step", noting)
    monkeypatch.setattr(TailAverage, "update", noting_update)
    with pytest.warns(HyperframeWarning, match="6 → 8"):
        run = hf.resume(run.folder, {"trainer.steps": 8})
    assert all(map(torch.equal, begun[0], averages))
    for value, *both in zip(run.experiment.generator.parameters(), *seen, strict=True):
        torch.testing.assert_close(value.detach().double(), sum(both) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("steps", "kept"), [(6, True), (7, True), (20, False)])
def test_averages_that_were_begun_are_kept_inside_the_tail_only(small, steps, kept):
    trainer, longer = trainer_of(small, **TAIL), trainer_of(small, **{**TAIL, "trainer.steps": steps})
    for _ in range(5):
        trainer.step()
    tensors = trainer.tensors()
    assert int(tensors["average"]) == 2
    longer.restore(5, tensors, same_device=True)
    found = longer.tensors()
    assert ("average.0" in found) is kept
    assert not kept or torch.equal(found["average.0"], tensors["average.0"])


@pytest.mark.parametrize("wrong", [{"average.0": torch.zeros(3)}, {"average": torch.tensor(0)}, {"average.0": None}])
def test_averages_that_do_not_fit(tmp_path, small, wrong):
    run = small(tmp_path / "run", trainer__average_tail=0.9, trainer__stop_after=3)
    found = newest_checkpoint(run.folder)
    tensors = {key: value for key, value in {**found.trainer(), **wrong}.items() if value is not None}
    write_checkpoint(run.folder, 3, found.generator(), tensors, found.state)
    with pytest.raises(RunError, match=r"the checkpoint of step 3 does not fit its configuration: .*average"):
        hf.resume(run.folder)
