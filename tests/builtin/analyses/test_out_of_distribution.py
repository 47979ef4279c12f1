"""Telling strange images from others: properties of the measures, known answers, and the analysis."""

import os
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.analysis.scoring import predict
from hyperframe.builtin.analyses.out_of_distribution.detection import detection_rates, make_strange, separation
from hyperframe.errors import NotApplicableError, PluginError
from hyperframe.tasks.calibration import entropy_of

SMALL = {"networks": 4, "images": 40, "singles": 2}
KINDS = ["turned", "inverted", "shuffled", "noise"]
scores = st.lists(st.integers(0, 6), min_size=1, max_size=20).map(lambda values: torch.tensor(values).double())


@settings(max_examples=40)
@given(scores, scores)
def test_figures_are_what_they_say(inside, outside):
    found = separation(inside, outside)
    greater = (outside[:, None] > inside).double() + 0.5 * (outside[:, None] == inside).double()
    assert found["auroc"] == pytest.approx(float(greater.mean()))
    kept = min(value for value in inside.tolist() if (inside <= value).double().mean() >= 0.95 - 1e-9)
    assert found["fpr95"] == pytest.approx(float((outside <= kept).double().mean()))
    assert 0 < found["aupr"] <= 1
    assert separation(3 * inside + 1, 3 * outside + 1) == pytest.approx(found)


def test_perfect_and_constant_scores():
    zeros, ones = torch.zeros(30).double(), torch.ones(10).double()
    assert separation(zeros, ones) == {"auroc": 1, "aupr": 1, "fpr95": 0}
    assert separation(zeros, zeros[:10]) == {"auroc": 0.5, "aupr": 0.25, "fpr95": 1}
    assert separation(ones, zeros)["auroc"] == 0
    assert detection_rates(zeros, ones, [0, 0.5, 1]) == [1, 1, 1]
    assert detection_rates(zeros, zeros, [0, 0.5, 1]) == [0, 0.5, 1]


@settings(max_examples=30)
@given(scores, scores)
def test_the_area_below_the_curve_is_the_auroc(inside, outside):
    rates = [number / 2000 for number in range(2001)]
    curve = detection_rates(inside, outside, rates)
    assert curve == sorted(curve)
    area = float(torch.trapezoid(torch.tensor(curve).double(), torch.tensor(rates).double()))
    assert area == pytest.approx(separation(inside, outside)["auroc"], abs=2e-2)


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 5))
@settings(max_examples=20)
def test_shifts_keep_what_they_should(seed, channels, side):
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(4, channels, side, side, generator=rng, dtype=torch.float64) * 4 - 1
    found = make_strange(x, -1.0, 3.0, rng)
    assert list(found) == KINDS
    for images in found.values():
        assert (images.shape, images.dtype) == (x.shape, x.dtype)
        assert float(images.min()) >= -1
        assert float(images.max()) <= 3
    torch.testing.assert_close(found["turned"].rot90(-1, (-2, -1)), x)
    torch.testing.assert_close(found["inverted"] + x, torch.full_like(x, 2.0))
    # Whole pixels are shuffled: each image holds the same ones.
    for before, after in zip(x.flatten(2), found["shuffled"].flatten(2), strict=True):
        torch.testing.assert_close(before[:, before[0].argsort()], after[:, after[0].argsort()])


def test_images_that_are_not_square_are_not_turned():
    assert list(make_strange(torch.zeros(2, 1, 3, 4), 0.0, 1.0, torch.Generator())) == KINDS[1:]


def test_one_pass_gives_what_all_predictions_do(run):
    networks, x = run.sample(5), run.data("test").x[:30]
    probabilities = networks.predict(x).double()
    found = predict(networks, x, 2)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(found.mean, probabilities.mean(0), **close)
    torch.testing.assert_close(found.singles, probabilities[:2], **close)
    summary = networks.summary(x)
    torch.testing.assert_close(found.total, summary["entropy"].double(), **close)
    torch.testing.assert_close(found.mutual_information, summary["mutual_information"].double(), **close)
    assert len(predict(networks, x, 9).singles) == 5


def test_a_single_network_disagrees_with_nobody(run):
    found = predict(run.sample(1), run.data("test").x[:30], 1)
    assert float(found.mutual_information.max()) < 1e-12
    torch.testing.assert_close(found.total, entropy_of(found.singles[0]))


def test_the_analysis(run, registry):
    found = analyse(run, "out_of_distribution", registry, SMALL)
    assert list(found["kinds"]) == KINDS
    assert (found["networks"], found["examples"], found["skipped"]) == (4, 40, {})
    for results in found["kinds"].values():
        for score in ("entropy", "mutual_information", "single_entropy"):
            assert all(0 <= value <= 1 for value in results[score].values())
    for shares in found["histograms"]["shares"].values():
        assert sum(shares) == pytest.approx(1)
    assert (run.folder / "analyses" / "out_of_distribution" / "entropy.png").is_file()
    assert f"{found['kinds']['turned']['entropy']['auroc']:.3f}" in found["pictures"][0]["caption"]


@pytest.mark.slow
def test_other_tasks(run, registry):
    against = ["digits", "mnist", "image_folder"]
    found = analyse(run, "out_of_distribution", registry, {**SMALL, "images": 360, "against": against})
    assert list(found["kinds"]) == ["digits", *KINDS]
    # The same images in the same order are told apart by nothing.
    assert found["kinds"]["digits"]["entropy"]["auroc"] == 0.5
    # What cannot be had is noted.
    assert found["skipped"]["mnist"] == "its inputs have the shape [1, 28, 28], those of the run [1, 8, 8]"
    assert "needs a folder" in found["skipped"]["image_folder"]
    with pytest.raises(PluginError, match="unknown task 'minst'; did you mean 'mnist'"):
        analyse(run, "out_of_distribution", registry, {**SMALL, "against": ["minst"]})


@pytest.mark.slow
@pytest.mark.data
def test_the_known_partner_is_read_from_the_runs_folder(registry, monkeypatch, tmp_path):
    data, folder = Path(os.environ["HYPERFRAME_DATA"]), tmp_path / "data"
    monkeypatch.delenv("HYPERFRAME_DATA")
    folder.mkdir()
    (folder / "MNIST").symlink_to(data / "MNIST")
    own = {**tiny.PERCEPTRON, "target.input_shape": [1, 28, 28], "task": "mnist", "task.folder": str(folder)}
    run = hf.train("digits", {**own, "trainer.steps": 1, "evaluation.examples": 20}, out=tmp_path / "run")
    found = analyse(run, "out_of_distribution", registry, SMALL)
    assert list(found["kinds"]) == KINDS
    assert "holds no FashionMNIST data" in found["skipped"]["fashion_mnist"]
    (folder / "FashionMNIST").symlink_to(data / "FashionMNIST")
    assert list(analyse(run, "out_of_distribution", registry, SMALL)["kinds"]) == ["fashion_mnist", *KINDS]


def test_what_is_no_image_is_refused(registry, tmp_path):
    x, y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    own = {**tiny.PERCEPTRON, "target.input_shape": [3], "trainer.steps": 1}
    for name, labels, outputs, message in (
        ("classes", y, 3, "it is about images, but inputs of task 'data'"),
        ("values", x[:, :1], 1, "it is about probabilities of one class for each example"),
    ):
        run = hf.train(data=(x, labels), overrides={**own, "target.outputs": outputs}, out=tmp_path / name)
        with pytest.raises(NotApplicableError, match=f"analysis 'out_of_distribution' does not apply: {message}"):
            analyse(run, "out_of_distribution", registry)
