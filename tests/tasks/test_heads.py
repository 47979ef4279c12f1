"""Tasks of several heads, with several labels, and their modules: by name, by order, in one vector."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

import hyperframe as hf
from hyperframe.errors import ConfigError, DataError, HyperframeWarning, SpecError
from hyperframe.networks.conformal import calibrate
from hyperframe.options import read_options
from hyperframe.tasks.calibration import results_of
from hyperframe.tasks.own_data.arrays import OwnOptions, own_task
from hyperframe.tasks.own_data.facts import restore_task
from hyperframe.tasks.structured.heads import Head, HeadsTask
from hyperframe.tasks.structured.multi_label import MultiLabelMeter, MultiLabelTask
from hyperframe.testing.laws import Draw
from hyperframe.testing.of_tasks import LAWS, TaskCase
from hyperframe.types import UNLABELLED

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype(np.float32)
KIND = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
SIZE = 100 + 20 * X[:, 2] + X[:, 3]
ONE_HOT = np.eye(3, dtype=np.float32)[RNG.integers(3, size=(80, 2, 2))].transpose(0, 3, 1, 2)
SHORT = {
    "generator": {"name": "mlp", "hidden": [8]},
    "trainer": {"networks": 4, "batch_size": 16, "steps": 40, "rate": 0.02},
    "evaluation": {"networks": 4, "test_networks": 4},
}


class TwoHeads(torch.nn.Module):
    """A network with a head of three classes and one of a value, given in one of several forms."""

    def __init__(self, form=dict):
        super().__init__()
        self.trunk, self.kind, self.size = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3), torch.nn.Linear(6, 1)
        self.form = form

    def forward(self, x):
        hidden = self.trunk(x).relu()
        heads = {"size": self.size(hidden), "kind": self.kind(hidden)}  # in another order than the labels
        if self.form is dict:
            return heads
        if self.form is tuple:
            return heads["kind"], heads["size"]
        return torch.cat([heads["kind"], heads["size"]], 1)


@pytest.mark.slow
@pytest.mark.parametrize("form", [dict, tuple, torch.Tensor])
def test_two_heads_train_and_answer_by_name(tmp_path, form):
    data = {"x": X, "y": {"kind": KIND, "size": SIZE}}
    run = hf.train(module=TwoHeads(form), data=data, out=tmp_path / "run", overrides=SHORT)
    task, x = run.experiment.task, run.data("test").x
    assert isinstance(task, HeadsTask)
    nets = run.sample(3)
    predictions = nets.predict(x)
    assert {name: tuple(value.shape) for name, value in predictions.items()} == {"kind": (3, 8, 3), "size": (3, 8, 1)}
    torch.testing.assert_close(predictions["kind"].sum(-1), torch.ones(3, 8))
    assert 50 < float(predictions["size"].mean()) < 150  # in the label's own units
    own = TwoHeads()
    own.load_state_dict(nets.state_dict(1))
    heads = own(task.standardised_inputs.apply(x))
    torch.testing.assert_close(predictions["kind"][1], heads["kind"].softmax(-1))
    torch.testing.assert_close(nets.mean(x)["size"], predictions["size"].mean(0))
    assert set(nets.summary(x)) == {
        *("kind.probabilities", "kind.vote", "kind.entropy", "kind.mutual_information", "size.mean", "size.std")
    }
    with pytest.raises(ValueError, match=r"do not vote; summary\(x\) has kind\.probabilities"):
        nets.vote(x)
    results = run.evaluate()
    assert {"kind.accuracy", "size.rmse", "loss"} <= set(results)
    again = hf.load(tmp_path / "run", module=TwoHeads(form), data=data)
    assert torch.equal(again.sample(3).predict(x)["size"], predictions["size"])
    assert again.experiment.task.metrics == task.metrics
    assert [metric.name for metric in task.metrics if metric.selects] == ["loss"]
    assert {(metric.head, metric.name.split(".")[0]) for metric in task.metrics} == {
        ("kind", "kind"),
        ("size", "size"),
        ("", "loss"),
    }
    assert task.score_metric.head == "kind"
    without = hf.load(tmp_path / "run", module=TwoHeads(form))
    assert torch.equal(without.sample(3).predict(x)["kind"], predictions["kind"])
    with pytest.raises(DataError, match="labels are of heads kind, width, were of heads kind, size"):
        hf.load(tmp_path / "run", module=TwoHeads(form), data={"x": X, "y": {"kind": KIND, "width": SIZE}})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"one": torch.ones(5, 3)}, "labels must be of heads one, two, but are of one"),
        (
            {"one": torch.ones(5, 3), "two": torch.ones(5)},
            r"head 'two': labels must be \['examples', 1\], but are \[5\]",
        ),
    ],
)
def test_labels_of_other_heads_are_not_laid_out(labels, message):
    heads = {name: Head(task=Named(size), label_shape=(size,)) for name, size in (("one", 3), ("two", 1))}
    with pytest.raises(DataError, match=message):
        HeadsTask(heads).pack_labels(labels)


@pytest.mark.slow
def test_a_head_is_calibrated_by_itself(tmp_path):
    short = {**SHORT, "trainer": {**SHORT["trainer"], "steps": 2}}
    run = hf.train(module=TwoHeads(), data={"x": X, "y": {"kind": KIND, "size": SIZE}}, out=tmp_path, overrides=short)
    task, nets, known = run.experiment.task, run.sample(4), run.data("train")
    with pytest.raises(
        DataError, match="of one answer for each example, and it has several heads, kind, size; calibrate"
    ):
        nets.conformal(known.x, known.y)

    def of_head(x):
        return {key.removeprefix("kind."): value for key, value in nets.summary(x).items() if key.startswith("kind.")}

    labels = task.labels_of(known.y)["kind"]
    found = calibrate(of_head, task.heads["kind"].task, known.x, labels, 0.2, networks=4)
    sets = found.predict(known.x)
    assert sets.shape == (len(known), 3)
    assert float(sets.gather(1, labels[:, None]).double().mean()) >= 0.8


def test_losses_are_the_heads_own_times_their_weights():
    heads = {
        "one": Head(task=Named(3), label_shape=(3,), weight=2.0),
        "two": Head(task=Named(1), label_shape=(1,), weight=0.5),
    }
    task = HeadsTask(heads)
    rng = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 5, 4, generator=rng, dtype=torch.float64)
    labels = {"one": torch.randint(2, (5, 3), generator=rng), "two": torch.randint(2, (5, 1), generator=rng)}
    packed = task.pack_labels(labels)
    loss = task.loss(outputs, packed.expand(2, 5, 4))
    wanted = 2 * heads["one"].task.loss(outputs[..., :3], labels["one"].expand(2, 5, 3))
    wanted = wanted + 0.5 * heads["two"].task.loss(outputs[..., 3:], labels["two"].expand(2, 5, 1))
    torch.testing.assert_close(loss, wanted)
    assert not task.likelihood
    assert HeadsTask({"one": heads["two"], "two": Head(task=Named(2), label_shape=(2,))}).likelihood is False
    assert HeadsTask({"two": Head(task=Named(2), label_shape=(2,))}).likelihood is True
    meter = task.meter(2, 5, torch.device("cpu"))
    for row in range(2):
        meter.update(outputs[row : row + 1], packed, row, 0)
    found = meter.result()
    assert found["loss"] == pytest.approx(float(loss.mean()))
    own = MultiLabelMeter(2, 5, 3, torch.device("cpu"))
    own.update(outputs[..., :3], labels["one"], 0, 0)
    assert found["one.exact"] == pytest.approx(own.result()["exact"])
    assert found["ensemble"]["one.ece"] == pytest.approx(own.result()["ensemble"]["ece"])


@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 4), st.integers(0, 99))
def test_examples_without_a_label_count_nowhere(networks, examples, classes, seed):
    """The meter is that of the others alone, in any chunks, and losses of the others stay."""
    rng = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(networks, examples, classes, generator=rng, dtype=torch.float64)
    labels = torch.randint(-1, classes, (examples,), generator=rng)
    labels[0] = 1
    task, seen = Kinds(classes), labels != UNLABELLED
    repeated = labels.expand(networks, examples)
    for function in (task.loss, task.score):
        found = function(outputs, repeated)
        assert torch.equal(found[:, seen], function(outputs[:, seen], repeated[:, seen]))
        assert not found[:, ~seen].any()
    whole, alone = (task.meter(networks, count, torch.device("cpu")) for count in (examples, int(seen.sum())))
    for row in range(networks):
        for first in range(0, examples, 2):
            whole.update(outputs[row : row + 1, first : first + 2], labels[first : first + 2], row, first)
    alone.update(outputs[:, seen], labels[seen], 0, 0)
    assert tiny.numbers(whole.result()) == pytest.approx(tiny.numbers(alone.result()), abs=1e-12)


def test_labels_that_a_head_lacks_are_checked():
    task = HeadsTask(
        {"kind": Head(task=Kinds(3)), "other": Head(task=Kinds(2)), "size": Head(task=Named(1), label_shape=(1,))}
    )

    def check(**changed):
        ones = torch.ones(4, dtype=torch.int64)
        given = {"kind": ones, "other": ones, "size": ones[:, None]}
        task.check_labels(task.pack_labels(given | {name: torch.tensor(own) for name, own in changed.items()}), "here")

    check(kind=[-1, -1, 2, 0])
    with pytest.raises(DataError, match=r"here, head 'other': all labels are -1; .* needs labels in each split"):
        check(other=[-1] * 4)
    with pytest.raises(DataError, match="here, head 'kind': labels must lie between 0 and 2, but go from -2 to 1"):
        check(kind=[-2, -1, 1, 1])
    with pytest.raises(DataError, match="here, head 'size': labels must be 0 or 1, but one is -1"):
        check(size=[[-1], [0], [0], [0]])
    with pytest.raises(DataError, match="labels must lie between 0 and 2, but go from -1 to 1"):
        Kinds(3).check_labels(torch.tensor([-1, 1]), "alone")  # where an example without its only label says nothing


@pytest.mark.slow
def test_own_labels_of_a_head_may_be_missing(tmp_path):
    lacking = np.random.default_rng(1).random(80) < 0.5
    kind = np.where(lacking, -1, 3 * KIND)
    with pytest.warns(HyperframeWarning, match=rf"head 'kind': {lacking.sum()} of 80 labels are -1, which says that"):
        run = hf.train(
            module=TwoHeads(), data={"x": X, "y": {"kind": kind, "size": SIZE}}, out=tmp_path, overrides=SHORT
        )
    task, test = run.experiment.task, run.data("test")
    assert task.part_classes == {"kind": ("0", "3", "6")}
    labels = task.labels_of(test.y)["kind"]
    assert {-1, 1} <= set(labels.tolist()) <= {-1, 0, 1, 2}
    probabilities = run.sample(4).predict(test.x)["kind"]
    seen = labels != UNLABELLED
    right = probabilities.argmax(-1)[:, seen] == labels[seen]
    assert run.evaluate()["kind.accuracy"]["mean"] == pytest.approx(float(right.double().mean()))


@pytest.mark.filterwarnings("ignore:.*have no label in this head:hyperframe.HyperframeWarning")
def test_a_head_without_labels_is_told():
    signs = np.where(KIND > 1, 1, -1)
    with pytest.raises(
        DataError, match=r"'kind': all labels to train on are 1 or -1, .* where -1 is a class, number the"
    ):
        own_task("mine", {"x": X, "y": {"kind": signs, "size": SIZE}}, OwnOptions())
    assert own_task("mine", {"x": X, "y": signs}, OwnOptions()).classes == ("-1", "1")  # where there is one label alone
    test = {"x_test": X, "y_test": {"kind": KIND * 0 - 1, "size": SIZE}}
    with pytest.raises(DataError, match=r"head 'kind': all of y_test is -1, .* there is no label; give"):
        own_task("mine", {"x": X, "y": {"kind": KIND, "size": SIZE}, **test}, OwnOptions())


def test_heads_of_a_run_are_found_in_any_order():
    options = OwnOptions(kind=("multi_label", "auto", "regression"), classes=(None, 4, None), head_weights=(1, 2, 3))

    def made(heads=(), **labels):
        return own_task("mine", {"x": X, "y": labels}, options, heads)

    several, size = (X > 0).astype(int), SIZE.round().astype(int)
    task = made(several=several, kind=KIND, size=size)
    again = restore_task("mine", task.facts, lambda heads: made(heads, size=size, kind=KIND, several=several))
    for split in ("train", "validation", "test"):
        assert torch.equal(again.data(split).y, task.data(split).y)
    before = "^task 'mine': the data are not those that the run was trained on: "
    for other, message in (
        ({"kind": KIND, "place": size}, "labels are of heads kind, place, were of heads several, kind, size$"),
        ({"kind": KIND, "size": size, "several": several[:, :3]}, "head 'several': num_outputs is 3, was 4$"),
    ):
        with pytest.raises(DataError, match=before + message):
            restore_task("mine", task.facts, lambda heads, other=other: made(heads, **other)).data("train")
    with pytest.raises(DataError, match=f"{before}labels are of no heads, were of heads several, kind, size$"):
        restore_task("mine", task.facts, lambda heads: own_task("mine", {"x": X, "y": KIND}, OwnOptions(), heads)).data(
            "train"
        )


class Kinds(hf.ClassificationTask):
    """One label."""

    name, input_shape = "kinds", (4,)

    def __init__(self, classes):
        self.num_outputs = classes

    def data(self, split):
        raise NotImplementedError


class Named(MultiLabelTask):
    """Several labels."""

    name, input_shape = "named", (4,)

    def __init__(self, labels):
        self.num_outputs = labels

    def data(self, split):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda heads: {"kind": heads["kind"]},
            "^target 'module': its forward must return the heads kind, size, by name or in this order, not kind",
        ),
        (
            lambda heads: {**heads, "size": heads["kind"]},
            r"^target 'module': its head 'size' must be \['examples', 1\], but is \[.*, 3\]",
        ),
        (lambda heads: torch.cat([heads["kind"], heads["kind"], heads["size"]], 1), "has 7 outputs, .* needs 4"),
    ],
)
def test_modules_with_other_heads_are_refused(tmp_path, forward, message):
    class Other(TwoHeads):
        def forward(self, x):
            return forward(super().forward(x))

    with pytest.raises((SpecError, hf.errors.ConfigError), match=message):
        hf.train(module=Other(), data={"x": X, "y": {"kind": KIND, "size": SIZE}}, out=tmp_path, overrides=SHORT)


def test_several_labels_are_read_where_that_is_said(tmp_path):
    y = (RNG.random((80, 3)) < 0.5).astype(np.int64)
    with pytest.raises(DataError, match=r"y has the shape \[80, 3\].* task.kind=multi_label"):
        hf.train(module=torch.nn.Linear(4, 3), data=(X, y), out=tmp_path / "run", overrides=SHORT)
    overrides = {**SHORT, "task": {"kind": "multi_label"}}
    run = hf.train(module=torch.nn.Linear(4, 3), data=(X, y), out=tmp_path / "run", overrides=overrides)
    nets, x = run.sample(4), run.data("test").x
    assert nets.predict(x).shape == (4, 8, 3)
    assert nets.vote(x).shape == (8, 3)
    results = run.evaluate()
    assert 0 <= results["ensemble"]["exact"] <= results["ensemble"]["accuracy"] <= 1
    with pytest.raises(DataError, match="one answer for each example"):
        nets.conformal(x, run.data("test").y)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_the_meter_of_several_labels_beside_the_plain_way(networks, examples, labels, seed):
    rng = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(networks, examples, labels, generator=rng, dtype=torch.float64)
    y = torch.randint(2, (examples, labels), generator=rng)
    meter = MultiLabelMeter(networks, examples, labels, torch.device("cpu"))
    for row in range(networks):
        meter.update(outputs[row : row + 1, :1], y[:1], row, 0)
        if examples > 1:
            meter.update(outputs[row : row + 1, 1:], y[1:], row, 1)
    found, p = meter.result(), outputs.sigmoid()
    right = (p > 0.5) == y.bool()
    assert found["accuracy"]["mean"] == pytest.approx(float(right.double().mean()))
    assert found["exact"]["max"] == pytest.approx(float(right.all(-1).double().mean(1).max()))
    task = Named(labels)
    loss = task.loss(outputs, y.expand(networks, *y.shape))
    assert found["nll"] == pytest.approx(float(loss.mean()))
    torch.testing.assert_close(loss, -torch.where(y.bool(), p, 1 - p).log().sum(-1))
    mean = p.mean(0)
    together = results_of(torch.stack([1 - mean, mean], -1).flatten(0, 1), y.flatten())
    assert found["ensemble"]["ece"] == pytest.approx(together["ece"], abs=1e-9)
    assert found["ensemble"]["nll"] == pytest.approx(float(task.loss(task.averaged(outputs), y).mean()))
    torch.testing.assert_close(task.averaged(outputs).sigmoid(), mean)
    torch.testing.assert_close(task.class_logits(outputs).softmax(-1)[..., 1], p.flatten(1))


def test_masks_are_classes_of_places_by_their_shape(tmp_path):
    images = RNG.normal(size=(30, 1, 4, 6)).astype(np.float32)
    masks = np.where(images[:, 0] > 0, 255, 0)
    masks[:, 0, 0] = -1
    net = torch.nn.Conv2d(1, 2, 3, padding=1)
    with pytest.warns(HyperframeWarning, match=r"\[30, 4, 6\], and read as a class for each of 4 × 6 places"):
        run = hf.train(module=net, data=(images, masks), out=tmp_path / "run", overrides=SHORT)
    task = run.experiment.task
    assert (task.num_outputs, task.output_places, task.classes) == (2, (4, 6), ("0", "255"))
    assert set(run.data("test").y.unique().tolist()) == {-1, 0, 1}
    assert run.sample(2).vote(run.data("test").x).shape == (3, 4, 6)
    assert hf.load(tmp_path / "run", module=net).sample(2).vote(images).shape == (30, 4, 6)


@pytest.mark.filterwarnings("ignore:.*have no label in this head:hyperframe.HyperframeWarning")
@pytest.mark.parametrize("kind", ["multi_label", "dense_classification", "heads"])
def test_own_data_make_tasks_that_keep_the_laws(kind):
    several = (RNG.random((80, 3)) < 0.5).astype(np.int64)
    heads = {"kind": np.where(X[:, 3] > 0, KIND, -1), "size": SIZE, "several": several + 0.0}
    given = {"x": X, "y": heads if kind == "heads" else several}
    options = OwnOptions() if kind == "heads" else OwnOptions(kind=kind)
    task = own_task("mine", given, options)
    case = TaskCase(
        task, lambda facts: restore_task("mine", facts, lambda heads: own_task("mine", given, options, heads))
    )
    for law in LAWS:
        law.holds(case, Draw(networks=3, examples=5))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ({"kind": KIND}, {"head_weights": [1, 2]}, "task.head_weights has 2 numbers, but there is 1 head, kind"),
        (KIND, {"head_weights": [1]}, "has 1 number, but there are no heads"),
        (
            {"kind": KIND, "size": SIZE},
            {"kind": ["auto"]},
            "^task 'mine': task.kind has 1 kind, .* 2 heads, kind, size",
        ),
        ({"kind": KIND}, {"classes": [4, None]}, "task.classes has 2 numbers, but there is 1 head, kind"),
        (KIND, {"kind": ["auto"]}, "task.kind has 1 kind, but there are no heads: y is a mapping of labels where"),
        (KIND, {"kind": []}, "task.kind has 0 kinds, but there are no heads"),
        (KIND, {"classes": [4]}, "task.classes has 1 number, but there are no heads"),
        (KIND + 0.5, {"kind": "multi_label"}, r"y has the shape \[80\], expected 0 or 1, \[examples, labels\]"),
        (X, {"kind": "multi_label"}, "labels that are there or not are 1 or 0, but one is"),
        (KIND, {"kind": "dense_classification"}, r"y has the shape \[80\], expected a class for each place"),
        ({"kind": KIND, "size": SIZE[:5]}, {}, "head 'size': x holds 80 examples, but y 5 labels"),
        ({}, {}, "task 'mine': y must have labels by the names of heads, which are texts, but there is none"),
        ({"kind": KIND, "": SIZE}, {}, "names of heads, which are texts, but one is called ''"),
        ({1: KIND, "size": SIZE}, {}, "names of heads, which are texts, but one is called 1"),
        ({"kind": KIND * 0}, {}, "head 'kind': all labels to train on are 0"),
        (
            {"kind": KIND, "mask": ONE_HOT},
            {},
            r"head 'mask': y is one-hot along axis 1, \[80, 3, 2, 2\], expected the number of each place's class, "
            r"\[examples, 2, 2\]: hand over y.argmax\(1\)",
        ),
        (np.moveaxis(ONE_HOT, 1, 3).astype(int), {}, r"y is one-hot along axis 3, .* hand over y.argmax\(3\)"),
    ],
)
def test_labels_that_make_no_task(y, options, message):
    with pytest.raises(DataError, match=message):
        own_task("mine", {"x": X, "y": y}, read_options(OwnOptions, options, "task"))


COUNT = RNG.permutation(80)
SEVERAL = (RNG.random((80, 3)) < 0.5).astype(np.int64)
MASKS = RNG.integers(3, size=(80, 2, 5))


def test_each_head_has_a_kind_of_its_own():
    """Whole numbers that are values beside such that are classes, and every other kind beside them."""
    y = {"kind": KIND, "count": COUNT, "several": SEVERAL, "steps": MASKS[:, 0], "level": KIND}
    kinds = ("auto", "regression", "multi_label", "dense_classification", "classification")
    task = own_task("mine", {"x": X, "y": y}, OwnOptions(kind=kinds, classes=(None, None, None, 4, 5)))
    assert {own["head"]: own["kind"] for own in task.facts["heads"]} == {
        **dict(zip(y, kinds, strict=True)),
        "kind": "classification",
    }
    shapes = {"kind": (3,), "count": (1,), "several": (3,), "steps": (4, 5), "level": (5,)}
    assert task.layout.shapes == shapes
    labels = task.labels_of(task.data("train").y)
    assert labels["count"].dtype == torch.float64
    assert set(labels["count"].flatten().tolist()) <= set(map(float, COUNT))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": ["auto", "ranking"]}, r"regression or a list of these, but got \['auto', 'ranking'\]"),
        ({"kind": {"size": "regression"}}, "task.kind: expected one of auto, .*, but got {'size': 'regression'}"),
        ({"classes": [4, 1]}, r"a whole number or null or a list of these, at least 2, but got \[4, 1\]"),
    ],
)
def test_kinds_that_there_are_not_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        read_options(OwnOptions, options, "task")


@pytest.mark.parametrize("last", ["classification", "regression"])
def test_a_kind_without_a_list_is_said_of_all_heads(last):
    y = {"kind": KIND, "level": 2 * KIND}
    listed, single = (own_task("mine", {"x": X, "y": y}, OwnOptions(kind=said)) for said in ((last, last), last))
    assert listed.facts == single.facts
    assert [own["kind"] for own in single.facts["heads"]] == [last, last]


AS_EACH = r"task\.kind=\[auto,{}\]"


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (COUNT[:, None] + [0, 1], {}, AS_EACH.format("multi_label") + ".* values, " + AS_EACH.format("regression")),
        (SEVERAL.astype(str), {"kind": ["auto", "regression"]}, AS_EACH.format("classification") + " reads them"),
        (ONE_HOT, {}, "set " + AS_EACH.format("dense_classification")),
        (
            ONE_HOT,
            {"kind": ["auto", "regression"]},
            r"places \(" + AS_EACH.format("dense_classification") + r"\) have more",
        ),
        (SIZE, {"kind": "classification"}, r"where they are values, set task.kind=\[classification,regression\]$"),
        (SIZE, {"classes": 4}, r"where they are values, set task.classes=\[4,null\]$"),
        (
            SIZE,
            {"kind": ["auto", "regression"], "classes": 4},
            r"4, but task.kind=\[auto,regression\] has none; set task.classes=\[4,null\]$",
        ),
        (SIZE, {"kind": ["auto", "regression"], "classes": [None, 4]}, "has none; leave task.classes out$"),
    ],
)
def test_advice_is_of_the_head_that_it_helps(y, options, message):
    with pytest.raises(DataError, match=f"^task 'mine', head 'other': .*{message}"):
        own_task("mine", {"x": X, "y": {"kind": KIND, "other": y}}, read_options(OwnOptions, options, "task"))


def test_advice_for_heads_of_all_of_which_a_kind_is_said():
    for kind, message in (
        (
            "multi_label",
            r"\[examples, labels\]; task.kind=multi_label is said of all heads, task.kind=\[auto,multi_label\] ",
        ),
        ("dense_classification", r"task.kind=\[auto,dense_classification\] of the others alone$"),
    ):
        with pytest.raises(DataError, match=f"head 'kind': .*{message}"):
            own_task("mine", {"x": X, "y": {"kind": KIND, "several": SEVERAL}}, OwnOptions(kind=kind))
    with pytest.raises(DataError, match=r"head 'kind': .*; leave task.classes out$"):  # all of them are values
        own_task("mine", {"x": X, "y": {"kind": KIND, "count": COUNT}}, OwnOptions(kind="regression", classes=4))


def test_a_notice_names_the_setting_of_its_head_which_is_then_taken():
    y = {"kind": KIND, "count": COUNT}
    with pytest.warns(HyperframeWarning, match=r"head 'count': .* classes, task.kind=\[auto,regression\] reads them"):
        task = own_task("mine", {"x": X, "y": y}, OwnOptions())
    assert task.layout.shapes == {"kind": (3,), "count": (80,)}
    assert own_task("mine", {"x": X, "y": y}, OwnOptions(kind=("auto", "regression"))).layout.shapes["count"] == (1,)


@pytest.mark.parametrize(
    ("masks", "way"), [(MASKS[:, None], "y[:, 0]"), (MASKS[..., None], "y[..., 0]"), (MASKS[:, :1], "y[:, 0]")]
)
def test_masks_with_an_axis_of_size_one_are_told_how_they_are_handed_over(masks, way):
    of_all = " × ".join(map(str, masks.shape[1:]))
    message = (
        rf"hand over {re.escape(way)}\. Where these are indeed classes of {of_all} places, set task.kind=dense_class"
    )
    with pytest.raises(DataError, match=message):
        own_task("mine", {"x": X, "y": masks}, OwnOptions())
    with pytest.raises(DataError, match=rf"dense_classification\) have more axes; {re.escape(way)} has one less"):
        own_task("mine", {"x": X, "y": masks.astype(np.float32)}, OwnOptions())
    with pytest.warns(HyperframeWarning, match=rf"{re.escape(way)} has no axis of size 1"):
        task = own_task("mine", {"x": X, "y": masks}, OwnOptions(kind="dense_classification"))
    assert task.output_places == masks.shape[1:]


class KindAndCount(TwoHeads):
    """A network with a head of three classes and one of a value, under other names."""

    def forward(self, x):
        heads = super().forward(x)
        return {"kind": heads["kind"], "count": heads["size"]}


class Both(torch.utils.data.Dataset):
    """Examples with both labels."""

    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        return X[number], {"kind": KIND[number], "count": COUNT[number]}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pair", "mapping", "dataset"])
def test_kinds_of_heads_are_those_of_a_run_that_is_read_and_resumed(tmp_path, form):
    y = {"kind": KIND, "count": COUNT}
    data = {"pair": (X, y), "mapping": {"x": X, "y": y}, "dataset": Both()}[form]
    kinds = {"task.kind": ["auto", "regression"], "task.classes": [3, None], "task.head_weights": [1, 0.5]}
    short = {**SHORT, "trainer": {**SHORT["trainer"], "steps": 2}, **kinds}
    run = hf.train(module=KindAndCount(), data=data, out=tmp_path / "run", overrides=short)
    facts = run.experiment.task.facts
    assert [own["kind"] for own in facts["heads"]] == ["classification", "regression"]
    without = hf.load(tmp_path / "run", module=KindAndCount())
    assert without.experiment.task.facts == facts
    nets, x = run.sample(2), run.data("test").x
    assert torch.equal(without.sample(2).predict(x)["count"], nets.predict(x)["count"])
    turned = (X, {"count": COUNT, "kind": KIND})  # what is said of each head is said in the order of the run
    again = hf.load(tmp_path / "run", module=KindAndCount(), data=turned)
    assert torch.equal(again.data("test").y, run.data("test").y)
    assert again.evaluate() == run.evaluate()
    with pytest.warns(HyperframeWarning, match=r"without the interruption: trainer.steps: 2 → 4$"):  # no other data
        resumed = hf.resume(tmp_path / "run", {"trainer.steps": 4}, module=KindAndCount(), data=turned)
    assert resumed.step == 4
    assert resumed.experiment.task.facts == facts


def test_one_hot_labels_are_places_where_that_is_said():
    with pytest.warns(
        HyperframeWarning, match=r"one-hot along axis 1, .* classes of 3 × 2 × 2 places, .* y.argmax\(1\)"
    ):
        task = own_task("mine", {"x": X, "y": ONE_HOT}, OwnOptions(kind="dense_classification"))
    assert task.output_shape == (2, 3, 2, 2)
    with pytest.warns(HyperframeWarning, match=r"a class for each of 2 × 2 places"):
        task = own_task("mine", {"x": X, "y": ONE_HOT.argmax(1)}, OwnOptions())
    assert task.output_shape == (3, 2, 2)


def test_a_file_has_the_labels_of_heads_behind_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **{"x": X, "y.kind": KIND, "y.size": COUNT})
    task = {"name": "arrays", "file": "mine.npz", "head_weights": [1, 0.1], "kind": ["auto", "regression"]}
    run = hf.train(module=TwoHeads(), overrides={**SHORT, "task": task})
    assert [head.weight for head in run.experiment.task.heads.values()] == [1, 0.1]
    assert list(run.experiment.task.heads) == ["kind", "size"]


@pytest.mark.slow
def test_the_command_predicts_heads_with_the_names_of_their_classes(hyperframe, tmp_path, monkeypatch):
    (tmp_path / "of_two_heads.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.kind, self.size = nn.Linear(4, 3), nn.Linear(4, 1)\n"
        "    def forward(self, x):\n"
        "        return {'kind': self.kind(x), 'size': self.size(x)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kinds = np.array(["ant", "bee", "cat"])
    np.savez(tmp_path / "mine.npz", **{"x": X, "y.kind": kinds[KIND], "y.size": SIZE})
    np.save(tmp_path / "x.npy", X[:5])
    settings = ["generator=mlp", "generator.hidden=[8]", "trainer.networks=2", "trainer.steps=2", "--out", "run"]
    options = ["task=arrays", "task.file=mine.npz", "target=of_two_heads:Net", *settings]
    assert hyperframe("train", *options)[0] == 0
    command = ["predict", "run", "x.npy", "-n", "3", "--target", "of_two_heads:Net"]
    code, out, _ = hyperframe(*command, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["classes"] == {"kind": kinds.tolist()}
    assert [row["kind.class"] for row in found["examples"]] == [kinds[row["kind.vote"]] for row in found["examples"]]
    assert hyperframe(*command, "--out", "found.npz")[0] == 0
    assert np.load(tmp_path / "found.npz")["kind.classes"].tolist() == kinds.tolist()
    assert hyperframe(*command, "--out", "found.safetensors")[0] == 0
    with safe_open(tmp_path / "found.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["classes"]) == {"kind": kinds.tolist()}


@pytest.fixture(scope="module")
def page():
    """The names that the blocks of the page on tasks define, but for the first and the last."""
    text = (Path(__file__).parents[2] / "docs" / "task.md").read_text(encoding="utf-8")
    names = {"hf": hf, "torch": torch}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1:-1]:
        exec(block, names)
    return names


@pytest.mark.parametrize("name", ["Rising", "SignAndSize"])
def test_the_tasks_of_the_page_keep_their_laws(page, name):
    for law in LAWS:
        law.holds(TaskCase(page[name]()), Draw(networks=3, examples=5))


def test_the_network_of_the_page_trains(page, tmp_path):
    run = page["train_both"](tmp_path / "run")
    assert [head.weight for head in run.experiment.task.heads.values()] == [1, 0.5]
