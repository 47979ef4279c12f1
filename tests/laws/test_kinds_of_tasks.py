"""Each analysis and each diversity term runs on each kind of task, or says that it does not apply."""

import numpy as np
import pytest
import tiny
import torch
import wiring
from torch import nn

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.errors import ConfigError, NotApplicableError
from hyperframe.experiment import targets

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)).astype(np.float32)
LABELS = (X[:, :3] + 0.5 * RNG.normal(size=(150, 3)) > 0).astype(int)
SETTINGS = {
    **tiny.GENERATED,
    "trainer.steps": 20,
    "trainer.rate": 1e-2,
    "trainer.shared_examples": 6,
    "generator.latent": 4,
}


class Heads(nn.Module):
    """A network with a head of classes and one of values."""

    def __init__(self):
        super().__init__()
        self.trunk, self.kind, self.size = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 1)

    def forward(self, x):
        hidden = self.trunk(x).relu()
        return {"kind": self.kind(hidden), "size": self.size(hidden)}


def perceptron(outputs):
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, outputs))


KINDS = {
    "places": lambda: (
        "shapes",
        {"task.train": 60, "task.validation": 30, "task.test": 30},
        {"module": nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))},
    ),
    "several labels": lambda: ("digits", {"task.kind": "multi_label"}, {"module": perceptron(3), "data": (X, LABELS)}),
    "heads": lambda: ("digits", {}, {"module": Heads(), "data": (X, {"kind": LABELS[:, 0], "size": X.sum(1)})}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run of each kind, trained when it is first asked for."""
    kept = {}

    def run(kind):
        if kind not in kept:
            config, settings, given = KINDS[kind]()
            out = tmp_path_factory.mktemp("runs") / "run"
            kept[kind] = hf.train(config, {**SETTINGS, **settings}, out=out, **given)
        return kept[kind]

    return run


ANY = {"accuracies", "distillation", "ensembles", "paths", "pca", "plane", "training_curves", "unit_diversity"}
APPLY = {
    "places": {*ANY, "filters", "uncertainty_maps"},
    "several labels": {*ANY, "joint_prediction"},
    "heads": ANY,
}
"""For each kind the analyses that apply to it; those of weights alone, or of losses, scores and metrics, do."""


@pytest.mark.slow
@pytest.mark.parametrize("name", wiring.OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_analysis_runs_or_does_not_apply(trained, registry, tmp_path, kind, name):
    run = trained(kind)
    if name in APPLY[kind]:
        found = wiring.results_of(run, name, registry, tmp_path / "folder")
        assert all(np.isfinite(value) for value in tiny.numbers(found))
    else:
        with pytest.raises(NotApplicableError, match=f"analysis '{name}' does not apply"):
            wiring.results_of(run, name, registry, tmp_path / "folder")


NO_CLASSES = {"disagreement", "output_information"}
TERMS = [entry.component.name for entry in make_registry().all() if entry.kind == "diversity"]


@pytest.fixture(scope="module")
def traced_once():
    """Trace each kind's module once, which takes most of the time of a training in a few steps."""
    known, whole = {}, targets.trace_for

    def trace_for(module, *rest):
        if str(module) not in known:
            known[str(module)] = whole(module, *rest)
        return known[str(module)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "trace_for", trace_for)
        yield


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_term_trains_or_does_not_apply(tmp_path, traced_once, kind, term):
    config, settings, given = KINDS[kind]()
    settings = {**SETTINGS, **settings, "diversity": [term], "trainer.steps": 2}
    if kind == "heads" and term in NO_CLASSES:
        with pytest.raises(ConfigError, match=f"diversity '{term}' needs probabilities of classes"):
            hf.train(config, settings, out=tmp_path / "run", **given)
        return
    run = hf.train(config, settings, out=tmp_path / "run", **given)
    assert all(value.isfinite().all() for value in run.experiment.generator.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_of_classes_sees_each_answer(trained, kind):
    """Disagreement of one network's answers with themselves is that of its own probabilities."""
    task = trained(kind).experiment.task
    outputs = torch.randn(2, 3, *task.output_shape, generator=torch.Generator().manual_seed(0))
    logits = task.class_logits(outputs)
    if kind == "heads":
        assert logits is None
        return
    answers = {"places": 3 * 32 * 32, "several labels": 3 * 3}[kind]
    assert logits.shape == (2, answers, 4 if kind == "places" else 2)
    p = task.predictions(outputs)
    p = p.movedim(2, -1).flatten(1, -2) if kind == "places" else torch.stack([1 - p, p], -1).flatten(1, 2)
    torch.testing.assert_close(logits.softmax(-1), p)
