"""Drawn networks as one module, and as programs that run without the library."""

import importlib.util
import json

import numpy as np
import pytest
import tiny
import torch
from torch import nn

import hyperframe as hf
from hyperframe.errors import RunError
from hyperframe.networks import programs
from hyperframe.networks.programs import HEADER, write_program

pytestmark = pytest.mark.filterwarnings("ignore:.*number of networks:hyperframe.HyperframeWarning")
SETTINGS = {**tiny.GENERATED, "trainer.steps": 2}


def table(outputs):
    """Inputs on a scale of their own, and labels."""
    x = 50 + 20 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    return (x, (x.sum(1) > 300).long()) if outputs == "classes" else (x, 1e3 + 10 * x[:, :1])


class Words(nn.Module):
    """An embedding and a dense layer."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


class Normed(nn.Module):
    """A network with BatchNorm, whose statistics are estimated for each draw."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x):
        return self.body(x)


def train(form, out):
    words = torch.randint(9, (40, 3), generator=torch.Generator().manual_seed(1))
    forms = {
        "images": ({**tiny.PERCEPTRON, "trainer.steps": 2}, {}),
        "a table of classes": (SETTINGS, {"module": nn.Linear(6, 2), "data": table("classes")}),
        "values": (SETTINGS, {"module": nn.Linear(6, 1), "data": table("values")}),
        "words": (SETTINGS, {"module": Words(), "data": (words, (words.sum(1) > 12).long())}),
        "statistics": (SETTINGS, {"module": Normed(), "data": table("classes")}),
        "a part": (
            {**SETTINGS, "generator": "direct", "generator.networks": 4, "diversity": ["none"]},
            {"module": Normed(), "data": table("classes"), "generate": ["body.3"]},
        ),
        "adapters": (
            {**SETTINGS, "target.adapter": "lora", "target.rank": 2},
            {"module": Normed(), "data": table("classes"), "weights": True},
        ),
        "a prior": ({**SETTINGS, "prior.functions": 2}, {"module": nn.Linear(6, 2), "data": table("classes")}),
    }
    settings, own = forms[form]
    settings = {key: value for key, value in settings.items() if form != "a part" or key != "generator.hidden"}
    return hf.train("digits_hypernetwork", settings, out=out, **own)


FORMS = ["images", "a table of classes", "values", "words", "statistics", "a part", "adapters", "a prior"]


@pytest.fixture(scope="module", params=FORMS)
def trained(request, tmp_path_factory):
    return train(request.param, tmp_path_factory.mktemp("runs") / "run")


def as_taken(run):
    """Training inputs as the module takes them: numbers, or whole numbers where it looks them up."""
    return run.experiment.target.tried_on.convert(run.data("train").x)


def test_an_ensemble_predicts_as_its_networks_do(trained):
    networks, x = trained.sample(4, 3), trained.data("test").x
    ensemble = trained.ensemble(4, 3)
    torch.testing.assert_close(ensemble.members(x), networks.predict(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ensemble(x), networks.mean(x), rtol=1e-5, atol=1e-6)
    assert not any(value.requires_grad for value in ensemble.parameters())
    assert not ensemble.training


@pytest.mark.slow
def test_a_program_of_torch_gives_the_same_for_any_number_of_examples(trained, tmp_path):
    file = trained.write_program(tmp_path / "ensemble.pt2", 3, 1)
    told = {HEADER: ""}
    program = torch.export.load(file, extra_files=told).module()
    ensemble, x = trained.ensemble(3, 1), as_taken(trained)
    for count in (1, 2, 7, len(x)):
        mean, members = program(x[:count])
        torch.testing.assert_close(mean, ensemble(x[:count]), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(members, ensemble.members(x[:count]), rtol=1e-5, atol=1e-5)
    header = json.loads(told[HEADER])
    assert (header["seed"], header["networks"], header["run"]) == ("1", "3", "run")
    assert header["input_shape"] == list(x.shape[1:])
    assert header["outputs"] == trained.experiment.target.spec.num_outputs


@pytest.mark.slow
def test_a_program_of_onnx_gives_the_same_for_any_number_of_examples(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    file = trained.write_program(tmp_path / "ensemble.onnx", 3, 1)
    session = runtime.InferenceSession(file)
    assert json.loads(session.get_modelmeta().custom_metadata_map[HEADER])["seed"] == "1"
    assert [value.name for value in session.get_inputs()] == ["x"]
    assert [value.name for value in session.get_outputs()] == ["prediction", "members"]
    ensemble, x = trained.ensemble(3, 1), as_taken(trained)
    for count in (1, 2, 7, len(x)):
        mean, members = session.run(None, {"x": x[:count].numpy()})
        np.testing.assert_allclose(mean, ensemble(x[:count]).numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(members, ensemble.members(x[:count]).numpy(), rtol=1e-5, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.onnx"]  # all in one file


def test_what_networks_have_in_common_is_there_once(tmp_path):
    ensemble = train("a part", tmp_path / "run").ensemble(4)
    first, *others = ensemble.networks
    for name in ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"):
        assert all(other.get_parameter(name) is first.get_parameter(name) for other in others)
    assert all(other.get_parameter("body.3.weight") is not first.get_parameter("body.3.weight") for other in others)
    held = {id(value) for value in ensemble.parameters()}
    assert len(held) == 4 + 4 * 2


def test_an_ensemble_is_a_module_like_any_other(run, tmp_path):
    """It moves, is stored by its state_dict, and changes its precision."""
    ensemble, x = run.ensemble(3), run.data("test").x[:5]
    before = ensemble(x)
    other = run.ensemble(3, seed=9)
    assert not torch.equal(other(x), before)
    other.load_state_dict(ensemble.state_dict())
    assert torch.equal(other(x), before)
    torch.testing.assert_close(ensemble.double()(x.double()).float(), before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ensemble.pt", "ends in .pt2 or .onnx"),
        ("ensemble.txt", "ends in .pt2 or .onnx"),
        ("taken.pt2", "exists already"),
    ],
)
def test_files_that_cannot_be_written(run, tmp_path, name, words):
    (tmp_path / "taken.pt2").touch()
    with pytest.raises(RunError, match=words):
        run.write_program(tmp_path / name, 2)
    assert (tmp_path / "taken.pt2").stat().st_size == 0


def test_onnx_is_asked_for_before_anything_is_done(run, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"needs onnx and onnxscript; install 'hyperframe-nn\[onnx\]'"):
        run.write_program(tmp_path / "ensemble.onnx", 2)
    assert run.write_program(tmp_path / "ensemble.pt2", 2).is_file()


def test_an_onnx_file_that_would_be_too_large_is_refused(run, tmp_path, monkeypatch):
    if importlib.util.find_spec("onnxscript") is None:
        pytest.skip("needs onnxscript")
    monkeypatch.setattr(programs, "LARGEST_ONNX", 100)
    with pytest.raises(RunError, match="holds at most 2; take fewer networks"):
        run.write_program(tmp_path / "ensemble.onnx", 2)
    assert list(tmp_path.iterdir()) == []


class Asks(nn.Module):
    """A module whose forward depends on a value, which no program can."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        return self.out(x) if float(x.sum()) > 1e9 else self.out(x) + 1


def test_what_cannot_be_a_program_is_told(tmp_path):
    networks = train("a table of classes", tmp_path / "run").sample(2)
    ensemble = hf.Ensemble(networks)
    ensemble.networks[0] = Asks()
    with pytest.raises(RunError, match="cannot be written as a program") as raised:
        write_program(tmp_path / "ensemble.pt2", ensemble, torch.rand(2, 6), {})
    assert len(str(raised.value)) < 600
    assert not (tmp_path / "ensemble.pt2").exists()
