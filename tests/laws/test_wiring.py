"""The data and networks that analyses and trainings use: which split, which networks, in which gauge.

The helpers of analyses have tests of their own; a right helper that is given the wrong split, weights without their
gauge or the networks of somebody else gives figures that look right. Here data, weights and seeds are changed, and it
is said for every analysis which of its figures may change then, and which must.
"""

import fnmatch

import attrs
import pytest
import tiny
import torch
import wiring
from torch import nn

import hyperframe as hf
from hyperframe.runs.loading import load_run
from hyperframe.runs.metrics_log import read_metrics
from hyperframe.runs.run import Run

COMPARED = [*(f"references/{key}" for key in ("calibrated_nll", "difference", "interval")), "?best", "?flat_from"]
COMPARED += ["?equivalents/*", "ensemble/difference", "?ensemble/equivalent"]
OF_REFERENCES = [*COMPARED, "references/accuracy", "references/network_accuracy"]
OF_NOISE = ["?reach", "?ratio", "?overlap_at_reach", "?verdict"]

SETS = ["ensemble/*", "single/*", "!*/alpha"]
COVERAGES = [f"{who}/*/{what}" for who in ("ensemble", "single") for what in ("coverage", "standard_error", "by_class")]

ANSWERS = [
    "accuracy",
    "?frequent/share",
    "ece",
    "bins/*",
    "wrong",
    "auroc/*",
    "confusion",
    "mistakes/*",
    "worst/*",
    "least_certain/label",
]
OF_CONFIDENCE = ["confidence", "least_certain/*"]

FIGURES_OF_TEST_ITEMS = {
    "accuracies": ["runs/*"],
    "adversarial": ["attacks/*"],
    "answers": ANSWERS,
    "conformal": SETS,
    "corruptions": ["corruptions/*", "mean/*"],
    "deep_ensemble": ["ensembles/*", *OF_REFERENCES],
    "distillation": ["results/*"],
    "ensembles": ["single/*", "ensembles/*", "ensemble/*", "!*/temperature/*"],
    "function_spectrum": [
        "functions/*",
        "share_along_mean",
        "nll/*",
        "logit_lengths",
        "?run_away",
        "ensemble/functions",
    ],
    "joint_prediction": ["joint/*", "marginal/*"],
    "novelty": [
        *("drawn/*", "noised/*", "averaged/*", "levels/*", "correlation/*", *OF_NOISE),
        *("!*/distance", "!*/distance/*", "!*/amplitude"),
    ],
    "paths": ["pairs/*", "paths/*", "!*/relative_length*"],
    "plane": ["score", "loss", "inside/*", "outside/*"],
    "pruning": ["single/*", "ensemble", "?within_a_point/*"],
    "uncertainty_maps": ["accuracy", "iou", "classes/*", "entropy/*", "mutual_information/*"],
}
CALIBRATED = ["single/calibrated_*", "*/calibrated_*", "single/temperature/*", "ensembles/*/temperature/*"]
BY_TEMPERATURE = ["ensembles/calibrated_nll", *COMPARED]
TAUGHT = ["pairs/trained/*", "paths/trained/*"]

MAY_CHANGE = {
    "train images": {  # which give an attack and a corruption their range
        "adversarial": ["attacks/*", "range"],
        "corruptions": ["corruptions/noise/*", "mean/*", "range"],
        "deep_ensemble": OF_REFERENCES,
        "distillation": ["results/distilled network/*"],
        "out_of_distribution": ["*/inverted", "*/inverted/*", "*/noise", "*/noise/*", "ensemble/auroc"],
        "paths": TAUGHT,
    },
    "train labels": {
        "deep_ensemble": OF_REFERENCES,
        "paths": TAUGHT,
    },
    "validation images": {"conformal": SETS, "deep_ensemble": BY_TEMPERATURE, "ensembles": CALIBRATED},
    "validation labels": {"conformal": SETS, "deep_ensemble": BY_TEMPERATURE, "ensembles": CALIBRATED},
    "test images": {
        **FIGURES_OF_TEST_ITEMS,
        "answers": [*ANSWERS, *OF_CONFIDENCE],
        "out_of_distribution": ["mean_entropy", "kinds/*", "histograms/shares/*", "roc/found/*", "ensemble/auroc"],
    },
    "test labels": {
        **FIGURES_OF_TEST_ITEMS,
        "conformal": COVERAGES,
        "ensembles": [*FIGURES_OF_TEST_ITEMS["ensembles"], "!*/uncertainty/*"],
        "function_spectrum": ["nll/*"],
    },
    "scaling and shifts": {  # which the run's gauges fix
        "distillation": ["results/average, *"],
        "paths": ["pairs/direct/*", "paths/direct/*", *TAUGHT],
    },
    "places of units": {  # which no gauge of the run fixes
        "distillation": ["results/average*"],
        "filters": ["layers/*"],
        "function_spectrum": ["weights/*"],
        "novelty": ["noised/*", "levels/*", *OF_NOISE],  # which stays in its place
        "paths": ["pairs/*", "paths/*", "!pairs/interpolated/loss", "!pairs/interpolated/score"],
        "pca": ["series/*"],
        "unit_diversity": ["layers/*/spread", "layers/*/strength"],  # of the units in their places
    },
}
"""For each change the results that it changes; all others stay as they are.

Of a pattern some figure must change; with ? before it none needs to, and with ! none may.
"""

ACTIONS = {"scaling and shifts": ("scaling", "logit_shift"), "places of units": ("permutation",)}
ROUNDING = 1e-9


def check_changes(changed, patterns):
    """Check that all expected results have changed, and no others."""
    needed = [pattern for pattern in patterns if pattern[0] not in "?!"]
    allowed = [pattern.removeprefix("?") for pattern in patterns if not pattern.startswith("!")]
    never = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    assert {path for path in changed if matches(path, never) or not matches(path, allowed)} == set()
    assert [pattern for pattern in needed if not any(matches(path, [pattern]) for path in changed)] == []


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("changed", "patterns"),
    [({"a/b"}, []), ({"a/b"}, ["a/*", "!*/b"]), (set(), ["a/*"]), ({"a/b", "c"}, ["a/*"])],
)
def test_what_should_not_change_is_found(changed, patterns):
    with pytest.raises(AssertionError):
        check_changes(changed, patterns)


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """Perceptrons with BatchNorm, whose networks have statistics."""
    layers = nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10)
    settings = {**tiny.GENERATED, "trainer.steps": 20, "trainer.rate": 1e-2, "evaluation.statistics": 300}
    return hf.train("digits", settings, module=nn.Sequential(*layers), out=tmp_path_factory.mktemp("runs") / "normed")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    return hf.train("toy", settings, out=tmp_path_factory.mktemp("runs") / "toy")


def pixelwise(*norms):
    """A small network that gives each pixel a class."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *norms, nn.ReLU(), nn.Conv2d(4, 4, 1))


SHAPES = {**tiny.GENERATED, "task.train": 60, "task.validation": 40, "task.test": 40}


@pytest.fixture(scope="module")
def segmenting(tmp_path_factory):
    """Networks that give each pixel a class, trained until they give different answers."""
    settings = {**SHAPES, "trainer.steps": 120, "trainer.rate": 3e-2, "gauges": ["scale", "logit_shift"]}
    return hf.train("shapes", settings, module=pixelwise(), out=tmp_path_factory.mktemp("runs") / "shapes")


@pytest.fixture(scope="module")
def segmenting_normed(tmp_path_factory):
    """The same with BatchNorm."""
    settings = {**SHAPES, "trainer.steps": 20, "trainer.rate": 1e-2, "evaluation.statistics": 300}
    module = pixelwise(nn.BatchNorm2d(4))
    return hf.train("shapes", settings, module=module, out=tmp_path_factory.mktemp("runs") / "normed")


@pytest.fixture(scope="module")
def exact(learnt, segmenting, registry):
    """The runs that have learnt, in float64, in which symmetries hold to rounding."""
    runs = {
        "learnt": load_run(learnt.folder, registry, "cpu"),
        "segmenting": hf.load(segmenting.folder, module=pixelwise(), device="cpu"),
    }
    for run in runs.values():
        run.experiment.generator.double()
        run.experiment.target.to("cpu", torch.float64)
    return runs


APPLY = {"toy_curve": "toy", "uncertainty_maps": "segmenting"}
"""Runs to which analyses apply that do not apply to classes of examples."""


@pytest.fixture
def run(request, name):
    """Return a run to which an analysis applies."""
    return request.getfixturevalue(APPLY.get(name, "learnt"))


@pytest.fixture
def with_norms(request, name):
    """Return a run to which an analysis applies, of networks with BatchNorm."""
    return request.getfixturevalue("segmenting_normed" if APPLY.get(name) == "segmenting" else "normed")


@pytest.fixture(scope="module")
def found(registry, tmp_path_factory):
    """Return an analysis' results and the networks that it runs; they are kept, since many tests ask for them."""
    kept = {}

    def results(name, run):
        if (name, id(run)) not in kept:
            with wiring.Spy().watching() as spy:
                results = wiring.results_of(run, name, registry, tmp_path_factory.mktemp(name) / "folder")
            kept[name, id(run)] = results, spy
        return kept[name, id(run)]

    return results


TRAINS = ("deep_ensemble",)
every_analysis = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in TRAINS else []) for name in wiring.OPTIONS]
)


def test_all_analyses_are_here(registry):
    shipped = [entry for entry in registry.all() if entry.kind == "analysis"]
    assert {entry.component.name for entry in shipped if entry.source.distribution == "hyperframe-nn"} == set(
        wiring.OPTIONS
    )
    assert all(set(MAY_CHANGE[change]) <= set(wiring.OPTIONS) for change in MAY_CHANGE)


@every_analysis
def test_one_seed_gives_the_same_figures(run, found, registry, tmp_path, name):
    assert not wiring.differences(found(name, run)[0], wiring.results_of(run, name, registry, tmp_path / "again"))


@every_analysis
@pytest.mark.parametrize("change", wiring.CHANGES)
def test_data_changes_what_it_should(run, found, registry, tmp_path, name, change):
    with wiring.change_data(run, change):
        other = wiring.results_of(run, name, registry, tmp_path / "other")
    check_changes(wiring.differences(found(name, run)[0], other), MAY_CHANGE[change].get(name, []))


@every_analysis
@pytest.mark.parametrize("change", ACTIONS)
def test_symmetries_change_what_they_should(run, exact, found, registry, tmp_path, name, change):
    run = exact.get(APPLY.get(name, "learnt"), run)
    with wiring.move_networks(run, ACTIONS[change]):
        other = wiring.results_of(run, name, registry, tmp_path / "other")
    changed = wiring.differences(found(name, run)[0], other, ROUNDING)
    check_changes(changed, MAY_CHANGE[change].get(name, []))


OF_WEIGHTS = ("filters", "pca", "toy_curve", "unit_diversity")
RUNS_NETWORKS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in TRAINS else [])
    for name in wiring.OPTIONS
    if name not in (*OF_WEIGHTS, "training_curves")
]
"""All analyses but those of weights, and of what the training wrote, alone."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS_NETWORKS)
def test_nothing_is_learnt_from_test_items(with_norms, found, registry, tmp_path, name):
    """Weights and statistics of all networks that run: the drawn ones, students, curves, references."""
    before = found(name, with_norms)[1].networks
    changes = [change for change in wiring.CHANGES if not change.startswith("train")]
    with wiring.change_data(with_norms, *changes), wiring.Spy().watching() as spy:
        wiring.results_of(with_norms, name, registry, tmp_path / "other")
    assert before == spy.networks


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS_NETWORKS)
def test_statistics_are_those_of_training_images(with_norms, found, registry, tmp_path, name):
    before = found(name, with_norms)[1].networks
    with wiring.change_data(with_norms, "train images"), wiring.Spy().watching() as spy:
        wiring.results_of(with_norms, name, registry, tmp_path / "other")
    assert not before & spy.networks
    assert before


@pytest.mark.parametrize("name", RUNS_NETWORKS)
def test_another_seed_draws_other_networks(run, found, registry, tmp_path, name):
    before = found(name, run)[1].networks
    config = attrs.evolve(run.config, evaluation=attrs.evolve(run.config.evaluation, seed=17))
    with wiring.Spy().watching() as spy:
        wiring.results_of(
            Run(run.folder, config, run.step, run.experiment, run.registry),
            name,
            registry,
            tmp_path / "other",
        )
    # References are trained by the seed of the training, once for the last weights and once for averages.
    trained = 2 * sum(wiring.OPTIONS[name]["networks"]) if name == "deep_ensemble" else 0
    assert len(before & spy.networks) == trained


@pytest.fixture(scope="module")
def trained(learnt, tmp_path_factory):
    """Return parameters and validation metrics of a short training on changed data; each is done once."""
    kept = {}
    settings = {"target": "mlp", "target.hidden": [6], **tiny.CHECKED}

    def outcome(change=None):
        if change not in kept:
            with wiring.change_data(learnt, *([change] if change else [])):
                run = hf.train("digits", settings, out=tmp_path_factory.mktemp("trained") / "run")
            parameters = torch.cat([value.detach().flatten() for value in run.experiment.generator.parameters()])
            validations = [line["validation"] for line in read_metrics(run.folder) if "validation" in line]
            assert len(validations) == 2
            kept[change] = parameters, validations
        return kept[change]

    return outcome


@pytest.mark.parametrize("change", wiring.CHANGES)
def test_training_learns_from_training_items_and_validates_on_others(trained, change):
    """So a checkpoint is chosen by validation examples, and test examples have no part in it."""
    (before, results), (after, others) = trained(), trained(change)
    assert torch.equal(before, after) is not change.startswith("train")
    assert (results == others) is change.startswith("test")
