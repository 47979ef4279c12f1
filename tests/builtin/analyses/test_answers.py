"""Answers to test examples: how they are measured, what is concluded, and how examples are shown."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.analysis.scoring import predict
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.answers import class_conclusions, value_conclusions
from hyperframe.builtin.analyses.answers.asked import Asked
from hyperframe.builtin.analyses.answers.classes import measure_classes
from hyperframe.errors import NotApplicableError
from hyperframe.tasks.calibration import auroc, calibration_error, reliability

FEW = settings(max_examples=25)
NAMES = ["cat", "dog", "owl"]


def answered(**changes):
    """The results of 200 answers, 20 of them wrong, that are 90 % sure."""
    return {
        "examples": 200,
        "networks": 10,
        "accuracy": 0.9,
        "confidence": 0.9,
        "ece": 0.01,
        "wrong": 20,
        "frequent": {"class": 1, "share": 0.4},
        "auroc": {"entropy": 0.95, "mutual_information": 0.9},
        "mistakes": [{"label": 0, "answer": 2, "count": 15}, {"label": 1, "answer": 0, "count": 5}],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "20 of 200 answers of the ensemble are wrong; “cat” is most often taken for “owl” (15 times)."),
        (
            {"wrong": 1, "mistakes": [{"label": 0, "answer": 2, "count": 1}]},
            "1 of 200 answers of the ensemble is wrong; “cat” is taken for “owl” (once).",
        ),
        ({"wrong": 0, "mistakes": []}, "No answer of the ensemble is wrong."),
    ],
)
def test_accuracy_is_told_beside_the_most_frequent_class(changes, end):
    sentence = class_conclusions.baseline(answered(**changes), NAMES)
    assert sentence == f"Always answering “dog”, the most frequent class, gives 40.00 %. {end}"


@pytest.mark.parametrize(
    ("value", "wrong", "words"),
    [
        (0.95, 20, "well (AUROC 0.950, by chance 0.5)."),
        (0.8, 20, "somewhat (AUROC 0.800, by chance 0.5)."),
        (0.55, 20, "hardly (AUROC 0.550, by chance 0.5)."),
        (0.95, 2, "well (AUROC 0.950, by chance 0.5; of 2 wrong and 198 right answers only)."),
        (0.95, 197, "well (AUROC 0.950, by chance 0.5; of 197 wrong and 3 right answers only)."),
        (None, 0, "All 200 answers are right, so that"),
        (None, 200, "All 200 answers are wrong, so that"),
    ],
)
def test_whether_uncertainty_tells_mistakes(value, wrong, words):
    found = answered(wrong=wrong, auroc={"entropy": value, "mutual_information": value})
    assert words in class_conclusions.detection(found)


@pytest.mark.parametrize(
    ("accuracy", "confidence", "words", "advised"),
    [
        (0.9, 0.92, "Its confidence fits: 92.00 % sure on average and right on 90.00 %", False),  # within 2 · 2.1 %
        (0.9, 0.95, "It is too sure of itself: 95.00 % sure", True),
        (0.9, 0.8, "It is less sure than it could be: 80.00 % sure", False),
        (1.0, 0.995, "Its confidence fits", False),
        (1.0, 0.9, "It is less sure", False),
        (0.0, 0.5, "It is too sure of itself", True),
    ],
)
def test_whether_confidence_fits(accuracy, confidence, words, advised):
    found = answered(accuracy=accuracy, confidence=confidence)
    assert class_conclusions.confidence(found).startswith(words)
    assert bool(class_conclusions.advice(found)) is advised


def valued(*correlations, coverage=0.9, examples=100, of_likelihood=True):
    one = {"rmse": 3.0, "baseline": 6.0}
    return {
        "examples": examples,
        "of_likelihood": of_likelihood,
        "levels": [0.5, 0.9],
        "coverage": [0.5, coverage],
        "values": [{**one, "rank_correlation": value} for value in correlations],
    }


def test_errors_are_told_beside_the_mean_of_the_labels():
    assert value_conclusions.baseline(valued(0.5)).endswith("of 6, the ensemble 3: it explains 75 % of the variance.")
    found = valued(0.5, 0.5)
    found["values"][1]["rmse"] = 6.0
    assert value_conclusions.baseline(found).endswith(
        "explains 38 % of the variance, in the mean over 2 values (0 to 75 %)."
    )


@pytest.mark.parametrize(
    ("coverage", "verdict", "advised"),
    [(0.95, "fit", False), (0.85, "fit", False), (0.83, "are too narrow", True), (0.97, "are too wide", False)],
)
def test_whether_intervals_fit(coverage, verdict, advised):
    """Of 100 examples the standard error is 3 %."""
    found = valued(0.5, coverage=coverage)
    assert value_conclusions.intervals(found).startswith(f"Its deviations {verdict}: intervals that should hold 90 %")
    assert bool(value_conclusions.advice(found)) is advised


def test_deviations_between_the_networks_alone_are_called_so():
    found = valued(0.5, coverage=0.3, of_likelihood=False)
    assert "which are those between the networks alone, are too narrow" in value_conclusions.intervals(found)
    assert "a task with a likelihood knows the noise" in value_conclusions.advice(found)
    assert "likelihood" not in value_conclusions.advice({**found, "of_likelihood": True})


@pytest.mark.parametrize(
    ("correlations", "words"),
    [
        ([0.5], "its errors are larger (rank correlation 0.50, by chance up to 0.20)."),
        ([-0.5], "its errors are smaller (rank correlation −0.50"),
        ([0.1], "its errors are neither larger nor smaller"),
        ([0.5, None, -0.5], "neither larger nor smaller (rank correlation 0.00"),
    ],
)
def test_whether_errors_are_larger_where_the_deviation_is(correlations, words):
    assert words in value_conclusions.larger_errors(valued(*correlations))


def test_nothing_is_said_of_deviations_that_do_not_vary():
    assert value_conclusions.larger_errors(valued(None)) == ""


@FEW
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_auroc_is_the_share_of_pairs_in_order(rows):
    own = [score for score, positive in rows if positive]
    others = [score for score, positive in rows if not positive]
    pairs = [(a > b) + 0.5 * (a == b) for a in own for b in others]
    found = auroc(torch.tensor([score for score, _ in rows]).double(), torch.tensor([one for _, one in rows]))
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@FEW
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_bins_of_the_diagram_have_the_calibration_error(rows):
    confidence = torch.tensor([one for one, _ in rows], dtype=torch.float64)
    right = torch.tensor([one for _, one in rows]).double()
    bins = reliability(confidence, right)
    assert sum(one["examples"] for one in bins) == len(rows)
    gaps = sum(one["examples"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / len(rows)
    assert gaps == pytest.approx(float(calibration_error(confidence, right)), abs=1e-12)


@pytest.fixture(scope="module")
def images(learnt):
    return learnt, analyse(learnt, "answers", make_registry(), {"networks": 4})


def test_answers_are_those_of_the_mean_probabilities(images):
    run, found = images
    data = run.data("test")
    predicted = predict(run.sample(4), data.x, 0)
    answers, entropy = predicted.mean.argmax(-1), predicted.total
    wrong = [n for n, (a, b) in enumerate(zip(answers.tolist(), data.y.tolist(), strict=True)) if a != b]
    assert found["wrong"] == len(wrong) > 0
    assert found["accuracy"] == pytest.approx(1 - len(wrong) / len(data))
    counted = torch.zeros(10, 10, dtype=torch.int64)
    for label, answer in zip(data.y.tolist(), answers.tolist(), strict=True):
        counted[label, answer] += 1
    assert found["confusion"] == counted.tolist()
    off = {(i, j): int(counted[i, j]) for i in range(10) for j in range(10) if i != j}
    assert found["mistakes"][0]["count"] == max(off.values())
    assert all(off[one["label"], one["answer"]] == one["count"] for one in found["mistakes"])
    least = [one["example"] for one in found["least_certain"]]
    assert least == entropy.argsort(descending=True, stable=True)[:12].tolist()
    worst = [one["example"] for one in found["worst"]]
    assert set(worst) <= set(wrong)
    assert worst == sorted(wrong, key=lambda n: -float(predicted.mean[n].max()))[:12]
    share = torch.bincount(run.data("train").y).argmax()
    assert found["frequent"]["share"] == pytest.approx(float((data.y == share).double().mean()))


def test_the_most_frequent_class_is_that_of_the_training_split(learnt):
    data = learnt.data("test")
    asked = Asked(
        data=data,
        numbers=torch.arange(len(data)),
        trained=torch.tensor([7, 7, 2]),
        task=learnt.experiment.task,
        shown=2,
    )
    found = measure_classes(learnt.sample(2), asked)
    assert found["frequent"] == {"class": 7, "share": pytest.approx(float((data.y == 7).double().mean()))}


def test_images_are_shown_as_pictures_and_answer_the_questions(images):
    run, found = images
    files = [one["file"] for one in found["pictures"]]
    assert files == ["confusion.png", "reliability.png", "least-certain.png", "wrong.png"]
    assert all((run.folder / "analyses" / "answers" / file).is_file() for file in files)
    assert found["tables"] == []
    told = {one["question"]: one.get("picture", {}).get("file") for one in reversed(found["conclusions"])}
    assert told["quality"] == "confusion.png"
    assert told["uncertainty"] == "reliability.png"


def test_examples_have_their_numbers_in_the_split_and_inputs_that_are_no_images_are_a_table(tmp_path):
    x, y = torch.randn(600, 10, generator=torch.Generator().manual_seed(0)), torch.arange(600) % 3
    run = hf.train(overrides={**PERCEPTRON, "trainer.steps": 3}, data=(x, y), out=tmp_path / "run")
    found = analyse(run, "answers", make_registry(), {"examples": 20, "shown": 4})
    assert found["examples"] == 20
    first = found["tables"][0]
    assert first["columns"] == ["example", "label", "answer", "confidence", "entropy", *(f"x{n}" for n in range(8))]
    assert first["caption"].endswith("The first 8 of 10 inputs are shown.")
    assert len(first["rows"]) == 4
    test = run.data("test")
    for row in first["rows"]:
        assert row[5:] == pytest.approx(test.x[row[0]][:8].tolist())
        assert row[1] == str(int(test.y[row[0]]))
    assert [one["file"] for one in found["pictures"]] == ["confusion.png", "reliability.png"]


@pytest.fixture(scope="module")
def valuing(tmp_path_factory):
    settings = {"trainer.steps": 20, "trainer.device": "cpu", "evaluation.test_networks": 5}
    return hf.train("diabetes", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_values_are_compared_with_labels(valuing):
    found = analyse(valuing, "answers", make_registry())
    data, nets = valuing.data("test"), valuing.sample(5)
    summary = nets.summary(data.x)
    errors = (data.y - summary["mean"]).double()
    assert found["values"][0]["rmse"] == pytest.approx(valuing.evaluate()["ensemble"]["rmse"], rel=1e-5)
    always = data.y.double() - valuing.data("train").y.double().mean(0)
    assert found["values"][0]["baseline"] == pytest.approx(float(always.square().mean().sqrt()), rel=1e-6)
    assert found["of_likelihood"] is True
    reach = summary["predictive_std"].double() * 1.6448536
    at = found["levels"].index(0.9)
    assert found["coverage"][at] == pytest.approx(float((errors.abs() <= reach).double().mean()))
    assert found["coverage"] == sorted(found["coverage"])
    largest = int(errors.abs().argmax())
    assert found["worst"][0]["example"] == largest
    assert found["worst"][0]["label"] == pytest.approx([float(data.y[largest])])
    assert [one["title"] for one in found["tables"]] == ["The least certain examples", "The largest errors"]
    assert {one["question"] for one in found["conclusions"]} >= {"quality", "uncertainty"}


@pytest.mark.parametrize("values", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_several_values_have_panels(tmp_path, values):
    x = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    y = x.flatten(1)[:, :values] ** 2
    run = hf.train(overrides={**PERCEPTRON, "trainer.steps": 3}, data=(x, y), out=tmp_path / "run")
    found = analyse(run, "answers", make_registry())
    assert len(found["values"]) == values
    assert found["of_likelihood"] is False
    assert [one["file"] for one in found["pictures"]][-2:] == ["least-certain.png", "wrong.png"]
    assert not math.isnan(found["values"][0]["rmse"])


def test_a_task_with_neither_is_left_out(tmp_path):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    run = hf.train("toy", settings, out=tmp_path / "toy")
    with pytest.raises(NotApplicableError, match="task 'gaussian_mixture' of run toy has neither"):
        analyse(run, "answers", make_registry())
