"""Promises of tasks beyond the laws of their kind: the base classes, the meters, and the data's splits."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.config.kinds import check_component
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import DataError, PluginError
from hyperframe.metrics import validation_score
from hyperframe.options import read_options
from hyperframe.tasks.classification import ClassificationMeter, ClassificationTask
from hyperframe.tasks.regression import RegressionMeter, RegressionTask
from hyperframe.types import Task

# Images; of a user's own files see test_own_data.py, of values test_diabetes.py.
SIZES = {"digits": (1197, 240, 360), "mnist": (55_000, 5_000, 10_000), "fashion_mnist": (55_000, 5_000, 10_000)}
TASKS = [entry for entry in Registry(make_plugin_manager()).all() if entry.kind == "task"]


def build(name, **options):
    component = next(entry.component for entry in TASKS if entry.component.name == name)
    return component.factory(read_options(component.options, options, "task"))


@pytest.fixture(params=SIZES)
def task(request):
    return build(request.param)


@pytest.mark.data
def test_splits(task):
    splits = {name: task.data(name) for name in ("train", "validation", "test")}
    assert tuple(len(data) for data in splits.values()) == SIZES[task.name]
    for data in splits.values():
        assert data.x.shape[1:] == task.input_shape
        assert data.x.dtype == torch.float32
        assert (float(data.x.min()), float(data.x.max())) == (0, 1)
        assert data.y.unique().tolist() == list(range(10))
        assert len(data.x) == len(data.y)


def test_digits_splits_share_no_image():
    task = build("digits", split_seed=5)
    images = torch.cat([task.data(name).x for name in ("train", "validation", "test")]).flatten(1)
    from sklearn.datasets import load_digits

    everything = torch.from_numpy(load_digits().data).float() / 16
    assert torch.equal(images.sum(0), everything.sum(0))
    assert len(images) == len(everything)
    assert sorted(images.sum(1).tolist()) == sorted(everything.sum(1).tolist())


def test_the_split_is_the_same_every_time_and_follows_its_seed():
    first, again, other = build("digits"), build("digits"), build("digits", split_seed=1)
    assert torch.equal(first.data("test").x, again.data("test").x)
    assert not torch.equal(first.data("test").x, other.data("test").x)


def test_a_folder_without_the_data(tmp_path, monkeypatch):
    monkeypatch.delenv("HYPERFRAME_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        build("mnist", folder=str(tmp_path)).data("train")
    for part in (str(tmp_path), "task.folder", "HYPERFRAME_DATA", "task.download=true"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_where_mnist_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HYPERFRAME_DATA", str(tmp_path))
    assert build("mnist").originals.folder == tmp_path
    assert str(build("mnist", folder="/elsewhere").originals.folder) == "/elsewhere"
    monkeypatch.delenv("HYPERFRAME_DATA")
    assert build("mnist").originals.folder.parts[-3:] == (".cache", "hyperframe", "data")


def test_damaged_data_is_said_to_be_damaged(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x05\x01")
    with pytest.raises(DataError, match="images-idx3-ubyte is damaged, or not the original"):
        build("mnist", folder=str(tmp_path)).data("test")


@pytest.mark.data
def test_mnist_is_read_as_torchvision_reads_it():
    from torchvision.datasets import MNIST

    test = build("mnist").data("test")
    image, label = MNIST(os.environ["HYPERFRAME_DATA"], train=False)[77]
    assert label == int(test.y[77])
    assert torch.equal(test.x[77, 0], torch.from_numpy(np.array(image)).float() / 255)


def reference(logits, labels):
    """The meter's figures, computed the plain way."""
    answers = logits.argmax(-1)
    accuracy = (answers == labels).double().mean(1)
    votes = torch.stack([(answers == c).sum(0) for c in range(logits.shape[-1])], -1)
    mean = logits.softmax(-1).mean(0)
    pairs = [(answers[i] != answers[j]).double().mean() for i in range(len(answers)) for j in range(i)]
    return {
        "disagreement": torch.stack(pairs).mean() if pairs else torch.tensor(0.0),
        "accuracy": (accuracy.mean(), accuracy.min(), accuracy.max()),
        "majority": (votes.argmax(-1) == labels).double().mean(),
        "mean_probability": (mean.argmax(-1) == labels).double().mean(),
        "nll": -mean.gather(1, labels[:, None]).log().mean(),
    }


@given(
    networks=st.integers(1, 7),
    examples=st.integers(1, 9),
    classes=st.integers(2, 5),
    at_once=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_the_meter_does_not_depend_on_chunks(networks, examples, classes, at_once, seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(networks, examples, classes, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (examples,), generator=draw)
    meter = ClassificationMeter(networks, examples, classes, torch.device("cpu"))
    for first in range(0, networks, at_once):
        for item in range(0, examples, at_once):
            places = slice(item, item + at_once)
            meter.update(logits[first : first + at_once, places], labels[places], first, item)
    found, wanted = meter.result(), reference(logits, labels)
    accuracy = found["accuracy"]
    assert (accuracy["mean"], accuracy["min"], accuracy["max"]) == pytest.approx(tuple(map(float, wanted["accuracy"])))
    assert found["ensemble"]["majority"] == pytest.approx(float(wanted["majority"]))
    assert found["ensemble"]["mean_probability"] == pytest.approx(float(wanted["mean_probability"]))
    assert found["ensemble"]["nll"] == pytest.approx(float(wanted["nll"]))
    assert found["ensemble"]["disagreement"] == pytest.approx(float(wanted["disagreement"]), abs=1e-12)


def test_edge_values_of_the_meter():
    labels = torch.arange(4) % 2
    sure = torch.nn.functional.one_hot(labels, 2) * 1e6
    perfect = ClassificationMeter(1, 4, 2, torch.device("cpu"))
    perfect.update(sure[None].double(), labels, 0, 0)
    assert perfect.result()["accuracy"] == {"mean": 1, "std": 0, "min": 1, "max": 1}
    assert perfect.result()["ensemble"] == {
        "majority": 1,
        "mean_probability": 1,
        "nll": 0,
        "ece": 0,
        "disagreement": 0,
    }
    wrong = ClassificationMeter(1, 4, 2, torch.device("cpu"))
    wrong.update(-sure[None].double(), labels, 0, 0)
    assert wrong.result()["accuracy"]["mean"] == 0
    assert wrong.result()["ensemble"]["nll"] < float("inf")
    assert wrong.result()["ensemble"]["ece"] == 1


def calibration_error(probabilities, labels):
    """The meter's figure of one network with these probabilities [examples, classes]."""
    meter = ClassificationMeter(1, *probabilities.shape, torch.device("cpu"))
    meter.update(probabilities.double().log()[None], labels, 0, 0)
    return meter.result()["ensemble"]["ece"]


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("networks", [1, 4])
def test_the_calibration_error_is_that_of_torchmetrics(classes, networks):
    from torchmetrics.functional.classification import multiclass_calibration_error

    draw = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(networks, 500, classes, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (500,), generator=draw)
    meter = ClassificationMeter(networks, 500, classes, torch.device("cpu"))
    meter.update(logits, labels, 0, 0)
    wanted = multiclass_calibration_error(logits.softmax(-1).mean(0), labels, classes, n_bins=15, norm="l1")
    assert float(wanted) > 0.05
    assert meter.result()["ensemble"]["ece"] == pytest.approx(float(wanted), abs=1e-6)  # it works in float32


def test_edge_values_of_the_calibration_error():
    one = torch.zeros(4, dtype=torch.int64)
    assert calibration_error(torch.ones(4, 1), one) == 0  # a single class: always sure, always right
    # A wrong 1.0 shares the last bin with a right 0.95: their gaps, −1 and 0.05, cancel in part.
    last = calibration_error(torch.tensor([[1.0, 0.0], [0.05, 0.95]]), torch.tensor([1, 1]))
    assert last == pytest.approx(0.95 / 2)
    # 1/3 is the upper edge of a bin, whatever its last digits are; a right 1/3 and a wrong 0.34 are in different bins.
    for shift in (-1e-12, 0, 1e-12):
        rows = torch.tensor([[1 / 3 + shift, 0.3, 0.2, 1 / 6 - shift], [0.34, 0.3, 0.2, 0.16]], dtype=torch.float64)
        assert calibration_error(rows, torch.tensor([0, 1])) == pytest.approx((2 / 3 + 0.34) / 2)


def regression_reference(outputs, labels):
    """The regression meter's figures, computed the plain way."""
    outputs, labels = outputs.double().numpy(), labels.double().numpy()
    squares = ((outputs - labels) ** 2).mean((1, 2))
    mean = outputs.mean(0)
    error = ((mean - labels) ** 2).mean()
    variance = labels.var(0).mean()
    rmse = np.sqrt(squares)
    return {
        "rmse": {"mean": rmse.mean(), "std": rmse.std(), "min": rmse.min(), "max": rmse.max()},
        "loss": squares.mean(),
        "ensemble": {
            "rmse": np.sqrt(error),
            "r2": 1 - error / variance if variance else None,
            "spread": np.sqrt(outputs.var(0).mean()),
        },
    }


@given(
    networks=st.integers(1, 7),
    examples=st.integers(1, 9),
    values=st.integers(1, 4),
    networks_at_once=st.integers(1, 4),
    examples_at_once=st.integers(1, 4),
    offset=st.sampled_from([0, 1000]),
    seed=st.integers(0, 2**31),
)
def test_the_regression_meter_does_not_depend_on_chunks(
    networks, examples, values, networks_at_once, examples_at_once, offset, seed
):
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.randn(networks, examples, values, generator=draw, dtype=torch.float64) + offset
    labels = torch.randn(examples, values, generator=draw, dtype=torch.float64) + offset
    meter = RegressionMeter(networks, examples, values, torch.device("cpu"))
    for item in range(0, examples, examples_at_once):
        for first in range(0, networks, networks_at_once):
            places = slice(item, item + examples_at_once)
            meter.update(outputs[first : first + networks_at_once, places], labels[places], first, item)
    found, wanted = meter.result(), regression_reference(outputs, labels)
    assert found.keys() == wanted.keys()
    assert found["loss"] == pytest.approx(wanted["loss"])
    assert found["rmse"] == pytest.approx(wanted["rmse"], abs=1e-9)
    if wanted["ensemble"]["r2"] is None:  # one example: labels that do not vary
        assert np.isnan(found["ensemble"].pop("r2"))
        del wanted["ensemble"]["r2"]
    assert found["ensemble"] == pytest.approx(wanted["ensemble"], abs=1e-7)


def measured(outputs, labels):
    meter = RegressionMeter(*outputs.shape, torch.device("cpu"))
    meter.update(outputs, labels, 0, 0)
    return meter.result()


def test_edge_values_of_the_regression_meter():
    labels = torch.tensor([[1.0, -2.0], [3.0, 5.0], [0.0, 0.0]])
    perfect = measured(labels.expand(4, 3, 2), labels)
    assert perfect["rmse"] == {"mean": 0, "std": 0, "min": 0, "max": 0}
    assert (perfect["loss"], perfect["ensemble"]) == (0, {"rmse": 0, "r2": 1, "spread": 0})
    average = measured(labels.double().mean(0).expand(2, 3, 2), labels)
    assert average["ensemble"]["r2"] == pytest.approx(0)
    assert average["ensemble"]["spread"] == 0
    # Errors far below the values: nothing is lost, though the labels take all digits of float32.
    large = torch.tensor([[2.0**24], [2.0**24 + 2]])
    near = measured(torch.stack([large.double() + 1e-3, large.double() - 1e-3]), large)
    assert near["rmse"]["mean"] == pytest.approx(1e-3, rel=1e-4)
    assert near["ensemble"]["spread"] == pytest.approx(1e-3, rel=1e-4)
    assert near["ensemble"]["rmse"] == pytest.approx(0, abs=1e-8)
    # Labels that do not vary have no R², and no figure raises.
    constant = torch.ones(3, 2)
    assert np.isnan(measured(constant.expand(2, 3, 2) + 1, constant)["ensemble"]["r2"])
    assert np.isnan(measured(constant.expand(2, 3, 2), constant)["ensemble"]["r2"])
    lost = measured(torch.full((2, 3, 2), torch.nan), constant)
    assert np.isnan([lost["loss"], lost["rmse"]["mean"], lost["ensemble"]["rmse"], lost["ensemble"]["spread"]]).all()


class Classes(ClassificationTask):
    """A task of classes as a user writes it."""

    name, input_shape, num_outputs = "classes", (2,), 3

    def data(self, split):
        return hf.Data(torch.zeros(5, 2), torch.arange(5) % 3)


class Values(RegressionTask):
    """A task of values as a user writes it."""

    name, input_shape, num_outputs = "values", (2,), 3

    def data(self, split):
        return hf.Data(torch.zeros(5, 2), torch.zeros(5, 3))


@pytest.mark.parametrize("kind", [Classes, Values])
def test_the_base_classes_keep_the_contract(kind):
    task = kind()
    assert isinstance(task, Task)
    labels = task.data("train").y
    task.check_labels(labels, "here")
    outputs = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    repeated = labels.expand(4, *labels.shape)
    assert task.loss(outputs, repeated).shape == task.score(outputs, repeated).shape == (4, 5)
    assert task.canonical_outputs(outputs).shape == task.predictions(outputs).shape == (4, 5, 3)
    meter = task.meter(4, 5, torch.device("cpu"))
    meter.update(outputs, labels, 0, 0)
    results = meter.result()
    assert results["nll" if kind is Classes else "loss"] == pytest.approx(float(task.loss(outputs, repeated).mean()))
    wanted = task.score(outputs, repeated).mean() * (1 if kind is Classes else -1)
    assert validation_score(task.metrics, results) == pytest.approx(float(wanted), abs=1e-6)  # more is better
    found = {name: tuple(value.shape) for name, value in task.summarise(task.predictions(outputs)).items()}
    assert found == (
        {"probabilities": (5, 3), "vote": (5,), "entropy": (5,), "mutual_information": (5,)}
        if kind is Classes
        else {"mean": (5, 3), "std": (5, 3)}
    )
    assert (task.shift_invariant, task.score_metric.label) == (
        (True, "accuracy") if kind is Classes else (False, "squared error")
    )


@pytest.mark.parametrize("kind", [ClassificationTask, RegressionTask])
def test_the_base_classes_have_no_data(kind):
    with pytest.raises(PluginError, match="has no data, input_shape, name, num_outputs"):
        check_component(kind(), hf.Task, "task 'own'")


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (Classes(), torch.zeros(5), r"labels must be int64 \[examples\], but are torch.float32 \[5\]"),
        (Classes(), torch.zeros(5, dtype=torch.int32), r"labels must be int64 \[examples\], but are torch.int32"),
        (Classes(), torch.zeros(5, 1, dtype=torch.int64), r"but are torch.int64 \[5, 1\]"),
        (Classes(), torch.tensor([0, 3]), "labels must lie between 0 and 2, but go from 0 to 3"),
        (Classes(), torch.tensor([-1, 2]), "labels must lie between 0 and 2, but go from -1 to 2"),
        (Values(), torch.zeros(5), r"labels must be float32 or float64 \[examples, 3\], but are torch.float32 \[5\]"),
        (Values(), torch.zeros(5, 2), r"but are torch.float32 \[5, 2\]"),
        (Values(), torch.zeros(5, 3, dtype=torch.float16), r"but are torch.float16 \[5, 3\]"),
        (Values(), torch.zeros(5, 3, dtype=torch.int64), r"but are torch.int64 \[5, 3\]"),
        (Values(), torch.tensor([[0, torch.nan, 0]]), "a label is not a finite number"),
        (Values(), torch.tensor([[0, torch.inf, 0]]), "a label is not a finite number"),
    ],
)
def test_labels_that_are_none(task, labels, message):
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        task.check_labels(labels, "here")


# Waves that are made from a seed.


def test_signals_differ_between_splits_and_seeds_and_repeat():
    splits = {name: build("signals").data(name).x for name in ("train", "validation", "test")}
    again, other = build("signals").data("train").x, build("signals", seed=1).data("train").x
    assert torch.equal(again, splits["train"])
    everything = torch.cat([*splits.values(), other])
    assert len(everything.flatten(1).unique(dim=0)) == len(everything)


def test_noise_of_signals_is_what_is_asked_for():
    clean, noisy = build("signals", noise=0.0).data("train").x, build("signals", noise=0.3).data("train").x
    assert abs(float((noisy - clean).std()) - 0.3) < 0.01
    assert 1.4 < float(clean.abs().max()) <= 1.5
