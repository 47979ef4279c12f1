"""Code of a user's own that fails, whatever it raises: told with its name, and nothing is written."""

import copy

import attrs
import pytest
import tiny
import torch
from torch import nn
from torch.utils.data import Dataset

import hyperframe as hf
from hyperframe.config.choices import choose
from hyperframe.errors import HyperframeError, MemoryShortageError, Terminated, TrainingError

X, Y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4
FAILURES = [ValueError("on purpose"), SystemExit("on purpose"), BaseException("on purpose")]
STOPS = [KeyboardInterrupt("on purpose"), Terminated("on purpose")]


class Net(nn.Module):
    """A perceptron that fails where it is told to."""

    def __init__(self, fails=lambda net, place: None):
        super().__init__()
        self.first, self.last, self.fails, self.calls = nn.Linear(3, 5), nn.Linear(5, 4), fails, 0

    def forward(self, x):
        self.fails(self, "forward")
        return self.last(self.first(x).relu())

    def __deepcopy__(self, memo):
        self.fails(self, "copy")
        made = Net(self.fails)
        made.first, made.last = copy.deepcopy((self.first, self.last), memo)
        return made


class Own(hf.ClassificationTask):
    """A task that fails where it is told to."""

    name, input_shape, num_outputs = "own", (3,), 4

    def __init__(self, fails):
        self.fails = fails

    def data(self, split):
        self.fails(self, "data")
        return hf.Data(X, Y)

    def loss(self, outputs, labels):
        self.fails(self, "loss")
        return super().loss(outputs, labels)

    def score(self, outputs, labels):
        self.fails(self, "score")
        return super().score(outputs, labels)


class Items(Dataset):
    """A data set that fails where it is told to."""

    def __init__(self, fails):
        self.fails = fails

    def __len__(self):
        self.fails(self, "length")
        return len(X)

    def __getitem__(self, number):
        self.fails(self, "example")
        return X[number], int(Y[number])


def failing(error, place):
    def fails(what, where):
        if where == place:
            raise error

    return fails


def generated_only(error):
    """Fails where weights are generated, not where the module is traced or copied."""

    def fails(net, where):
        if where == "forward" and torch._C._functorch.peek_interpreter_stack() is not None:
            raise error

    return fails


def given(made, error, place):
    fails = generated_only(error) if place == "generated" else failing(error, place)
    if made is Net:
        return {"module": Net(fails), "data": (X, Y)}
    return {"module": Net(), "data": made(fails)}


PLACES = [
    (Net, "copy", "module: it cannot be copied"),
    (Net, "forward", "target 'module': it does not run on inputs of shape"),
    (Net, "generated", "target 'module' does not run with generated weights"),
    (Own, "data", "task 'own', split 'train': its data cannot be had"),
    (Own, "loss", "task 'own': its loss does not work on outputs"),
    (Own, "score", "task 'own': its score does not work on outputs"),
    (Items, "length", "data: the length of the Dataset"),
    (Items, "example", "data: example 0 of the Dataset"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("made", "place", "message"), PLACES, ids=[place for _, place, _ in PLACES])
def test_what_fails_is_told_and_nothing_written(tmp_path, made, place, message, error):
    with pytest.raises(HyperframeError, match=f"{message}.*: {type(error).__name__}: on purpose"):
        hf.train(overrides=tiny.GENERATED, **given(made, error, place), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stop", STOPS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("made", "place"), [(made, place) for made, place, _ in PLACES])
def test_ctrl_c_and_signals_are_no_failures(tmp_path, made, place, stop):
    with pytest.raises(type(stop)):
        hf.train(overrides=tiny.GENERATED, **given(made, stop, place), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("what", "figure", "form"),
    [
        ("loss", lambda outputs, labels: outputs.sum(), r"\[\]"),
        ("loss", lambda outputs, labels: 3.0, "float"),
        ("score", lambda outputs, labels: outputs, r"\[1, 2, 4\]"),
    ],
)
def test_a_loss_that_is_not_one_of_every_item_is_refused(tmp_path, what, figure, form):
    task = Own(lambda task, place: None)
    setattr(task, what, figure)
    with pytest.raises(HyperframeError, match=f"its {what} must be one number for every example, .* but is {form}"):
        hf.train(overrides=tiny.GENERATED, module=Net(), data=task, out=tmp_path / "run")


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_loss_that_fails_in_a_later_step_is_told(tmp_path, error):
    def fails(task, place):
        if place == "loss" and (tmp_path / "run" / "checkpoints" / "1").exists():
            raise error

    settings = {**tiny.GENERATED, "trainer.steps": 3, "trainer.checkpoint_every": 1}
    said = f"a component failed after 1 of 3 steps: {type(error).__name__}: on purpose"
    with pytest.raises(TrainingError, match=f"{said}.*hyperframe train --resume"):
        hf.train(overrides=settings, module=Net(), data=Own(fails), out=tmp_path / "run")


@pytest.mark.parametrize("error", FAILURES[1:], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{raise_}", "importing own_code failed"),
        ("def __getattr__(name): {raise_}", "getting 'made' of own_code failed"),
        ("def made(width: int): {raise_}", "its factory failed"),
    ],
)
def test_a_factory_that_exits(tmp_path, monkeypatch, hyperframe, text, message, error):
    raise_ = f"raise {type(error).__name__}('on purpose')"
    (tmp_path / "own_code.py").write_text(text.format(raise_=raise_) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = hyperframe("train", "target=own_code:made", "target.width=3", "--out", tmp_path / "run")
    assert code == 2
    assert f"{message}: {type(error).__name__}: on purpose" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("on purpose")])
def test_a_component_that_does_not_fit_into_memory_is_named(registry, error):
    def build(options):
        raise error

    choice = choose(registry, "target", "mlp", "target")
    full = attrs.evolve(choice.registered, component=attrs.evolve(choice.registered.component, factory=build))
    with pytest.raises(MemoryShortageError, match=r"target 'mlp' of hyperframe-nn .* does not fit into memory; tak"):
        attrs.evolve(choice, registered=full).make()
