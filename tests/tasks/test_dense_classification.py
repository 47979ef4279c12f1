"""Tasks with a class for each place: losses, what does not count, and the meter beside the plain way."""

import json

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.errors import ConfigError, DataError
from hyperframe.tasks.calibration import calibration_error
from hyperframe.tasks.classification import ClassificationMeter
from hyperframe.tasks.own_data.kinds import Said
from hyperframe.tasks.own_data.labels import read_labels
from hyperframe.tasks.structured.dense_classification import DenseClassificationTask
from hyperframe.tasks.structured.dense_meter import DenseMeter
from hyperframe.tasks.structured.heads import Head, HeadsTask
from hyperframe.types import UNLABELLED

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 4))
PLACES = st.sampled_from([(3,), (2, 3), (1, 1), (2, 1, 2)])


def test_one_hot_labels_of_places_are_told_what_is_wanted():
    labels = F.one_hot(torch.randint(3, (5, 2, 3)), 3).movedim(-1, 1)
    with pytest.raises(
        DataError, match=r"are torch.int64 \[5, 3, 2, 3\]; they are one-hot along axis 1: take labels.arg"
    ):
        Places().check_labels(labels, "here")
    Places().check_labels(labels.argmax(1), "here")
    with pytest.raises(DataError, match=r"are torch.float32 \[5, 3, 2\]$"):
        Places().check_labels(torch.rand(5, 3, 2), "here")


def test_masks_of_another_form_in_one_split_are_named():
    masks = torch.randint(3, (20, 2, 3))
    labels = {"train": masks, "test": F.one_hot(masks, 3)}
    with pytest.raises(DataError, match=r"y has the shape \[20, 2, 3\] and y_test has the shape \[20, 2, 3, 3\], exp"):
        read_labels(labels, {"train": 20, "test": 20}, Said(kinds=("dense_classification",)), "here")


class Places(DenseClassificationTask):
    """A task as a user writes it."""

    name, input_shape = "places", (2,)

    def __init__(self, classes=3, places=(2, 3)):
        self.num_outputs, self.output_places = classes, places

    def data(self, split):
        raise NotImplementedError


def draw(networks, examples, classes, places, seed=0, labelled=0.7):
    rng = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(networks, examples, classes, *places, generator=rng, dtype=torch.float64)
    labels = torch.randint(classes, (examples, *places), generator=rng)
    labels[torch.rand(labels.shape, generator=rng) > labelled] = UNLABELLED
    labels.view(examples, -1)[0, 0] = 0
    return outputs, labels


@given(SIZES, PLACES, st.integers(0, 100))
def test_the_loss_is_the_mean_over_labelled_places(sizes, places, seed):
    networks, examples, classes = sizes
    outputs, labels = draw(networks, examples, classes, places, seed)
    task = Places(classes, places)
    loss = task.loss(outputs, labels.expand(networks, *labels.shape))
    score = task.score(outputs, labels.expand(networks, *labels.shape))
    assert loss.shape == score.shape == (networks, examples)
    for network in range(networks):
        for example in range(examples):
            rows, own = outputs[network, example].flatten(1).T, labels[example].flatten()
            seen = own != UNLABELLED
            wanted = F.cross_entropy(rows[seen], own[seen]) if seen.any() else torch.tensor(0.0)
            right = (rows.argmax(1) == own)[seen].double().mean() if seen.any() else torch.tensor(0.0)
            torch.testing.assert_close(loss[network, example], wanted.double(), check_dtype=False)
            torch.testing.assert_close(score[network, example], right.double(), check_dtype=False)


@given(SIZES, PLACES, st.integers(0, 100))
def test_what_is_not_labelled_changes_nothing(sizes, places, seed):
    networks, examples, classes = sizes
    outputs, labels = draw(networks, examples, classes, places, seed)
    unseen = (labels == UNLABELLED)[:, None].expand(outputs.shape[1:])
    other = torch.where(unseen, 5 * outputs.flip(2), outputs)
    task, repeated = Places(classes, places), labels.expand(networks, *labels.shape)
    assert torch.equal(task.loss(outputs, repeated), task.loss(other, repeated))
    assert measured(outputs, labels) == measured(other, labels)
    leaf = outputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(leaf, repeated).sum(), [leaf])
    assert not gradient[unseen.expand(gradient.shape)].any()


def measured(outputs, labels, networks=None, examples=None):
    """Return what a meter finds in chunks of so many networks and examples."""
    meter = DenseMeter(len(outputs), len(labels), outputs.shape[2:], torch.device("cpu"))
    networks, examples = networks or len(outputs), examples or len(labels)
    for first in range(0, len(outputs), networks):
        for item in range(0, len(labels), examples):
            part = slice(item, item + examples)
            meter.update(outputs[first : first + networks, part], labels[part], first, item)
    return meter.result()


@given(SIZES, PLACES, st.integers(0, 100))
def test_the_meter_finds_what_that_of_single_labels_finds_of_all_places(sizes, places, seed):
    networks, examples, classes = sizes
    outputs, labels = draw(networks, examples, classes, places, seed)
    seen = labels != UNLABELLED
    rows = outputs.movedim(2, -1)[:, seen]
    plain = ClassificationMeter(networks, int(seen.sum()), classes, torch.device("cpu"))
    plain.update(rows, labels[seen], 0, 0)
    wanted, found = plain.result(), measured(outputs, labels, networks=1, examples=2)
    for name in ("majority", "mean_probability", "nll", "ece", "disagreement"):
        assert found["ensemble"][name] == pytest.approx(wanted["ensemble"][name], abs=1e-12), name
    assert found["accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["nll"] == pytest.approx(wanted["nll"])
    overlaps = [plain_iou(answers, labels[seen], classes) for answers in rows.argmax(-1)]
    assert found["iou"]["mean"] == pytest.approx(sum(overlaps) / networks)
    together = plain_iou(rows.softmax(-1).mean(0).argmax(-1), labels[seen], classes)
    assert found["ensemble"]["iou"] == pytest.approx(together)
    confidence, answers = rows.softmax(-1).mean(0).max(-1)
    error = calibration_error(confidence, (answers == labels[seen]).double())
    assert found["ensemble"]["ece"] == pytest.approx(float(error), abs=1e-12)


def plain_iou(answers, labels, classes):
    """Return the mean over classes of intersection over union, the plain way."""
    found = []
    for number in range(classes):
        one, other = answers == number, labels == number
        if (one | other).any():
            found.append(float((one & other).sum() / (one | other).sum()))
    return sum(found) / len(found)


def test_the_summary_is_maps():
    task = Places()
    outputs, _ = draw(4, 5, 3, (2, 3))
    found = task.summarise(task.predictions(outputs))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "probabilities": (5, 3, 2, 3),
        "vote": (5, 2, 3),
        "entropy": (5, 2, 3),
        "mutual_information": (5, 2, 3),
    }
    p = outputs.softmax(2)
    mean = p.mean(0)
    entropy = -(mean * mean.log()).sum(1)
    torch.testing.assert_close(found["probabilities"], mean)
    torch.testing.assert_close(found["entropy"], entropy)
    torch.testing.assert_close(found["mutual_information"], entropy + (p * p.log()).sum(2).mean(0))
    torch.testing.assert_close(task.averaged(outputs).softmax(1), mean)
    torch.testing.assert_close(task.class_logits(outputs)[1, 6], outputs[1, 1, :, 0, 0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(5, 2, 3), r"labels must be int64 \[examples, 2, 3\], but are torch.float32 \[5, 2, 3\]"),
        (torch.zeros(5, 3, 2, dtype=torch.int64), r"but are torch.int64 \[5, 3, 2\]"),
        (torch.full((5, 2, 3), 3), "must lie between 0 and 2, or be -1 where there is none, but go from 3 to 3"),
        (torch.full((5, 2, 3), -2), "but go from -2 to -2"),
        (torch.full((5, 2, 3), -1), "all labels are -1"),
    ],
)
def test_labels_that_are_refused(labels, message):
    with pytest.raises(DataError, match=f"here: .*{message}"):
        Places().check_labels(labels, "here")


class Recogniser(torch.nn.Module):
    """A network over sequences [examples, 2, time] with classes for each step."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Conv1d(2, 6, 3, padding=1), torch.nn.Conv1d(6, 3, 1)

    def forward(self, x):
        return self.last(self.first(x).relu())


class Sequences(Places):
    """Sequences of up to eight steps, padded; the class of a step is which of two channels is larger, or neither."""

    input_shape = (2, 8)

    def __init__(self):
        super().__init__(3, (8,))

    def data(self, split):
        rng = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        x = torch.randn(60, 2, 8, generator=rng)
        labels = torch.where((x[:, 0] - x[:, 1]).abs() < 0.5, 2, (x[:, 0] > x[:, 1]).long())
        padding = torch.arange(8) >= torch.randint(3, 9, (60, 1), generator=rng)
        return hf.Data(x.masked_fill(padding[:, None], 0), labels.masked_fill(padding, UNLABELLED))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
def test_black_and_white_masks_have_two_classes_in_every_type(dtype):
    mask = np.array([[[0, 255], [255, 0]]], dtype=dtype)
    found = read_labels({"train": mask}, {"train": 1}, Said(kinds=("dense_classification",)), "here")
    assert found.names == ("0", "255")
    assert found.of_splits["train"].tolist() == [[[0, 1], [1, 0]]]


def test_padded_sequences_train_and_networks_answer_each_step(tmp_path):
    run = hf.train(
        module=Recogniser(),
        data=Sequences(),
        out=tmp_path / "run",
        overrides={
            "generator": {"name": "mlp", "hidden": [8]},
            "trainer": {"networks": 4, "batch_size": 16, "steps": 60, "rate": 0.02},
            "evaluation": {"networks": 4, "test_networks": 4},
        },
    )
    nets, x = run.sample(3), run.data("test").x[:5]
    assert nets.predict(x).shape == (3, 5, 3, 8)
    assert torch.equal(nets.vote(x), nets.summary(x)["vote"])
    assert nets.vote(x).shape == (5, 8)
    torch.testing.assert_close(nets.mean(x), nets.predict(x).mean(0))
    results = run.evaluate()
    assert results["ensemble"]["mean_probability"] > 0.6
    with pytest.raises(DataError, match="one answer for each example"):
        nets.conformal(x, run.data("test").y[:5])


STEPS = {
    "generator": {"name": "mlp", "hidden": [8]},
    "trainer": {"networks": 4, "batch_size": 16, "steps": 1},
    "evaluation": {"networks": 4},
}


class ByName(Recogniser):
    """As a head."""

    def forward(self, x):
        return {"steps": super().forward(x)}


class Flipped(Sequences):
    """Turned round, or not, and its labels not at all."""

    def augment(self, inputs, rng):
        there = torch.rand(inputs.shape[:-2], generator=rng)[..., None, None] < 0.5
        return torch.where(there, inputs.flip(-1), inputs)


class Both(Sequences):
    """Turned round, with other labels; which labels the loss sees is kept."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def augment_data(self, data, rng):
        return hf.Data(data.x.flip(-1), torch.full_like(data.y, 2))

    def loss(self, outputs, labels):
        self.seen.append(labels.unique().tolist())
        return super().loss(outputs, labels)


def test_inputs_that_are_moved_without_their_labels_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"task 'places': its augment moves inputs .* move both in augment_data"):
        hf.train(module=Recogniser(), data=Flipped(), out=tmp_path / "run", overrides=STEPS)
    assert not (tmp_path / "run").exists()
    heads = type("Own", (HeadsTask,), {**HEAD, "augment": Flipped.augment})
    with pytest.raises(ConfigError, match="task 'own': its augment moves inputs"):
        hf.train(
            module=ByName(),
            data=heads({"steps": Head(task=Sequences(), label_shape=(8,))}),
            out=tmp_path / "run",
            overrides=STEPS,
        )


def sequences_of_head(task, split):
    data = Sequences().data(split)
    return hf.Data(data.x, task.pack_labels({"steps": data.y}))


HEAD = {"name": "own", "input_shape": (2, 8), "data": sequences_of_head}


def test_a_task_moves_labels_with_its_inputs(tmp_path):
    task = Both()
    hf.train(module=Recogniser(), data=task, out=tmp_path / "run", overrides=STEPS)
    assert [2] in task.seen  # in the step itself


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        (lambda data: (data.x, data.y), r"must give hyperframe.Data\(inputs, labels\), but gives tuple"),
        (lambda data: data.nothing, "does not work on inputs .*: AttributeError: .* 'nothing'"),
        (
            lambda data: hf.Data(data.x[..., :5], data.y),
            r"must give inputs as it takes them, torch.float32 .*, but gives torch.float32 \[.*5\]",
        ),
        (
            lambda data: hf.Data(data.x, data.y.float()),
            "must give labels as it takes them, torch.int64 .*, but gives torch.float32",
        ),
    ],
)
def test_data_that_are_varied_into_others_are_refused(tmp_path, varied, message):
    task = type("Own", (Sequences,), {"augment_data": lambda self, data, rng: varied(data)})()
    with pytest.raises(ConfigError, match=f"task 'places': its augment_data {message}"):
        hf.train(module=Recogniser(), data=task, out=tmp_path / "run", overrides=STEPS)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_line_trains_on_masks_and_writes_maps(hyperframe, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((40, 1, 8, 8)).astype(np.float32)
    np.savez("masks.npz", images=images, labels=(images[:, 0] > 0.5).astype(int))
    np.save("in.npy", images[:2])
    texts = [f"{key}={json.dumps(value)}" for key, value in {**tiny.GENERATED, "trainer.steps": 2}.items()]
    given = "task=arrays", "task.file=masks.npz", "target=unet_tiny", "target.channels=[2,2,2]"
    code, _, err = hyperframe("train", "digits_hypernetwork", *given, *texts, "--out", "run")
    assert code == 0, err
    assert "read as a class for each of 8 × 8 places" in err
    code, out, _ = hyperframe("predict", "run", "in.npy")
    assert code == 0
    assert "… stands for more than 100 numbers; --json or --out FILE give them" in out
    assert hyperframe("predict", "run", "in.npy", "--out", "maps.npz")[0] == 0
    found = np.load("maps.npz")
    assert {name: found[name].shape for name in ("probabilities", "vote", "entropy")} == {
        "probabilities": (2, 2, 8, 8),
        "vote": (2, 8, 8),
        "entropy": (2, 8, 8),
    }
    code, out, _ = hyperframe("train", "digits_hypernetwork", *given, *texts, "--dry-run")
    assert code == 0
    assert "2 outputs at each of 8 × 8 places" in out
    code, _, err = hyperframe("train", "digits_hypernetwork", *given[:2], "target=mlp", *texts, "--out", "other")
    assert code == 2
    assert "it has 2 outputs, and the task needs 2 at each of 8 × 8 places" in err
