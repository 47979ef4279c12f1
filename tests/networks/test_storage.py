"""Drawn networks in files, and what an ensemble says of a user's own inputs."""

import json
import math

import numpy as np
import pytest
import safetensors
import safetensors.torch
import tiny
import torch
from PIL import Image
from torch import nn

import hyperframe as hf
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import DataError, HyperframeWarning, RunError
from hyperframe.hookspecs import hookimpl
from hyperframe.networks.generator import Generator
from hyperframe.networks.sampled import Networks
from hyperframe.networks.storage import write_samples
from hyperframe.runs.run import Run
from hyperframe.targets.symmetry.gauge import ComposedGauge

FAST = {**tiny.PERCEPTRON, "trainer.steps": 2}


class Norm(nn.Module):
    """BatchNorm before a layer that is generated, and, if wanted, features that are not learnt."""

    def __init__(self, *, constant):
        super().__init__()
        if constant:
            self.register_buffer("features", torch.randn(64, 64))
        self.norm = nn.BatchNorm1d(64, affine=False)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1) @ self.features if hasattr(self, "features") else x.flatten(1)
        return self.out(self.norm(x).relu())


class Norms:
    """The plugin that registers it, as `normed` and, with the features, as `constant`."""

    @hookimpl
    def hyperframe_targets(self):
        layer = hf.targets.LayerSpec(
            name="out", filters=10, params=[hf.targets.kernel("out.weight", "o i"), hf.targets.bias("out.bias")]
        )
        spec = hf.targets.TargetSpec(name="normed", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out")
        return [
            hf.Component(name=name, factory=lambda options, name=name: (Norm(constant=name == "constant"), spec))
            for name in ("normed", "constant")
        ]


@pytest.fixture(scope="module")
def norms():
    return Registry(make_plugin_manager(extra=[Norms()]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", FAST, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def normed(tmp_path_factory, norms):
    folder = tmp_path_factory.mktemp("runs")
    settings = {key: value for key, value in FAST.items() if key != "target.hidden"}
    return {
        name: hf.train("digits", {**settings, "target": name}, out=folder / name, registry=norms)
        for name in ("normed", "constant")
    }


@pytest.fixture(scope="module")
def x(run):
    return run.experiment.task.data("test").x[:7]


@pytest.fixture
def nothing_drawn(monkeypatch):
    monkeypatch.setattr(Run, "sample", lambda *arguments, **options: pytest.fail("networks were drawn"))


def header(path):
    with safetensors.safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["hyperframe"])


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# One file


def test_safetensors_alone_reads_the_networks(tmp_path, run, x):
    path = run.write_samples(tmp_path / "deep" / "networks.safetensors", 3, seed=5)
    found = safetensors.torch.load_file(path)
    nets = run.sample(3, seed=5)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    for number in range(3):
        module.load_state_dict({name: value[number] for name, value in found.items()}, strict=True)
        assert torch.equal(module.eval()(x), nets[number](x))
    assert listed(tmp_path) == ["deep", "deep/networks.safetensors"]


def test_statistics_travel_with_the_networks(tmp_path, normed, x):
    run = normed["normed"]
    path = run.write_samples(tmp_path / "a.safetensors", 3)
    found, nets = safetensors.torch.load_file(path), run.sample(3)
    assert found["norm.running_mean"].shape == (3, 64)
    assert found["norm.num_batches_tracked"].dtype == torch.int64
    for number in range(3):
        module = Norm(constant=False)
        module.load_state_dict({name: value[number] for name, value in found.items()}, strict=True)
        assert torch.equal(module.eval()(x), nets[number](x))
    read = run.read_samples(path)
    assert read.statistics.keys() == nets.statistics.keys()
    assert all(torch.equal(value, nets.statistics[name]) for name, value in read.statistics.items())
    assert torch.equal(read.predict(x), nets.predict(x))
    assert not torch.equal(run.experiment.target.module.norm.running_mean, nets.statistics["norm.running_mean"][0])


def test_the_seed_chooses_the_bytes(tmp_path, run):
    paths = [run.write_samples(tmp_path / str(number), 3, seed) for number, seed in enumerate((5, 5, 6, None, 1))]
    first, again, other, default, one = (path.read_bytes() for path in paths)
    assert first == again
    assert default == one  # evaluation.seed
    for name, value in safetensors.torch.load(first).items():
        assert not torch.equal(value, safetensors.torch.load(other)[name])


def test_the_header_says_where_networks_come_from(tmp_path, run, normed):
    found = header(run.write_samples(tmp_path / "a", 3, seed=7))
    wanted = {"target": "mlp", "networks": "3", "run": "run", "step": "2", "seed": "7", "gauges": "", "constants": ""}
    assert found == {"format": "hyperframe networks 1", "operations": "relu", "standardisation": "", **wanted}
    gauges = header(run.write_samples(tmp_path / "b", 2, gauge=True))["gauges"].split(",")
    assert sorted(gauges) == sorted(choice.name for choice in run.config.gauges)
    assert len(header(normed["constant"].write_samples(tmp_path / "c", 2))["constants"]) == 16


def test_networks_are_read_as_they_were_drawn(tmp_path, run, x):
    nets = run.sample(5, seed=3)
    read = run.read_samples(run.write_samples(tmp_path / "a", 5, seed=3))
    assert len(read) == 5
    assert all(torch.equal(value, nets.weights[name]) for name, value in read.weights.items())
    assert read.weights.keys() == nets.weights.keys()
    assert torch.equal(read.predict(x), nets.predict(x))
    for number in range(5):
        own, other = read.state_dict(number), nets.state_dict(number)
        assert all(torch.equal(own[name], other[name]) for name in other)


def test_gauged_weights_are_those_of_the_gauge_and_mean_the_same(tmp_path, run, x):
    drawn = run.sample(4)
    gauged = run.read_samples(run.write_samples(tmp_path / "a", 4, gauge=True))
    wanted = run.experiment.gauge(drawn.weights)
    assert isinstance(run.experiment.gauge, ComposedGauge)
    assert all(torch.equal(value, wanted[name]) for name, value in gauged.weights.items())
    assert any(not torch.equal(value, drawn.weights[name]) for name, value in gauged.weights.items())
    torch.testing.assert_close(gauged.predict(x), drawn.predict(x), atol=1e-5, rtol=1e-4)


def test_statistics_are_those_of_the_gauged_weights(normed, x):
    run = normed["normed"]
    torch.testing.assert_close(run.sample(3, gauge=True).predict(x), run.sample(3).predict(x), atol=1e-5, rtol=1e-4)


def test_what_exists_is_kept_and_nothing_drawn(tmp_path, run, nothing_drawn):
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        with pytest.raises(RunError, match=f"{name} exists already; name another file, or remove it"):
            run.write_samples(tmp_path / name, 2)
    with pytest.raises(RunError, match="has no name"):
        run.write_samples("", 2)
    assert (tmp_path / "a").read_text() == "mine"
    assert listed(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("name", ["file/a", "x" * 300, "a\0b"])
def test_files_that_cannot_be_written(tmp_path, run, name):
    (tmp_path / "file").write_text("mine")
    for write in (run.write_samples, run.write_state_dicts):
        with pytest.raises(RunError, match="cannot be written"):
            write(tmp_path / name, 2)
    assert listed(tmp_path) == ["file"]


@pytest.mark.parametrize("count", [0, -1])
def test_no_networks(tmp_path, run, count):
    for write in (run.write_samples, run.write_state_dicts):
        with pytest.raises(ValueError, match="at least one network"):
            write(tmp_path / "a", count)
    assert listed(tmp_path) == []


# A file each


@pytest.mark.parametrize("name", ["normed", "constant"])
def test_each_file_is_a_complete_state_dict(tmp_path, normed, x, name):
    run = normed[name]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "deep" / "absent", tmp_path / "empty"):
        assert run.write_state_dicts(folder, 3, seed=2) == folder
        nets = run.sample(3, seed=2)
        assert listed(folder) == [f"network_{number:05d}.safetensors" for number in range(3)]
        for number, path in enumerate(sorted(folder.iterdir())):
            module = Norm(constant=name == "constant")
            module.load_state_dict(safetensors.torch.load_file(path), strict=True)
            assert torch.equal(module.eval()(x), nets[number](x))
            found = header(path)
            assert (found["format"], found["network"], found["seed"]) == ("hyperframe network 1", str(number), "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["absent"]


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.again.weight, self.again.bias = self.first.weight, self.first.bias

    def forward(self, x):
        return self.last(self.again(self.first(x.flatten(1)).relu()))


def test_shared_parameters_are_written_under_all_their_names(tmp_path, x):
    layers = [
        hf.targets.LayerSpec(
            name=name,
            filters=size,
            params=[hf.targets.kernel(f"{name}.weight", "o i"), hf.targets.bias(f"{name}.bias")],
        )
        for name, size in (("first", 64), ("last", 10))
    ]
    spec = hf.targets.TargetSpec(name="tied", input_shape=(1, 8, 8), num_outputs=10, layers=layers)
    settings = {key: value for key, value in FAST.items() if not key.startswith("target")}
    run = hf.train("digits", settings, module=Tied(), spec=spec, out=tmp_path / "run")
    nets = run.sample(2)
    for number, path in enumerate(sorted(run.write_state_dicts(tmp_path / "nets", 2).iterdir())):
        module = Tied()
        module.load_state_dict(safetensors.torch.load_file(path), strict=True)
        assert torch.equal(module.eval()(x), nets[number](x))
    path = run.write_samples(tmp_path / "a", 2)
    assert "again.weight" not in safetensors.torch.load_file(path)
    assert torch.equal(run.read_samples(path).predict(x), nets.predict(x))


def test_folders_that_hold_something(tmp_path, run, nothing_drawn):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    for name, message in (("full", "is not empty"), ("file", "is a file"), ("full/..", "must have a name of its own")):
        with pytest.raises(RunError, match=message):
            run.write_state_dicts(tmp_path / name, 2)
    with pytest.raises(RunError, match="has no name"):
        run.write_state_dicts("", 2)
    assert listed(tmp_path) == ["file", "full", "full/mine"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_left_where_writing_fails(tmp_path, run, monkeypatch, error, there):
    written = []

    def failing(tensors, path, metadata):
        if written:
            raise error
        written.append(path)
        save(tensors, path, metadata)

    save = safetensors.torch.save_file
    monkeypatch.setattr("safetensors.torch.save_file", failing)
    if there:
        (tmp_path / "nets").mkdir()
    with pytest.raises(RunError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        run.write_state_dicts(tmp_path / "nets", 3)
    assert isinstance(error, KeyboardInterrupt) or "cannot be written: No space left" in str(caught.value)
    assert len(written) == 1
    with pytest.raises((RunError, KeyboardInterrupt)):
        run.write_samples(tmp_path / "one", 3)
    assert listed(tmp_path) == (["nets"] if there else [])


def test_what_a_killed_command_left_is_no_obstacle(tmp_path, run):
    (tmp_path / ".nets.partial").mkdir()
    (tmp_path / ".nets.partial" / "network_00099.safetensors").write_bytes(b"half")
    run.write_state_dicts(tmp_path / "nets", 1)
    assert listed(tmp_path / "nets") == ["network_00000.safetensors"]


# Files that are refused


def rewritten(path, tensors=lambda found: found, metadata=lambda found: found):
    found, said = safetensors.torch.load_file(path), header(path)
    safetensors.torch.save_file(tensors(found), str(path), metadata(said))
    return path


def said(**changes):
    return lambda found: {"hyperframe": json.dumps({**found, **changes})}


def without(found, name):
    return {key: value for key, value in found.items() if key != name}


REFUSED = [
    (lambda found: without(found, "1.bias"), said(), "does not fit target 'mlp' of the run: it lacks '1.bias'"),
    (lambda found: {**found, "5.bias": torch.ones(3, 2)}, said(), "it holds '5.bias'"),
    (
        lambda found: {**found, "1.bias": found["1.bias"].double()},
        said(),
        r"'1.bias' is F64 \[3, 6\], should be F32 \[3, 6\]",
    ),
    (lambda found: {**found, "1.bias": found["1.bias"][:, :5].clone()}, said(), r"is F32 \[3, 5\], should be"),
    (lambda found: {**found, "1.bias": found["1.bias"][:2].clone()}, said(), r"should be F32 \[\d, "),
    (lambda found: {key: value[:0].clone() for key, value in found.items()}, said(), r"should be F32 \[networks, "),
    (lambda found: {**found, "1.bias": torch.tensor(1.0)}, said(), r"'1.bias' is F32 \[\], should be"),
    (lambda found: found, said(target="other"), "networks of another target .*: its target: 'other', the run's 'mlp'"),
    (
        lambda found: found,
        said(operations="tanh"),
        "another target than the run's: its operations: 'tanh', the run's 'relu'",
    ),
    (lambda found: found, said(constants="00"), "another target than the run's: its constants: '00', the run's ''"),
    (lambda found: found, said(operations=None), "its operations: null, the run's 'relu'"),
    (lambda found: found, said(format="hyperframe networks 2"), "or is of another version"),
    (lambda found: found, lambda found: None, "is no file of networks that 'sample --out' wrote"),
    (lambda found: found, lambda found: {"hyperframe": "{"}, "is damaged: its header is no JSON"),
    (lambda found: found, lambda found: {"hyperframe": "[1]"}, "is damaged: its header is no JSON"),
    (lambda found: found, lambda found: {"hyperframe": "[" * 10**5}, "is damaged: its header is no JSON"),
]


@pytest.mark.parametrize(("tensors", "metadata", "message"), REFUSED)
def test_files_that_do_not_fit(tmp_path, run, tensors, metadata, message):
    path = rewritten(run.write_samples(tmp_path / "a", 3), tensors, metadata)
    with pytest.raises(RunError, match=message):
        run.read_samples(path)


def test_a_file_that_is_only_rewritten_fits(tmp_path, run):
    assert len(run.read_samples(rewritten(run.write_samples(tmp_path / "a", 3), metadata=said()))) == 3


def test_files_that_are_damaged_or_none(tmp_path, run):
    whole = run.write_samples(tmp_path / "a", 3).read_bytes()
    for content in (b"", whole[:-1], whole[:50], whole + b"x", b"\xff" * 100):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(RunError, match="b cannot be read"):
            run.read_samples(tmp_path / "b")
    for name in ("absent", ".", "x" * 300):
        with pytest.raises(RunError, match="there is no file"):
            run.read_samples(tmp_path / name)


def test_a_file_of_one_network(tmp_path, run):
    folder = run.write_state_dicts(tmp_path / "nets", 1)
    with pytest.raises(RunError, match="holds one network; networks are read from a file that 'sample --out' wrote"):
        run.read_samples(folder / "network_00000.safetensors")


def test_a_file_for_which_there_is_no_room(tmp_path, run, monkeypatch):
    path = run.write_samples(tmp_path / "a", 300)
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 1 << 20)
    with pytest.raises(RunError, match="a is too large: 1 MiB of memory are needed"):
        run.read_samples(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target.activation": "tanh"}, "its operations: 'relu', the run's 'tanh'"),
        ({"target.hidden": [7]}, r"is F32 \[2, 6.*should be F32 \[2, 7"),
        ({"target.hidden": [6, 6]}, "its operations: 'relu', the run's 'relu relu'"),
    ],
)
def test_networks_of_another_run(tmp_path, run, settings, message):
    other = hf.train("digits", {**FAST, **settings}, out=tmp_path / "other")
    with pytest.raises(RunError, match=message):
        other.read_samples(run.write_samples(tmp_path / "a", 2))


def test_networks_of_other_constants(tmp_path, normed, norms):
    run = normed["constant"]
    path = run.write_samples(tmp_path / "a", 2)
    assert len(hf.load(run.folder, device="cpu", registry=norms).read_samples(path)) == 2
    settings = {**run.config.plain(), "trainer": {"seed": 9, "steps": 1, "networks": 4, "device": "cpu"}}
    other = hf.train("digits", settings, out=tmp_path / "other", registry=norms)
    with pytest.raises(RunError, match="another target than the run's: its constants: '"):
        other.read_samples(path)
    with pytest.raises(RunError, match="another target than the run's: its constants: '"):
        normed["normed"].read_samples(path)


# Evaluated


def measured(results):
    """The figures, less where their networks come from."""
    return {
        key: value for key, value in results.items() if key not in ("step", "seed", "samples", "gradient_evaluations")
    }


@pytest.mark.slow
def test_the_figures_of_a_file_are_those_of_drawing(tmp_path, run, normed, hyperframe):
    for one in (run, *normed.values()):
        path = one.write_samples(tmp_path / one.folder.name, 4, seed=8)
        assert one.evaluate(samples=path)["samples"] == str(path)
        assert measured(one.evaluate(samples=path)) == measured(one.evaluate(4, seed=8))
        assert measured(one.evaluate(samples=path, split="validation")) == measured(one.evaluate(4, "validation", 8))
    code, out, err = hyperframe("evaluate", run.folder, "--samples", "run", "--json", "--device", "cpu")
    assert (code, err) == (0, "")
    assert measured(json.loads(out)) == measured(run.evaluate(4, seed=8))
    assert measured(json.loads(out)) != measured(run.evaluate(4, seed=9))
    assert "4 generated networks" in hyperframe("evaluate", run.folder, "--samples", "run")[1]


@pytest.mark.parametrize("option", [["-n", "3"], ["--seed", "3"]])
def test_a_file_or_a_draw(run, hyperframe, nothing_drawn, option):
    code, out, err = hyperframe("evaluate", run.folder, "--samples", "a", *option)
    assert (code, out) == (2, "")
    assert "-n and --seed are for drawing them" in err


# Commands


@pytest.mark.slow
def test_the_command_sample(tmp_path, run, hyperframe):
    assert hyperframe("sample", run.folder, "--out", "a")[:2] == (0, "4 networks written to a\n")
    run.write_samples(tmp_path / "b", 4)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    arguments = ["-n", 2, "--seed", 3, "--gauge"]
    assert hyperframe("sample", run.folder, "--out", "c", *arguments)[0] == 0
    run.write_samples(tmp_path / "d", 2, 3, gauge=True)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()
    assert hyperframe("sample", run.folder, "--split", "nets", *arguments)[1] == "2 networks written to nets\n"
    run.write_state_dicts(tmp_path / "same", 2, 3, gauge=True)
    for path in (tmp_path / "nets").iterdir():
        assert path.read_bytes() == (tmp_path / "same" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--out", "mine"], "mine exists already"),
        (["sample", "--split", "full"], "full is not empty"),
        (["sample", "--split", "mine"], "mine is a file"),
        (["sample", "--out", "a", "--split", "b"], "give either --out FILE or --split DIR"),
        (["sample", "--out", ""], "the output has no name"),
        (["sample", "--out", "a", "-n", "0"], "0"),
        (["sample", "--out", "a", "--checkpoint", "77"], "77"),
        (["evaluate", "--samples", "mine"], "mine cannot be read"),
        (["evaluate", "--samples", "absent"], "there is no file absent"),
        (["predict", "x.npy", "--samples", "absent"], "there is no file absent"),
        (["predict", "x.npy", "--out", "y.csv"], "ends in .npz or .safetensors"),
        (["predict", "x.npy", "--out", "x.npz"], "x.npz exists already"),
        (["predict", "absent.npy"], "there is no file absent.npy"),
        (["predict", "absent.png"], "there is no file absent.png"),
        (["predict", "x.npz", "x.npy"], "a file of arrays is taken alone, but 2 files were named"),
        (["predict", "full"], "folder full holds no images"),
        (["predict", "mine"], "mine cannot be read as an image"),
        (["predict", "y.npz"], "y.npz holds no array 'x'"),
        (["predict", "nan.npy"], "x holds NaN or infinite values"),
        (["predict", "flat.npy"], "x has the shape [5, 64], the run's target takes [examples, 1, 8, 8]"),
        (["predict", "one.npy"], "x has the shape [8, 8], the run's target takes [examples, 1, 8, 8]"),
        (["predict", "none.npy"], "expected one or more examples"),
        (["predict", "text.npy"], "expected real numbers"),
    ],
)
def test_mistakes(tmp_path, run, hyperframe, arguments, message, nothing_drawn):
    pixels = np.zeros((5, 1, 8, 8), np.float32)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "mine").write_text("mine")
    np.savez(tmp_path / "x.npz", x=pixels)
    np.savez(tmp_path / "y.npz", y=pixels)
    wrong = {"nan": pixels * np.nan, "flat": pixels.reshape(5, 64), "one": pixels[0, 0], "none": pixels[:0]}
    for name, array in {"x": pixels, "text": pixels.astype(str), **wrong}.items():
        np.save(tmp_path / f"{name}.npy", array)
    before = listed(tmp_path)
    command, *others = arguments
    code, out, err = hyperframe(command, run.folder, *others)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith(("hyperframe: ", "Error: "))]) == 1
    assert listed(tmp_path) == before


# Predictions


@pytest.fixture
def images(tmp_path):
    """The same pixels as arrays of several kinds and as images."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    values = pixels.astype(np.float32) / 255
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "bytes.npy", pixels)
    np.savez(tmp_path / "x.npz", x=values, y=np.arange(5))
    safetensors.torch.save_file({"x": torch.from_numpy(values)}, str(tmp_path / "x.safetensors"))
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "images" / "notes.txt").write_text("mine")
    return torch.from_numpy(values)


@pytest.mark.slow
def test_the_same_pixels_in_any_form(tmp_path, run, hyperframe, images):
    pngs = [f"images/{number}.png" for number in range(5)]
    wanted = {name: value.tolist() for name, value in run.sample(4).summary(images).items()}
    for files in (["x.npy"], ["bytes.npy"], ["x.npz"], ["x.safetensors"], ["images"], pngs, ["images/0.png", *pngs]):
        code, out, err = hyperframe("predict", run.folder, *files, "--json", "--device", "cpu")
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["networks"] == 4
        rows = found["examples"][-5:]
        named = pngs if files[0].startswith("images") else ["0", "1", "2", "3", "4"]
        assert [row["example"] for row in rows] == named
        for name, values in wanted.items():
            for row, value in zip(rows, values, strict=True):
                assert row[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
def test_predictions_of_a_file_of_networks(run, hyperframe, images):
    assert hyperframe("sample", run.folder, "-n", 3, "--seed", 5, "--out", "nets")[0] == 0
    answers = [
        hyperframe("predict", run.folder, "images", "--json", *options)
        for options in (["--samples", "nets"], ["-n", 3, "--seed", 5], ["-n", 3, "--seed", 6])
    ]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
    assert json.loads(answers[0][1])["networks"] == 3


@pytest.mark.slow
def test_predictions_are_written(tmp_path, run, hyperframe, images):
    wanted = run.sample(4).summary(images)
    read = {"a.npz": lambda path: dict(np.load(path)), "deep/a.safetensors": safetensors.torch.load_file}
    for name, load in read.items():
        code, out, err = hyperframe("predict", run.folder, "x.npy", "--out", name)
        assert (code, out, err) == (0, f"5 predictions of 4 networks written to {name}\n", "")
        found = load(tmp_path / name)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert torch.equal(torch.as_tensor(found[key]), value)
        before = (tmp_path / name).read_bytes()
        assert hyperframe("predict", run.folder, "x.npy", "--out", name)[0] == 2
        assert (tmp_path / name).read_bytes() == before
    code, out, _ = hyperframe("predict", run.folder, "x.npy", "--out", "b.npz", "--json")
    assert len(json.loads(out)["examples"]) == 5
    assert (tmp_path / "b.npz").is_file()
    assert not [name for name in listed(tmp_path) if "partial" in name]
    code, out, err = hyperframe("predict", run.folder, "x.npy", "--out", "x.npy/a.npz")
    assert (code, out) == (2, "")
    assert "cannot be written" in err


def test_predictions_are_shown(run, hyperframe, images):
    code, out, err = hyperframe("predict", run.folder, "images")
    assert (code, err) == (0, "")
    assert all(f"images/{number}.png" in out for number in range(5))


# Summaries


def test_the_summary_of_classes(run, monkeypatch, x):
    nets = run.sample(5)
    p = nets.predict(x).double().numpy()
    mean = p.mean(0)
    wanted = {
        "probabilities": mean,
        "vote": [np.bincount(row, minlength=10).argmax() for row in p.argmax(-1).T],
        "entropy": -(mean * np.log(mean)).sum(-1),
        "mutual_information": -(mean * np.log(mean)).sum(-1) + (p * np.log(p)).sum(-1).mean(0),
    }
    for at_once in (1 << 24, 100, 1):
        monkeypatch.setattr("hyperframe.networks.sampled.SUMMARISED_AT_ONCE", at_once)
        found = nets.summary(x)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name].numpy(), value, atol=2e-6)
        assert torch.equal(found["vote"], nets.vote(x))
        assert torch.allclose(found["probabilities"], nets.mean(x))


def test_certain_and_uncertain_ensembles(run):
    task = run.experiment.task
    sure, other, open_ = [1.0, 0, 0], [0, 0, 1.0], [1 / 3] * 3
    examples = [[sure, sure, sure, sure], [sure, other, sure, other], [other, sure, sure, other], [open_] * 4]
    found = task.summarise(torch.tensor(examples, dtype=torch.float64).transpose(0, 1))
    assert found["vote"].tolist() == [0, 0, 0, 0]  # the lower class of equals
    assert found["entropy"].tolist() == pytest.approx([0, math.log(2), math.log(2), math.log(3)])
    assert found["mutual_information"].tolist() == pytest.approx([0, math.log(2), math.log(2), 0])
    votes = torch.eye(3)[torch.tensor([[2, 1, 1, 2], [2, 2, 1, 0]]).T]
    assert task.summarise(votes)["vote"].tolist() == [1, 2]


def test_networks_that_are_one_another_disagree_in_nothing(run, x):
    for count in (1, 3, 4):
        same = {name: value.expand(count, *value.shape[1:]) for name, value in run.sample(1).weights.items()}
        found = Networks(run.experiment.target, run.experiment.task, same).summary(x)
        assert float(found["mutual_information"].max()) < 1e-6
    for seed in range(5):
        found = run.sample(3, seed).summary(run.experiment.task.data("test").x)
        assert float(found["mutual_information"].min()) >= 0
        assert float((found["entropy"] - found["mutual_information"]).min()) >= 0
        assert float(found["entropy"].max()) <= math.log(10) + 1e-6


def test_inputs_that_have_no_summary(run, x):
    nets = run.sample(2)
    for wrong in (x[:0], x[0, 0], x[..., :7], x.flatten(1)):
        with pytest.raises(ValueError, match="expected inputs"):
            nets.summary(wrong)
    for wrong in (x.tolist(), "x", x.numpy().astype(str), x.numpy()[0, 0, 0]):
        with pytest.raises(DataError, match=r"x is|x has the shape"):
            nets.summary(wrong)


def test_arrays_are_inputs_as_tensors_are(run, x):
    nets = run.sample(3)
    numbers = (x * 16).round().to(torch.uint8) * 15
    for ask in (nets.predict, nets.mean, nets.vote, nets.summary):
        for values, others in (
            (x, [x.numpy(), x.numpy().astype(np.float64), x.movedim(1, 3).numpy(), x[:, 0].numpy()]),
            (numbers.float() / 255, [numbers, numbers.numpy()]),
        ):
            for other in others:
                torch.testing.assert_close(ask(other), ask(values), rtol=0, atol=0)


@pytest.mark.slow
def test_the_summary_of_values(tmp_path, hyperframe):
    draw = torch.Generator().manual_seed(0)
    inputs, y = torch.randn(40, 3, generator=draw), torch.randn(40, 2, generator=draw)
    np.savez(tmp_path / "own.npz", x=inputs, y=y)
    settings = {"task": "arrays", "task.file": str(tmp_path / "own.npz")}
    shape = {"target.input_shape": [3], "target.outputs": 2}
    run = hf.train("digits", {**FAST, **settings, **shape}, out=tmp_path / "run")
    nets = run.sample(4)
    predictions, found = nets.predict(inputs).double().numpy(), nets.summary(inputs)
    assert found.keys() == {"mean", "std"}
    np.testing.assert_allclose(found["mean"].numpy(), predictions.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["std"].numpy(), predictions.std(0), atol=1e-6)
    assert run.sample(1).summary(inputs)["std"].eq(0).all()
    with pytest.warns(HyperframeWarning, match="standardised inputs and outputs"):
        path = run.write_samples(tmp_path / "nets", 4)
    assert measured(run.evaluate(samples=path)) == measured(run.evaluate(4))
    code, out, err = hyperframe("predict", "run", "own.npz", "--samples", "nets", "--json")
    assert (code, err) == (0, "")
    assert torch.allclose(torch.tensor([row["mean"] for row in json.loads(out)["examples"]]), found["mean"])
    code, out, err = hyperframe("predict", "run", "own.npz")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) >= 40
    code, out, err = hyperframe("predict", "run", "mine.png")
    assert (code, out) == (2, "")


@pytest.mark.slow
def test_a_generator_that_holds_its_networks(tmp_path, hyperframe):
    settings = {"generator": "direct", "generator.networks": 3, "trainer.networks": 3, "diversity": ["none"]}
    kept = {key: value for key, value in FAST.items() if not key.startswith(("generator", "trainer.networks"))}
    run = hf.train("digits", {**kept, **settings}, out=tmp_path / "run")
    assert isinstance(run.experiment.generator, Generator)
    assert hyperframe("sample", "run", "--out", "a")[1] == "3 networks written to a\n"
    assert len(run.read_samples(tmp_path / "a")) == 3


def test_networks_that_share_memory_are_written(tmp_path, run, x):
    same = {name: value.expand(3, *value.shape[1:]) for name, value in run.sample(1).weights.items()}
    nets = Networks(run.experiment.target, run.experiment.task, same)
    read = run.read_samples(write_samples(tmp_path / "a", lambda: nets, {}))
    assert torch.equal(read.predict(x), nets.predict(x))


@pytest.mark.slow
def test_statistics_of_one_item_more_than_a_part(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.norm(self.first(x)).relu())

    x, y = torch.randn(600, 3, generator=torch.Generator().manual_seed(0)), torch.arange(600) % 3
    own = {"trainer.steps": 1, "trainer.networks": 8, "trainer.device": "cpu", "evaluation.networks": 2}
    run = hf.train(module=Net(), data=(x, y), overrides={**own, "evaluation.statistics": 251}, out=tmp_path / "run")
    assert run.sample(2).statistics["norm.running_var"].isfinite().all()
