"""Modules and data that are handed over in Python: trained on, kept apart from what they become, asked for again."""

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import hyperframe as hf
from hyperframe.errors import ConfigError, DataError, RunError, SpecError

FAST = tiny.CHECKED


class Net(nn.Module):
    """Frozen features, a BatchNorm, and two layers that are generated."""

    def __init__(self, width=6, outputs=4):
        super().__init__()
        self.frozen = nn.Linear(3, 5).requires_grad_(False)
        self.first = nn.Linear(5, width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, outputs)

    def forward(self, x):
        return self.last(self.norm(self.first(self.frozen(x).tanh())).relu())


def spec(width=6, outputs=4):
    first = [hf.targets.kernel("first.weight", "o i"), hf.targets.scale("norm.weight"), hf.targets.shift("norm.bias")]
    last = [hf.targets.kernel("last.weight", "o i"), hf.targets.bias("last.bias")]
    return hf.targets.TargetSpec(
        name="net",
        input_shape=(3,),
        num_outputs=outputs,
        logits="last",
        units=[hf.targets.UnitSpec(name="hidden", size=width, ops=["relu"])],
        layers=[
            hf.targets.LayerSpec(name="first", filters=width, writes=["hidden"], norm="batch", params=first),
            hf.targets.LayerSpec(name="last", filters=outputs, reads=["hidden"], params=last),
        ],
    )


X, Y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4


def train(out, module=None, data=(X, Y), **changes):
    settings = {**FAST, **{key.replace("__", "."): value for key, value in changes.items()}}
    return hf.train(module=Net() if module is None else module, spec=spec(), data=data, overrides=settings, out=out)


def test_a_module_with_batch_norm_is_trained(tmp_path):
    module = Net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = train(tmp_path / "run", module)
    assert (run.config.target.name, run.config.task.name, run.finished) == ("module", "data", True)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    results = run.evaluate()
    assert (results["examples"], results["networks"]) == (6, 4)
    nets = run.sample(3)
    assert set(nets.statistics) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert nets.statistics["norm.running_mean"].shape == (3, 6)
    own = Net()
    own.load_state_dict(nets.state_dict(1))
    standardised = run.experiment.task.standardised_inputs.apply(X)  # a file of weights has no hook that does it
    assert torch.allclose(own.eval()(standardised).softmax(-1), nets.predict(X)[1], atol=1e-5)
    assert torch.allclose(nets[1](X).softmax(-1), nets.predict(X)[1], atol=1e-5)
    assert torch.equal(own.frozen.weight, module.frozen.weight)


def test_what_is_done_to_the_module_later_changes_nothing(tmp_path):
    module = Net()
    run = train(tmp_path / "run", module)
    before = run.evaluate()
    with torch.no_grad():
        module.frozen.weight.zero_()
    loaded = hf.load(run.folder, device="cpu", module=module, spec=spec(), data=(X, Y))
    assert run.evaluate() == before
    assert loaded.evaluate() == before  # its constants are kept with the run


def test_the_run_goes_on_where_the_module_is_handed_over_again(tmp_path):
    torch.manual_seed(0)
    whole = train(tmp_path / "whole")
    torch.manual_seed(0)
    paused = train(tmp_path / "parts", trainer__stop_after=2)
    assert not paused.finished
    torch.manual_seed(5)
    resumed = hf.resume(paused.folder, module=Net(), spec=spec(), data=(X, Y))
    a, b = (run.experiment.generator.state_dict() for run in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert {**resumed.evaluate(), "run": ""} == {**whole.evaluate(), "run": ""}


@pytest.mark.parametrize("given", [["trainer.steps=2"], "trainer.steps=2", 5])
def test_overrides_are_a_mapping(tmp_path, given):
    with pytest.raises(ConfigError, match=r"overrides: expected dotted keys and their values, such as .* but got"):
        hf.train("digits", given, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("use", "given", "parts"),
    [
        (hf.load, {}, ["target and task were handed over", "hand them over again", "module=...", "data=..."]),
        (hf.resume, {}, ["target", "task", "module=...", "data=..."]),
        (hf.load, {"data": (X, Y)}, ["module=..."]),
        (hf.resume, {"data": (X, Y)}, ["module=..."]),
        (hf.resume, {"module": Net(), "spec": spec()}, ["data=..."]),
    ],
)
def test_what_was_handed_over_is_asked_for(tmp_path, use, given, parts):
    run = train(tmp_path / "run", trainer__stop_after=2)
    with pytest.raises(RunError) as caught:
        use(run.folder, **given)
    for part in ("handed over in Python", str(run.folder), *parts):
        assert part in str(caught.value)


@pytest.mark.slow
def test_data_that_were_handed_over_are_asked_for_where_they_are_needed(tmp_path, hyperframe):
    run = train(tmp_path / "run")
    message = r"handed over in Python; hand them over again: hyperframe.load\(folder, data=...\)"
    loaded = hf.load(run.folder, module=Net(), spec=spec())
    for ask in (lambda: loaded.sample(2), loaded.evaluate):
        with pytest.raises(DataError, match=message):
            ask()
    plain = hf.train(
        "digits", {**FAST, "target": "mlp", "target.input_shape": [3], "target.outputs": 4}, data=(X, Y), out="plain"
    )
    assert torch.equal(hf.load("plain").sample(2).predict(X), plain.sample(2).predict(X))
    assert hyperframe("sample", "plain", "-n", 2, "--out", "nets")[0] == 0
    code, out, err = hyperframe("evaluate", "plain")
    assert (code, out) == (2, "")
    assert "hand them over again" in err


@pytest.mark.slow
def test_the_command_says_what_was_handed_over(tmp_path, hyperframe):
    train(tmp_path / "run")
    for command in (["evaluate", "run"], ["sample", "run", "--out", "a"], ["predict", "run", "x.npy"]):
        code, out, err = hyperframe(*command)
        assert (code, out) == (2, "")
        assert "hyperframe.load('run', module=..., data=...)" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"module": Net(7), "spec": spec(7)}, RunError, "does not fit its configuration: '.*' is float32"),
        ({"module": Net(7), "spec": spec()}, SpecError, r"'first.weight' of shape \(7, 5\) .* holds 7 filters"),
        ({"data": (X[:, :2], Y)}, DataError, r"not those that the run was trained on: input_shape is \[2\], was \[3\]"),
        ({"data": (X, Y % 3)}, DataError, "not those that the run was trained on: num_outputs is 3, was 4"),
        ({"data": (X, X)}, DataError, "not those that the run was trained on: kind is regression, was classification"),
    ],
)
def test_something_else_is_handed_over(tmp_path, given, error, message):
    run = train(tmp_path / "run")
    given = given if "module" in given else {"module": Net(), "spec": spec(), **given}
    with pytest.raises(error, match=message):
        hf.load(run.folder, **{"data": (X, Y), **given})


def test_a_module_with_other_constants(tmp_path):
    run = train(tmp_path / "run")

    class Wider(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("more", torch.zeros(2))

    with pytest.raises(RunError, match=r"constants kept with the run do not fit.*more"):
        hf.load(run.folder, module=Wider(), spec=spec(), data=(X, Y))


def changed(change):
    module = Net()
    change(module)
    return module


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"module": None}, ConfigError, "spec: it belongs to a module"),
        ({"module": Net}, ConfigError, "module: expected an nn.Module, but got type"),
        ({"spec": {"name": "net"}}, ConfigError, "spec: expected a TargetSpec, but got dict"),
        (
            {"module": changed(lambda net: net.register_parameter("more", nn.Parameter(torch.ones(2))))},
            SpecError,
            "no layer claims parameter 'more'; name it in a LayerSpec",
        ),
        ({"module": changed(lambda net: delattr(net, "last"))}, SpecError, "unknown parameter 'last.weight'"),
        (
            {"module": changed(lambda net: net.add_module("lazy", nn.LazyLinear(2)))},
            ConfigError,
            "'lazy.*' has no shape",
        ),
        ({"module": changed(lambda net: setattr(net, "q", net.last.weight * 2))}, ConfigError, "it cannot be copied"),
        ({"module": changed(lambda net: setattr(net, "forward", lambda x: {}[x]))}, SpecError, "does not run"),
        ({"overrides": {"target": "mlp"}}, ConfigError, "target: 'mlp' was asked for, but a module handed over"),
        ({"overrides": {"target.name": "mlp"}}, ConfigError, "target: 'mlp' was asked for"),
        ({"overrides": {"target": {"name": "mlp"}}}, ConfigError, "target: 'mlp' was asked for"),
        ({"overrides": {"task": "digits"}}, ConfigError, "task: 'digits' was asked for, but data handed over"),
        ({"overrides": {"target.hidden": [3]}}, ConfigError, "target: unknown key 'hidden'"),
        ({"overrides": {"task.tset": 0.5}}, ConfigError, "task: unknown key 'tset'; did you mean 'test'"),
    ],
)
def test_what_cannot_be_handed_over(tmp_path, given, error, message):
    given = {
        "module": Net(),
        "spec": spec(),
        "data": (X, Y),
        **given,
        "overrides": {**FAST, **given.get("overrides", {})},
    }
    with pytest.raises(error, match=message):
        hf.train(**given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", [{"task": {"test": 0.5}}, {"task.test": 0.5}, {"task": {"name": "data", "test": 0.5}}])
def test_options_of_data_that_is_handed_over(tmp_path, task):
    run = hf.train(module=Net(), spec=spec(), data=(X, Y), overrides={**FAST, **task}, out=tmp_path / "run")
    assert len(run.experiment.task.data("test")) == 30


# Data


class Items(Dataset):
    """A data set whose examples a function makes."""

    def __init__(self, item, length=20):
        self.item, self.length = item, length

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        return self.item(number)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        {"x": X, "y": Y},
        {"x": X, "y": Y, "x_test": X, "y_test": Y},
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(40)),
        Items(lambda number: (X[number].numpy(), np.int64(number % 4))),
        Items(lambda number: [X[number].double(), number % 4]),
        Items(lambda number: (X[number], torch.tensor([number % 4]))),
    ],
)
def test_data_in_many_forms(tmp_path, data):
    run = train(tmp_path / "run", data=data)
    found = [run.experiment.task.data(split) for split in ("train", "validation", "test")]
    assert all(part.x.dtype == torch.float32 and part.y.dtype == torch.int64 for part in found)
    assert all(part.x.shape[1:] == (3,) and part.y.dim() == 1 for part in found)
    if isinstance(data, dict) and "x_test" in data:
        assert torch.equal(found[2].x, X)
        assert torch.equal(found[2].y, Y)


def test_labels_of_a_data_set_by_head(tmp_path):
    """They are what the same labels as arrays are: in another order, with numbers of any kind."""
    kind, place = Y, X @ torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])

    def item(number):
        labels = {"kind": int(kind[number]), "place": place[number].numpy()}
        return X[number], dict(reversed(labels.items())) if number % 2 else labels

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kind, self.place = torch.nn.Linear(3, 4), torch.nn.Linear(3, 2)

        def forward(self, x):
            return {"kind": self.kind(x), "place": self.place(x)}

    given = {"items": Items(item, len(X)), "arrays": (X, {"kind": kind, "place": place})}
    short = {**tiny.GENERATED, "trainer.steps": 1}
    runs = [hf.train(module=Heads(), data=data, overrides=short, out=tmp_path / name) for name, data in given.items()]
    found, wanted = (run.experiment.task for run in runs)
    assert found.layout.shapes == {"kind": (4,), "place": (2,)}
    assert found.facts == wanted.facts
    assert torch.equal(found.data("test").y, wanted.data("test").y)


def test_a_task_of_ones_own(tmp_path):
    class Own(hf.ClassificationTask):
        name, input_shape, num_outputs = "own", (3,), 4

        def data(self, split):
            return hf.Data(X, Y)

    task = Own()
    run = train(tmp_path / "run", data=task)
    assert run.experiment.task is task
    with pytest.raises(ConfigError, match="task: unknown key 'test'"):
        train(tmp_path / "other", data=task, task__test=0.5)
    with pytest.raises(DataError, match=r"data: expected .* but got type"):
        train(tmp_path / "other", data=Own)


class Stream(IterableDataset):
    """No examples by number."""

    def __iter__(self):
        return iter([(X[0], 1)])


class LongStream(Stream):
    """With a length."""

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, r"expected \(x, y\), a torch Dataset, a mapping of arrays or a Task, but got int"),
        (X, "but got Tensor"),
        ("own.npz", "but got str"),
        ((X, Y, X), "but got tuple"),
        ({"x": X, "y": Y, "x_tset": X}, "unknown array 'x_tset'; did you mean 'x_test'"),
        ({"x": X}, "there is no array 'y' of labels, but x"),
        (Items(None, 0), "the Dataset is empty"),
        (Stream(), "no numbered examples"),
        (LongStream(), "no numbered examples"),
        (Items(lambda number: (X[number], 1, 2)), "example 0 of the Dataset is tuple, expected a pair"),
        (Items(lambda number: X[number]), "example 0 of the Dataset is Tensor, expected a pair"),
        (Items(lambda number: {}[number]), "example 0 of the Dataset: KeyError: 0"),
        (Items(lambda number: ("image", 1)), "x of example 0 is str, expected a tensor or a numpy array"),
        (Items(lambda number: (torch.tensor(1.0), 1)), "x of example 0 is a single number"),
        (Items(lambda number: (X[number], "cat")), "y of example 0 is str, expected a number"),
        (Items(lambda number: (X[number], None)), "y of example 0 is NoneType, expected a number"),
        (
            Items(lambda number: (X[number][: 1 + number % 2], 1)),
            r"x of example 1 is torch.float32 \[2\], that of example 0",
        ),
        (Items(lambda number: (X[number], 1 if number else 0.5)), "y of example 1 is torch.int64"),
        (Items(lambda number: (X[number] * torch.nan, number)), "x holds NaN or infinite values"),
        (Items(lambda number: (X[number], {"one": 1, "two": "cat"})), "y of example 0, head 'two', is str, expected"),
        (
            Items(lambda number: (X[number], {"one": 1, "two": 1} if number < 3 else {"one": 1})),
            "y of example 3 has heads one, that of example 0 heads one, two; all need the same, .* has -1",
        ),
        (Items(lambda number: (X[number], {"one": 1} if number else 1)), "has heads one, that of example 0 no heads"),
        (
            Items(lambda number: (X[number], {"one": torch.zeros(1 + number % 2)})),
            r"y, head 'one', of example 1 is torch.float32 \[2\], that of example 0 torch.float32 \[1\]",
        ),
        (Items(lambda number: (X[number], {})), "must have labels by the names of heads, .* but there is none"),
        (Items(lambda number: (X[number], {3: 1})), "names of heads, which are texts, but one is called 3"),
    ],
)
def test_data_that_is_none(tmp_path, data, message):
    with pytest.raises(DataError, match=f"data.*: {message}|data.*{message}"):
        train(tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match="data: 1,000,000 examples are too many: 22 MiB of memory are needed"):
        train(tmp_path / "run", data=Items(lambda number: (X[number], 1), 10**6))


def test_regression_on_tensors(tmp_path):
    y = X @ torch.ones(3, 4)
    run = train(tmp_path / "run", data=(X, y))
    results = run.evaluate()
    assert set(results) >= {"rmse", "loss", "ensemble", "entropy"}
    assert set(run.sample(3).summary(X)) == {"mean", "std"}
    assert torch.equal(run.experiment.task.canonical_outputs(y), y)
