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

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*number of networks:hyperframe.HyperframeWarning"),
    pytest.mark.filterwarnings("ignore:.*a class for each of 2 × 2 places:hyperframe.HyperframeWarning"),
]
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


class Heads(nn.Module):
    """A network with a head of classes of 2 × 2 places and one of classes, in another order than the labels."""

    def __init__(self):
        super().__init__()
        self.kind, self.places = nn.Linear(6, 2), nn.Linear(6, 12)

    def forward(self, x):
        return {"places": self.places(x).view(-1, 3, 2, 2), "kind": self.kind(x)}


def labels_by_name():
    x, kind = table("classes")
    places = torch.randint(3, (40, 2, 2), generator=torch.Generator().manual_seed(2))
    return x, {"kind": np.array(["ant", "bee"])[kind], "places": places}


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
        "heads": (SETTINGS, {"module": Heads(), "data": labels_by_name()}),
        "a prior": ({**SETTINGS, "prior.functions": 2}, {"module": nn.Linear(6, 2), "data": table("classes")}),
    }
    settings, own = forms[form]
    settings = {key: value for key, value in settings.items() if form != "a part" or key != "generator.hidden"}
    return hf.train("digits_hypernetwork", settings, out=out, **own)


FORMS = ["images", "a table of classes", "values", "words", "statistics", "a part", "adapters", "a prior", "heads"]


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


def test_heads_have_their_names_in_single_networks_and_in_a_folder(tmp_path):
    run = train("heads", tmp_path / "run")
    nets, x = run.sample(3, 1), run.data("test").x
    for number, net in enumerate(nets):
        outputs = net(x)
        assert list(outputs) == ["kind", "places"]
        assert isinstance(net, Heads)
        predictions = {name: value.softmax(1) for name, value in outputs.items()}
        inside = {name: value[number] for name, value in nets.predict(x).items()}
        torch.testing.assert_close(predictions, inside, rtol=1e-5, atol=1e-6)
    exported = torch.export.export(nets[2], (x,)).module()
    torch.testing.assert_close(exported(x), nets[2](x))
    shared = run.save_pretrained(tmp_path / "shared", 3, 1)
    torch.testing.assert_close(hf.from_pretrained(shared, module=Heads())(x), run.ensemble(3, 1)(x))
    card = (shared / "README.md").read_text(encoding="utf-8")
    assert "  - `kind`: `[2]`, classes in this order: `ant`, `bee`.\n  - `places`: `[3, 2, 2]`.\n" in card


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
    if isinstance(ensemble(x), dict):
        assert header["heads"] == {"kind": [2], "places": [3, 2, 2]}
        assert header["classes"] == {"kind": ["ant", "bee"]}
        assert ensemble.classes == {"kind": ("ant", "bee")}
    else:
        assert header["outputs"] == trained.experiment.target.spec.num_outputs


@pytest.mark.slow
def test_a_program_of_onnx_gives_the_same_for_any_number_of_examples(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    file = trained.write_program(tmp_path / "ensemble.onnx", 3, 1)
    session = runtime.InferenceSession(file)
    assert json.loads(session.get_modelmeta().custom_metadata_map[HEADER])["seed"] == "1"
    assert [value.name for value in session.get_inputs()] == ["x"]
    ensemble, x = trained.ensemble(3, 1), as_taken(trained)
    for count in (1, 2, 7, len(x)):
        wanted = {"prediction": ensemble(x[:count]), "members": ensemble.members(x[:count])}
        if isinstance(wanted["members"], dict):  # a name for each head
            wanted = {f"{of}.{head}": value for of, heads in wanted.items() for head, value in heads.items()}
        assert [value.name for value in session.get_outputs()] == list(wanted)
        for found, value in zip(session.run(None, {"x": x[:count].numpy()}), wanted.values(), strict=True):
            np.testing.assert_allclose(found, value.numpy(), rtol=1e-5, atol=1e-5)
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
