"""Ensembles as they grow: metrics agree with their definitions in any chunks, and have the right edge values."""

import json
import math

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

from hyperframe.analysis.ensemble_metrics import RULES, GrowthMeter, growing_sizes, spread, temperatures
from hyperframe.analysis.ensembles import ensemble_results
from hyperframe.analysis.runner import analyse
from hyperframe.analysis.scoring import some_examples
from hyperframe.api import make_registry
from hyperframe.errors import NotApplicableError
from hyperframe.tasks.calibration import at_temperature, fit_temperature, results_of

NETWORKS, EXAMPLES, CLASSES = 12, 9, 4
SIZES = [1, 2, 5, 12]


def draw_outputs(seed):
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(NETWORKS, EXAMPLES, CLASSES, generator=rng, dtype=torch.float64)
    return logits, torch.randint(CLASSES, (EXAMPLES,), generator=rng)


def seen(logits, labels, sizes=SIZES, networks=None, examples=None):
    meter = GrowthMeter(len(logits), sizes, labels, logits.shape[-1])
    networks, examples = networks or len(logits), examples or len(labels)
    for first_example in range(0, len(labels), examples):
        for first in range(0, len(logits), networks):
            part = logits[first : first + networks, first_example : first_example + examples]
            meter.update(part, first, first_example)
    return meter


@pytest.mark.slow
@given(st.integers(0, 2**31))
def test_figures_are_those_of_the_first_networks(seed):
    logits, labels = draw_outputs(seed)
    found = seen(logits, labels).ensembles()
    for place, size in enumerate(SIZES):
        p = logits[:size].softmax(-1)
        assert found["mean_probability"][place] == pytest.approx(results_of(p.mean(0), labels))
        votes = torch.nn.functional.one_hot(p.argmax(-1), CLASSES).double().mean(0)
        wanted = results_of(votes, labels)
        assert found["majority"][place] == pytest.approx({key: wanted[key] for key in ("accuracy", "brier", "ece")})
        confident = p[p.amax(-1).argmax(0), torch.arange(EXAMPLES)]
        assert found["most_confident"][place] == pytest.approx(results_of(confident, labels))
        entropy = torch.special.entr(p.mean(0)).sum(-1).mean()
        information = entropy - torch.special.entr(p).sum(-1).mean()
        answers = p.argmax(-1)
        pairs = [(answers[i] != answers[j]).double().mean() for i in range(size) for j in range(size) if i != j]
        assert found["uncertainty"][place] == pytest.approx(
            {
                "entropy": float(entropy),
                "mutual_information": max(float(information), 0.0),
                "disagreement": float(sum(pairs) / max(len(pairs), 1)),
            },
            abs=1e-9,
        )


@given(st.integers(0, 2**31))
def test_figures_of_single_networks_are_those_of_each(seed):
    logits, labels = draw_outputs(seed)
    singles = seen(logits, labels).singles()
    for number, own in enumerate(logits.softmax(-1)):
        assert {name: float(values[number]) for name, values in singles.items()} == pytest.approx(
            results_of(own, labels)
        )


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, NETWORKS), st.integers(1, EXAMPLES))
def test_chunks_change_nothing(seed, networks, examples):
    logits, labels = draw_outputs(seed)
    whole, pieces = seen(logits, labels), seen(logits, labels, networks=networks, examples=examples)
    for rule, results in whole.ensembles().items():
        for one, other in zip(results, pieces.ensembles()[rule], strict=True):
            assert one == pytest.approx(other, abs=1e-12)
    for name, values in whole.singles().items():
        torch.testing.assert_close(values, pieces.singles()[name])


@pytest.mark.parametrize("seed", range(5))
def test_torchmetrics_agrees(seed):
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

    logits, labels = draw_outputs(seed)
    mean, found = logits.softmax(-1).mean(0), seen(logits, labels).ensembles()["mean_probability"][-1]
    accuracy = multiclass_accuracy(mean, labels, CLASSES, average="micro")
    error = multiclass_calibration_error(mean.float(), labels, CLASSES, n_bins=15, norm="l1")
    assert found["accuracy"] == pytest.approx(float(accuracy))
    assert found["ece"] == pytest.approx(float(error), abs=1e-5)


@pytest.mark.slow
@given(st.integers(0, 2**31))
def test_the_temperature_is_fitted_to_the_ensemble(seed):
    logits, labels = draw_outputs(seed)
    meter = seen(logits, labels)
    heat = temperatures(meter, labels)
    mean = logits.softmax(-1).mean(0).log()
    assert heat[-1] == pytest.approx(fit_temperature(mean, labels))
    scaled = results_of(at_temperature(mean, heat[-1]), labels)
    found = meter.ensembles(heat)["mean_probability"][-1]
    assert found["calibrated_nll"] == pytest.approx(scaled["nll"])
    assert found["calibrated_nll"] <= found["nll"] + 1e-9


def test_edge_values():
    labels = torch.arange(CLASSES)
    perfect = (1000 * torch.eye(CLASSES)).expand(5, -1, -1)
    constant = torch.zeros(5, CLASSES, CLASSES)
    for logits, right, nll in ((perfect, 1.0, 0.0), (constant, 1 / CLASSES, math.log(CLASSES))):
        meter = seen(logits, labels, [1, 5])
        for rule, results in meter.ensembles(temperatures(meter, labels)).items():
            for figure in results:
                assert all(math.isfinite(value) for value in figure.values())
                if rule in RULES:
                    assert figure["accuracy"] == right
                else:
                    assert figure["disagreement"] == 0.0
                    assert figure["mutual_information"] == pytest.approx(0.0, abs=1e-12)
        assert meter.ensembles()["mean_probability"][-1]["nll"] == pytest.approx(nll)
    alone = seen(perfect[:1], labels, [1])
    assert len({json.dumps(alone.ensembles()[rule][0]["accuracy"]) for rule in RULES}) == 1


def test_memory_of_the_meter_does_not_grow_with_networks_times_items():
    def numbers(networks):
        meter = GrowthMeter(networks, [10, 100], torch.zeros(50, dtype=torch.int64), CLASSES)
        return sum(value.numel() for value in vars(meter).values() if isinstance(value, torch.Tensor))

    assert numbers(1100) - numbers(100) == 1000 * (1 + 3 + 15)


@pytest.mark.parametrize("sizes", [[2, 1], [0, 1], [1, 1], [1, 6], []])
def test_wrong_sizes(sizes):
    with pytest.raises((ValueError, IndexError)):
        GrowthMeter(5, sizes, torch.zeros(3, dtype=torch.int64), 2)


@given(st.integers(1, 100000))
def test_sizes_grow_to_the_largest(largest):
    sizes = growing_sizes(largest)
    assert sizes[-1] == largest
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1


def test_the_spread_of_one_draw_is_zero():
    assert spread([{"accuracy": 0.5}]) == {"accuracy": {"mean": 0.5, "std": 0.0}}


def quick(run, **options):
    return analyse(run, "ensembles", make_registry(), {"draws": 2, "examples": 30, **options})


HELD = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
HELD |= {"generator": "direct", "generator.networks": 4, "diversity": ["none"]}


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [PERCEPTRON, HELD])
def test_the_analysis(tmp_path, chosen):
    import hyperframe as hf

    run = hf.train("digits", {**chosen, "trainer.steps": 3}, out=tmp_path / "run")
    found = quick(run)
    assert (found["sizes"], found["draws"], found["examples"]) == ([1, 2, 4], 2, 30)
    assert found == quick(run)  # the same seeds
    largest = found["ensembles"]["mean_probability"][-1]
    assert largest["calibrated_nll"]["mean"] > 0
    heated = quick(run, validation_examples=20)["ensembles"]["mean_probability"][-1]  # fewer, and another temperature
    assert heated["temperature"] != largest["temperature"]
    assert heated["nll"] == largest["nll"]
    folder = run.folder / "analyses" / "ensembles"
    for picture in found["pictures"]:
        assert (folder / picture["file"]).stat().st_size > 200
        assert picture["caption"].endswith(".")
    test = run.data("test")
    places = torch.tensor([int((test.x == one).flatten(1).all(1).nonzero()[0]) for one in some_examples(test, 30, 0).x])
    assert sorted(places.tolist()) != list(range(30))  # not the first ones, which may be easier than the others
    evaluated = run.evaluate()  # of the same networks, on all examples
    assert quick(run, draws=1, examples=1000)["ensembles"]["majority"][-1]["accuracy"]["mean"] == pytest.approx(
        evaluated["ensemble"]["majority"]
    )


def test_draws_of_two_seeds_have_nothing_in_common(tmp_path):
    import hyperframe as hf

    run = hf.train("digits", {**PERCEPTRON, "trainer.steps": 1}, out=tmp_path / "run")
    seeds, sample, examples = [], run.sample, run.data("test")[:5]
    run.sample = lambda count, seed: seeds.append(seed) or sample(count, seed)
    for seed in (0, 1):
        run.config = attrs.evolve(run.config, evaluation=attrs.evolve(run.config.evaluation, seed=seed))
        for draw in range(3):
            ensemble_results(run, draw, [1, 2], examples, examples)
    assert len(set(seeds)) == 6
    assert (seeds[0], seeds[3]) == (0, 1)  # as `Run.evaluate` draws


def test_a_task_without_metrics_of_ensembles_leaves_no_folder(tmp_path):
    import hyperframe as hf

    few = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.networks": 2, "evaluation.test_networks": 3}
    run = hf.train("toy", few, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'ensembles' does not apply"):
        quick(run)
    assert not (run.folder / "analyses" / "ensembles").exists()
